"""Waking: wake-ups whose failure stops nobody, as the scheduler sends what got lost again."""

import time
from collections.abc import Callable
from threading import Lock
from uuid import UUID

from services.core.availability import Availability
from services.webhooks.queue import Lane, QueueAwayError, Wakeups

PAUSE = 1.0  # seconds without a try after a failure
PAUSE_FACTOR = 2  # a failure that took 2 s is followed by 4 s: at most a third of the time is lost
# Without workers wake-ups would pile up for ever; 5,000 keep 50 busy threads in work for seconds.
ENOUGH = 5_000
LOOK_EVERY = 1_000  # wake-ups sent through a lane between two looks at what waits there


class Waker:
    """Sends wake-ups for one program; an outage is told once and costs it next to no time.

    Its threads may share it.
    """

    def __init__(self, wakeups: Wakeups, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take `clock` as monotonic seconds."""
        self._wakeups = wakeups
        self._clock = clock
        self._availability = Availability("queue", clock=clock)
        self._telling = Lock()
        self._paused_until = float("-inf")
        self._full_until = dict.fromkeys(Lane, float("-inf"))
        self._unlooked = dict.fromkeys(Lane, 0)

    def wake(self, endpoint_id: UUID, lane: Lane, *, times: int = 1) -> bool:
        """Send up to `times` wake-ups for an endpoint; say whether they were sent."""
        if self._is_full(lane):
            return False
        self._unlooked[lane] += times
        return self._try(lambda: self._wakeups.wake(endpoint_id, lane, times=times)) is not None

    def waiting(self, lane: Lane) -> int | None:
        """Return how many wake-ups wait in a lane; None when nobody can tell."""
        return self._try(lambda: self._wakeups.waiting(lane))

    def _is_full(self, lane: Lane) -> bool:
        if self._clock() < self._full_until[lane]:
            return True
        if self._unlooked[lane] >= LOOK_EVERY:
            waiting = self.waiting(lane)
            if waiting is not None and waiting > ENOUGH:
                self._full_until[lane] = self._clock() + PAUSE
                return True
            self._unlooked[lane] = 0
        return False

    def _try(self, call: Callable[[], int | None]) -> int | None:
        """Return what a call returns, 0 for nothing; None when it fails or is not tried."""
        began = self._clock()
        if began < self._paused_until:
            return None
        try:
            found = call()
        except QueueAwayError as exc:
            with self._telling:
                self._availability.failed(exc)
            now = self._clock()
            self._paused_until = now + max(PAUSE, (now - began) * PAUSE_FACTOR)
            return None
        with self._telling:
            self._availability.succeeded()
        return found or 0
