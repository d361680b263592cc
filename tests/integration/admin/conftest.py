"""Admin's service on a database that tests share, emptied or seeded for each of them."""

from collections.abc import Generator

import psycopg
import pytest
from psycopg import sql

from services.core.environments import Environment
from services.local.postgres import RunningPostgres
from tests.admin_process import AdminProcess, CommandLine, running_admin, settings_for
from tests.conftest import TEMPLATE, Database
from tests.control_rows import emptied, keep_the_seed, seed_again
from tests.webhook_rows import WebhookRows, connect_owner

SHARED = "admin_shared"


@pytest.fixture(scope="session")
def shared(postgres: RunningPostgres) -> Database:
    """A database that lasts for the session."""
    clone = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
        sql.Identifier(SHARED), sql.Identifier(TEMPLATE)
    )
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(clone)
    database = Database(SHARED, postgres)
    with connect_owner(database.owner_url) as owner:
        keep_the_seed(owner)
    return database


@pytest.fixture(scope="session")
def shared_admin(
    shared: Database, tmp_path_factory: pytest.TempPathFactory
) -> Generator[AdminProcess]:
    """The service on it."""
    with running_admin(tmp_path_factory.mktemp("admin"), settings_for(shared)) as running:
        assert running.operator  # its token is made before any test's rows are deleted
        yield running


@pytest.fixture
def shared_run(shared_admin: AdminProcess) -> CommandLine:
    """The command line on it."""
    return shared_admin.run


@pytest.fixture
def stocked(shared: Database) -> Generator[Database]:
    """It as it was at first: with the seed's products, without changes, partners and audit."""
    with emptied(shared) as owner:
        seed_again(owner)
        yield shared


@pytest.fixture
def shared_rows(shared: Database) -> Generator[WebhookRows]:
    """Its sandbox, without partners, webhooks, events and what earlier tests left in control."""
    with connect_owner(shared.owner_url) as owner:
        for environment in Environment:
            rows = WebhookRows(owner, environment)
            rows.run("DELETE FROM {env}.partners")
            rows.run("DELETE FROM {env}.events")
        owner.execute("DELETE FROM control.audit")
        owner.execute("DELETE FROM control.tokens WHERE name <> 'tester'")
        yield WebhookRows(owner)
