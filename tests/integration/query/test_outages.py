"""What partners see while Valkey or PostgreSQL is away, hangs, or talks nonsense (Q6, Q7, D4)."""

import signal
import socket
import threading
import time
from collections.abc import Generator
from pathlib import Path

import httpx
import psycopg
import pytest

from services.core.environments import Environment
from services.local.children import stop
from services.local.postgres import RunningPostgres, running_postgres, start_postgres
from services.local.valkey import RunningValkey, start_valkey
from services.schema.migrate import migrate, set_role_password
from services.schema.seed import products, seed
from tools.processes import signal_family
from tools.query_process import QueryProcess, running_query, settings_for, wait_for_status
from tools.waiting import wait_for

pytestmark = pytest.mark.long

INVENTORY = "/partner/v1/inventory"
IDS = [product_id for product_id, _ in products(Environment.LIVE)]
PASSWORD = "a-password-of-the-tests"


def ask(client: httpx.Client, count: int = 3) -> httpx.Response:
    return client.post(INVENTORY, json={"product_ids": IDS[:count]})


def readiness(query: QueryProcess) -> dict[str, object]:
    return httpx.get(f"{query.base_url}/health/ready", trust_env=False).json()


def test_a_hanging_valkey_costs_each_query_its_time_limit_and_is_logged_once(
    shared_url: str, own_valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = settings_for(shared_url, own_valkey.url, MEMORY_ENTRIES=0)
    with running_query(tmp_path, settings) as query, query.client() as client:
        assert ask(client).status_code == 200
        own_valkey.process.send_signal(signal.SIGSTOP)
        for _ in range(10):
            began = time.monotonic()
            assert len(ask(client, 100).json()["items"]) == 100
            assert time.monotonic() - began < 1
        assert readiness(query)["status"] == "degraded"
        assert len(query.events("cache.away")) == 1
        own_valkey.process.send_signal(signal.SIGCONT)
        wait_for(
            lambda: ask(client).status_code == 200 and query.events("cache.back"), "a Valkey in use"
        )
        assert readiness(query)["status"] == "ready"
        assert len(query.events("cache.away")) == len(query.events("cache.back")) == 1


def test_a_valkey_that_was_away_is_used_again_when_it_is_back(
    shared_url: str, own_valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = settings_for(shared_url, own_valkey.url, MEMORY_ENTRIES=0)
    with running_query(tmp_path, settings) as query, query.client() as client:
        ask(client)
        stop(own_valkey.process, signal.SIGKILL, within=5)
        for _ in range(20):
            assert ask(client).status_code == 200
        assert readiness(query) == {
            "status": "degraded",
            "dependencies": {"postgresql": "up", "valkey": "down"},
        }
        again = start_valkey(tmp_path / "again", own_valkey.port, tmp_path / "again.log")
        try:
            with again.connect() as connection:
                wait_for(
                    lambda: ask(client).status_code == 200 and connection.dbsize() == 3,
                    "a Valkey in use",
                )
            wait_for(lambda: readiness(query)["status"] == "ready", "readiness")
        finally:
            stop(again.process, signal.SIGTERM, within=5)


def test_a_server_that_is_no_valkey_is_treated_as_away(shared_url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_nonsense() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer_nonsense, daemon=True).start()
        url = f"valkey://127.0.0.1:{listener.getsockname()[1]}/0"
        settings = settings_for(shared_url, url, MEMORY_ENTRIES=0)
        with running_query(tmp_path, settings) as query, query.client() as client:
            for _ in range(5):
                assert len(ask(client).json()["items"]) == 3
            assert not query.events("request.failed")
        listener.shutdown(socket.SHUT_RDWR)


def test_nonsense_in_the_cache_is_read_from_postgresql_and_repaired(
    shared_url: str, own_valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = settings_for(shared_url, own_valkey.url, MEMORY_ENTRIES=0)
    with running_query(tmp_path, settings) as query, query.client() as client:
        with own_valkey.connect() as connection:
            connection.set(f"live:item:{IDS[0]}", b"nonsense")
            connection.lpush(f"live:item:{IDS[1]}", b"nonsense")
            assert len(ask(client).json()["items"]) == 3
            wait_for(lambda: connection.type(f"live:item:{IDS[1]}") == b"string", "an entry")
            assert b'"quantity":' in connection.get(f"live:item:{IDS[0]}")  # type: ignore[operator]
        assert len(ask(client).json()["items"]) == 3


@pytest.fixture
def own_postgres(tmp_path: Path) -> Generator[RunningPostgres]:
    """A PostgreSQL that this test may stop."""
    with running_postgres(tmp_path / "postgres", "fsync=off") as server:
        migrate(server.url())
        set_role_password(server.url(), "live_query", PASSWORD)
        seed(server.url(), Environment.LIVE)
        yield server


def assert_unavailable(client: httpx.Client) -> None:
    began = time.monotonic()
    response = ask(client)
    assert time.monotonic() - began < 2
    assert (response.status_code, response.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert response.headers["Retry-After"] == "1"


def test_postgresql_away_is_503_within_2_s_and_over_soon_after_it_is_back(
    own_postgres: RunningPostgres, own_valkey: RunningValkey, tmp_path: Path
) -> None:
    url = own_postgres.url(role="live_query", password=PASSWORD)
    with (
        running_query(tmp_path, settings_for(url, own_valkey.url, MEMORY_ENTRIES=0)) as query,
        query.client() as client,
        own_valkey.connect() as cache,
    ):
        assert ask(client).status_code == 200
        stop(own_postgres.process, signal.SIGINT, within=10)
        assert ask(client).status_code == 200  # from the cache
        cache.flushall()
        for _ in range(2):
            assert_unavailable(client)
        wait_for_status(query, 503)
        assert readiness(query) == {
            "status": "unavailable",
            "dependencies": {"postgresql": "down", "valkey": "up"},
        }
        log = tmp_path / "again.log"
        again = start_postgres(tmp_path / "postgres", own_postgres.port, log, "fsync=off")
        try:
            wait_for(lambda: ask(client).status_code == 200, "an answer", within=5)
            wait_for(lambda: readiness(query)["status"] == "ready", "readiness")
            with psycopg.connect(again.url(), autocommit=True) as owner:
                owner.execute(
                    "UPDATE live.products SET quantity = 999999 WHERE product_id = %s",
                    [IDS[0]],
                )
            # The feed is back too.
            wait_for(lambda: ask(client).json()["items"][0]["quantity"] == 999_999, "the change")
            assert len(query.events("database.away")) == 1
            assert not query.events("request.failed")
        finally:
            stop(again.process, signal.SIGINT, within=10)


def test_a_hanging_postgresql_is_503_within_2_s_and_leaves_nothing_behind(
    own_postgres: RunningPostgres, own_valkey: RunningValkey, tmp_path: Path
) -> None:
    url = own_postgres.url(role="live_query", password=PASSWORD)
    with (
        running_query(tmp_path, settings_for(url, own_valkey.url, MEMORY_ENTRIES=0)) as query,
        query.client() as client,
        own_valkey.connect() as cache,
    ):
        assert ask(client).status_code == 200
        signal_family(own_postgres.process.pid, signal.SIGSTOP)
        try:
            cache.flushall()
            assert_unavailable(client)
            assert_unavailable(client)
            assert readiness(query)["status"] == "unavailable"
        finally:
            signal_family(own_postgres.process.pid, signal.SIGCONT)
        wait_for(lambda: ask(client).status_code == 200, "an answer")
        wait_for(lambda: readiness(query)["status"] == "ready", "readiness")
