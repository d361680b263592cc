"""Retention: remove what is finished and old, in small batches, so that tables stop growing."""

from datetime import timedelta
from typing import Any

from services.webhooks.sessions import Session

KEEP_EVENTS = timedelta(days=7)  # as long as a replay may go back; the delta's cursor as well (Q13)
KEEP_CHANGES = timedelta(days=8)  # a day longer than what reads them may go back
KEEP_MAILS = timedelta(days=30)  # after they were sent
SETTLED = timedelta(minutes=1)  # after a deletion; twice the longest statement
# At a deleted endpoint that has something left longer than it should.
LOOK_AGAIN = timedelta(hours=1)
BATCH = 500  # events; with 6 deliveries each that is 50 ms


def delete_some(session: Session, *, keep_events: timedelta = KEEP_EVENTS) -> bool:
    """Delete a batch of each kind; say whether there may be more.

    Events, their deliveries and attempts are kept for `keep_events` after they happened.
    """
    deleted = (
        _some_mails(session),
        _some_changes(session),
        _some_events(session, keep_events),
        _some_endpoints(session, keep_events),
    )
    return max(deleted) == BATCH


DELETE_MAILS = """
DELETE FROM mails WHERE id IN (
    SELECT id FROM mails WHERE sent_at < now() - %(keep)s
    LIMIT %(batch)s FOR UPDATE SKIP LOCKED
)
"""


def _some_mails(session: Session) -> int:
    return session.execute(DELETE_MAILS, {"keep": KEEP_MAILS, "batch": BATCH}).rowcount


# The oldest by their ids, which follow the times closely enough, by the primary key. The delta sync
# needs the row of a removed product for as long as its removal is a change that it can read.
DELETE_CHANGES = """
WITH deleted AS (
    DELETE FROM stock_changes WHERE id = ANY (ARRAY (
        SELECT id FROM stock_changes ORDER BY id LIMIT %(batch)s
    )) AND relayed AND changed_at < now() - %(keep)s
    RETURNING product_id, version, new_quantity
), removed AS (
    DELETE FROM removed_products AS removed USING deleted
    WHERE removed.product_id = deleted.product_id AND removed.version = deleted.version
        AND deleted.new_quantity IS NULL
)
SELECT count(*) FROM deleted
"""


def _some_changes(session: Session) -> int:
    rows = session.execute(DELETE_CHANGES, {"keep": KEEP_CHANGES, "batch": BATCH})
    return _number(rows.fetchall())


OLD_EVENTS = """
SELECT id FROM events
WHERE occurred_at < now() - %(keep)s AND NOT EXISTS (
    SELECT FROM deliveries
    WHERE event_id = events.id AND state IN ('pending', 'sending', 'retrying')
)
ORDER BY occurred_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED
"""

# A retry of one of them at this moment holds its row, and keeps it. Attempts go along.
DELETE_DELIVERIES = """
DELETE FROM deliveries WHERE (endpoint_id, event_id) IN (
    SELECT endpoint_id, event_id FROM deliveries
    WHERE event_id = ANY (%(events)s) AND state IN ('delivered', 'exhausted', 'cancelled')
    FOR UPDATE SKIP LOCKED
)
"""

DELETE_EVENTS = """
DELETE FROM events WHERE id = ANY (%(events)s)
    AND NOT EXISTS (SELECT FROM deliveries WHERE event_id = events.id)
"""


def _some_events(session: Session, keep: timedelta) -> int:
    with session.transaction():
        values = {"keep": keep, "batch": BATCH}
        events = [row[0] for row in session.execute(OLD_EVENTS, values)]
        if not events:
            return 0
        session.execute(DELETE_DELIVERIES, {"events": events})
        return session.execute(DELETE_EVENTS, {"events": events}).rowcount


# A deleted endpoint is looked at a minute later, when no statement is left that saw it active. It
# goes unless it has deliveries, or a mail to be sent; then it is looked at again when the newest of
# its deliveries should be gone. While one is unfinished it stays in use (index endpoints_in_use),
# so that the scheduler cancels that; it is then left alone, unless it is not yet marked so. A
# release before this one left its secret. Each row that is counted is deleted or changed: were some
# neither, a batch of them would hide all others, and be found again at once.
DELETE_ENDPOINTS = """
WITH looked_at AS MATERIALIZED (
    SELECT id, in_use, EXISTS (
        SELECT FROM mails WHERE endpoint_id = endpoints.id AND sent_at IS NULL
    ) AS has_mail, (
        SELECT occurred_at FROM deliveries JOIN events ON events.id = event_id
        WHERE endpoint_id = endpoints.id ORDER BY event_id DESC LIMIT 1
    ) AS newest
    FROM endpoints CROSS JOIN LATERAL (
        SELECT EXISTS (
            SELECT FROM deliveries
            WHERE endpoint_id = endpoints.id AND state IN ('pending', 'retrying')
        ) OR EXISTS (
            SELECT FROM deliveries WHERE endpoint_id = endpoints.id AND state = 'sending'
        ) AS in_use
    ) AS waiting
    WHERE state = 'deleted' AND coalesce(kept_until, changed_at) < now() - %(settled)s
        AND (NOT in_use OR num_nonnulls(kept_until, secret, previous_secret) > 0)
    ORDER BY coalesce(kept_until, changed_at) LIMIT %(batch)s FOR UPDATE OF endpoints SKIP LOCKED
), deleted AS (
    DELETE FROM endpoints USING looked_at
    WHERE endpoints.id = looked_at.id AND newest IS NULL AND NOT has_mail
), kept AS (
    UPDATE endpoints SET secret = NULL, previous_secret = NULL,
        kept_until = CASE WHEN NOT in_use THEN greatest(newest + %(keep)s, now() + %(again)s) END
    FROM looked_at
    WHERE endpoints.id = looked_at.id AND (newest IS NOT NULL OR has_mail)
)
SELECT count(*) FROM looked_at
"""


def _some_endpoints(session: Session, keep: timedelta) -> int:
    values = {"keep": keep, "batch": BATCH, "settled": SETTLED, "again": LOOK_AGAIN}
    return _number(session.execute(DELETE_ENDPOINTS, values).fetchall())


def _number(rows: list[tuple[Any, ...]]) -> int:
    """Return the number that a statement counts."""
    ((number,),) = rows
    return int(number)
