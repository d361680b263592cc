"""What partners see through the gateway while a server is away, with load on (Q6, Q7, Q9).

50 requests/s by default. OUTAGE_USERS=100 is ten times as many; `make bench-outages` measures that.
Each case prints what was seen: pytest -s. Bounds are five times what docs/operations.md promises,
because other tests share the machine.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import valkey

from services.core import headers
from services.core.environments import Environment
from services.query.store import READS
from tools.outages import IDS, SLOW, TITLES, Load, Seen, Site, running_site, statuses
from tools.query_process import BACKEND_TOKEN, CREDENTIAL_ID, running_query, settings_for
from tools.waiting import wait_for

pytestmark = pytest.mark.long

USERS = int(os.environ.get("OUTAGE_USERS", "10"))
THINK = 0.2  # seconds
BATCHES = (3, 3, 3, 3, 3, 3, 3, 3, 3, 100)
NORMAL_WITHIN = 5 * 5.0  # seconds
LASTS = 1.0  # seconds


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


def users(site: Site, ids: list[str], batches: tuple[int, ...] = BATCHES) -> Load:
    return Load(site.url, ids, users=USERS, think=THINK, batches=batches)


def tell(what: str, seen: Seen) -> None:
    print(f"\n{'':<36}{TITLES}\n{what:<36}{seen}")


class Fault:
    """Something that is done to Valkey, on a connection that was there before."""

    def __init__(self, *cause: str, mend: tuple[str, ...], drops: bool = False) -> None:
        """`drops`: every other connection is broken off as well."""
        self.cause, self.mend, self.drops = cause, mend, drops

    def act(self, connection: valkey.Valkey, commands: tuple[str, ...]) -> None:
        for command in commands:
            connection.execute_command(*command.split(" "))
        if self.drops and commands is self.cause:
            connection.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


FAULTS = {
    "asks for a password": Fault(
        "CONFIG SET requirepass some-word",
        mend=("CONFIG SET requirepass ",),
        drops=True,
    ),
    "takes no connection": Fault(
        "CONFIG SET maxclients 1", mend=("CONFIG SET maxclients 1000",), drops=True
    ),
    "is full (-OOM)": Fault("CONFIG SET maxmemory 1", "FLUSHALL", mend=("CONFIG SET maxmemory 0",)),
    "is a replica (-MASTERDOWN)": Fault(
        "CONFIG SET replica-serve-stale-data no",
        "REPLICAOF 127.0.0.1 1",
        mend=("REPLICAOF NO ONE",),
    ),
}


@pytest.mark.parametrize("what", ["killed", "hung"])
def test_a_valkey_that_is_away_fails_no_query_and_is_used_again(site: Site, what: str) -> None:
    site.use(memory=False)
    fault, mend = {
        "killed": (site.kill_cache, site.start_cache),
        "hung": (site.hang_cache, site.continue_cache),
    }[what]
    with users(site, site.fresh_ids()) as load:
        seen = site.outage(load, fault, mend, lasts=LASTS, back="cache.back")
    tell(f"Valkey {what}", seen)
    assert seen.failed == 0, statuses(load.samples)
    assert seen.normal_after < NORMAL_WITHIN
    with site.cache.connect() as connection:
        assert connection.dbsize() > 0


@pytest.mark.parametrize("what", FAULTS)
def test_a_valkey_that_refuses_or_answers_errors_fails_no_query(site: Site, what: str) -> None:
    site.use(memory=False)
    fault = FAULTS[what]
    with site.cache.connect() as connection, users(site, site.fresh_ids()) as load:
        connection.ping()
        seen = site.outage(
            load,
            lambda: fault.act(connection, fault.cause),
            lambda: fault.act(connection, fault.mend),
            lasts=LASTS,
            back="cache.back",
        )
    tell(f"Valkey {what}", seen)
    assert seen.failed == 0, statuses(load.samples)
    assert seen.normal_after < NORMAL_WITHIN


def test_a_valkey_that_is_emptied_is_not_noticed(site: Site) -> None:
    site.use(memory=False)
    ids = site.fresh_ids()
    with site.cache.connect() as connection, users(site, ids) as load:
        seen = site.outage(load, connection.flushall, lambda: None, lasts=LASTS)
        keys = [f"live:item:{each}" for each in ids]
        wait_for(lambda: connection.exists(*keys) > len(keys) / 2, "a cache that fills again")
    tell("Valkey emptied", seen)
    assert seen.failed == 0, statuses(load.samples)


def test_without_valkey_and_with_memory_partners_notice_nothing(site: Site) -> None:
    site.use(memory=True)
    with users(site, site.fresh_ids()) as load:
        seen = site.outage(load, site.hang_cache, site.continue_cache, lasts=LASTS)
    tell("Valkey hung, memory on", seen)
    assert seen.failed == 0, statuses(load.samples)


def hang(site: Site) -> tuple[Callable[[], None], Callable[[], None]]:
    return (
        lambda: site.signal_postgres(signal.SIGSTOP),
        lambda: site.signal_postgres(signal.SIGCONT),
    )


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("what", ["restarted", "hung", "dropping connections"])
def test_an_outage_of_postgresql_is_not_noticed_by_readers_of_cached_items(
    site: Site, what: str, *, memory: bool
) -> None:
    site.use(memory=memory)
    fault, mend = {
        "restarted": (site.stop_postgres, site.start_postgres),
        "hung": hang(site),
        "dropping connections": (site.drop_connections, site.drop_connections),
    }[what]
    with users(site, site.fresh_ids()) as load:
        seen = site.outage(load, fault, mend, lasts=LASTS)
    tell(f"PostgreSQL {what}, cached, memory {memory}", seen)
    assert seen.failed == 0, statuses(load.samples)


def never_cached(site: Site) -> Load:
    """Return users who ask for what no cache has: ids that never were, hardly any of them twice."""
    ids = [f"NEW-{time.monotonic_ns()}-{number}" for number in range(20_000)]
    return users(site, ids, (3,))


def test_postgresql_that_drops_connections_fails_no_query_that_needs_it(site: Site) -> None:
    site.use(memory=False)
    with never_cached(site) as load:
        seen = site.outage(load, site.drop_connections, site.drop_connections, lasts=LASTS)
    tell("PostgreSQL drops connections, uncached", seen)
    assert seen.failed == 0, statuses(load.samples)


@pytest.mark.parametrize("what", ["restarted", "hung"])
def test_queries_that_need_a_postgresql_that_is_away_get_503_and_others_their_answer(
    site: Site, what: str
) -> None:
    site.use(memory=False)
    fault, mend = {"restarted": (site.stop_postgres, site.start_postgres), "hung": hang(site)}[what]
    with users(site, site.fresh_ids()) as cached, never_cached(site) as uncached:
        began = time.monotonic()
        # Longer than the 1.5 s that a read may take: some can't be answered.
        seen = site.outage(uncached, fault, mend, lasts=2.5, back="database.back")
    tell(f"PostgreSQL {what}, uncached", seen)
    assert set(statuses(uncached.samples)) == {200, 503}
    assert max(sample.took for sample in uncached.samples) < 2.5  # seconds; 1.5 and a busy machine
    assert seen.normal_after < NORMAL_WITHIN
    assert set(statuses(cached.since(began))) == {200}


def as_gateway() -> dict[str, str]:
    return {
        headers.BACKEND_TOKEN: BACKEND_TOKEN,
        headers.CONSUMER_CUSTOM_ID: Environment.LIVE.custom_id("techmart"),
        headers.CREDENTIAL_IDENTIFIER: CREDENTIAL_ID,
    }


def test_more_waiting_queries_than_can_be_served_are_refused_at_once(site: Site) -> None:
    site.use(memory=False)
    (cached,) = site.fresh_ids(1)
    url = f"{site.query.base_url}/partner/v1/inventory"

    async def ask(session: aiohttp.ClientSession, product_id: str) -> tuple[int, float, Any]:
        began = time.monotonic()
        async with session.get(url, params={"product_ids": product_id}) as answer:
            body = await answer.json()
            return answer.status, time.monotonic() - began, (answer.headers, body)

    async def crowd() -> tuple[list[tuple[int, float, Any]], list[tuple[int, float, Any]]]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(headers=as_gateway(), connector=connector) as session:
            waiting = [
                asyncio.create_task(ask(session, f"CROWD-{number}")) for number in range(READS + 50)
            ]
            await asyncio.sleep(0.5)
            answered = [await ask(session, cached) for _ in range(10)]
            return await asyncio.gather(*waiting), answered

    site.signal_postgres(signal.SIGSTOP)
    try:
        crowded, answered = asyncio.run(crowd())
    finally:
        site.signal_postgres(signal.SIGCONT)
    assert {status for status, _, _ in crowded} == {503}
    quick = [each for each in crowded if each[1] < 1.2]  # seconds; the others waited for 1.5
    assert len(quick) >= 50
    for _, _, (told, body) in quick:
        assert told["Retry-After"] == "1"
        assert body["code"] == "SERVICE_UNAVAILABLE"
    assert {status for status, _, _ in answered} == {200}
    assert min(took for _, took, _ in answered) < SLOW
    wait_for(lambda: len(site.query.events("database.busy")) == 1, "one line in the log")
    with httpx.Client(headers=as_gateway()) as client:
        wait_for(lambda: client.get(url, params={"product_ids": "LATER"}).is_success, "an end")


@pytest.mark.parametrize("memory", [50_000, 0])
def test_nothing_is_served_beyond_its_age_however_long_postgresql_is_away(
    site: Site, memory: int, tmp_path: Path
) -> None:
    max_age = 3.0  # seconds; 25 in production
    url = site.postgres.url(role="live_query", password="a-password-of-the-tests")
    settings = settings_for(
        url, site.cache.url, CACHE_MAX_AGE_SECONDS=max_age, MEMORY_ENTRIES=memory
    )
    body = {"product_ids": [IDS[-1 - bool(memory)]]}  # of this test and case
    with running_query(tmp_path, settings) as query, query.client() as client:
        site.signal_postgres(signal.SIGCONT)
        began = time.time()
        assert client.post("/partner/v1/inventory", json=body).status_code == 200
        read_by = time.time()
        wait_for(lambda: _is_cached(site, body["product_ids"][0]), "its entry in Valkey")
        site.signal_postgres(signal.SIGSTOP)
        try:
            while time.time() < read_by + max_age + 2:
                asked = time.time()
                status = client.post("/partner/v1/inventory", json=body).status_code
                if time.time() < began + max_age:
                    assert status == 200
                if status == 503:
                    break
                assert asked <= read_by + max_age
            assert status == 503
        finally:
            site.signal_postgres(signal.SIGCONT)


def _is_cached(site: Site, product_id: str) -> bool:
    with site.cache.connect() as connection:
        return bool(connection.exists(f"live:item:{product_id}"))
