"""Waiting for a condition, with a deadline."""

import time
from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import Self

DEADLINE = 20.0  # seconds; what is waited for takes far less


def wait_for(
    condition: Callable[[], object], what: object, within: float = DEADLINE, *, every: float = 0.01
) -> None:
    """Return when the condition holds; fail when it does not within `within` seconds.

    `every`: the pause between two looks, in seconds.
    """
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"in {within} s there was never: {what}"
        time.sleep(every)


class Running:
    """A program of this process, run in a thread for the length of a with block."""

    def __init__(self, run: Callable[[Event], None]) -> None:
        """Take what runs until the event it is given is set."""
        self.stop = Event()
        self.thread = Thread(target=run, args=(self.stop,), daemon=True)

    def __enter__(self) -> Self:
        """Start it."""
        self.thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """End it."""
        self.stop.set()
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive(), "it does not end"
