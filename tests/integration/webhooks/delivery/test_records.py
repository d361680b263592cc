"""What is written down of an attempt, and what follows from it (W7, W8, W10)."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import Connection

from services.core.database import ThreadPool
from services.domain.states import DeliveryState
from services.webhooks.delivery.claims import Claim, Claims
from services.webhooks.delivery.outcome import AttemptOutcome, Decision, InDoubt, Verdict
from services.webhooks.delivery.records import Records
from services.webhooks.delivery.schedule import RetrySchedule
from services.webhooks.delivery.store import Store
from services.webhooks.faults import FaultStep
from services.webhooks.queue import Lane
from tests.integration.webhooks.delivery.conftest import DELAYS, StoreOf
from tests.webhook_rows import WebhookRows

DELIVERED = Decision(Verdict.DELIVERED, AttemptOutcome.DELIVERED, status=200)
FAILED = Decision(Verdict.RETRY, AttemptOutcome.HTTP_ERROR, status=500)
TIMED_OUT = Decision(Verdict.RETRY, AttemptOutcome.TIMEOUT, detail="no answer in 15 s")
GONE = Decision(Verdict.GONE, AttemptOutcome.HTTP_ERROR, status=410)


@pytest.fixture
def endpoint(rows: WebhookRows) -> UUID:
    return rows.endpoint(rows.partner())


def claimed(store: Store, endpoint: UUID) -> Claim:
    claim = store.claim(endpoint)
    assert claim is not None
    return claim


def fail_until_exhausted(rows: WebhookRows, store: Store, endpoint: UUID) -> None:
    """Let the endpoint's only delivery fail until nothing is left."""
    for attempt in range(1, 6):
        rows.run("UPDATE {env}.deliveries SET next_attempt_at = now() WHERE state = 'retrying'")
        state = store.record_failed(claimed(store, endpoint), FAILED, seconds=0.1)
        assert state == ("exhausted" if attempt == 5 else "retrying")


def mails(rows: WebhookRows) -> list[str]:
    return [kind for (kind,) in rows.run("SELECT kind FROM {env}.mails ORDER BY id")]


def test_a_success_is_recorded_with_its_attempt(
    rows: WebhookRows, store: Store, endpoint: UUID
) -> None:
    event = rows.delivery(endpoint)
    rows.run("UPDATE {env}.deliveries SET faults = 3")
    claim = claimed(store, endpoint)
    assert store.record_delivered(claim, DELIVERED, seconds=0.25, claim_next=True) is None
    assert rows.states(endpoint) == {event: "delivered"}
    assert rows.one("SELECT faults FROM {env}.deliveries") == 0
    attempts = rows.run(
        "SELECT event_id, number, outcome, status, milliseconds FROM {env}.attempts"
    )
    assert attempts == [(event, 1, "delivered", 200, 250)]
    assert mails(rows) == []


def test_a_success_takes_the_next_delivery_along(
    rows: WebhookRows, store: Store, endpoint: UUID
) -> None:
    rows.delivery(endpoint, due_in="-1 s")
    second = rows.delivery(endpoint)
    claim = claimed(store, endpoint)
    after = store.record_delivered(claim, DELIVERED, seconds=0.01, claim_next=True)
    assert after is not None
    assert after.event_id == second


def test_failures_are_tried_again_after_growing_delays_and_five_times_in_all(
    rows: WebhookRows, store: Store, endpoint: UUID
) -> None:
    event = rows.delivery(endpoint)
    for delay in DELAYS:
        state = store.record_failed(claimed(store, endpoint), FAILED, seconds=0.1)
        assert state is DeliveryState.RETRYING
        assert store.claim(endpoint) is None
        left = rows.one("SELECT next_attempt_at - now() FROM {env}.deliveries")
        assert timedelta(seconds=delay - 2) < left <= timedelta(seconds=delay)
        rows.run("UPDATE {env}.deliveries SET next_attempt_at = now()")
    last = claimed(store, endpoint)
    assert last.retry_count == 4
    assert store.record_failed(last, FAILED, seconds=0.1) is DeliveryState.EXHAUSTED
    assert rows.states(endpoint) == {event: "exhausted"}
    assert store.claim(endpoint) is None
    numbers = rows.run("SELECT number, outcome, status FROM {env}.attempts ORDER BY number")
    assert numbers == [(number, "http_error", 500) for number in range(1, 6)]


def test_an_answer_may_ask_for_a_longer_delay(
    rows: WebhookRows, store: Store, endpoint: UUID
) -> None:
    rows.delivery(endpoint)
    busy = Decision(
        Verdict.RETRY, AttemptOutcome.HTTP_ERROR, status=503, not_before=timedelta(minutes=10)
    )
    store.record_failed(claimed(store, endpoint), busy, seconds=0.1)
    left = rows.one("SELECT next_attempt_at - now() FROM {env}.deliveries")
    assert timedelta(minutes=9) < left <= timedelta(minutes=10)


def test_an_incident_has_one_mail_at_each_end(
    rows: WebhookRows, store: Store, endpoint: UUID
) -> None:
    for _ in range(2):  # incidents
        for _ in range(2):  # exhausted deliveries of each
            rows.delivery(endpoint)
            fail_until_exhausted(rows, store, endpoint)
        for _ in range(2):
            rows.delivery(endpoint)
            claim = claimed(store, endpoint)
            store.record_delivered(claim, DELIVERED, seconds=0.1, claim_next=False)
    assert mails(rows) == ["incident_opened", "incident_closed"] * 2
    reasons = rows.run("SELECT reason FROM {env}.mails WHERE kind = 'incident_opened'")
    assert reasons == [("HTTP 500",)] * 2
    columns = rows.endpoint_columns(endpoint, "failing_since, incident_since")
    assert columns == (None, None)


def test_a_failure_that_is_not_the_last_is_no_incident(
    rows: WebhookRows, store: Store, endpoint: UUID
) -> None:
    rows.delivery(endpoint)
    store.record_failed(claimed(store, endpoint), FAILED, seconds=0.1)
    assert mails(rows) == []
    failing_since, incident = rows.endpoint_columns(endpoint, "failing_since, incident_since")
    assert failing_since is not None
    assert incident is None


def test_gone_disables_the_endpoint_and_tells_the_contact(
    rows: WebhookRows, store: Store, endpoint: UUID
) -> None:
    event = rows.delivery(endpoint, due_in="-1 s")
    rows.delivery(endpoint)
    state = store.record_failed(claimed(store, endpoint), GONE, seconds=0.1)
    assert state is DeliveryState.CANCELLED
    assert rows.states(endpoint)[event] == "cancelled"
    assert rows.endpoint_columns(endpoint, "state, disabled_reason") == ("disabled", "gone")
    assert mails(rows) == ["endpoint_gone"]
    assert store.claim(endpoint) is None


@pytest.mark.parametrize(("days", "state"), [(2.9, "active"), (3.1, "disabled")])
def test_an_endpoint_that_does_nothing_but_fail_for_three_days_is_disabled(
    rows: WebhookRows, store: Store, endpoint: UUID, days: float, state: str
) -> None:
    rows.run(
        "UPDATE {env}.endpoints SET failing_since = now() - %s * interval '1 day',"
        " incident_since = now() - interval '1 day'",
        [days],
    )
    rows.delivery(endpoint)
    store.record_failed(claimed(store, endpoint), FAILED, seconds=0.1)
    assert rows.endpoint_columns(endpoint, "state") == (state,)
    assert mails(rows) == (["endpoint_disabled"] if state == "disabled" else [])


def test_few_events_are_no_reason_to_disable_an_endpoint_that_exhausted_none(
    rows: WebhookRows, store: Store, endpoint: UUID
) -> None:
    rows.run("UPDATE {env}.endpoints SET failing_since = now() - interval '9 days'")
    rows.delivery(endpoint)
    store.record_failed(claimed(store, endpoint), FAILED, seconds=0.1)
    assert rows.endpoint_columns(endpoint, "state") == ("active",)


def test_a_call_that_takes_long_moves_its_endpoint_to_the_slow_lane_and_a_quick_one_back(
    rows: WebhookRows, store_of: StoreOf, endpoint: UUID
) -> None:
    fast, slow = store_of(Lane.FAST), store_of(Lane.SLOW)
    rows.delivery(endpoint)
    fast.record_failed(claimed(fast, endpoint), TIMED_OUT, seconds=15)
    rows.delivery(endpoint)
    assert fast.claim(endpoint) is None
    slow.record_delivered(claimed(slow, endpoint), DELIVERED, seconds=5, claim_next=False)
    rows.delivery(endpoint)
    assert fast.claim(endpoint) is None
    slow.record_delivered(claimed(slow, endpoint), DELIVERED, seconds=0.1, claim_next=False)
    rows.delivery(endpoint)
    assert claimed(fast, endpoint)


def test_a_success_after_the_lease_ran_out_counts_if_nobody_has_claimed_again(
    rows: WebhookRows, store: Store, endpoint: UUID
) -> None:
    event = rows.delivery(endpoint)
    late = claimed(store, endpoint)
    store.release(late, InDoubt(FaultStep.LEASE, TimeoutError()))
    assert rows.states(endpoint) == {event: "pending"}
    store.record_delivered(late, DELIVERED, seconds=40, claim_next=False)
    assert rows.states(endpoint) == {event: "delivered"}
    assert rows.run("SELECT number, outcome FROM {env}.attempts") == [(1, "delivered")]
    assert rows.run("SELECT attempts FROM {env}.deliveries") == [(1,)]


def test_a_claim_that_another_worker_has_taken_over_changes_nothing(
    rows: WebhookRows, store: Store, endpoint: UUID
) -> None:
    event = rows.delivery(endpoint)
    late = claimed(store, endpoint)
    store.release(late, InDoubt(FaultStep.LEASE, TimeoutError()))
    rows.run("UPDATE {env}.deliveries SET next_attempt_at = now()")
    assert claimed(store, endpoint).attempt == late.attempt
    assert store.record_failed(late, FAILED, seconds=40) is None
    store.record_delivered(late, DELIVERED, seconds=40, claim_next=False)
    assert rows.states(endpoint) == {event: "sending"}
    assert rows.run("SELECT 1 FROM {env}.attempts") == []


def test_a_record_and_the_claim_after_it_are_one_transaction(
    rows: WebhookRows, pool: ThreadPool, endpoint: UUID
) -> None:
    class Broken(Claims):
        def take(self, connection: Connection[Any], _endpoint: UUID) -> None:
            connection.execute("SELECT 1 / 0").fetchone()

    event = rows.delivery(endpoint)
    records = Records(schedule=RetrySchedule(DELAYS), disable_after=timedelta(days=3))
    store = Store(pool, Claims(Lane.FAST), records, chance=lambda: 0.5)
    claim = claimed(store, endpoint)
    broken = Store(pool, Broken(Lane.FAST), records, chance=lambda: 0.5)
    with pytest.raises(psycopg.errors.DivisionByZero):
        broken.record_delivered(claim, DELIVERED, seconds=0.1, claim_next=True)
    assert rows.states(endpoint) == {event: "sending"}
    assert rows.run("SELECT 1 FROM {env}.attempts") == []
