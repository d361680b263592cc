"""The last use of a key, from a request of either service to the row that operations read."""

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from litestar.types import ASGIApp
from psycopg import sql
from structlog.testing import capture_logs
from structlog.typing import EventDict

from services.core import headers
from services.core.availability import Availability
from services.core.database import make_pool
from services.core.database_calls import Calls
from services.core.environments import Environment
from services.core.settings import load_settings
from services.domain.key_uses import KeyUseStore
from services.local.valkey import RunningValkey
from services.query import entry
from services.query.settings import PartnerSettings
from services.webhooks.api.build import build_api
from services.webhooks.settings import ApiSettings
from tests import webhooks_process
from tests.conftest import Database
from tests.served_app import served
from tests.webhook_rows import WebhookRows, connect_owner
from tools import query_process
from tools.query_process import BACKEND_TOKEN, running_program
from tools.waiting import wait_for

LIVE = Environment.LIVE
PATHS = {"query": "/partner/v1/inventory?product_ids=A", "webhooks": "/partner/v1/webhooks"}
NEVER, OFTEN = 3_600.0, 0.05  # seconds between two writes

Make = Callable[[float], ASGIApp]


@pytest.fixture
def rows(database: Database) -> Generator[WebhookRows]:
    """The live tables, with one partner."""
    with connect_owner(database.owner_url) as owner:
        found = WebhookRows(owner, LIVE)
        found.partner("techmart")
        yield found


@pytest.fixture(params=["query", "webhooks"])
def service(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def settings(service: str, database: Database, valkey: RunningValkey) -> dict[str, str]:
    """The environment variables of a service in live."""
    url = database.url(f"live_{service}")
    if service == "query":
        return query_process.settings_for(url, valkey.url)
    return webhooks_process.settings_for(url, valkey.url)


@pytest.fixture
def make(service: str, settings: dict[str, str]) -> Make:
    """Makes the service's app as its program does, with other seconds between two writes."""

    def make_query(every: float) -> ASGIApp:
        loaded = load_settings(PartnerSettings, settings)
        return entry.make_app(loaded, entry.build(loaded, key_uses_every=every))

    def make_webhooks(every: float) -> ASGIApp:
        return build_api(load_settings(ApiSettings, settings), key_uses_every=every)

    return make_query if service == "query" else make_webhooks


def ask(base_url: str, service: str, key_id: object, **more: str | None) -> httpx.Response:
    """Ask as the gateway does for a partner with this key; None in `more` leaves a header out."""
    sent = {
        headers.BACKEND_TOKEN: BACKEND_TOKEN,
        headers.CONSUMER_CUSTOM_ID: "techmart:live",
        headers.CREDENTIAL_IDENTIFIER: str(key_id),
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    given = {name: value for name, value in sent.items() if value is not None}
    with httpx.Client(base_url=base_url, headers=given, trust_env=False) as client:
        return client.get(PATHS[service])


def used(rows: WebhookRows) -> dict[UUID, float]:
    """Return when each key was last used, in seconds since 1970."""
    statement = "SELECT key_id, extract(epoch FROM last_used_at)::float8 FROM {env}.key_uses"
    return dict(rows.run(statement))  # type: ignore[arg-type]


def test_a_use_is_known_soon_and_the_next_one_replaces_it(
    rows: WebhookRows, service: str, make: Make
) -> None:
    key_id = uuid4()
    with served(make(OFTEN)) as base_url:
        began = time.time()
        assert ask(base_url, service, key_id).status_code == 200
        wait_for(lambda: key_id in used(rows), "the use")
        first = used(rows)[key_id]
        assert began - 0.001 <= first <= time.time()
        assert ask(base_url, service, key_id).status_code == 200
        wait_for(lambda: used(rows)[key_id] > first, "the second use")


def test_a_refused_request_is_no_use(rows: WebhookRows, service: str, make: Make) -> None:
    good = uuid4()
    with served(make(NEVER)) as base_url:
        refused: list[dict[str, str | None]] = [
            {"X_Backend_Token": None},
            {"X_Backend_Token": "wrong"},
            {"X_Anonymous_Consumer": "true"},
            {"X_Consumer_Custom_ID": None},
            {"X_Consumer_Custom_ID": "techmart:sandbox"},
            {"X_Credential_Identifier": None},
            {"X_Credential_Identifier": ""},
        ]
        for changed in refused:
            assert ask(base_url, service, uuid4(), **changed).status_code == 403, changed
        assert ask(base_url, service, "mallory").status_code == 200
        assert ask(base_url, service, good).status_code == 200
    assert set(used(rows)) == {good}  # written at its end


def test_a_programs_last_uses_are_written_when_it_ends(
    rows: WebhookRows, service: str, settings: dict[str, str], tmp_path: Path
) -> None:
    key_id = uuid4()
    program = "partner" if service == "query" else "api"
    with running_program(service, tmp_path, settings, program) as running:
        assert ask(running.base_url, service, key_id).status_code == 200
        assert used(rows) == {}
    assert running.process.returncode == 0
    assert set(used(rows)) == {key_id}


def test_no_use_is_lost_while_the_database_is_away(
    rows: WebhookRows, database: Database, service: str, make: Make
) -> None:
    before, during = uuid4(), uuid4()
    with served(make(OFTEN)) as base_url:
        assert ask(base_url, service, before).status_code == 200
        wait_for(lambda: before in used(rows), "the first use")
        with capture_logs() as logs:
            accept_connections(database, False)
            cut_connections(rows, service)
            began = time.time()
            ask(base_url, service, during)
            ended = time.time()
            wait_for(lambda: told(logs, "database.away") == 1, "the outage")
            assert set(used(rows)) == {before}
            accept_connections(database, True)
            wait_for(lambda: during in used(rows), "the use of that time")
        assert began - 0.001 <= used(rows)[during] <= ended
        assert told(logs, "database.away") == 1
        assert not told(logs, "key_uses.away")


def accept_connections(database: Database, allowed: bool) -> None:
    """Let nobody into the database, or everybody again."""
    statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
        sql.Identifier(database.name), sql.Literal(allowed)
    )
    with psycopg.connect(database.server.url(), autocommit=True) as connection:
        connection.execute(statement)


def cut_connections(rows: WebhookRows, service: str) -> None:
    rows.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = %s AND datname = current_database()",
        [f"live_{service}"],
    )


def told(logs: Sequence[EventDict], event: str) -> int:
    return [each["event"] for each in logs].count(event)


def test_an_earlier_use_never_replaces_a_later_one(rows: WebhookRows, database: Database) -> None:
    key_id = uuid4()
    for used_at in (1_000.0, 2_000.0, 1_500.0):
        write(database, [{str(key_id): used_at}])
    assert used(rows) == {key_id: 2_000.0}


def test_processes_that_write_the_same_keys_never_block_each_other_for_good(
    rows: WebhookRows, database: Database
) -> None:
    keys = [str(uuid4()) for _ in range(500)]
    batches = [[dict.fromkeys(order, 1.0)] * 20 for order in (keys, keys[::-1], sorted(keys))]
    with ThreadPoolExecutor(len(batches)) as threads:
        writes = [threads.submit(write, database, each) for each in batches]
    for each in writes:
        each.result()  # a deadlock would be a DatabaseAwayError
    assert len(used(rows)) == len(keys)


def write(database: Database, batches: list[dict[str, float]]) -> None:
    """Write batches as one process does. Raises DatabaseAwayError."""

    async def run() -> None:
        pool = make_pool(
            database.url("live_query"), name="uses", size=1, statement_timeout_ms=10_000
        )
        async with pool:
            calls = Calls(pool, availability=Availability("database", clock=time.monotonic))
            store = KeyUseStore(calls, LIVE)
            for batch in batches:
                await store.write(batch)

    asyncio.run(run())
