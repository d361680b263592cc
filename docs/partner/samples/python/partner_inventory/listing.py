"""Listing: your products' stock in a local SQLite table, by the contract's section Delta sync."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from partner_inventory.client import PartnerInventory
from partner_inventory.errors import CursorExpiredError
from partner_inventory.model import Changes, Item

OLDEST = 30.0  # seconds that an answer can be old, by the contract

TABLES = """
CREATE TABLE IF NOT EXISTS stock (
    product_id TEXT PRIMARY KEY,
    quantity INTEGER,  -- in units; NULL: there is no such product, or no longer
    status TEXT,
    version INTEGER NOT NULL  -- of its removal, if it was removed: a late webhook is older
);
CREATE TABLE IF NOT EXISTS delta_cursor (id INTEGER PRIMARY KEY CHECK (id = 1), cursor TEXT);
"""
TAKE = """
INSERT INTO stock (product_id, quantity, status, version) VALUES (?, ?, ?, ?)
ON CONFLICT (product_id) DO UPDATE
SET quantity = excluded.quantity, status = excluded.status, version = excluded.version
WHERE excluded.version > stock.version
"""
# Any version is higher than 0: a product that we do not know yet may come.
NOT_FOUND = "INSERT OR REPLACE INTO stock VALUES (?, NULL, NULL, 0)"
KEEP_CURSOR = "INSERT OR REPLACE INTO delta_cursor VALUES (1, ?)"


@dataclass(frozen=True, slots=True)
class Held:
    """What the table holds of a product."""

    product_id: str
    quantity: int
    status: str
    version: int


class Listing:
    """The table. Run `sync` every minute or hour; `take` what webhooks bring between.

    A connection belongs to one thread; another thread or process makes a Listing of its own.
    """

    def __init__(
        self,
        inventory: PartnerInventory,
        database: sqlite3.Connection,
        product_ids: Iterable[str],
        *,
        oldest: float = OLDEST,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the products that you list; `wait` is called once at the start, with `oldest`."""
        self._inventory = inventory
        self._database = database
        self._listed = set(product_ids)
        self._oldest = oldest
        self._wait = wait
        database.executescript(TABLES)

    def sync(self) -> int:
        """Bring the table up to date; return how many rows changed.

        The first time takes `oldest` seconds longer, and so does one with products that are new in
        your listing, or with a cursor that has expired. What was stored before an error stays good.
        """
        cursor = self._cursor()
        if cursor is not None:
            with suppress(CursorExpiredError):
                return self._continue(cursor)
        return self._start(forget=cursor is not None)

    def take(self, item: Item) -> bool:
        """Store an item that a webhook brought; False if it is not newer, or not listed."""
        with self._database:
            return self._put(item.product_id, item.quantity, item.status, item.version) == 1

    def get(self, product_id: str) -> Held | None:
        """Return what is held of a product; None if it is not there."""
        found = self._database.execute(
            "SELECT * FROM stock WHERE product_id = ? AND quantity IS NOT NULL", [product_id]
        ).fetchone()
        return None if found is None else Held(*found)

    def __iter__(self) -> Iterator[Held]:
        """Yield every product that is there, by id."""
        rows = self._database.execute(
            "SELECT * FROM stock WHERE quantity IS NOT NULL ORDER BY product_id"
        )
        return (Held(*row) for row in rows)

    def _start(self, *, forget: bool) -> int:
        """Begin a delta sync; forget what is held, whose versions may be of another database."""
        cursor = self._inventory.changes().next_cursor
        return self._read(self._listed, cursor, forget=forget) + self._follow(cursor)

    def _continue(self, cursor: str) -> int:
        held = {row[0] for row in self._database.execute("SELECT product_id FROM stock")}
        with self._database:
            dropped = [[each] for each in held - self._listed]
            self._database.executemany("DELETE FROM stock WHERE product_id = ?", dropped)
        new = self._listed - held
        changed = self._read(new, cursor, forget=False) if new else 0
        return changed + self._follow(cursor)

    def _read(self, product_ids: set[str], cursor: str, *, forget: bool) -> int:
        """Read products in whole; what changed since the cursor is then told by following it."""
        self._wait(self._oldest)  # an answer of now is then no older than the cursor
        found = self._inventory.stock(sorted(product_ids))
        with self._database:  # one transaction: the rows and the cursor, or nothing
            if forget:
                self._database.execute("DELETE FROM stock")
            self._database.executemany(NOT_FOUND, [[each] for each in found.not_found])
            self._database.execute(KEEP_CURSOR, [cursor])
            return self._put_all(found.items)

    def _follow(self, cursor: str) -> int:
        return sum(self._store(page) for page in self._inventory.follow(cursor))

    def _store(self, page: Changes) -> int:
        """Store a page and its cursor, in one transaction."""
        with self._database:
            changed = self._put_all(page.items)
            for removed in page.removed:
                changed += self._put(removed.product_id, None, None, removed.version)
            self._database.execute(KEEP_CURSOR, [page.next_cursor])
        return changed

    def _put_all(self, items: Iterable[Item]) -> int:
        return sum(
            self._put(each.product_id, each.quantity, each.status, each.version) for each in items
        )

    def _put(self, product_id: str, quantity: int | None, status: str | None, version: int) -> int:
        """Store what is newer than what is held; return 1 if it was."""
        if product_id not in self._listed:
            return 0
        return self._database.execute(TAKE, [product_id, quantity, status, version]).rowcount

    def _cursor(self) -> str | None:
        found = self._database.execute("SELECT cursor FROM delta_cursor").fetchone()
        return None if found is None else found[0]
