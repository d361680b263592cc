"""Domain: redelivery by hand, of a finished delivery or of what an endpoint missed since a time.

Two services do it: partners through the webhooks API, operations through admin. A statement starts
a new series of attempts. The scheduler sees it within its poll, or a wake-up is sooner.
"""

from datetime import datetime
from typing import LiteralString
from uuid import UUID

import msgspec

from services.domain.states import DeliveryState

REPLAY_MOST = 10_000  # events of one replay; about 1 s of the database's work
SCAN_MOST = 100_000  # events that it looks at; those that need nothing are quick

MISSED = (DeliveryState.EXHAUSTED, DeliveryState.CANCELLED)
ARRIVED = DeliveryState.DELIVERED


class Replayed(msgspec.Struct, frozen=True):
    """How many events are sent (again), and where to go on; None: nothing is left."""

    scheduled: int
    next_since: datetime | None


def retry_values(endpoint_id: UUID, event_id: UUID) -> dict[str, object]:
    """Return the parameters of RETRY, which returns a row if it did something."""
    return {"endpoint_id": endpoint_id, "event_id": event_id}


def replay_values(
    endpoint_id: UUID, since: datetime, *, include_delivered: bool
) -> dict[str, object]:
    """Return the parameters of REPLAY, which returns one row, a Replayed."""
    return {
        "endpoint_id": endpoint_id,
        "since": since,
        "again": [*MISSED, ARRIVED] if include_delivered else list(MISSED),
        "limit": REPLAY_MOST,
        "scan": SCAN_MOST,
    }


# No attempt is under way and none is due: the three states of DeliveryState.finished.
RETRY: LiteralString = """
UPDATE deliveries SET
    state = 'pending', series = series + 1, attempts = 0, next_attempt_at = now(),
    claimed_at = NULL, lease_until = NULL, finished_at = NULL, faults = 0
WHERE endpoint_id = %(endpoint_id)s AND event_id = %(event_id)s
    AND state IN ('delivered', 'exhausted', 'cancelled')
RETURNING old.state AS was
"""

# Oldest first, up to the time `next_since`, at which the next replay goes on. Events of that very
# time are left for it together, unless there are more of one time than one replay takes.
REPLAY: LiteralString = """
WITH scanned AS MATERIALIZED (
    SELECT id, occurred_at FROM events
    WHERE occurred_at >= %(since)s AND event_type = ANY (
        SELECT unnest(events) FROM endpoints WHERE id = %(endpoint_id)s
    )
    ORDER BY occurred_at, id LIMIT %(scan)s + 1
), wanted AS MATERIALIZED (
    SELECT scanned.id, scanned.occurred_at,
        row_number() OVER (ORDER BY scanned.occurred_at, scanned.id) AS place
    FROM scanned LEFT JOIN deliveries
        ON deliveries.endpoint_id = %(endpoint_id)s AND deliveries.event_id = scanned.id
    WHERE deliveries.state IS NULL OR deliveries.state = ANY (%(again)s)
    ORDER BY scanned.occurred_at, scanned.id LIMIT %(limit)s + 1
), bound AS (
    SELECT least(
        (SELECT occurred_at FROM wanted WHERE place > %(limit)s),
        (SELECT occurred_at FROM scanned ORDER BY occurred_at, id OFFSET %(scan)s LIMIT 1)
    ) AS next_since
), scheduled AS (
    INSERT INTO deliveries AS delivery (endpoint_id, event_id)
    SELECT %(endpoint_id)s, id FROM wanted, bound
    WHERE place <= %(limit)s AND (
        next_since IS NULL OR occurred_at < next_since
        OR next_since = (SELECT min(occurred_at) FROM wanted)
    )
    ORDER BY id
    ON CONFLICT (endpoint_id, event_id) DO UPDATE SET
        state = 'pending', series = delivery.series + 1, attempts = 0, next_attempt_at = now(),
        claimed_at = NULL, lease_until = NULL, finished_at = NULL, faults = 0
    WHERE delivery.state = ANY (%(again)s)
    RETURNING event_id
)
SELECT (SELECT count(*) FROM scheduled) AS scheduled, next_since FROM bound
"""
