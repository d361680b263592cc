"""Process: the metrics of one process; each program in it adds what it shows."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import TypeVar

from prometheus_client.registry import Collector

from services.core.metrics import exposition, make_registry
from services.core.stored_secrets import StoredSecrets
from services.domain.states import DeliveryState
from services.webhooks.delivery.claims import Claim
from services.webhooks.delivery.outcome import Decision
from services.webhooks.monitoring.backlogs import (
    DeliveryBacklog,
    OutboxBacklog,
    Pace,
    QueueDepths,
)
from services.webhooks.monitoring.counts import (
    AttemptCounts,
    FaultCounts,
    MailCounts,
    ReceiptTimes,
)
from services.webhooks.monitoring.loops import Loop, Loops
from services.webhooks.monitoring.messages import MessageCounts
from services.webhooks.queue import Wakeups
from services.webhooks.sessions import Session

OnAttempt = Callable[[Claim, Decision, DeliveryState | None], None]
AfterRound = Callable[[Session], None]
C = TypeVar("C", bound=Collector)


class ProcessMetrics:
    """What a process counts; worker and slow-worker in one process share what both count."""

    def __init__(self) -> None:
        """Make the registry."""
        self._registry = make_registry()
        self._secrets: StoredSecrets | None = None
        self.loops = self._shown(Loops(time.monotonic))

    @cached_property
    def attempts(self) -> AttemptCounts:
        """How attempts end; shown once a program has asked for it, as all of these."""
        return AttemptCounts(self._registry)

    @cached_property
    def faults(self) -> FaultCounts:
        """What we fail in ourselves."""
        return FaultCounts(self._registry)

    @cached_property
    def receipts(self) -> ReceiptTimes:
        """How long deliveries take."""
        return ReceiptTimes(self._registry)

    @cached_property
    def mails(self) -> MailCounts:
        """How mails fare."""
        return MailCounts(self._registry)

    @cached_property
    def messages(self) -> MessageCounts:
        """What Dramatiq does."""
        return MessageCounts(self._registry)

    def exposition(self) -> bytes:
        """Return everything as Prometheus reads it."""
        return exposition(self._registry)

    def attempt_counter(self) -> OnAttempt:
        """Return what a worker tells of each attempt; all of it is shown from now on."""
        attempts, receipts = self.attempts, self.receipts

        def note(claim: Claim, decision: Decision, state: DeliveryState | None) -> None:
            if state is DeliveryState.DELIVERED:
                receipts.received(claim, _now())
            attempts.count(decision.outcome, state)

        return note

    def watch_relay(self, poll_seconds: float) -> AfterRound:
        """Show the relay's backlog; return what it calls after each round."""
        backlog = OutboxBacklog(pace=Pace(time.monotonic), now=_now)
        return _after_round(self.loops.add("relay", pause=poll_seconds), self._shown(backlog).look)

    def watch_scheduler(self, poll_seconds: float, wakeups: Wakeups) -> AfterRound:
        """Show the deliveries and the queues; return what the scheduler calls after each round."""
        self._shown(QueueDepths(wakeups))
        backlog = DeliveryBacklog(pace=Pace(time.monotonic), now=_now)
        loop = self.loops.add("scheduler", pause=poll_seconds)
        return _after_round(loop, self._shown(backlog).look)

    def watch_secrets(self, make: Callable[[], StoredSecrets]) -> None:
        """Have the stored secrets looked at, once for the process however many lanes it has."""
        if self._secrets is None:
            self._secrets = self._shown(make())
            self._secrets.start()

    def _shown(self, collector: C) -> C:
        self._registry.register(collector)
        return collector


def _after_round(loop: Loop, look: AfterRound) -> AfterRound:
    def after_round(session: Session) -> None:
        look(session)
        loop.done()

    return after_round


def _now() -> datetime:
    return datetime.now(UTC)
