"""Plug-in of pytest: a test whose programs are missing is skipped, and the run's end names them.

A test says what it needs with the mark `needs`: names of tests/programs.py's table,
PACKAGES or WHEELS.
"""

from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

from tests import javascript_library, programs

PACKAGES = "npm packages"  # of tests/javascript; npm asks a registry for them
WHEELS = "wheels"  # of locks/runtime.txt; only make asks pip's index for them
WHEELS_FOLDER = Path(__file__).parents[1] / ".venv" / "wheels"
DOWNLOADED = {
    PACKAGES: f"{javascript_library.PURPOSE}: make javascript",
    WHEELS: "the image without Docker: make wheels",
}
LACKED = "lacked"  # a property of the report of a skipped test


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test before its fixtures are made."""
    names = [name for mark in item.iter_markers("needs") for name in mark.args]
    lacked = {name: why for name in names if (why := _why_missing(name, item.config))}
    item.user_properties += [(LACKED, name) for name in lacked]
    if lacked:
        pytest.skip("; ".join(lacked.values()))


@pytest.hookimpl(wrapper=True, tryfirst=True)  # below pytest's own lines
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Print a line for each missing program, also for those that other processes missed."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    lacked = [name for each in skipped for key, name in each.user_properties if key == LACKED]
    for name, count in sorted(Counter(lacked).items()):
        tests = f"{count} test{'' if count == 1 else 's'} skipped"
        terminalreporter.write_line(f"missing: {_described(name)}; {tests}")


def _why_missing(name: str, config: pytest.Config) -> str | None:
    if name == PACKAGES:
        return javascript_library.why_missing(_folder_of_the_run(config))
    if name == WHEELS:
        return None if (WHEELS_FOLDER / ".downloaded").exists() else "make wheels was not run"
    return None if programs.find(name) else f"there is no {name} on PATH"


def _described(name: str) -> str:
    return f"{name}, for {DOWNLOADED[name]}" if name in DOWNLOADED else programs.described(name)


def _folder_of_the_run(config: pytest.Config) -> Path:
    """Return a folder that all processes of this run share."""
    base: Path = config._tmp_path_factory.getbasetemp()
    return base.parent if hasattr(config, "workerinput") else base
