"""Scripted: an API that answers as it is told, and a clock that only sleeping moves."""

from collections.abc import Callable, Iterable
from typing import Any

import httpx

from partner_inventory import PartnerInventory

NO_STOCK: dict[str, Any] = {"items": [], "not_found": [], "timestamp": "2026-11-22T09:30:41Z"}
Reply = httpx.Response | httpx.TransportError


def error(status: int, code: str, **headers: str) -> httpx.Response:
    """Return an error as the API makes them; `retry_after` becomes Retry-After."""
    body = {"code": code, "message": "words", "request_id": "r-1"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json=body, headers={"X-Request-ID": "r-1", **named})


class Scripted:
    """Gives its replies one after the other; notes the requests, and the pauses between them."""

    def __init__(self, replies: Iterable[Reply] = (), *, patience: float = 60.0) -> None:
        self._replies = iter(replies)
        self.asked: list[httpx.Request] = []
        self.pauses: list[float] = []
        self.now = 1000.0  # seconds
        self.inventory = self.client(self._reply, patience)

    def client(
        self, handler: Callable[[httpx.Request], httpx.Response], patience: float = 60.0
    ) -> PartnerInventory:
        """Return a client of a handler; its pauses take no time, and chance shortens none."""
        return PartnerInventory(
            "https://api.inventory.example/",
            "pk_test_key",
            patience=patience,
            http=httpx.Client(transport=httpx.MockTransport(handler)),
            sleep=self._sleep,
            clock=lambda: self.now,
            chance=lambda: 1.0,
        )

    def _reply(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        reply = next(self._replies)
        if isinstance(reply, httpx.TransportError):
            reply.request = request
            raise reply
        return reply

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
