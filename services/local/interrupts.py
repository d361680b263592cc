"""Interrupts: Ctrl-C and SIGTERM end what is under way at once, but for blocks that hold them."""

import contextlib
import signal
from collections.abc import Generator

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """Somebody asked this process to end; a BaseException, as nothing may take it for a fault."""


class Interrupts:
    """Turns ending signals into StopRequested."""

    def __init__(self) -> None:
        """Catch the signals from now on. In the main thread only."""
        self._held = False
        self._pending = False
        for number in ENDING:
            signal.signal(number, self._arrived)

    def _arrived(self, *_: object) -> None:
        if self._held:
            self._pending = True
            return
        self._held = True  # once is enough: what follows is the way out
        raise StopRequested

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Keep signals back during a step that must be whole."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before
        if self._pending and not before:
            self._pending = False
            self._arrived()

    def ignore(self) -> None:
        """Let no further signal disturb the way out."""
        self._held = True
