"""Writers: change stock in every way there is, while PostgreSQL and the api come and go.

A change counts when its COMMIT was confirmed. What became of the others only the table can tell;
some transactions are rolled back on purpose, and must never be heard of.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
from psycopg import Connection

from tools.chain import STOCK_ROLE, Chain

PRODUCTS = [f"CHAOS-{number:03}" for number in range(200)]
AGAIN = 0.1  # seconds until the next try when something is away
ROLLED_BACK, REMOVED = 0.05, 0.05  # shares of the transactions
# Seconds between two turns of each writer at pace 1, which is about 95 changes/s together.
SINGLE_EVERY, TRANSACTION_EVERY, COPY_EVERY, API_EVERY = 0.04, 0.17, 0.8, 0.07
TRANSACTION_ROWS, COPY_ROWS = 4, 25

Row = tuple[str, int, int]  # product_id, version, quantity


@dataclass
class Confirmed:
    """What was confirmed; several threads write to it, each its own versions."""

    quantities: dict[int, tuple[str, int]] = field(default_factory=dict)  # by version
    committed_at: dict[int, float] = field(default_factory=dict)  # seconds since 1970, by version
    unknown: int = 0  # statements of which nobody knows whether they were committed
    by_kind: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note_unknown(self) -> None:
        """Note that something failed, committed or not."""
        with self._lock:
            self.unknown += 1

    def note(self, kind: str, rows: Sequence[Row]) -> None:
        """Note what was committed just now."""
        now = time.time()
        for product_id, version, set_to in rows:
            self.quantities[version] = product_id, set_to
            self.committed_at[version] = now
        self.by_kind[kind] = self.by_kind.get(kind, 0) + len(rows)


class RollbackOnPurposeError(Exception):
    """A transaction that must leave nothing behind."""


class Writers:
    """Four threads, one for each way to change stock."""

    def __init__(self, chain: Chain, partner: str, *, seed: int, pace: float) -> None:
        """`pace` is how many times faster than usual they write."""
        self._chain = chain
        self._partner = partner
        self._pace = pace
        self._seed = seed
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._fault: BaseException | None = None
        self.confirmed = Confirmed()

    def start(self) -> None:
        """Start writing."""
        turns: tuple[tuple[Turn, float], ...] = (
            (update_one, SINGLE_EVERY),
            (update_several, TRANSACTION_EVERY),
            (copy_and_update, COPY_EVERY),
        )
        for turn, every in turns:
            self._run(lambda turn=turn, every=every: self._write_sql(turn, every))
        self._run(self._write_api)

    def stop(self) -> None:
        """Stop writing; raise what a writer ended with, if one did."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a writer does not end"
        if self._fault is not None:
            raise self._fault

    def write_last(self) -> None:
        """Make one more change, when everything is up."""
        chance = random.Random(f"{self._seed}:last")
        url = self._chain.postgres.url(STOCK_ROLE)
        with psycopg.connect(url, autocommit=True) as connection:
            while not (rows := update_one(connection, chance)):
                pass
        self.confirmed.note(update_one.__name__, rows)

    @property
    def changes(self) -> int:
        """How many changes were confirmed so far."""
        return len(self.confirmed.quantities)

    def _run(self, write: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                write()
            except BaseException as exc:  # noqa: BLE001 -- stop() raises it
                self._fault = exc

        thread = threading.Thread(target=guarded, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _write_sql(self, turn: "Turn", every: float) -> None:
        chance = random.Random(f"{self._seed}:{turn.__name__}")
        url = self._chain.postgres.url(STOCK_ROLE)
        while not self._stop.is_set():
            try:
                with psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
                    while not self._stop.wait(self._wait(chance, every)):
                        self.confirmed.note(turn.__name__, turn(connection, chance))
            except RollbackOnPurposeError:
                pass
            except psycopg.OperationalError:  # PostgreSQL is away, or two writers met
                self.confirmed.note_unknown()
                self._stop.wait(AGAIN)

    def _write_api(self) -> None:
        chance = random.Random(f"{self._seed}:api")
        with self._chain.partner(self._partner) as partner:
            while not self._stop.wait(self._wait(chance, API_EVERY)):
                put = {"quantity": quantity(chance)}
                path = f"/sandbox/inventory/{chance.choice(PRODUCTS)}"
                try:
                    answer = partner.put(path, json=put)
                except httpx.TransportError:
                    answer = None
                if answer is None or answer.status_code != 200:
                    assert answer is None or answer.status_code >= 500, answer.text
                    self.confirmed.note_unknown()
                    self._stop.wait(AGAIN)
                    continue
                self._note_put(answer.json())

    def _note_put(self, item: dict[str, Any]) -> None:
        """Note an answer, unless it tells an older version: the quantity was so already."""
        if item["version"] not in self.confirmed.quantities:
            self.confirmed.note("api", [(item["product_id"], item["version"], item["quantity"])])

    def _wait(self, chance: random.Random, every: float) -> float:
        return every / self._pace * chance.uniform(0.5, 1.5)


Turn = Callable[[Connection[Any], random.Random], list[Row]]


def quantity(chance: random.Random) -> int:
    """Return a quantity; half of the changes cross a border."""
    return chance.choice((0, 0, chance.randint(1, 10), chance.randint(1, 10), 11, 15, 60, 400))


UPSERT = """
INSERT INTO sandbox.products AS product (product_id, quantity) VALUES (%s, %s)
ON CONFLICT (product_id) DO UPDATE SET quantity = excluded.quantity
    WHERE product.quantity <> excluded.quantity
RETURNING product_id, version, quantity
"""
UPDATE = """
UPDATE sandbox.products SET quantity = %s WHERE product_id = %s AND quantity <> %s
RETURNING product_id, version, quantity
"""
REMOVE = "DELETE FROM sandbox.products WHERE product_id = %s"
STAGE = "CREATE TEMP TABLE IF NOT EXISTS staging (product_id text, quantity integer)"
UPDATE_FROM = """
UPDATE sandbox.products AS product SET quantity = staging.quantity
FROM staging WHERE staging.product_id = product.product_id AND product.quantity <> staging.quantity
RETURNING product.product_id, product.version, product.quantity
"""


def update_one(connection: Connection[Any], chance: random.Random) -> list[Row]:
    """Set one product in a statement of its own; it is inserted if it is not there."""
    values = [chance.choice(PRODUCTS), quantity(chance)]
    return connection.execute(UPSERT, values).fetchall()


def update_several(connection: Connection[Any], chance: random.Random) -> list[Row]:
    """Set a few in one transaction, one of them twice; some are removed, some rolled back."""
    chosen = sorted(chance.sample(PRODUCTS, TRANSACTION_ROWS - 1))
    rows: list[Row] = []
    with connection.transaction():
        for product_id in (*chosen, chosen[-1]):
            wanted = quantity(chance)
            rows += connection.execute(UPDATE, [wanted, product_id, wanted]).fetchall()
        if chance.random() < REMOVED:
            connection.execute(REMOVE, [chosen[0]])
        if chance.random() < ROLLED_BACK:
            raise RollbackOnPurposeError
    return rows


def copy_and_update(connection: Connection[Any], chance: random.Random) -> list[Row]:
    """Import many at once, as warehouses do."""
    with connection.transaction():
        connection.execute(STAGE)
        connection.execute("TRUNCATE staging")
        with connection.cursor().copy("COPY staging FROM STDIN") as copy:
            for product_id in chance.sample(PRODUCTS, COPY_ROWS):
                copy.write_row((product_id, quantity(chance)))
        return connection.execute(UPDATE_FROM).fetchall()
