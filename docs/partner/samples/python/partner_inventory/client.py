"""Client: every path of the Partner Inventory API, one method each."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx

from partner_inventory.model import (
    Changes,
    Delivery,
    DeliveryPage,
    Item,
    Limit,
    RegisteredWebhook,
    Replay,
    RotatedSecret,
    Simulation,
    Stock,
    Webhook,
)
from partner_inventory.sending import Sender, json_of

BATCH = 100  # products in one request, at most
INVENTORY = "/partner/v1/inventory"
WEBHOOKS = "/partner/v1/webhooks"
SANDBOX = "/partner/v1/sandbox"


class PartnerInventory:
    """The API of one environment, with one key. Safe for several threads.

    Each method sends one request, unless it says otherwise, and tries again while that is safe:
    after `Retry-After`, else after pauses that grow. Each raises a PartnerInventoryError: its
    classes are named by what to do.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        patience: float = 120.0,
        timeout: float = 5.0,
        http: httpx.Client | None = None,
        headers: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Take where the API is, such as https://sandbox-api.inventory.example, and your key.

        `patience` is the seconds within which a request is tried again: minutes in a job, 0 for a
        single try while a customer waits. `timeout`, in seconds, is that of one try: of its
        connection, and of each wait for bytes. `http` is a client of your own, with your proxy or
        certificates; you close it. `headers` go with each request. The last three are for tests;
        `chance` gives 0 to 1.
        """
        self._sender = Sender(
            base_url,
            api_key,
            patience=patience,
            timeout=timeout,
            http=http,
            headers=headers,
            sleep=sleep,
            clock=clock,
            chance=chance,
        )

    def __enter__(self) -> Self:
        """Use it for the length of a with block."""
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._sender.close()

    @property
    def limit(self) -> Limit | None:
        """What the last answer said of your limit; None if none did."""
        return self._sender.limit

    # Inventory

    def stock(self, product_ids: Iterable[str]) -> Stock:
        """Return the stock of any number of products: a request for each 100, one after the other.

        An id that is given twice is answered at its first place.
        """
        ids = list(dict.fromkeys(product_ids))
        stock = Stock([], [])
        for first in range(0, len(ids), BATCH):
            batch = {"product_ids": ids[first : first + BATCH]}
            found = json_of(self._sender.send("POST", INVENTORY, body=batch))
            stock.items.extend(Item.of(each) for each in found["items"])
            stock.not_found.extend(found["not_found"])
        return stock

    def stock_by_get(self, product_ids: Sequence[str]) -> Stock:
        """Return the stock of up to 100 products that fit in a URI of 8 kB.

        Raises ValueError for an id with a comma: `stock` can ask for it.
        """
        if any("," in each for each in product_ids):
            msg = "an id with a comma can only be asked for by `stock`"
            raise ValueError(msg)
        params = {"product_ids": ",".join(product_ids)}
        found = json_of(self._sender.send("GET", INVENTORY, params=params))
        return Stock([Item.of(each) for each in found["items"]], found["not_found"])

    def changes(self, cursor: str | None = None, limit: int = 1000) -> Changes:
        """Return one page, of up to `limit` products, of what has changed since a cursor.

        Without a cursor: no products, only the cursor to begin with. Raises CursorExpiredError.
        `Listing` does the whole delta sync.
        """
        params: dict[str, str | int] = {"limit": limit}
        if cursor is not None:
            params["cursor"] = cursor
        return Changes.of(json_of(self._sender.send("GET", f"{INVENTORY}/changes", params=params)))

    def follow(self, cursor: str, limit: int = 1000) -> Iterator[Changes]:
        """Yield pages until there is no more to read; keep the last one's `next_cursor`."""
        page = self.changes(cursor, limit)
        yield page
        while page.has_more:
            page = self.changes(page.next_cursor, limit)
            yield page

    # Webhooks

    def register_webhook(
        self, url: str, events: Sequence[str], secret: str | None = None
    ) -> RegisteredWebhook:
        """Register a url for events; without a secret of yours, we make one and show it this once.

        Tried again after a lost answer only with a secret of yours; a ConflictError with
        WEBHOOK_EXISTS can then mean that the first try did it.
        """
        body = {"url": url, "events": list(events)} | _given(secret=secret)
        answer = self._sender.send("POST", WEBHOOKS, body=body, repeatable=secret is not None)
        return RegisteredWebhook.of(json_of(answer))

    def webhooks(self) -> list[Webhook]:
        """Return all your webhooks, oldest first; there can be 20."""
        found = json_of(self._sender.send("GET", WEBHOOKS))
        return [Webhook.of(each) for each in found["items"]]

    def webhook(self, webhook_id: str) -> Webhook:
        """Return one webhook. Raises NotFoundError, as all that follow."""
        return Webhook.of(json_of(self._sender.send("GET", _webhook(webhook_id))))

    def change_webhook(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        state: str | None = None,
    ) -> Webhook:
        """Change what is given. `state` is active or disabled. Raises ConflictError."""
        body = _given(url=url, events=None if events is None else list(events), state=state)
        return Webhook.of(json_of(self._sender.send("PATCH", _webhook(webhook_id), body=body)))

    def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook; what waits to be sent is cancelled."""
        self._sender.send("DELETE", _webhook(webhook_id))

    def ping(self, webhook_id: str) -> str:
        """Have a test event sent; return its event id. Not tried again after a lost answer."""
        answer = self._sender.send("POST", f"{_webhook(webhook_id)}/ping", repeatable=False)
        return json_of(answer)["event_id"]

    def rotate_secret(
        self, webhook_id: str, *, secret: str | None = None, overlap_hours: float | None = None
    ) -> RotatedSecret:
        """Change the secret; the old one stays valid for the overlap, 24 hours if not given.

        Not tried again after a lost answer, as a second rotation ends the secret before the last:
        look at the webhook's `previous_secret_until`, which is set if it was done.
        """
        body = _given(secret=secret, overlap_hours=overlap_hours)
        path = f"{_webhook(webhook_id)}/secret/rotate"
        answer = self._sender.send("POST", path, body=body or None, repeatable=False)
        return RotatedSecret.of(json_of(answer))

    def drop_previous_secret(self, webhook_id: str) -> None:
        """End the overlap: the previous secret is invalid now. No fault if there is none."""
        self._sender.send("DELETE", f"{_webhook(webhook_id)}/secret/previous")

    # Deliveries

    def delivery_page(
        self,
        webhook_id: str,
        *,
        state: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> DeliveryPage:
        """Return one page, of up to `limit` (100) deliveries, of a webhook's log."""
        params: dict[str, str | int] = {"limit": limit}
        if state is not None:
            params["state"] = state
        if cursor is not None:
            params["cursor"] = cursor
        answer = self._sender.send("GET", f"{_webhook(webhook_id)}/deliveries", params=params)
        return DeliveryPage.of(json_of(answer))

    def deliveries(self, webhook_id: str, *, state: str | None = None) -> Iterator[Delivery]:
        """Yield all deliveries of a webhook, newest event first: a request for each 100."""
        cursor: str | None = None
        while True:
            page = self.delivery_page(webhook_id, state=state, limit=100, cursor=cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def delivery(self, webhook_id: str, event_id: str) -> Delivery:
        """Return the delivery of one event."""
        return Delivery.of(json_of(self._sender.send("GET", _delivery(webhook_id, event_id))))

    def retry_delivery(self, webhook_id: str, event_id: str) -> Delivery:
        """Send one delivery again. Raises ConflictError. Not tried again after a lost answer."""
        path = f"{_delivery(webhook_id, event_id)}/retry"
        return Delivery.of(json_of(self._sender.send("POST", path, repeatable=False)))

    def replay(
        self, webhook_id: str, since: datetime, *, include_delivered: bool = False
    ) -> Replay:
        """Send again what did not arrive since a time (with its offset): 10,000 events at most.

        Tried again after a lost answer, unless delivered ones are included. Raises ConflictError.
        """
        body = {"since": since.isoformat(), "include_delivered": include_delivered}
        path = f"{_webhook(webhook_id)}/replay"
        answer = self._sender.send("POST", path, body=body, repeatable=not include_delivered)
        return Replay.of(json_of(answer))

    def replay_everything(
        self, webhook_id: str, since: datetime, *, include_delivered: bool = False
    ) -> int:
        """Replay as often as it takes; return how many events are sent."""
        done = self.replay(webhook_id, since, include_delivered=include_delivered)
        scheduled = done.scheduled
        while done.next_since is not None:
            done = self.replay(webhook_id, done.next_since, include_delivered=include_delivered)
            scheduled += done.scheduled
        return scheduled

    # Sandbox. In production: NotFoundError.

    def set_stock(self, product_id: str, quantity: int) -> Item:
        """Set a sandbox product's stock in units; makes the product if there is none."""
        path = f"{SANDBOX}/inventory/{quote(product_id, safe='')}"
        return Item.of(json_of(self._sender.send("PUT", path, body={"quantity": quantity})))

    def simulate(self, webhook_id: str, outcome: str, attempts: int) -> Simulation:
        """Make the next attempts a timeout, server_error, duplicate or out_of_order."""
        body = {"outcome": outcome, "attempts": attempts}
        found = json_of(self._sender.send("PUT", _simulation(webhook_id), body=body))
        return Simulation(found["outcome"], found["attempts"])

    def end_simulation(self, webhook_id: str) -> None:
        """End a simulation; no fault if there is none."""
        self._sender.send("DELETE", _simulation(webhook_id))

    # Documents

    def contract(self) -> str:
        """Return the contract of this host, an OpenAPI document in YAML."""
        return self._sender.send("GET", "/partner/v1/openapi.yaml").text

    def contract_page(self) -> str:
        """Return the contract as a page, in HTML."""
        return self._sender.send("GET", "/partner/v1/docs").text


def _webhook(webhook_id: str) -> str:
    return f"{WEBHOOKS}/{quote(webhook_id, safe='')}"


def _delivery(webhook_id: str, event_id: str) -> str:
    return f"{_webhook(webhook_id)}/deliveries/{quote(event_id, safe='')}"


def _simulation(webhook_id: str) -> str:
    return f"{SANDBOX}/webhooks/{quote(webhook_id, safe='')}/simulation"


def _given(**fields: str | float | list[str] | None) -> dict[str, str | float | list[str]]:
    """Return the fields that are given."""
    return {name: value for name, value in fields.items() if value is not None}
