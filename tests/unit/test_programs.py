"""Programs: a test starts what the table holds, says so, and is skipped where it is missing."""

import ast
import re
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import javascript_library, programs
from tests.needs import PACKAGES, WHEELS
from tests.programs import TABLE

REPOSITORY = Path(__file__).parents[2]
TESTS = REPOSITORY / "tests"
# In Debian's essential packages, which every Debian has.
ESSENTIAL = {"bash", "chmod", "setpriv", "sh"}
SHELLS = {"system", "popen", "create_subprocess_exec", "create_subprocess_shell"}


def faults(source: str) -> Iterator[str]:
    """Yield what a test module starts that the table does not hold.

    Sees a command that is a list where it is started, or a name that such a list is given to
    anywhere in the module; not a command that another function returns.
    """
    tree = ast.parse(source)
    commands: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=value):
                commands.setdefault(name, []).append(value)
            case ast.Attribute(ast.Name("shutil"), "which") | ast.alias("which"):
                yield "shutil.which"
            case ast.Attribute(attr=name) if name in SHELLS:
                yield name
            case _:
                pass
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                ast.Attribute(ast.Name("subprocess")) | ast.Name("Popen" | "start"), [first, *_]
            ):
                name = first.id if isinstance(first, ast.Name) else ""
                for command in commands.get(name, [first]):
                    yield from unknown(command)
            case _:
                pass


def unknown(command: ast.expr) -> Iterator[str]:
    match command:
        case ast.List([ast.Constant(str(text)), *_]) | ast.Tuple([ast.Constant(str(text)), *_]):
            program = text
        case _:
            return
    if program not in TABLE and program not in ESSENTIAL:
        yield program


def test_no_test_starts_what_the_table_does_not_hold() -> None:
    found = {
        f"{path.relative_to(REPOSITORY)}: {fault}"
        for folder in (TESTS, REPOSITORY / "tools")
        for path in folder.rglob("*.py")
        if path not in {Path(programs.__file__), Path(__file__)}
        for fault in faults(path.read_text("utf-8"))
    }
    assert found == set()


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("import shutil\nshutil.which('jq')", "shutil.which"),
        ("from shutil import which", "shutil.which"),
        ("subprocess.run(['git', 'log'], check=True)", "git"),
        ("with Popen(('ssh', 'host')): pass", "ssh"),
        ("command = ['docker', 'compose']\nsubprocess.run(command)", "docker"),
        ("os.system('ps aux')", "system"),
        ("start([path_of('haproxy'), '-f'])", None),
        ("subprocess.run(['bash', '-c', 'true'])", None),
        ("subprocess.run(['curl', 'http://x'])", None),
    ],
)
def test_a_start_that_the_table_does_not_hold_is_found(source: str, seen: str | None) -> None:
    assert list(faults(source)) == ([seen] if seen else [])


def test_every_name_of_a_mark_is_in_the_table() -> None:
    named: set[str] = set()
    for path in TESTS.rglob("*.py"):
        for marked in re.findall(r"mark\.needs\(([^)]*)\)", path.read_text("utf-8")):
            named |= set(re.findall(r'"([^"]+)"', marked))
    assert named <= {PACKAGES, WHEELS, *TABLE}
    assert {"curl", "promtool", "luajit", "haproxy"} <= named


@contextmanager
def silent_registry() -> Generator[str]:
    """Yield the address of a registry that never answers: the kernel alone takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


CONFTEST = """
from pathlib import Path
from tests import javascript_library

pytest_plugins = ["tests.needs"]
javascript_library.FOLDER = Path(__file__).parent / "javascript"
javascript_library.TRIED_FOR = 2.0
"""
MODULE = """
import pytest

@pytest.mark.needs("npm packages")
def test_packages(): pass

@pytest.mark.needs("npm packages", "promtool")
def test_both(): pass

@pytest.mark.needs("luajit")
def test_what_is_there(): pass
"""


@pytest.mark.timeout(120)
def test_a_run_without_a_program_and_a_registry_skips_and_says_so_and_asks_once(
    tmp_path: Path,
) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(MODULE)
    for folder in ("javascript", "bin"):
        (tmp_path / folder).mkdir()
    for name in ("package.json", "package-lock.json", ".npmrc"):
        (tmp_path / "javascript" / name).write_text((TESTS / "javascript" / name).read_text())
    (tmp_path / "bin" / "luajit").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "luajit").chmod(0o755)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "xdist", "-n", "2"]
    command += ["--dist", "loadfile"]
    with silent_registry() as registry:
        done = subprocess.run(
            [*command, "--basetemp", str(tmp_path / "run"), "test_one.py", "test_two.py"],
            cwd=tmp_path,
            env={
                "PATH": str(tmp_path / "bin"),
                "HOME": str(tmp_path),
                "PYTHONPATH": str(REPOSITORY),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "npm_config_registry": registry,
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "npm ci has not ended within 2 s" in done.stdout
    *_, packages, promtool, counts = done.stdout.strip().splitlines()
    assert packages.startswith("missing: npm packages, for ")
    assert packages.endswith(": make javascript; 4 tests skipped")
    assert promtool == (
        "missing: promtool, for the alert rules and their cases:"
        " apt-get install prometheus; 2 tests skipped"
    )
    assert "2 passed, 4 skipped" in counts
    assert len(list((tmp_path / ".npm" / "_logs").iterdir())) == 1, "npm ran more than once"


def test_a_run_of_tests_waits_ten_seconds_for_the_registry_at_most() -> None:
    assert javascript_library.TRIED_FOR <= 10


def test_make_check_and_ci_ask_the_table() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    check = re.search(r"^check: (.*?)  ##", makefile, re.MULTILINE)
    assert check is not None
    assert check[1].split()[0] == "programs"
    assert re.search(r"^programs:\n\t@\$\(PYTHON\) tests/programs.py ", makefile, re.MULTILINE)
    assert " tests/programs.py --packages)" in (REPOSITORY / ".ci" / "run").read_text()


def test_what_is_missing_is_named_by_an_exit_code_and_by_packages(tmp_path: Path) -> None:
    given = {"PATH": str(tmp_path)}
    command = [sys.executable, programs.__file__]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    found = [
        re.fullmatch(r"missing: (\w+), for .+: apt-get install [\w-]+", each) for each in lines
    ]
    names = {each[1] for each in found if each}
    assert names >= {name for name, each in TABLE.items() if each.package} - {"haproxy"}
    asked = [*command, "--packages"]
    done = subprocess.run(asked, env=given, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) >= {"curl", "default-jdk-headless", "prometheus"}
