"""Leftovers: what a stack's folder still runs when its supervisor was killed."""

import contextlib
import os
import signal
import time
from collections.abc import Callable

from services.local.children import StackError
from services.local.state import ProcessIdentity, StateFolder, is_alive

# Every child has its death signal already; services drain for 8 s at most.
END_WITHIN = 12.0  # seconds
POLL = 0.05  # seconds


def end_leftovers(folder: StateFolder, tell: Callable[[str], None]) -> list[str]:
    """End the children of a killed supervisor; return the names of those that still ran.

    Raises StackError when one stays. Call it only when no supervisor runs.
    """
    record = folder.record()
    if record is None:
        return []
    left = {name: child.process for name, child in record.children.items()}
    left = {name: process for name, process in left.items() if is_alive(process)}
    if left:
        tell(f"Waiting for the rest of a stack that was killed: {', '.join(left)}")
        _signal(left, signal.SIGINT)  # PostgreSQL's fast shutdown; the others end by it too
        staying = _wait(left)
        _signal(staying, signal.SIGKILL)
        if staying := _wait(staying):
            names = ", ".join(f"{name} (pid {each.pid})" for name, each in staying.items())
            msg = f"{names} of an earlier stack can't be ended; end it by hand"
            raise StackError(msg)
    folder.remove_record()
    return list(left)


def _signal(processes: dict[str, ProcessIdentity], number: signal.Signals) -> None:
    for process in processes.values():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def _wait(processes: dict[str, ProcessIdentity]) -> dict[str, ProcessIdentity]:
    """Return those that still run after END_WITHIN."""
    deadline = time.monotonic() + END_WITHIN
    left = processes
    while left and time.monotonic() < deadline:
        left = {name: process for name, process in left.items() if is_alive(process)}
        time.sleep(POLL if left else 0)
    return left
