"""Demo steps: what a partner meets, one function for each; every step asserts what it tells."""

import functools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import psycopg

from services.embedded.program import SANDBOX_HOST
from services.embedded.provision import DEMO_BASIC, TECHMART
from services.embedded.stack import QUERY
from services.embedded.state import KeyRing
from services.kernel.environments import Environment
from services.kernel.errors import STATUS_OF, ErrorCode
from services.kernel.headers import API_KEY
from services.kernel.schema.seed import products
from services.kernel.stock import StockStatus, stock_status

BATCH = 100  # products in one request, at most (Q1)
BASIC_LIMIT = 60  # requests a minute of the tier `basic`
SEEN_WITHIN = 1.0  # seconds from commit to sight, normally (Q7)
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

    def ask(
        self, ids: Sequence[str], key: str | None, *, environment: Environment = Environment.LIVE
    ) -> httpx.Response:
        """Query stock as a partner does."""
        body = {"product_ids": list(ids)}
        return self.send("POST", QUERY, key, body=body, environment=environment)

    def send(
        self,
        method: str,
        path: str,
        key: str | None,
        *,
        body: object = None,
        environment: Environment = Environment.LIVE,
    ) -> httpx.Response:
        """Send a request as a partner does; live answers to any host name."""
        headers = {API_KEY: key} if key is not None else {}
        if environment is Environment.SANDBOX:
            headers["Host"] = SANDBOX_HOST
        try:
            return self.client.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as exc:
            msg = f"no answer from {self.client.base_url}: {exc or type(exc).__name__}"
            raise StepFailedError(msg) from exc

    def key(self, environment: Environment = Environment.LIVE, partner: str = "") -> str:
        """Return a partner's key, TechMart's unless another is named."""
        return self.keys[partner or TECHMART.name][environment]


def expect_items(answer: httpx.Response) -> list[dict[str, Any]]:
    """Return the items of a good answer. Raises StepFailedError."""
    if answer.status_code != 200:
        raise StepFailedError(seen(answer))
    return msgspec.json.decode(answer.content)["items"]


def expect_error(answer: httpx.Response, code: ErrorCode) -> str:
    """Return the message of this error. Raises StepFailedError."""
    try:
        body = msgspec.json.decode(answer.content, type=dict[str, str])
    except msgspec.DecodeError:
        body = {}
    if answer.status_code != STATUS_OF[code] or body.get("code") != code:
        msg = f"expected {STATUS_OF[code]} {code}, {seen(answer)}"
        raise StepFailedError(msg)
    if not body.get("request_id") or body["request_id"] != answer.headers.get("X-Request-ID"):
        msg = f"the error's request_id is not its X-Request-ID, {seen(answer)}"
        raise StepFailedError(msg)
    return body.get("message", "")


def seen(answer: httpx.Response) -> str:
    """Return an unexpected answer in words."""
    return f"got {answer.status_code}: {answer.text[:EXCERPT]}"


@functools.cache
def listing(environment: Environment = Environment.LIVE) -> list[str]:
    """Return the ids of all products of the seed."""
    return [product for product, _ in products(environment)]


def query_three(scene: Scene) -> None:
    """Show one product that was in stock, one that was low and one that was out, at the start."""
    of_status = {stock_status(n): product for product, n in reversed([*products(Environment.LIVE)])}
    ids = [of_status[status] for status in StockStatus]
    items = expect_items(scene.ask(ids, scene.key()))
    if [item["product_id"] for item in items] != ids:
        msg = f"asked for {ids}, got {[item['product_id'] for item in items]}"
        raise StepFailedError(msg)
    for item in items:
        scene.say(f"{item['product_id']:<14}{item['quantity']:>5}  {item['status']}")


def sync_listing(scene: Scene) -> None:
    """Fetch the whole listing, as a partner's hourly job does."""
    ids = listing()
    batches = [ids[at : at + BATCH] for at in range(0, len(ids), BATCH)]
    seen: set[str] = set()
    took: list[float] = []
    for batch in batches:
        began = time.perf_counter()
        answer = scene.ask(batch, scene.key())
        took.append((time.perf_counter() - began) * 1000)
        seen.update(item["product_id"] for item in expect_items(answer))
        seen.update(msgspec.json.decode(answer.content)["not_found"])
    if seen != set(ids):
        msg = f"{len(set(ids) - seen)} of {len(ids)} products did not come back"
        raise StepFailedError(msg)
    scene.say(f"{len(seen):,} products seen in {len(batches)} batches of {BATCH}")
    scene.say(f"a batch took {statistics.median(took):.0f} ms (median), {max(took):.0f} ms at most")


def too_many_products(scene: Scene) -> None:
    """Ask for one product more than allowed."""
    answer = scene.ask(listing()[: BATCH + 1], scene.key())
    message = expect_error(answer, ErrorCode.BATCH_SIZE_EXCEEDED)
    scene.say(f"{BATCH + 1} products: 400 {ErrorCode.BATCH_SIZE_EXCEEDED}, {message!r}")


def no_key(scene: Scene) -> None:
    """Ask without a key."""
    message = expect_error(scene.ask(listing()[:1], None), ErrorCode.UNAUTHORIZED)
    scene.say(f"401 {ErrorCode.UNAUTHORIZED}, {message!r}")


def wrong_key(scene: Scene) -> None:
    """Ask with a key that nobody was given."""
    wrong = Environment.LIVE.key_prefix + "a-key-that-nobody-was-given"
    message = expect_error(scene.ask(listing()[:1], wrong), ErrorCode.UNAUTHORIZED)
    scene.say(f"401 {ErrorCode.UNAUTHORIZED}, {message!r}")


def wrong_environment(scene: Scene) -> None:
    """Use the sandbox's key on live, then where it belongs."""
    key = scene.key(Environment.SANDBOX)
    message = expect_error(scene.ask(listing()[:1], key), ErrorCode.FORBIDDEN)
    scene.say(f"the sandbox key on live: 403 {ErrorCode.FORBIDDEN}, {message!r}")
    ids = listing(Environment.SANDBOX)[:1]
    items = expect_items(scene.ask(ids, key, environment=Environment.SANDBOX))
    if [item["product_id"] for item in items] != ids:
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
    key = scene.key(partner=DEMO_BASIC.name)
    minutes: list[Minute] = []
    # The edge of a minute may lie within: 60 before it, 60 after it, and one that is refused.
    answer = scene.ask(listing()[:1], key)
    while answer.status_code != 429 and sum(minute.passed for minute in minutes) <= 2 * BASIC_LIMIT:
        expect_items(answer)
        _count(minutes, _remaining(answer))
        answer = scene.ask(listing()[:1], key)
    expect_error(answer, ErrorCode.RATE_LIMITED)
    _tell_limit(scene, minutes, _retry_after(answer.headers))


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


def _remaining(answer: httpx.Response) -> int:
    if "RateLimit-Remaining" not in answer.headers:
        msg = "an answer has no RateLimit-Remaining: the gateway does not reach its counters"
        raise StepFailedError(msg)
    return int(answer.headers["RateLimit-Remaining"])


def _retry_after(headers: Mapping[str, str]) -> int:
    seconds = headers.get("Retry-After", "")
    if not seconds.isdecimal() or not 1 <= int(seconds) <= 60:
        msg = f"the 429's Retry-After is {seconds!r}, not 1 to 60 seconds"
        raise StepFailedError(msg)
    return int(seconds)


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
    items = expect_items(scene.ask([product], scene.key()))
    if not items:
        msg = f"there is no product {product}"
        raise StepFailedError(msg)
    return items[0]["quantity"]


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
