"""The client's delta sync: the table is right whatever comes twice, late, or in another order."""

import sqlite3
from collections.abc import Generator, Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from partner_inventory import Item, Listing, UnavailableError
from tests.partner_client.scripted import Scripted, error

AT = "2026-11-22T09:30:41Z"
Told = tuple[str, int, int]  # product id, quantity, version


def item(product_id: str, quantity: int, version: int) -> dict[str, str | int]:
    rest = {"status": "in_stock", "updated_at": AT, "version": version}
    return {"product_id": product_id, "quantity": quantity, **rest}


def page(
    cursor: str, *items: Told, removed: tuple[tuple[str, int], ...] = (), more: bool = False
) -> httpx.Response:
    body = {
        "items": [item(*each) for each in items],
        "removed": [{"product_id": each, "version": version} for each, version in removed],
        "next_cursor": cursor,
        "has_more": more,
        "timestamp": AT,
    }
    return httpx.Response(200, json=body)


def stock(*items: Told, not_found: tuple[str, ...] = ()) -> httpx.Response:
    body = {"items": [item(*each) for each in items], "not_found": not_found, "timestamp": AT}
    return httpx.Response(200, json=body)


@pytest.fixture
def database(tmp_path: Path) -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "stock.db")) as connection:
        yield connection


class Syncing:
    """A listing of A, B and C over a script."""

    def __init__(
        self, database: sqlite3.Connection, *replies: httpx.Response, ids: Iterable[str] = "ABC"
    ) -> None:
        self.api = Scripted(replies, patience=1)
        self.waits: list[tuple[float, int]] = []  # seconds, and how many requests came before
        self.listing = Listing(
            self.api.inventory,
            database,
            ids,
            wait=lambda seconds: self.waits.append((seconds, len(self.api.asked))),
        )

    def held(self) -> dict[str, int]:
        return {each.product_id: each.quantity for each in self.listing}

    def cursors(self) -> list[str | None]:
        """Return the cursors that were sent."""
        return [each.url.params.get("cursor") for each in self.api.asked if each.method == "GET"]


def test_a_product_may_be_called_as_a_part_of_the_program_is(database: sqlite3.Connection) -> None:
    odd = ("__proto__", "constructor", "__class__", "self")
    told = [(product, 5, version) for version, product in enumerate(odd, start=1)]
    sync = Syncing(database, page("c0"), stock(*told), page("c1"), ids=odd)
    assert sync.listing.sync() == 4
    assert sync.held() == dict.fromkeys(odd, 5)


def test_a_first_sync_takes_a_cursor_waits_reads_everything_and_follows(
    database: sqlite3.Connection,
) -> None:
    sync = Syncing(
        database,
        page("c0"),
        stock(("A", 5, 10), ("B", 6, 20), not_found=("C",)),
        page("c1", ("A", 4, 11), more=True),
        page("c2", more=True),
        page("c3", ("C", 1, 30), ("OTHER", 1, 31), removed=(("B", 21), ("ANOTHER", 32))),
    )
    assert sync.listing.sync() == 5  # two were read; A, C and B changed
    assert sync.waits == [(30.0, 1)]  # after the cursor, before everything is read
    assert sync.cursors() == [None, "c0", "c1", "c2"]
    assert sync.held() == {"A": 4, "C": 1}
    held = sync.listing.get("A")
    assert held is not None
    assert (held.quantity, held.status, held.version) == (4, "in_stock", 11)
    assert sync.listing.get("B") is None

    later = Syncing(database, page("c4", ("B", 7, 22)))
    assert later.listing.sync() == 1
    assert (later.waits, later.cursors()) == ([], ["c3"])
    assert later.held() == {"A": 4, "B": 7, "C": 1}


def test_what_is_told_twice_or_late_changes_nothing(database: sqlite3.Connection) -> None:
    sync = Syncing(
        database,
        page("c0"),
        stock(("A", 5, 10), ("B", 6, 20), ("C", 7, 30)),
        page("c1", ("A", 4, 9), ("B", 9, 20), removed=(("C", 31),)),
        page("c2", ("C", 7, 30), removed=(("A", 8),)),
    )
    assert sync.listing.sync() == 4
    assert sync.listing.sync() == 0
    assert sync.held() == {"A": 5, "B": 6}


def test_a_late_webhook_does_not_bring_a_removed_product_back(
    database: sqlite3.Connection,
) -> None:
    sync = Syncing(database, page("c0"), stock(("A", 5, 10)), page("c1", removed=(("A", 11),)))
    sync.listing.sync()
    at = datetime.now(UTC)
    assert not sync.listing.take(Item("A", 5, "in_stock", at, 10))
    assert not sync.listing.take(Item("NOT-LISTED", 5, "in_stock", at, 99))
    assert sync.held() == {}
    assert sync.listing.take(Item("A", 3, "low_stock", at, 12))
    assert sync.held() == {"A": 3}


def test_a_page_and_its_cursor_are_stored_together_and_an_error_loses_neither(
    database: sqlite3.Connection,
) -> None:
    sync = Syncing(
        database,
        page("c0"),
        stock(("A", 5, 10), ("B", 6, 20), ("C", 7, 30)),
        page("c1", ("A", 4, 11), more=True),
        *[error(503, "SERVICE_UNAVAILABLE") for _ in range(3)],
        page("c2", ("B", 9, 21)),
    )
    with pytest.raises(UnavailableError):
        sync.listing.sync()
    assert sync.held() == {"A": 4, "B": 6, "C": 7}
    assert sync.listing.sync() == 1
    assert sync.cursors()[-1] == "c1"
    assert sync.held() == {"A": 4, "B": 9, "C": 7}


def test_an_interrupted_first_sync_begins_again(database: sqlite3.Connection) -> None:
    sync = Syncing(
        database,
        page("lost"),
        *[error(503, "SERVICE_UNAVAILABLE") for _ in range(2)],
        page("c0"),
        stock(("A", 5, 10)),
        page("c1"),
    )
    with pytest.raises(UnavailableError):
        sync.listing.sync()
    sync.listing.sync()
    assert sync.cursors() == [None, None, "c0"]
    assert [wait for wait, _ in sync.waits] == [30.0, 30.0]


def test_an_expired_cursor_starts_anew_and_forgets_all_versions(
    database: sqlite3.Connection,
) -> None:
    sync = Syncing(
        database,
        page("c0"),
        stock(("A", 5, 1000), ("B", 6, 2000), ("C", 7, 3000)),
        page("c1"),
        error(410, "CURSOR_EXPIRED"),
        page("d0"),
        stock(("A", 1, 1), ("B", 2, 2), not_found=("C",)),  # a restored database: lower versions
        page("d1", ("A", 3, 4)),
    )
    sync.listing.sync()
    assert sync.listing.sync() == 3
    assert sync.cursors() == [None, "c0", "c1", None, "d0"]
    assert sync.held() == {"A": 3, "B": 2}


def test_the_table_stays_while_everything_is_read_anew(database: sqlite3.Connection) -> None:
    sync = Syncing(
        database,
        page("c0"),
        stock(("A", 5, 10), ("B", 6, 20), ("C", 7, 30)),
        page("c1"),
        error(410, "CURSOR_EXPIRED"),
        page("d0"),
        *[error(503, "SERVICE_UNAVAILABLE") for _ in range(2)],
    )
    sync.listing.sync()
    with pytest.raises(UnavailableError):
        sync.listing.sync()
    assert sync.held() == {"A": 5, "B": 6, "C": 7}


def test_products_that_are_new_in_the_listing_are_read_and_others_dropped(
    database: sqlite3.Connection,
) -> None:
    first = Syncing(database, page("c0"), stock(("A", 5, 10), ("B", 6, 20)), page("c1"), ids="AB")
    first.listing.sync()
    second = Syncing(
        database,
        stock(("C", 7, 30)),
        page("c2", ("C", 8, 31), ("A", 1, 11)),
        ids="BC",
    )
    assert second.listing.sync() == 2
    assert second.waits == [(30.0, 0)]
    assert second.cursors() == ["c1"]  # from before it was read: no change is missed
    assert second.held() == {"B": 6, "C": 8}


def test_a_product_that_a_webhook_brought_before_the_first_sync_is_kept_if_it_is_newer(
    database: sqlite3.Connection,
) -> None:
    sync = Syncing(
        database,
        page("c0"),
        stock(("A", 5, 10), ("B", 6, 20), not_found=("C",)),
        page("c1", ("C", 8, 40)),
    )
    at = datetime.now(UTC)
    sync.listing.take(Item("A", 4, "low_stock", at, 11))
    sync.listing.take(Item("C", 8, "low_stock", at, 40))
    sync.listing.sync()
    assert sync.held() == {"A": 4, "B": 6, "C": 8}


def test_what_was_read_whole_is_not_read_again_when_following_fails(
    database: sqlite3.Connection,
) -> None:
    sync = Syncing(
        database,
        page("c0"),
        stock(("A", 5, 10), ("B", 6, 20), ("C", 7, 30)),
        *[error(503, "SERVICE_UNAVAILABLE") for _ in range(2)],
        page("c1", ("A", 4, 11)),
    )
    with pytest.raises(UnavailableError):
        sync.listing.sync()
    assert sync.listing.sync() == 1
    assert sync.cursors() == [None, "c0", "c0", "c0"]
    assert sync.held() == {"A": 4, "B": 6, "C": 7}
