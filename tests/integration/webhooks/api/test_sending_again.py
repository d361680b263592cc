"""Pings, retries and replays schedule deliveries and wake the workers (W11)."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services.core.environments import Environment
from services.domain.events import EventType
from services.domain.redelivery import REPLAY_MOST
from services.domain.webhooks.states import DeliveryState
from services.local.valkey import RunningValkey
from services.webhooks.queue import Lane, Wakeups, make_broker
from tests.integration.webhooks.api.conftest import WEBHOOKS, PartnerClient
from tests.webhook_rows import WebhookRows
from tools.query_process import QueryProcess
from tools.waiting import wait_for

LONG_AGO = "2020-01-01T00:00:00Z"
FINISHED = [state for state in DeliveryState if state.finished]
UNDER_WAY = [state for state in DeliveryState if not state.finished]
MANY_EVENTS = """
INSERT INTO {env}.events (event_type, occurred_at, data)
SELECT 'inventory.updated', '2026-01-01T00:00:00Z'::timestamptz + number / %s * interval '1 s',
    '{{}}'
FROM generate_series(0, %s - 1) AS number
"""


@pytest.fixture
def wakeups(valkey: RunningValkey) -> Wakeups:
    """The queue of the sandbox, empty."""
    return Wakeups(make_broker(valkey.url, Environment.SANDBOX))


def replay(
    partner: PartnerClient, webhook_id: str, since: str = LONG_AGO, **more: object
) -> dict[str, Any]:
    answer = partner.http.post(
        f"{WEBHOOKS}/{webhook_id}/replay", json={"since": since, **more}, timeout=10
    )
    assert answer.status_code == 202, answer.text
    return answer.json()


def replay_all(partner: PartnerClient, webhook_id: str, **more: object) -> list[int]:
    """Replay until nothing is left; return how many each took."""
    found, since = list[int](), LONG_AGO
    while since:
        answer = replay(partner, webhook_id, since, **more)
        found.append(answer["scheduled"])
        assert answer["next_since"] != since
        since = answer["next_since"]
    return found


def row_of(rows: WebhookRows, webhook_id: str, event_id: UUID) -> tuple[Any, ...]:
    return rows.run(
        "SELECT state, series, attempts, faults, next_attempt_at <= now(), claimed_at, lease_until,"
        " finished_at FROM {env}.deliveries WHERE endpoint_id = %s AND event_id = %s",
        [webhook_id, event_id],
    )[0]


def started(series: int) -> tuple[Any, ...]:
    return ("pending", series, 0, 0, True, None, None, None)


def test_a_ping_is_an_event_of_its_own_that_is_due_at_once(
    partner: PartnerClient, rows: WebhookRows, wakeups: Wakeups
) -> None:
    webhook = partner.register(events=["inventory.low_stock"])
    answer = partner.http.post(f"{WEBHOOKS}/{webhook['id']}/ping")
    assert answer.status_code == 202
    event_id = answer.json()["event_id"]
    assert row_of(rows, webhook["id"], event_id) == started(1)
    event = rows.run(
        "SELECT event_type, product_id, version, data::json, occurred_at <= now()"
        " FROM {env}.events WHERE id = %s",
        [event_id],
    )
    assert event == [("webhook.ping", None, None, {"webhook_id": webhook["id"]}, True)]
    wait_for(lambda: wakeups.waiting(Lane.FAST) == 1, "a wake-up")


@pytest.mark.parametrize("state", FINISHED)
def test_a_finished_delivery_is_sent_again_in_a_new_series(
    partner: PartnerClient, rows: WebhookRows, wakeups: Wakeups, state: DeliveryState
) -> None:
    webhook = partner.register()
    event_id = rows.delivery(webhook["id"], state=state, attempts=5)
    rows.run("UPDATE {env}.deliveries SET faults = 3")
    path = f"{WEBHOOKS}/{webhook['id']}/deliveries/{event_id}"
    answer = partner.http.post(f"{path}/retry")
    assert answer.status_code == 202
    assert row_of(rows, webhook["id"], event_id) == started(2)
    assert answer.json() == partner.http.get(path).json()
    wait_for(lambda: wakeups.waiting(Lane.FAST) == 1, "a wake-up")


@pytest.mark.parametrize("state", UNDER_WAY)
def test_a_delivery_under_way_is_not_retried_and_not_replayed(
    partner: PartnerClient, rows: WebhookRows, state: DeliveryState
) -> None:
    webhook = partner.register()
    event_id = rows.delivery(webhook["id"], state=state, attempts=3, due_in="1 hour")
    before = row_of(rows, webhook["id"], event_id)
    answer = partner.http.post(f"{WEBHOOKS}/{webhook['id']}/deliveries/{event_id}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "DELIVERY_IN_PROGRESS")
    assert replay(partner, webhook["id"], include_delivered=True)["scheduled"] == 0
    assert row_of(rows, webhook["id"], event_id) == before


def test_of_two_retries_at_once_one_is_in_progress(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register()
    event_id = rows.delivery(webhook["id"], state=DeliveryState.EXHAUSTED)
    path = f"{WEBHOOKS}/{webhook['id']}/deliveries/{event_id}/retry"
    with ThreadPoolExecutor(5) as threads:
        statuses = sorted(threads.map(lambda _: partner.http.post(path).status_code, range(5)))
    assert statuses == [202, 409, 409, 409, 409]
    assert row_of(rows, webhook["id"], event_id) == started(2)


def test_a_disabled_webhook_is_not_sent_anything(partner: PartnerClient, rows: WebhookRows) -> None:
    webhook = partner.register()
    event_id = rows.delivery(webhook["id"], state=DeliveryState.EXHAUSTED)
    partner.change(webhook["id"], state="disabled")
    path = f"{WEBHOOKS}/{webhook['id']}"
    for answer in (
        partner.http.post(f"{path}/ping"),
        partner.http.post(f"{path}/deliveries/{event_id}/retry"),
        partner.http.post(f"{path}/replay", json={"since": LONG_AGO}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "WEBHOOK_DISABLED")
    assert rows.states(webhook["id"]) == {event_id: "exhausted"}


def test_a_replay_brings_what_was_missed_and_nothing_else(
    partner: PartnerClient, rival: PartnerClient, rows: WebhookRows, wakeups: Wakeups
) -> None:
    webhook = partner.register(events=["inventory.updated", "inventory.out_of_stock"])
    other = rival.register()
    missed = rows.event()  # while it was disabled, or before it was registered
    out = rows.event(EventType.INVENTORY_OUT_OF_STOCK)
    rows.event(EventType.INVENTORY_LOW_STOCK)  # not subscribed to
    rows.event(EventType.WEBHOOK_PING)
    old = rows.event(age="2 hours")
    ends = {state: rows.delivery(webhook["id"], state=state, attempts=5) for state in FINISHED}
    theirs = rows.delivery(other["id"], state=DeliveryState.EXHAUSTED)
    rows.run("UPDATE {env}.deliveries SET faults = 3")
    since = rows.one("SELECT now() - interval '1 hour'").isoformat()
    assert replay(partner, webhook["id"], since) == {"scheduled": 5, "next_since": None}
    assert row_of(rows, webhook["id"], missed) == started(1)
    assert row_of(rows, webhook["id"], out) == started(1)
    assert row_of(rows, webhook["id"], theirs) == started(1)
    assert row_of(rows, webhook["id"], ends[DeliveryState.EXHAUSTED]) == started(2)
    assert row_of(rows, webhook["id"], ends[DeliveryState.CANCELLED]) == started(2)
    assert row_of(rows, webhook["id"], ends[DeliveryState.DELIVERED])[:2] == ("delivered", 1)
    assert old not in rows.states(webhook["id"])
    assert rows.states(other["id"]) == {theirs: "exhausted"}
    wait_for(lambda: wakeups.waiting(Lane.FAST) == 4, "a wake-up for each call in flight")
    assert replay(partner, webhook["id"], since)["scheduled"] == 0
    assert replay(partner, webhook["id"])["scheduled"] == 1  # the old one


def test_a_replay_brings_what_was_delivered_when_asked_to(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register()
    event_id = rows.delivery(webhook["id"], state=DeliveryState.DELIVERED)
    assert replay(partner, webhook["id"], include_delivered=False)["scheduled"] == 0
    assert replay(partner, webhook["id"], include_delivered=True)["scheduled"] == 1
    assert row_of(rows, webhook["id"], event_id) == started(2)
    assert replay(partner, webhook["id"], include_delivered=True)["scheduled"] == 0


def test_since_is_inclusive_to_the_microsecond(partner: PartnerClient, rows: WebhookRows) -> None:
    webhook = partner.register()
    rows.run(
        "INSERT INTO {env}.events (event_type, occurred_at, data)"
        " SELECT 'inventory.updated', '2026-01-01T00:00:00Z'::timestamptz"
        " + number * interval '1 microsecond', '{{}}' FROM generate_series(0, 2) AS number"
    )
    answer = replay(partner, webhook["id"], "2026-01-01T01:00:00.000001+01:00")
    assert answer["scheduled"] == 2


@pytest.mark.parametrize("include_delivered", [False, True])
def test_a_replay_of_many_goes_on_from_next_since_oldest_first(
    partner: PartnerClient, rows: WebhookRows, include_delivered: bool
) -> None:
    webhook = partner.register()
    # Three events of each second: the bound falls between two of one second, which stay together.
    rows.run(MANY_EVENTS, [3, REPLAY_MOST + 5])
    first = replay(partner, webhook["id"], include_delivered=include_delivered)
    assert first["scheduled"] == REPLAY_MOST - REPLAY_MOST % 3
    newest = rows.one(
        "SELECT max(occurred_at) FROM {env}.deliveries JOIN {env}.events ON events.id = event_id"
    )
    assert newest < datetime.fromisoformat(first["next_since"])
    rows.run("UPDATE {env}.deliveries SET state = 'delivered'")
    rest = replay(partner, webhook["id"], first["next_since"], include_delivered=include_delivered)
    assert rest == {"scheduled": 5 + REPLAY_MOST % 3, "next_since": None}
    series = "SELECT count(*) FROM {env}.deliveries WHERE series = 1"
    assert rows.one(series) == REPLAY_MOST + 5


def test_more_events_of_one_moment_than_one_replay_takes_do_not_stop_it(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register()
    rows.run(MANY_EVENTS, [REPLAY_MOST * 3, REPLAY_MOST + 7])
    first = replay(partner, webhook["id"])
    assert first["scheduled"] == REPLAY_MOST
    assert replay(partner, webhook["id"], first["next_since"]) == {
        "scheduled": 7,
        "next_since": None,
    }


def test_replays_at_once_schedule_each_event_once(
    api: QueryProcess, partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register()
    rows.run(MANY_EVENTS, [1, 500])
    rows.run(
        "INSERT INTO {env}.deliveries (endpoint_id, event_id, state)"
        " SELECT %s, id, 'exhausted' FROM {env}.events ORDER BY id LIMIT 250",
        [webhook["id"]],
    )
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: replay(partner, webhook["id"]), range(4)))
    assert sum(answer["scheduled"] for answer in answers) == 500
    assert rows.one("SELECT max(series) FROM {env}.deliveries") == 2
    assert rows.one("SELECT count(*) FROM {env}.deliveries WHERE state = 'pending'") == 500
    assert not api.events("request.failed")


def test_a_replay_over_many_delivered_events_moves_on_in_bounded_steps(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register()
    rows.run(MANY_EVENTS, [1, 100_010])
    rows.run(
        "INSERT INTO {env}.deliveries (endpoint_id, event_id, state)"
        " SELECT %s, id, 'delivered' FROM {env}.events",
        [webhook["id"]],
    )
    late = rows.event()
    began = time.monotonic()
    assert replay_all(partner, webhook["id"]) == [0, 1]
    assert time.monotonic() - began < 8
    assert row_of(rows, webhook["id"], late) == started(1)


def test_a_replay_of_the_future_schedules_nothing(partner: PartnerClient) -> None:
    webhook = partner.register()
    since = datetime.now(UTC).replace(year=2100).isoformat()
    assert replay(partner, webhook["id"], since) == {"scheduled": 0, "next_since": None}
