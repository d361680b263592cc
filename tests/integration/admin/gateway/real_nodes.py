"""Real nodes: an embedded gateway that a test can kill, wipe and bring back at the same ports."""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import httpx

from services.local.children import free_port, start, stop
from tools.waiting import wait_for

BACKEND_TOKEN = "a-backend-token-of-the-tests-0123456789"
LIVE_PATH = "/partner/v1/inventory"


class RealNode:
    """One gateway process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True)
        self.port, admin_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{admin_port}"
        self._settings = {
            "GATEWAY_PORT": str(self.port),
            "GATEWAY_ADMIN_PORT": str(admin_port),
            "GATEWAY_PREFIX": str(folder / "prefix"),
            "BACKEND_TOKEN": BACKEND_TOKEN,
        }
        self._client = httpx.Client()
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start it, or start it again; return at once."""
        program = [sys.executable, "-m", "services.local.gateway"]
        self._process = start(
            program,
            log=self.folder / "gateway.log",
            folder=self.folder,
            environment=self._settings,
        )

    def kill(self) -> None:
        """End it without a word."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def wipe(self) -> None:
        """Take from it what it ran last."""
        shutil.rmtree(self.folder / "prefix")

    def is_up(self) -> bool:
        """Say whether its admin port answers."""
        try:
            return self._client.get(f"{self.url}/status").status_code == 200
        except httpx.TransportError:
            return False

    def hash(self) -> str:
        """Return the configuration_hash of what it runs."""
        return self._client.get(f"{self.url}/status").json()["configuration_hash"]

    def ask(self, key: str) -> int:
        """Return the status of a request with this key; 0 without an answer."""
        headers = {"X-API-Key": key}
        address = f"http://127.0.0.1:{self.port}{LIVE_PATH}"
        try:
            return self._client.post(address, headers=headers, json={}).status_code
        except httpx.TransportError:
            return 0

    def stop(self) -> None:
        """End it in order."""
        self._client.close()
        if self._process is not None:
            stop(self._process, signal.SIGTERM, within=5)


@contextlib.contextmanager
def real_nodes(folder: Path, count: int) -> Generator[list[RealNode]]:
    """Run nodes, started at the same time."""
    nodes = [RealNode(folder / f"node-{number}") for number in range(count)]
    try:
        for node in nodes:
            node.begin()
        for node in nodes:
            wait_for(node.is_up, "a node that answers")
        yield nodes
    finally:
        for node in nodes:
            node.stop()
