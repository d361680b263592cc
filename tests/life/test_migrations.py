"""Migrations: none may break or stop programs of the release before (expand, then contract)."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest
from yoyo import get_backend, read_migrations  # pyright: ignore[reportUnknownVariableType]

from services.core.environments import Environment
from services.local.valkey import RunningValkey
from services.schema.migrate import MIGRATIONS, migrate
from tests.conftest import Database
from tests.life.migration_rules import faults_of
from tests.webhook_rows import WebhookRows
from tools.query_process import running_query, settings_for
from tools.waiting import wait_for

FREE = ("0001", "0002", "0003", "0004", "0005", "0006")  # nobody ran anything before them

LOCKED = "SET LOCAL lock_timeout = '2s'; "
PLANTED = {
    "drops something": "ALTER TABLE live.products DROP COLUMN updated_at",
    "renames something": "ALTER TABLE live.products RENAME COLUMN quantity TO amount",
    "changes a type": "ALTER TABLE live.products ALTER COLUMN quantity TYPE bigint",
    "forbids null": "ALTER TABLE live.events ALTER COLUMN version SET NOT NULL",
    "takes a right away": "REVOKE SELECT ON live.products FROM live_query",
    "adds a column to be given": "ALTER TABLE live.products ADD COLUMN place text NOT NULL",
    "adds a constraint that looks at every row": (
        "ALTER TABLE live.products ADD CONSTRAINT few CHECK (quantity < 10)"
    ),
    "writes the whole table anew": (
        "ALTER TABLE live.events ADD COLUMN other uuid NOT NULL DEFAULT gen_random_uuid()"
    ),
    "makes an index on deliveries without CONCURRENTLY": (
        "CREATE INDEX deliveries_made ON live.deliveries (created_at)"
    ),
}
GOOD = (
    "ALTER TABLE live.products ADD COLUMN place text",
    "ALTER TABLE live.products ADD COLUMN place text NOT NULL DEFAULT ''",
    "ALTER TABLE live.products ADD CONSTRAINT few CHECK (quantity < 10) NOT VALID",
    "CREATE INDEX CONCURRENTLY deliveries_made ON live.deliveries (created_at)",
    "CREATE TABLE live.places (id int NOT NULL); CREATE INDEX places_id ON live.places (id)",
)


def statements_of(path: Path) -> tuple[str, str]:
    """Return a migration's docstring, and all that it runs."""
    run: list[str] = []
    source = path.read_text().replace("from yoyo import step", "")
    collect: Callable[..., None] = lambda apply, _undo=None: run.append(apply)  # noqa: E731
    module: dict[str, Any] = {"step": collect}
    exec(compile(source, str(path), "exec"), module)
    return module["__doc__"], ";\n".join(run)


@pytest.mark.parametrize("path", sorted(MIGRATIONS.glob("0*.py")), ids=lambda path: path.stem)
def test_a_migration_expands_unless_it_says_contract(path: Path) -> None:
    if not path.name.startswith(FREE):
        docstring, statements = statements_of(path)
        assert faults_of(docstring, statements) == []


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str) -> None:
    assert faults_of("", LOCKED + PLANTED[fault]) == [fault]


@pytest.mark.parametrize("statement", GOOD)
def test_what_expands_is_allowed(statement: str) -> None:
    assert faults_of("", LOCKED + statement) == []


def test_who_waits_for_a_lock_says_how_long() -> None:
    assert faults_of("", GOOD[0]) == ["waits for a lock without lock_timeout"]


def test_a_migration_that_contracts_names_its_release() -> None:
    dropping = LOCKED + PLANTED["drops something"]
    assert faults_of("Drop it.\n\ncontract: 1.4\n", dropping) == []
    assert faults_of("A contract: of sorts", dropping) == ["drops something"]


# The release before: its relay's statements, and those of a webhook that is registered and deleted.
TAKE_CHANGES = """
UPDATE live.stock_changes SET relayed = true
WHERE id = ANY (ARRAY (
    SELECT id FROM live.stock_changes WHERE NOT relayed
    ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED
))
RETURNING id, product_id, old_quantity, new_quantity, version, changed_at
"""
STORE_EVENT = """
INSERT INTO live.events (event_type, product_id, version, occurred_at, data)
VALUES ('inventory.updated', %s, %s, %s, '{}')
"""
INSERT_ENDPOINT = """
INSERT INTO live.endpoints (partner_id, url, events, secret)
SELECT id, 'https://a.example', ARRAY['inventory.updated'], 'sealed' FROM live.partners RETURNING id
"""
DELETE_ENDPOINT = """
UPDATE live.endpoints SET
    state = 'deleted', previous_secret = NULL, previous_secret_until = NULL, changed_at = now()
WHERE id = %s AND state <> 'deleted'
"""


class Traffic:
    """Threads that do what the release before does, without a pause."""

    def __init__(self, owner_url: str) -> None:
        self.changed = self.relayed = self.deleted = 0
        self.errors: list[Exception] = []
        self._url = owner_url
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._go_on, args=[each]) for each in self._jobs()]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(20)

    def _jobs(self) -> list[Callable[[psycopg.Connection[Any]], None]]:
        return [self._change, self._relay, self._register]

    def _go_on(self, job: Callable[[psycopg.Connection[Any]], None]) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                while not self._done.is_set():
                    job(connection)
        except psycopg.Error as exc:
            self.errors.append(exc)

    def _change(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(
            "UPDATE live.products SET quantity = quantity + 1 WHERE product_id = 'TABLET-00001'"
        )
        self.changed += 1

    def _relay(self, connection: psycopg.Connection[Any]) -> None:
        with connection.transaction():
            for _, product, _, _, version, at in connection.execute(TAKE_CHANGES).fetchall():
                connection.execute(STORE_EVENT, [product, version, at])
                self.relayed += 1

    def _register(self, connection: psycopg.Connection[Any]) -> None:
        (row,) = connection.execute(INSERT_ENDPOINT).fetchall()
        self.deleted += connection.execute(DELETE_ENDPOINT, [row[0]]).rowcount


@pytest.mark.long
def test_the_release_before_works_while_and_after_the_database_is_migrated(
    database: Database, valkey: RunningValkey, tmp_path: Path
) -> None:
    undo_last(database.owner_url)
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("DELETE FROM live.stock_changes")
        WebhookRows(owner, Environment.LIVE).partner()
        settings = settings_for(database.url("live_query"), valkey.url)
        with running_query(tmp_path, settings) as query, query.client() as client:
            with Traffic(database.owner_url) as traffic:
                wait_for(lambda: traffic.relayed > 100, "traffic before")
                assert migrate(database.owner_url) == 1
                before, deleted = traffic.relayed, traffic.deleted
                wait_for(lambda: traffic.relayed > before + 100, "traffic after")
                wait_for(lambda: traffic.deleted > deleted + 100, "webhooks deleted after")
                asked = {"product_ids": ["TABLET-00001"]}
                assert client.post("/partner/v1/inventory", json=asked).status_code == 200
            assert traffic.errors == []
            with owner.transaction():
                left = owner.execute(TAKE_CHANGES).rowcount
            assert traffic.relayed + left == traffic.changed
            assert not query.events("request.failed")


def undo_last(owner_url: str) -> None:
    """Go back to the schema of the release before, as a database of then has it."""
    backend = get_backend(owner_url.replace("postgresql://", "postgresql+psycopg://", 1))
    try:
        applied = backend.to_rollback(read_migrations(str(MIGRATIONS)))
        backend.rollback_migrations(applied[:1])
    finally:
        backend.connection.close()
