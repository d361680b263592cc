"""Who may send a delivery, and how many at a time (W10)."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from services.domain.webhooks.states import DeliveryState
from services.webhooks.delivery import claims
from services.webhooks.delivery.claims import IN_FLIGHT, LEASE
from services.webhooks.delivery.outcome import AttemptOutcome, Decision, Verdict
from services.webhooks.delivery.store import Store
from services.webhooks.queue import Lane
from tests.conftest import Database
from tests.integration.webhooks.delivery.conftest import StoreOf
from tests.webhook_rows import WebhookRows
from tools.waiting import wait_for

DELIVERED = Decision(Verdict.DELIVERED, AttemptOutcome.DELIVERED, status=200)


def in_flight(rows: WebhookRows, endpoint: UUID) -> int:
    return list(rows.states(endpoint).values()).count("sending")


def test_a_claim_is_counted_and_leased(rows: WebhookRows, store: Store) -> None:
    endpoint = rows.endpoint(rows.partner(), url="https://a.example/hook")
    event = rows.delivery(endpoint)
    claim = store.claim(endpoint)
    assert claim is not None
    assert (claim.event_id, claim.attempt, claim.retry_count) == (event, 1, 0)
    assert claim.url == "https://a.example/hook"
    lease = rows.one("SELECT lease_until - claimed_at FROM {env}.deliveries")
    assert LEASE <= lease < LEASE + timedelta(seconds=1)
    assert rows.states(endpoint) == {event: "sending"}


def test_a_lease_begins_after_the_wait_for_the_endpoints_turn(
    rows: WebhookRows, store: Store, database: Database
) -> None:
    endpoint = rows.endpoint(rows.partner())
    rows.delivery(endpoint)
    with ThreadPoolExecutor(1) as threads:
        with psycopg.connect(database.owner_url) as other:
            other.execute("SELECT FROM sandbox.endpoints FOR NO KEY UPDATE")
            claimed = threads.submit(store.claim, endpoint)
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            wait_for(lambda: rows.one(waiting) == 1, "a claim that waits")
            time.sleep(0.5)
        assert claimed.result(10) is not None
    lease = rows.one("SELECT lease_until - claimed_at FROM {env}.deliveries")
    assert lease > LEASE + timedelta(seconds=0.4)


def test_what_is_not_due_is_not_claimed(rows: WebhookRows, store: Store) -> None:
    endpoint = rows.endpoint(rows.partner())
    rows.delivery(endpoint, due_in="1 minute")
    rows.delivery(endpoint, state=DeliveryState.RETRYING, attempts=1, due_in="1 minute")
    for state in (DeliveryState.DELIVERED, DeliveryState.EXHAUSTED, DeliveryState.CANCELLED):
        rows.delivery(endpoint, state=state)
    assert store.claim(endpoint) is None


def test_due_retries_come_before_new_deliveries_and_each_oldest_first(
    rows: WebhookRows, store: Store
) -> None:
    endpoint = rows.endpoint(rows.partner())
    second = rows.delivery(endpoint, due_in="-2 minutes")
    third = rows.delivery(endpoint, due_in="-1 minute")
    first = rows.delivery(endpoint, state=DeliveryState.RETRYING, attempts=1, due_in="-1 second")
    order = [claim.event_id for claim in (store.claim(endpoint) for _ in range(3)) if claim]
    assert order == [first, second, third]


def test_many_workers_at_once_never_exceed_what_one_endpoint_may_have_in_flight(
    rows: WebhookRows, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No claim is put off because another is old, however slow this machine is just now.
    monkeypatch.setattr(claims, "HANGING", timedelta(minutes=1))
    partner = rows.partner()
    endpoints = [rows.endpoint(partner) for _ in range(2)]
    for endpoint in endpoints:
        for _ in range(20):
            rows.delivery(endpoint)
    with ThreadPoolExecutor(24) as threads:
        found = list(threads.map(store.claim, endpoints * 24))
    events = [claim.event_id for claim in found if claim is not None]
    assert len(events) == len(set(events)) == 2 * IN_FLIGHT[Lane.FAST]
    assert [in_flight(rows, endpoint) for endpoint in endpoints] == [IN_FLIGHT[Lane.FAST]] * 2


def test_an_endpoint_with_a_call_that_hangs_gets_no_other_meanwhile(
    rows: WebhookRows, store: Store
) -> None:
    endpoint = rows.endpoint(rows.partner())
    rows.delivery(endpoint, state=DeliveryState.SENDING, attempts=1, lease_in="20 seconds")
    rows.delivery(endpoint)
    assert store.claim(endpoint) is None
    rows.run("UPDATE {env}.deliveries SET claimed_at = now() WHERE state = 'sending'")
    assert store.claim(endpoint) is not None


@pytest.mark.parametrize(
    ("slow_until", "lane"),
    [(None, Lane.FAST), ("-1 second", Lane.FAST), ("1 minute", Lane.SLOW)],
)
def test_an_endpoint_is_called_by_the_workers_of_its_lane_only(
    rows: WebhookRows, store_of: StoreOf, slow_until: str | None, lane: Lane
) -> None:
    endpoint = rows.endpoint(rows.partner())
    rows.run("UPDATE {env}.endpoints SET slow_until = now() + %s::interval", [slow_until])
    rows.delivery(endpoint)
    other = Lane.SLOW if lane is Lane.FAST else Lane.FAST
    assert store_of(other).claim(endpoint) is None
    assert store_of(lane).claim(endpoint) is not None


def test_the_slow_lane_calls_an_endpoint_once_at_a_time(
    rows: WebhookRows, store_of: StoreOf
) -> None:
    endpoint = rows.endpoint(rows.partner())
    rows.run("UPDATE {env}.endpoints SET slow_until = now() + interval '1 minute'")
    for _ in range(3):
        rows.delivery(endpoint)
    slow = store_of(Lane.SLOW)
    claim = slow.claim(endpoint)
    assert claim is not None
    assert slow.claim(endpoint) is None
    after = slow.record_delivered(claim, DELIVERED, seconds=3, claim_next=True)
    assert after is not None


@pytest.mark.parametrize("state", ["disabled", "deleted"])
def test_an_endpoint_that_is_not_active_receives_nothing(
    rows: WebhookRows, store: Store, state: str
) -> None:
    endpoint = rows.endpoint(rows.partner(), state=state)
    rows.delivery(endpoint)
    assert store.claim(endpoint) is None


def test_a_suspended_partner_receives_nothing(rows: WebhookRows, store: Store) -> None:
    endpoint = rows.endpoint(rows.partner(state="suspended"))
    rows.delivery(endpoint)
    assert store.claim(endpoint) is None


def test_the_previous_secret_comes_along_while_it_is_valid(rows: WebhookRows, store: Store) -> None:
    endpoint = rows.endpoint(rows.partner())
    rows.delivery(endpoint)
    rows.delivery(endpoint)
    rows.run(
        "UPDATE {env}.endpoints SET secret = 'new', previous_secret = 'old',"
        " previous_secret_until = now() + interval '1 hour'"
    )
    claim = store.claim(endpoint)
    assert claim is not None
    assert (claim.secret, claim.previous_secret) == (b"new", b"old")
    rows.run("UPDATE {env}.endpoints SET previous_secret_until = now()")
    claim = store.claim(endpoint)
    assert claim is not None
    assert (claim.secret, claim.previous_secret) == (b"new", None)


def test_a_simulation_is_used_up_one_attempt_at_a_time(rows: WebhookRows, store: Store) -> None:
    endpoint = rows.endpoint(rows.partner())
    for _ in range(3):
        rows.delivery(endpoint)
    rows.run("UPDATE {env}.endpoints SET simulation = 'server_error', simulations_left = 2")
    claims = [store.claim(endpoint) for _ in range(3)]
    assert [claim and claim.simulation for claim in claims] == [
        "server_error",
        "server_error",
        None,
    ]


def test_out_of_order_holds_deliveries_back_the_first_one_longest(
    rows: WebhookRows, store: Store
) -> None:
    endpoint = rows.endpoint(rows.partner())
    first, second, third = (rows.delivery(endpoint, due_in=f"-{age} s") for age in (3, 2, 1))
    rows.run("UPDATE {env}.endpoints SET simulation = 'out_of_order', simulations_left = 2")
    assert store.claim(endpoint) is None
    assert store.claim(endpoint) is None
    claim = store.claim(endpoint)
    assert claim is not None
    assert claim.event_id == third
    held = rows.run(
        "SELECT event_id, attempts, state FROM {env}.deliveries WHERE next_attempt_at > now()"
        " ORDER BY next_attempt_at"
    )
    assert held == [(second, 0, "pending"), (first, 0, "pending")]
