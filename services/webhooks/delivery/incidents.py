"""Incidents: an endpoint that fails, from its first failure to its next success (W8).

Each function runs inside the transaction that records an attempt, so that a mail is written down
with the very reason for it, once for each end of an incident.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection

from services.domain.states import DisabledReason
from services.webhooks.words import MailKind

SLOW_FOR = timedelta(minutes=5)  # in the slow lane after a call that took too long

NOTE_FAILURE = """
UPDATE endpoints SET
    failing_since = coalesce(failing_since, now()),
    slow_until = CASE WHEN %(slow)s THEN now() + %(slow_for)s ELSE slow_until END
WHERE id = %(endpoint_id)s
"""


def note_failure(connection: Connection[Any], endpoint_id: UUID, *, slow: bool) -> None:
    """Note that an attempt failed; `slow`: it held a worker for long."""
    values = {"endpoint_id": endpoint_id, "slow": slow, "slow_for": SLOW_FOR}
    connection.execute(NOTE_FAILURE, values)


OPEN_INCIDENT = """
WITH opened AS (
    UPDATE endpoints SET incident_since = now()
    WHERE id = %(endpoint_id)s AND incident_since IS NULL AND state <> 'deleted'
    RETURNING id, partner_id, coalesce(failing_since, now()) AS since
)
INSERT INTO mails (kind, partner_id, endpoint_id, since, reason)
SELECT %(kind)s, partner_id, id, since, %(reason)s FROM opened
"""


def open_incident(connection: Connection[Any], endpoint_id: UUID, *, reason: str) -> bool:
    """Begin an incident with a mail, unless one is under way; say whether it began."""
    values = {"endpoint_id": endpoint_id, "kind": MailKind.INCIDENT_OPENED, "reason": reason}
    return connection.execute(OPEN_INCIDENT, values).rowcount == 1


DISABLE = """
WITH disabled AS (
    UPDATE endpoints SET state = 'disabled', disabled_reason = %(why)s, changed_at = now()
    WHERE id = %(endpoint_id)s AND state = 'active'
        AND (%(after)s::interval IS NULL
            OR (incident_since IS NOT NULL AND failing_since < now() - %(after)s::interval))
    RETURNING id, partner_id, coalesce(failing_since, now()) AS since
)
INSERT INTO mails (kind, partner_id, endpoint_id, since, reason)
SELECT %(kind)s, partner_id, id, since, %(reason)s FROM disabled
"""
MAIL_OF = {
    DisabledReason.GONE: MailKind.ENDPOINT_GONE,
    DisabledReason.FAILING: MailKind.ENDPOINT_DISABLED,
}


def disable(
    connection: Connection[Any],
    endpoint_id: UUID,
    why: DisabledReason,
    *,
    reason: str,
    after: timedelta | None = None,
) -> bool:
    """Disable an active endpoint with a mail; say whether it was.

    `after`: only one that is in an incident and has failed for longer than this.
    """
    values = {
        "endpoint_id": endpoint_id,
        "why": why,
        "kind": MAIL_OF[why],
        "reason": reason,
        "after": after,
    }
    return connection.execute(DISABLE, values).rowcount == 1
