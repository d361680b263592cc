"""Monitoring, its statements: how much waits, counted so far and no further.

Each is cheap however long the tables are: partial indexes have the rows that are asked for, and a
count ends at MOST. Of deliveries every endpoint in use is looked at: 0.1 s in all for 5,000
endpoints with 2 million deliveries, half of them unfinished; the outbox takes 2 ms, with 100,000 of
a million changes to relay.
"""

from datetime import datetime
from typing import NamedTuple

from psycopg import sql

from services.core.environments import Environment
from services.webhooks.sessions import Session

MOST = 10_000  # rows; by then it is a backlog, whatever its length


class Backlog(NamedTuple):
    """What waits, and since when the oldest of it should have been done (None: nothing waits)."""

    rows: int
    oldest: datetime | None


class Deliveries(NamedTuple):
    """The deliveries that matter to operations."""

    due: Backlog
    waiting: int  # for the time of their retry
    exhausted: int


# stock_changes_to_relay; ids follow the times closely enough.
OUTBOX = """
SELECT count(*), (
    SELECT changed_at FROM {env}.stock_changes WHERE NOT relayed ORDER BY id LIMIT 1
) FROM (SELECT FROM {env}.stock_changes WHERE NOT relayed LIMIT %(most)s) AS waiting
"""

# endpoints_in_use and deliveries_due, as the scheduler's DUE_ENDPOINTS looks at them twice a
# second: each endpoint and state by itself, or the planner reads whole backlogs. The limit ends the
# walk over the endpoints.
COUNT_UNFINISHED = """
SELECT count(*) FROM (
    SELECT FROM {env}.endpoints CROSS JOIN (VALUES ('pending'), ('retrying')) AS open (state)
    CROSS JOIN LATERAL (
        SELECT FROM {env}.deliveries
        WHERE endpoint_id = endpoints.id AND deliveries.state = open.state
            AND deliveries.state IN ('pending', 'retrying')
            AND next_attempt_at {is_when} now()
        LIMIT %(most)s
    ) AS found
    WHERE endpoints.state <> 'deleted' OR kept_until IS NULL
    LIMIT %(most)s
) AS counted
"""

OLDEST_DUE = """
SELECT min(first.next_attempt_at)
FROM {env}.endpoints CROSS JOIN (VALUES ('pending'), ('retrying')) AS open (state)
CROSS JOIN LATERAL (
    SELECT next_attempt_at FROM {env}.deliveries
    WHERE endpoint_id = endpoints.id AND deliveries.state = open.state
        AND deliveries.state IN ('pending', 'retrying')
    ORDER BY next_attempt_at LIMIT 1
) AS first
WHERE (endpoints.state <> 'deleted' OR kept_until IS NULL) AND first.next_attempt_at <= now()
"""

# deliveries_failed_anywhere
COUNT_EXHAUSTED = """
SELECT count(*) FROM (
    SELECT FROM {env}.deliveries WHERE state = 'exhausted' LIMIT %(most)s
) AS counted
"""


class MonitoringStore:
    """What is counted in one environment."""

    def __init__(self, environment: Environment) -> None:
        """Take the environment whose rows they are."""
        env = sql.Identifier(environment)
        count = sql.SQL(COUNT_UNFINISHED)
        self._outbox = sql.SQL(OUTBOX).format(env=env).as_bytes()
        self._due = count.format(env=env, is_when=sql.SQL("<=")).as_bytes()
        self._waiting = count.format(env=env, is_when=sql.SQL(">")).as_bytes()
        self._oldest_due = sql.SQL(OLDEST_DUE).format(env=env).as_bytes()
        self._exhausted = sql.SQL(COUNT_EXHAUSTED).format(env=env).as_bytes()

    def outbox(self, session: Session) -> Backlog:
        """Return the changes that were not yet relayed."""
        ((rows, oldest),) = session.execute(self._outbox, {"most": MOST}).fetchall()
        return Backlog(rows, oldest)

    def deliveries(self, session: Session) -> Deliveries:
        """Return the deliveries that are not finished, or ended badly."""
        due, waiting, exhausted = (
            self._count(session, each) for each in (self._due, self._waiting, self._exhausted)
        )
        ((oldest,),) = session.execute(self._oldest_due).fetchall()
        return Deliveries(Backlog(due, oldest), waiting, exhausted)

    @staticmethod
    def _count(session: Session, statement: bytes) -> int:
        ((rows,),) = session.execute(statement, {"most": MOST}).fetchall()
        return int(rows)
