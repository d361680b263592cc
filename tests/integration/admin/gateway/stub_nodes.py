"""Stub nodes: a node of the gateway in this process that refuses, blocks or hangs when told to."""

import http.server
import json
import threading
from collections.abc import Callable
from typing import Any, Self

from services.admin.gateway.node_sync import text_hash


class StubNode:
    """Answers POST /config and GET /status as Kong does."""

    def __init__(self) -> None:
        self.text: str | None = None  # what it runs
        self.posts: list[str] = []
        self.looks = 0
        self.refuses: Callable[[str], bool] = lambda _text: False
        self.quotes: Callable[[str], str] = lambda _text: "declarative config is invalid"
        self.may_answer = threading.Event()  # cleared: it accepts connections and says nothing
        self.may_answer.set()
        node = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                text = json.loads(body)["config"]
                node.posts.append(text)
                node.may_answer.wait(30)
                if node.refuses(text):
                    self.answer(400, {"message": node.quotes(text)})
                else:
                    node.text = text
                    self.answer(201, {})

            def do_GET(self) -> None:
                node.looks += 1
                node.may_answer.wait(30)
                self.answer(200, {"configuration_hash": node.hash})

            def answer(self, status: int, body: dict[str, Any]) -> None:
                content = json.dumps(body).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:  # whoever asked went away meanwhile
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def hash(self) -> str:
        """The configuration_hash of what it runs."""
        return "0" * 32 if self.text is None else text_hash(self.text)

    def has_key(self, key: str) -> bool:
        """Say whether it runs a configuration with this key."""
        return self.text is not None and key in self.text

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
