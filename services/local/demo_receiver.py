"""Demo receiver: a partner's webhook endpoint; verifies what arrives as partners do (W5).

What verifies is the client that partners copy, which shares no code with what signs.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from partner_inventory import NotGenuineError, verify, verify_x_signature

HOST = "127.0.0.1"
PATH = "/partnerapi-demo"  # by which a later demo knows what a killed one has left
POLL = 0.005  # seconds between two looks at what has arrived
LARGEST = 64 * 1024  # bytes of a body


@dataclass(frozen=True)
class Received:
    """One call, and what was wrong with it: nothing, if it is genuine."""

    at: float  # seconds of perf_counter
    body: dict[str, Any]  # empty if it is not genuine
    fault: str


def fault_of(secret: str, given: Mapping[str, str], body: bytes, now: float) -> str:
    """Return what is wrong with a call, empty if it is genuine. `now` is in seconds since 1970."""
    if not secret:
        return "it came before the secret"
    try:
        verify_x_signature(body, given, secret)
        verify(body, given, secret, now)
    except NotGenuineError as exc:
        return str(exc)
    return ""


class Receiver:
    """A server on a port of its own, which stays its own while it is away."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Take a port; `open` begins to listen. `clock` gives seconds since 1970."""
        self._clock = clock
        # Bound and never listening: refuses connections, and keeps others from taking the port.
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind((HOST, 0))
        self._port: int = self._kept.getsockname()[1]
        self._server: _Server | None = None
        self.secret = ""  # known once the endpoint is registered
        self.received: list[Received] = []

    @property
    def url(self) -> str:
        """The address to register."""
        return f"http://{HOST}:{self._port}{PATH}"

    def open(self) -> None:
        """Listen."""
        if self._server is None:
            self._server = _Server((HOST, self._port), _Handler)
            self._server.receiver = self
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def go_away(self) -> None:
        """Stop listening: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def close(self) -> None:
        """Go away for good."""
        self.go_away()
        self._kept.close()

    def wait_for(
        self, wanted: Callable[[Received], bool], *, after: int, within: float
    ) -> Received | None:
        """Return the first such call after so many; None if there is none in time (seconds)."""
        deadline = time.perf_counter() + within
        while True:
            for each in self.received[after:]:
                if wanted(each):
                    return each
            if time.perf_counter() > deadline:
                return None
            time.sleep(POLL)

    def take(self, headers: Mapping[str, str], body: bytes) -> int:
        """Note a call; return the status to answer it with."""
        at = time.perf_counter()
        fault = fault_of(self.secret, headers, body, self._clock())
        self.received.append(Received(at, {} if fault else json.loads(body), fault))
        return 401 if fault else 204


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver


class _Handler(BaseHTTPRequestHandler):
    """Answers one request a connection (HTTP/1.0), so that nobody is served after `go_away`."""

    timeout = 10  # seconds that a caller may take to send its request

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, _Server)  # noqa: S101 -- for the type only
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(min(int(length), LARGEST)) if length.isdecimal() else b""
        self.send_response(server.receiver.take(dict(self.headers.items()), body))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base's name
        """Say nothing: the demo tells what arrives."""
