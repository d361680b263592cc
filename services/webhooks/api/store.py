"""Store: a partner's webhooks and their secrets; a deleted one is never found."""

from datetime import datetime
from uuid import UUID

import structlog

from services.core.database_calls import Calls
from services.core.encryption import MasterKeyError, SecretBox
from services.core.environments import Environment
from services.core.errors import ErrorCode, PartnerError
from services.core.http.failures import NOT_AVAILABLE
from services.core.http.inputs import refuse
from services.domain.relay_lock import relay_lock
from services.domain.states import PartnerState
from services.webhooks.api.answers import WebhookRow
from services.webhooks.api.refusals import SUSPENDED, UNKNOWN_PARTNER
from services.webhooks.api.requests import Change, Registration, Rotation
from services.webhooks.api.statements import PARTNER_TIME_LIMIT, TIME_LIMIT, Connection, own
from services.webhooks.api.webhook_rows import (
    delete_webhook,
    end_overlap,
    insert_webhook,
    lock_secret,
    rotate_secret,
    select_partner,
    select_webhook,
    select_webhooks,
    update_webhook,
)
from services.webhooks.secrets import new_secret

RETRY_AFTER = "60"  # seconds; a master key that is missing is set by a person
log = structlog.get_logger()


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
        partner = await self._calls.read(
            lambda connection: select_partner(connection, name), within=PARTNER_TIME_LIMIT
        )
        if partner is None:
            raise PartnerError(*UNKNOWN_PARTNER)
        if partner.state != PartnerState.ACTIVE:
            # The gateway says so too; until every node does, this one has to.
            raise PartnerError(*SUSPENDED)
        return partner.id

    async def register(self, partner_id: UUID, asked: Registration) -> tuple[WebhookRow, str]:
        """Add a webhook; return it and its secret. Raises PartnerError (409)."""
        secret = asked.secret or new_secret()
        values = {
            "partner_id": partner_id,
            "url": asked.url,
            "events": asked.events,
            "secret": self._box.seal(secret),
        }
        made = await self._calls.change(
            lambda connection: insert_webhook(connection, values, limit=self._endpoint_limit),
            within=TIME_LIMIT,
        )
        return made, secret

    async def list_all(self, partner_id: UUID) -> list[WebhookRow]:
        """Return a partner's webhooks, oldest first."""
        return await self._calls.read(
            lambda connection: select_webhooks(connection, partner_id), within=TIME_LIMIT
        )

    async def read(self, partner_id: UUID, webhook_id: UUID) -> WebhookRow:
        """Return a partner's own webhook. Raises PartnerError (404), as all below do."""
        owner = own(partner_id, webhook_id)
        return await self._calls.read(
            lambda connection: select_webhook(connection, owner), within=TIME_LIMIT
        )

    async def change(self, partner_id: UUID, webhook_id: UUID, change: Change) -> WebhookRow:
        """Change what `change` names.

        Raises PartnerError (404; 409 for another's url, and to enable what we disabled).
        """
        values = {
            **own(partner_id, webhook_id),
            "url": change.url,
            "events": change.events,
            "state": change.state,
        }
        return await self._calls.change(
            lambda connection: update_webhook(connection, values, relay_lock=self._relay_lock),
            within=TIME_LIMIT,
        )

    async def delete(self, partner_id: UUID, webhook_id: UUID) -> None:
        """Delete a webhook; what was not sent yet never is."""
        owner = own(partner_id, webhook_id)
        await self._calls.change(
            lambda connection: delete_webhook(connection, owner), within=TIME_LIMIT
        )

    async def rotate(
        self, partner_id: UUID, webhook_id: UUID, rotation: Rotation
    ) -> tuple[str, datetime | None]:
        """Change the secret; return the new one, and until when the old one is valid too."""
        secret = rotation.secret or new_secret()
        owner = own(partner_id, webhook_id)
        values = {**owner, "secret": self._box.seal(secret), "overlap": rotation.overlap}

        async def update(connection: Connection) -> datetime | None:
            async with connection.transaction():
                if self._opened(await lock_secret(connection, owner)) == secret:
                    # A rotation that is sent twice must not make the old secret invalid.
                    refuse("`secret` is this webhook's secret already: send another one")
                return await rotate_secret(connection, values)

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
        owner = own(partner_id, webhook_id)
        await self._calls.change(
            lambda connection: end_overlap(connection, owner), within=TIME_LIMIT
        )
