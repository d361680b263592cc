"""Backlogs: how much waits, looked at now and then by the loop that works it off.

Not by the one who asks for metrics: that would be a connection more, and as often as anybody asks.
How late the oldest is grows between two looks and while there are none.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.webhooks.monitoring.store import Backlog, Deliveries, read_deliveries, read_outbox
from services.webhooks.queue import Lane, QueueAwayError, Wakeups
from services.webhooks.sessions import Session

EVERY = 15.0  # seconds between two looks; as often as Prometheus asks

Now = Callable[[], datetime]


class Pace:
    """Says when it is time for the next look."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take `clock` as monotonic seconds; the first look is due."""
        self._clock = clock
        self._next = clock()

    def is_due(self) -> bool:
        """Say whether EVERY has gone by, and begin to wait for the next one."""
        if self._clock() < self._next:
            return False
        self._next = self._clock() + EVERY
        return True


class OutboxBacklog(Collector):
    """Changes that wait for a relay."""

    def __init__(self, *, pace: Pace, now: Now) -> None:
        """`now` is an aware time."""
        self._pace = pace
        self._now = now
        self._seen: Backlog | None = None

    def look(self, session: Session) -> None:
        """Look, if it is time."""
        if self._pace.is_due():
            self._seen = read_outbox(session)

    def collect(self) -> Iterable[Metric]:
        """Return what was seen last."""
        changes = GaugeMetricFamily(
            "webhook_outbox_changes", "Stock changes that are no deliveries yet."
        )
        oldest = GaugeMetricFamily(
            "webhook_outbox_oldest_seconds", "How long the oldest of them has waited."
        )
        if self._seen is not None:
            changes.add_metric([], self._seen.rows)
            oldest.add_metric([], _age(self._seen, self._now()))
        yield from (changes, oldest)


class DeliveryBacklog(Collector):
    """Deliveries that wait for workers, for their retry, or for a person."""

    def __init__(self, *, pace: Pace, now: Now) -> None:
        """`now` is an aware time."""
        self._pace = pace
        self._now = now
        self._seen: Deliveries | None = None

    def look(self, session: Session) -> None:
        """Look, if it is time."""
        if self._pace.is_due():
            self._seen = read_deliveries(session)

    def collect(self) -> Iterable[Metric]:
        """Return what was seen last."""
        deliveries = GaugeMetricFamily(
            "webhook_deliveries",
            "Deliveries that are not finished or were given up.",
            labels=["state"],
        )
        oldest = GaugeMetricFamily(
            "webhook_oldest_due_seconds", "How late the delivery is that has been due for longest."
        )
        if self._seen is not None:
            for state, rows in self._by_state(self._seen):
                deliveries.add_metric([state], rows)
            oldest.add_metric([], _age(self._seen.due, self._now()))
        yield from (deliveries, oldest)

    @staticmethod
    def _by_state(seen: Deliveries) -> Iterator[tuple[str, int]]:
        yield "due", seen.due.rows
        yield "waiting", seen.waiting
        yield "exhausted", seen.exhausted


class QueueDepths(Collector):
    """Wake-ups in Valkey; one command each, so whoever asks for metrics may wait for it."""

    def __init__(self, wakeups: Wakeups) -> None:
        """Take the wake-ups of a broker."""
        self._wakeups = wakeups

    def collect(self) -> Iterable[Metric]:
        """Return how many wait; nothing while Valkey is away."""
        messages = GaugeMetricFamily(
            "webhook_queue_messages", "Wake-ups that wait in Valkey.", labels=["queue"]
        )
        try:
            for lane in Lane:
                messages.add_metric([lane], self._wakeups.waiting(lane))
        except QueueAwayError:
            messages.samples.clear()
        yield messages


def _age(backlog: Backlog, now: datetime) -> float:
    return max(0.0, (now - backlog.oldest).total_seconds()) if backlog.oldest else 0.0
