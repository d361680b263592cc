"""What the cases of publishing share: a policy of their own, partners, nodes, a reconciler."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import structlog

from services.admin.audit.rows import Actor
from services.admin.changes import Admin
from services.admin.gateway import store
from services.admin.gateway.reconciler import Reconciler
from services.admin.gateway.store import NodeRow
from services.admin.keys.changes import create_key, revoke_key
from services.admin.keys.rows import NewKey
from services.admin.partners.changes import create_partner
from services.admin.settings import AdminSettings
from services.core.encryption import SecretBox, make_master_key
from services.core.environments import Environment
from services.local.children import free_port
from tests.conftest import Database
from tests.gateway.recording_service import RecordingService
from tests.integration.admin.gateway.real_nodes import RealNode, real_nodes
from tests.integration.admin.gateway.stub_nodes import StubNode

KONG_YML = Path(__file__).parents[4] / "gateway" / "kong.yml"
CONTACT = "a@techmart.example"
TIERS = ("basic", "standard", "premium")
ACTOR = Actor("cli:a-test")
UPSTREAMS = ("query", "sandbox-query", "webhooks", "sandbox-webhooks")


class Gateway:
    """Partners, keys, kong.yml and what control says of the nodes."""

    def __init__(self, settings: AdminSettings) -> None:
        self.settings = settings
        self._admin = Admin(settings, SecretBox(settings.master_keys), self.connect)
        self.policy_file = Path(settings.gateway_policy)
        self._partners: set[str] = set()

    def with_nodes(self, *urls: str) -> AdminSettings:
        """Return the settings of an admin with these nodes."""
        return msgspec.structs.replace(self.settings, kong_admin_urls=",".join(urls))

    def new_key(self, partner: str = "techmart", tier: str = "standard") -> NewKey:
        """Return a new live key."""
        with self._admin.changing(ACTOR) as change:
            if partner not in self._partners:
                create_partner(change, partner, tier, CONTACT, tiers=TIERS)
                self._partners.add(partner)
            return create_key(change, partner, Environment.LIVE)

    def revoke(self, key: NewKey) -> None:
        """Revoke a key."""
        with self._admin.changing(ACTOR) as change:
            revoke_key(change, str(key.id))

    def write_policy(self, text: str) -> None:
        """Save another kong.yml."""
        self.policy_file.write_text(text, "utf-8")

    def connect(self) -> psycopg.Connection[Any]:
        """Return a connection as admin."""
        return psycopg.connect(self.settings.admin_database_url, autocommit=True)

    def rows(self, *urls: str) -> dict[str, NodeRow]:
        """Return what control says of nodes."""
        with self.connect() as connection:
            return store.read_nodes(connection, urls)

    def accepted(self) -> str | None:
        """Return the kong.yml that every node took."""
        with self.connect() as connection:
            return store.read_accepted(connection)


@pytest.fixture(scope="session")
def upstream() -> Iterator[RecordingService]:
    """Every service behind the gateway."""
    server = RecordingService("127.0.0.1")
    yield server
    server.close()


@pytest.fixture
def gateway(database: Database, tmp_path: Path, upstream: RecordingService) -> Gateway:
    """A kong.yml of this test's own and a database without partners."""
    policy = tmp_path / "kong.yml"
    policy.write_text(KONG_YML.read_text("utf-8"), "utf-8")
    settings = AdminSettings(
        admin_database_url=database.url("admin"),
        master_keys=make_master_key(),
        gateway_policy=str(policy),
        gateway_upstreams=",".join(f"{n}=127.0.0.1:{upstream.port}" for n in UPSTREAMS),
        # Nobody there: requests pass uncounted.
        gateway_counters_url=f"valkey://127.0.0.1:{free_port()}/0",
    )
    return Gateway(settings)


@pytest.fixture
def stub() -> Iterator[StubNode]:
    """A node that does as it is told."""
    with StubNode() as node:
        yield node


@pytest.fixture
def other_stub() -> Iterator[StubNode]:
    """Another one."""
    with StubNode() as node:
        yield node


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[RealNode]]:
    """Two embedded gateways."""
    with real_nodes(tmp_path, 2) as running:
        yield running


Reconcile = Callable[[AdminSettings], AbstractContextManager[Reconciler]]


@pytest.fixture
def reconciling() -> Reconcile:
    """Run a reconciler for the length of a with block."""

    @contextlib.contextmanager
    def run(settings: AdminSettings) -> Generator[Reconciler]:
        box = SecretBox(settings.master_keys)
        reconciler = Reconciler(settings, box, name="a test", clock=time.monotonic)
        reconciler.start()
        try:
            yield reconciler
        finally:
            began = time.monotonic()
            reconciler.stop()
            assert time.monotonic() - began < 2.0

    return run


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """What is logged during the test."""
    with structlog.testing.capture_logs() as captured:
        yield captured
