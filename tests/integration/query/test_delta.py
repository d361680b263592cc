"""The delta sync over HTTP: each change is told, whatever else goes on (Q13)."""

from typing import Any

import httpx
import psycopg
from psycopg import Connection

from services.core.environments import Environment
from services.schema.seed import products
from tests.conftest import Database
from tests.delta_sync import (
    REMOVE,
    SET,
    Follower,
    Held,
    asked,
    in_this_process,
    stock_of,
    told_ids,
)

INVENTORY = "/partner/v1/inventory"
IDS = [product_id for product_id, _ in products(Environment.LIVE)]
RAISE = "UPDATE live.products SET quantity = quantity + 1 WHERE product_id = ANY (%s)"


def test_changed_new_and_removed_products_are_told_once_and_then_no_more(
    delta_client: httpx.Client,
    delta_writer: Connection[Any],
    follower: Follower,
    delta_database: Database,
) -> None:
    delta_writer.execute(SET, [IDS[0], 7])
    delta_writer.execute(SET, ["NEW", 0])
    delta_writer.execute(REMOVE, [IDS[1]])
    (page,) = follower.walk()
    assert [item["product_id"] for item in page["items"]] == [IDS[0], "NEW"]
    assert [item["status"] for item in page["items"]] == ["low_stock", "out_of_stock"]
    assert [each["product_id"] for each in page["removed"]] == [IDS[1]]
    assert follower.held == stock_of(delta_database.owner_url)
    batch = delta_client.post(INVENTORY, json={"product_ids": ["NEW"]}).json()
    assert batch["items"] == page["items"][1:]
    follower.settle()
    assert follower.held == stock_of(delta_database.owner_url)


def test_a_product_that_came_back_is_an_item_and_one_that_came_and_went_is_removed(
    delta_writer: Connection[Any], follower: Follower, delta_database: Database
) -> None:
    for statement, values in [
        (REMOVE, [IDS[2]]), (SET, [IDS[2], 5]), (SET, ["SHORT", 5]), (REMOVE, ["SHORT"]),
    ]:  # fmt: skip
        delta_writer.execute(statement, values)
    (page,) = follower.walk()
    assert [(item["product_id"], item["quantity"]) for item in page["items"]] == [(IDS[2], 5)]
    assert [each["product_id"] for each in page["removed"]] == ["SHORT"]
    assert follower.held == stock_of(delta_database.owner_url)


def test_a_product_that_changed_often_is_told_once_in_a_walk(
    delta_writer: Connection[Any], follower: Follower
) -> None:
    for quantity in range(200, 230):
        delta_writer.execute(SET, [IDS[3], quantity])
        delta_writer.execute(SET, [IDS[4], quantity])
    pages = follower.walk(limit=lambda: 1)
    assert told_ids(pages) == IDS[3:5]
    assert [item["quantity"] for page in pages for item in page["items"]] == [229, 229]


def test_a_page_that_has_looked_at_enough_rows_ends_and_the_walk_goes_on(
    delta_database: Database, delta_writer: Connection[Any]
) -> None:
    with in_this_process(delta_database, scanned=10) as get_page:
        follower = Follower(get_page)
        follower.start(dict)
        for quantity in range(200, 235):
            delta_writer.execute(SET, [IDS[5], quantity])
        pages = follower.walk()
    assert [len(page["items"]) for page in pages] == [0, 0, 0, 1]
    assert follower.held == {IDS[5]: Held(234, pages[-1]["items"][0]["version"])}


def test_one_transaction_over_many_pages_is_told_whole(
    delta_writer: Connection[Any], follower: Follower, delta_database: Database
) -> None:
    delta_writer.execute("UPDATE live.products SET quantity = quantity + 1")
    pages = follower.walk()
    assert [page["has_more"] for page in pages] == [True] * (len(pages) - 1) + [False]
    there = [each for each, held in follower.held.items() if held.quantity is not None]
    assert sorted(told_ids(pages)) == sorted(there)  # each of them once
    assert {len(page["items"]) for page in pages[:-1]} == {1000}
    assert follower.held == stock_of(delta_database.owner_url)


def test_a_walk_ends_while_writers_go_on_and_the_next_tells_what_they_did(
    delta_writer: Connection[Any], follower: Follower, delta_database: Database
) -> None:
    delta_writer.execute(RAISE, [IDS[100:200]])
    pages = 0
    while follower.page(10)["has_more"]:
        pages += 1
        delta_writer.execute(RAISE, [IDS[-20:]])
        assert pages < 12  # 100 products had changed when it began
    follower.walk()
    assert follower.held == stock_of(delta_database.owner_url)


def test_a_transaction_that_stays_open_stops_nobody_and_is_told_at_its_end(
    delta_database: Database, delta_writer: Connection[Any], follower: Follower
) -> None:
    with psycopg.connect(delta_database.url("live_stock")) as slow:
        slow.execute(SET, [IDS[10], 3])
        for number in range(1, 4):
            delta_writer.execute(SET, [IDS[10 + number], 500 + number])
            pages = follower.walk()
            assert IDS[10 + number] in told_ids(pages)
            assert len(told_ids(pages)) == number  # what it costs: those before are told again
        slow.commit()
    assert IDS[10] in told_ids(follower.walk())
    assert follower.held == stock_of(delta_database.owner_url)
    follower.settle()


def test_a_rolled_back_change_is_never_told(delta_database: Database, follower: Follower) -> None:
    with psycopg.connect(delta_database.url("live_stock")) as connection:
        connection.execute(SET, [IDS[10], 3])
        connection.rollback()
    assert told_ids(follower.walk()) == []


def test_the_same_cursor_can_be_used_again(
    delta_writer: Connection[Any], follower: Follower, delta_client: httpx.Client
) -> None:
    delta_writer.execute(RAISE, [IDS[30:40]])
    first = asked(delta_client, follower.cursor).json()
    assert len(first["items"]) == 10
    assert asked(delta_client, follower.cursor).json()["items"] == first["items"]
