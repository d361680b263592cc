"""Monitoring, its statements: how much waits, counted so far and no further.

Each is cheap however long the tables are: partial indexes have the rows that are asked for, and a
count ends at MOST. Of deliveries every endpoint in use is looked at: 0.1 s in all for 5,000
endpoints with 2 million deliveries, half of them unfinished; the outbox takes 2 ms, with 100,000 of
a million changes to relay.
"""

from datetime import datetime
from typing import NamedTuple

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
    SELECT changed_at FROM stock_changes WHERE NOT relayed ORDER BY id LIMIT 1
) FROM (SELECT FROM stock_changes WHERE NOT relayed LIMIT %(most)s) AS waiting
"""


def read_outbox(session: Session) -> Backlog:
    """Return the changes that were not yet relayed."""
    ((rows, oldest),) = session.execute(OUTBOX, {"most": MOST}).fetchall()
    return Backlog(rows, oldest)


# endpoints_in_use and deliveries_due, as the scheduler's DUE_ENDPOINTS looks at them twice a
# second: each endpoint and state by itself, or the planner reads whole backlogs. The limit ends the
# walk over the endpoints.
COUNT_DUE = """
SELECT count(*) FROM (
    SELECT FROM endpoints CROSS JOIN (VALUES ('pending'), ('retrying')) AS open (state)
    CROSS JOIN LATERAL (
        SELECT FROM deliveries
        WHERE endpoint_id = endpoints.id AND deliveries.state = open.state
            AND deliveries.state IN ('pending', 'retrying')
            AND next_attempt_at <= now()
        LIMIT %(most)s
    ) AS found
    WHERE endpoints.state <> 'deleted' OR kept_until IS NULL
    LIMIT %(most)s
) AS counted
"""

COUNT_WAITING = """
SELECT count(*) FROM (
    SELECT FROM endpoints CROSS JOIN (VALUES ('pending'), ('retrying')) AS open (state)
    CROSS JOIN LATERAL (
        SELECT FROM deliveries
        WHERE endpoint_id = endpoints.id AND deliveries.state = open.state
            AND deliveries.state IN ('pending', 'retrying')
            AND next_attempt_at > now()
        LIMIT %(most)s
    ) AS found
    WHERE endpoints.state <> 'deleted' OR kept_until IS NULL
    LIMIT %(most)s
) AS counted
"""

OLDEST_DUE = """
SELECT min(first.next_attempt_at)
FROM endpoints CROSS JOIN (VALUES ('pending'), ('retrying')) AS open (state)
CROSS JOIN LATERAL (
    SELECT next_attempt_at FROM deliveries
    WHERE endpoint_id = endpoints.id AND deliveries.state = open.state
        AND deliveries.state IN ('pending', 'retrying')
    ORDER BY next_attempt_at LIMIT 1
) AS first
WHERE (endpoints.state <> 'deleted' OR kept_until IS NULL) AND first.next_attempt_at <= now()
"""

# deliveries_failed_anywhere
COUNT_EXHAUSTED = """
SELECT count(*) FROM (
    SELECT FROM deliveries WHERE state = 'exhausted' LIMIT %(most)s
) AS counted
"""


def read_deliveries(session: Session) -> Deliveries:
    """Return the deliveries that are not finished, or ended badly."""
    due, waiting, exhausted = (
        int(session.execute(each, {"most": MOST}).fetchall()[0][0])
        for each in (COUNT_DUE, COUNT_WAITING, COUNT_EXHAUSTED)
    )
    ((oldest,),) = session.execute(OLDEST_DUE).fetchall()
    return Deliveries(Backlog(due, oldest), waiting, exhausted)
