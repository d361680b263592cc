"""Pairs: two processes of a service behind one name, as compose runs them, and a gateway before."""

import contextlib
import json
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Self

import httpx

from services.local.children import free_port, start, stop
from services.local.valkey import RunningValkey
from services.policy.render import Addresses, CounterStore, render
from tests.gateway.policy import KONG_YML, LIVE_KEY, partner
from tools.gateway_node import Node, embedded_node
from tools.query_process import BACKEND_TOKEN
from tools.waiting import wait_for
from tools.wire import BrokenAnswerError, Wire, request

USERS = 8
RATE = 200  # calls of `ask` a second of all users together
STOP_WITHIN = 15.0  # seconds; compose.yaml gives 20


@dataclass
class Pair:
    """Two processes of one program; `addresses` differ, the port does not."""

    service: str
    program: str
    settings: Mapping[str, str]
    folder: Path
    addresses: tuple[str, str]
    port: int = field(default_factory=free_port)
    processes: dict[str, Popen[bytes]] = field(default_factory=dict[str, Popen[bytes]])

    def start(self, address: str) -> None:
        """Start the process of an address; return when it is ready."""
        command = [sys.executable, "-m", f"services.{self.service}", self.program]
        told = {**self.settings, "HOST": address, "PORT": str(self.port)}
        log = self.folder / f"{self.service}-{address}.log"
        self.processes[address] = start(command, log=log, folder=self.folder, environment=told)
        wait_for(lambda: self._is_ready(address), f"{log} ready")

    def restart(self, address: str) -> float:
        """Restart one of them as a rolling restart does; return the seconds it took to end."""
        began = time.monotonic()
        self.end(address)
        took = time.monotonic() - began
        assert self.processes[address].returncode == 0
        self.start(address)
        return took

    def end(self, address: str) -> None:
        """End the process of an address."""
        stop(self.processes[address], signal.SIGTERM, within=STOP_WITHIN)

    def _is_ready(self, address: str) -> bool:
        with contextlib.suppress(httpx.TransportError):
            url = f"http://{address}:{self.port}/health/ready"
            return httpx.get(url, trust_env=False).status_code == 200
        return False


@contextlib.contextmanager
def running_pair(
    service: str, program: str, settings: Mapping[str, str], folder: Path
) -> Generator[Pair]:
    """Run both for the length of a with block, on loopback addresses that are nobody else's."""
    network = f"127.{random.randrange(10, 250)}.{random.randrange(1, 250)}"
    pair = Pair(service, program, settings, folder, (f"{network}.1", f"{network}.2"))
    try:
        for address in pair.addresses:
            pair.start(address)
        yield pair
    finally:
        for address in pair.processes:
            pair.end(address)


@contextlib.contextmanager
def gateway_before(
    pairs: Mapping[str, Pair],
    valkey: RunningValkey,
    folder: Path,
    backend_token: str = BACKEND_TOKEN,
) -> Generator[Node]:
    """Run a gateway that knows each pair by the name that it has in compose.yaml."""
    upstreams = {name: (f"{name}:{pair.port}",) for name, pair in pairs.items()}
    hosts = ";".join(f"{name}={','.join(pair.addresses)}" for name, pair in pairs.items())
    told = {"GATEWAY_HOSTS": hosts, "BACKEND_TOKEN": backend_token}
    counters = CounterStore("127.0.0.1", valkey.port, 1)
    text = render(
        KONG_YML.read_text("utf-8"),
        [partner("techmart", "qa", LIVE_KEY)],
        Addresses(upstreams, counters),
    )
    with embedded_node(folder / "gateway", environment=told) as node:
        node.publish(json.loads(text))
        yield node


Ask = Callable[[Wire, Counter[str]], None]  # one exchange or more; counts what came of it


class Users:
    """Callers over kept-alive connections, each at its own even pace, late answers or not."""

    def __init__(self, node: Node, ask: Ask, rate: float = RATE) -> None:
        self.outcomes: Counter[str] = Counter()
        self._node = node
        self._ask = ask
        self._interval = USERS / rate
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._go_on) for _ in range(USERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def failed(self) -> dict[str, int]:
        """Return what was no success, and how often."""
        return {name: count for name, count in self.outcomes.items() if " 2" not in name}

    def _go_on(self) -> None:
        with self._node.wire() as wire:
            due = time.monotonic()
            while not self._done.wait(max(0.0, due - time.monotonic())):
                due += self._interval
                try:
                    self._ask(wire, self.outcomes)
                except (OSError, BrokenAnswerError) as exc:
                    self.outcomes[type(exc).__name__] += 1
                    return


def exchange(
    wire: Wire, outcomes: Counter[str], method: str, target: str, body: object = None
) -> bytes:
    """Make one request, count its outcome, return the answer's body."""
    sent = json.dumps(body).encode() if body is not None else b""
    kind = ("Content-Type", "application/json")
    wire.send(request(method, target, ("X-API-Key", LIVE_KEY), kind, body=sent))
    answer = wire.answer(method)
    outcomes[f"{method} {answer.status}"] += 1
    return answer.body
