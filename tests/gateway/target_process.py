"""Target process: one process of a service, to be killed, stopped or told to leave.

Run as `python -m tests.gateway.target_process HOST PORT`. It answers with its port; 503 to a path
that ends in /503, to one that ends in /checked until it was checked, and to /health/accepting
after SIGUSR1, when it serves all the rest as ever. A connection that a check came on stays open,
and a request that comes on it gets 500.
"""

import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHECK = "/health/accepting"
LEAVING = threading.Event()
CHECKED = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """Answers at once and keeps the connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    is_of_checks = False  # this connection

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = str(self.server.server_address[1]).encode()
        self.send_response(self._status())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _status(self) -> int:
        if self.path == CHECK:
            self.is_of_checks = True
            self.close_connection = False
            CHECKED.set()
            return 503 if LEAVING.is_set() else 200
        if self.is_of_checks:
            return 500
        is_checked = CHECKED.is_set() or not self.path.endswith("/checked")
        return 503 if self.path.endswith("/503") or not is_checked else 200

    do_POST = do_GET  # noqa: N815 -- the server's own name for it

    def log_request(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Does not wait for connections that are kept."""

    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda *_: LEAVING.set())
    Server((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
