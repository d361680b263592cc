"""Records: what became of an attempt, written in the transaction that ends its claim."""

from datetime import timedelta
from typing import Any

from psycopg import Connection

from services.domain.states import DeliveryState, DisabledReason
from services.webhooks.delivery import incidents
from services.webhooks.delivery.claims import Claim
from services.webhooks.delivery.outcome import Decision, Verdict
from services.webhooks.delivery.schedule import MAX_ATTEMPTS, RetrySchedule

SLOW_CALL = 2.0  # seconds; an endpoint that takes longer moves to the slow lane

# A success counts even when the lease had run out, as long as nobody has claimed again: by then
# the scheduler has released the claim, and taken the attempt off.
RECORD_DELIVERED = """
WITH recorded AS (
    UPDATE deliveries SET
        state = 'delivered', finished_at = now(), lease_until = NULL, attempts = %(attempt)s,
        faults = 0
    WHERE endpoint_id = %(endpoint_id)s AND event_id = %(event_id)s AND series = %(series)s
        AND claimed_at = %(claimed_at)s AND state IN ('sending', 'pending', 'retrying')
    RETURNING endpoint_id, event_id, series, attempts, claimed_at
), tried AS (
    INSERT INTO attempts
        (endpoint_id, event_id, series, number, outcome, status, started_at, milliseconds)
    SELECT endpoint_id, event_id, series, attempts, 'delivered', %(status)s::int, claimed_at,
        %(milliseconds)s::int
    FROM recorded
    ON CONFLICT (endpoint_id, event_id, series, number) DO UPDATE SET
        outcome = excluded.outcome, status = excluded.status,
        milliseconds = excluded.milliseconds, detail = ''
), ended AS (
    SELECT id, partner_id, coalesce(failing_since, incident_since) AS since FROM endpoints
    WHERE id = %(endpoint_id)s AND incident_since IS NOT NULL
), mailed AS (
    INSERT INTO mails (kind, partner_id, endpoint_id, since, reason)
    SELECT 'incident_closed', partner_id, id, since, '' FROM ended
)
UPDATE endpoints SET
    failing_since = NULL, incident_since = NULL,
    slow_until = CASE WHEN %(slow)s THEN now() + %(slow_for)s END
WHERE id = %(endpoint_id)s
    AND (%(slow)s OR num_nonnulls(failing_since, incident_since, slow_until) > 0)
"""

RECORD_FAILED = """
WITH recorded AS (
    UPDATE deliveries SET
        state = %(state)s, lease_until = NULL, next_attempt_at = now() + %(delay)s, faults = 0,
        finished_at = CASE WHEN %(state)s <> 'retrying' THEN now() END
    WHERE endpoint_id = %(endpoint_id)s AND event_id = %(event_id)s AND series = %(series)s
        AND claimed_at = %(claimed_at)s AND state = 'sending'
    RETURNING endpoint_id, event_id, series, attempts, claimed_at
)
INSERT INTO attempts
    (endpoint_id, event_id, series, number, outcome, status, detail, started_at, milliseconds)
SELECT endpoint_id, event_id, series, attempts, %(outcome)s, %(status)s::int, %(detail)s,
    claimed_at, %(milliseconds)s::int
FROM recorded
"""


class Records:
    """Writes down attempts."""

    def __init__(self, *, schedule: RetrySchedule, disable_after: timedelta) -> None:
        """`disable_after`: how long an endpoint may do nothing but fail."""
        self._schedule = schedule
        self._disable_after = disable_after

    def delivered(
        self, connection: Connection[Any], claim: Claim, decision: Decision, *, seconds: float
    ) -> None:
        """Record a success; an incident ends with it."""
        values = {
            **claim.key,
            "status": decision.status,
            "milliseconds": round(seconds * 1000),
            "slow": seconds > SLOW_CALL,
            "slow_for": incidents.SLOW_FOR,
        }
        connection.execute(RECORD_DELIVERED, values)

    def failed(
        self,
        connection: Connection[Any],
        claim: Claim,
        decision: Decision,
        *,
        seconds: float,
        chance: float,
    ) -> DeliveryState | None:
        """Record a failure; return the delivery's new state, None if the claim no longer held."""
        state = state_after(claim.attempt, decision.verdict)
        delay = max(self._schedule.delay(claim.attempt, chance), decision.not_before)
        values = {
            **claim.key,
            "state": state,
            "delay": delay,
            "outcome": decision.outcome,
            "status": decision.status,
            "detail": decision.detail,
            "milliseconds": round(seconds * 1000),
        }
        if connection.execute(RECORD_FAILED, values).rowcount != 1:
            return None
        where = (connection, claim.endpoint_id)
        reason = reason_of(decision)
        incidents.note_failure(*where, slow=seconds > SLOW_CALL)
        if state is DeliveryState.EXHAUSTED:
            incidents.open_incident(*where, reason=reason)
        if decision.verdict is Verdict.GONE:
            incidents.disable(*where, DisabledReason.GONE, reason=reason)
        else:
            after = self._disable_after
            incidents.disable(*where, DisabledReason.FAILING, reason=reason, after=after)
        return state


def state_after(attempt: int, verdict: Verdict) -> DeliveryState:
    """Return what a delivery becomes when an attempt, the n-th of its series, has failed."""
    if verdict is Verdict.GONE:
        return DeliveryState.CANCELLED  # it waits for the endpoint to be enabled, and a replay
    return DeliveryState.EXHAUSTED if attempt >= MAX_ATTEMPTS else DeliveryState.RETRYING


def reason_of(decision: Decision) -> str:
    """Return an attempt's failure in a few words, for mails and logs."""
    if decision.status is not None:
        return f"HTTP {decision.status}"
    return f"{decision.outcome}: {decision.detail}" if decision.detail else str(decision.outcome)
