"""Detach: run a stack's supervisor in a process of its own, and wait until its stack is up."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.local.children import StackError
from services.local.interrupts import StopRequested
from services.local.launch import die_with_parent
from services.local.state import Phase, StackRecord, StateFolder, is_alive

POLL = 0.02  # seconds
UP_WITHIN = 90.0  # seconds; every step of a start has a limit of its own below this
DOWN_WITHIN = 45.0  # seconds; three stages of children, 10 s each at most
GAVE_UP = "Gave up: "  # before its reason, in its log
LOG = "supervisor"


@dataclass
class Supervising:
    """The process that runs a stack for this one."""

    pid: int
    exit_code: int | None = None

    def has_ended(self) -> bool:
        """Say whether it is gone."""
        if self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.exit_code = os.waitstatus_to_exitcode(status) if pid else None
        return self.exit_code is not None

    def end(self) -> None:
        """Have it end its stack, and wait for that."""
        if not self.has_ended():
            os.kill(self.pid, signal.SIGTERM)
        while not self.has_ended():
            time.sleep(POLL)


def fork_supervisor(folder: StateFolder, run: Callable[[], None], *, bound: bool) -> Supervising:
    """Run `run` in a process of its own session, its output in a log.

    A fork, because a new Python would need 0.5 s to import what is imported here. `bound` ends it
    when this process dies.
    """
    folder.make()
    folder.log(LOG).write_bytes(b"")
    sys.stdout.flush()  # what is buffered must not be printed twice
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return Supervising(pid)
    code = 1
    try:
        _leave_terminal(folder.log(LOG))
        if bound:
            die_with_parent(signal.SIGTERM, parent)
        run()
        code = 0
    except (StackError, OSError) as exc:
        sys.stdout.write(f"{GAVE_UP}{exc}\n")
    except BaseException:  # noqa: BLE001 -- nothing may run on into what the parent does next
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _leave_terminal(log: Path) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)


def wait_until_up(folder: StateFolder, supervisor: Supervising) -> StackRecord:
    """Return the stack's record when it is up. Raises StackError with the supervisor's own line."""
    try:
        return _wait(folder, supervisor)
    except (KeyboardInterrupt, StopRequested, StackError):
        supervisor.end()
        raise


def _wait(folder: StateFolder, supervisor: Supervising) -> StackRecord:
    deadline = time.monotonic() + UP_WITHIN
    while True:
        record = folder.running()
        ours = record is not None and record.supervisor.pid == supervisor.pid
        if record is not None and ours and record.phase is Phase.UP:
            return record
        if supervisor.has_ended():
            raise StackError(_reason(folder.log(LOG)))
        if time.monotonic() > deadline:
            msg = f"the stack was not up after {UP_WITHIN:.0f} s; its log is {folder.log(LOG)}"
            raise StackError(msg)
        time.sleep(POLL)


def _reason(log: Path) -> str:
    """Return what a supervisor said when it gave up; it may be a line for each fault."""
    said = log.read_text(errors="replace").rstrip()
    _, gave_up, reason = said.rpartition(GAVE_UP)
    if gave_up:
        return reason
    return said.splitlines()[-1] if said else "the supervisor ended and said nothing"


def end_supervisor(record: StackRecord) -> None:
    """End a running stack and wait for it. Raises StackError when it stays."""
    process = record.supervisor
    try:
        os.kill(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError as exc:
        msg = f"the stack (pid {process.pid}) belongs to another user, who must end it"
        raise StackError(msg) from exc
    deadline = time.monotonic() + DOWN_WITHIN
    while is_alive(process):
        if time.monotonic() > deadline:
            msg = f"the stack (pid {process.pid}) does not end; SIGKILL it: its children follow"
            raise StackError(msg)
        time.sleep(POLL)
