"""What partners see while PostgreSQL or Valkey is away or hangs (D4)."""

import os
import signal
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql

from services.core.environments import Environment
from services.local.children import stop
from services.local.valkey import RunningValkey
from tests.conftest import Database
from tests.integration.webhooks.api.conftest import URL, WEBHOOKS, PartnerClient
from tests.webhook_rows import WebhookRows, connect_owner
from tests.webhooks_process import running_api, settings_for
from tools.query_process import QueryProcess
from tools.waiting import wait_for

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Alone:
    """An api that a test may treat badly."""

    api: QueryProcess
    partner: PartnerClient
    rows: WebhookRows
    database: Database
    valkey: RunningValkey

    def readiness(self) -> dict[str, object]:
        return httpx.get(f"{self.api.base_url}/health/ready", trust_env=False).json()

    def cut_connections(self) -> None:
        """End every connection of the api to PostgreSQL."""
        self.rows.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'sandbox_webhooks' AND datname = current_database()"
        )

    def accept_connections(self, allowed: bool) -> None:
        """Let nobody into the database, or everybody again."""
        statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
            sql.Identifier(self.database.name), sql.Literal(allowed)
        )
        with psycopg.connect(self.database.server.url(), autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture
def alone(database: Database, own_valkey: RunningValkey, tmp_path: Path) -> Generator[Alone]:
    """An api of the sandbox with a database and a Valkey of its own."""
    url = database.url("sandbox_webhooks")
    settings = settings_for(url, own_valkey.url, Environment.SANDBOX)
    with (
        connect_owner(database.owner_url) as owner,
        running_api(tmp_path, settings) as api,
        api.client(timeout=10) as http,
    ):
        rows = WebhookRows(owner)
        partner = PartnerClient(http, rows.partner())
        yield Alone(api, partner, rows, database, own_valkey)


def test_postgresql_away_is_503_for_every_operation_and_over_when_it_is_back(alone: Alone) -> None:
    webhook = alone.partner.register()
    path = f"{WEBHOOKS}/{webhook['id']}"
    alone.accept_connections(False)
    alone.cut_connections()
    for method, each, body in (
        ("GET", WEBHOOKS, None),
        ("POST", WEBHOOKS, {"url": f"{URL}/2", "events": ["inventory.updated"]}),
        ("PATCH", path, {"state": "disabled"}),
        ("POST", f"{path}/ping", None),
        ("PUT", "/partner/v1/sandbox/inventory/A", {"quantity": 1}),
    ):
        began = time.monotonic()
        answer = alone.partner.http.request(method, each, json=body)
        assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert answer.headers["Retry-After"] == "1"
        assert time.monotonic() - began < 4
    assert alone.readiness()["status"] == "unavailable"
    alone.accept_connections(True)
    wait_for(lambda: alone.partner.http.get(path).status_code == 200, "an answer")
    assert alone.partner.http.get(WEBHOOKS).json()["items"][0]["state"] == "active"
    wait_for(lambda: alone.readiness()["status"] == "ready", "readiness")
    assert len(alone.api.events("database.away")) == 1
    assert not alone.api.events("request.failed")


def test_connections_that_were_cut_cost_no_request(alone: Alone) -> None:
    for number in range(3):
        alone.partner.register(f"{URL}/{number}")
        alone.cut_connections()
    assert len(alone.partner.http.get(WEBHOOKS).json()["items"]) == 3


def test_a_statement_that_hangs_is_503_in_time_and_changes_nothing(alone: Alone) -> None:
    webhook = alone.partner.register()
    path = f"{WEBHOOKS}/{webhook['id']}"
    with connect_owner(alone.database.owner_url) as other, other.transaction():
        other.execute("LOCK TABLE sandbox.endpoints IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        answer = alone.partner.http.patch(path, json={"state": "disabled"})
        assert answer.status_code == 503
        assert time.monotonic() - began < 5
    assert alone.partner.http.get(path).json()["state"] == "active"


@pytest.mark.parametrize("kind", ["killed", "stopped"])
def test_without_valkey_nothing_is_lost_and_nothing_takes_longer(alone: Alone, kind: str) -> None:
    webhook = alone.partner.register()
    if kind == "killed":
        stop(alone.valkey.process, signal.SIGKILL, within=5)
    else:
        os.kill(alone.valkey.process.pid, signal.SIGSTOP)
    began = time.monotonic()
    pings = [alone.partner.http.post(f"{WEBHOOKS}/{webhook['id']}/ping") for _ in range(20)]
    assert {answer.status_code for answer in pings} == {202}
    assert time.monotonic() - began < 3
    assert len(alone.rows.states(webhook["id"])) == 20
    wait_for(lambda: len(alone.api.events("queue.away")) == 1, "the outage in the log")
    assert alone.readiness() == {
        "status": "degraded",
        "dependencies": {"postgresql": "up", "valkey": "down"},
    }
    if kind == "stopped":
        os.kill(alone.valkey.process.pid, signal.SIGCONT)
        wait_for(lambda: alone.readiness()["status"] == "ready", "readiness")


def test_the_api_ends_soon_and_cleanly_while_valkey_hangs(alone: Alone) -> None:
    webhook = alone.partner.register()
    os.kill(alone.valkey.process.pid, signal.SIGSTOP)
    for _ in range(5):
        alone.partner.http.post(f"{WEBHOOKS}/{webhook['id']}/ping")
    alone.api.process.send_signal(signal.SIGTERM)
    assert alone.api.process.wait(10) == 0  # before a supervisor would kill it
    os.kill(alone.valkey.process.pid, signal.SIGCONT)
