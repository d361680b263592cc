"""Core: lines to standard output by a thread of their own; a reader that stops stops nobody (D4).

A pipe that nobody reads takes 64 kB, and then every write waits: in an event loop, all requests.
"""

import atexit
import os
import select
import threading

import structlog
from prometheus_client import Counter

MOST = 4 * 1024 * 1024  # characters that wait; 20,000 lines, seconds of a busy process
END_WITHIN = 1.0  # seconds for what still waits when the process ends

# Of the process: core/metrics.py shows it in every registry.
LOST = Counter("log_lines_lost", "Log lines that nobody took in time.", registry=None)


class LogWriter:
    """A file for loggers: `write` returns at once, and drops what would be too much."""

    def __init__(self, descriptor: int, *, most: int = MOST) -> None:
        """Take the open file that lines go to, and how many characters may wait.

        By its descriptor: a Python file has a lock, at which the end of the process would wait.
        """
        self._descriptor = descriptor
        self._most = most
        self._waiting: list[str] = []
        self._size = 0
        self._lost = 0  # lines since the last ones that were written
        self._changed = threading.Condition()
        self._is_idle = True
        threading.Thread(target=self._write_forever, name="log writer", daemon=True).start()
        atexit.register(self.close)

    def write(self, text: str) -> None:
        """Take whole lines."""
        with self._changed:
            if self._size + len(text) > self._most:
                lines = text.count("\n")
                self._lost += lines
                LOST.inc(lines)
                return
            self._waiting.append(text)
            self._size += len(text)
            self._changed.notify()

    def flush(self) -> None:
        """Do nothing: the thread writes as soon as it can."""

    def close(self) -> None:
        """Wait for what was taken to be written, for a while."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_idle and not self._waiting, END_WITHIN)

    def _write_forever(self) -> None:
        while True:
            text, lost = self._next()
            left = self._write_all(text.encode(errors="backslashreplace"))
            LOST.inc(left.count(b"\n"))
            if lost:
                structlog.get_logger().warning("log.lines_lost", lines=lost)

    def _write_all(self, lines: bytes) -> bytes:
        """Write lines; return those that cannot be written."""
        while lines:
            try:
                lines = lines[os.write(self._descriptor, lines) :]
            except BlockingIOError:  # another process that shares the pipe made it non-blocking
                select.select([], [self._descriptor], [])
            except OSError:  # nobody will read it any more, or the disk is full
                break
        return lines

    def _next(self) -> tuple[str, int]:
        """Return what waits, and how many lines were dropped behind it."""
        with self._changed:
            self._is_idle = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting)
            texts, self._waiting, self._size = self._waiting, [], 0
            lost, self._lost = self._lost, 0
            self._is_idle = False
        return "".join(texts), lost
