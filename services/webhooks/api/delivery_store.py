"""Delivery store: the deliveries of a partner's webhooks; read, tried again, replayed."""

from uuid import UUID

from services.core.database_calls import Calls
from services.core.errors import PartnerError
from services.domain.redelivery import REPLAY, RETRY, Replayed, replay_values, retry_values
from services.domain.states import EndpointState
from services.webhooks.api.answers import DeliveryRow, encode
from services.webhooks.api.refusals import DISABLED, IN_PROGRESS, NO_DELIVERY
from services.webhooks.api.requests import Page, Replay
from services.webhooks.api.statements import (
    TIME_LIMIT,
    Connection,
    Values,
    all_rows,
    check_active,
    check_exists,
    first_value,
    one_row,
    own,
)

REPLAY_TIME_LIMIT = 6.0  # seconds; the gateway waits 10
REPLAY_STATEMENT_TIMEOUT = "SET LOCAL statement_timeout = 5000"


INSERT_PING = """
WITH event AS (
    INSERT INTO events (event_type, occurred_at, data)
    VALUES ('webhook.ping', now(), %(data)s)
    RETURNING id
)
INSERT INTO deliveries (endpoint_id, event_id)
SELECT %(webhook_id)s, id FROM event
RETURNING event_id
"""


async def insert_ping(connection: Connection, values: Values) -> UUID:
    """Store a test event and its delivery; return the event's id."""
    return await first_value(connection, INSERT_PING, values)


SELECT_PAGE = """
SELECT event_id, event_type, product_id, version, occurred_at, state, series,
    CASE WHEN state IN ('pending', 'retrying') THEN next_attempt_at END AS next_attempt_at,
    created_at, finished_at, coalesce((
        SELECT json_agg(json_build_object(
            'series', attempts.series, 'number', number, 'outcome', outcome, 'status', status,
            'detail', detail, 'started_at', started_at, 'duration_ms', milliseconds
        ) ORDER BY attempts.series, number)
        FROM attempts
        WHERE attempts.endpoint_id = deliveries.endpoint_id
            AND attempts.event_id = deliveries.event_id
    ), '[]') AS attempts
FROM deliveries JOIN events ON events.id = deliveries.event_id
WHERE endpoint_id = %(webhook_id)s
    AND (%(state)s::text IS NULL OR state = %(state)s)
    AND (%(before)s::uuid IS NULL OR event_id < %(before)s)
ORDER BY event_id DESC LIMIT %(limit)s
"""


async def select_page(connection: Connection, values: Values) -> list[DeliveryRow]:
    """Return deliveries of a webhook, newest event first."""
    return await all_rows(connection, SELECT_PAGE, values, DeliveryRow)


SELECT_DELIVERY = """
SELECT event_id, event_type, product_id, version, occurred_at, state, series,
    CASE WHEN state IN ('pending', 'retrying') THEN next_attempt_at END AS next_attempt_at,
    created_at, finished_at, coalesce((
        SELECT json_agg(json_build_object(
            'series', attempts.series, 'number', number, 'outcome', outcome, 'status', status,
            'detail', detail, 'started_at', started_at, 'duration_ms', milliseconds
        ) ORDER BY attempts.series, number)
        FROM attempts
        WHERE attempts.endpoint_id = deliveries.endpoint_id
            AND attempts.event_id = deliveries.event_id
    ), '[]') AS attempts
FROM deliveries JOIN events ON events.id = deliveries.event_id
WHERE endpoint_id = %(webhook_id)s AND event_id = %(event_id)s
"""


async def select_delivery(connection: Connection, webhook_id: UUID, event_id: UUID) -> DeliveryRow:
    """Return one delivery. Raises PartnerError (404)."""
    values = {"webhook_id": webhook_id, "event_id": event_id}
    row = await one_row(connection, SELECT_DELIVERY, values, DeliveryRow)
    if row is None:
        raise PartnerError(*NO_DELIVERY)
    return row


class DeliveryStore:
    """The deliveries of one environment's webhooks; every method may raise DatabaseAwayError."""

    def __init__(self, calls: Calls) -> None:
        """Take the calls of a pool that its owner opens and closes."""
        self._calls = calls

    async def ping(self, partner_id: UUID, webhook_id: UUID) -> UUID:
        """Schedule a test event; return its id. Raises PartnerError (404, 409)."""
        owner = own(partner_id, webhook_id)
        values = {**owner, "data": encode({"webhook_id": webhook_id}).decode()}

        async def insert(connection: Connection) -> UUID:
            await check_active(connection, owner)
            return await insert_ping(connection, values)

        return await self._calls.change(insert, within=TIME_LIMIT)

    async def page(self, partner_id: UUID, webhook_id: UUID, page: Page) -> list[DeliveryRow]:
        """Return a page's deliveries, and one more if there is a next page. Raises PartnerError."""
        owner = own(partner_id, webhook_id)
        values = {**owner, "state": page.state, "before": page.before, "limit": page.limit + 1}

        async def select(connection: Connection) -> list[DeliveryRow]:
            await check_exists(connection, owner)
            return await select_page(connection, values)

        return await self._calls.read(select, within=TIME_LIMIT)

    async def read(self, partner_id: UUID, webhook_id: UUID, event_id: UUID) -> DeliveryRow:
        """Return one delivery. Raises PartnerError (404)."""
        owner = own(partner_id, webhook_id)

        async def select(connection: Connection) -> DeliveryRow:
            await check_exists(connection, owner)
            return await select_delivery(connection, webhook_id, event_id)

        return await self._calls.read(select, within=TIME_LIMIT)

    async def retry(self, partner_id: UUID, webhook_id: UUID, event_id: UUID) -> DeliveryRow:
        """Start a new series of a finished delivery. Raises PartnerError (404, 409)."""
        owner = own(partner_id, webhook_id)
        values = retry_values(webhook_id, event_id)

        async def start(connection: Connection) -> DeliveryRow:
            state = await check_exists(connection, owner)
            await select_delivery(connection, webhook_id, event_id)  # there at all?
            if state is not EndpointState.ACTIVE:
                raise PartnerError(*DISABLED)
            async with connection.transaction():
                if (await connection.execute(RETRY, values)).rowcount == 0:
                    raise PartnerError(*IN_PROGRESS)
                return await select_delivery(connection, webhook_id, event_id)

        return await self._calls.change(start, within=TIME_LIMIT)

    async def replay(self, partner_id: UUID, webhook_id: UUID, replay: Replay) -> Replayed:
        """Schedule the subscribed events that did not arrive. Raises PartnerError (404, 409)."""
        owner = own(partner_id, webhook_id)
        values = replay_values(webhook_id, replay.since, include_delivered=replay.include_delivered)

        async def schedule(connection: Connection) -> Replayed:
            await check_active(connection, owner)
            async with connection.transaction():
                await connection.execute(REPLAY_STATEMENT_TIMEOUT)
                replayed = await one_row(connection, REPLAY, values, Replayed)
            assert replayed is not None  # noqa: S101 -- an aggregate is always one row
            return replayed

        return await self._calls.change(schedule, within=REPLAY_TIME_LIMIT)
