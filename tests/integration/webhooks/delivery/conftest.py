"""A store of each lane on a database of the test's own, and rows to begin with."""

from collections.abc import Callable, Generator
from contextlib import closing
from datetime import timedelta

import pytest

from services.core.database import ThreadPool, make_thread_pool
from services.core.environments import Environment
from services.webhooks.delivery.claims import Claims
from services.webhooks.delivery.records import Records
from services.webhooks.delivery.schedule import RetrySchedule
from services.webhooks.delivery.store import Store
from services.webhooks.queue import Lane
from tests.conftest import Database
from tests.webhook_rows import WebhookRows, connect_owner

SANDBOX = Environment.SANDBOX
DELAYS = (5.0, 30.0, 120.0, 600.0)  # seconds; `chance` 0.5 puts each in the middle of its jitter
StoreOf = Callable[[Lane], Store]


@pytest.fixture
def rows(database: Database) -> Generator[WebhookRows]:
    with closing(connect_owner(database.owner_url)) as owner:
        yield WebhookRows(owner)


@pytest.fixture
def pool(database: Database) -> Generator[ThreadPool]:
    pool = make_thread_pool(
        database.url("sandbox_webhooks"),
        name="test",
        environment=SANDBOX,
        size=8,
        statement_timeout_ms=5_000,
    )
    pool.open()
    yield pool
    pool.close()


@pytest.fixture
def store_of(pool: ThreadPool) -> StoreOf:
    def make(lane: Lane) -> Store:
        records = Records(schedule=RetrySchedule(DELAYS), disable_after=timedelta(days=3))
        return Store(pool, Claims(lane), records, chance=lambda: 0.5)

    return make


@pytest.fixture
def store(store_of: StoreOf) -> Store:
    return store_of(Lane.FAST)
