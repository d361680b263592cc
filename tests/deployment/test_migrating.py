"""`partnerapi database migrate`: what production runs once for a release, before its services."""

from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from services.cli.main import main
from services.local.postgres import RunningPostgres
from services.schema.migrate import ROLES, set_role_password
from tests.conftest import ROLE_PASSWORD

PASSWORD = "a-new-password-of-this-run"


@pytest.fixture
def empty(postgres: RunningPostgres) -> str:
    """The owner's address of a database without our schema."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS unmigrated WITH (FORCE)")
        connection.execute("CREATE DATABASE unmigrated")
    return postgres.url("unmigrated")


def told(postgres: RunningPostgres, owner: str, password: str = PASSWORD) -> dict[str, str]:
    roles = {
        f"{role.upper()}_DATABASE_URL": postgres.url("unmigrated", role, password) for role in ROLES
    }
    return {"OWNER_DATABASE_URL": owner, **roles}


@pytest.fixture
def restored(postgres: RunningPostgres) -> Generator[None]:
    """Roles belong to the whole server: give them back the passwords that other tests know."""
    yield
    for role in ROLES:
        set_role_password(postgres.url(), role, ROLE_PASSWORD)


def run(environment: dict[str, str]) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["database", "migrate"], env=environment)
    return done.exit_code, done.output


@pytest.mark.usefixtures("restored")
def test_an_empty_database_gets_the_schema_and_each_role_its_password(
    postgres: RunningPostgres, empty: str, tmp_path: Path
) -> None:
    environment = told(postgres, empty)
    (secret := tmp_path / "owner").write_text(environment.pop("OWNER_DATABASE_URL"))
    environment["OWNER_DATABASE_URL_FILE"] = str(secret)
    code, output = run(environment)
    assert (code, PASSWORD in output) == (0, False), output
    assert "migrations applied; passwords set for admin, live_query" in output
    for role in ROLES:
        psycopg.connect(postgres.url("unmigrated", role, PASSWORD)).close()
    code, output = run(environment)
    assert (code, output.startswith("schema up to date")) == (0, True), output


def test_every_missing_address_is_told_at_once() -> None:
    code, output = run({"OWNER_DATABASE_URL": "postgresql://h/d"})
    assert code == 2
    assert all(f"{role.upper()}_DATABASE_URL: required" in output for role in ROLES)


def test_an_address_of_another_role_or_without_a_password_is_refused(
    postgres: RunningPostgres, empty: str
) -> None:
    environment = told(postgres, empty)
    environment["LIVE_QUERY_DATABASE_URL"] = postgres.url("unmigrated", "admin", PASSWORD)
    environment["LIVE_STOCK_DATABASE_URL"] = "postgresql://live_stock@h/d"
    code, output = run(environment)
    assert code == 2
    assert "LIVE_QUERY_DATABASE_URL: must be an address of the role live_query" in output
    assert "LIVE_STOCK_DATABASE_URL: has no password" in output
    assert PASSWORD not in output


def test_a_database_that_is_away_is_told_in_one_line(postgres: RunningPostgres) -> None:
    code, output = run(told(postgres, "postgresql://postgres:hidden@127.0.0.1:9/postgres"))
    assert code == 4
    assert output.startswith("PostgreSQL: ")
    assert "hidden" not in output


@pytest.mark.long  # yoyo tries for 10 s
def test_an_owner_who_may_not_is_told(postgres: RunningPostgres, empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS not_an_owner")
        connection.execute("CREATE ROLE not_an_owner LOGIN PASSWORD 'weak-and-hidden'")
    owner = postgres.url("unmigrated", "not_an_owner", "weak-and-hidden")
    code, output = run(told(postgres, owner))
    assert (code, "weak-and-hidden" in output) == (1, False)
    assert output.startswith("not migrated: ")
