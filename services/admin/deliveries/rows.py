"""Deliveries: searched over all partners' endpoints; one read, and what failed sent again.

The statements that send again are in services/domain: partners do the same through their own API.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow, dict_row

from services.admin.endpoints.rows import find_partner_id, refuse_unknown
from services.admin.pages import Listing, Page, listing
from services.admin.refusals import InvalidError, NotFoundError
from services.core.environments import Environment
from services.domain.events import EventType
from services.domain.states import DeliveryState

# An event's id is made after the event happened, and a clock that is set back is not set back more.
CLOCK_STEP = 600  # seconds


class Attempt(msgspec.Struct, frozen=True):
    """One call of a partner's url. A series is begun by hand; `number` is 1 to 5 in it."""

    series: int
    number: int
    outcome: str
    status: int | None  # of HTTP, when there was one
    detail: str
    started_at: datetime
    duration_ms: int


class Delivery(msgspec.Struct, frozen=True):
    """One event on its way to one endpoint."""

    endpoint_id: UUID
    event_id: UUID
    partner: str
    event_type: EventType
    product_id: str | None
    version: int | None
    occurred_at: datetime
    state: DeliveryState
    series: int
    attempt_count: int  # in this series
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    last_attempt: Attempt | None


class DeliveryDetails(Delivery, frozen=True):
    """A delivery with its endpoint and all its attempts, oldest first."""

    url: str
    endpoint_state: str
    data: dict[str, Any]  # what the payload says: the item
    attempts: list[Attempt]


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries are meant; None: whichever. Times are those of the events."""

    partner: str | None = None
    endpoint: UUID | None = None
    state: DeliveryState | None = None
    event_type: EventType | None = None
    product_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Key(NamedTuple):
    """What names a delivery, in the order of lists."""

    event_id: UUID
    endpoint_id: UUID

    def __str__(self) -> str:
        """Return what a cursor carries."""
        return f"{self.event_id} {self.endpoint_id}"


# Over all endpoints: along deliveries_failed_anywhere, or along the events. Ids follow the times:
# `oldest` and `after_event` end a walk along an index. Both tables are given these bounds, as the
# planner does not carry an inequality over a join.
FIND_ANYWHERE = """
SELECT deliveries.event_id, deliveries.endpoint_id
FROM deliveries JOIN events ON events.id = deliveries.event_id
WHERE (%(endpoints)s::uuid[] IS NULL OR deliveries.endpoint_id = ANY (%(endpoints)s))
    AND (%(state)s::text IS NULL OR deliveries.state = %(state)s)
    AND (%(event_type)s::text IS NULL OR event_type = %(event_type)s)
    AND (%(product_id)s::text IS NULL OR product_id = %(product_id)s)
    AND (%(since)s::timestamptz IS NULL OR occurred_at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR occurred_at < %(until)s)
    AND (%(oldest)s::uuid IS NULL
        OR (deliveries.event_id >= %(oldest)s AND events.id >= %(oldest)s))
    AND (%(after_event)s::uuid IS NULL OR (
        deliveries.event_id <= %(after_event)s AND events.id <= %(after_event)s
        AND NOT (deliveries.event_id = %(after_event)s
            AND deliveries.endpoint_id >= %(after_endpoint)s::uuid)
    ))
ORDER BY deliveries.event_id DESC, deliveries.endpoint_id DESC LIMIT %(limit)s
"""

# Of some endpoints: along the primary key or deliveries_failed of each, as far as a page needs.
FIND_BY_ENDPOINT = """
SELECT found.event_id, found.endpoint_id
FROM unnest(%(endpoints)s::uuid[]) AS wanted (endpoint_id)
CROSS JOIN LATERAL (
    SELECT deliveries.event_id, deliveries.endpoint_id
    FROM deliveries JOIN events ON events.id = deliveries.event_id
    WHERE deliveries.endpoint_id = wanted.endpoint_id
        AND (%(state)s::text IS NULL OR deliveries.state = %(state)s)
        AND (%(event_type)s::text IS NULL OR event_type = %(event_type)s)
        AND (%(product_id)s::text IS NULL OR product_id = %(product_id)s)
        AND (%(since)s::timestamptz IS NULL OR occurred_at >= %(since)s)
        AND (%(until)s::timestamptz IS NULL OR occurred_at < %(until)s)
        AND (%(oldest)s::uuid IS NULL
            OR (deliveries.event_id >= %(oldest)s AND events.id >= %(oldest)s))
        AND (%(after_event)s::uuid IS NULL OR (
            deliveries.event_id <= %(after_event)s AND events.id <= %(after_event)s
            AND NOT (deliveries.event_id = %(after_event)s
                AND deliveries.endpoint_id >= %(after_endpoint)s::uuid)
        ))
    ORDER BY deliveries.event_id DESC LIMIT %(limit)s
) AS found
ORDER BY found.event_id DESC, found.endpoint_id DESC LIMIT %(limit)s
"""


def find_keys(
    connection: Connection[TupleRow],
    environment: Environment,
    wanted: DeliveryFilter,
    *,
    after: Key | None,
    limit: int,
) -> list[Key]:
    """Return which deliveries are meant, newest first. Raises NotFoundError."""
    endpoints = _endpoints(connection, environment, wanted)
    values = {
        **msgspec.structs.asdict(wanted),
        "endpoints": endpoints,
        "since": (since := _aware(wanted.since)),
        "until": _aware(wanted.until),
        "oldest": since and _least_id(since),
        "after_event": after and after.event_id,
        "after_endpoint": after and after.endpoint_id,
        "limit": limit,
    }
    # A product's events are few: the walk along each endpoint would pass by all of the others.
    by_endpoint = endpoints is not None and wanted.product_id is None
    found = FIND_BY_ENDPOINT if by_endpoint else FIND_ANYWHERE
    # Planned for these very filters each time: one plan for all of them would be slow for most.
    return [Key._make(row) for row in connection.execute(found, values, prepare=False)]


SELECT_ENDPOINT_IDS = """
SELECT id FROM endpoints
WHERE (%(partner_id)s::uuid IS NULL OR partner_id = %(partner_id)s)
    AND (%(endpoint)s::uuid IS NULL OR id = %(endpoint)s)
"""


def _endpoints(
    connection: Connection[TupleRow], environment: Environment, wanted: DeliveryFilter
) -> list[UUID] | None:
    """Return the endpoints that a search names, None when it names none. Raises NotFoundError."""
    if wanted.partner is None and wanted.endpoint is None:
        return None
    partner_id = find_partner_id(connection, wanted.partner)
    values = {"partner_id": partner_id, "endpoint": wanted.endpoint}
    found: list[UUID] = [row[0] for row in connection.execute(SELECT_ENDPOINT_IDS, values)]
    if wanted.endpoint and not found:
        refuse_unknown(environment, wanted.endpoint, wanted.partner)
    return found


def _aware(given: datetime | None) -> datetime | None:
    """Return a time that says its offset; one without was meant in UTC."""
    return given.replace(tzinfo=UTC) if given and given.tzinfo is None else given


def _least_id(when: datetime) -> UUID:
    """Return an id below those of all events since a time: UUIDs of version 7 begin with theirs."""
    milliseconds = (when.timestamp() - CLOCK_STEP) * 1000
    return UUID(int=max(0, int(milliseconds)) << 80)


SELECT_LISTED = """
SELECT deliveries.endpoint_id, event_id, partners.name AS partner, event_type, product_id, version,
    occurred_at, deliveries.state, series, deliveries.attempts AS attempt_count,
    CASE WHEN deliveries.state IN ('pending', 'retrying')
        THEN next_attempt_at END AS next_attempt_at,
    deliveries.created_at, finished_at, made.last_attempt
FROM unnest(%(events)s::uuid[], %(endpoints)s::uuid[]) AS wanted (event, endpoint)
JOIN deliveries ON event_id = event AND endpoint_id = endpoint
JOIN events ON events.id = event_id
JOIN endpoints ON endpoints.id = endpoint_id
JOIN partners ON partners.id = partner_id
LEFT JOIN LATERAL (
    SELECT json_build_object(
        'series', attempts.series, 'number', number, 'outcome', outcome, 'status', status,
        'detail', detail, 'started_at', started_at, 'duration_ms', milliseconds
    ) AS last_attempt
    FROM attempts
    WHERE attempts.endpoint_id = deliveries.endpoint_id
        AND attempts.event_id = deliveries.event_id
    ORDER BY attempts.series DESC, number DESC LIMIT 1
) AS made ON true
ORDER BY event_id DESC, endpoint_id DESC
"""


def _select_listed(connection: Connection[TupleRow], keys: Sequence[Key]) -> list[dict[str, Any]]:
    """Return what there is of these deliveries, newest event first."""
    values = {
        "events": [key.event_id for key in keys],
        "endpoints": [key.endpoint_id for key in keys],
    }
    return connection.cursor(row_factory=dict_row).execute(SELECT_LISTED, values).fetchall()


def list_deliveries(
    connection: Connection[TupleRow], environment: Environment, wanted: DeliveryFilter, page: Page
) -> Listing[Delivery]:
    """Return deliveries, newest event first. Raises RefusedError."""
    after = None if page.after is None else _key_of(page.after)
    keys = find_keys(connection, environment, wanted, after=after, limit=page.limit + 1)
    found = listing(keys, page, str)
    rows = _select_listed(connection, found.items)
    return Listing([msgspec.convert(row, Delivery) for row in rows], found.next_cursor)


def _key_of(text: str) -> Key:
    try:
        event_id, endpoint_id = map(UUID, text.split(" "))
    except ValueError as exc:
        msg = "`cursor` is none of this list's: send `next_cursor` of the page before"
        raise InvalidError(msg) from exc
    return Key(event_id, endpoint_id)


SELECT_DETAILS = """
SELECT deliveries.endpoint_id, event_id, partners.name AS partner, event_type, product_id, version,
    occurred_at, deliveries.state, series, deliveries.attempts AS attempt_count,
    CASE WHEN deliveries.state IN ('pending', 'retrying')
        THEN next_attempt_at END AS next_attempt_at,
    deliveries.created_at, finished_at, url, endpoints.state AS endpoint_state, data::json AS data,
    made.attempts, made.attempts -> -1 AS last_attempt
FROM deliveries
JOIN events ON events.id = event_id
JOIN endpoints ON endpoints.id = endpoint_id
JOIN partners ON partners.id = partner_id
CROSS JOIN LATERAL (
    SELECT coalesce(json_agg(json_build_object(
        'series', attempts.series, 'number', number, 'outcome', outcome, 'status', status,
        'detail', detail, 'started_at', started_at, 'duration_ms', milliseconds
    ) ORDER BY attempts.series, number), '[]') AS attempts
    FROM attempts
    WHERE attempts.endpoint_id = deliveries.endpoint_id
        AND attempts.event_id = deliveries.event_id
) AS made
WHERE deliveries.event_id = %(event_id)s AND deliveries.endpoint_id = %(endpoint_id)s
"""


def read_delivery(
    connection: Connection[TupleRow], environment: Environment, key: Key
) -> DeliveryDetails:
    """Return one delivery with its attempts. Raises NotFoundError."""
    cursor = connection.cursor(row_factory=dict_row)
    row = cursor.execute(SELECT_DETAILS, key._asdict()).fetchone()
    if row is None:
        msg = (
            f"there is no delivery of event {key.event_id} to endpoint {key.endpoint_id} in"
            f" {environment}: `partnerapi deliveries list` shows those of the last 7 days"
        )
        raise NotFoundError(msg)
    return msgspec.convert(row, DeliveryDetails)
