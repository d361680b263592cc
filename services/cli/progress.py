"""Progress: long work tells on standard error how far it is."""

import sys
import time

import click

TERMINAL_EVERY = 0.2  # seconds, on one line
LOG_EVERY = 5.0  # seconds, a line each


class ProgressLine:
    """Tells how much of something is done, from time to time."""

    def __init__(self, things: str) -> None:
        """`things` are what is counted: `lines`."""
        self._things = things
        self._terminal = sys.stderr.isatty()
        self._told_at = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Tell, if it is time; on a terminal the last of it too, and the line ends."""
        last = self._terminal and done >= total
        every = TERMINAL_EVERY if self._terminal else LOG_EVERY
        if not last and time.monotonic() - self._told_at < every:
            return
        self._told_at = time.monotonic()
        words = f"{done:,} of {total:,} {self._things}"
        begin = "\r" if self._terminal else ""
        click.echo(f"{begin}{words}", err=True, nl=last or not self._terminal)
