"""Query, broken: `python -m tests.faults.query FAULT partner` is the service in ASGI middleware."""

import asyncio
import os
import sys
import time
import zlib
from collections.abc import Callable
from socket import socket
from typing import Any

import msgspec
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from services.query import entry
from tests.faults.builds import AGEING, EVERY, EVERY_PRODUCT, SLOW, WRONG_STATUS

ADDED = 0.2  # seconds
KEPT = 100_000  # bytes of each query, for ever
ADDED_EACH_SECOND = 0.0015  # seconds
PARTNERS = "/partner/"
WRONG = {"in_stock": "low_stock", "low_stock": "in_stock", "out_of_stock": "low_stock"}


def slow(app: ASGIApp) -> ASGIApp:
    """Answer partners 200 ms later."""

    async def slowed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PARTNERS):
            await asyncio.sleep(ADDED)
        await app(scope, receive, send)

    return slowed


def ageing(app: ASGIApp) -> ASGIApp:
    """Keep memory of every query, and answer partners later the longer the service runs."""
    began, kept = time.monotonic(), list[bytes]()

    async def aged(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PARTNERS):
            kept.append(b"x" * KEPT)
            await asyncio.sleep((time.monotonic() - began) * ADDED_EACH_SECOND)
        await app(scope, receive, send)

    return aged


def wrong_status(app: ASGIApp) -> ASGIApp:
    """Answer with the wrong status for one product in so many, always the same ones."""
    every = int(os.environ.get(EVERY, EVERY_PRODUCT))

    async def changed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PARTNERS):
            await app(scope, receive, send)
            return
        head: Message | None = None
        body = b""

        async def keep(message: Message) -> None:
            nonlocal head, body
            if message["type"] == "http.response.start":
                head = message
                return
            body += message.get("body", b"")
            if head is None or message.get("more_body"):
                return
            changed = with_wrong_statuses(body, every)
            await send(_with_length(head, len(changed)))
            await send({"type": "http.response.body", "body": changed, "more_body": False})

        await app(scope, receive, keep)

    return changed


def is_hit(product_id: str, every: int) -> bool:
    """Say whether a product is one of those with the wrong status."""
    return zlib.crc32(product_id.encode()) % every == 5  # 5 of the 5,000 that are listed


def with_wrong_statuses(body: bytes, every: int) -> bytes:
    """Return an answer with some statuses changed; what is no answer to a query stays."""
    if not body.startswith(b'{"items":'):
        return body
    answer: dict[str, Any] = msgspec.json.decode(body)
    for item in answer["items"]:
        if is_hit(item["product_id"], every):
            item["status"] = WRONG[item["status"]]
    return msgspec.json.encode(answer)


def _with_length(head: Any, length: int) -> Any:  # noqa: ANN401 -- an ASGI message
    others = [pair for pair in head["headers"] if pair[0].lower() != b"content-length"]
    return {**head, "headers": [*others, (b"content-length", b"%d" % length)]}


FAULTS: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    SLOW.name: slow,
    AGEING.name: ageing,
    WRONG_STATUS.name: wrong_status,
}


def main() -> None:
    """Run the service with the fault that the command line names first."""
    broken, serve = FAULTS[sys.argv.pop(1)], entry.serve

    def serve_broken(app: ASGIApp, listener: socket) -> bool:
        return serve(broken(app), listener)

    entry.serve = serve_broken
    entry.main()


if __name__ == "__main__":
    main()
