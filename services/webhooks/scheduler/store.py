"""Scheduler, its statements: lapsed leases, deliveries to cancel, endpoints to wake."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.webhooks.delivery.claims import LONGEST_PAUSE_IN_DOUBT, release
from services.webhooks.sessions import Session


class Lapsed(NamedTuple):
    """A delivery whose lease ran out: it was sent, or not, and nobody knows how it ended."""

    event_id: UUID
    claimed_at: datetime
    attempt: int


class DueEndpoint(NamedTuple):
    """An endpoint that has something due, and whether it is in the slow lane."""

    endpoint_id: UUID
    slow: bool
    is_active: bool  # as its partner is; else its due deliveries are cancelled


# The partial index holds the deliveries that are being sent just now, and no more.
ENDPOINTS_WITH_LAPSED = """
SELECT DISTINCT endpoint_id FROM deliveries
WHERE state = 'sending' AND lease_until < now() LIMIT %(batch)s
"""


def endpoints_with_lapsed(session: Session, batch: int) -> list[UUID]:
    """Return endpoints, at most `batch`, that have a lapsed lease."""
    return [row[0] for row in session.execute(ENDPOINTS_WITH_LAPSED, {"batch": batch})]


# As a worker that records does: first the endpoint's turn, then its deliveries. An endpoint that is
# locked is left to the next pass, so that the others do not wait for it.
LOCK_ENDPOINT = """
SELECT FROM endpoints WHERE id = %(endpoint_id)s FOR NO KEY UPDATE SKIP LOCKED
"""

LAPSED = """
SELECT event_id, claimed_at, attempts FROM deliveries
WHERE endpoint_id = %(endpoint_id)s AND state = 'sending' AND lease_until < now()
ORDER BY lease_until LIMIT %(batch)s FOR UPDATE SKIP LOCKED
"""


def take_lapsed(session: Session, endpoint_id: UUID, batch: int) -> list[Lapsed]:
    """Lock the endpoint and its lapsed deliveries, oldest first, until the transaction ends.

    Return none if somebody else has locked the endpoint.
    """
    if session.execute(LOCK_ENDPOINT, {"endpoint_id": endpoint_id}).rowcount == 0:
        return []
    rows = session.execute(LAPSED, {"endpoint_id": endpoint_id, "batch": batch})
    return [Lapsed._make(row) for row in rows]


def release_lapsed(session: Session, endpoint_id: UUID, lapsed: Sequence[Lapsed]) -> None:
    """Release lapsed claims; no attempt is counted, and each is tried again."""
    claims = [(each.event_id, each.claimed_at) for each in lapsed]
    release(session, endpoint_id, claims, longest=LONGEST_PAUSE_IN_DOUBT)


# Two looks at the partial index for each endpoint in use, however many deliveries wait there. A
# deleted one is in use until retention has seen that nothing waits for it.
DUE_ENDPOINTS = """
SELECT endpoints.id, coalesce(endpoints.slow_until > now(), false),
    endpoints.state = 'active' AND partners.state = 'active'
FROM endpoints JOIN partners ON partners.id = endpoints.partner_id
WHERE (endpoints.state <> 'deleted' OR kept_until IS NULL) AND least(
    (SELECT next_attempt_at FROM deliveries
        WHERE endpoint_id = endpoints.id AND state = 'pending'
        ORDER BY next_attempt_at LIMIT 1),
    (SELECT next_attempt_at FROM deliveries
        WHERE endpoint_id = endpoints.id AND state = 'retrying'
        ORDER BY next_attempt_at LIMIT 1)
) <= now()
"""


def due_endpoints(session: Session) -> list[DueEndpoint]:
    """Return the endpoints that have something due."""
    return [DueEndpoint._make(row) for row in session.execute(DUE_ENDPOINTS)]


# An endpoint may have been enabled since it was found.
CANCEL = """
UPDATE deliveries SET state = 'cancelled', finished_at = now()
WHERE (endpoint_id, event_id) IN (
    SELECT endpoint_id, event_id FROM deliveries
    WHERE endpoint_id = ANY (%(endpoints)s) AND state IN ('pending', 'retrying')
        AND next_attempt_at <= now() AND NOT EXISTS (
            SELECT FROM endpoints JOIN partners ON partners.id = endpoints.partner_id
            WHERE endpoints.id = endpoint_id
                AND endpoints.state = 'active' AND partners.state = 'active'
        )
    LIMIT %(batch)s FOR UPDATE OF deliveries SKIP LOCKED
)
"""


def cancel(session: Session, endpoints: Sequence[UUID], batch: int) -> int:
    """Cancel the due deliveries of those endpoints that are not active; return how many."""
    values = {"endpoints": list(endpoints), "batch": batch}
    # Planned for these very endpoints: by the average one, it may read all that they ever had.
    return session.execute(CANCEL, values, prepare=False).rowcount
