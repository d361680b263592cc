"""What the gateway's cases share: one gateway, one recording service, one Valkey for the session.

GATEWAY=embedded (default) or kong; or GATEWAY_URL and KONG_ADMIN_URL for one that runs elsewhere,
which reaches the recording service and Valkey at UPSTREAM_HOST.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.local.valkey import RunningValkey, running_valkey
from services.policy.render import CounterStore
from tests.gateway.nodes import KIND, REMOTE, kong_node, remote_node
from tests.gateway.policy import Places, conformance_policy, partner
from tests.gateway.recording_service import RecordingService
from tools.gateway_node import Document, Node, embedded_node

UPSTREAM_HOST = os.environ.get("UPSTREAM_HOST", "127.0.0.1")
# What a gateway on another machine must reach listens on every address of this one.
LISTEN_HOST = "127.0.0.1" if UPSTREAM_HOST == "127.0.0.1" else "0.0.0.0"

# Partners with a limit that one case uses up.
LIMITED = {
    "exact": ("basic", "exact-key"),
    "told": ("basic", "told-key"),
    "routes": ("basic", "routes-key"),
    "keys": ("basic", "keys-key", "keys-key-two"),
    "nodes": ("basic", "nodes-key"),
    "crowd": ("premium", "crowd-key"),
}


# Partners that are suspended; the second's limit is used up by a case.
SUSPENDED = [
    partner("halted", "qa", "halted-key", "halted-key-two", suspended=True),
    partner("halted", "qa", "halted-sandbox-key", environment="sandbox", suspended=True),
    partner("halted-flood", "basic", "halted-flood-key", suspended=True),
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where servers keep their state."""
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="session")
def valkey(folder: Path) -> Iterator[RunningValkey]:
    """The counters' store."""
    with running_valkey(folder / "valkey", host=LISTEN_HOST) as server:
        yield server


@pytest.fixture(scope="session")
def stalled_valkey(folder: Path) -> Iterator[RunningValkey]:
    """A store for the cases that stop and end it."""
    with running_valkey(folder / "stalled", host=LISTEN_HOST) as server:
        yield server


@pytest.fixture(scope="session")
def service() -> Iterator[RecordingService]:
    """What stands behind the gateway."""
    server = RecordingService(LISTEN_HOST)
    yield server
    server.close()


@pytest.fixture(scope="session")
def closed_port() -> Iterator[int]:
    """A port that refuses connections, and that nobody else can take meanwhile."""
    with socket.socket() as bound:
        bound.bind(("0.0.0.0", 0))
        yield bound.getsockname()[1]


@pytest.fixture(scope="session")
def places(
    service: RecordingService,
    valkey: RunningValkey,
    stalled_valkey: RunningValkey,
    closed_port: int,
) -> Places:
    """Where everything is, as the gateway sees it."""
    return Places(
        service=f"http://{UPSTREAM_HOST}:{service.port}",
        closed=f"http://{UPSTREAM_HOST}:{closed_port}",
        counters=CounterStore(UPSTREAM_HOST, valkey.port),
        stalled=CounterStore(UPSTREAM_HOST, stalled_valkey.port),
        no_counters=CounterStore(UPSTREAM_HOST, closed_port),
    )


@pytest.fixture(scope="session")
def policy(places: Places) -> Document:
    """The configuration that the gateway runs unless a case says otherwise."""
    limited = [partner(name, tier, *keys) for name, (tier, *keys) in LIMITED.items()]
    return conformance_policy(places, *limited, *SUSPENDED)


@pytest.fixture(scope="session")
def node(folder: Path, policy: Document) -> Iterator[Node]:
    """The gateway under test, with the policy published."""
    with contextlib.ExitStack() as stack:
        if REMOTE:
            running = remote_node(REMOTE, os.environ["KONG_ADMIN_URL"])
        elif KIND == "kong":
            running = stack.enter_context(kong_node(folder))
        else:
            running = stack.enter_context(embedded_node(folder / "node"))
        running.publish(policy)
        yield running


@pytest.fixture
def publish(node: Node, policy: Document) -> Iterator[Callable[[Document | str], None]]:
    """Publish another configuration for the length of one case."""
    yield node.publish
    node.publish(policy)


@pytest.fixture
def embedded_only() -> None:
    """Keep a case from running against a Kong, for a reason that the case gives."""
    if REMOTE or KIND != "embedded":
        pytest.skip("about the embedded gateway's own process")


@pytest.fixture
def own_addresses() -> None:
    """Keep a case that needs several client addresses from running against a remote gateway."""
    if REMOTE:
        pytest.skip("all cases have one address there")
