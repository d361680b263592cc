"""Sandbox address: the local stack's sandbox under an address that every language can resolve.

Locally the sandbox is told by its name, sandbox-api.localhost, which curl resolves by itself and
other programs only where the system does. It can also give scripted answers first, as a gateway
that is over its limit.
"""

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from tests.e2e.conftest import SANDBOX_HOST
from tests.gateway.recording_service import Recorded, RecordingService, response

OURS = {
    "host",
    "connection",
    "upgrade",
    "http2-settings",
    "content-length",
    "accept-encoding",
    "date",
}
WITHIN = 20.0  # seconds


@dataclass(frozen=True)
class Scripted:
    """An answer that is given without asking the gateway."""

    status: int
    code: str
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def body(self) -> bytes:
        """As every error looks."""
        error = {"code": self.code, "message": "scripted", "request_id": "scripted-1"}
        return json.dumps(error).encode()


class SandboxAddress:
    """A server that passes requests on, and notes their method, path and body."""

    def __init__(self, gateway: str, key: str) -> None:
        """Listen on a port of its own; `key` is for whoever asks."""
        self.key = key
        self.script: list[Scripted] = []
        self.asked: list[tuple[str, str, bytes]] = []
        self.before_post: Callable[[], None] = _nothing
        self.after_post: Callable[[], None] = _nothing
        self._client = httpx.Client(base_url=gateway, trust_env=False, timeout=WITHIN)
        self._service = RecordingService(usual=self._behave)

    @property
    def url(self) -> str:
        """What a partner sets as INVENTORY_URL."""
        return f"http://127.0.0.1:{self._service.port}"

    def call(self, method: str, path: str, json: object = None) -> httpx.Response:
        """Ask the sandbox, as the partner."""
        headers = {"Host": SANDBOX_HOST, "X-API-Key": self.key}
        answer = self._client.request(method, f"/partner/v1{path}", json=json, headers=headers)
        assert answer.is_success, answer.text
        return answer

    def set_stock(self, product: str, quantity: int) -> None:
        """Set a product's stock."""
        self.call("PUT", f"/sandbox/inventory/{product}", {"quantity": quantity})

    def stock(self, product: str) -> int:
        """Ask for a product's quantity."""
        found = self.call("POST", "/inventory", {"product_ids": [product]}).json()
        return found["items"][0]["quantity"]

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Answer by the script, or as the gateway does."""
        self.asked.append((method, path, body))
        if self.script:
            scripted = self.script.pop(0)
            return scripted.status, scripted.headers, scripted.body
        passed = {name: value for name, value in headers.items() if name.lower() not in OURS}
        if method == "POST":
            self.before_post()
        given = self._client.request(
            method, path, content=body, headers={**passed, "Host": SANDBOX_HOST}
        )
        if method == "POST":
            self.after_post()
        kept = {name: value for name, value in given.headers.items() if name not in OURS}
        return given.status_code, kept, given.content

    def _behave(self, connection: socket.socket, recorded: Recorded) -> bool:
        status, headers, content = self.answer(
            recorded.method, recorded.target, dict(recorded.headers), recorded.body
        )
        connection.sendall(response(status, content, headers))
        return False

    def close(self) -> None:
        """Stop listening."""
        self._service.close()
        self._client.close()


def _nothing() -> None:
    """Do nothing: what happens around a request unless a test says otherwise."""
