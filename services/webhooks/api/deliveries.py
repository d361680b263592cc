"""Deliveries: the handlers of the delivery log, pings, retries and replays (W11)."""

from collections.abc import Callable
from uuid import UUID

import structlog

from services.webhooks.api.answers import delivery, delivery_page, encode, time_or_none
from services.webhooks.api.delivery_store import DeliveryStore
from services.webhooks.api.requests import page_of, replay_of
from services.webhooks.api.resources import Answer, Call, Methods
from services.webhooks.api.webhooks import WEBHOOK

Wake = Callable[[UUID, int], None]  # an endpoint and how many deliveries it has got; never raises

DELIVERIES = f"{WEBHOOK}/deliveries"
DELIVERY = f"{DELIVERIES}/{{event_id}}"

log = structlog.get_logger()


class Deliveries:
    """Handlers; what they raise is rendered by the app."""

    def __init__(self, store: DeliveryStore, wake: Wake) -> None:
        """`wake` tells the workers that there is something to send."""
        self._store = store
        self._wake = wake

    @property
    def paths(self) -> dict[str, Methods]:
        """The paths of these handlers."""
        return {
            f"{WEBHOOK}/ping": {"POST": self.ping},
            f"{WEBHOOK}/replay": {"POST": self.replay},
            DELIVERIES: {"GET": self.list_page},
            DELIVERY: {"GET": self.read},
            f"{DELIVERY}/retry": {"POST": self.retry},
        }

    async def ping(self, call: Call) -> Answer:
        """Send a test event the ordinary way."""
        webhook_id = call.webhook_id
        event_id = await self._store.ping(call.partner_id, webhook_id)
        log.info("webhook.pinged", webhook_id=str(webhook_id), event_id=str(event_id))
        self._wake(webhook_id, 1)
        return Answer(202, encode({"event_id": event_id}))

    async def list_page(self, call: Call) -> Answer:
        """List deliveries with their attempts, newest first."""
        webhook_id = call.webhook_id
        page = page_of(call.scope["query_string"])
        rows = await self._store.page(call.partner_id, webhook_id, page)
        return Answer(200, encode(delivery_page(rows, page.limit)))

    async def read(self, call: Call) -> Answer:
        """Read one delivery with its attempts."""
        row = await self._store.read(call.partner_id, call.webhook_id, call.event_id)
        return Answer(200, encode(delivery(row)))

    async def retry(self, call: Call) -> Answer:
        """Send one again, in a new series of attempts."""
        webhook_id, event_id = call.webhook_id, call.event_id
        row = await self._store.retry(call.partner_id, webhook_id, event_id)
        log.info("webhook.retried", webhook_id=str(webhook_id), event_id=str(event_id))
        self._wake(webhook_id, 1)
        return Answer(202, encode(delivery(row)))

    async def replay(self, call: Call) -> Answer:
        """Send what did not arrive since a time."""
        webhook_id = call.webhook_id
        asked = replay_of(await call.body())
        replayed = await self._store.replay(call.partner_id, webhook_id, asked)
        log.info("webhook.replayed", webhook_id=str(webhook_id), scheduled=replayed.scheduled)
        if replayed.scheduled:
            self._wake(webhook_id, replayed.scheduled)
        body = {
            "scheduled": replayed.scheduled,
            "next_since": time_or_none(replayed.next_since),
        }
        return Answer(202, encode(body))
