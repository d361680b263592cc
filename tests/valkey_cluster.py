"""A Valkey Cluster of real servers for tests, each behind a proxy that counts round trips."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any, ClassVar, cast

import valkey

from services.local.children import free_port, start, stop
from services.local.valkey import STOP_SIGNAL, answers, server_command
from tools.waiting import wait_for

SLOTS = 16_384
NODE_TIMEOUT_MS = 1_000  # then a node counts as failed, and a replica takes its place


class CountingProxy:
    """Hands on what comes, and counts how often a client spoke after the server did."""

    def __init__(self, server_port: int) -> None:
        """Listen on a port of its own, in a thread of its own, until `close`."""
        self.round_trips = 0
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections, and end those there are."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _serve(self) -> None:
        loop = self._loop
        loop.set_exception_handler(lambda *_: None)  # connections that are reset
        server = loop.run_until_complete(
            loop.create_server(lambda: _ClientSide(self), sock=self._listener)
        )
        loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        for transport in list(_Side.transports.get(loop, ())):
            transport.abort()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()

    def reach_server(self, protocol: asyncio.Protocol) -> asyncio.Task[Any]:
        """Connect to the server."""
        return self._loop.create_task(
            self._loop.create_connection(lambda: protocol, "127.0.0.1", self._server_port)  # type: ignore[arg-type]
        )


class _Side(asyncio.Protocol):
    """One end of a pair of connections."""

    transports: ClassVar[dict[asyncio.AbstractEventLoop, set[asyncio.Transport]]] = {}

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transports.setdefault(asyncio.get_running_loop(), set()).add(self.transport)
        for data in self.early:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        if self.other.transport is None:
            self.other.early.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        assert self.transport is not None
        self.transports[asyncio.get_running_loop()].discard(self.transport)
        if self.other and self.other.transport:
            self.other.transport.close()


class _ClientSide(_Side):
    """A client; the server is reached when it comes."""

    def __init__(self, proxy: CountingProxy) -> None:
        super().__init__()
        self.proxy = proxy
        self.server_spoke = True
        self.other = _ServerSide(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.reaching = self.proxy.reach_server(cast("_Side", self.other))
        self.reaching.add_done_callback(self._reached)

    def _reached(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() and self.transport:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.server_spoke:
            self.proxy.round_trips += 1
            self.server_spoke = False
        super().data_received(data)


class _ServerSide(_Side):
    """The server of one client."""

    def __init__(self, client: _ClientSide) -> None:
        super().__init__()
        self.other: _ClientSide = client

    def data_received(self, data: bytes) -> None:
        self.other.server_spoke = True
        super().data_received(data)


@dataclass
class ClusterNode:
    """One server of a Cluster; clients see its proxy's port."""

    folder: Path
    port: int
    bus_port: int
    proxy: CountingProxy
    process: Popen[bytes] | None = None
    id: str = ""

    def start(self) -> None:
        """Start it; it knows the Cluster from its own file if it was a member before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = server_command(self.folder, self.port)
        command += ["--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)]
        command += ["--cluster-announce-ip", "127.0.0.1"]
        command += ["--cluster-announce-port", str(self.proxy.port)]
        command += ["--cluster-announce-bus-port", str(self.bus_port)]
        command += ["--cluster-node-timeout", str(NODE_TIMEOUT_MS)]
        # The part that is left goes on; with `yes` all of it stops when one node is away.
        command += ["--cluster-require-full-coverage", "no"]
        self.process = start(
            command,
            log=self.folder / "valkey.log",
            folder=self.folder,
            death_signal=STOP_SIGNAL,
        )
        wait_for(lambda: answers(self.port), f"a node on port {self.port}")

    def ask(self, *command: object) -> Any:  # noqa: ANN401 -- whatever the server answers
        """Run one command on this node itself."""
        with valkey.Valkey(port=self.port, socket_timeout=5) as client:
            return client.execute_command(*command)

    def end(self, how: signal.Signals = STOP_SIGNAL) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            stop(self.process, how, within=5)
            self.process = None


@dataclass
class Cluster:
    """Nodes of which the first ones have the slots, in equal parts, and others are replicas."""

    nodes: list[ClusterNode]
    primaries: int
    url: str = field(init=False)

    def __post_init__(self) -> None:
        """Name two of them; the others are found."""
        seeds = ",".join(f"127.0.0.1:{node.proxy.port}" for node in self.nodes[:2])
        self.url = f"valkey://{seeds}?cluster=true"

    def owner(self, slot: int) -> ClusterNode:
        """Return the node that had a slot at the start."""
        return self.nodes[slot * self.primaries // SLOTS]

    def round_trips(self) -> list[int]:
        """Return how many each node has seen."""
        return [node.proxy.round_trips for node in self.nodes]

    def empty(self) -> None:
        """Remove every key."""
        for node in self.nodes[: self.primaries]:
            node.ask("FLUSHALL")

    def move(self, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        """Move a slot with its keys, step by step, as resharding does."""
        target.ask("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER SETSLOT", slot, "MIGRATING", target.id)
        while keys := source.ask("CLUSTER GETKEYSINSLOT", slot, 10):
            for key in keys:
                source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
        for node in (target, source, *self.nodes):
            if node.process is not None:
                node.ask("CLUSTER SETSLOT", slot, "NODE", target.id)
        # A node that has not heard of another's newer epoch can take a slot back without a newer
        # one of its own, lose it again to what is still on its way, and drop the slot's keys.
        wait_for(self._agree, "nodes that agree on the epochs")

    def _agree(self) -> bool:
        """Say whether every running node has the same view of all the epochs."""
        views = [_epochs(node) for node in self.nodes if node.process is not None]
        return all(view == views[0] for view in views)


def parts(count: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last slot of each of `count` equal parts."""
    for number in range(count):
        first, end = (-(-SLOTS * each // count) for each in (number, number + 1))
        yield first, end - 1


@contextlib.contextmanager
def running_cluster(folder: Path, primaries: int = 3, replicas: int = 0) -> Generator[Cluster]:
    """Run a Cluster for the length of a with block; replica n is one of primary n."""
    nodes: list[ClusterNode] = []
    for number in range(primaries + replicas):
        port = free_port()
        node = ClusterNode(folder / f"node{number}", port, free_port(), CountingProxy(port))
        nodes.append(node)
    try:
        for number, node in enumerate(nodes):
            node.start()
            node.id = node.ask("CLUSTER MYID").decode()
            node.ask("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for node, (first, last) in zip(nodes, parts(primaries), strict=False):
            node.ask("CLUSTER ADDSLOTSRANGE", first, last)
        for node in nodes[1:]:
            node.ask("CLUSTER MEET", "127.0.0.1", nodes[0].port, nodes[0].bus_port)
        wait_for(lambda: all(_knows(node, len(nodes)) for node in nodes), "a whole Cluster")
        for number, node in enumerate(nodes[primaries:]):
            node.ask("CLUSTER REPLICATE", nodes[number].id)
        wait_for(
            lambda: all(_is_linked(node) for node in nodes[primaries:]), "replicas that follow"
        )
        yield Cluster(nodes, primaries)
    finally:
        for node in nodes:
            node.end(signal.SIGKILL)
            node.proxy.close()


def _knows(node: ClusterNode, count: int) -> bool:
    """Say whether a node knows all others, and whose every slot is."""
    told = node.ask("CLUSTER INFO")
    info = told if isinstance(told, dict) else {}
    ranges = node.ask("CLUSTER SLOTS")
    slots = sum(each[1] - each[0] + 1 for each in _ranges(ranges))
    return (
        info.get("cluster_state") == "ok"
        and int(info.get("cluster_known_nodes", 0)) == count
        and slots == SLOTS
    )


def _epochs(node: ClusterNode) -> dict[str, str]:
    """Return the epoch of each node as this one knows it."""
    return {each["node_id"]: each["epoch"] for each in node.ask("CLUSTER NODES").values()}


def _ranges(told: Any) -> list[tuple[int, int]]:  # noqa: ANN401 -- two forms
    return list(told) if isinstance(told, dict) else [(each[0], each[1]) for each in told]


def _is_linked(node: ClusterNode) -> bool:
    return bool(node.ask("INFO", "replication")["master_link_status"] == "up")
