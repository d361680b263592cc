"""A follower of the delta sync, as a partner would write one, and writers that mislead it."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import httpx
import msgspec
import psycopg
from psycopg import Connection

from services.core.availability import Availability
from services.core.database import make_pool
from services.core.database_calls import Calls
from services.core.environments import Environment
from services.query.cursors import decode, encode
from services.query.delta import SCANNED, Delta
from tests.conftest import Database
from tools.waiting import wait_for

Answer = dict[str, Any]
GetPage = Callable[[str | None, int], Answer]  # takes a cursor (None: to start) and a limit

SET = (
    "INSERT INTO live.products (product_id, quantity) VALUES (%s, %s)"
    " ON CONFLICT (product_id) DO UPDATE SET quantity = excluded.quantity"
)
REMOVE = "DELETE FROM live.products WHERE product_id = %s"
STOCK = (
    "SELECT product_id, quantity, version FROM live.products"
    " UNION ALL SELECT product_id, NULL, version FROM live.removed_products AS removed"
    " WHERE NOT EXISTS (SELECT FROM live.products WHERE product_id = removed.product_id)"
)
CHANGES = "/partner/v1/inventory/changes"
PAGES_MOST = 3_000  # of one walk; one that needs more does not end


class Held(NamedTuple):
    """What is known of a product; quantity is None when it was removed."""

    quantity: int | None
    version: int


class Follower:
    """A partner's copy of the stock."""

    def __init__(self, get_page: GetPage) -> None:
        self._get_page = get_page
        self.cursor = ""
        self.held: dict[str, Held] = {}
        self.pages = self.told = self.news = 0

    def start(self, read_everything: Callable[[], dict[str, Held]]) -> None:
        """Take a cursor, then read everything."""
        answer = self._get_page(None, 1000)
        assert (answer["items"], answer["removed"], answer["has_more"]) == ([], [], False)
        self.cursor = answer["next_cursor"]
        self.held = read_everything()

    def page(self, limit: int = 1000) -> Answer:
        """Read and take one page."""
        answer = self._get_page(self.cursor, limit)
        assert len(answer["items"]) + len(answer["removed"]) <= limit
        for item in answer["items"]:
            self._take(item["product_id"], Held(item["quantity"], item["version"]))
        for removed in answer["removed"]:
            self._take(removed["product_id"], Held(None, removed["version"]))
        self.cursor = answer["next_cursor"]
        self.pages += 1
        return answer

    def walk(self, limit: Callable[[], int] = lambda: 1000) -> list[Answer]:
        """Read pages until there are no more; return them."""
        pages = [self.page(limit())]
        while pages[-1]["has_more"]:
            assert len(pages) < PAGES_MOST, "the walk does not end"
            pages.append(self.page(limit()))
        return pages

    def settle(self) -> None:
        """Follow until nothing is told again.

        A transaction anywhere on the server, such as autovacuum's, makes a walk tell again what the
        one before did.
        """
        wait_for(lambda: not told_ids(self.walk()), "a walk that tells nothing")

    def _take(self, product_id: str, told: Held) -> None:
        known = self.held.get(product_id)
        self.told += 1
        if known is None or known.version < told.version:
            self.held[product_id] = told
            self.news += 1
        elif known.version == told.version:
            assert known == told


class Writers:
    """Threads that change stock for the length of a with block."""

    def __init__(self, url: str, product_ids: list[str], *, seed: int, count: int = 8) -> None:
        """`url` is that of live_stock."""
        self._url = url
        self._product_ids = product_ids
        self._stop = threading.Event()
        self.commits = 0
        self.faults: list[str] = []
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(seed * 1000 + n),), daemon=True)
            for n in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
        assert not self.faults

    def _run(self, chance: random.Random) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                while not self._stop.is_set():
                    try:
                        self._write(connection, chance)
                    except (
                        psycopg.errors.DeadlockDetected,
                        psycopg.errors.SerializationFailure,  # removed at the same time
                    ):
                        continue
        except Exception as exc:  # noqa: BLE001 -- told when they end
            self.faults.append(repr(exc))

    def _write(self, connection: Connection[Any], chance: random.Random) -> None:
        """Change one to six products in a transaction that waits before it ends."""
        rolled_back = chance.random() < 0.15
        with connection.transaction(force_rollback=rolled_back):
            # In one order, or they would spend most of the time in deadlocks.
            for product_id in sorted(chance.sample(self._product_ids, chance.randint(1, 6))):
                with connection.transaction(force_rollback=chance.random() < 0.1):  # a savepoint
                    if chance.random() < 0.3:
                        connection.execute(REMOVE, [product_id])
                    else:
                        connection.execute(SET, [product_id, chance.randint(0, 30)])
            # Most end soon; a few stay open while hundreds of others come and go.
            time.sleep(0.5 if chance.random() < 0.02 else chance.choice([0, 0.001, 0.005, 0.02]))
        self.commits += not rolled_back


def stock_of(url: str) -> dict[str, Held]:
    """Return what the tables hold, removed products included."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(STOCK).fetchall()
    return {product_id: Held(quantity, version) for product_id, quantity, version in rows}


def over_http(client: httpx.Client) -> GetPage:
    def get_page(cursor: str | None, limit: int) -> Answer:
        given = {} if cursor is None else {"cursor": cursor}
        response = client.get(CHANGES, params={**given, "limit": limit})
        assert response.status_code == 200, response.text
        return response.json()

    return get_page


@contextmanager
def in_this_process(database: Database, *, scanned: int = SCANNED) -> Generator[GetPage]:
    """Read pages without a program, with what a test has put in the place of its parts."""
    with asyncio.Runner() as runner:
        pool = make_pool(
            database.url("live_query"), name="delta", size=2, statement_timeout_ms=5_000
        )
        calls = Calls(pool, availability=Availability("database", clock=time.monotonic))
        runner.run(pool.open())
        delta = Delta(calls, Environment.LIVE, at_once=1, scanned=scanned)

        def get_page(cursor: str | None, limit: int) -> Answer:
            if cursor is None:
                start = encode(runner.run(delta.start()))
                return {"items": [], "removed": [], "next_cursor": start, "has_more": False}
            page = runner.run(delta.page(decode(cursor), limit))
            return {
                "items": msgspec.json.decode(b"[%s]" % page.items),
                "removed": [each._asdict() for each in page.removed],
                "next_cursor": encode(page.next_cursor),
                "has_more": page.has_more,
            }

        try:
            yield get_page
        finally:
            runner.run(pool.close())


def told_ids(pages: list[Answer]) -> list[str]:
    """Return the products that pages tell of, removed ones last in each page."""
    return [entry["product_id"] for page in pages for entry in [*page["items"], *page["removed"]]]


def asked(client: httpx.Client, cursor: str) -> httpx.Response:
    """Return the answer to a cursor."""
    return client.get(CHANGES, params={"cursor": cursor})
