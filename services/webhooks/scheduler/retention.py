"""Retention: remove what is finished and old, in small batches, so that tables stop growing."""

from collections.abc import Mapping
from datetime import timedelta

from psycopg import sql

from services.core.environments import Environment
from services.webhooks.sessions import Session

KEEP_EVENTS = timedelta(days=7)  # as long as a replay may go back; the delta's cursor as well (Q13)
KEEP_CHANGES = timedelta(days=8)  # a day longer than what reads them may go back
KEEP_MAILS = timedelta(days=30)  # after they were sent
SETTLED = timedelta(minutes=1)  # after a deletion; twice the longest statement
LOOK_AGAIN = timedelta(
    hours=1
)  # at a deleted endpoint that has something left longer than it should
BATCH = 500  # events; with 6 deliveries each that is 50 ms

OLD_EVENTS = """
SELECT id FROM {env}.events
WHERE occurred_at < now() - %(keep)s AND NOT EXISTS (
    SELECT FROM {env}.deliveries
    WHERE event_id = events.id AND state IN ('pending', 'sending', 'retrying')
)
ORDER BY occurred_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED
"""

# A retry of one of them at this moment holds its row, and keeps it. Attempts go along.
DELETE_DELIVERIES = """
DELETE FROM {env}.deliveries WHERE (endpoint_id, event_id) IN (
    SELECT endpoint_id, event_id FROM {env}.deliveries
    WHERE event_id = ANY (%(events)s) AND state IN ('delivered', 'exhausted', 'cancelled')
    FOR UPDATE SKIP LOCKED
)
"""

DELETE_EVENTS = """
DELETE FROM {env}.events WHERE id = ANY (%(events)s)
    AND NOT EXISTS (SELECT FROM {env}.deliveries WHERE event_id = events.id)
"""

# The oldest by their ids, which follow the times closely enough, by the primary key. The delta sync
# needs the row of a removed product for as long as its removal is a change that it can read.
DELETE_CHANGES = """
WITH deleted AS (
    DELETE FROM {env}.stock_changes WHERE id = ANY (ARRAY (
        SELECT id FROM {env}.stock_changes ORDER BY id LIMIT %(batch)s
    )) AND relayed AND changed_at < now() - %(keep)s
    RETURNING product_id, version, new_quantity
), removed AS (
    DELETE FROM {env}.removed_products AS removed USING deleted
    WHERE removed.product_id = deleted.product_id AND removed.version = deleted.version
        AND deleted.new_quantity IS NULL
)
SELECT count(*) FROM deleted
"""

DELETE_MAILS = """
DELETE FROM {env}.mails WHERE id IN (
    SELECT id FROM {env}.mails WHERE sent_at < now() - %(keep)s
    LIMIT %(batch)s FOR UPDATE SKIP LOCKED
)
"""

# A deleted endpoint is looked at a minute later, when no statement is left that saw it active. It
# goes unless it has deliveries, or a mail to be sent; then it is looked at again when the newest of
# its deliveries should be gone. While one is unfinished it stays in use (index endpoints_in_use),
# so that the scheduler cancels that; it is then left alone, unless it is not yet marked so. A
# release before this one left its secret. Each row that is counted is deleted or changed: were some
# neither, a batch of them would hide all others, and be found again at once.
DELETE_ENDPOINTS = """
WITH looked_at AS MATERIALIZED (
    SELECT id, in_use, EXISTS (
        SELECT FROM {env}.mails WHERE endpoint_id = endpoints.id AND sent_at IS NULL
    ) AS has_mail, (
        SELECT occurred_at FROM {env}.deliveries JOIN {env}.events ON events.id = event_id
        WHERE endpoint_id = endpoints.id ORDER BY event_id DESC LIMIT 1
    ) AS newest
    FROM {env}.endpoints CROSS JOIN LATERAL (
        SELECT EXISTS (
            SELECT FROM {env}.deliveries
            WHERE endpoint_id = endpoints.id AND state IN ('pending', 'retrying')
        ) OR EXISTS (
            SELECT FROM {env}.deliveries WHERE endpoint_id = endpoints.id AND state = 'sending'
        ) AS in_use
    ) AS waiting
    WHERE state = 'deleted' AND coalesce(kept_until, changed_at) < now() - %(settled)s
        AND (NOT in_use OR num_nonnulls(kept_until, secret, previous_secret) > 0)
    ORDER BY coalesce(kept_until, changed_at) LIMIT %(batch)s FOR UPDATE OF endpoints SKIP LOCKED
), deleted AS (
    DELETE FROM {env}.endpoints USING looked_at
    WHERE endpoints.id = looked_at.id AND newest IS NULL AND NOT has_mail
), kept AS (
    UPDATE {env}.endpoints SET secret = NULL, previous_secret = NULL,
        kept_until = CASE WHEN NOT in_use THEN greatest(newest + %(keep)s, now() + %(again)s) END
    FROM looked_at
    WHERE endpoints.id = looked_at.id AND (newest IS NOT NULL OR has_mail)
)
SELECT count(*) FROM looked_at
"""


class Retention:
    """Removes old rows of one environment."""

    def __init__(self, environment: Environment, *, keep_events: timedelta = KEEP_EVENTS) -> None:
        """Keep events, their deliveries and attempts for `keep_events` after they happened."""
        env = sql.Identifier(environment)
        self._keep_events = keep_events
        self._old_events = sql.SQL(OLD_EVENTS).format(env=env).as_bytes()
        self._delete_deliveries = sql.SQL(DELETE_DELIVERIES).format(env=env).as_bytes()
        self._delete_events = sql.SQL(DELETE_EVENTS).format(env=env).as_bytes()
        self._delete_changes = sql.SQL(DELETE_CHANGES).format(env=env).as_bytes()
        self._delete_mails = sql.SQL(DELETE_MAILS).format(env=env).as_bytes()
        self._delete_endpoints = sql.SQL(DELETE_ENDPOINTS).format(env=env).as_bytes()

    def delete_some(self, session: Session) -> bool:
        """Delete a batch of each kind; say whether there may be more."""
        kinds = (self._some_mails, self._some_changes, self._some_events, self._some_endpoints)
        return max([delete(session) for delete in kinds]) == BATCH

    def _some_mails(self, session: Session) -> int:
        values = {"keep": KEEP_MAILS, "batch": BATCH}
        return session.execute(self._delete_mails, values).rowcount

    def _some_changes(self, session: Session) -> int:
        return _number(session, self._delete_changes, {"keep": KEEP_CHANGES, "batch": BATCH})

    def _some_events(self, session: Session) -> int:
        with session.transaction():
            values = {"keep": self._keep_events, "batch": BATCH}
            events = [row[0] for row in session.execute(self._old_events, values)]
            if not events:
                return 0
            session.execute(self._delete_deliveries, {"events": events})
            return session.execute(self._delete_events, {"events": events}).rowcount

    def _some_endpoints(self, session: Session) -> int:
        values = {
            "keep": self._keep_events,
            "batch": BATCH,
            "settled": SETTLED,
            "again": LOOK_AGAIN,
        }
        return _number(session, self._delete_endpoints, values)


def _number(session: Session, statement: bytes, values: Mapping[str, object]) -> int:
    """Return the number that a statement counts."""
    ((number,),) = session.execute(statement, values).fetchall()
    return int(number)
