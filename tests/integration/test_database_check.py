"""Readiness asks PostgreSQL on a connection of its own: requests may have the whole pool (D4)."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import psycopg
import pytest
from psycopg import sql

from services.core.availability import Availability
from services.core.database import DatabaseCheck
from services.core.environments import Environment
from services.local.valkey import RunningValkey
from tests import webhooks_process
from tests.conftest import Database
from tests.webhook_rows import WebhookRows, connect_owner
from tests.webhooks_process import running_api
from tools import query_process
from tools.query_process import QueryProcess, running_query
from tools.waiting import wait_for

POOL = 8  # connections that requests share
LOOKS = 5


def check_of(url: str, statement: str = "SELECT 1") -> DatabaseCheck:
    availability = Availability("database", clock=time.monotonic)
    return DatabaseCheck(
        url, name="a test", availability=availability, statement=sql.SQL(statement)
    )  # type: ignore[arg-type]


def test_it_connects_once_and_again_when_its_connection_was_ended(database: Database) -> None:
    check = check_of(database.url("live_query"))
    with connect_owner(database.owner_url) as owner:

        def pids() -> list[int]:
            rows = owner.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'a test check'"
                " AND datname = current_database()"
            )
            return [row[0] for row in rows]

        async def looks() -> None:
            await check.check()
            first = pids()
            await check.check()
            assert pids() == first
            owner.execute("SELECT pg_terminate_backend(%s)", first)
            await check.check()
            assert (len(pids()), pids() != first) == (1, True)
            await check.close()

        asyncio.run(looks())
        wait_for(lambda: pids() == [], "it is closed")


@pytest.mark.parametrize("wrong", ["postgresql://live_query@127.0.0.1:1/none", "sandbox"])
def test_it_raises_without_postgresql_and_with_another_environments_role(
    database: Database, wrong: str
) -> None:
    url = database.url("sandbox_query") if wrong == "sandbox" else wrong
    check = check_of(url, "SELECT FROM live.products LIMIT 0")
    with pytest.raises(psycopg.Error):
        asyncio.run(check.check())


@contextlib.contextmanager
def the_whole_pool_in_use(
    running: QueryProcess,
    database: Database,
    table: str,
    ask: Callable[[httpx.Client, int], object],
) -> Generator[Callable[[], None]]:
    """Have requests wait for a table until they have every connection, and more wait for those.

    Lends a function that returns when it is so: those that gave up are followed by others.
    """
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    over = Event()

    def send(number: int) -> None:
        with running.client(check=False, timeout=30) as client:
            while not over.is_set():
                ask(client, number)

    with (
        connect_owner(database.owner_url) as owner,
        connect_owner(database.owner_url) as other,
        ThreadPoolExecutor(3 * POOL) as threads,
    ):
        with owner.transaction():
            lock = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE")
            owner.execute(lock.format(sql.Identifier(*table.split("."))))
            sent = [threads.submit(send, number) for number in range(3 * POOL)]
            is_full = lambda: other.execute(waiting).fetchall() == [(POOL,)]  # noqa: E731
            try:
                yield lambda: wait_for(is_full, "all of them wait")
            finally:
                over.set()
        for each in sent:
            each.result()


def test_query_is_ready_while_reads_have_the_whole_pool(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = query_process.settings_for(database.url("live_query"), valkey.url)

    def ask(client: httpx.Client, number: int) -> None:
        client.post("/partner/v1/inventory", json={"product_ids": [f"NEW-{number}"]})

    with (
        running_query(tmp_path, settings) as running,
        running.client() as client,
        the_whole_pool_in_use(running, database, "live.removed_products", ask) as wait_until_it_is,
    ):
        for _ in range(LOOKS):
            wait_until_it_is()
            assert client.get("/health/ready").status_code == 200


def test_webhooks_api_is_ready_while_requests_have_the_whole_pool(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    url, environment = database.url("sandbox_webhooks"), Environment.SANDBOX
    settings = webhooks_process.settings_for(url, valkey.url, environment)
    with connect_owner(database.owner_url) as owner:
        WebhookRows(owner).partner()

    def ask(client: httpx.Client, _number: int) -> None:
        client.get("/partner/v1/webhooks")

    with (
        running_api(tmp_path, settings) as running,
        running.client() as client,
        the_whole_pool_in_use(running, database, "sandbox.endpoints", ask) as wait_until_it_is,
    ):
        for _ in range(LOOKS):
            wait_until_it_is()
            assert client.get("/health/ready").status_code == 200
