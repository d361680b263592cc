"""Breaker: nobody waits for a server that is away; a probe of our own finds it back (Q9).

No request pays for finding out: while the breaker is open one task probes, one probe at a time.
docs/decisions/0017-circuit-breaker.md says why it is no library's.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from services.core.availability import QUIET, Availability

FAILURES = 3  # since the last success, or within WITHIN seconds of it: then it opens
WITHIN = 1.0  # seconds
PROBE_FIRST, PROBE_MOST = 0.1, 1.0  # seconds before a probe; doubled after one that failed
STEADY = 10.0  # seconds; a server that lasted shorter is probed as rarely as it was the last time


class ServerAwayError(Exception):
    """A server is away, too slow, or answers what makes no sense."""


class Breaker:
    """Whether one server may be asked; `is_open` says no. To ask that costs 0.02 us."""

    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        *,
        opened: Callable[[], None],
        availability: Availability,
        clock: Callable[[], float],
    ) -> None:
        """`probe` raises ServerAwayError soon; `clock` is monotonic, in seconds."""
        self.is_open = False
        self.times_opened = 0
        self._probe = probe
        self._opened = opened
        self._availability = availability
        self._clock = clock
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._pause = PROBE_FIRST
        self._closed_at = -STEADY
        self._probing: asyncio.Task[None] | None = None

    def succeeded(self) -> None:
        """Note that a call went well; cheap while all is well."""
        if self._failures:
            recent = self._clock() - WITHIN
            while self._failures and self._failures[0] < recent:
                self._failures.popleft()
        self._availability.succeeded()

    def failed(self, reason: BaseException) -> None:
        """Note that a call failed."""
        self._availability.failed(reason)
        if self.is_open:
            return
        self._failures.append(self._clock())
        if len(self._failures) == FAILURES:
            self._open()

    def close(self) -> None:
        """End the probing; nothing is asked any more."""
        if self._probing is not None:
            self._probing.cancel()

    def _open(self) -> None:
        self.is_open = True
        self.times_opened += 1
        self._failures.clear()
        steady = self._clock() - self._closed_at >= STEADY
        self._pause = PROBE_FIRST if steady else min(self._pause * 2, PROBE_MOST)
        self.close()  # it may still wait for a steady second
        self._probing = asyncio.create_task(self._probe_until_well())
        self._opened()

    async def _probe_until_well(self) -> None:
        while self.is_open:
            await asyncio.sleep(self._pause)
            try:
                await self._probe()
            except Exception as exc:  # noqa: BLE001 -- a task that ended would leave it open for ever
                self._availability.failed(exc)
                self._pause = min(self._pause * 2, PROBE_MOST)
            else:
                self.is_open = False
                self._closed_at = self._clock()
        # Tells that it is back even when nobody asks anything.
        await asyncio.sleep(QUIET)
        self._availability.succeeded()
