"""Backup and restore: docs/operations.md's recipe, on a server that is not the old one."""

import os
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest

from services.core.encryption import SecretBox
from services.core.environments import Environment
from services.local.postgres import RunningPostgres, binary, running_postgres
from services.local.valkey import RunningValkey
from services.schema.migrate import ROLES, migrate
from tests.conftest import Database
from tests.webhook_rows import WebhookRows
from tools.query_process import running_query, settings_for
from tools.waiting import wait_for

REPOSITORY = Path(__file__).parents[2]
MASTER_KEY = "wP3hrNz4s_DtGiEaGFxckBRyAq7n9TbZU1z0zij_2Ks="  # of this test alone
# The wheels bring none: `valkey-cli -h HOST flushall`, of the test's own server.
VALKEY_CLI = """#!/bin/bash
[ "$1 $3" = "-h flushall" ] && exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'FLUSHALL\\r\\n' >&3 &&
  read -r answer <&3 && [ "$answer" = $'+OK\\r' ]
"""
CHANGES = "/partner/v1/inventory/changes"
PRODUCT = "TABLET-00001"

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]


@pytest.fixture
def other_server(tmp_path: Path) -> Generator[RunningPostgres]:
    """A server that was never in use: its transactions are counted from the start."""
    with running_postgres(tmp_path / "other", "fsync=off") as server:
        yield server


def blocks() -> list[str]:
    """Return what the recipe says to type: to back up, and to restore."""
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    return re.findall(r"```sh\n(.*?)```", text.partition("## Backup and restore")[2], re.DOTALL)[:2]


def typed(block: str, folder: Path, environment: dict[str, str], cache: RunningValkey) -> None:
    """Type a block as an operator, in `folder`."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "valkey-cli").write_text(VALKEY_CLI.format(port=cache.port))
    (programs / "valkey-cli").chmod(0o755)
    path = [str(programs), str(binary("psql").parent), str(Path(sys.executable).parent)]
    done = subprocess.run(
        ["bash", "-e", "-c", block],
        cwd=folder,
        env={"PATH": ":".join([*path, os.environ["PATH"]]), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def restore(
    source: Database, target: RunningPostgres, folder: Path, cache: RunningValkey
) -> Database:
    """Move a database by the recipe; after its backup the old one's stock changed once more."""
    backup, into_another = blocks()
    (folder / "services").symlink_to(REPOSITORY / "services")
    typed(backup, folder, {"OWNER_DATABASE_URL": source.owner_url}, cache)
    with psycopg.connect(source.owner_url) as after_the_backup:
        after_the_backup.execute("UPDATE live.products SET quantity = quantity + 1")
    with psycopg.connect(target.url(), autocommit=True) as owner:
        owner.execute("CREATE DATABASE restored")
    found = Database("restored", target)
    roles = {f"{role.upper()}_DATABASE_URL": found.url(role) for role in ROLES}
    typed(into_another, folder, {"OWNER_DATABASE_URL": found.owner_url, **roles}, cache)
    return found


def test_a_restored_database_is_right_for_everybody_who_knew_the_old_one(
    database: Database, other_server: RunningPostgres, valkey: RunningValkey, tmp_path: Path
) -> None:
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        rows = WebhookRows(owner, Environment.LIVE)
        endpoint = rows.endpoint(rows.partner())
        sealed = SecretBox(MASTER_KEY).seal("the secret")
        owner.execute("UPDATE live.endpoints SET secret = %s", [sealed])
        pending = rows.delivery(endpoint)
        owner.execute("UPDATE live.stock_changes SET relayed = true")
        rows.set_stock(PRODUCT, 77)  # not relayed yet
        settings = settings_for(database.url("live_query"), valkey.url)
        with running_query(tmp_path, settings) as query, query.client(check=False) as client:
            cursor = client.get(CHANGES).json()["next_cursor"]
    restored = restore(database, other_server, tmp_path, valkey)
    with psycopg.connect(database.owner_url) as old:
        seen = old.execute("SELECT max(version) FROM live.products").fetchone()
    assert migrate(restored.owner_url) == 0
    with valkey.connect() as cache:
        assert cache.dbsize() == 0
    with psycopg.connect(restored.owner_url, autocommit=True) as owner:
        rows = WebhookRows(owner, Environment.LIVE)
        least = owner.execute("SELECT min(version) FROM live.products").fetchone()
        assert least is not None
        assert seen is not None
        assert least[0] > seen[0]
        assert rows.states(endpoint) == {pending: "pending"}
        assert rows.run("SELECT product_id, relayed FROM {env}.stock_changes") == [(PRODUCT, False)]
        sealed = rows.endpoint_columns(endpoint, "secret")[0]
        assert SecretBox(MASTER_KEY).open(bytes(sealed)) == "the secret"
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
