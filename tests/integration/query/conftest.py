"""Query programs that the tests of this folder share, and one that a test may treat badly."""

from collections.abc import Generator
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import Connection, sql

from services.local.postgres import RunningPostgres
from services.local.valkey import RunningValkey
from tests.conftest import TEMPLATE, Database
from tests.delta_sync import Follower, over_http, stock_of
from tools.query_process import QueryProcess, running_query, settings_for

SHARED = "query_shared"


def clone(server: RunningPostgres, name: str) -> Database:
    """Return a database of its own for some tests, migrated and seeded."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
    return Database(name, server)


@pytest.fixture(scope="session")
def shared_url(postgres: RunningPostgres) -> str:
    """The address, for live_query, of a database whose stock no test changes."""
    return clone(postgres, SHARED).url("live_query")


@pytest.fixture(scope="session")
def partner(
    shared_url: str, valkey_server: RunningValkey, tmp_path_factory: pytest.TempPathFactory
) -> Generator[QueryProcess]:
    """The partners' program on the shared database."""
    settings = settings_for(shared_url, valkey_server.url)
    with running_query(tmp_path_factory.mktemp("partner"), settings) as running:
        yield running


@pytest.fixture(scope="session")
def internal(
    shared_url: str, valkey_server: RunningValkey, tmp_path_factory: pytest.TempPathFactory
) -> Generator[QueryProcess]:
    """The internal program on the shared database."""
    settings = settings_for(shared_url, valkey_server.url)
    with running_query(tmp_path_factory.mktemp("internal"), settings, "internal") as running:
        yield running


@pytest.fixture(scope="session")
def delta_database(postgres: RunningPostgres) -> Database:
    """One for the tests of the delta sync: each follows from its own start."""
    return clone(postgres, "delta")


@pytest.fixture(scope="session")
def delta_cache_url(valkey_server: RunningValkey) -> str:
    """A cache that the shared programs do not read: here stock changes."""
    return valkey_server.url.removesuffix("/0") + "/1"


@pytest.fixture(scope="session")
def delta_query(
    delta_database: Database, delta_cache_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Generator[QueryProcess]:
    """A program whose stock the tests change."""
    settings = settings_for(delta_database.url("live_query"), delta_cache_url)
    with running_query(tmp_path_factory.mktemp("delta"), settings) as running:
        yield running


@pytest.fixture
def delta_client(delta_query: QueryProcess) -> Generator[httpx.Client]:
    """One that looks like the gateway."""
    with delta_query.client() as client:
        yield client


@pytest.fixture
def delta_writer(delta_database: Database) -> Generator[Connection[Any]]:
    """Changes stock; each statement is a transaction."""
    with psycopg.connect(delta_database.url("live_stock"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def follower(delta_client: httpx.Client, delta_database: Database) -> Follower:
    """One that has read everything, and is told nothing that was before."""
    started = Follower(over_http(delta_client))
    started.start(lambda: stock_of(delta_database.owner_url))
    started.settle()
    return started
