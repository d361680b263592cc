"""A gateway's node that hangs costs the changes a bounded wait, and nothing else anything (D4)."""

import contextlib
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from services.admin.changes import Admin
from services.admin.gateway.http import diff_gateway
from services.core.encryption import SecretBox
from tests.admin_process import AdminProcess, running_admin, settings_for
from tests.conftest import Database
from tests.integration.admin.gateway.conftest import Gateway
from tests.integration.admin.gateway.stub_nodes import StubNode
from tools.waiting import wait_for

AT_ONCE = 24  # key creations: more than the service has connections, or a small machine threads
ANSWER_WITHIN = 10.0  # seconds; the service gives a node 6
FAST = 5.0  # seconds; other answers take some 10 ms


@pytest.fixture
def admin(database: Database, tmp_path: Path, stub: StubNode) -> Generator[AdminProcess]:
    with running_admin(tmp_path, settings_for(database, KONG_ADMIN_URLS=stub.url)) as running:
        yield running


class Looking(threading.Thread):
    """Asks for paths until the end of the with block; keeps each status and its seconds."""

    def __init__(self, admin: AdminProcess) -> None:
        super().__init__(daemon=True)
        base = admin.running.base_url
        self._client = admin.client(timeout=30)
        self._urls = (f"{base}/health/ready", f"{base}/admin/v1/partners")
        self._over = threading.Event()
        self.seen: list[tuple[str, int, float]] = []

    def run(self) -> None:
        while not self._over.wait(0.05):
            for url in self._urls:
                began = time.monotonic()
                status = self._client.get(url).status_code
                self.seen.append((url, status, time.monotonic() - began))

    @contextlib.contextmanager
    def until_the_end(self) -> Generator[None]:
        self.start()
        yield
        self._over.set()
        self.join(30)


def test_a_hanging_node_leaves_admin_ready_and_fast(admin: AdminProcess, stub: StubNode) -> None:
    client = admin.client()
    partner = {"name": "techmart", "tier": "basic", "contact": "a@techmart.example"}
    assert client.post("/partners", json=partner).status_code == 201
    clients = [admin.client(timeout=60) for _ in range(AT_ONCE)]
    path, body = "/partners/techmart/keys", {"environment": "live"}
    first = client.post(path, json=body).json()
    assert [node["state"] for node in first["gateway"]] == ["current"]

    def make(each: httpx.Client) -> tuple[dict[str, Any], float]:
        began = time.monotonic()
        answer = each.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json(), time.monotonic() - began

    stub.may_answer.clear()
    looking = Looking(admin)
    with looking.until_the_end(), ThreadPoolExecutor(AT_ONCE) as threads:
        made = list(threads.map(make, clients))
    assert max(seconds for _, seconds in made) < ANSWER_WITHIN
    for answer, _ in made:
        assert answer["secret"].startswith("pk_live_")
        [node] = answer["gateway"]
        assert (node["url"], bool(node["error"])) == (stub.url, True), "it says what the node does"
    assert [each for each in looking.seen if each[1] != 200] == []
    assert max(seconds for _, _, seconds in looking.seen) < FAST
    stub.may_answer.set()
    newest = made[-1][0]["secret"]
    wait_for(lambda: stub.has_key(newest), "the node has the keys once it answers again")


def test_a_diff_asks_nodes_while_it_holds_no_connection(gateway: Gateway) -> None:
    lent: list[object] = []

    @contextlib.contextmanager
    def lend() -> Generator[psycopg.Connection[Any]]:
        with gateway.connect() as connection:
            lent.append(connection)
            yield connection
            lent.remove(connection)

    held: list[int] = []

    class Node(StubNode):
        @property
        def hash(self) -> str:
            held.append(len(lent))
            return super().hash

    with Node() as node:
        settings = gateway.with_nodes(node.url)
        diff_gateway.fn(Admin(settings, SecretBox(settings.master_keys), lend))
    assert held
    assert not any(held)
