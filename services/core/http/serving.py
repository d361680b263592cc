"""Serving: run an ASGI app under uvicorn until SIGTERM, then leave without losing a request.

A request is lost when it comes on a connection that is just being closed: the gateway may not send
a POST again. A connection that is refused costs nothing: it tries the service's next address. So,
at SIGTERM:

1. /health/accepting and /health/ready answer 503, every answer says `Connection: close`; all is
   served as ever, until who checks the former has had time to notice.
2. The listener closes, after what the kernel has accepted for it is taken over.
3. What came with these last connections is answered, then idle connections are closed.
"""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import cast

import structlog
import uvicorn
from litestar.types import ASGIApp

from services.core.http.health import CHECK_INTERVAL, CHECKS, LEAVING
from services.core.http.protocol import ServiceProtocol

KEEP_ALIVE = 75  # seconds; above the gateway's 60, which must be the one that closes (else a 502)
# Seconds in which kept-alive connections end by themselves; over at once when there are none left.
# An idle one that the gateway uses again after that would be lost; the more it is used, the sooner
# it has gone: of 8 that share 200 requests a second, each is used every 0.04 s.
LAME_DUCK = 4.0
# Seconds that a checked process stays even when nobody is connected: the gateway notices at the
# third check that it leaves, and before that the process which was replaced before it.
NOTICED = 3.5 * CHECK_INTERVAL
LAST_REQUESTS = 0.5  # seconds for the requests of connections that were accepted last
DRAIN = 8  # seconds for requests under way then; a supervisor waits 20 before SIGKILL
TICK = 0.02  # seconds between two looks at what is still connected
BACKLOG = 2048  # connections that wait to be accepted


class PortTakenError(Exception):
    """The address can't be listened on; the message is one line for whoever started it."""


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket (port 0: one chosen by the system). Raises PortTakenError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        msg = f"can't listen on {host}, port {port}: {exc.strerror or exc}"
        raise PortTakenError(msg) from exc
    return listener


class _Server(uvicorn.Server):
    """uvicorn's server, which closes its listener and idle connections at once, taught to leave."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener
        self._immediate = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Leave in order at SIGTERM; at Ctrl-C, or asked again, only what is under way ends."""
        self._immediate = self.should_exit or sig == signal.SIGINT
        super().handle_exit(sig, frame)

    async def main_loop(self) -> None:
        """Serve until a signal, and then leave; shutdown() follows."""
        await super().main_loop()
        if not self._immediate:
            await self._leave()

    async def _leave(self) -> None:
        LEAVING.set()
        structlog.get_logger().info("service.leaving", connections=self._connected())
        # In place: answers that are under way have this very list.
        self.server_state.default_headers.append((b"connection", b"close"))
        await self._wait_for_connections(LAME_DUCK, NOTICED if CHECKS.go_on() else 0)
        await self._stop_listening()
        await self._wait_for_connections(LAST_REQUESTS)

    async def _wait_for_connections(self, seconds: float, at_least: float = 0) -> None:
        """Return when nobody is connected, when the time is over, or when asked again."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < seconds and not self._immediate:
            if waited >= at_least and not self._connected():
                return
            await asyncio.sleep(TICK)

    async def _stop_listening(self) -> None:
        """Close the listener; connections that the kernel has accepted for it are taken over.

        They would be reset with it, and whoever made them may have sent a request already.
        """
        loop = asyncio.get_running_loop()
        last = self._listener.dup()  # keeps the kernel's queue while the loop lets go of its own
        last.setblocking(False)
        for server in self.servers:
            server.close()
        accepted: list[socket.socket] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                accepted.append(last.accept()[0])
        last.close()
        for connection in accepted:
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        make = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        return make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def _connected(self) -> int:
        return len(self.server_state.connections)


def serve(app: ASGIApp, listener: socket.socket) -> bool:
    """Serve until SIGTERM or SIGINT and leave in order; say whether it ever started."""
    config = uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType]
        loop="uvloop",
        http=ServiceProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nothing here asks who the client is; the gateway knows
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=DRAIN,
    )
    for each in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when it has drained; a clean end is exit code 0.
        signal.signal(each, _already_drained)
    server = _Server(config, listener)
    structlog.get_logger().info("service.listening", port=listener.getsockname()[1])
    server.run(sockets=[listener])
    return server.started


def _already_drained(_signal: int, _frame: FrameType | None) -> None:
    """Do nothing."""
