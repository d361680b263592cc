"""Two admins: a key is revoked through one while the other one restarts (A2)."""

import signal
import time
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from services.admin.keys.rows import NewKey
from tests.admin_process import AdminProcess, running_admin
from tests.integration.admin.gateway.conftest import Gateway
from tests.integration.admin.gateway.real_nodes import RealNode
from tools.waiting import wait_for

REVOKED_WITHIN = 5.0  # seconds (A2)
LEADS = "gateway_reconciler_leader 1.0"


@pytest.fixture
def admins(
    gateway: Gateway, nodes: list[RealNode], tmp_path: Path
) -> Generator[list[AdminProcess]]:
    """The one that publishes, and the one that stands by."""
    settings = gateway.settings
    given = {
        "ADMIN_DATABASE_URL": settings.admin_database_url,
        "MASTER_KEYS": settings.master_keys,
        "KONG_ADMIN_URLS": ",".join(node.url for node in nodes),
        "GATEWAY_POLICY": settings.gateway_policy,
        "GATEWAY_UPSTREAMS": settings.gateway_upstreams,
        "GATEWAY_COUNTERS_URL": settings.gateway_counters_url,
    }
    with ExitStack() as stack:
        running: list[AdminProcess] = []
        for name in ("admin", "admin-2"):
            folder = tmp_path / name
            folder.mkdir()
            running.append(stack.enter_context(running_admin(folder, given)))
            wait_for(lambda: any(map(leads, running)), "one of them publishes")
        yield running


def leads(admin: AdminProcess) -> bool:
    return LEADS in httpx.get(f"{admin.running.base_url}/metrics").text


def revoke(admin: AdminProcess, key: NewKey, nodes: list[RealNode]) -> float:
    """Revoke a key; return the seconds until every node refuses it."""
    client = admin.client()  # its token is made before the clock starts
    began = time.monotonic()
    answer = client.post(f"/keys/{key.id}/revoke")
    assert answer.status_code == 200, answer.text
    wait_for(lambda: all(node.ask(key.secret) == 401 for node in nodes), "the key is refused")
    return time.monotonic() - began


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_a_key_is_revoked_through_either_admin_while_the_other_one_is_away(
    gateway: Gateway, nodes: list[RealNode], admins: list[AdminProcess], how: signal.Signals
) -> None:
    keys = [gateway.new_key() for _ in range(3)]
    wait_for(
        lambda: all(node.ask(key.secret) == 200 for node in nodes for key in keys), "keys that work"
    )
    publishes, stands_by = admins
    assert (leads(publishes), leads(stands_by)) == (True, False)
    assert revoke(stands_by, keys[0], nodes) < REVOKED_WITHIN
    publishes.running.process.send_signal(how)
    assert revoke(stands_by, keys[1], nodes) < REVOKED_WITHIN
    publishes.running.process.wait(timeout=20)
    wait_for(lambda: leads(stands_by), "the other one has taken over")
    assert revoke(stands_by, keys[2], nodes) < REVOKED_WITHIN
