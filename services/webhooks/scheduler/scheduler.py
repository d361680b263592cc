"""Scheduler: due retries, lost wake-ups, lapsed leases, what nobody takes any more, what is old.

Every pass looks at the rows anew and remembers nothing: several schedulers may run, and any of them
may be killed.
"""

import time
from collections.abc import Callable
from threading import Event
from uuid import UUID

import structlog

from services.kernel.environments import Environment
from services.webhooks.delivery.incidents import note_failure, open_incident
from services.webhooks.delivery.outcome import AttemptOutcome
from services.webhooks.delivery.schedule import MAX_ATTEMPTS, RetrySchedule
from services.webhooks.queue import Lane, Wakeups
from services.webhooks.scheduler.retention import Retention
from services.webhooks.scheduler.store import DueEndpoint, Lapsed, Next, SchedulerStore
from services.webhooks.sessions import Session, run_in_sessions
from services.webhooks.states import DeliveryState
from services.webhooks.waking import Waker

LAPSED_BATCH = 100  # endpoints of a pass, deliveries of a transaction
CANCEL_BATCH = 1_000  # deliveries of a pass: 100,000 are gone within a minute
PER_ENDPOINT = 2  # wake-ups that may wait, for each due endpoint; above it none is added
TIDY_EVERY = 60.0  # seconds, when there was nothing left to delete
UNKNOWN = "no outcome was recorded: the worker ended, or lost its database"

log = structlog.get_logger()


class Scheduler:
    """Keeps one environment's deliveries moving."""

    def __init__(
        self,
        database_url: str,
        environment: Environment,
        wakeups: Wakeups,
        *,
        poll_seconds: float,
        schedule: RetrySchedule,
        chance: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        after_round: Callable[[Session], None] = lambda _session: None,
        on_lapsed: Callable[[DeliveryState], None] = lambda _state: None,
    ) -> None:
        """`chance` gives numbers from 0 up to 1, for the jitter; `clock` monotonic seconds."""
        self._database_url = database_url
        self._environment = environment
        self._store = SchedulerStore(environment)
        self._retention = Retention(environment)
        self._waker = Waker(wakeups)
        self._poll = poll_seconds
        self._schedule = schedule
        self._chance = chance
        self._clock = clock
        self._tidy_at = clock()
        self._after_round = after_round
        self._on_lapsed = on_lapsed

    def run(self, stop: Event) -> None:
        """Make a pass every `poll_seconds` until `stop`."""

        def step(session: Session) -> None:
            self.make_pass(session)
            self._after_round(session)
            stop.wait(self._poll)

        run_in_sessions(self._database_url, f"{self._environment} scheduler", stop=stop, step=step)

    def make_pass(self, session: Session) -> None:
        """Do everything once."""
        for endpoint_id in self._store.endpoints_with_lapsed(session, LAPSED_BATCH):
            self._settle_lapsed(session, endpoint_id)
        due = self._store.due_endpoints(session)
        self._cancel(session, [each.endpoint_id for each in due if not each.is_active])
        self._wake([each for each in due if each.is_active])
        if self._clock() >= self._tidy_at and not self._retention.delete_some(session):
            self._tidy_at = self._clock() + TIDY_EVERY

    def _settle_lapsed(self, session: Session, endpoint_id: UUID) -> None:
        """Count an endpoint's lapsed deliveries as failed, in one transaction."""
        with session.transaction():
            lapsed = self._store.take_lapsed(session, endpoint_id, LAPSED_BATCH)
            if not lapsed:  # another scheduler was here
                return
            then = [self._next(each) for each in lapsed]
            self._store.record_lapsed(session, endpoint_id, then, detail=UNKNOWN)
            note_failure(session, self._environment, endpoint_id, slow=False)
            if any(each.state is DeliveryState.EXHAUSTED for each in then):
                reason = f"{AttemptOutcome.UNKNOWN}: {UNKNOWN}"
                open_incident(session, self._environment, endpoint_id, reason=reason)
        for each, after in zip(lapsed, then, strict=True):
            self._on_lapsed(after.state)
            _tell(endpoint_id, each, after)

    def _cancel(self, session: Session, endpoints: list[UUID]) -> None:
        """Cancel what is due at endpoints that take nothing any more."""
        cancelled = self._store.cancel(session, endpoints, CANCEL_BATCH) if endpoints else 0
        if cancelled:
            log.info("deliveries.cancelled", deliveries=cancelled)

    def _next(self, lapsed: Lapsed) -> Next:
        """Try again; a last attempt of unknown outcome once more as well, but no other after it."""
        if lapsed.attempts > MAX_ATTEMPTS:
            state = DeliveryState.EXHAUSTED
        else:
            state = DeliveryState.RETRYING
        delay = self._schedule.delay(min(lapsed.attempts, MAX_ATTEMPTS - 1), self._chance())
        return Next(lapsed.event_id, state, delay)

    def _wake(self, due: list[DueEndpoint]) -> None:
        for lane in Lane:
            endpoints = [each for each in due if each.slow is (lane is Lane.SLOW)]
            waiting = self._waker.waiting(lane) if endpoints else None
            if waiting is None or waiting > PER_ENDPOINT * len(endpoints):
                continue
            for each in endpoints:
                self._waker.wake(each.endpoint_id, lane)


def _tell(endpoint_id: UUID, lapsed: Lapsed, after: Next) -> None:
    facts = {
        "endpoint_id": str(endpoint_id),
        "event_id": str(lapsed.event_id),
        "attempt": lapsed.attempts,
    }
    log.warning("delivery.lapsed", **facts, state=after.state)
    if after.state is DeliveryState.EXHAUSTED:
        log.error("delivery.exhausted", **facts, reason=UNKNOWN)
