"""Hunting for gaps: a follower's copy equals the table, whatever order writers commit in (Q13).

`DELTA_ROUNDS=20 pytest tests/integration/query/test_delta_gaps.py -s` is the long run.
"""

import os
import random
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from services.query import delta as delta_module
from services.query.cursors import Cursor
from services.query.delta import LOOK, Look
from tests.conftest import Database
from tests.delta_sync import (
    SET,
    Follower,
    GetPage,
    Writers,
    in_this_process,
    over_http,
    stock_of,
)
from tools.query_process import running_query, settings_for

ROUNDS = int(os.environ.get("DELTA_ROUNDS", "1"))
SECONDS = 4.0  # of writing in each round
# Contended for by the writers, and so many that most lost changes are not made good by a later one.
PRODUCTS = [f"HUNT-{number}" for number in range(150)]


def hunt(database: Database, get_page: GetPage, *, seed: int, seconds: float) -> Follower:
    """Follow while they write, then once more; return the follower."""
    chance = random.Random(seed)
    follower = Follower(get_page)
    with Writers(database.url("live_stock"), PRODUCTS, seed=seed) as writers:
        follower.start(lambda: stock_of(database.owner_url))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            follower.page(chance.choice([1, 2, 5, 20, 1000]))
            if chance.random() < 0.1:
                time.sleep(0.1)  # now and then more than a page comes together
    while follower.page(20)["has_more"]:  # the walk that was under way
        pass
    follower.walk()
    print(
        f"round {seed}: {writers.commits} commits, {follower.pages} pages,"
        f" {follower.told} told, {follower.news} of them news"
    )
    assert writers.commits > 20
    assert follower.pages > 20
    return follower


@contextmanager
def relaying(database: Database) -> Generator[None]:
    """Mark changes as relayed, as the relay does: their rows are written anew."""
    stop = threading.Event()

    def relay() -> None:
        with psycopg.connect(database.url("live_webhooks"), autocommit=True) as connection:
            while not stop.wait(0.02):
                connection.execute("UPDATE live.stock_changes SET relayed = true WHERE NOT relayed")

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.long
@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_copy_of_a_follower_equals_the_table(
    database: Database, delta_cache_url: str, tmp_path: Path, number: int
) -> None:
    settings = settings_for(database.url("live_query"), delta_cache_url)
    with (
        running_query(tmp_path, settings) as query,
        query.client() as client,
        relaying(database),
    ):
        follower = hunt(database, over_http(client), seed=number, seconds=SECONDS)
        assert follower.held == stock_of(database.owner_url)


def test_nothing_is_lost_when_a_page_looks_at_few_rows(database: Database) -> None:
    with in_this_process(database, scanned=3) as get_page:
        follower = hunt(database, get_page, seed=0, seconds=1.5)
        assert follower.held == stock_of(database.owner_url)


# The next walk would begin behind the highest number that had ended: forgets those under way.
WRONG_LOOK = LOOK.replace("pg_snapshot_xmin(", "pg_snapshot_xmax(")


@pytest.fixture
def believing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody notice that such a cursor's past has changed."""

    def no_reason(_cursor: Cursor, _look: Look) -> str:
        return ""

    monkeypatch.setattr(delta_module, "_foreign", no_reason)


@pytest.mark.usefixtures("believing")
def test_the_hunt_finds_the_gaps_of_a_cursor_by_the_highest_number(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta_module, "LOOK", WRONG_LOOK)
    with in_this_process(database) as get_page:
        follower = hunt(database, get_page, seed=0, seconds=1.5)
        wrong = follower.held.items() ^ stock_of(database.owner_url).items()
        assert wrong


@pytest.mark.usefixtures("believing")
@pytest.mark.parametrize("look", [LOOK, WRONG_LOOK], ids=["ours", "wrong"])
def test_a_transaction_that_commits_late_is_told_unless_the_cursor_is_wrong(
    database: Database, monkeypatch: pytest.MonkeyPatch, look: LiteralString
) -> None:
    monkeypatch.setattr(delta_module, "LOOK", look)
    url = database.url("live_stock")
    with (
        in_this_process(database) as get_page,
        psycopg.connect(url) as late,
        psycopg.connect(url) as early,
    ):
        follower = Follower(get_page)
        follower.start(dict)
        late.execute(SET, ["LATE", 1])
        early.execute(SET, ["EARLY", 1])
        early.commit()
        follower.walk()
        assert follower.held.keys() == {"EARLY"}
        late.commit()
        follower.walk()
        assert ("LATE" in follower.held) is (look is LOOK)
