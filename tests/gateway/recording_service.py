"""Recording service: stands behind the gateway, notes what reaches it, misbehaves on demand."""

import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from tools.waiting import wait_for

BODY = b'{"items": []}'
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)


@dataclass
class Recorded:
    """One request as the service saw it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    # Set when the gateway ended the connection before the service had answered.
    given_up: threading.Event = field(default_factory=threading.Event)

    def header(self, name: str) -> str | None:
        """Return the one value of a header; two of them are a fault."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, f"the service got {name} {len(values)} times"
        return values[0] if values else None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


# Gets the connection and the request; returns whether the connection may be used again.
Behaviour = Callable[[socket.socket, Recorded], bool]


def answers(data: bytes, *, keep: bool = True) -> Behaviour:
    """Answer with these bytes, whatever they are."""

    def behave(connection: socket.socket, recorded: Recorded) -> bool:
        connection.sendall(data)
        return keep

    return behave


def response(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """Return a whole answer that ends its connection."""
    sent = {"Connection": "close", **(headers or {})}
    if status != HTTPStatus.NO_CONTENT:
        sent["Content-Length"] = str(len(body))
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *map(": ".join, sent.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def closes(connection: socket.socket, recorded: Recorded) -> bool:
    """End the connection without an answer."""
    return False


def hangs(connection: socket.socket, recorded: Recorded) -> bool:
    """Say nothing until the gateway goes away."""
    connection.settimeout(20)
    try:
        if connection.recv(1) == b"":
            recorded.given_up.set()
    except OSError:
        recorded.given_up.set()
    return False


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behave differently each time; the last one stays."""
    left = list(behaviours)

    def behave(connection: socket.socket, recorded: Recorded) -> bool:
        behaviour = left.pop(0) if len(left) > 1 else left[0]
        return behaviour(connection, recorded)

    return behave


class RecordingService:
    """A threaded HTTP/1.1 server that is told by path how to behave."""

    def __init__(self, host: str = "127.0.0.1", usual: Behaviour | None = None) -> None:
        """`usual`: how it behaves where no path says otherwise; by default it answers 200."""
        self._usual = usual
        self._behaviours: dict[str, Behaviour] = {}
        self._recorded: list[Recorded] = []
        self._server = _Server((host, 0), _Handler)
        self._server.service = self
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def behave(self, path: str, behaviour: Behaviour) -> None:
        """Behave so when a path is asked for."""
        self._behaviours[path] = behaviour

    def requests(self, path: str) -> list[Recorded]:
        """Return what a path has got by now."""
        return [each for each in self._recorded if each.path == path]

    def received(self, path: str, count: int = 1) -> list[Recorded]:
        """Return what a path got, as soon as `count` requests are there."""
        wait_for(lambda: len(self.requests(path)) >= count, f"{count} requests of {path}")
        return self.requests(path)

    def only(self, path: str) -> Recorded:
        """Return the one request that a path got."""
        found = self.received(path)
        assert len(found) == 1, f"{path} got {len(found)} requests"
        return found[0]

    def serve(self, connection: socket.socket, recorded: Recorded) -> bool:
        """Note a request and answer it."""
        self._recorded.append(recorded)
        good = answers(GOOD.removesuffix(BODY) if recorded.method == "HEAD" else GOOD)
        usual = self._usual or good
        return self._behaviours.get(recorded.path, usual)(connection, recorded)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    service: RecordingService

    def handle_error(self, request: object, client_address: object) -> None:
        """Leave out what happens when the other side goes away."""


class _Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        while (recorded := self._read_request()) is not None:
            if not server.service.serve(self.connection, recorded):
                return

    def _read_request(self) -> Recorded | None:
        line = self.rfile.readline().decode("latin-1").strip()
        if not line:
            return None
        method, _, rest = line.partition(" ")
        target = rest.rpartition(" ")[0]
        headers: list[tuple[str, str]] = []
        while (header := self.rfile.readline().decode("utf-8", "replace").strip()) != "":
            name, _, value = header.partition(":")
            headers.append((name, value.strip()))
        recorded = Recorded(method, target, headers)
        recorded.body = self._read_body(recorded)
        return recorded

    def _read_body(self, recorded: Recorded) -> bytes:
        if recorded.header("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(recorded.header("Content-Length") or 0))
