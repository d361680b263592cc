"""What PostgreSQL itself promises about stock: versions, the outbox, the wake-up (Q2, W6, W9)."""

import threading
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import Connection, errors

from tests.conftest import Database

A, B = "TEST-PRODUCT-A", "TEST-PRODUCT-B"


@pytest.fixture
def owner(database: Database) -> Generator[Connection[Any]]:
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("DELETE FROM live.products")
        connection.execute("DELETE FROM live.stock_changes")
        yield connection


def changes(connection: Connection[Any]) -> list[tuple[str, int | None, int | None]]:
    return connection.execute(
        "SELECT product_id, old_quantity, new_quantity FROM live.stock_changes ORDER BY id"
    ).fetchall()


def insert(connection: Connection[Any], product: str, quantity: int) -> None:
    connection.execute(
        "INSERT INTO live.products (product_id, quantity) VALUES (%s, %s)", [product, quantity]
    )


def version(connection: Connection[Any], product: str) -> int:
    row = connection.execute(
        "SELECT version FROM live.products WHERE product_id = %s", [product]
    ).fetchone()
    assert row is not None
    return row[0]


def test_every_change_of_one_product_is_one_row_of_the_outbox(owner: Connection[Any]) -> None:
    insert(owner, A, 12)
    owner.execute("UPDATE live.products SET quantity = 9 WHERE product_id = %s", [A])
    owner.execute("DELETE FROM live.products WHERE product_id = %s", [A])
    assert changes(owner) == [(A, None, 12), (A, 12, 9), (A, 9, None)]


def test_an_update_that_leaves_the_quantity_is_no_change(owner: Connection[Any]) -> None:
    insert(owner, A, 12)
    before = owner.execute("SELECT * FROM live.products").fetchall()
    owner.execute("UPDATE live.products SET quantity = 12, version = 999, updated_at = now()")
    assert owner.execute("SELECT * FROM live.products").fetchall() == before
    assert changes(owner) == [(A, None, 12)]


def test_a_writer_cannot_choose_version_or_time(owner: Connection[Any]) -> None:
    owner.execute(
        "INSERT INTO live.products VALUES (%s, 5, 1, '2000-01-01'), (%s, 5, 1, '2000-01-01')",
        [A, B],
    )
    rows = owner.execute("SELECT version, updated_at FROM live.products").fetchall()
    assert len({row[0] for row in rows}) == 2
    assert all(row[0] > 5_000 for row in rows)  # the seed used the first 5,000
    assert all(datetime.now(UTC) - row[1] < timedelta(minutes=1) for row in rows)


def test_versions_grow_across_delete_and_re_create(owner: Connection[Any]) -> None:
    seen = []
    for _ in range(3):
        insert(owner, A, 1)
        seen.append(version(owner, A))
        owner.execute("DELETE FROM live.products WHERE product_id = %s", [A])
        removed = owner.execute(
            "SELECT version FROM live.removed_products WHERE product_id = %s", [A]
        ).fetchone()
        assert removed is not None
        seen.append(removed[0])
    assert seen == sorted(set(seen))


def test_copy_and_update_from_a_staging_table_count_like_any_change(owner: Connection[Any]) -> None:
    insert(owner, A, 50)
    insert(owner, B, 50)
    owner.execute("CREATE TEMPORARY TABLE staging (product_id text, quantity integer)")
    with owner.cursor().copy("COPY staging FROM STDIN") as copy:
        copy.write_row((A, 3))
        copy.write_row((B, 50))
    owner.execute(
        "UPDATE live.products AS p SET quantity = staging.quantity FROM staging"
        " WHERE staging.product_id = p.product_id"
    )
    assert changes(owner)[2:] == [(A, 50, 3)]


def test_an_upsert_is_one_change(owner: Connection[Any]) -> None:
    upsert = (
        "INSERT INTO live.products (product_id, quantity) VALUES (%s, %s)"
        " ON CONFLICT (product_id) DO UPDATE SET quantity = excluded.quantity"
    )
    owner.execute(upsert, [A, 5])
    owner.execute(upsert, [A, 6])
    assert changes(owner) == [(A, None, 5), (A, 5, 6)]


def test_a_rolled_back_change_leaves_nothing(owner: Connection[Any]) -> None:
    with owner.transaction(force_rollback=True):
        insert(owner, A, 5)
    assert changes(owner) == []


def test_concurrent_writers_of_one_product_leave_versions_and_times_in_one_order(
    owner: Connection[Any], database: Database
) -> None:
    insert(owner, A, 1_000)

    def write() -> None:
        with psycopg.connect(database.url("live_stock"), autocommit=True) as connection:
            for _ in range(50):
                connection.execute(
                    "UPDATE live.products SET quantity = quantity - 1 WHERE product_id = %s", [A]
                )

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=30)
    rows = owner.execute(
        "SELECT new_quantity, version, changed_at FROM live.stock_changes"
        " WHERE old_quantity IS NOT NULL ORDER BY version"
    ).fetchall()
    assert [row[0] for row in rows] == list(range(999, 799, -1))
    assert [row[2] for row in rows] == sorted(row[2] for row in rows)


def test_an_insert_that_a_removal_has_passed_is_told_to_try_again(
    owner: Connection[Any],
) -> None:
    insert(owner, A, 1)
    owner.execute("DELETE FROM live.products WHERE product_id = %s", [A])
    # As if the removal had taken its number after the insert took its own.
    owner.execute("UPDATE live.removed_products SET version = version + 1000")
    with pytest.raises(errors.SerializationFailure, match="insert it again"):
        insert(owner, A, 1)


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        (
            "INSERT INTO live.products (product_id, quantity) VALUES ('x', -1)",
            "quantity_not_negative",
        ),
        ("INSERT INTO live.products (product_id, quantity) VALUES ('', 1)", "product_id_form"),
        (
            "INSERT INTO live.products (product_id, quantity) VALUES (repeat('x', 65), 1)",
            "product_id_form",
        ),
        (
            r"INSERT INTO live.products (product_id, quantity) VALUES (E'a\nb', 1)",
            "product_id_form",
        ),
    ],
)
def test_stock_that_makes_no_sense_is_refused_by_name(
    owner: Connection[Any], statement: str, constraint: str
) -> None:
    with pytest.raises(errors.CheckViolation) as refused:
        owner.execute(statement)  # pyright: ignore
    assert refused.value.diag.constraint_name == constraint


def test_truncate_and_a_changed_id_are_refused_with_what_to_do_instead(
    owner: Connection[Any],
) -> None:
    insert(owner, A, 1)
    with pytest.raises(errors.FeatureNotSupported, match="use DELETE"):
        owner.execute("TRUNCATE live.products")
    with pytest.raises(errors.CheckViolation, match="delete TEST-PRODUCT-A and insert"):
        owner.execute("UPDATE live.products SET product_id = 'other'")


def test_a_commit_wakes_its_own_environment_with_an_empty_message(
    owner: Connection[Any], database: Database
) -> None:
    with psycopg.connect(database.url("live_query"), autocommit=True) as listener:
        listener.execute("LISTEN live_stock")
        listener.execute("LISTEN sandbox_stock")
        insert(owner, A, 1)
        owner.execute("UPDATE live.products SET quantity = 2")
        woken = list(listener.notifies(timeout=5, stop_after=2))
    assert [(n.channel, n.payload) for n in woken] == [("live_stock", "")] * 2


def test_a_writer_without_rights_on_the_outbox_still_leaves_its_changes(
    owner: Connection[Any], database: Database
) -> None:
    with psycopg.connect(database.url("live_stock"), autocommit=True) as writer:
        # A table of the writer's own must not catch the change on its way.
        writer.execute("CREATE TEMPORARY TABLE stock_changes (LIKE pg_class)")
        writer.execute("SET search_path = pg_temp, live")
        insert(writer, A, 3)
        with pytest.raises(errors.InsufficientPrivilege):
            writer.execute("SELECT 1 FROM live.stock_changes")
    assert changes(owner) == [(A, None, 3)]
