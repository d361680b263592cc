"""A scheduler on a database of the test's own; each test makes the passes itself."""

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import pytest

from services.core.environments import Environment
from services.webhooks.scheduler.scheduler import Scheduler
from services.webhooks.sessions import Session, connect
from tests.clock import Clock
from tests.conftest import Database
from tests.recorded_wakeups import RecordedWakeups
from tests.webhook_rows import WebhookRows, connect_owner
from tools.waiting import wait_for

MakeScheduler = Callable[..., Scheduler]


def advance_until(clock: Clock, condition: Callable[[], bool], what: str) -> None:
    """Move the clock on and on, until a scheduler that runs has done something."""

    def look() -> bool:
        clock.now += 0.5
        return condition()

    wait_for(look, what)


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
    def make(**more: Any) -> Scheduler:  # noqa: ANN401 -- what a Scheduler takes
        return Scheduler(
            database.url("sandbox_webhooks"),
            Environment.SANDBOX,
            wakeups,
            poll_seconds=0.05,
            clock=clock,
            **more,
        )

    return make


@pytest.fixture
def scheduler(make_scheduler: MakeScheduler) -> Scheduler:
    return make_scheduler()
