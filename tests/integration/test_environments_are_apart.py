"""Nothing of live can be read from the sandbox, and the other way round (A8)."""

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql
from valkey import Valkey

from services.core.database import connection_options, environment_used, use_environment
from services.core.environments import Environment
from services.local.valkey import RunningValkey
from services.schema.migrate import ROLES
from services.schema.seed import products
from services.webhooks.relay.relay import Relay
from services.webhooks.relay.store import listen
from services.webhooks.scheduler.scheduler import Scheduler
from services.webhooks.sessions import connect
from tests.conftest import Database
from tests.recorded_wakeups import RecordedWakeups
from tests.webhook_rows import WebhookRows, connect_owner
from tools.query_process import running_query, settings_for

TABLES = ("products", "stock_changes", "removed_products", "partners")
LIVE, SANDBOX = Environment.LIVE, Environment.SANDBOX
LIVE_ID, SANDBOX_ID = (next(products(environment))[0] for environment in Environment)


@pytest.mark.parametrize("environment", list(Environment))
def test_postgresql_refuses_each_role_the_rows_of_the_other_environment(
    database: Database, environment: Environment
) -> None:
    other = SANDBOX if environment is LIVE else LIVE
    roles = [role for role in ROLES if role.startswith(environment)]
    assert len(roles) == 3
    for role in roles:
        with psycopg.connect(database.url(role), autocommit=True) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (role,)
            refused = [(other, table) for table in TABLES]
            refused += [("control", "partners"), ("control", "api_keys")]
            for schema, table in refused:
                query = sql.SQL("SELECT 1 FROM {}").format(sql.Identifier(schema, table))
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(query)
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"{other}_query")))


@pytest.mark.parametrize("environment", list(Environment))
def test_an_address_of_the_other_environment_finds_no_tables(
    database: Database, environment: Environment
) -> None:
    other = SANDBOX if environment is LIVE else LIVE
    options = connection_options("a test", environment)
    for role in ROLES:
        if role.startswith(other):
            with psycopg.connect(database.url(role), **options) as connection:
                for table in TABLES:
                    query = sql.SQL("SELECT FROM {}").format(sql.Identifier(table))
                    with pytest.raises(errors.UndefinedTable):
                        connection.execute(query)


def test_nothing_live_stands_under_the_sandboxs_prefix_of_one_valkey(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    live_settings = settings_for(database.url("live_query"), valkey.url)
    sandbox_settings = settings_for(database.url("sandbox_query"), valkey.url, SANDBOX)
    asked = {"product_ids": [LIVE_ID, SANDBOX_ID]}
    with (
        running_query(tmp_path, live_settings) as live,
        running_query(tmp_path, sandbox_settings) as sandbox,
        live.client() as live_client,
        sandbox.client() as sandbox_client,
        valkey.connect() as cache,
    ):
        for _ in range(2):  # from PostgreSQL, then from the cache
            answer = live_client.post("/partner/v1/inventory", json=asked).json()
            assert [item["product_id"] for item in answer["items"]] == [LIVE_ID]
            answer = sandbox_client.post("/partner/v1/inventory", json=asked).json()
            assert [item["product_id"] for item in answer["items"]] == [SANDBOX_ID]
            assert answer["not_found"] == [LIVE_ID]
        with psycopg.connect(database.owner_url, autocommit=True) as owner:
            owner.execute("UPDATE live.products SET quantity = quantity + 1")
            owner.execute("UPDATE sandbox.products SET quantity = quantity + 1")
        keys = wait_for_keys(cache, 10_002)
    prefixes = {key.split(b":")[0] for key in keys}
    assert prefixes == {b"live", b"sandbox"}
    in_sandbox = {key.removeprefix(b"sandbox:item:") for key in keys if key.startswith(b"sandbox:")}
    in_live = {key.removeprefix(b"live:item:") for key in keys if key.startswith(b"live:")}
    # Each was asked once for the other's product, and knows of it that it is not there.
    assert in_sandbox - {LIVE_ID.encode()} == {p.encode() for p, _ in products(SANDBOX)}
    assert in_live - {SANDBOX_ID.encode()} == {p.encode() for p, _ in products(LIVE)}


def wait_for_keys(cache: Valkey, count: int) -> list[bytes]:
    deadline = time.monotonic() + 10
    while True:
        keys = list(set(cache.scan_iter(count=1_000)))
        if len(keys) >= count:
            return keys
        assert time.monotonic() < deadline, f"only {len(keys)} keys"
        time.sleep(0.02)


def test_a_partner_of_one_environment_is_refused_by_the_other(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = settings_for(database.url("sandbox_query"), valkey.url, SANDBOX)
    asked = {"product_ids": [SANDBOX_ID]}
    with running_query(tmp_path, settings) as sandbox, sandbox.client() as client:
        assert client.post("/partner/v1/inventory", json=asked).status_code == 200
        headers = {"X-Consumer-Custom-ID": LIVE.custom_id("techmart")}
        response = client.post("/partner/v1/inventory", json=asked, headers=headers)
    assert response.status_code == 403
    assert response.json()["message"] == "This API key is not valid for this environment"


def test_a_query_process_with_the_address_of_the_other_environment_shows_no_stock(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    settings = settings_for(database.url("live_query"), valkey.url, SANDBOX)
    asked = {"product_ids": [LIVE_ID, SANDBOX_ID]}
    with (
        running_query(tmp_path, settings, wait_ready=False) as wrong,
        wrong.client() as client,
    ):
        assert client.get("/health/ready").status_code == 503
        assert client.post("/partner/v1/inventory", json=asked).status_code == 500


def test_a_temporary_table_never_stands_in_for_an_environments_own(database: Database) -> None:
    options = connection_options("a test", LIVE)
    with psycopg.connect(database.owner_url, **options) as connection:
        connection.execute("CREATE TEMPORARY TABLE products (product_id text)")
        found = connection.execute("SELECT count(*) FROM products").fetchone()
    assert found == (5_000,)


@pytest.mark.parametrize("environment", list(Environment))
def test_what_a_process_writes_touches_no_table_of_the_other_environment(
    database: Database, environment: Environment
) -> None:
    """With the owner's rights: nothing but the search_path keeps its statements apart."""
    other = SANDBOX if environment is LIVE else LIVE
    wakeups = RecordedWakeups()
    with connect_owner(database.owner_url) as owner:
        mine = WebhookRows(owner, environment)
        mine.endpoint(mine.partner())
        before = contents(owner, other)
        with closing(connect(database.owner_url, "a test", environment)) as session:
            listen(session, other)
            session.execute("INSERT INTO products (product_id, quantity) VALUES ('MOVED', 20)")
            session.execute("UPDATE products SET quantity = 5 WHERE product_id = 'MOVED'")
            session.execute("DELETE FROM products WHERE product_id = 'MOVED'")
            assert Relay("", environment, wakeups, poll_seconds=1).relay_batch(session) == 3
            Scheduler("", environment, wakeups, poll_seconds=1).make_pass(session)
            notified = [each.channel for each in session.notifies(timeout=0)]
        assert wakeups.sent
        assert notified == []
        assert contents(owner, other) == before


def contents(owner: psycopg.Connection[Any], schema: str) -> dict[str, Any]:
    """Return the rows of each table of a schema, as a hash, and where its sequences stand."""
    tables = owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema])
    found: dict[str, Any] = {}
    for (table,) in tables.fetchall():
        rows = sql.SQL("SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {} AS t")
        found[table] = owner.execute(rows.format(sql.Identifier(schema, table))).fetchall()
    sequences = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = %s"
    return {**found, "sequences": sorted(owner.execute(sequences, [schema]).fetchall())}


def test_a_part_in_the_other_environment_leaves_the_transaction_where_it_was(
    database: Database,
) -> None:
    with psycopg.connect(database.url("admin")) as connection:
        use_environment(connection, LIVE)
        before = connection.execute("SHOW search_path").fetchone()
        with environment_used(connection, SANDBOX):
            assert connection.execute("SHOW search_path").fetchone() != before
        assert connection.execute("SHOW search_path").fetchone() == before
