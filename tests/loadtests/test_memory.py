"""Memory of a stack's processes, by one that holds a known amount in a child."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.memory import looked_at
from services.local.state import (
    ChildRecord,
    Phase,
    ProcessIdentity,
    StackRecord,
    StateFolder,
    identify,
)
from tools.waiting import wait_for

HOLDS = 60  # MB
HOLDING = f"kept = b'x' * {HOLDS * 1024 * 1024}; print(flush=True); input()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLDING!r}])"
DEADLINE = 20.0  # seconds


@pytest.fixture
def holding() -> Iterator[ProcessIdentity]:
    """Run a process whose child holds so much."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=pipe, stdout=pipe) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        found = identify(process.pid)
        assert found
        yield found
        process.stdin.close()


def test_what_a_process_and_its_children_hold_is_noted(
    holding: ProcessIdentity, tmp_path: Path
) -> None:
    own = identify(os.getpid())
    assert own
    gone = ProcessIdentity(2**22 + 1, 1)  # above every pid of Linux
    children = {"query": holding, "relay": gone, "postgres": holding}
    records = {name: ChildRecord(each, (), "") for name, each in children.items()}
    folder = StateFolder(tmp_path)
    folder.make()
    folder.write_record(StackRecord(Phase.UP, own, {}, {}, {}, records))
    began = time.time()
    with looked_at(tmp_path, 1) as noted:
        wait_for(lambda: len(noted) >= 2, "two looks", DEADLINE)
    for each in noted:
        assert each.name == "query"
        assert HOLDS < each.megabytes < HOLDS + 60
        assert began < each.at <= time.time()


def test_without_a_stack_nothing_is_noted() -> None:
    with looked_at(None, 1) as noted:
        pass
    assert noted == []
