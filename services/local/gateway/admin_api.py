"""Admin API: the part of Kong's that the reconciler uses, and /metrics."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec
import structlog

from services.local.gateway.body import Receive
from services.local.gateway.configuration import NO_CONFIGURATION_HASH, Configuration
from services.local.gateway.declarative import text_hash
from services.local.gateway.proxy import Proxy, Scope, Send
from services.local.gateway.refusal import InvalidConfigurationError
from services.local.gateway.responses import VERSION

MAX_TEXT = 256 * 1024 * 1024  # bytes; 10,000 partners are 20 MB

_NOT_FOUND = (404, {"message": "Not found"})
_NOT_A_CONFIGURATION = (400, {"message": "expected a declarative configuration"})
_READS = frozenset(("GET", "HEAD"))

Reply = tuple[int, Any]

_log = structlog.get_logger()


class _Posted(msgspec.Struct):
    config: str


class AdminApi:
    """Takes configurations for one node and shows the one that it runs."""

    def __init__(
        self,
        proxy: Proxy,
        load: Callable[[str], Configuration],
        keep: Callable[[str], None],
        export: Callable[[], str],
        metrics: Callable[[], bytes],
    ) -> None:
        """`load` checks a text and may take a while; `keep` stores an accepted one.

        `export` returns the kept one, keys and all, and may take a while too.
        """
        self._proxy = proxy
        self._load = load
        self._keep = keep
        self._export = export
        self._metrics = metrics
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["path"] == "/metrics" and scope["method"] == "GET":
            await _send(send, 200, self._metrics(), b"text/plain; charset=UTF-8")
            return
        status, document = await self._answer(scope, receive)
        body = b"" if document is None else msgspec.json.encode(document)
        await _send(send, status, body, b"application/json; charset=utf-8")

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        method, path = scope["method"], scope["path"].rstrip("/")
        if path == "/config" and method == "POST":
            return await self._post(scope, await _read(receive))
        if path == "/config" and method in _READS:
            return 200, {"config": await asyncio.to_thread(self._export)}
        if path == "/status" and method in _READS:
            return 200, self._status()
        if path == "/status/ready" and method in _READS:
            return self._ready()
        if method in _READS:
            return _NOT_FOUND
        entity = path.strip("/").partition("/")[0]
        message = f"cannot create or update '{entity}' entities when not using a database"
        return 405, {"code": 12, "name": "operation unsupported", "message": message}

    async def _post(self, scope: Scope, body: bytes) -> Reply:
        asked = parse_qs(scope["query_string"].decode("latin-1"))
        try:
            text = msgspec.json.decode(body, type=_Posted).config
        except msgspec.DecodeError:
            return _NOT_A_CONFIGURATION
        async with self._one_at_a_time:
            if asked.get("check_hash") == ["1"] and text_hash(text) == self._hash:
                return 304, None
            try:
                # In a thread, because 1,000 partners take a while and requests must not wait.
                configuration = await asyncio.to_thread(self._load, text)
            except InvalidConfigurationError as exc:
                _log.warning("configuration.refused", faults=len(exc.entities) + len(exc.document))
                return 400, exc.as_body(flatten=asked.get("flatten_errors") == ["1"])
            self._keep(text)
            self._proxy.configuration = configuration
        _log.info("configuration.accepted", configuration_hash=configuration.hash)
        return 201, {"configuration_hash": configuration.hash}

    @property
    def _hash(self) -> str:
        return self._proxy.configuration.hash

    def _status(self) -> dict[str, Any]:
        return {"database": {"reachable": True}, "configuration_hash": self._hash}

    def _ready(self) -> Reply:
        if self._hash == NO_CONFIGURATION_HASH:
            return 503, {"message": "no configuration available (empty configuration present)"}
        return 200, {"message": "ready"}


async def _send(send: Send, status: int, body: bytes, kind: bytes) -> None:
    headers = [(b"server", VERSION), (b"content-length", b"%d" % len(body))]
    if body:
        headers.append((b"content-type", kind))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    more = True
    while more and len(body) <= MAX_TEXT:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message["body"]
        more = message["more_body"]
    return bytes(body)
