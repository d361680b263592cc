"""Wake-ups that are written down instead of sent, for tests of whoever sends them."""

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from services.core.environments import Environment
from services.webhooks.queue import Lane, QueueAwayError, Wakeups, make_broker


class Wakeup(NamedTuple):
    """One call of wake()."""

    endpoint_id: UUID
    lane: Lane
    times: int


class RecordedWakeups(Wakeups):
    """Takes the place of Valkey; `away` makes every call fail."""

    def __init__(self, on_wake: Callable[[UUID], None] = lambda _endpoint: None) -> None:
        """Call `on_wake` at every wake-up that comes through."""
        super().__init__(make_broker("valkey://127.0.0.1:1/0", Environment.SANDBOX))
        self.sent: list[Wakeup] = []
        self.away = False
        self.calls = 0
        self.queued = dict.fromkeys(Lane, 0)
        self._on_wake = on_wake

    def wake(self, endpoint_id: UUID, lane: Lane = Lane.FAST, *, times: int = 1) -> None:
        """Write it down."""
        self._called()
        self._on_wake(endpoint_id)
        self.sent.append(Wakeup(endpoint_id, lane, times))

    def waiting(self, lane: Lane) -> int:
        """Return what the test says."""
        self._called()
        return self.queued[lane]

    def _called(self) -> None:
        self.calls += 1
        if self.away:
            msg = "it is away"
            raise QueueAwayError(msg)
