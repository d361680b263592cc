"""Memory: what each process of a local stack holds, looked at while the load runs."""

import contextlib
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from services.local.state import StateFolder

LOOKS = 300  # in a run; a short one is looked at less often
AT_LEAST_EVERY = 1.0  # seconds
# Its processes fill a cache that they share, of a fixed size.
NOT_LOOKED_AT = ("postgres",)
MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Held:
    """What a process of the stack and its children hold, not counting what is shared twice."""

    at: float  # seconds since 1970
    name: str
    megabytes: float


@contextlib.contextmanager
def looked_at(state: Path | None, seconds: float) -> Generator[list[Held]]:
    """Look at a stack's processes for the length of a with block of about so many seconds.

    Without a stack nothing is noted.
    """
    noted: list[Held] = []
    if state is None:
        yield noted
        return
    ended = threading.Event()
    every = max(AT_LEAST_EVERY, seconds / LOOKS)

    def look() -> None:
        while not ended.wait(every):
            noted.extend(_look(state))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield noted
    finally:
        ended.set()
        thread.join()


def _look(state: Path) -> Iterator[Held]:
    record = StateFolder(state).running()
    for name, child in (record.children if record else {}).items():
        if name not in NOT_LOOKED_AT:
            with contextlib.suppress(psutil.Error):  # it has ended
                yield Held(time.time(), name, _held(child.process.pid) / MEGABYTE)


def _held(pid: int) -> int:
    """Return the bytes of a process and its children."""
    first = psutil.Process(pid)
    return sum(each.memory_full_info().pss for each in (first, *first.children(recursive=True)))
