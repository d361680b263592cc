"""Scheduler, its statements: lapsed leases, deliveries to cancel, endpoints to wake."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from psycopg import sql

from services.kernel.environments import Environment
from services.webhooks.delivery.outcome import AttemptOutcome
from services.webhooks.sessions import Session
from services.webhooks.states import DeliveryState


class Lapsed(NamedTuple):
    """A delivery whose lease ran out: it was sent, or not, and nobody knows how it ended."""

    event_id: UUID
    attempts: int


class Next(NamedTuple):
    """What becomes of a lapsed delivery."""

    event_id: UUID
    state: DeliveryState
    delay: timedelta


class DueEndpoint(NamedTuple):
    """An endpoint that has something due, and whether it is in the slow lane."""

    endpoint_id: UUID
    slow: bool
    is_active: bool  # as its partner is; else what is due is cancelled


# The partial index holds what is being sent just now, and no more.
ENDPOINTS_WITH_LAPSED = """
SELECT DISTINCT endpoint_id FROM {env}.deliveries
WHERE state = 'sending' AND lease_until < now() LIMIT %(batch)s
"""

# As a worker that records does: first the endpoint's turn, then its deliveries.
LOCK_ENDPOINT = "SELECT FROM {env}.endpoints WHERE id = %(endpoint_id)s FOR NO KEY UPDATE"

LAPSED = """
SELECT event_id, attempts FROM {env}.deliveries
WHERE endpoint_id = %(endpoint_id)s AND state = 'sending' AND lease_until < now()
ORDER BY lease_until LIMIT %(batch)s FOR UPDATE SKIP LOCKED
"""

RECORD_LAPSED = """
WITH lapsed AS (
    SELECT * FROM unnest(%(events)s::uuid[], %(states)s::text[], %(delays)s::interval[])
        AS lapsed (event_id, state, delay)
), recorded AS (
    UPDATE {env}.deliveries AS delivery SET
        state = lapsed.state, lease_until = NULL, next_attempt_at = now() + lapsed.delay,
        finished_at = CASE WHEN lapsed.state = 'exhausted' THEN now() END
    FROM lapsed
    WHERE delivery.endpoint_id = %(endpoint_id)s AND delivery.event_id = lapsed.event_id
        AND delivery.state = 'sending'
    RETURNING delivery.event_id, delivery.series, delivery.attempts, delivery.claimed_at,
        extract(epoch FROM old.lease_until - delivery.claimed_at) AS seconds
)
INSERT INTO {env}.attempts
    (endpoint_id, event_id, series, number, outcome, detail, started_at, milliseconds)
SELECT %(endpoint_id)s, event_id, series, attempts, %(outcome)s, %(detail)s, claimed_at,
    round(seconds * 1000)
FROM recorded
ON CONFLICT (endpoint_id, event_id, series, number) DO NOTHING
"""

# Two looks at the partial index for each endpoint in use, however many deliveries wait there. A
# deleted one is in use until retention has seen that nothing waits for it.
DUE_ENDPOINTS = """
SELECT endpoints.id, coalesce(endpoints.slow_until > now(), false),
    endpoints.state = 'active' AND partners.state = 'active'
FROM {env}.endpoints JOIN {env}.partners ON partners.id = endpoints.partner_id
WHERE (endpoints.state <> 'deleted' OR kept_until IS NULL) AND least(
    (SELECT next_attempt_at FROM {env}.deliveries
        WHERE endpoint_id = endpoints.id AND state = 'pending'
        ORDER BY next_attempt_at LIMIT 1),
    (SELECT next_attempt_at FROM {env}.deliveries
        WHERE endpoint_id = endpoints.id AND state = 'retrying'
        ORDER BY next_attempt_at LIMIT 1)
) <= now()
"""

# An endpoint may have been enabled since it was found.
CANCEL = """
UPDATE {env}.deliveries SET state = 'cancelled', finished_at = now()
WHERE (endpoint_id, event_id) IN (
    SELECT endpoint_id, event_id FROM {env}.deliveries
    WHERE endpoint_id = ANY (%(endpoints)s) AND state IN ('pending', 'retrying')
        AND next_attempt_at <= now() AND NOT EXISTS (
            SELECT FROM {env}.endpoints JOIN {env}.partners ON partners.id = endpoints.partner_id
            WHERE endpoints.id = endpoint_id
                AND endpoints.state = 'active' AND partners.state = 'active'
        )
    LIMIT %(batch)s FOR UPDATE OF deliveries SKIP LOCKED
)
"""


class SchedulerStore:
    """What the scheduler asks of PostgreSQL."""

    def __init__(self, environment: Environment) -> None:
        """Take the environment whose deliveries they are."""
        env = sql.Identifier(environment)
        self._with_lapsed = sql.SQL(ENDPOINTS_WITH_LAPSED).format(env=env).as_bytes()
        self._lock = sql.SQL(LOCK_ENDPOINT).format(env=env).as_bytes()
        self._lapsed = sql.SQL(LAPSED).format(env=env).as_bytes()
        self._record = sql.SQL(RECORD_LAPSED).format(env=env).as_bytes()
        self._cancel = sql.SQL(CANCEL).format(env=env).as_bytes()
        self._due = sql.SQL(DUE_ENDPOINTS).format(env=env).as_bytes()

    def endpoints_with_lapsed(self, session: Session, batch: int) -> list[UUID]:
        """Return endpoints, at most `batch`, that have a lapsed lease."""
        return [row[0] for row in session.execute(self._with_lapsed, {"batch": batch})]

    def take_lapsed(self, session: Session, endpoint_id: UUID, batch: int) -> list[Lapsed]:
        """Lock the endpoint and its lapsed deliveries, oldest first, until the transaction ends."""
        session.execute(self._lock, {"endpoint_id": endpoint_id})
        rows = session.execute(self._lapsed, {"endpoint_id": endpoint_id, "batch": batch})
        return [Lapsed._make(row) for row in rows]

    def record_lapsed(
        self, session: Session, endpoint_id: UUID, then: Sequence[Next], *, detail: str
    ) -> None:
        """Record that the outcome of each is unknown, and what becomes of it."""
        values = {
            "endpoint_id": endpoint_id,
            "events": [each.event_id for each in then],
            "states": [str(each.state) for each in then],
            "delays": [each.delay for each in then],
            "outcome": AttemptOutcome.UNKNOWN,
            "detail": detail,
        }
        session.execute(self._record, values)

    def due_endpoints(self, session: Session) -> list[DueEndpoint]:
        """Return the endpoints that have something due."""
        return [DueEndpoint._make(row) for row in session.execute(self._due)]

    def cancel(self, session: Session, endpoints: Sequence[UUID], batch: int) -> int:
        """Cancel what is due at those of these endpoints that take nothing; return how many."""
        values = {"endpoints": list(endpoints), "batch": batch}
        # Planned for these very endpoints: by the average one, it may read all that they ever had.
        return session.execute(self._cancel, values, prepare=False).rowcount
