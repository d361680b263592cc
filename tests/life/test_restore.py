"""Backup and restore: docs/operations.md's recipe, on a server that is not the old one."""

import subprocess
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest

from services.embedded.postgres import RunningPostgres, binary, running_postgres
from services.embedded.valkey import RunningValkey
from services.kernel.environments import Environment
from services.kernel.schema.migrate import MIGRATIONS, ROLES, migrate, set_role_password
from tests.conftest import ROLE_PASSWORD, Database
from tests.query_process import running_query, settings_for
from tests.waiting import wait_for
from tests.webhook_rows import WebhookRows

AFTER_RESTORE = MIGRATIONS.parent / "after_restore.sql"
CHANGES = "/partner/v1/inventory/changes"
PRODUCT = "TABLET-00001"

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]


@pytest.fixture
def other_server(tmp_path: Path) -> Generator[RunningPostgres]:
    """A server that was never in use: its transactions are counted from the start."""
    with running_postgres(tmp_path / "other", "fsync=off") as server:
        yield server


def run(program: str, *arguments: str) -> None:
    subprocess.run([str(binary(program)), *arguments], check=True, capture_output=True)


def restore(source: Database, target: RunningPostgres, folder: Path) -> Database:
    """Move a database as the recipe does."""
    roles, dump = str(folder / "roles.sql"), str(folder / "backup")
    run("pg_dumpall", "--roles-only", "--no-role-passwords", "-d", source.server.url(), "-f", roles)
    run("pg_dump", "--format=custom", "-f", dump, source.owner_url)
    with psycopg.connect(source.owner_url) as after_the_backup:
        after_the_backup.execute("UPDATE live.products SET quantity = quantity + 1")
    with psycopg.connect(target.url(), autocommit=True) as owner:
        owner.execute("CREATE DATABASE restored")
    found = Database("restored", target)
    run("psql", "-d", target.url(), "-f", roles)  # `postgres` is there already: no reason to stop
    run("pg_restore", "--exit-on-error", "-d", found.owner_url, dump)
    stop_at_errors = ("-v", "ON_ERROR_STOP=1", "--single-transaction")
    run("psql", *stop_at_errors, "-f", str(AFTER_RESTORE), "-d", found.owner_url)
    return found


def test_a_restored_database_is_right_for_everybody_who_knew_the_old_one(
    database: Database, other_server: RunningPostgres, valkey: RunningValkey, tmp_path: Path
) -> None:
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        rows = WebhookRows(owner, Environment.LIVE)
        endpoint = rows.endpoint(rows.partner())
        pending = rows.delivery(endpoint)
        owner.execute("UPDATE live.stock_changes SET relayed = true")
        rows.set_stock(PRODUCT, 77)  # not relayed yet
        settings = settings_for(database.url("live_query"), valkey.url)
        with running_query(tmp_path, settings) as query, query.client(check=False) as client:
            cursor = client.get(CHANGES).json()["next_cursor"]
    restored = restore(database, other_server, tmp_path)
    with psycopg.connect(database.owner_url) as old:
        seen = old.execute("SELECT max(version) FROM live.products").fetchone()
    assert migrate(restored.owner_url) == 0
    for role in ROLES:
        set_role_password(restored.owner_url, role, ROLE_PASSWORD)
    with psycopg.connect(restored.owner_url, autocommit=True) as owner:
        rows = WebhookRows(owner, Environment.LIVE)
        least = owner.execute("SELECT min(version) FROM live.products").fetchone()
        assert least is not None
        assert seen is not None
        assert least[0] > seen[0]
        assert rows.states(endpoint) == {pending: "pending"}
        assert rows.run("SELECT product_id, relayed FROM {env}.stock_changes") == [(PRODUCT, False)]
        with valkey.connect() as cache:
            cache.flushall()
        settings = settings_for(restored.url("live_query"), valkey.url)
        with running_query(tmp_path, settings) as query, query.client(check=False) as client:
            answer = client.get(CHANGES, params={"cursor": cursor})
            assert answer.status_code == 410, answer.text  # a partner begins anew
            anew = client.get(CHANGES).json()["next_cursor"]
            rows.set_stock(PRODUCT, 78)
            wait_for(lambda: quantity(client.get(CHANGES, params={"cursor": anew})) == [78], "it")


def quantity(answer: object) -> list[int]:
    """Return the quantities that a page of the delta sync tells."""
    return [item["quantity"] for item in answer.json()["items"]]  # pyright: ignore
