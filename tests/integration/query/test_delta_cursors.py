"""Cursors and calls that the delta sync refuses, and whom it leaves in peace (Q13, A7)."""

import concurrent.futures
import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import Connection

from services.core.environments import Environment
from services.local.children import free_port, stop
from services.local.postgres import RunningPostgres, start_postgres
from services.query.cursors import LENGTH, Cursor, Mark, decode, encode
from services.query.delta import GOOD_FOR
from services.schema.migrate import migrate, set_role_password
from services.schema.seed import products
from tests.conftest import ROLE_PASSWORD, Database
from tests.delta_sync import CHANGES, SET, Follower, asked, over_http, stock_of, told_ids
from tests.integration.query.conftest import clone
from tools.query_process import QueryProcess, running_query, settings_for, wait_for_status
from tools.waiting import wait_for

INVENTORY = "/partner/v1/inventory"
IDS = [product_id for product_id, _ in products(Environment.LIVE)]
SECOND = 1_000_000  # microseconds


BAD_PARAMETERS: list[tuple[str, str]] = [
    ("cursor=", "`cursor`"),
    ("cursor=nonsense", "`cursor`"),
    ("cursor=%00", "`cursor`"),
    (f"cursor={'A' * LENGTH}", "`cursor`"),
    (f"cursor={'A' * 4000}", "`cursor`"),
    ("cursor=a&cursor=a", "`cursor` is sent more than once"),
    ("limit=0", "`limit`"),
    ("limit=1001", "`limit`"),
    ("limit=-1", "`limit`"),
    ("limit=1.5", "`limit`"),
    ("limit=", "`limit`"),
    (f"limit={'9' * 5000}", "`limit`"),
    ("limit=%D9%A1", "`limit`"),
    ("limit=%FF", "`limit`"),
    ("limit=1&limit=1", "`limit` is sent more than once"),
    ("page=2", "`page`"),
]


@pytest.mark.parametrize(("parameters", "words"), BAD_PARAMETERS, ids=lambda text: text[:20])
def test_bad_parameters_are_refused_by_name(
    partner: QueryProcess, parameters: str, words: str
) -> None:
    with partner.client() as client:
        response = client.get(f"{CHANGES}?{parameters}")
    assert response.status_code == 400
    assert response.json()["code"] == "INVALID_REQUEST"
    assert words in response.json()["message"]


def test_a_cursor_with_a_letter_changed_is_refused(partner: QueryProcess) -> None:
    with partner.client() as client:
        cursor = client.get(CHANGES).json()["next_cursor"]
        for place in range(0, len(cursor), 7):
            letter = "B" if cursor[place] == "A" else "A"
            damaged = cursor[:place] + letter + cursor[place + 1 :]
            response = asked(client, damaged)
            assert response.status_code == 400
            assert "`cursor`" in response.json()["message"]
        assert asked(client, cursor).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_other_methods_are_refused(partner: QueryProcess, method: str) -> None:
    with partner.client() as client:
        response = client.request(method, CHANGES)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET"


@pytest.mark.parametrize("path", [f"{CHANGES}/", f"{CHANGES}/x", f"{CHANGES}s", CHANGES.upper()])
def test_the_path_has_one_spelling(partner: QueryProcess, path: str) -> None:
    with partner.client() as client:
        assert client.get(path).status_code == 404


def test_who_does_not_come_through_the_gateway_is_refused(partner: QueryProcess) -> None:
    for who in (
        partner.client(token=None, check=False),
        partner.client(token="wrong", check=False),
        partner.client(consumer=None, check=False),
        partner.client(
            consumer=None, check=False, extra={"X-Consumer-Custom-Id": "techmart:sandbox"}
        ),
    ):
        with who as client:
            assert client.get(CHANGES).status_code == 403


def refused(client: httpx.Client, cursor: Cursor | str) -> bool:
    """Say whether the answer is 410; it is 200 otherwise."""
    response = asked(client, cursor if isinstance(cursor, str) else encode(cursor))
    assert response.status_code in {200, 410}, response.text
    if response.status_code == 410:
        assert response.json()["code"] == "CURSOR_EXPIRED"
    return response.status_code == 410


def later(mark: Mark, *, xid: int = 0, seconds: float = 0) -> Mark:
    return mark._replace(xid=mark.xid + xid, at=mark.at + int(seconds * SECOND))


def test_a_cursor_is_good_for_seven_days(delta_client: httpx.Client, follower: Follower) -> None:
    cursor = decode(follower.cursor)
    week = GOOD_FOR.total_seconds()
    assert timedelta(days=7) == GOOD_FOR
    assert not refused(delta_client, cursor._replace(since=later(cursor.since, seconds=60 - week)))
    assert refused(delta_client, cursor._replace(since=later(cursor.since, seconds=-1 - week)))


def test_a_walk_under_way_gets_no_older_than_the_cursor_that_it_began_with(
    delta_client: httpx.Client, delta_writer: Connection[Any], follower: Follower
) -> None:
    delta_writer.execute("UPDATE live.products SET quantity = quantity + 1")
    assert follower.page(10)["has_more"]
    cursor = decode(follower.cursor)
    assert cursor.walk
    assert not refused(delta_client, cursor)
    old = later(cursor.since, seconds=-1 - GOOD_FOR.total_seconds())
    assert refused(delta_client, cursor._replace(since=old))


def test_a_cursor_of_the_other_environment_is_refused(
    delta_database: Database,
    delta_client: httpx.Client,
    delta_cache_url: str,
    tmp_path: Path,
) -> None:
    settings = settings_for(
        delta_database.url("sandbox_query"), delta_cache_url, Environment.SANDBOX
    )
    with running_query(tmp_path, settings) as sandbox, sandbox.client() as other:
        cursor = other.get(CHANGES).json()["next_cursor"]
        assert not refused(other, cursor)
    assert refused(delta_client, cursor)


def test_a_cursor_is_refused_by_another_copy_of_the_same_database(
    postgres: RunningPostgres, follower: Follower, delta_cache_url: str, tmp_path: Path
) -> None:
    copy = clone(postgres, "delta_copy")
    settings = settings_for(copy.url("live_query"), delta_cache_url)
    with running_query(tmp_path, settings) as other, other.client() as client:
        assert refused(client, follower.cursor)
        reasons = [each["reason"] for each in other.events("delta.foreign_cursor")]
        assert reasons == ["another database"]


def reset_to(delta_database: Database, copy: list[Any]) -> None:
    """Put the outbox back to what it was, as far as a cursor can tell."""
    with psycopg.connect(delta_database.owner_url) as connection:
        connection.execute("DELETE FROM live.stock_changes WHERE id <> ALL (%s)", [copy])


def test_a_database_that_went_back_to_a_copy_of_its_disk_refuses_later_cursors(
    delta_database: Database,
    delta_query: QueryProcess,
    delta_client: httpx.Client,
    delta_writer: Connection[Any],
    follower: Follower,
) -> None:
    told_before = len(delta_query.events("delta.foreign_cursor"))
    with psycopg.connect(delta_database.owner_url) as connection:
        copy = [row[0] for row in connection.execute("SELECT id FROM live.stock_changes")]
    delta_writer.execute(SET, [IDS[21], 700])
    follower.walk()
    follower.settle()  # the cursor rests on that change
    cursor = decode(follower.cursor)
    assert not refused(delta_client, cursor)
    # It was given out when numbers were further on.
    assert refused(delta_client, cursor._replace(since=later(cursor.since, xid=1_000_000)))
    reset_to(delta_database, copy)
    assert refused(delta_client, cursor)  # a change that it rests on has gone
    # Numbers have come as far again: another transaction has that of the change that has gone.
    with psycopg.connect(delta_database.owner_url) as connection:
        connection.execute(
            "INSERT INTO live.stock_changes (xid, product_id, version, changed_at)"
            " VALUES ((%s - 1)::text::xid8, %s, 1, now())",
            [cursor.since.xid, IDS[21]],
        )
    assert refused(delta_client, cursor)
    reasons = [each["reason"] for each in delta_query.events("delta.foreign_cursor")]
    assert reasons[told_before:] == [
        "the database is not as far on", "the database went back", "the database went back",
    ]  # fmt: skip


def test_a_cursor_outlives_the_changes_that_are_deleted_for_their_age(
    delta_database: Database,
    delta_client: httpx.Client,
    delta_writer: Connection[Any],
    follower: Follower,
) -> None:
    with psycopg.connect(delta_database.owner_url, autocommit=True) as connection:
        connection.execute("UPDATE live.stock_changes SET changed_at = now() - interval '8 days'")
        cursor = delta_client.get(CHANGES).json()["next_cursor"]
        connection.execute("DELETE FROM live.stock_changes")
    assert not refused(delta_client, cursor)
    assert refused(delta_client, follower.cursor)  # as far as it knows that change is not old
    delta_writer.execute(SET, [IDS[22], 700])
    assert told_ids([asked(delta_client, cursor).json()]) == [IDS[22]]


def test_pages_that_hang_leave_connections_to_those_who_ask_for_stock(
    delta_database: Database, delta_cache_url: str, tmp_path: Path
) -> None:
    settings = settings_for(delta_database.url("live_query"), delta_cache_url, MEMORY_ENTRIES=0)
    with (
        running_query(tmp_path, settings) as query,
        query.client(timeout=10) as client,
        psycopg.connect(delta_database.owner_url) as blocking,
        concurrent.futures.ThreadPoolExecutor(40) as threads,
    ):
        cursor = client.get(CHANGES).json()["next_cursor"]
        blocking.execute("LOCK TABLE live.stock_changes")
        began = time.monotonic()
        pages = [threads.submit(asked, client, cursor) for _ in range(40)]
        number = 0
        while not all(page.done() for page in pages):
            number += 1
            asked_at = time.monotonic()
            batch = {"product_ids": [f"UNKNOWN-{number}"]}  # never cached: PostgreSQL is asked
            assert client.post(INVENTORY, json=batch).status_code == 200
            assert time.monotonic() - asked_at < 1  # a page is given up after 1.2 s
        assert time.monotonic() - began < 8
        assert number > 2
        for page in pages:
            assert page.result().status_code == 503
            assert int(page.result().headers["Retry-After"]) >= 1
        blocking.rollback()
        assert asked(client, cursor).status_code == 200


@pytest.mark.long
def test_a_cursor_outlives_a_crash_of_postgresql_and_not_a_backup_rolled_forward(
    delta_cache_url: str, tmp_path: Path
) -> None:
    folder, port = tmp_path / "postgres", free_port()
    folder.mkdir()
    server = start_postgres(folder, port, folder / "log")
    try:
        migrate(server.url())
        set_role_password(server.url(), "live_query", ROLE_PASSWORD)
        settings = settings_for(
            server.url("postgres", "live_query", ROLE_PASSWORD), delta_cache_url
        )
        with running_query(tmp_path, settings) as query, query.client() as client:
            follower = Follower(over_http(client))
            follower.start(dict)
            with psycopg.connect(server.url(), autocommit=True) as connection:
                connection.execute(SET, ["A", 1])
            follower.walk()

            stop(server.process, signal.SIGQUIT, within=10)  # without a word, as in a crash
            response = asked(client, follower.cursor)
            assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
            server = start_postgres(folder, port, folder / "log")
            wait_for_status(query, 200)
            with psycopg.connect(server.url(), autocommit=True) as connection:
                connection.execute(SET, ["B", 1])
            follower.walk()
            assert follower.held == stock_of(server.url())

            stop(server.process, signal.SIGINT, within=10)
            data = (folder / "data").stat()
            asks_for_recovery = folder / "data" / "recovery.signal"
            asks_for_recovery.touch()
            os.chown(asks_for_recovery, data.st_uid, data.st_gid)
            server = start_postgres(folder, port, folder / "log", "restore_command=false")
            with psycopg.connect(server.url(), autocommit=True) as connection:
                wait_for(
                    lambda: connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,),
                    "a server that takes writes",
                )
            wait_for_status(query, 200)
            assert refused(client, follower.cursor)
            assert not refused(client, client.get(CHANGES).json()["next_cursor"])
    finally:
        stop(server.process, signal.SIGINT, within=10)
