"""Changing: stock changes under the load, live by SQL and in the sandbox by PUT, each noted."""

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import httpx
import psycopg

from loadtests.answers import WrongAnswerError, one_item, told
from loadtests.plan import Target
from loadtests.records import Outcome, Request

# Units; never low, so that one change is one event for who wants them all.
LOWEST, HIGHEST = 11, 500
SET_STOCK = "UPDATE live.products SET quantity = %s WHERE product_id = %s RETURNING version"
# Sets a product's quantity; returns the version, None when it can't tell whether it is set.
SetStock = Callable[[str, int], int | None]
TIMEOUT = 10.0  # seconds
SANDBOX_STOCK = "/partner/v1/sandbox/inventory"


@dataclass(frozen=True)
class Change:
    """A change that was confirmed; times are seconds since 1970."""

    environment: str
    product_id: str
    version: int
    sent_at: float
    done_at: float


@dataclass
class Changed:
    """What a writer did."""

    changes: list[Change] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)  # PUTs, and what failed


class Writer:
    """Sets stock at a steady rate in a thread of its own."""

    def __init__(self, environment: str, products: list[str], rate: float) -> None:
        """`rate` is changes per second."""
        self.environment = environment
        self.done = Changed()
        self._products = itertools.cycle(products)
        self._rate = rate
        self._chance = random.Random(environment)  # noqa: S311 -- not a secret
        self._last: dict[str, int] = {}
        self._stop = threading.Event()

    def next_change(self) -> tuple[str, int]:
        """Return a product and another quantity than it had."""
        product = next(self._products)
        quantity = self._chance.randint(LOWEST, HIGHEST)
        if quantity == self._last.get(product):
            quantity += 1
        self._last[product] = quantity
        return product, quantity

    @contextlib.contextmanager
    def running(self, set_stock: SetStock) -> Generator[Changed]:
        """Write for the length of a with block; `set_stock` returns the version, None if unsure."""
        thread = threading.Thread(target=self._run, args=(set_stock,), daemon=True)
        if self._rate:
            thread.start()
        try:
            yield self.done
        finally:
            self._stop.set()
            if self._rate:
                thread.join(TIMEOUT + 1)

    def _run(self, set_stock: SetStock) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1 / self._rate, time.monotonic() - 1)
            self.change(set_stock)

    def change(self, set_stock: SetStock) -> None:
        """Make one change and note it."""
        product, quantity = self.next_change()
        sent = time.time()
        version = set_stock(product, quantity)
        if version is not None:
            self.done.changes.append(Change(self.environment, product, version, sent, time.time()))


def by_sql(connection: psycopg.Connection, requests: list[Request]) -> SetStock:
    """Return what sets live stock as the warehouse does; a failure is noted as an error."""

    def set_stock(product_id: str, quantity: int) -> int | None:
        sent = time.time()
        try:
            row = connection.execute(SET_STOCK, [quantity, product_id]).fetchone()
        except psycopg.Error as exc:
            seconds, told = time.time() - sent, f"SQL: {exc!r}"
            requests.append(Request(sent, seconds, "stock-change", 0, Outcome.ERROR, told))
            return None
        return row[0] if row else None

    return set_stock


def by_put(client: httpx.Client, target: Target, requests: list[Request]) -> SetStock:
    """Return what sets sandbox stock as partners do; every request is noted."""
    headers = {"X-API-Key": target.sandbox_api_key}
    if target.sandbox_host:
        headers["Host"] = target.sandbox_host

    def set_stock(product_id: str, quantity: int) -> int | None:
        url = f"{target.sandbox_url}{SANDBOX_STOCK}/{product_id}"
        sent, clock = time.time(), time.perf_counter()
        status, outcome, detail, version = 0, Outcome.OK, "", None
        try:
            answer = client.put(url, json={"quantity": quantity}, headers=headers)
            status = answer.status_code
            if status in (200, 201):
                version = one_item(answer.content, product_id)[0].version
            else:
                outcome, detail = Outcome.ERROR, f"{status} {told(answer.content)}"
        except httpx.HTTPError as exc:
            outcome, detail = Outcome.ERROR, f"no answer: {type(exc).__name__}"
        except WrongAnswerError as exc:
            outcome, detail = Outcome.WRONG, str(exc)
        seconds = time.perf_counter() - clock
        requests.append(Request(sent, seconds, "stock-change", status, outcome, detail))
        return version

    return set_stock
