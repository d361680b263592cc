"""A scheduler on a database of the test's own; each test makes the passes itself."""

from collections.abc import Callable, Generator
from contextlib import closing

import pytest

from services.kernel.environments import Environment
from services.webhooks.delivery.schedule import RetrySchedule
from services.webhooks.scheduler.scheduler import Scheduler
from services.webhooks.sessions import Session, connect
from tests.conftest import Database
from tests.recorded_wakeups import RecordedWakeups
from tests.webhook_rows import WebhookRows, connect_owner

MakeScheduler = Callable[[], Scheduler]
SCHEDULE = RetrySchedule.of("5,30,120,600")
CHANCE = 0.5  # no jitter


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def rows(database: Database) -> Generator[WebhookRows]:
    with closing(connect_owner(database.owner_url)) as owner:
        yield WebhookRows(owner)


@pytest.fixture
def wakeups() -> RecordedWakeups:
    return RecordedWakeups()


@pytest.fixture
def session(database: Database) -> Generator[Session]:
    """A connection as the scheduler's own role has it."""
    with closing(connect(database.url("sandbox_webhooks"), "test")) as session:
        yield session


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_scheduler(database: Database, wakeups: RecordedWakeups, clock: Clock) -> MakeScheduler:
    def make() -> Scheduler:
        return Scheduler(
            database.url("sandbox_webhooks"),
            Environment.SANDBOX,
            wakeups,
            poll_seconds=0.05,
            schedule=SCHEDULE,
            chance=lambda: CHANCE,
            clock=clock,
        )

    return make


@pytest.fixture
def scheduler(make_scheduler: MakeScheduler) -> Scheduler:
    return make_scheduler()
