"""Claims: who may send a delivery now; counted, under a lease, one endpoint at a time.

All claims of one endpoint take turns on its row, so that what it has in flight is counted truly.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Connection

from services.core.rows import struct_row
from services.webhooks.queue import Lane
from services.webhooks.words import Simulation

# Renewed each 0.5 s while the call lasts; then its holder is taken for dead. A new change still
# arrives within W6's 5 s: the scheduler sees a lapsed lease within 0.5 s and wakes the endpoint.
LEASE = timedelta(seconds=2.5)
IN_FLIGHT = {Lane.FAST: 4, Lane.SLOW: 1}  # calls of one endpoint at the same time, over all workers
# An endpoint with a call this old gets no other meanwhile. One that begins to hang holds as many
# threads as calls began within this time: one or two of a few changes a second, 4 at most.
HANGING = timedelta(milliseconds=250)
# Before a released delivery is tried again: doubled with each fault since its last attempt.
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE_UNSENT = timedelta(minutes=1)  # it costs us a claim, and the receiver nothing
LONGEST_PAUSE_IN_DOUBT = timedelta(minutes=10)  # the receiver may get it each time
HELD_BACK = timedelta(seconds=2)  # in the sandbox, times the simulations left: the first waits most

LOCK_ENDPOINT = "SELECT FROM endpoints WHERE id = %s FOR NO KEY UPDATE"

# Due retries before new deliveries: a backlog must not put off the end of an old one, of which its
# partner hears. NO KEY UPDATE above lets the relay add deliveries meanwhile. The lease does not
# begin at now(), the transaction's time, because the wait for that lock comes after it.
CLAIM = """
WITH endpoint AS (
    SELECT endpoints.* FROM endpoints JOIN partners ON partners.id = partner_id
    WHERE endpoints.id = %(endpoint_id)s AND endpoints.state = 'active'
        AND partners.state = 'active'
        AND coalesce(slow_until > now(), false) = %(slow)s
), sending AS (
    SELECT count(*) AS calls, min(claimed_at) AS oldest FROM deliveries
    WHERE endpoint_id = %(endpoint_id)s AND state = 'sending'
), due AS (
    SELECT coalesce(
        (SELECT event_id FROM deliveries
            WHERE endpoint_id = %(endpoint_id)s AND state = 'retrying' AND next_attempt_at <= now()
            ORDER BY next_attempt_at, event_id LIMIT 1),
        (SELECT event_id FROM deliveries
            WHERE endpoint_id = %(endpoint_id)s AND state = 'pending' AND next_attempt_at <= now()
            ORDER BY next_attempt_at, event_id LIMIT 1)
    ) AS event_id
)
UPDATE deliveries AS delivery SET
    state = 'sending', attempts = attempts + 1, claimed_at = now(),
    lease_until = clock_timestamp() + %(lease)s
FROM endpoint, sending, due JOIN events ON events.id = due.event_id
WHERE delivery.endpoint_id = %(endpoint_id)s AND delivery.event_id = due.event_id
    AND delivery.state IN ('pending', 'retrying')
    AND sending.calls < %(in_flight)s
    AND coalesce(sending.oldest > now() - %(hanging)s, true)
RETURNING delivery.endpoint_id, delivery.event_id, series, attempts AS attempt, claimed_at,
    event_type, occurred_at, data, request_id, url, secret,
    CASE WHEN previous_secret_until > now() THEN previous_secret END AS previous_secret,
    CASE WHEN simulations_left > 0 THEN simulation END AS simulation
"""

TAKE_SIMULATION = """
UPDATE endpoints SET simulations_left = simulations_left - 1
WHERE id = %s AND simulations_left > 0 RETURNING simulations_left
"""

HOLD_BACK = """
UPDATE deliveries SET
    state = CASE WHEN attempts > 1 THEN 'retrying' ELSE 'pending' END, attempts = attempts - 1,
    lease_until = NULL, next_attempt_at = now() + %(held_back)s
WHERE endpoint_id = %(endpoint_id)s AND event_id = %(event_id)s AND series = %(series)s
    AND claimed_at = %(claimed_at)s AND state = 'sending'
"""


class Claim(msgspec.Struct, frozen=True):
    """One attempt that this worker, and nobody else, makes now."""

    endpoint_id: UUID
    event_id: UUID
    series: int
    attempt: int  # 1 for the first of its series
    claimed_at: datetime  # tells this claim from every other of the same delivery
    event_type: str
    occurred_at: datetime
    data: str  # finished JSON
    request_id: str | None  # of the request that caused the event, for the log
    url: str
    secret: bytes  # sealed, as the previous one is
    previous_secret: bytes | None  # while it is valid
    simulation: Simulation | None

    @property
    def retry_count(self) -> int:
        """What the payload says: the claim's number less one (W4)."""
        return self.attempt - 1

    @property
    def key(self) -> dict[str, object]:
        """What its row is found by, as long as the claim holds."""
        return {
            "endpoint_id": self.endpoint_id,
            "event_id": self.event_id,
            "series": self.series,
            "attempt": self.attempt,
            "claimed_at": self.claimed_at,
        }


class Claims:
    """The claims of one lane's workers."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    def lock(self, connection: Connection[Any], endpoint_id: UUID) -> None:
        """Wait for the endpoint's turn; it lasts until the transaction ends."""
        connection.execute(LOCK_ENDPOINT, [endpoint_id])

    def take(self, connection: Connection[Any], endpoint_id: UUID) -> Claim | None:
        """Claim the endpoint's next due delivery, if this lane may call it now.

        The caller holds the lock; this statement's snapshot is younger than that.
        """
        values = {
            "endpoint_id": endpoint_id,
            "lease": LEASE,
            "in_flight": IN_FLIGHT[self._lane],
            "hanging": HANGING,
            "slow": self._lane is Lane.SLOW,
        }
        cursor = connection.cursor(row_factory=struct_row(Claim))
        claim = cursor.execute(CLAIM, values).fetchone()
        if claim is None or claim.simulation is None:
            return claim
        return self._simulated(connection, claim)

    def release(self, connection: Connection[Any], claim: Claim, *, longest: timedelta) -> None:
        """Release a claim whose attempt a fault of ours ended; the caller holds the lock."""
        claims = [(claim.event_id, claim.claimed_at)]
        release(connection, claim.endpoint_id, claims, longest=longest)

    def _simulated(self, connection: Connection[Any], claim: Claim) -> Claim | None:
        """Use up one of the endpoint's simulations; hold the delivery back if it says so (A9)."""
        left = connection.execute(TAKE_SIMULATION, [claim.endpoint_id]).fetchone()
        if left is None:  # another worker has used up the last one
            return msgspec.structs.replace(claim, simulation=None)
        if claim.simulation != Simulation.OUT_OF_ORDER:
            return claim
        held_back = HELD_BACK * (int(left[0]) + 1)
        connection.execute(HOLD_BACK, {**claim.key, "held_back": held_back})
        return None


# The attempt that the claim counted was none. Records of the claim that come late still find it by
# its time, as long as nobody has claimed again.
RELEASE = """
UPDATE deliveries AS delivery SET
    state = CASE WHEN attempts > 1 THEN 'retrying' ELSE 'pending' END, attempts = attempts - 1,
    faults = faults + 1, lease_until = NULL,
    next_attempt_at = now() + least(%(longest)s, %(first)s * power(2, least(faults, 20)))
FROM unnest(%(events)s::uuid[], %(claimed)s::timestamptz[]) AS claim (event_id, claimed_at)
WHERE delivery.endpoint_id = %(endpoint_id)s AND delivery.event_id = claim.event_id
    AND delivery.claimed_at = claim.claimed_at AND state = 'sending'
"""


def release(
    connection: Connection[Any],
    endpoint_id: UUID,
    claims: Sequence[tuple[UUID, datetime]],
    *,
    longest: timedelta,
) -> None:
    """Release claims after a fault of ours: no attempt is counted, and each is tried again later.

    `claims` are an event's id and the claim's time; `longest` bounds the pause. The caller holds
    the endpoint's lock.
    """
    values = {
        "endpoint_id": endpoint_id,
        "events": [event_id for event_id, _ in claims],
        "claimed": [claimed_at for _, claimed_at in claims],
        "first": FIRST_PAUSE,
        "longest": longest,
    }
    connection.execute(RELEASE, values)
