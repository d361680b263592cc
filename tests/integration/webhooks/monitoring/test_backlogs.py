"""What is counted of the tables, by the role that the programs have."""

from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.registry import Collector

from services.core.environments import Environment
from services.domain.webhooks.states import DeliveryState
from services.webhooks.monitoring import store as statements
from services.webhooks.monitoring.backlogs import EVERY, DeliveryBacklog, OutboxBacklog, Pace
from services.webhooks.monitoring.store import MonitoringStore
from services.webhooks.sessions import Session, connect
from tests.clock import Clock
from tests.conftest import Database
from tests.webhook_rows import WebhookRows, connect_owner


@pytest.fixture
def rows(database: Database) -> Generator[WebhookRows]:
    with closing(connect_owner(database.owner_url)) as owner:
        found = WebhookRows(owner)
        found.forget_the_seed()
        yield found


@pytest.fixture
def session(database: Database) -> Generator[Session]:
    with closing(connect(database.url("sandbox_webhooks"), "test")) as session:
        yield session


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(clock: Clock) -> dict[str, Any]:
    return {"pace": Pace(clock), "now": lambda: datetime.now(UTC)}


def values(collector: Collector) -> dict[str, float]:
    """Return the samples by their name or, where there is one, the value of their label."""
    samples = [sample for metric in collector.collect() for sample in metric.samples]
    return {"".join(each.labels.values()) or each.name: each.value for each in samples}


def test_the_outbox_is_what_was_not_relayed_and_how_long_it_waits(
    rows: WebhookRows, session: Session, kept: dict[str, Any], clock: Clock
) -> None:
    backlog = OutboxBacklog(MonitoringStore(Environment.SANDBOX), **kept)
    assert values(backlog) == {}
    backlog.look(session)
    assert values(backlog) == {"webhook_outbox_changes": 0, "webhook_outbox_oldest_seconds": 0}
    for number in range(3):
        rows.set_stock(f"P-{number}", 1)
    rows.run("UPDATE {env}.stock_changes SET changed_at = changed_at - interval '1 minute'")
    backlog.look(session)
    assert values(backlog)["webhook_outbox_changes"] == 0  # not yet: it looked just now
    clock.now += EVERY
    backlog.look(session)
    found = values(backlog)
    assert found["webhook_outbox_changes"] == 3
    assert 60 <= found["webhook_outbox_oldest_seconds"] < 80


def test_deliveries_are_counted_by_what_they_wait_for(
    rows: WebhookRows, session: Session, kept: dict[str, Any]
) -> None:
    one, two = (rows.endpoint(rows.partner(name)) for name in ("techmart", "gadgetworld"))
    for endpoint in (one, two):
        rows.delivery(endpoint, due_in="-30 s")
        rows.delivery(endpoint, due_in="-5 s", state=DeliveryState.RETRYING, attempts=1)
        rows.delivery(endpoint, due_in="5 minutes", state=DeliveryState.RETRYING, attempts=1)
        rows.delivery(endpoint, state=DeliveryState.DELIVERED, attempts=1)
    rows.delivery(one, state=DeliveryState.EXHAUSTED, attempts=5)
    backlog = DeliveryBacklog(MonitoringStore(Environment.SANDBOX), **kept)
    backlog.look(session)
    found = values(backlog)
    assert (found["due"], found["waiting"], found["exhausted"]) == (4, 2, 1)
    assert 30 <= found["webhook_oldest_due_seconds"] < 50


def test_a_count_ends_where_it_is_a_backlog_anyway(
    rows: WebhookRows, session: Session, kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "MOST", 3)
    endpoints = [rows.endpoint(rows.partner(name)) for name in ("techmart", "gadgetworld")]
    for number in range(5):
        rows.set_stock(f"P-{number}", 1)
        for endpoint in endpoints:
            rows.delivery(endpoint)
    outbox = OutboxBacklog(MonitoringStore(Environment.SANDBOX), **kept)
    outbox.look(session)
    assert values(outbox)["webhook_outbox_changes"] == 3
    assert MonitoringStore(Environment.SANDBOX).deliveries(session).due.rows == 3
