"""Relay: move committed stock changes to events and deliveries, oldest first, losing none (W9).

A batch is one transaction: whoever is killed within it leaves the changes to the next relay. Wake-
ups go out after the commit and may get lost; the scheduler sends others.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Event

import structlog

from services.core.environments import Environment
from services.domain.events import events_of_change
from services.domain.stock import item_json
from services.webhooks.faults import FaultStep, OnFault, ignore_fault
from services.webhooks.queue import Lane, Wakeups
from services.webhooks.relay import store
from services.webhooks.relay.store import Change, NewEvent, Scheduled
from services.webhooks.sessions import Session, run_in_sessions
from services.webhooks.waking import Waker

# Changes; 5,000 of them with 6 subscribers take 1.1 s: 200 take longer, 500 gain nothing more
# where many subscribe, and their first delivery would begin later.
BATCH = 250
COALESCE = 0.005  # seconds from a wake to its read; a busy writer costs at most 200 reads a second
ASIDE_FOR = 60.0  # seconds until a change that could not be relayed is tried again
ASIDE_MOST = 100  # changes set aside; when more fail, it is not for what they say
LONGEST_WAIT = 0.5  # seconds until a stop is noticed
MOST_WAKEUPS = 4  # for an endpoint and batch; each worker that wakes goes on until nothing is due

log = structlog.get_logger()


class Relay:
    """Relays one environment's changes; any number of relays may run."""

    def __init__(
        self,
        database_url: str,
        environment: Environment,
        wakeups: Wakeups,
        *,
        poll_seconds: float,
        batch: int = BATCH,
        clock: Callable[[], float] = time.monotonic,
        after_round: Callable[[Session], None] = lambda _session: None,
        on_fault: OnFault = ignore_fault,
    ) -> None:
        """Look every `poll_seconds` for changes whose notification got lost.

        `clock` gives monotonic seconds; `on_fault` hears of each change that is set aside.
        """
        self._database_url = database_url
        self._environment = environment
        self._waker = Waker(wakeups)
        self._poll = poll_seconds
        self._batch = batch
        self._clock = clock
        self._after_round = after_round
        self._on_fault = on_fault
        self._one_by_one = 0  # changes of a batch that failed, to be relayed singly
        self._aside: dict[int, float] = {}  # changes that failed singly, and until when

    def run(self, stop: Event) -> None:
        """Relay until `stop`; connect again whenever the connection is lost."""

        def step(session: Session) -> None:
            relayed = self.relay_batch(session)
            self._after_round(session)
            if relayed == 0:
                self._wait(session, stop)

        run_in_sessions(
            self._database_url,
            "relay",
            self._environment,
            stop=stop,
            begin=lambda session: store.listen(session, self._environment),
            step=step,
        )

    def relay_batch(self, session: Session) -> int:
        """Relay the oldest changes that no other relay has in hand; return how many.

        A batch that fails is relayed change by change, and a change that fails singly is set aside
        for a while: one that we cannot relay stops no other.
        """
        changes: list[Change] = []
        try:
            with session.transaction():
                changes = self._take(session)
                events = [event for change in changes for event in new_events(change)]
                scheduled = store.store_events(session, events) if events else []
        except Exception as exc:
            if session.closed or not changes or len(self._aside) >= ASIDE_MOST:
                raise
            self._set_apart(changes, exc)
            return len(changes)
        self._one_by_one = max(0, self._one_by_one - len(changes))
        self._wake(scheduled)
        return len(changes)

    def _take(self, session: Session) -> list[Change]:
        now = self._clock()
        self._aside = {each: until for each, until in self._aside.items() if now < until}
        batch = 1 if self._one_by_one else self._batch
        return store.take_changes(session, self._environment, batch, aside=list(self._aside))

    def _set_apart(self, changes: Sequence[Change], exc: Exception) -> None:
        if len(changes) > 1:
            self._one_by_one = len(changes)
            return
        self._one_by_one = max(0, self._one_by_one - 1)
        failed = changes[0]
        self._aside[failed.id] = self._clock() + ASIDE_FOR
        self._on_fault(FaultStep.RELAY)
        log.error("relay.fault", change=failed.id, product_id=failed.product_id, exc_info=exc)

    def _wake(self, scheduled: Iterable[Scheduled]) -> None:
        for endpoint_id, slow, deliveries in scheduled:
            lane = Lane.SLOW if slow else Lane.FAST
            self._waker.wake(endpoint_id, lane, times=min(deliveries, MOST_WAKEUPS))

    def _wait(self, session: Session, stop: Event) -> None:
        """Return soon after a notification, after the poll interval, or when it has to stop."""
        left = self._poll
        while left > 0 and not stop.is_set():
            if list(session.notifies(timeout=min(left, LONGEST_WAIT), stop_after=1)):
                stop.wait(COALESCE)
                return
            left -= LONGEST_WAIT


def new_events(change: Change) -> Iterator[NewEvent]:
    """Yield what is stored of a change; a removal is nothing (W3)."""
    _, product_id, old, new, version, changed_at, request_id = change
    if new is not None:
        data = item_json(product_id, new, changed_at, version).decode()
        for event_type in events_of_change(old, new):
            yield NewEvent(event_type, product_id, version, changed_at, data, request_id)
