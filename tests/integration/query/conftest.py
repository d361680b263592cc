"""Query programs that the tests of this folder share, and one that a test may treat badly."""

from collections.abc import Generator

import psycopg
import pytest
from psycopg import sql

from services.embedded.postgres import RunningPostgres
from services.embedded.valkey import RunningValkey
from tests.conftest import ROLE_PASSWORD, TEMPLATE
from tests.query_process import QueryProcess, running_query, settings_for

SHARED = "query_shared"


@pytest.fixture(scope="session")
def shared_url(postgres: RunningPostgres) -> str:
    """The address, for live_query, of a database whose stock no test changes."""
    clone = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
        sql.Identifier(SHARED), sql.Identifier(TEMPLATE)
    )
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(clone)
    return postgres.url(SHARED, "live_query", ROLE_PASSWORD)


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
