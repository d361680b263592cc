"""Progress: long work says on standard error how much is done, from time to time."""

import sys
import time

import click
import msgspec

TERMINAL_EVERY = 0.2  # seconds, on one line
LINES_EVERY = 5.0  # seconds, a line of JSON each


class ProgressLine:
    """Writes how much is done: one updated line on a terminal, else lines of JSON."""

    def __init__(self, things: str) -> None:
        """`things` are what is counted: `lines`."""
        self._things = things
        self._terminal = sys.stderr.isatty()
        self._written_at = time.monotonic()
        self._is_open = False  # a line on a terminal that has no end yet

    def __call__(self, done: int, total: int) -> None:
        """Write, if it is time; on a terminal also the last of it, which ends the line."""
        last = self._terminal and done >= total
        every = TERMINAL_EVERY if self._terminal else LINES_EVERY
        if not last and time.monotonic() - self._written_at < every:
            return
        self._written_at = time.monotonic()
        if self._terminal:
            click.echo(f"\r{done:,} of {total:,} {self._things}", err=True, nl=last)
            self._is_open = not last
        else:
            _write_json(done=done, total=total, of=self._things)

    def end(self) -> None:
        """End a line that is still open, so that what is written next has one of its own."""
        if self._is_open:
            self._is_open = False
            click.echo(err=True)


def note(sentence: str, **values: object) -> None:
    """Write how far work of unknown length is: a sentence on a terminal, else a line of JSON."""
    if sys.stderr.isatty():
        click.echo(sentence, err=True)
    else:
        _write_json(**values)


def _write_json(**values: object) -> None:
    click.echo(msgspec.json.encode(values).decode(), err=True)
