"""Stock, the scratch of an import: a file's good lines by product, on disk and not in memory.

SQLite and not a temporary table of PostgreSQL: there the lines would be one long transaction, and
readers of stock changes can't pass a transaction that is open (decision 0003).
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from services.admin.stock.csv import Good, Wrong

LOAD_BATCH = 5_000  # lines


class Wanted(NamedTuple):
    """The quantity that a file says a product has, and how many of its lines say so."""

    product_id: str
    quantity: int
    lines: int


class Scratch:
    """The good lines of one file; in one thread, and gone at the end of the with block."""

    def __init__(self) -> None:
        """Make an empty one."""
        # An empty name: a file of SQLite's own in the temporary folder, which nobody else sees.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(
            "CREATE TABLE lines (product_id TEXT NOT NULL, line INTEGER NOT NULL,"
            " quantity INTEGER NOT NULL, PRIMARY KEY (product_id, line)) WITHOUT ROWID"
        )
        self._waiting: list[tuple[str, int, int]] = []

    def __enter__(self) -> Self:
        """Return the scratch."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        """Delete it."""
        self._database.close()

    def add(self, good: Good) -> None:
        """Take a line; it is found after `flush`."""
        self._waiting.append((good.product_id, good.line, good.quantity))
        if len(self._waiting) >= LOAD_BATCH:
            self.flush()

    def flush(self) -> None:
        """Write the lines that wait."""
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO lines VALUES (?, ?, ?)", self._waiting)
        self._database.execute("COMMIT")
        self._waiting.clear()

    def take_out_contradictions(self) -> Iterator[Wrong]:
        """Yield, and drop, the lines of each product that the file says two quantities of."""
        contradicted = self._database.execute(
            "SELECT product_id FROM lines GROUP BY product_id HAVING min(quantity) < max(quantity)"
        ).fetchall()
        for (product_id,) in contradicted:
            yield from _contradictions(product_id, self._lines_of(product_id))
            self._database.execute("DELETE FROM lines WHERE product_id = ?", (product_id,))

    def lines_of(self, product_ids: Iterable[str]) -> Iterator[tuple[int, str]]:
        """Yield (line, product id) of every line of these products."""
        for product_id in product_ids:
            for line, _ in self._lines_of(product_id):
                yield line, product_id

    def batches(self, size: int) -> Iterator[Sequence[Wanted]]:
        """Yield products with their quantities, by product id."""
        after = ""
        while found := self._database.execute(
            "SELECT product_id, min(quantity), count(*) FROM lines WHERE product_id > ?"
            " GROUP BY product_id ORDER BY product_id LIMIT ?",
            (after, size),
        ).fetchall():
            yield [Wanted(*row) for row in found]
            after = found[-1][0]

    def zeros(self) -> Iterator[list[str]]:
        """Yield the ids of products whose quantity is 0, in batches."""
        zeros = self._database.execute("SELECT DISTINCT product_id FROM lines WHERE quantity = 0")
        while found := zeros.fetchmany(LOAD_BATCH):
            yield [product_id for (product_id,) in found]

    def count(self) -> int:
        """Return how many lines there are."""
        return int(self._database.execute("SELECT count(*) FROM lines").fetchone()[0])

    def _lines_of(self, product_id: str) -> list[tuple[int, int]]:
        return self._database.execute(
            "SELECT line, quantity FROM lines WHERE product_id = ? ORDER BY line", (product_id,)
        ).fetchall()


def _contradictions(product_id: str, lines: Sequence[tuple[int, int]]) -> Iterator[Wrong]:
    """Yield a reason for each line; it names the first line that says otherwise."""
    first = lines[0]
    second = next(each for each in lines if each[1] != first[1])
    for line, quantity in lines:
        other, says = second if quantity == first[1] else first
        reason = (
            f"{product_id} is {quantity} here and {says} in line {other}: nobody knows which is"
            " right, so neither counts"
        )
        yield Wrong(line, reason)
