"""Fixtures that several parts of the suite share: a real PostgreSQL and a real Valkey."""

import functools
import itertools
import signal
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from httpx._transports import default as of_httpx
from psycopg import sql

from services.core.environments import Environment
from services.local.postgres import RunningPostgres, running_postgres
from services.local.valkey import RunningValkey, running_valkey
from services.schema.migrate import ROLES, migrate, set_role_password
from services.schema.seed import seed

pytest_plugins = ["tests.needs"]

# A shell's background job ignores SIGINT, and so would every program that a test sends it to.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Each client of httpx reads the system's certificates anew: 20 ms, thousands of times, for http://.
of_httpx.create_ssl_context = functools.cache(of_httpx.create_ssl_context)

TEMPLATE = "template_seeded"
ROLE_PASSWORD = "a-password-of-the-tests"
_number = itertools.count(1)


@dataclass(frozen=True)
class Database:
    """A database of one test: migrated, seeded, its own."""

    name: str
    server: RunningPostgres

    @property
    def owner_url(self) -> str:
        """The address for its owner, who may do anything."""
        return self.server.url(self.name)

    def url(self, role: str) -> str:
        """The address for a service's role, such as live_query."""
        return self.server.url(self.name, role, ROLE_PASSWORD)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningPostgres]:
    """One server for the session, with a template that each test's database is cloned from."""
    folder = tmp_path_factory.mktemp("postgres")
    with running_postgres(folder, "fsync=off", "max_connections=300") as server:
        _administer(server, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        migrate(server.url(TEMPLATE))
        for role in ROLES:
            set_role_password(server.url(TEMPLATE), role, ROLE_PASSWORD)
        for environment in Environment:
            seed(server.url(TEMPLATE), environment)
        yield server


@pytest.fixture
def database(postgres: RunningPostgres) -> Generator[Database]:
    """A fresh database for one test."""
    name = f"test_{next(_number)}"
    clone = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
    _administer(postgres, clone.format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
    yield Database(name, postgres)
    drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
    _administer(postgres, drop.format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningValkey]:
    """One Valkey for the session."""
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def valkey(valkey_server: RunningValkey) -> Generator[RunningValkey]:
    """The session's Valkey, empty for this test and after it: other programs use it, too."""
    with valkey_server.connect() as connection:
        connection.flushall()
        yield valkey_server
        connection.flushall()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Generator[RunningValkey]:
    """A Valkey that this test may stop, kill or fill."""
    with running_valkey(tmp_path / "valkey") as server:
        yield server


def _administer(server: RunningPostgres, statement: sql.Composable) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(statement)
