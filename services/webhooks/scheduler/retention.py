"""Retention: remove what is finished and old, in small batches, so that tables stop growing."""

from datetime import timedelta

from psycopg import sql

from services.kernel.environments import Environment
from services.webhooks.sessions import Session

KEEP_EVENTS = timedelta(days=7)  # as long as a replay may go back; the delta's cursor as well (Q13)
KEEP_CHANGES = timedelta(days=8)  # a day longer than what reads them may go back
KEEP_MAILS = timedelta(days=30)  # after they were sent
BATCH = 500  # events; with 6 deliveries each that is 50 ms

OLD_EVENTS = """
SELECT id FROM {env}.events
WHERE occurred_at < now() - %(keep)s AND NOT EXISTS (
    SELECT FROM {env}.deliveries
    WHERE event_id = events.id AND state IN ('pending', 'sending', 'retrying')
)
ORDER BY occurred_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED
"""

# Whoever tries one of them again at this moment holds its row, and keeps it. Attempts go along.
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

# The oldest by their ids, which follow the times closely enough, by the primary key.
DELETE_CHANGES = """
DELETE FROM {env}.stock_changes WHERE id = ANY (ARRAY (
    SELECT id FROM {env}.stock_changes ORDER BY id LIMIT %(batch)s
)) AND relayed AND changed_at < now() - %(keep)s
"""

DELETE_MAILS = """
DELETE FROM {env}.mails WHERE id IN (
    SELECT id FROM {env}.mails WHERE sent_at < now() - %(keep)s
    LIMIT %(batch)s FOR UPDATE SKIP LOCKED
)
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

    def delete_some(self, session: Session) -> bool:
        """Delete one batch; say whether there may be more."""
        session.execute(self._delete_mails, {"keep": KEEP_MAILS, "batch": BATCH})
        changes = session.execute(self._delete_changes, {"keep": KEEP_CHANGES, "batch": BATCH})
        return self._delete_events_of_batch(session) or changes.rowcount == BATCH

    def _delete_events_of_batch(self, session: Session) -> bool:
        with session.transaction():
            values = {"keep": self._keep_events, "batch": BATCH}
            events = [row[0] for row in session.execute(self._old_events, values)]
            if not events:
                return False
            session.execute(self._delete_deliveries, {"events": events})
            deleted = session.execute(self._delete_events, {"events": events}).rowcount
        return deleted == BATCH
