"""Rows: each statement about a partner's webhooks, above the function that runs it."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec
from psycopg import errors

from services.core.errors import PartnerError
from services.domain.relay_lock import TAKE_RELAY_LOCK
from services.domain.states import DisabledReason, EndpointState, PartnerState
from services.webhooks.api.answers import WebhookRow
from services.webhooks.api.refusals import DISABLED_BY_US, EXISTS, LIMIT_REACHED, NO_WEBHOOK
from services.webhooks.api.statements import Connection, Values, all_rows, first_value, one_row

T = TypeVar("T")

URL_KEY = "endpoints_partner_url_key"


class PartnerRow(msgspec.Struct, frozen=True):
    """A partner as admin copied it here."""

    id: UUID
    state: PartnerState


PARTNER = """
SELECT id, state FROM partners WHERE name = %(name)s
"""


async def select_partner(connection: Connection, name: str) -> PartnerRow | None:
    """Return the partner of a name, if there is one."""
    return await one_row(connection, PARTNER, {"name": name}, PartnerRow)


TAKE_TURNS = """
SELECT pg_advisory_xact_lock(hashtextextended('endpoints ' || %(partner_id)s::text, 0))
"""

INSERT_ENDPOINT = """
INSERT INTO endpoints (partner_id, url, events, secret)
VALUES (%(partner_id)s, %(url)s, %(events)s, %(secret)s)
RETURNING id, url, events, state, disabled_reason, created_at, failing_since,
    CASE WHEN previous_secret_until > now() THEN previous_secret_until END AS previous_secret_until
"""

COUNT_ENDPOINTS = """
SELECT count(*) FROM endpoints WHERE partner_id = %(partner_id)s AND state <> 'deleted'
"""


async def insert_webhook(connection: Connection, values: Values, *, limit: int) -> WebhookRow:
    """Add a webhook; its partner has `limit` at most. Raises PartnerError (409)."""
    with _conflict_in_words():
        async with connection.transaction():
            # One partner's registrations one after the other: none counts without the others.
            await connection.execute(TAKE_TURNS, values)
            row = await one_row(connection, INSERT_ENDPOINT, values, WebhookRow)
            assert row is not None  # noqa: S101 -- RETURNING of one inserted row
            if await first_value(connection, COUNT_ENDPOINTS, values) > limit:
                raise PartnerError(*LIMIT_REACHED)
            return row


@contextmanager
def _conflict_in_words() -> Generator[None]:
    """Refuse a second webhook of one url, which violates a constraint."""
    try:
        yield
    except errors.UniqueViolation as exc:
        if exc.diag.constraint_name != URL_KEY:
            raise
        raise PartnerError(*EXISTS) from exc


SELECT_ENDPOINTS = """
SELECT id, url, events, state, disabled_reason, created_at, failing_since,
    CASE WHEN previous_secret_until > now() THEN previous_secret_until END AS previous_secret_until
FROM endpoints
WHERE partner_id = %(partner_id)s AND state <> 'deleted'
ORDER BY id
"""


async def select_webhooks(connection: Connection, partner_id: UUID) -> list[WebhookRow]:
    """Return a partner's webhooks, oldest first."""
    return await all_rows(connection, SELECT_ENDPOINTS, {"partner_id": partner_id}, WebhookRow)


SELECT_ENDPOINT = """
SELECT id, url, events, state, disabled_reason, created_at, failing_since,
    CASE WHEN previous_secret_until > now() THEN previous_secret_until END AS previous_secret_until
FROM endpoints
WHERE id = %(webhook_id)s AND partner_id = %(partner_id)s AND state <> 'deleted'
"""


async def select_webhook(connection: Connection, owner: Values) -> WebhookRow:
    """Return a partner's own webhook. Raises PartnerError (404), as all below do."""
    return _found(await one_row(connection, SELECT_ENDPOINT, owner, WebhookRow))


def _found(row: T | None) -> T:
    if row is None:
        raise PartnerError(*NO_WEBHOOK)
    return row


# Locked, so that operations can't disable it between this look and the change.
WHY_DISABLED = """
SELECT disabled_reason FROM endpoints
WHERE id = %(webhook_id)s AND partner_id = %(partner_id)s AND state <> 'deleted'
FOR NO KEY UPDATE
"""

# An endpoint that is enabled again, or moved to another url, has not failed and is not slow yet.
UPDATE_ENDPOINT = """
WITH asked AS (
    SELECT id AS asked_id,
        coalesce(state <> %(state)s AND %(state)s = 'active', false)
            OR coalesce(url <> %(url)s, false) AS afresh
    FROM endpoints
    WHERE id = %(webhook_id)s AND partner_id = %(partner_id)s AND state <> 'deleted'
    FOR NO KEY UPDATE
)
UPDATE endpoints SET
    url = coalesce(%(url)s, url),
    events = coalesce(%(events)s, events),
    state = coalesce(%(state)s, state),
    disabled_reason = CASE %(state)s
        WHEN 'active' THEN NULL
        WHEN 'disabled' THEN coalesce(disabled_reason, 'by_partner')
        ELSE disabled_reason
    END,
    failing_since = CASE WHEN NOT afresh THEN failing_since END,
    slow_until = CASE WHEN NOT afresh THEN slow_until END,
    changed_at = now()
FROM asked WHERE id = asked_id
RETURNING id, url, events, state, disabled_reason, created_at, failing_since,
    CASE WHEN previous_secret_until > now() THEN previous_secret_until END AS previous_secret_until
"""


async def update_webhook(
    connection: Connection, values: Values, *, relay_lock: Values
) -> WebhookRow:
    """Change what `values` names. Raises PartnerError, also 409."""
    with _conflict_in_words():
        async with connection.transaction():
            if values["state"] is EndpointState.ACTIVE:
                await connection.execute(TAKE_RELAY_LOCK, relay_lock)
                why = await first_value(connection, WHY_DISABLED, values)
                if why == DisabledReason.BY_OPERATOR:
                    raise PartnerError(*DISABLED_BY_US)
            return _found(await one_row(connection, UPDATE_ENDPOINT, values, WebhookRow))


DELETE_ENDPOINT = """
UPDATE endpoints SET
    state = 'deleted', secret = NULL, previous_secret = NULL, previous_secret_until = NULL,
    changed_at = now()
WHERE id = %(webhook_id)s AND partner_id = %(partner_id)s AND state <> 'deleted'
"""


async def delete_webhook(connection: Connection, owner: Values) -> None:
    """Delete a partner's own webhook."""
    if (await connection.execute(DELETE_ENDPOINT, owner)).rowcount == 0:
        raise PartnerError(*NO_WEBHOOK)


LOCK_FOR_ROTATION = """
SELECT secret FROM endpoints
WHERE id = %(webhook_id)s AND partner_id = %(partner_id)s AND state <> 'deleted'
FOR NO KEY UPDATE
"""


async def lock_secret(connection: Connection, owner: Values) -> bytes:
    """Return the encrypted secret of a partner's own webhook, locked until the transaction ends."""
    return _found(await first_value(connection, LOCK_FOR_ROTATION, owner))


ROTATE = """
UPDATE endpoints SET
    previous_secret = CASE WHEN %(overlap)s > interval '0' THEN secret END,
    previous_secret_until = CASE WHEN %(overlap)s > interval '0' THEN now() + %(overlap)s END,
    secret = %(secret)s, changed_at = now()
WHERE id = %(webhook_id)s AND partner_id = %(partner_id)s AND state <> 'deleted'
RETURNING previous_secret_until
"""


async def rotate_secret(connection: Connection, values: Values) -> datetime | None:
    """Change the secret; return until when the previous one is valid, too."""
    return await first_value(connection, ROTATE, values)


END_OVERLAP = """
UPDATE endpoints SET
    previous_secret = NULL, previous_secret_until = NULL, changed_at = now()
WHERE id = %(webhook_id)s AND partner_id = %(partner_id)s AND state <> 'deleted'
"""


async def end_overlap(connection: Connection, owner: Values) -> None:
    """Make the previous secret invalid, if there is one."""
    if (await connection.execute(END_OVERLAP, owner)).rowcount == 0:
        raise PartnerError(*NO_WEBHOOK)
