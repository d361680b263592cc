"""Processes: find those below a process, signal them all, and see which still run."""

import contextlib
import signal

import psutil


def descendants(pid: int) -> list[psutil.Process]:
    """Return all processes below one, its children's children included."""
    return psutil.Process(pid).children(recursive=True)


def signal_family(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process and all below it."""
    for each in (psutil.Process(pid), *descendants(pid)):
        with contextlib.suppress(psutil.NoSuchProcess):
            each.send_signal(number)


def is_alive(process: psutil.Process) -> bool:
    """Say whether a process still runs; one of which only the exit code is left does not."""
    try:
        return process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    except psutil.NoSuchProcess:
        return False
