"""Receiving: start the receiver as a process of its own, tell it what to do, read its ledger."""

import contextlib
import json
import signal
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

import httpx
import msgspec

from services.local.children import start, stop, wait_until
from tools.receiver import Behaviour, Endpoint, Receipt

READY_WITHIN = 20.0  # seconds
# Distinct receivers have distinct addresses; only Linux has all of 127.0.0.0/8 from the start.
MOST_HOSTS = 100 if sys.platform == "linux" else 1


class Receiver:
    """A running receiver."""

    def __init__(self, port: int, hosts: int) -> None:
        """Take the port, the same on each of so many loopback addresses."""
        self._hosts = hosts
        self._port = port
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}/control", trust_env=False, timeout=60
        )

    def url(self, endpoint: int) -> str:
        """Return the address of an endpoint."""
        return f"http://127.0.0.{1 + endpoint % self._hosts}:{self._port}/e/{endpoint}"

    def configure(
        self, endpoint: int, secrets: Sequence[str], behaviours: Sequence[Behaviour] = ()
    ) -> None:
        """Tell an endpoint its secrets, oldest first, and how it behaves."""
        told = msgspec.json.encode(Endpoint(list(secrets), list(behaviours)))
        self._client.put(f"/{endpoint}", content=told).raise_for_status()

    def count(self) -> int:
        """Return how many requests there were."""
        return int(self._client.get("/count").raise_for_status().text)

    def receipts(self, after: int = 0) -> list[Receipt]:
        """Return the ledger without its first lines."""
        answer = self._client.get(f"/receipts/{after}").raise_for_status()
        return msgspec.msgpack.decode(answer.content, type=list[Receipt])

    def close(self) -> None:
        """Close the connection to it."""
        self._client.close()


@contextlib.contextmanager
def running_receiver(folder: Path, *, hosts: int = 1) -> Generator[Receiver]:
    """Run a receiver for the length of a with block."""
    hosts = min(hosts, MOST_HOSTS)
    log = folder / "receiver.log"
    command = [sys.executable, "-m", "tools.receiver", "--hosts", str(hosts)]
    process = start(command, log=log, folder=folder)
    try:
        wait_until(
            lambda: b'"port"' in log.read_bytes(),
            process,
            name="the receiver",
            log=log,
            within=READY_WITHIN,
        )
        port = json.loads(log.read_text().splitlines()[-1])["port"]
        with contextlib.closing(Receiver(int(port), hosts)) as receiver:
            yield receiver
    finally:
        stop(process, signal.SIGTERM, within=5)
