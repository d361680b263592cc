"""Relay: move committed stock changes to events and deliveries, oldest first, losing none (W9).

A batch is one transaction: whoever is killed within it leaves the changes to the next relay. Wake-
ups go out after the commit and may get lost; the scheduler sends others.
"""

from collections.abc import Callable, Iterable, Iterator
from threading import Event

from services.kernel.environments import Environment
from services.kernel.events import events_of_change
from services.kernel.stock import item_json
from services.webhooks.queue import Lane, Wakeups
from services.webhooks.relay.store import Change, NewEvent, RelayStore, Scheduled
from services.webhooks.sessions import Session, run_in_sessions
from services.webhooks.waking import Waker

# Changes; 5,000 of them with 6 subscribers take 1.1 s: 200 take longer, 500 gain nothing more
# where many subscribe, and their first delivery would begin later.
BATCH = 250
COALESCE = 0.005  # seconds from a wake to its read; a busy writer costs at most 200 reads a second
LONGEST_WAIT = 0.5  # seconds until a stop is noticed
MOST_WAKEUPS = 4  # for an endpoint and batch; each worker that wakes goes on until nothing is due


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
        after_round: Callable[[Session], None] = lambda _session: None,
    ) -> None:
        """Look every `poll_seconds` for changes whose notification got lost."""
        self._database_url = database_url
        self._environment = environment
        self._store = RelayStore(environment)
        self._waker = Waker(wakeups)
        self._poll = poll_seconds
        self._batch = batch
        self._after_round = after_round

    def run(self, stop: Event) -> None:
        """Relay until `stop`; connect again whenever the connection is lost."""

        def step(session: Session) -> None:
            relayed = self.relay_batch(session)
            self._after_round(session)
            if relayed == 0:
                self._wait(session, stop)

        run_in_sessions(
            self._database_url,
            f"{self._environment} relay",
            stop=stop,
            begin=self._store.listen,
            step=step,
        )

    def relay_batch(self, session: Session) -> int:
        """Relay the oldest changes that no other relay has in hand; return how many."""
        with session.transaction():
            changes = self._store.take_changes(session, self._batch)
            events = [event for change in changes for event in new_events(change)]
            scheduled = self._store.store_events(session, events) if events else []
        self._wake(scheduled)
        return len(changes)

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
