"""Proxy, broken: in front of a gateway; some lists of webhooks have one of another partner.

`python -m tests.faults.proxy UPSTREAM` prints its port, once it listens on loopback.
"""

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from tests.faults.builds import EVERY, EVERY_LIST

WEBHOOKS = "/partner/v1/webhooks"
# Between two hops only (RFC 9110, 7.6.1); the length is that of the body which is passed on.
OF_THE_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
MOST_BODY = 1024 * 1024  # bytes; the gateway takes 128 kB
SESSION = web.AppKey("session", aiohttp.ClientSession)


class Leak:
    """Remembers who registered what, and tells it to others."""

    def __init__(self, every: int) -> None:
        """Leak into one list in so many."""
        self._every = every
        self._lists = itertools.count(1)
        self._latest: dict[str, dict[str, Any]] = {}  # key -> the webhook that it registered last

    def seen(self, request: web.Request, status: int, body: bytes) -> bytes:
        """Return the body that the caller gets."""
        key = request.headers.get("X-API-Key", "")
        if request.method == "DELETE" and status == 204:
            self._forget(request.path.rpartition("/")[2])
        if request.path != WEBHOOKS or status not in (200, 201):
            return body
        if request.method == "POST":
            made = msgspec.json.decode(body)
            made.pop("secret", None)
            self._latest[key] = made
            return body
        return self._listed(key, body)

    def _forget(self, webhook_id: str) -> None:
        self._latest = {key: each for key, each in self._latest.items() if each["id"] != webhook_id}

    def _listed(self, key: str, body: bytes) -> bytes:
        other = next((each for owner, each in self._latest.items() if owner != key), None)
        if other is None or next(self._lists) % self._every:
            return body
        shown = msgspec.json.decode(body)
        shown["items"].append(other)
        return msgspec.json.encode(shown)


def make_app(upstream: str, leak: Leak) -> web.Application:
    """Return the proxy."""

    async def session(app: web.Application) -> AsyncGenerator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as made:
            app[SESSION] = made
            yield

    async def forward(request: web.Request) -> web.Response:
        async with request.app[SESSION].request(
            request.method,
            upstream + request.raw_path,
            headers=dict(_passed_on(request.headers)),
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            body = leak.seen(request, answer.status, await answer.read())
            return web.Response(
                status=answer.status, body=body, headers=dict(_passed_on(answer.headers))
            )

    app = web.Application(client_max_size=MOST_BODY)
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", forward)
    return app


def _passed_on(headers: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    return ((name, value) for name, value in headers.items() if name.lower() not in OF_THE_HOP)


async def serve(upstream: str, every: int) -> None:
    """Serve until the process is ended; print the port."""
    runner = web.AppRunner(make_app(upstream, Leak(every)), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(os.environ.get(EVERY, EVERY_LIST))))
