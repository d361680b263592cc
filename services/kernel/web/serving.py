"""Serving: run an ASGI app under uvicorn until SIGTERM, then let requests under way finish."""

import signal
import socket
from types import FrameType

import structlog
import uvicorn
from litestar.types import ASGIApp

KEEP_ALIVE = 75  # seconds; above the gateway's 60, which must be the one that closes (else a 502)
DRAIN = 8  # seconds for requests under way at SIGTERM; a supervisor waits 10 before SIGKILL
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


def serve(app: ASGIApp, listener: socket.socket) -> bool:
    """Serve until SIGTERM or SIGINT and drain; say whether it ever started."""
    config = uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType]
        loop="uvloop",
        http="httptools",
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
    server = uvicorn.Server(config)
    structlog.get_logger().info("service.listening", port=listener.getsockname()[1])
    server.run(sockets=[listener])
    return server.started


def _already_drained(_signal: int, _frame: FrameType | None) -> None:
    """Do nothing."""
