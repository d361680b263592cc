"""Relay, its statements: take changes from the outbox, store their events and deliveries."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.core.environments import Environment
from services.domain.relay_lock import SHARE_RELAY_LOCK, relay_lock
from services.domain.stock import LISTEN
from services.webhooks.sessions import Session


class Change(NamedTuple):
    """A row of the outbox; None stands for no such product before or after it."""

    id: int
    product_id: str
    old_quantity: int | None
    new_quantity: int | None
    version: int
    changed_at: datetime
    request_id: str | None  # of the request that made it, when one of our APIs did


class NewEvent(NamedTuple):
    """An event as it is stored; `data` is finished JSON."""

    event_type: str
    product_id: str
    version: int
    occurred_at: datetime
    data: str
    request_id: str | None


class Scheduled(NamedTuple):
    """How many deliveries an endpoint was given, and whether it is in the slow lane."""

    endpoint_id: UUID
    slow: bool
    deliveries: int


def listen(session: Session, environment: Environment) -> None:
    """Ask to be notified of changes."""
    session.execute(LISTEN[environment])


# What another relay has locked is its business. An array, as the planner takes it for short and
# goes by the primary key however long the table is and whatever its statistics say.
TAKE_CHANGES = """
UPDATE stock_changes SET relayed = true
WHERE id = ANY (ARRAY (
    SELECT id FROM stock_changes WHERE NOT relayed AND id <> ALL (%(aside)s::bigint[])
    ORDER BY id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
))
RETURNING id, product_id, old_quantity, new_quantity, version, changed_at, request_id
"""


def take_changes(
    session: Session, environment: Environment, batch: int, *, aside: Sequence[int] = ()
) -> list[Change]:
    """Mark up to `batch` changes as relayed, oldest first but those `aside`; return them."""
    session.execute(SHARE_RELAY_LOCK, relay_lock(environment))
    values = {"batch": batch, "aside": list(aside)}
    rows = session.execute(TAKE_CHANGES, values).fetchall()
    return sorted(Change._make(row) for row in rows)


# Events get their ids in the order given. Endpoints are looked up after the changes were taken, so
# that one registered before a change was committed is always found.
STORE_EVENTS = """
WITH given AS (
    SELECT * FROM unnest(
        %(types)s::text[], %(products)s::text[], %(versions)s::bigint[],
        %(times)s::timestamptz[], %(data)s::text[], %(request_ids)s::text[]
    ) WITH ORDINALITY
        AS given (event_type, product_id, version, occurred_at, data, request_id, place)
), stored AS (
    INSERT INTO events (event_type, product_id, version, occurred_at, data, request_id)
    SELECT event_type, product_id, version, occurred_at, data, request_id FROM given ORDER BY place
    RETURNING id, event_type
), subscribed AS MATERIALIZED (
    SELECT endpoints.id, endpoints.events, coalesce(endpoints.slow_until > now(), false) AS slow
    FROM endpoints JOIN partners ON partners.id = endpoints.partner_id
    WHERE endpoints.state = 'active' AND partners.state = 'active'
), scheduled AS (
    INSERT INTO deliveries (endpoint_id, event_id)
    SELECT subscribed.id, stored.id
    FROM stored JOIN subscribed ON stored.event_type = ANY (subscribed.events)
    ORDER BY stored.id
    RETURNING endpoint_id
)
SELECT scheduled.endpoint_id, subscribed.slow, count(*)
FROM scheduled JOIN subscribed ON subscribed.id = scheduled.endpoint_id
GROUP BY scheduled.endpoint_id, subscribed.slow
"""


def store_events(session: Session, events: Sequence[NewEvent]) -> list[Scheduled]:
    """Store events and a delivery of each for every subscriber of its type."""
    names = ("types", "products", "versions", "times", "data", "request_ids")
    columns = zip(*events, strict=True) if events else [()] * len(names)
    given = {name: list(column) for name, column in zip(names, columns, strict=True)}
    rows = session.execute(STORE_EVENTS, given)
    return [Scheduled._make(row) for row in rows.fetchall()]
