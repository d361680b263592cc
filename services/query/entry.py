"""Entry: the composition root; `python -m services.query partner|internal`."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

from litestar import Litestar
from litestar.types import ASGIApp

from services.core.availability import Availability
from services.core.database import DatabaseCheck, Pool, make_pool
from services.core.database_calls import Calls
from services.core.http.assembly import Lifespan
from services.core.http.health import Dependency
from services.core.http.serving import PortTakenError, listen, serve
from services.core.logs import configure_logs
from services.core.settings import SettingsError, load_settings
from services.domain.key_uses import EVERY, KeyUses, KeyUseStore
from services.query.app import make_internal_app, make_partner_app
from services.query.cache import Cache
from services.query.changes import ChangeFeed
from services.query.delta import Delta
from services.query.inventory import Inventory
from services.query.memory import Bounds, Memory
from services.query.metrics import QueryMetrics
from services.query.settings import PartnerSettings, QuerySettings
from services.query.store import Store

PROGRAMS = {"partner": PartnerSettings, "internal": QuerySettings}
STATEMENT_TIMEOUT_MS = 1_500  # as Store gives up after 1.5 s
POOL_CLOSES_WITHIN = 1.0  # seconds
# Of an environment's role: with the address of another environment the service is not ready.
CAN_READ_STOCK = "SELECT FROM products LIMIT 0"
DELTA_SHARE = 4  # the delta sync takes one of so many connections; the others are for stock


@dataclass(frozen=True)
class Parts:
    """What one query process is made of."""

    pool: Pool
    store: Store
    database_check: DatabaseCheck
    cache: Cache
    feed: ChangeFeed
    inventory: Inventory
    delta: Delta  # asked by partners only, as key_uses
    key_uses: KeyUses  # nothing notes one in the internal program
    metrics: QueryMetrics

    @property
    def dependencies(self) -> Mapping[str, Dependency]:
        """What /health/ready looks at; without the cache, PostgreSQL answers alone."""
        return {
            "postgresql": Dependency(self.database_check.check, essential=True),
            "valkey": Dependency(self.cache.ping, essential=False),
        }


def main() -> None:
    """Run the program that the command line names until SIGTERM."""
    program = sys.argv[1] if len(sys.argv) == 2 else ""
    if program not in PROGRAMS:
        _fail("usage: python -m services.query partner|internal", code=2)
    try:
        settings = load_settings(PROGRAMS[program], os.environ)
    except SettingsError as exc:
        _fail(str(exc), code=2)
    configure_logs(
        settings.log_format, service=f"query {program}", environment=settings.environment
    )
    try:
        listener = listen(settings.host, settings.port)
    except PortTakenError as exc:
        _fail(f"query {program}: {exc}", code=1)
    if not serve(make_app(settings, build(settings)), listener):
        sys.exit(1)


def build(settings: QuerySettings, *, key_uses_every: float = EVERY) -> Parts:
    """Make the parts; nothing connects before the app starts. `key_uses_every` is in seconds."""
    environment, max_age = settings.environment, timedelta(seconds=settings.cache_max_age_seconds)
    pool = make_pool(
        settings.database_url,
        name="query",
        environment=environment,
        size=settings.database_pool_size,
        statement_timeout_ms=STATEMENT_TIMEOUT_MS,
    )
    database = _availability("database")
    calls = Calls(pool, availability=database)
    database_check = DatabaseCheck(
        settings.database_url,
        name="query",
        environment=environment,
        availability=database,
        statement=CAN_READ_STOCK,
    )
    store = Store(calls)
    cache = Cache(
        settings.cache_url,
        environment,
        max_age=max_age,
        clock=time.time,
        availability=_availability("cache"),
    )
    memory = Memory(
        Bounds(settings.memory_entries, settings.memory_bytes), max_age=max_age, clock=time.time
    )
    feed = ChangeFeed(
        settings.database_url,
        environment,
        cache,
        memory,
        poll=timedelta(seconds=settings.stock_poll_seconds),
        max_age=max_age,
        clock=time.time,
        availability=_availability("changes"),
    )
    key_uses = KeyUses(
        KeyUseStore(calls).write,
        every=key_uses_every,
        clock=time.time,
        availability=_availability("key_uses"),
    )
    inventory = Inventory(store, cache, memory, clock=time.time)
    at_once = max(1, settings.database_pool_size // DELTA_SHARE)
    delta = Delta(calls, at_once=at_once)
    metrics = QueryMetrics(inventory, memory, cache, store, feed)
    return Parts(pool, store, database_check, cache, feed, inventory, delta, key_uses, metrics)


def make_app(settings: QuerySettings, parts: Parts) -> ASGIApp:
    """Return the partners' app or, for settings without a backend token, the internal one."""
    if isinstance(settings, PartnerSettings):
        return make_partner_app(
            parts.inventory,
            parts.delta,
            environment=settings.environment,
            backend_token=settings.backend_token,
            note_key=parts.key_uses.note,
            dependencies=parts.dependencies,
            lifespan=running(parts),
            clock=time.time,
            collectors=[parts.metrics],
        )
    return make_internal_app(
        parts.inventory,
        dependencies=parts.dependencies,
        lifespan=running(parts),
        collectors=[parts.metrics],
    )


def running(parts: Parts) -> Lifespan:
    """Return what runs beside the app: pool, feed, key uses; ended in order at shutdown."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncGenerator[None]:
        await parts.pool.open(wait=False)
        feed = asyncio.create_task(parts.feed.run())
        try:
            async with parts.key_uses.kept():
                yield
        finally:
            feed.cancel()
            await asyncio.wait({feed}, timeout=POOL_CLOSES_WITHIN)
            await parts.inventory.close()
            await parts.cache.close()
            await parts.database_check.close()
            await parts.pool.close(timeout=POOL_CLOSES_WITHIN)

    return lifespan


def _availability(name: str) -> Availability:
    return Availability(name, clock=time.monotonic)


def _fail(message: str, *, code: int) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    sys.exit(code)
