"""Migrations, roles and seed."""

from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from services.core.environments import Environment
from services.domain.stock import StockStatus, stock_status
from services.local.children import stop
from services.local.postgres import STOP_SIGNAL, RunningPostgres, running_postgres, start_postgres
from services.schema.migrate import ROLES, migrate
from services.schema.seed import PRODUCTS, products, seed
from tests.conftest import Database


def test_migrating_again_changes_nothing(database: Database) -> None:
    assert migrate(database.owner_url) == 0


def test_a_migration_needs_no_resolver_and_no_name_of_its_user(
    postgres: RunningPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> str:
        msg = "asked for a name"
        raise OSError(msg)

    monkeypatch.setattr("socket.getfqdn", asked)
    monkeypatch.setattr("getpass.getuser", asked)
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE nameless")
    applied = migrate(postgres.url("nameless"))
    assert applied > 5
    with psycopg.connect(postgres.url("nameless")) as connection:
        logged = "SELECT count(*), count(DISTINCT migration_id), min(operation) FROM _yoyo_log"
        row = connection.execute(logged).fetchone()
    assert row == (applied, applied, "apply")


def test_a_start_after_a_crash_leaves_no_error_in_the_servers_log(tmp_path: Path) -> None:
    with running_postgres(tmp_path) as server:
        assert migrate(server.url()) > 0
        server.process.kill()
        server.process.wait()
        again = start_postgres(tmp_path, server.port, tmp_path / "postgres.log")
        try:
            assert migrate(again.url()) == 0
            log = (tmp_path / "postgres.log").read_text()
        finally:
            stop(again.process, STOP_SIGNAL, within=10)
    assert "not properly shut down" in log
    assert [line for line in log.splitlines() if "ERROR:" in line or "FATAL:" in line] == []


def test_the_roles_that_get_passwords_are_the_roles_that_migrations_make(
    database: Database,
) -> None:
    with psycopg.connect(database.owner_url) as connection:
        rows = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper ORDER BY 1"
        ).fetchall()
    assert [row[0] for row in rows] == sorted(ROLES)


def test_the_environments_are_alike_to_the_letter(database: Database) -> None:
    columns = (
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = %s ORDER BY 1, ordinal_position"
    )
    with psycopg.connect(database.owner_url) as connection:
        live, sandbox = (connection.execute(columns, [str(e)]).fetchall() for e in Environment)
    assert live == sandbox
    assert len(live) > 10


def test_the_seed_is_there_once_however_often_it_runs(database: Database) -> None:
    for environment in Environment:
        assert seed(database.owner_url, environment) == 0
        count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(environment, "products"))
        with psycopg.connect(database.owner_url) as connection:
            assert connection.execute(count).fetchone() == (PRODUCTS,)


def test_the_seed_is_the_same_every_time_and_another_for_the_sandbox() -> None:
    live, sandbox = (dict(products(environment)) for environment in Environment)
    assert live == dict(products(Environment.LIVE))
    assert len(live) == len(sandbox) == PRODUCTS
    assert not live.keys() & sandbox.keys()


def test_the_seed_looks_like_a_shop() -> None:
    quantities = [quantity for _, quantity in products(Environment.LIVE)]
    share = {s: sum(stock_status(q) is s for q in quantities) / PRODUCTS for s in StockStatus}
    assert 0.70 < share[StockStatus.IN_STOCK] < 0.90
    assert 0.10 < share[StockStatus.LOW_STOCK] < 0.20
    assert 0.03 < share[StockStatus.OUT_OF_STOCK] < 0.10
