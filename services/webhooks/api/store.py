"""Store: a partner's webhooks and their secrets; a deleted one is never found."""

from datetime import datetime
from typing import LiteralString, TypeVar
from uuid import UUID

import msgspec
import structlog
from psycopg import errors

from services.core.database_calls import Calls, Work
from services.core.encryption import MasterKeyError, SecretBox
from services.core.environments import Environment
from services.core.errors import ErrorCode, PartnerError
from services.core.http.failures import NOT_AVAILABLE
from services.core.http.inputs import refuse
from services.domain.relay_lock import TAKE_RELAY_LOCK, relay_lock
from services.domain.states import DisabledReason, EndpointState, PartnerState
from services.webhooks.api.answers import WebhookRow
from services.webhooks.api.refusals import (
    DISABLED_BY_US,
    EXISTS,
    LIMIT_REACHED,
    NO_WEBHOOK,
    SUSPENDED,
    UNKNOWN_PARTNER,
)
from services.webhooks.api.requests import Change, Registration, Rotation
from services.webhooks.api.statements import (
    PARTNER_TIME_LIMIT,
    TIME_LIMIT,
    Connection,
    Values,
    all_rows,
    first_value,
    one_row,
    own,
)
from services.webhooks.secrets import new_secret

T = TypeVar("T")
RETRY_AFTER = "60"  # seconds; a master key that is missing is set by a person
log = structlog.get_logger()

URL_KEY = "endpoints_partner_url_key"


class PartnerRow(msgspec.Struct, frozen=True):
    """A partner as admin copied it here."""

    id: UUID
    state: PartnerState


class Store:
    """The webhooks of one environment."""

    def __init__(
        self, calls: Calls, environment: Environment, box: SecretBox, *, endpoint_limit: int
    ) -> None:
        """`endpoint_limit` is how many webhooks a partner may have, disabled ones included."""
        self._calls = calls
        self._box = box
        self._endpoint_limit = endpoint_limit
        self._relay_lock = relay_lock(environment)

    async def find_partner(self, name: str) -> UUID:
        """Return the id of an active partner; as all of these, it may raise DatabaseAwayError.

        Raises PartnerError (403) for one that is suspended, or unknown.
        """
        partner = await self._read_partner(name)
        if partner is None:
            raise PartnerError(*UNKNOWN_PARTNER)
        if partner.state != PartnerState.ACTIVE:
            # The gateway says so too; until every node does, this one has to.
            raise PartnerError(*SUSPENDED)
        return partner.id

    async def _read_partner(self, name: str) -> PartnerRow | None:
        async def select(connection: Connection) -> PartnerRow | None:
            return await one_row(connection, PARTNER, {"name": name}, PartnerRow)

        return await self._calls.read(select, within=PARTNER_TIME_LIMIT)

    async def register(self, partner_id: UUID, asked: Registration) -> tuple[WebhookRow, str]:
        """Add a webhook; return it and its secret. Raises PartnerError (409)."""
        secret = asked.secret or new_secret()
        values = {
            "partner_id": partner_id,
            "url": asked.url,
            "events": asked.events,
            "secret": self._box.seal(secret),
        }

        async def insert(connection: Connection) -> WebhookRow:
            async with connection.transaction():
                # One partner's registrations one after the other: none counts without the others.
                await connection.execute(TAKE_TURNS, values)
                row = await one_row(connection, INSERT_ENDPOINT, values, WebhookRow)
                assert row is not None  # noqa: S101 -- RETURNING of one inserted row
                if await first_value(connection, COUNT_ENDPOINTS, values) > self._endpoint_limit:
                    raise PartnerError(*LIMIT_REACHED)
                return row

        return await self._calls.change(_told_apart(insert), within=TIME_LIMIT), secret

    async def list_all(self, partner_id: UUID) -> list[WebhookRow]:
        """Return a partner's webhooks, oldest first."""

        async def select(connection: Connection) -> list[WebhookRow]:
            values = {"partner_id": partner_id}
            return await all_rows(connection, SELECT_ENDPOINTS, values, WebhookRow)

        return await self._calls.read(select, within=TIME_LIMIT)

    async def read(self, partner_id: UUID, webhook_id: UUID) -> WebhookRow:
        """Return a partner's own webhook. Raises PartnerError (404), as all below do."""

        async def select(connection: Connection) -> WebhookRow | None:
            owner = own(partner_id, webhook_id)
            return await one_row(connection, SELECT_ENDPOINT, owner, WebhookRow)

        return _found(await self._calls.read(select, within=TIME_LIMIT))

    async def change(self, partner_id: UUID, webhook_id: UUID, change: Change) -> WebhookRow:
        """Change what `change` names.

        Raises PartnerError (404; 409 for another's url, and to enable what we disabled).
        """
        owner = own(partner_id, webhook_id)
        values = {
            **owner,
            "url": change.url,
            "events": change.events,
            "state": change.state,
        }

        async def update(connection: Connection) -> WebhookRow | None:
            async with connection.transaction():
                if change.state is EndpointState.ACTIVE:
                    await connection.execute(TAKE_RELAY_LOCK, self._relay_lock)
                    why = await first_value(connection, WHY_DISABLED, owner)
                    if why == DisabledReason.BY_OPERATOR:
                        raise PartnerError(*DISABLED_BY_US)
                return await one_row(connection, UPDATE_ENDPOINT, values, WebhookRow)

        return _found(await self._calls.change(_told_apart(update), within=TIME_LIMIT))

    async def delete(self, partner_id: UUID, webhook_id: UUID) -> None:
        """Delete a webhook; what was not sent yet never is."""
        await self._change_own(DELETE_ENDPOINT, own(partner_id, webhook_id))

    async def rotate(
        self, partner_id: UUID, webhook_id: UUID, rotation: Rotation
    ) -> tuple[str, datetime | None]:
        """Change the secret; return the new one, and until when the old one is valid too."""
        secret = rotation.secret or new_secret()
        owner = own(partner_id, webhook_id)
        values = {**owner, "secret": self._box.seal(secret), "overlap": rotation.overlap}

        async def update(connection: Connection) -> datetime | None:
            async with connection.transaction():
                current = await first_value(connection, LOCK_FOR_ROTATION, owner)
                if self._opened(_found(current)) == secret:
                    # A rotation that is sent twice must not make the old secret invalid.
                    refuse("`secret` is this webhook's secret already: send another one")
                return await first_value(connection, ROTATE, values)

        return secret, await self._calls.change(update, within=TIME_LIMIT)

    def _opened(self, sealed: bytes) -> str:
        try:
            return self._box.open(sealed)
        except MasterKeyError:  # a master key that this process lacks: our fault, and it passes
            log.exception("secret.not_decrypted")
            raise PartnerError(
                ErrorCode.SERVICE_UNAVAILABLE, NOT_AVAILABLE, headers={"Retry-After": RETRY_AFTER}
            ) from None

    async def end_overlap(self, partner_id: UUID, webhook_id: UUID) -> None:
        """Make the previous secret invalid now, if there is one."""
        await self._change_own(END_OVERLAP, own(partner_id, webhook_id))

    async def _change_own(self, statement: LiteralString, owner: Values) -> None:
        async def change(connection: Connection) -> int:
            return (await connection.execute(statement, owner)).rowcount

        if await self._calls.change(change, within=TIME_LIMIT) == 0:
            raise PartnerError(*NO_WEBHOOK)


def _found(row: T | None) -> T:
    if row is None:
        raise PartnerError(*NO_WEBHOOK)
    return row


def _told_apart(work: Work[T]) -> Work[T]:
    """Return `work` with the constraint that a second webhook of one url violates in words."""

    async def tell(connection: Connection) -> T:
        try:
            return await work(connection)
        except errors.UniqueViolation as exc:
            if exc.diag.constraint_name != URL_KEY:
                raise
            raise PartnerError(*EXISTS) from exc

    return tell


PARTNER = """
SELECT id, state FROM partners WHERE name = %(name)s
"""

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

SELECT_ENDPOINTS = """
SELECT id, url, events, state, disabled_reason, created_at, failing_since,
    CASE WHEN previous_secret_until > now() THEN previous_secret_until END AS previous_secret_until
FROM endpoints
WHERE partner_id = %(partner_id)s AND state <> 'deleted'
ORDER BY id
"""

SELECT_ENDPOINT = """
SELECT id, url, events, state, disabled_reason, created_at, failing_since,
    CASE WHEN previous_secret_until > now() THEN previous_secret_until END AS previous_secret_until
FROM endpoints
WHERE id = %(webhook_id)s AND partner_id = %(partner_id)s AND state <> 'deleted'
"""

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

DELETE_ENDPOINT = """
UPDATE endpoints SET
    state = 'deleted', secret = NULL, previous_secret = NULL, previous_secret_until = NULL,
    changed_at = now()
WHERE id = %(webhook_id)s AND partner_id = %(partner_id)s AND state <> 'deleted'
"""

LOCK_FOR_ROTATION = """
SELECT secret FROM endpoints
WHERE id = %(webhook_id)s AND partner_id = %(partner_id)s AND state <> 'deleted'
FOR NO KEY UPDATE
"""

ROTATE = """
UPDATE endpoints SET
    previous_secret = CASE WHEN %(overlap)s > interval '0' THEN secret END,
    previous_secret_until = CASE WHEN %(overlap)s > interval '0' THEN now() + %(overlap)s END,
    secret = %(secret)s, changed_at = now()
WHERE id = %(webhook_id)s AND partner_id = %(partner_id)s AND state <> 'deleted'
RETURNING previous_secret_until
"""

END_OVERLAP = """
UPDATE endpoints SET
    previous_secret = NULL, previous_secret_until = NULL, changed_at = now()
WHERE id = %(webhook_id)s AND partner_id = %(partner_id)s AND state <> 'deleted'
"""
