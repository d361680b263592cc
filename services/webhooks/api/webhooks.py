"""Webhooks: the handlers of a partner's webhooks and their secrets (W1, W2, W11)."""

import structlog

from services.webhooks.api.answers import encode, time_or_none, webhook
from services.webhooks.api.requests import Rotation, change_of, registration_of, rotation_of
from services.webhooks.api.resources import Answer, Call, Methods
from services.webhooks.api.store import Store
from services.webhooks.targets import TargetPolicy

WEBHOOKS = "/partner/v1/webhooks"
WEBHOOK = f"{WEBHOOKS}/{{webhook_id}}"

log = structlog.get_logger()


class Webhooks:
    """Handlers; what they raise is rendered by the app."""

    def __init__(self, store: Store, policy: TargetPolicy) -> None:
        """`policy` says which urls are taken."""
        self._store = store
        self._policy = policy

    @property
    def paths(self) -> dict[str, Methods]:
        """The paths of these handlers."""
        return {
            WEBHOOKS: {"GET": self.list_all, "POST": self.register},
            WEBHOOK: {"DELETE": self.delete, "GET": self.read, "PATCH": self.change},
            f"{WEBHOOK}/secret/rotate": {"POST": self.rotate},
            f"{WEBHOOK}/secret/previous": {"DELETE": self.end_overlap},
        }

    async def register(self, call: Call) -> Answer:
        """Add a webhook; the answer alone shows its secret."""
        asked = registration_of(await call.body(), self._policy)
        row, secret = await self._store.register(call.partner_id, asked)
        log.info("webhook.registered", webhook_id=str(row.id), partner_id=str(call.partner_id))
        return Answer(201, encode({**webhook(row), "secret": secret}))

    async def list_all(self, call: Call) -> Answer:
        """List a partner's webhooks, oldest first."""
        rows = await self._store.list_all(call.partner_id)
        return Answer(200, encode({"items": [webhook(row) for row in rows]}))

    async def read(self, call: Call) -> Answer:
        """Read one."""
        row = await self._store.read(call.partner_id, call.webhook_id)
        return Answer(200, encode(webhook(row)))

    async def change(self, call: Call) -> Answer:
        """Change the url, the events or the state."""
        webhook_id = call.webhook_id
        asked = change_of(await call.body(), self._policy)
        row = await self._store.change(call.partner_id, webhook_id, asked)
        log.info("webhook.changed", webhook_id=str(webhook_id), state=row.state)
        return Answer(200, encode(webhook(row)))

    async def delete(self, call: Call) -> Answer:
        """Delete one; its id is unknown from then on."""
        webhook_id = call.webhook_id
        await self._store.delete(call.partner_id, webhook_id)
        log.info("webhook.deleted", webhook_id=str(webhook_id))
        return Answer(204)

    async def rotate(self, call: Call) -> Answer:
        """Change the secret; the answer alone shows the new one."""
        webhook_id = call.webhook_id
        asked: Rotation = rotation_of(await call.body() if call.has_body else b"{}")
        secret, until = await self._store.rotate(call.partner_id, webhook_id, asked)
        log.info("webhook.secret_rotated", webhook_id=str(webhook_id))
        return Answer(200, encode({"secret": secret, "previous_secret_until": time_or_none(until)}))

    async def end_overlap(self, call: Call) -> Answer:
        """Make the previous secret invalid at once."""
        webhook_id = call.webhook_id
        await self._store.end_overlap(call.partner_id, webhook_id)
        log.info("webhook.overlap_ended", webhook_id=str(webhook_id))
        return Answer(204)
