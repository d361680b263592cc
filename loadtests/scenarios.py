"""Scenarios: what users do, one class each; profiles.toml mixes them by name."""

import itertools
import random
import time
import uuid
from typing import Any
from urllib.parse import quote

import gevent
import msgspec
from locust import constant, task

from loadtests import answers
from loadtests.answers import WrongAnswerError
from loadtests.asking import (
    INVENTORY,
    LIVE,
    SANDBOX,
    WEBHOOKS,
    Asking,
    Running,
    limited,
    not_found,
    nothing,
    unauthorized,
)

BATCH = 100  # ids; the most that a query takes
_chance = random.Random("loadtests")  # noqa: S311 -- not a secret
_weights: list[float] = []


def popular(count: int) -> list[str]:
    """Return distinct products as customers look at them: the nth 1/n as often (Zipf)."""
    products = Running.plan.products
    if not _weights:
        _weights.extend(itertools.accumulate(1 / rank for rank in range(1, len(products) + 1)))
    return list(dict.fromkeys(_chance.choices(products, cum_weights=_weights, k=count)))


class ProductPage(Asking):
    """A shop shows a page with one to five products."""

    scenario = "product-page"

    @task
    def look(self) -> None:
        """Ask for them."""
        self.query(popular(_chance.randint(1, 5)), Running.plan.target.api_key)


class HourlySync(Asking):
    """A job reads the whole listing, in batches one after the other."""

    scenario = "hourly-sync"

    def on_start(self) -> None:
        """Begin somewhere: not all jobs begin with the same products."""
        products = Running.plan.products
        batches = [products[at : at + BATCH] for at in range(0, len(products), BATCH)]
        start = _chance.randrange(len(batches))
        self._batches = itertools.cycle(batches[start:] + batches[:start])

    @task
    def sync(self) -> None:
        """Ask for the next batch."""
        self.query(next(self._batches), Running.plan.target.api_key)


class DeltaSync(Asking):
    """A job asks what has changed since the last time."""

    scenario = "delta-sync"

    def on_start(self) -> None:
        """Have no cursor yet."""
        self._cursor = ""

    @task
    def sync(self) -> None:
        """Read one page."""

        def check(body: bytes) -> None:
            self._cursor = answers.changes(body).next_cursor

        asked = f"?cursor={quote(self._cursor)}" if self._cursor else ""
        headers = self.live(Running.plan.target.api_key)
        self.ask("GET", f"{INVENTORY}/changes{asked}", {200: check}, headers=headers)


class InternalRead(Asking):
    """Our own shop asks for one product, past the gateway."""

    scenario = "internal-read"

    @task
    def read(self) -> None:
        """Ask for it."""
        (product,) = popular(1)
        sent = time.time()

        def check(body: bytes) -> None:
            self.seen(LIVE, sent, answers.one_item(body, product))

        checks = {200: check} if Running.plan.all_known else {200: check, 404: not_found}
        url = f"{Running.plan.target.internal_url}/api/v1/products/{quote(product)}/stock"
        self.ask("GET", url, checks, headers={})


class SandboxRead(Asking):
    """A partner tests with products that change all the time."""

    scenario = "sandbox-read"

    @task
    def read(self) -> None:
        """Ask for some of them."""
        ids = _chance.sample(Running.plan.changing[SANDBOX], 5)
        self.query(ids, Running.plan.target.sandbox_api_key, SANDBOX)


class OverLimit(Asking):
    """A partner asks more than its tier allows: 429 is right then, and must say until when."""

    scenario = "over-limit"

    def __init__(self, environment: Any) -> None:  # noqa: ANN401 -- locust's, untyped
        """Ask 6 times a second: tier basic is over after 10 seconds of a minute."""
        super().__init__(environment)
        type(self).wait_time = constant(0.15)

    @task
    def ask_too_often(self) -> None:
        """Ask."""
        products = Running.plan.products[:1]
        url = f"{INVENTORY}?product_ids={products[0]}"
        known = Running.plan.all_known

        def check(body: bytes) -> None:
            answers.stock(body, products, all_known=known)

        headers = self.live(Running.plan.target.over_limit_key)
        checks = {200: check, 429: limited}
        self.ask("GET", url, checks, headers=headers, note=_limit_told)


def _limit_told(answer: Any) -> str:  # noqa: ANN401 -- locust's, untyped
    """Return the limit. Raises WrongAnswerError when a refusal does not say until when."""
    wait = answer.headers.get("Retry-After", "")
    if answer.status_code == 429 and not (wait.isdecimal() and 1 <= int(wait) <= 60):
        msg = f"429 with Retry-After {wait!r}"
        raise WrongAnswerError(msg)
    return answer.headers.get("RateLimit-Limit", "")


class WrongKey(Asking):
    """Somebody tries keys: 401, and 429 after too many from one address."""

    scenario = "wrong-key"

    @task
    def guess(self) -> None:
        """Try one."""
        url = f"{INVENTORY}?product_ids={Running.plan.products[0]}"
        checks = {401: unauthorized, 429: limited}
        self.ask("GET", url, checks, headers=self.live(f"pk_live_{uuid.uuid4().hex}"))


class Subscriptions(Asking):
    """Two partners register webhooks, look at them and delete them; neither sees the other's."""

    scenario = "subscriptions"
    owners: dict[str, str] = {}  # noqa: RUF012 -- id -> key, of all users together

    def on_start(self) -> None:
        """Know what was there before."""
        for key, ids in Running.plan.webhooks_before.items():
            self.owners.update(dict.fromkeys(ids, key))

    @task
    def come_and_go(self) -> None:
        """Register one with one key; ask with both."""
        target = Running.plan.target
        keys = [key for key in (target.sandbox_api_key, target.second_sandbox_api_key) if key]
        mine = _chance.choice(keys)
        made = self._register(mine)
        if made is None:
            return
        self._list(mine)
        own = f"{target.sandbox_url}{WEBHOOKS}/{made}"
        self.ask("GET", own, {200: answers.webhook}, headers=self.sandbox(mine))
        for other in keys:
            if other != mine:
                self._list(other)
                self.ask("GET", own, {404: not_found}, headers=self.sandbox(other))
        self.ask("DELETE", own, {204: nothing}, headers=self.sandbox(mine))

    def _register(self, key: str) -> str | None:
        plan = Running.plan
        url = f"{plan.hook_url}?{uuid.uuid4().hex}"
        # Stock that the kit sets is never 0, so nothing is sent to it.
        body = msgspec.json.encode({"url": url, "events": ["inventory.out_of_stock"]})
        status, answer = self.ask(
            "POST",
            plan.target.sandbox_url + WEBHOOKS,
            {201: answers.webhook},
            headers=self.sandbox(key),
            body=body,
        )
        if status != 201:
            return None
        made = answers.webhook(answer).id
        self.owners[made] = key
        return made

    def _list(self, key: str) -> None:
        def check(body: bytes) -> None:
            for each in answers.webhooks(body):
                # One that is just being registered is not known yet, but its url is ours.
                ours = each.url.startswith(Running.plan.hook_url)
                if self.owners.get(each.id, key if ours else "") != key:
                    msg = f"another partner's webhook {each.id} is listed"
                    raise WrongAnswerError(msg)

        url = Running.plan.target.sandbox_url + WEBHOOKS
        self.ask("GET", url, {200: check}, headers=self.sandbox(key))


class PeakArrivals(Asking):
    """One premium partner on a schedule: each request is sent when it is due, come what may."""

    scenario = "peak-arrivals"
    concurrency = 500  # connections; so many may be under way

    @task
    def arrive(self) -> None:
        """Send requests at times of a Poisson process until the run ends."""
        rate = Running.plan.profile.arrivals_per_minute / 60
        key = Running.plan.target.premium_key
        due = time.time()
        while True:
            due += _chance.expovariate(rate)
            gevent.sleep(max(0.0, due - time.time()))
            gevent.spawn(self.query, popular(_chance.randint(1, 5)), key, LIVE, due)


SCENARIOS: dict[str, type[Asking]] = {
    each.scenario: each
    for each in (
        ProductPage,
        HourlySync,
        DeltaSync,
        InternalRead,
        SandboxRead,
        OverLimit,
        WrongKey,
        Subscriptions,
        PeakArrivals,
    )
}
