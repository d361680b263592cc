"""Target process: one process of a service, to be killed, stopped or told to leave.

Run as `python -m tests.gateway.target_process HOST PORT`. It answers with its port; 503 to a path
that ends in /503, and to /health/accepting after SIGUSR1, when it serves all the rest as ever.
"""

import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LEAVING = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """Answers at once and keeps the connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        is_refused = self.path.endswith("/503")
        if self.path == "/health/accepting":
            is_refused = LEAVING.is_set()
        body = str(self.server.server_address[1]).encode()
        self.send_response(503 if is_refused else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

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
