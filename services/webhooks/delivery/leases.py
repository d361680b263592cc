"""Leases: keep the claims of calls that take long, so that short leases tell the dead apart."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from services.core.background import note_failure
from services.core.database import ThreadPool
from services.webhooks.delivery.claims import LEASE, Claim

# Three renewals in a row may fail at once, and two as slowly as they can, 0.7 s each: the next one
# still begins within 2 s of the last that succeeded.
RENEW_EVERY = LEASE / 5
CONNECT_WITHIN = 0.3  # seconds to get the connection; then the round has failed
RENEW_WITHIN_MS = 400  # of the statement, likewise

# Rows that somebody has locked are being recorded just now.
RENEW = """
UPDATE deliveries SET lease_until = now() + %(lease)s
WHERE (endpoint_id, event_id) IN (
    SELECT delivery.endpoint_id, delivery.event_id
    FROM unnest(%(endpoints)s::uuid[], %(events)s::uuid[], %(claimed)s::timestamptz[])
        AS held (endpoint_id, event_id, claimed_at)
    JOIN deliveries AS delivery USING (endpoint_id, event_id, claimed_at)
    WHERE delivery.state = 'sending' FOR UPDATE OF delivery SKIP LOCKED
)
"""

log = structlog.get_logger()


class Leases:
    """The claims that one process holds; threads take and leave them."""

    def __init__(self, pool: ThreadPool) -> None:
        """Take a pool of its own: behind busy workers a renewal could come too late."""
        self._pool = pool
        self._lock = threading.Lock()
        self._held: dict[tuple[UUID, UUID, datetime], Claim] = {}

    def hold(self, claim: Claim) -> None:
        """Renew this claim's lease from now on."""
        with self._lock:
            self._held[_key(claim)] = claim

    def leave(self, claim: Claim) -> None:
        """Do so no longer: its outcome is recorded, or never will be.

        A newer claim of the same delivery, after this one lapsed, stays held.
        """
        with self._lock:
            self._held.pop(_key(claim), None)

    def run(
        self,
        stop: threading.Event,
        every: timedelta = RENEW_EVERY,
        *,
        after_round: Callable[[], None] = lambda: None,
    ) -> None:
        """Renew until `stop`, in a fixed rhythm: a slow round does not put off the next.

        A database that is away is tried again at the next turn.
        """
        due = time.monotonic()
        while True:
            now = time.monotonic()
            due = max(due + every.total_seconds(), now)
            if stop.wait(due - now):
                return
            try:
                self.renew()
            except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout):
                continue  # logged by the next record; the lease may run out, no more
            except Exception:  # noqa: BLE001 -- without this thread all leases run out
                note_failure("leases.failed")
                continue
            after_round()

    def renew(self) -> int:
        """Renew what is held; return how many leases that were."""
        with self._lock:
            held = list(self._held.values())
        if not held:
            return 0
        values = {
            "lease": LEASE,
            "endpoints": [claim.endpoint_id for claim in held],
            "events": [claim.event_id for claim in held],
            "claimed": [claim.claimed_at for claim in held],
        }
        with self._pool.connection(timeout=CONNECT_WITHIN) as connection:
            return connection.execute(RENEW, values).rowcount


def _key(claim: Claim) -> tuple[UUID, UUID, datetime]:
    return claim.endpoint_id, claim.event_id, claim.claimed_at
