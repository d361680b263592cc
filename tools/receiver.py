"""Receiver: many webhook endpoints in one process, and a ledger of everything they were sent.

It is written to the contract alone (W4, W5) and shares no code with what signs and sends. Run as
`python -m tools.receiver`; tools/receiver_process.py starts it and speaks to it. One
event loop on httptools takes 60 us a request: it must never be what a measurement waits for.
"""

import argparse
import asyncio
import base64
import gc
import hmac
import json
import signal
import sys
import time
from typing import Any, cast

import httptools
import msgspec
import uvloop

TOLERANCE = 300  # seconds that webhook-timestamp may be off, as Standard Webhooks has it
NO_ANSWER = 0
DELIVERED = 204
WORDS = {200: "OK", 204: "No Content", 404: "Not Found", 500: "Internal Server Error"}


class Behaviour(msgspec.Struct, frozen=True):
    """What an endpoint does to some of its events, until it has seen enough attempts of them."""

    status: int = DELIVERED  # NO_ANSWER hangs
    after: float = 0.0  # seconds until the answer
    share: float = 1.0  # of the events, chosen by their id
    attempts: int = 1_000_000  # attempts of each that go so; the next ones are taken at once


class Endpoint(msgspec.Struct):
    """What the endpoint /e/<n> knows; new secrets come last, so that a place never changes."""

    secrets: list[str] = []
    behaviours: list[Behaviour] = []  # the first that fits an event is what happens


class Receipt(msgspec.Struct, array_like=True, gc=False):
    """One request to an endpoint; -1 is the place of a secret that nobody knows."""

    endpoint: int
    event_id: str
    event_type: str
    product_id: str
    version: int
    quantity: int
    retry_count: int
    received_at: float  # seconds since 1970, when the request was complete
    status: int  # of the answer
    x_signature: int  # place of the secret that X-Signature verifies with
    standard: list[int]  # the same for each signature in webhook-signature
    fault: str  # empty, or what else is wrong with the request


class _Item(msgspec.Struct):
    product_id: str
    quantity: int
    status: str
    updated_at: str
    version: int


class _Body(msgspec.Struct):
    event_id: str
    event_type: str
    timestamp: str
    data: msgspec.Raw
    retry_count: int


_body = msgspec.json.Decoder(_Body).decode
_item = msgspec.json.Decoder(_Item).decode


class Book:
    """All endpoints and the ledger."""

    def __init__(self) -> None:
        self._endpoints: dict[int, Endpoint] = {}
        self._keys: dict[int, list[bytes]] = {}
        self._ledger: list[Receipt] = []

    def control(self, method: bytes, path: list[str], body: bytes) -> bytes | None:
        """Serve the test; None for a path that is not there."""
        if method == b"PUT" and len(path) == 1:
            number, endpoint = int(path[0]), msgspec.json.decode(body, type=Endpoint)
            self._endpoints[number] = endpoint
            self._keys[number] = [
                base64.b64decode(secret.removeprefix("whsec_")) for secret in endpoint.secrets
            ]
            return b""
        if path[0] == "count":
            return str(len(self._ledger)).encode()
        if path[0] == "receipts":
            return msgspec.msgpack.encode(self._ledger[int(path[1]) :])
        return None

    def take(self, number: int, headers: dict[bytes, bytes], body: bytes) -> Behaviour:
        """Note a request; return what to do with it."""
        now = time.time()
        receipt = _read(number, headers, body, self._keys.get(number, []), now)
        behaviour = self._behaviour(receipt)
        receipt.status = behaviour.status
        self._ledger.append(receipt)
        return behaviour

    def _behaviour(self, receipt: Receipt) -> Behaviour:
        endpoint = self._endpoints.get(receipt.endpoint)
        # The last digits of a UUIDv7 are random, and the same in every attempt.
        drawn = int(receipt.event_id[-8:], 16) / 2**32 if receipt.event_id else 0.0
        for behaviour in endpoint.behaviours if endpoint else ():
            if drawn < behaviour.share:
                return behaviour if receipt.retry_count < behaviour.attempts else TAKE
            drawn -= behaviour.share
        return TAKE


TAKE = Behaviour()


def _read(
    number: int, headers: dict[bytes, bytes], body: bytes, keys: list[bytes], now: float
) -> Receipt:
    try:
        read = _body(body)
        item = _Item("", 0, "", "", 0) if read.event_type == "webhook.ping" else _item(read.data)
    except msgspec.DecodeError as exc:
        return Receipt(number, "", "", "", 0, 0, 0, now, 0, -1, [], f"the body: {exc}")
    return Receipt(
        number,
        read.event_id,
        read.event_type,
        item.product_id,
        item.version,
        item.quantity,
        read.retry_count,
        now,
        0,
        _x_signature(headers, body, keys),
        _standard(headers, body, keys),
        _fault(headers, read, item, now),
    )


def _x_signature(headers: dict[bytes, bytes], body: bytes, keys: list[bytes]) -> int:
    given = headers.get(b"x-signature", b"")
    for place, key in enumerate(keys):
        if given == b"sha256=" + hmac.digest(key, body, "sha256").hex().encode():
            return place
    return -1


def _standard(headers: dict[bytes, bytes], body: bytes, keys: list[bytes]) -> list[int]:
    message_id, sent = headers.get(b"webhook-id", b""), headers.get(b"webhook-timestamp", b"")
    signed = b"%b.%b.%b" % (message_id, sent, body)
    ours = [b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys]
    listed = headers.get(b"webhook-signature", b"").split()
    return [ours.index(given) if given in ours else -1 for given in listed]


def _fault(headers: dict[bytes, bytes], read: _Body, item: _Item, now: float) -> str:
    sent = headers.get(b"webhook-timestamp", b"")
    if not sent.isdigit() or abs(now - int(sent)) > TOLERANCE:
        return f"webhook-timestamp is {sent!r}"
    if headers.get(b"webhook-id") != read.event_id.encode():
        return f"webhook-id is not the event_id {read.event_id}"
    if item.product_id and item.status != _status(item.quantity):
        return f"{item.quantity} units are not {item.status}"
    return ""


def _status(quantity: int) -> str:
    """Q3, in words of its own."""
    if quantity == 0:
        return "out_of_stock"
    return "low_stock" if quantity <= 10 else "in_stock"


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests come one after the other."""

    def __init__(self, book: Book) -> None:
        """Take what all connections share."""
        self._book = book
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's name
        """Forget it: a late answer goes nowhere."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.close()

    def on_url(self, url: bytes) -> None:
        """Take (a part of) the url."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Serve the request."""
        kind, *path = self._url.decode().strip("/").split("/")
        body, headers = b"".join(self._parts), self._headers
        self._begin()
        if kind == "e":
            self._answer_later(self._book.take(int(path[0]), headers, body))
            return
        found = self._book.control(self._parser.get_method(), path, body)
        self._answer(404 if found is None else 200, found or b"")

    def _answer_later(self, behaviour: Behaviour) -> None:
        if behaviour.status == NO_ANSWER:
            return
        if behaviour.after:
            asyncio.get_running_loop().call_later(behaviour.after, self._answer, behaviour.status)
        else:
            self._answer(behaviour.status)

    def _answer(self, status: int, body: bytes = b"") -> None:
        if self._transport is None:
            return
        length = b"" if status == DELIVERED else b"Content-Length: %d\r\n" % len(body)
        head = b"HTTP/1.1 %d %b\r\n" % (status, WORDS.get(status, "Status").encode())
        self._transport.write(b"%b%b\r\n%b" % (head, length, body))


async def _serve(hosts: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    book = Book()
    port = 0
    servers: list[asyncio.Server] = []
    for host in range(1, hosts + 1):  # on Linux all of 127.0.0.0/8 is there
        server = await loop.create_server(lambda: Connection(book), f"127.0.0.{host}", port)
        port = server.sockets[0].getsockname()[1]
        servers.append(server)
    sys.stdout.write(json.dumps({"event": "service.listening", "port": port}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    for server in servers:
        server.close()


def main() -> None:
    """Receive until SIGTERM."""
    parser = argparse.ArgumentParser(prog="receiver", description=__doc__)
    parser.add_argument("--hosts", type=int, default=1, help="listen on 127.0.0.1 to 127.0.0.N")
    hosts = parser.parse_args().hosts
    gc.disable()  # a pause for a ledger of 100,000 lines would be measured as a late receipt
    uvloop.run(_serve(hosts))


if __name__ == "__main__":
    main()
