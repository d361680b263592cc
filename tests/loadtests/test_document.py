"""The commands of docs/load-testing.md, typed as they stand."""

import os
import shutil
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from loadtests.thresholds import THRESHOLDS
from tests.e2e.conftest import REPOSITORY, LocalStack
from tests.recipes.console import commands_of, run, told

DOCUMENT = REPOSITORY / "docs" / "load-testing.md"
WITHIN = 150.0  # seconds for all commands
TRIES = 3  # a machine busy with other tests makes the load generator late: that is no verdict


@pytest.fixture
def stack(tmp_path: Path) -> Generator[LocalStack]:
    """Run a stack, for the command that names one."""
    running = LocalStack(tmp_path / "state")
    running.started()
    yield running
    running.end()


@pytest.mark.long
@pytest.mark.timeout(WITHIN * TRIES + 60)
def test_what_the_document_says_is_what_happens(stack: LocalStack, tmp_path: Path) -> None:
    folder = tmp_path / "work"  # nothing is left in the repository
    (folder / "loadtests").mkdir(parents=True)
    shutil.copy(THRESHOLDS, folder / "loadtests")
    known = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "PARTNERAPI_STATE_DIR": str(stack.state_dir),
        "NO_PROXY": "*",
    }
    for _ in range(TRIES):
        commands = commands_of(DOCUMENT)
        run(commands, folder, known, WITHIN)
        if not any("\nINVALID:\n" in each.printed for each in commands):
            break
    assert len(commands) >= 5
    assert not any(command.fault for command in commands), told(commands, DOCUMENT)
