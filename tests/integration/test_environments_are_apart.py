"""Nothing of live can be read from the sandbox, and the other way round (A8)."""

import time
from pathlib import Path

import psycopg
import pytest
from psycopg import errors, sql
from valkey import Valkey

from services.core.environments import Environment
from services.local.valkey import RunningValkey
from services.schema.migrate import ROLES
from services.schema.seed import products
from tests.conftest import Database
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
