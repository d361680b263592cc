"""Nodes: the gateway under test: an embedded one (own process), a Kong, or one elsewhere."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from services.local.children import free_port, start, stop
from tests.gateway.wire import Answer, Wire, request
from tests.programs import find

ROOT = Path(__file__).resolve().parents[2]
BACKEND_TOKEN = "conformance-token-0123456789abcdef"
KIND = os.environ.get("GATEWAY", "embedded")
REMOTE = os.environ.get("GATEWAY_URL")
START = 20.0  # seconds; Kong takes 3 to start

# What every Kong under test is told; where it listens and finds the plugins is its own.
KONG_SETTINGS = {
    "KONG_DATABASE": "off",
    "KONG_ADMIN_GUI_LISTEN": "off",
    "KONG_NGINX_WORKER_PROCESSES": "1",
    "KONG_REQUEST_DEBUG": "off",
    "KONG_PLUGINS": "bundled,error-envelope,backend-token",
    "BACKEND_TOKEN": BACKEND_TOKEN,
}

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
        _until(lambda: self.status()["configuration_hash"] == expected)

    def status(self) -> dict[str, Any]:
        """Return GET /status."""
        return httpx.get(f"{self.admin_url}/status").json()

    def readiness(self) -> int:
        """Return the status of GET /status/ready."""
        return httpx.get(f"{self.admin_url}/status/ready").status_code


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
        _until(lambda: _listens(node))
        yield node
    finally:
        stop(process, signal.SIGTERM, within=5)


@contextlib.contextmanager
def kong_node(folder: Path) -> Generator[Node]:
    """Run the Kong that is on PATH with this repository's plugins."""
    kong = find("kong")
    assert kong, "GATEWAY=kong needs a kong on PATH"
    port, admin_port = free_port(), free_port()
    # Workers that root starts become another user, who could not enter the prefix.
    user = {"KONG_NGINX_USER": "root root"} if os.geteuid() == 0 else {}
    settings = {
        **os.environ,
        **KONG_SETTINGS,
        **user,
        "KONG_PREFIX": str(folder / "prefix"),
        "KONG_PROXY_LISTEN": f"127.0.0.1:{port}",
        "KONG_ADMIN_LISTEN": f"127.0.0.1:{admin_port}",
        "KONG_NGINX_DAEMON": "off",
        "KONG_LUA_PACKAGE_PATH": f"{ROOT}/gateway/plugins/?.lua;;",
    }
    settings.pop("KONG_DECLARATIVE_CONFIG", None)
    with (folder / "kong.log").open("ab") as log:
        process = subprocess.Popen([kong, "start"], env=settings, stdout=log, stderr=log)
    node = Node("127.0.0.1", port, f"http://127.0.0.1:{admin_port}", process)
    try:
        _until(lambda: _listens(node))
        yield node
    finally:
        subprocess.run([kong, "quit"], env=settings, check=False, capture_output=True)
        stop(process, signal.SIGTERM, within=10)


def remote_node(url: str, admin_url: str) -> Node:
    """Return a gateway that runs elsewhere."""
    parts = urlsplit(url)
    assert parts.hostname
    return Node(parts.hostname, parts.port or 80, admin_url.rstrip("/"))


def _listens(node: Node) -> bool:
    assert node.process is not None
    assert node.process.poll() is None, "the gateway ended; see its log"
    try:
        node.readiness()
        node.wire().close()
    except (httpx.TransportError, OSError):
        return False
    return True


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START
    while not holds():
        assert time.monotonic() < deadline, "the gateway did not get there in time"
        time.sleep(0.01)
