"""Admin serves both environments: each use of a connection names the one whose tables it means."""

from collections.abc import Generator
from contextlib import closing

import pytest
from psycopg import errors

from services.admin.audit.rows import Actor
from services.admin.changes import Admin
from services.admin.partners.changes import create_partner, delete_partner
from services.admin.settings import AdminSettings
from services.admin.stock.rows import get_stock, set_stock
from services.core.database import ThreadPool, make_thread_pool, search_path
from services.core.encryption import SecretBox
from services.core.environments import Environment
from services.core.settings import load_settings
from tests.admin_process import settings_for
from tests.conftest import Database
from tests.webhook_rows import connect_owner

ACTOR = Actor("cli:tests")
NOWHERE = search_path(None)


@pytest.fixture
def pool(database: Database) -> Generator[ThreadPool]:
    """A pool of one connection: whoever uses it is followed by the next on the same one."""
    pool = make_thread_pool(
        database.url("admin"),
        name="a test",
        environment=None,
        size=1,
        statement_timeout_ms=5_000,
    )
    with closing(pool):
        pool.open()
        yield pool


@pytest.fixture
def admin(database: Database, pool: ThreadPool) -> Admin:
    settings = load_settings(AdminSettings, settings_for(database))
    return Admin(settings, SecretBox(settings.master_keys), pool.connection)


def where_it_looks(admin: Admin) -> str:
    with admin.reading() as connection:
        row = connection.execute("SELECT current_setting('search_path')").fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("environment", list(Environment))
def test_the_next_user_of_a_connection_is_in_no_environment(
    admin: Admin, environment: Environment
) -> None:
    assert where_it_looks(admin) == NOWHERE
    with admin.reading(environment) as connection:
        connection.execute("SELECT FROM products LIMIT 0")
    assert where_it_looks(admin) == NOWHERE
    with admin.changing(ACTOR, environment) as change:
        set_stock(change, environment, "A", 1)
    assert where_it_looks(admin) == NOWHERE
    with pytest.raises(errors.DivisionByZero), admin.reading(environment) as connection:
        connection.execute("SELECT 1 / 0")
    assert where_it_looks(admin) == NOWHERE
    with pytest.raises(errors.UndefinedTable), admin.reading() as connection:
        connection.execute("SELECT FROM products")
    with pytest.raises(errors.UndefinedTable), admin.changing(ACTOR) as change:
        change.connection.execute("SELECT FROM products")


def test_a_prepared_statement_reads_the_environment_of_its_transaction(
    admin: Admin, database: Database
) -> None:
    with connect_owner(database.owner_url) as owner:
        for environment, quantity in ((Environment.LIVE, 1), (Environment.SANDBOX, 2)):
            owner.execute(
                f"INSERT INTO {environment}.products (product_id, quantity) VALUES ('SAME', %s)",
                [quantity],
            )
    for _ in range(10):  # psycopg prepares what it has run five times
        for environment, quantity in ((Environment.LIVE, 1), (Environment.SANDBOX, 2)):
            with admin.reading(environment) as connection:
                assert get_stock(connection, environment, "SAME").quantity == quantity
    with admin.reading() as connection:
        prepared = connection.execute("SELECT statement FROM pg_prepared_statements").fetchall()
    assert any("FROM products" in statement for (statement,) in prepared)


def test_a_change_in_both_environments_ends_in_none(admin: Admin) -> None:
    with admin.changing(ACTOR) as change:
        create_partner(change, "both", "basic", "a@b.example", tiers=["basic"])
        with pytest.raises(errors.UndefinedTable), change.connection.transaction():
            change.connection.execute("SELECT FROM endpoints")
    for environment in Environment:
        with admin.reading(environment) as connection:
            assert connection.execute("SELECT name FROM partners").fetchall() == [("both",)]
    with admin.changing(ACTOR) as change:
        delete_partner(change, "both")
    for environment in Environment:
        with admin.reading(environment) as connection:
            assert connection.execute("SELECT name FROM partners").fetchall() == []
