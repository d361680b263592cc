"""Mail, its statements: claim a mail, then (with nothing open) it is sent, then record."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from services.core.rows import struct_row
from services.webhooks.sessions import Session
from services.webhooks.words import MailKind

LEASE = timedelta(seconds=60)  # twice the longest send; then its mailer is taken for dead


class Mail(msgspec.Struct, frozen=True):
    """A mail that is to be sent now, and what its text needs."""

    id: UUID
    kind: MailKind
    attempts: int  # this one included
    since: datetime  # the first failed attempt after the last success
    reason: str
    partner: str
    contact: str
    endpoint_id: UUID
    url: str
    missed: int  # events that were given up since then
    missed_since: datetime | None  # when the oldest event happened that has not arrived
    now: datetime


# The contact and the address are those of this moment. An event happened before its first attempt,
# so that a replay has to begin earlier than the failures did.
CLAIM = """
WITH due AS (
    SELECT id FROM mails WHERE sent_at IS NULL AND next_attempt_at <= now()
    ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE mails SET attempts = attempts + 1, next_attempt_at = now() + %(lease)s
    FROM due WHERE mails.id = due.id
    RETURNING mails.*
)
SELECT claimed.id, kind, attempts, since, reason, partners.name AS partner, contact,
    endpoint_id, url, now() AS now, missed, missed_since
FROM claimed
JOIN partners ON partners.id = claimed.partner_id
JOIN endpoints ON endpoints.id = claimed.endpoint_id
CROSS JOIN LATERAL (
    SELECT min(events.occurred_at) AS missed_since,
        count(*) FILTER (WHERE deliveries.state IN ('exhausted', 'cancelled')) AS missed
    FROM deliveries JOIN events ON events.id = deliveries.event_id
    WHERE deliveries.endpoint_id = claimed.endpoint_id AND deliveries.state <> 'delivered'
        AND coalesce(deliveries.finished_at, now()) >= claimed.since
) AS missed
"""


def claim(session: Session) -> Mail | None:
    """Claim the mail that has been due for longest; it comes back after its lease."""
    cursor = session.cursor(row_factory=struct_row(Mail))
    return cursor.execute(CLAIM, {"lease": LEASE}).fetchone()


RECORD_SENT = """
UPDATE mails SET sent_at = now(), last_error = '' WHERE id = %(id)s AND sent_at IS NULL
"""


def record_sent(session: Session, mail: Mail) -> None:
    """Record that the server has taken it."""
    session.execute(RECORD_SENT, {"id": mail.id})


RECORD_FAILED = """
UPDATE mails SET last_error = %(error)s, next_attempt_at = now() + %(delay)s
WHERE id = %(id)s AND attempts = %(attempts)s AND sent_at IS NULL
"""


def record_failed(session: Session, mail: Mail, *, error: str, delay: timedelta) -> None:
    """Record why it was not taken, and when to try again."""
    values = {"id": mail.id, "attempts": mail.attempts, "error": error, "delay": delay}
    session.execute(RECORD_FAILED, values)
