"""Outages: a whole site on this machine, users who query it, and faults; what the users saw.

Valkey and PostgreSQL can be treated badly. The gateway's counters have a Valkey of their own, as in
production: what is looked at here is the cache.
"""

import asyncio
import contextlib
import json
import math
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiohttp
import httpx
import psycopg

from services.core import headers
from services.core.environments import Environment
from services.local.children import free_port, stop
from services.local.plan import POLICY
from services.local.postgres import RunningPostgres, start_postgres
from services.local.stack import QUERY
from services.local.valkey import RunningValkey, running_valkey, start_valkey
from services.policy.render import Addresses, Consumer, CounterStore, Key, render
from services.schema.migrate import migrate, set_role_password
from services.schema.seed import products, seed
from tools.gateway_node import Node, embedded_node
from tools.percentile import percentile
from tools.processes import signal_family
from tools.query_process import BACKEND_TOKEN, QueryProcess, running_query, settings_for
from tools.waiting import wait_for

PASSWORD = "a-password-of-the-tests"
KEY = "pk_live_outages"
IDS = [product_id for product_id, _ in products(Environment.LIVE)]
SLOW = 0.2  # seconds (Q6)
ANSWER_WITHIN = 10.0  # seconds; the gateway gives up long before


class Sample(NamedTuple):
    """One request: when it ended, how long it took (seconds), and how it ended."""

    ended: float
    took: float
    status: int | str


class Seen(NamedTuple):
    """What users saw of one outage; times in seconds."""

    requests: int
    failed: int
    p95: float
    worst_second: float  # the highest P95 of any second
    normal_after: float  # its return; the last that failed or took over 0.2 s, and the log's word

    def __str__(self) -> str:
        """Return a row of a table."""
        return (
            f"{self.requests:>7} {self.failed:>7} {self.p95 * 1000:>8.1f}"
            f" {self.worst_second * 1000:>13.1f} {self.normal_after:>8.1f}"
        )


TITLES = "requests  failed   P95 ms  worst second  normal s"


def p95(samples: Sequence[Sample]) -> float:
    """Return the time, in seconds, that 95% of the requests stayed within."""
    found = percentile([sample.took for sample in samples], 0.95)
    return math.inf if found is None else found


class Load:
    """Users, each of whom asks, waits a moment, and asks again; for the length of a with block."""

    def __init__(
        self, url: str, ids: Sequence[str], *, users: int, think: float, batches: Sequence[int]
    ) -> None:
        """`think`: seconds from an answer to the next request, half of it to one and a half."""
        self.samples: list[Sample] = []
        self._url = url
        self._users = users
        self._think = think
        chance = random.Random(7)
        self._bodies = [
            json.dumps({"product_ids": chance.sample(ids, chance.choice(batches))}).encode()
            for _ in range(500)
        ]
        self._chance = chance
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the users do not end"

    def since(self, began: float) -> list[Sample]:
        """Return the requests that ended after a time."""
        return [sample for sample in self.samples if sample.ended >= began]

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN)
        connector = aiohttp.TCPConnector(limit=self._users)
        sent = {headers.API_KEY: KEY, "Content-Type": "application/json"}
        async with aiohttp.ClientSession(
            headers=sent, connector=connector, timeout=timeout
        ) as session:
            await asyncio.gather(*(self._user(session) for _ in range(self._users)))

    async def _user(self, session: aiohttp.ClientSession) -> None:
        chance = self._chance
        await asyncio.sleep(chance.random() * self._think)
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                async with session.post(self._url, data=chance.choice(self._bodies)) as answer:
                    await answer.read()
                    status: int | str = answer.status
            except (aiohttp.ClientError, TimeoutError) as exc:
                status = type(exc).__name__
            ended = time.monotonic()
            self.samples.append(Sample(ended, ended - began, status))
            await asyncio.sleep(self._think * (0.5 + chance.random()))


@dataclass
class Site:
    """Gateway, query service, Valkey and PostgreSQL."""

    folder: Path
    postgres: RunningPostgres
    cache: RunningValkey
    node: Node
    counters: RunningValkey
    services: dict[bool, QueryProcess]  # by whether they keep items in memory
    memory: bool = True
    _used: int = field(default=0)

    @property
    def url(self) -> str:
        """Where partners ask."""
        return f"http://127.0.0.1:{self.node.port}{QUERY}"

    @property
    def query(self) -> QueryProcess:
        """The service behind the gateway just now."""
        return self.services[self.memory]

    def use(self, *, memory: bool) -> None:
        """Have the gateway ask the service with memory or the one without."""
        self.memory = memory
        partner = Consumer(
            uuid.uuid5(uuid.NAMESPACE_URL, "partner"),
            "qa",
            Environment.LIVE,
            "qa",
            (Key(uuid.uuid5(uuid.NAMESPACE_URL, "key"), KEY),),
        )
        upstreams = {"query": (self.query.base_url.removeprefix("http://"),)}
        addresses = Addresses(upstreams, CounterStore("127.0.0.1", self.counters.port, 0))
        self.node.publish(render(POLICY.read_text("utf-8"), [partner], addresses))

    def fresh_ids(self, count: int = 200) -> list[str]:
        """Return ids that no one asked for yet, read just now: caches have them for 25 s."""
        ids = IDS[self._used : self._used + count]
        self._used += count
        for start in range(0, count, 100):
            body = {"product_ids": ids[start : start + 100]}
            answer = httpx.post(self.url, json=body, headers={headers.API_KEY: KEY})
            assert answer.status_code == 200, answer.text
        if not self.memory:
            with self.cache.connect() as connection:
                keys = [f"live:item:{each}" for each in ids]
                wait_for(lambda: connection.exists(*keys) == count, "warm caches")
        return ids

    def kill_cache(self) -> None:
        """End Valkey with SIGKILL."""
        self.cache.process.kill()
        self.cache.process.wait()

    def start_cache(self) -> None:
        """Start it again, empty."""
        log = self.folder / "valkey-again.log"
        self.cache = start_valkey(self.folder / "valkey", self.cache.port, log)

    def hang_cache(self) -> None:
        """Stop it in the middle of what it does."""
        self.cache.process.send_signal(signal.SIGSTOP)

    def continue_cache(self) -> None:
        """Let it go on."""
        self.cache.process.send_signal(signal.SIGCONT)

    def stop_postgres(self) -> None:
        """End PostgreSQL; it breaks off every session."""
        stop(self.postgres.process, signal.SIGINT, within=10)

    def start_postgres(self) -> None:
        """Start it again."""
        log = self.folder / "postgres-again.log"
        port = self.postgres.port
        self.postgres = start_postgres(self.folder / "postgres", port, log, "fsync=off")

    def signal_postgres(self, how: signal.Signals) -> None:
        """Send a signal to PostgreSQL's whole family."""
        signal_family(self.postgres.process.pid, how)

    def drop_connections(self) -> None:
        """Have PostgreSQL break off every session of the query services."""
        with psycopg.connect(self.postgres.url(), autocommit=True) as owner:
            owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'live_query'"
            )

    def outage(
        self,
        load: Load,
        fault: Callable[[], None],
        mend: Callable[[], None],
        *,
        lasts: float,
        back: str | None = None,
        after: float = 1.0,
    ) -> Seen:
        """Cause a fault under load, mend it `lasts` seconds later, watch for `after` seconds.

        `back` is the event that the service logs when it uses again what was away.
        """
        before = len(self.query.events(back)) if back else 0
        began = time.monotonic()
        fault()
        time.sleep(lasts)
        mend()
        returned, returned_at = time.monotonic(), time.time()
        told = returned_at
        if back:
            wait_for(lambda: len(self.query.events(back)) > before, back)
            told = datetime.fromisoformat(self.query.events(back)[-1]["timestamp"]).timestamp()
        time.sleep(max(0.0, returned + after - time.monotonic()))
        return _seen(load.since(began), returned, told - returned_at)


def _seen(samples: Sequence[Sample], returned: float, told_after: float) -> Seen:
    bad = [each for each in samples if each.status != 200 or each.took > SLOW]
    last_bad = max((each.ended - returned for each in bad), default=0.0)
    by_second: dict[int, list[Sample]] = {}
    for each in samples:
        by_second.setdefault(int(each.ended), []).append(each)
    return Seen(
        requests=len(samples),
        failed=sum(each.status != 200 for each in samples),
        p95=p95(samples),
        # A second in which hardly anything ended says nothing about 95%.
        worst_second=max(p95(each) for each in by_second.values() if len(each) >= 20),
        normal_after=max(0.0, last_bad, told_after),
    )


def statuses(samples: Sequence[Sample]) -> dict[int | str, int]:
    """Return how many requests ended how."""
    found: dict[int | str, int] = {}
    for sample in samples:
        found[sample.status] = found.get(sample.status, 0) + 1
    return found


@contextlib.contextmanager
def running_site(folder: Path, **settings: Any) -> Generator[Site]:  # noqa: ANN401
    """Run a site for the length of a with block; the service that keeps memory is in use."""
    with contextlib.ExitStack() as stack:
        (folder / "postgres").mkdir(parents=True)
        postgres = start_postgres(
            folder / "postgres", free_port(), folder / "postgres.log", "fsync=off"
        )
        migrate(postgres.url())
        set_role_password(postgres.url(), "live_query", PASSWORD)
        seed(postgres.url(), Environment.LIVE)
        cache = start_valkey(folder / "valkey", free_port(), folder / "valkey.log")
        counters = stack.enter_context(running_valkey(folder / "counters"))
        url = postgres.url(role="live_query", password=PASSWORD)
        services = {
            memory: stack.enter_context(
                running_query(folder, settings_for(url, cache.url, **extra, **settings))
            )
            for memory, extra in ((True, {}), (False, {"MEMORY_ENTRIES": 0}))
        }
        node = stack.enter_context(
            embedded_node(folder / "gateway", environment={"BACKEND_TOKEN": BACKEND_TOKEN})
        )
        site = Site(folder, postgres, cache, node, counters, services)
        stack.callback(_end, site)
        site.use(memory=True)
        yield site


def _end(site: Site) -> None:
    """End the servers, whatever state a test left them in; before the programs that use them."""
    for process, how in (
        (site.cache.process, signal.SIGTERM),
        (site.postgres.process, signal.SIGINT),
    ):
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            stop(process, how, within=10)
