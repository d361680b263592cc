"""Demo steps: what a partner meets, one function for each; every step asserts what it tells."""

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx
import msgspec
import psycopg

from partner_inventory import PartnerInventory, PartnerInventoryError, RateLimitedError
from services.core.environments import Environment
from services.core.errors import STATUS_OF, ErrorCode
from services.domain.stock import StockStatus, stock_status
from services.local.program import SANDBOX_HOST
from services.local.provision import DEMO_BASIC, TECHMART
from services.local.stack import QUERY
from services.local.state import KeyRing
from services.schema.seed import products

BATCH = 100  # products in one request, at most (Q1)
BASIC_LIMIT = 60  # requests a minute of the tier `basic`
SEEN_WITHIN = 1.0  # seconds from commit to sight, normally (Q7)
TIMEOUT = 10.0  # seconds; the gateway gives up on a service after 4
LOOK_EVERY = 0.005  # seconds between two looks of the reader
EXCERPT = 200  # characters of an unexpected body that are shown


class StepFailedError(Exception):
    """A step did not go as it should; the message says what was seen instead."""


@dataclass(frozen=True)
class Scene:
    """What the steps play with."""

    client: httpx.Client
    keys: KeyRing
    stock_url: str  # the database, as the role that changes live stock
    say: Callable[[str], None]

    def inventory(
        self, environment: Environment = Environment.LIVE, *, key: str = "", partner: str = ""
    ) -> PartnerInventory:
        """Return a partner's client, TechMart's with its key unless another is named.

        It tries once: what the first answer is, a step is to see. Live answers to any host name.
        """
        return PartnerInventory(
            str(self.client.base_url),
            key or self.keys[partner or TECHMART.name][environment],
            patience=0,
            timeout=TIMEOUT,
            http=self.client,
            headers={"Host": SANDBOX_HOST} if environment is Environment.SANDBOX else None,
        )


def refused(call: Callable[[], object], code: ErrorCode) -> PartnerInventoryError:
    """Return the error that a call ends with. Raises StepFailedError if that is another or none."""
    expected = f"expected {STATUS_OF[code]} {code}"
    try:
        call()
    except PartnerInventoryError as exc:
        if (exc.status, exc.code) != (STATUS_OF[code], code):
            msg = f"{expected}, got {exc}"
            raise StepFailedError(msg) from exc
        if not exc.request_id:
            msg = f"the error has no request id: {exc}"
            raise StepFailedError(msg) from exc
        return exc
    msg = f"{expected}, but it was answered"
    raise StepFailedError(msg)


@functools.cache
def listing(environment: Environment = Environment.LIVE) -> list[str]:
    """Return the ids of all products of the seed."""
    return [product for product, _ in products(environment)]


def query_three(scene: Scene) -> None:
    """Show one product that was in stock, one that was low and one that was out, at the start."""
    of_status = {stock_status(n): product for product, n in reversed([*products(Environment.LIVE)])}
    ids = [of_status[status] for status in StockStatus]
    items = scene.inventory().stock(ids).items
    if [item.product_id for item in items] != ids:
        msg = f"asked for {ids}, got {[item.product_id for item in items]}"
        raise StepFailedError(msg)
    for item in items:
        scene.say(f"{item.product_id:<14}{item.quantity:>5}  {item.status}")


def sync_listing(scene: Scene) -> None:
    """Fetch the whole listing, as a partner's hourly job does."""
    ids = listing()
    began = time.perf_counter()
    stock = scene.inventory().stock(ids)
    took = (time.perf_counter() - began) * 1000
    seen = {item.product_id for item in stock.items} | set(stock.not_found)
    if seen != set(ids):
        msg = f"{len(set(ids) - seen)} of {len(ids)} products did not come back"
        raise StepFailedError(msg)
    batches = math.ceil(len(ids) / BATCH)
    scene.say(f"{len(seen):,} products seen in {batches} batches of {BATCH}")
    scene.say(f"a batch took {took / batches:.0f} ms (mean)")


def too_many_products(scene: Scene) -> None:
    """Ask for one product more than allowed, in one request: the client's own batches never do."""
    many = listing()[: BATCH + 1]
    error = refused(lambda: scene.inventory().stock_by_get(many), ErrorCode.BATCH_SIZE_EXCEEDED)
    scene.say(f"{BATCH + 1} products: {error.status} {error.code}, {error.message!r}")


def no_key(scene: Scene) -> None:
    """Ask without a key, which the partner's client can't."""
    try:
        answer = scene.client.get(QUERY, params={"product_ids": listing()[0]})
    except httpx.HTTPError as exc:
        msg = f"no answer from {scene.client.base_url}: {exc or type(exc).__name__}"
        raise StepFailedError(msg) from exc
    message = _expect_error(answer, ErrorCode.UNAUTHORIZED)
    scene.say(f"401 {ErrorCode.UNAUTHORIZED}, {message!r}")


def _expect_error(answer: httpx.Response, code: ErrorCode) -> str:
    """Return the message of this error. Raises StepFailedError."""
    try:
        body = msgspec.json.decode(answer.content, type=dict[str, str])
    except msgspec.DecodeError:
        body = {}
    got = f"got {answer.status_code}: {answer.text[:EXCERPT]}"
    if answer.status_code != STATUS_OF[code] or body.get("code") != code:
        msg = f"expected {STATUS_OF[code]} {code}, {got}"
        raise StepFailedError(msg)
    if not body.get("request_id") or body["request_id"] != answer.headers.get("X-Request-ID"):
        msg = f"the error's request_id is not its X-Request-ID, {got}"
        raise StepFailedError(msg)
    return body.get("message", "")


def wrong_key(scene: Scene) -> None:
    """Ask with a key that nobody was given."""
    wrong = scene.inventory(key=Environment.LIVE.key_prefix + "a-key-that-nobody-was-given")
    error = refused(lambda: wrong.stock(listing()[:1]), ErrorCode.UNAUTHORIZED)
    scene.say(f"{error.status} {error.code}, {error.message!r}")


def wrong_environment(scene: Scene) -> None:
    """Use the sandbox's key on live, then where it belongs."""
    wrong = scene.inventory(key=scene.keys[TECHMART.name][Environment.SANDBOX])
    error = refused(lambda: wrong.stock(listing()[:1]), ErrorCode.FORBIDDEN)
    scene.say(f"the sandbox key on live: {error.status} {error.code}, {error.message!r}")
    ids = listing(Environment.SANDBOX)[:1]
    items = scene.inventory(Environment.SANDBOX).stock(ids).items
    if [item.product_id for item in items] != ids:
        msg = f"the sandbox knows nothing of its own product {ids[0]}"
        raise StepFailedError(msg)
    scene.say(f"the same key on the sandbox's host ({SANDBOX_HOST}): 200, {ids[0]}")


@dataclass
class Minute:
    """The requests that passed in one calendar minute of the gateway's counter."""

    first_remaining: int
    remaining: int
    passed: int = 1


def hit_limit(scene: Scene) -> None:
    """Send until the gateway says that it is enough."""
    inventory = scene.inventory(partner=DEMO_BASIC.name)
    minutes: list[Minute] = []
    # The edge of a minute may lie within: 60 before it, 60 after it, and one that is refused.
    while sum(minute.passed for minute in minutes) <= 2 * BASIC_LIMIT:
        try:
            inventory.stock(listing()[:1])
        except RateLimitedError as exc:
            _tell_limit(scene, minutes, _retry_after(exc))
            return
        _count(minutes, _remaining(inventory))
    msg = f"no 429 after {2 * BASIC_LIMIT + 1} requests"
    raise StepFailedError(msg)


def _count(minutes: list[Minute], remaining: int) -> None:
    """Add a request that passed; a count that jumps up tells that a new minute began."""
    if not minutes or remaining > minutes[-1].remaining:
        minutes.append(Minute(remaining, remaining))
    else:
        minutes[-1].passed += 1
        minutes[-1].remaining = remaining
    if minutes[-1].passed > BASIC_LIMIT:
        msg = f"{minutes[-1].passed} requests passed within one minute; {BASIC_LIMIT} may"
        raise StepFailedError(msg)


def _remaining(inventory: PartnerInventory) -> int:
    if inventory.limit is None:
        msg = "an answer has no RateLimit-Remaining: the gateway does not reach its counters"
        raise StepFailedError(msg)
    return inventory.limit.remaining


def _retry_after(error: RateLimitedError) -> int:
    seconds = error.retry_after
    if seconds is None or not 1 <= seconds <= 60:
        msg = f"the 429's Retry-After is {seconds}, not 1 to 60 seconds"
        raise StepFailedError(msg)
    return round(seconds)


def _tell_limit(scene: Scene, minutes: list[Minute], retry_after: int) -> None:
    refused = f"then 429 {ErrorCode.RATE_LIMITED}, Retry-After {retry_after} s"
    if not minutes:
        scene.say(f"the {BASIC_LIMIT} of this minute were used up before: none passed, {refused}")
        return
    last = minutes[-1]
    if last.remaining != 0:
        msg = f"429 came while {last.remaining} of {BASIC_LIMIT} requests were left"
        raise StepFailedError(msg)
    for minute in minutes[:-1]:
        scene.say(f"{minute.passed} passed, then a new minute began and with it a new count")
    used = BASIC_LIMIT - last.first_remaining - 1
    before = f" ({used} were used before)" if used else ""
    scene.say(f"{last.passed} of {BASIC_LIMIT} a minute passed{before}, {refused}")


def see_change(scene: Scene) -> None:
    """Change stock by SQL, and read through the gateway until the change is seen."""
    product = listing()[0]
    before = _look(scene, product)
    wanted = 7 if before != 7 else 12
    committed = _change_stock(scene.stock_url, product, wanted)
    looks = 1
    while _look(scene, product) != wanted:
        if time.perf_counter() - committed > SEEN_WITHIN:
            msg = f"{product} was changed to {wanted}; not seen after {SEEN_WITHIN:g} s"
            raise StepFailedError(msg)
        looks += 1
        time.sleep(LOOK_EVERY)
    took = (time.perf_counter() - committed) * 1000
    scene.say(f"UPDATE of {product} from {before} to {wanted}, as the role live_stock")
    scene.say(f"seen through the gateway {took:.0f} ms after the commit, at look {looks}")


def _look(scene: Scene, product: str) -> int:
    items = scene.inventory().stock([product]).items
    if not items:
        msg = f"there is no product {product}"
        raise StepFailedError(msg)
    return items[0].quantity


CHANGE_STOCK = "UPDATE live.products SET quantity = %(quantity)s WHERE product_id = %(product)s"


def _change_stock(url: str, product: str, quantity: int) -> float:
    """Set a quantity; return when it was committed, in seconds of perf_counter."""
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(CHANGE_STOCK, {"quantity": quantity, "product": product})
            return time.perf_counter()
    except psycopg.Error as exc:
        msg = f"PostgreSQL: {str(exc).splitlines()[0]}"
        raise StepFailedError(msg) from exc


STEPS: Sequence[tuple[str, Callable[[Scene], None]]] = (
    ("A product page asks for 3 products", query_three),
    ("The hourly sync of 5,000 products", sync_listing),
    ("101 products in one request", too_many_products),
    ("No key", no_key),
    ("A wrong key", wrong_key),
    ("A sandbox key on live, and in its place", wrong_environment),
    ("The limit of the tier basic is hit", hit_limit),
    ("A stock change reaches a reader", see_change),
)
