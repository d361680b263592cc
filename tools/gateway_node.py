"""Gateway node: publish a configuration to a node and ask it; run the embedded gateway as one."""

import contextlib
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from services.local.children import free_port, start, stop
from tools.waiting import wait_for
from tools.wire import Answer, Wire, request

BACKEND_TOKEN = "conformance-token-0123456789abcdef"

Document = dict[str, Any]


@dataclass
class Node:
    """One gateway."""

    host: str
    port: int
    admin_url: str
    process: subprocess.Popen[bytes] | None = None

    def wire(self, source: str | None = None) -> Wire:
        """Return a connection; `source` is the client's own address."""
        return Wire(self.host, self.port, source if self.is_local else None)

    @property
    def is_local(self) -> bool:
        """Say whether it sees loopback addresses as they are."""
        return self.process is not None

    def ask(
        self,
        method: str,
        target: str,
        *headers: tuple[str, str],
        host: str = "gateway",
        body: bytes = b"",
        source: str | None = None,
    ) -> Answer:
        """Send one request on a connection of its own and return the answer."""
        with self.wire(source) as wire:
            wire.send(request(method, target, *headers, host=host, body=body))
            return wire.answer(method)

    def post(self, text: str, query: str = "") -> httpx.Response:
        """Post a configuration's text as admin does."""
        return httpx.post(f"{self.admin_url}/config{query}", json={"config": text}, timeout=30)

    def publish(self, document: Document | str) -> None:
        """Make a configuration the running one."""
        text = document if isinstance(document, str) else json.dumps(document)
        answer = self.post(text)
        assert answer.status_code == 201, answer.text
        expected = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        wait_for(lambda: self.status()["configuration_hash"] == expected, "that configuration")

    def status(self) -> dict[str, Any]:
        """Return GET /status."""
        return httpx.get(f"{self.admin_url}/status").json()

    def readiness(self) -> int:
        """Return the status of GET /status/ready."""
        return httpx.get(f"{self.admin_url}/status/ready").status_code

    def listens(self) -> bool:
        """Say whether it answers on both ports; fail if its process has ended."""
        assert self.process is not None
        assert self.process.poll() is None, "the gateway ended; see its log"
        try:
            self.readiness()
            self.wire().close()
        except (httpx.TransportError, OSError):
            return False
        return True


@contextlib.contextmanager
def embedded_node(
    folder: Path, *, port: int | None = None, environment: dict[str, str] | None = None
) -> Generator[Node]:
    """Run an embedded gateway whose state is in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    port, admin_port = port or free_port(), free_port()
    settings = {
        "GATEWAY_PORT": str(port),
        "GATEWAY_ADMIN_PORT": str(admin_port),
        "GATEWAY_PREFIX": str(folder / "prefix"),
        "BACKEND_TOKEN": BACKEND_TOKEN,
        **(environment or {}),
    }
    program = [sys.executable, "-m", "services.local.gateway"]
    process = start(program, log=folder / "gateway.log", folder=folder, environment=settings)
    node = Node("127.0.0.1", port, f"http://127.0.0.1:{admin_port}", process)
    try:
        wait_for(node.listens, "a gateway that listens")
        yield node
    finally:
        stop(process, signal.SIGTERM, within=5)
