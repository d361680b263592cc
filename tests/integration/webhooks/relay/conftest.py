"""A relay on a database of the test's own, in which nothing waits yet."""

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import pytest

from services.core.environments import Environment
from services.webhooks.relay.relay import Relay
from services.webhooks.sessions import Session, connect
from tests.conftest import Database
from tests.recorded_wakeups import RecordedWakeups
from tests.webhook_rows import WebhookRows, connect_owner

MakeRelay = Callable[..., Relay]


@pytest.fixture
def rows(database: Database) -> Generator[WebhookRows]:
    with closing(connect_owner(database.owner_url)) as owner:
        rows = WebhookRows(owner)
        rows.forget_the_seed()
        yield rows


@pytest.fixture
def wakeups() -> RecordedWakeups:
    return RecordedWakeups()


@pytest.fixture
def session(database: Database) -> Generator[Session]:
    """A connection as the relay's own role has it."""
    with closing(connect(database.url("sandbox_webhooks"), "test", Environment.SANDBOX)) as session:
        yield session


@pytest.fixture
def make_relay(database: Database, wakeups: RecordedWakeups) -> MakeRelay:
    def make(poll_seconds: float = 0.2, batch: int = 250, **more: Any) -> Relay:  # noqa: ANN401
        return Relay(
            database.url("sandbox_webhooks"),
            Environment.SANDBOX,
            wakeups,
            poll_seconds=poll_seconds,
            batch=batch,
            **more,
        )

    return make


@pytest.fixture
def relay(make_relay: MakeRelay) -> Relay:
    return make_relay()
