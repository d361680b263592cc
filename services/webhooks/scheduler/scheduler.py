"""Scheduler: due retries, lost wake-ups, lapsed leases, what nobody takes any more, what is old.

Every pass looks at the rows anew and needs nothing that it remembers: several schedulers may run,
and any of them may be killed.
"""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from threading import Event
from uuid import UUID

import structlog

from services.core.environments import Environment
from services.webhooks.delivery.claims import LEASE
from services.webhooks.faults import FaultStep, OnFault, ignore_fault
from services.webhooks.queue import Lane, Wakeups
from services.webhooks.scheduler import store
from services.webhooks.scheduler.retention import delete_some
from services.webhooks.scheduler.store import DueEndpoint
from services.webhooks.sessions import Session, run_in_sessions
from services.webhooks.waking import Waker

GRACE = 2 * LEASE  # from the scheduler's own connection on: workers' pools connect again later
LAPSED_BATCH = 100  # endpoints of a pass, deliveries of a transaction
CANCEL_BATCH = 1_000  # deliveries of a pass: 100,000 are gone within a minute
# A queue with more wake-ups for each due endpoint is long: it may hold theirs, and those of a dead
# worker, which count for a minute. An endpoint that stays due is then woken again after a pause.
PER_ENDPOINT = 2
WAKE_AGAIN = 1.0  # seconds
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
        clock: Callable[[], float] = time.monotonic,
        after_round: Callable[[Session], None] = lambda _session: None,
        on_fault: OnFault = ignore_fault,
    ) -> None:
        """Take `clock` as monotonic seconds; `on_fault` hears of each fault of ours."""
        self._database_url = database_url
        self._environment = environment
        self._waker = Waker(wakeups)
        self._poll = poll_seconds
        self._clock = clock
        self._tidy_at = clock()
        self._after_round = after_round
        self._on_fault = on_fault
        self._leases_known_at = clock()
        self._woken: dict[UUID, float] = {}  # when each endpoint that is still due was woken

    def run(self, stop: Event) -> None:
        """Make a pass every `poll_seconds` until `stop`."""

        def begin(_session: Session) -> None:
            # Workers could not renew either while the database was away: they get time to do so.
            self._leases_known_at = self._clock() + GRACE.total_seconds()

        def step(session: Session) -> None:
            self.make_pass(session)
            self._after_round(session)
            stop.wait(self._poll)

        run_in_sessions(
            self._database_url, "scheduler", self._environment, stop=stop, begin=begin, step=step
        )

    def make_pass(self, session: Session) -> None:
        """Do everything once; what fails of it, the next pass tries again."""
        if self._clock() >= self._leases_known_at:
            self._release_lapsed(session)
        with self._going_on(session, "due endpoints"):
            due = store.due_endpoints(session)
            with self._going_on(session, "cancelling"):
                self._cancel(session, [each.endpoint_id for each in due if not each.is_active])
            self._wake([each for each in due if each.is_active])
        with self._going_on(session, "old rows"):
            self._tidy(session)

    def _release_lapsed(self, session: Session) -> None:
        for endpoint_id in store.endpoints_with_lapsed(session, LAPSED_BATCH):
            with self._going_on(session, "lapsed leases"):
                self._release_lapsed_of(session, endpoint_id)

    def _release_lapsed_of(self, session: Session, endpoint_id: UUID) -> None:
        """Release an endpoint's lapsed claims, in one transaction, and have it woken at once."""
        with session.transaction():
            lapsed = store.take_lapsed(session, endpoint_id, LAPSED_BATCH)
            store.release_lapsed(session, endpoint_id, lapsed)
        if not lapsed:  # another scheduler was here, or somebody has the endpoint's turn
            return
        for each in lapsed:
            self._on_fault(FaultStep.LEASE)
            log.error(
                "delivery.lapsed",
                endpoint_id=str(endpoint_id),
                event_id=str(each.event_id),
                attempt=each.attempt,
                reason=UNKNOWN,
            )
        self._woken.pop(endpoint_id, None)

    def _cancel(self, session: Session, endpoints: list[UUID]) -> None:
        """Cancel the due deliveries of endpoints that are not active."""
        cancelled = store.cancel(session, endpoints, CANCEL_BATCH) if endpoints else 0
        if cancelled:
            log.info("deliveries.cancelled", deliveries=cancelled)

    def _wake(self, due: Sequence[DueEndpoint]) -> None:
        """Wake the due endpoints; while the queue is long, none that was just woken."""
        ids = {each.endpoint_id for each in due}
        self._woken = {each: at for each, at in self._woken.items() if each in ids}
        for lane in Lane:
            endpoints = [each for each in due if each.slow is (lane is Lane.SLOW)]
            waiting = self._waker.waiting(lane) if endpoints else None
            if waiting is None:
                continue
            is_long = waiting > PER_ENDPOINT * len(endpoints)
            self._wake_in(lane, endpoints, pause=WAKE_AGAIN if is_long else 0.0)

    def _wake_in(self, lane: Lane, endpoints: Sequence[DueEndpoint], *, pause: float) -> None:
        now = self._clock()
        for each in endpoints:
            if now - self._woken.get(each.endpoint_id, float("-inf")) < pause:
                continue
            if self._waker.wake(each.endpoint_id, lane):
                self._woken[each.endpoint_id] = now

    def _tidy(self, session: Session) -> None:
        if self._clock() >= self._tidy_at and not delete_some(session):
            self._tidy_at = self._clock() + TIDY_EVERY

    @contextmanager
    def _going_on(self, session: Session, part: str) -> Generator[None]:
        """Let one part of a pass fail without the others; a lost connection ends the pass."""
        try:
            yield
        except Exception:
            if session.closed:
                raise
            self._on_fault(FaultStep.SCHEDULE)
            log.exception("scheduler.fault", part=part)
