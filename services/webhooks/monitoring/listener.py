"""Listener: GET /metrics, /health/live and /health/ready of a program without an API (D4).

The standard library's server in threads: three paths for one scraper and one health check, with no
body to read and nobody from outside. prometheus_client's own knows no other path.
"""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple

from services.core.metrics import CONTENT_TYPE, METRICS_PATH

IDLE = 10.0  # seconds; a connection that says nothing for longer is closed
JSON = "application/json"


class Answer(NamedTuple):
    """What a path answers."""

    status: int
    content_type: str
    body: bytes


Paths = dict[str, Callable[[], Answer]]


class ListenerError(Exception):
    """The address can't be listened on; the message is one line for whoever started it."""


class Listener:
    """Serves from `start` to `close`."""

    def __init__(self, host: str, port: int, paths: Paths) -> None:
        """Listen (port 0: one chosen by the system). Raises ListenerError."""
        try:
            self._server = _Server((host, port), _handler_of(paths))
        except OSError as exc:
            msg = f"can't listen on {host}, port {port}: {exc.strerror or exc}"
            raise ListenerError(msg) from exc
        self.port = int(self._server.server_address[1])
        self._thread = Thread(target=self._server.serve_forever, name="listener", daemon=True)

    def start(self) -> None:
        """Begin to answer, in threads."""
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """One that waits for none of its threads at the end."""

    daemon_threads = True
    block_on_close = False


def _handler_of(paths: Paths) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers GET of known paths."""

        timeout = IDLE

        def do_GET(self) -> None:
            """Answer."""
            answer = paths.get(self.path.partition("?")[0], _not_found)()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing: a scrape every few seconds is no news."""

    return Handler


def make_paths(metrics: Callable[[], bytes], ready: Callable[[], tuple[int, bytes]]) -> Paths:
    """Return the three paths; `ready` gives a status and a JSON body."""

    def look() -> Answer:
        status, body = ready()
        return Answer(status, JSON, body)

    return {
        METRICS_PATH: lambda: Answer(200, CONTENT_TYPE, metrics()),
        "/health/live": lambda: Answer(200, JSON, b'{"status":"live"}'),
        "/health/ready": look,
    }


def _not_found() -> Answer:
    return Answer(404, JSON, b'{"error":"no such path"}')
