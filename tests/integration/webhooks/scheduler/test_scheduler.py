"""The scheduler: whatever nobody else moves on, it does, pass by pass."""

import itertools
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from structlog.testing import capture_logs

from services.core.environments import Environment
from services.domain.webhooks.states import DeliveryState
from services.webhooks.delivery.claims import LEASE
from services.webhooks.faults import FaultStep
from services.webhooks.queue import Lane
from services.webhooks.scheduler import store
from services.webhooks.scheduler.scheduler import Scheduler
from services.webhooks.scheduler.store import SchedulerStore
from services.webhooks.sessions import Session
from tests.clock import Clock
from tests.conftest import Database
from tests.integration.webhooks.scheduler.conftest import MakeScheduler, advance_until
from tests.page_reads import PageReads
from tests.recorded_wakeups import RecordedWakeups, Wakeup
from tests.webhook_rows import WebhookRows
from tools.waiting import Running, wait_for

SENDING, RETRYING, EXHAUSTED = (
    DeliveryState.SENDING,
    DeliveryState.RETRYING,
    DeliveryState.EXHAUSTED,
)
OLD = "8 days"  # more than events are kept
UNFINISHED = (DeliveryState.PENDING, SENDING, RETRYING)


@pytest.fixture
def endpoint(rows: WebhookRows) -> UUID:
    return rows.endpoint(rows.partner())


def delivery(rows: WebhookRows, event_id: UUID) -> tuple[str, int, timedelta, bool, bool]:
    """Return state, attempts, time to the next attempt, and whether leased and finished."""
    return rows.run(
        "SELECT state, attempts, next_attempt_at - now(), lease_until IS NOT NULL,"
        " finished_at IS NOT NULL FROM {env}.deliveries WHERE event_id = %s",
        [event_id],
    )[0]


def attempts(rows: WebhookRows) -> list[tuple[str, int, int]]:
    return rows.run("SELECT outcome, number, milliseconds FROM {env}.attempts ORDER BY number")


def mails(rows: WebhookRows) -> list[tuple[str, str]]:
    return rows.run("SELECT kind, reason FROM {env}.mails")


@pytest.mark.parametrize("made", [1, 4, 5, 6])
def test_a_lapsed_lease_is_no_attempt_of_the_partner_and_is_tried_again(
    rows: WebhookRows, scheduler: Scheduler, session: Session, endpoint: UUID, made: int
) -> None:
    event = rows.delivery(endpoint, state=SENDING, attempts=made, lease_in="-15 s")
    with capture_logs() as logs:
        scheduler.make_pass(session)
    state, counted, due_in, leased, finished = delivery(rows, event)
    expected = RETRYING if made > 1 else DeliveryState.PENDING
    assert (state, counted, leased, finished) == (expected, made - 1, False, False)
    assert timedelta(0) < due_in <= timedelta(seconds=1)
    assert attempts(rows) == mails(rows) == []
    troubles = rows.endpoint_columns(endpoint, "failing_since, incident_since, slow_until")
    assert troubles == (None, None, None)
    assert [(log["event"], log["log_level"]) for log in logs] == [("delivery.lapsed", "error")]


def test_a_delivery_that_ends_its_worker_each_time_is_tried_ever_more_rarely_and_never_given_up(
    rows: WebhookRows, make_scheduler: MakeScheduler, session: Session, endpoint: UUID
) -> None:
    event = rows.delivery(endpoint, state=SENDING, attempts=1, lease_in="-1 s")
    faults: list[FaultStep] = []
    scheduler = make_scheduler(on_fault=faults.append)
    pauses: list[timedelta] = []
    for _ in range(12):
        rows.run(
            "UPDATE {env}.deliveries SET state = 'sending', attempts = 1, claimed_at = now(),"
            " lease_until = now() - interval '1 s'"
        )
        scheduler.make_pass(session)
        state, counted, due_in, _, _ = delivery(rows, event)
        assert (state, counted) == ("pending", 0)
        pauses.append(due_in)
    assert all(after > before for before, after in itertools.pairwise(pauses[:9]))
    assert timedelta(minutes=9) < pauses[-1] <= timedelta(minutes=10)
    assert attempts(rows) == mails(rows) == []
    assert faults == [FaultStep.LEASE] * 12


def test_leases_get_time_to_be_renewed_after_the_schedulers_own_outage(
    rows: WebhookRows, make_scheduler: MakeScheduler, clock: Clock, endpoint: UUID
) -> None:
    event = rows.delivery(endpoint, state=SENDING, attempts=1, lease_in="-1 s")
    rows.delivery(endpoint)
    passes: list[Session] = []
    with Running(make_scheduler(after_round=passes.append).run):
        wait_for(lambda: len(passes) > 2, "several passes")
        assert rows.states(endpoint)[event] == SENDING
        clock.now += 2 * LEASE.total_seconds()
        wait_for(lambda: rows.states(endpoint)[event] == "pending", "the release")


@pytest.mark.parametrize(
    "statements",
    [
        [b"SELECT 1 / 0"],
        [b"SET LOCAL statement_timeout = 1", b"SELECT pg_sleep(1)"],  # an OperationalError
    ],
    ids=["error", "timeout"],
)
def test_one_endpoint_that_fails_to_be_released_holds_up_nothing_else(
    *,
    statements: list[bytes],
    rows: WebhookRows,
    make_scheduler: MakeScheduler,
    session: Session,
    wakeups: RecordedWakeups,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    partner = rows.partner()
    bad, good = rows.endpoint(partner), rows.endpoint(partner)
    for each in (bad, good):
        rows.delivery(each, state=SENDING, attempts=1, lease_in="-1 s")
        rows.delivery(each)
    release = store.release

    def failing(
        connection: Session,
        environment: Environment,
        endpoint_id: UUID,
        *args: object,
        **more: Any,  # noqa: ANN401
    ) -> None:
        if endpoint_id == bad:
            for each in statements:
                connection.execute(each)
        release(connection, environment, endpoint_id, *args, **more)

    monkeypatch.setattr(store, "release", failing)
    faults: list[FaultStep] = []
    with capture_logs() as logs:
        make_scheduler(on_fault=faults.append).make_pass(session)
    assert set(rows.states(bad).values()) == {"sending", "pending"}
    assert set(rows.states(good).values()) == {"pending"}
    assert {each.endpoint_id for each in wakeups.sent} == {bad, good}
    assert sorted(faults) == [FaultStep.LEASE, FaultStep.SCHEDULE]
    assert "scheduler.fault" in [log["event"] for log in logs]


def test_an_endpoint_that_somebody_has_locked_holds_up_no_release_of_another(
    rows: WebhookRows, database: Database, scheduler: Scheduler, session: Session
) -> None:
    partner = rows.partner()
    locked, free = rows.endpoint(partner), rows.endpoint(partner)
    for each in (locked, free):
        rows.delivery(each, state=SENDING, attempts=1, lease_in="-1 s")
    with psycopg.connect(database.owner_url) as other:
        other.execute("SELECT FROM sandbox.endpoints WHERE id = %s FOR NO KEY UPDATE", [locked])
        scheduler.make_pass(session)
        assert set(rows.states(locked).values()) == {"sending"}
        assert set(rows.states(free).values()) == {"pending"}
    scheduler.make_pass(session)
    assert set(rows.states(locked).values()) == {"pending"}


def test_a_lease_that_holds_is_left_alone(
    rows: WebhookRows, scheduler: Scheduler, session: Session, endpoint: UUID
) -> None:
    holding = rows.delivery(endpoint, state=SENDING, attempts=1, lease_in="20 s")
    lapsed = rows.delivery(endpoint, state=SENDING, attempts=1, lease_in="-1 s")
    scheduler.make_pass(session)
    assert rows.states(endpoint) == {holding: SENDING, lapsed: "pending"}


def test_several_schedulers_count_a_lapsed_lease_once(
    rows: WebhookRows, make_scheduler: MakeScheduler, clock: Clock, endpoint: UUID
) -> None:
    many = 250  # more than one transaction takes
    for _ in range(many):
        rows.delivery(endpoint, state=SENDING, attempts=2, lease_in="-1 s")
    schedulers = make_scheduler(), make_scheduler()
    clock.now += LEASE.total_seconds()
    with capture_logs() as logs, Running(schedulers[0].run), Running(schedulers[1].run):
        advance_until(
            clock,
            lambda: set(rows.states(endpoint).values()) == {RETRYING},
            "every delivery retrying",
        )
    assert rows.run("SELECT DISTINCT attempts, faults FROM {env}.deliveries") == [(1, 1)]
    assert [log["event"] for log in logs] == ["delivery.lapsed"] * many


@pytest.mark.parametrize("state", ["disabled", "deleted"])
def test_due_deliveries_of_an_endpoint_that_is_not_active_are_cancelled(
    rows: WebhookRows, scheduler: Scheduler, session: Session, state: str
) -> None:
    partner = rows.partner()
    active, other = rows.endpoint(partner), rows.endpoint(partner, state=state)
    kept = rows.delivery(active)
    due = [rows.delivery(other), rows.delivery(other, state=RETRYING, attempts=2)]
    later = rows.delivery(other, state=RETRYING, attempts=1, due_in="1 hour")
    scheduler.make_pass(session)
    assert rows.states(active) == {kept: "pending"}
    assert rows.states(other) == {due[0]: "cancelled", due[1]: "cancelled", later: "retrying"}
    assert delivery(rows, due[0])[4]


def test_due_deliveries_of_a_suspended_partner_are_cancelled_and_nobody_is_woken(
    rows: WebhookRows, scheduler: Scheduler, session: Session, wakeups: RecordedWakeups
) -> None:
    endpoint = rows.endpoint(rows.partner(state="suspended"))
    event = rows.delivery(endpoint)
    scheduler.make_pass(session)
    assert rows.states(endpoint) == {event: "cancelled"}
    assert wakeups.sent == []


def test_each_endpoint_with_something_due_is_woken_once_in_its_lane(
    rows: WebhookRows, scheduler: Scheduler, session: Session, wakeups: RecordedWakeups
) -> None:
    partner = rows.partner()
    fast, slow, idle, later = (rows.endpoint(partner) for _ in range(4))
    for _ in range(3):
        rows.delivery(fast)
    rows.delivery(slow, state=RETRYING, attempts=1)
    rows.delivery(idle, state=DeliveryState.DELIVERED)
    rows.delivery(later, due_in="1 minute")
    rows.run(
        "UPDATE {env}.endpoints SET slow_until = now() + interval '1 minute' WHERE id = %s", [slow]
    )
    scheduler.make_pass(session)
    assert sorted(wakeups.sent) == sorted([Wakeup(fast, Lane.FAST, 1), Wakeup(slow, Lane.SLOW, 1)])


def test_wake_ups_do_not_pile_up_while_nobody_takes_them(
    *,
    rows: WebhookRows,
    scheduler: Scheduler,
    session: Session,
    wakeups: RecordedWakeups,
    clock: Clock,
) -> None:
    partner = rows.partner()
    endpoints = [rows.endpoint(partner) for _ in range(3)]
    for endpoint in endpoints:
        rows.delivery(endpoint)
    wakeups.queued[Lane.FAST] = 7
    for _ in range(4):  # two seconds, in which there is one pass each half
        scheduler.make_pass(session)
        clock.now += 0.5
    assert len(wakeups.sent) == 2 * len(endpoints)
    wakeups.queued[Lane.FAST] = 6
    wakeups.sent.clear()
    scheduler.make_pass(session)
    assert {each.endpoint_id for each in wakeups.sent} == set(endpoints)


def test_a_due_retry_is_woken_at_once_however_many_wake_ups_of_others_wait(
    rows: WebhookRows, scheduler: Scheduler, session: Session, wakeups: RecordedWakeups
) -> None:
    """A busy fast lane, or the wake-ups that a dead worker had taken: Dramatiq counts both."""
    partner = rows.partner()
    busy, other = rows.endpoint(partner), rows.endpoint(partner)
    rows.delivery(busy)
    wakeups.queued[Lane.FAST] = 100
    scheduler.make_pass(session)
    retry = rows.delivery(other, state=RETRYING, attempts=1)
    scheduler.make_pass(session)
    assert rows.states(other) == {retry: "retrying"}
    assert [each.endpoint_id for each in wakeups.sent] == [busy, other]


def test_an_endpoint_whose_lease_lapsed_is_woken_at_once(
    rows: WebhookRows, scheduler: Scheduler, session: Session, wakeups: RecordedWakeups
) -> None:
    endpoint = rows.endpoint(rows.partner())
    rows.delivery(endpoint)
    rows.delivery(endpoint, state=SENDING, attempts=1, lease_in="1 hour")
    wakeups.queued[Lane.FAST] = 100
    scheduler.make_pass(session)
    rows.run("UPDATE {env}.deliveries SET lease_until = now() WHERE state = 'sending'")
    scheduler.make_pass(session)
    assert [each.endpoint_id for each in wakeups.sent] == [endpoint, endpoint]


def test_without_valkey_passes_go_on_and_the_outage_is_told_once(
    *,
    rows: WebhookRows,
    make_scheduler: MakeScheduler,
    wakeups: RecordedWakeups,
    clock: Clock,
    endpoint: UUID,
) -> None:
    rows.delivery(endpoint)
    lapsed = rows.delivery(endpoint, state=SENDING, attempts=2, lease_in="-1 s")
    wakeups.away = True
    scheduler = make_scheduler()
    with capture_logs() as logs, Running(scheduler.run):
        advance_until(
            clock, lambda: rows.states(endpoint)[lapsed] == RETRYING, "the lapsed one retrying"
        )
        wait_for(lambda: wakeups.calls >= 2, "a second try")  # 1 s after the first
        wakeups.away = False
        wait_for(lambda: len(wakeups.sent) > 0, "a wake-up")
    assert [log["event"] for log in logs].count("queue.away") == 1


def test_it_connects_again_when_its_connection_was_ended(
    rows: WebhookRows, make_scheduler: MakeScheduler, wakeups: RecordedWakeups, endpoint: UUID
) -> None:
    rows.delivery(endpoint)
    with capture_logs() as logs, Running(make_scheduler().run):
        wait_for(lambda: len(wakeups.sent) > 0, "a wake-up")
        ended = rows.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'sandbox scheduler'"
        )
        assert ended == [(True,)]
        wait_for(lambda: len(logs) > 0, "the outage told")
        wakeups.sent.clear()
        wait_for(lambda: len(wakeups.sent) > 0, "another wake-up")
    assert [log["event"] for log in logs if log["event"] != "database.back"] == ["database.away"]


def test_looking_for_due_endpoints_does_not_read_a_backlog(
    rows: WebhookRows, session: Session, endpoint: UUID
) -> None:
    rows.endpoint(rows.one("SELECT id FROM {env}.partners"))
    many = 20_000
    rows.run(
        "INSERT INTO {env}.events (event_type, occurred_at, data)"
        " SELECT 'webhook.ping', now(), '{{}}' FROM generate_series(1, %s::int)",
        [many],
    )
    rows.run(
        "INSERT INTO {env}.deliveries (endpoint_id, event_id) SELECT %s, id FROM {env}.events",
        [endpoint],
    )
    for prepare in ("SELECT 1", "ANALYZE sandbox.deliveries"):
        rows.run(prepare)
        reads = PageReads()
        SchedulerStore(Environment.SANDBOX).due_endpoints(reads.of(session))
        assert max(reads.fewest.values()) < 50


def test_what_is_finished_and_old_is_deleted_and_nothing_else(
    rows: WebhookRows, scheduler: Scheduler, session: Session, endpoint: UUID
) -> None:
    finished = (DeliveryState.DELIVERED, EXHAUSTED, DeliveryState.CANCELLED)
    for state in finished:
        event = rows.delivery(endpoint, rows.event(age=OLD), state=state, attempts=1)
        rows.run(
            "INSERT INTO {env}.attempts VALUES (%s, %s, 1, 1, 'delivered', 200, '', now(), 1)",
            [endpoint, event],
        )
    rows.event(age=OLD)  # of nobody
    kept = {
        rows.delivery(
            endpoint, rows.event(age=OLD), state=state, due_in="1 hour", lease_in="1 hour"
        )
        for state in UNFINISHED
    }
    mixed = rows.delivery(endpoint, rows.event(age=OLD), state=DeliveryState.DELIVERED)
    other = rows.endpoint(rows.one("SELECT id FROM {env}.partners"))
    kept.add(rows.delivery(other, mixed, due_in="1 hour"))
    kept.add(rows.delivery(endpoint, rows.event(age="6 days"), state=DeliveryState.DELIVERED))
    scheduler.make_pass(session)
    assert {row[0] for row in rows.run("SELECT id FROM {env}.events")} == kept
    assert len(rows.states(endpoint)) == len(kept)
    assert attempts(rows) == []


def test_a_delivery_that_is_being_tried_again_is_not_deleted(
    rows: WebhookRows,
    database: Database,
    scheduler: Scheduler,
    session: Session,
    endpoint: UUID,
) -> None:
    event = rows.delivery(endpoint, rows.event(age=OLD), state=EXHAUSTED)
    with psycopg.connect(database.owner_url) as other:
        other.execute("UPDATE sandbox.deliveries SET state = 'pending', series = 2")
        scheduler.make_pass(session)
    assert rows.states(endpoint) == {event: "pending"}


def test_old_rows_go_in_small_batches_pass_by_pass_then_every_minute(
    rows: WebhookRows, scheduler: Scheduler, session: Session, clock: Clock
) -> None:
    def left() -> int:
        return rows.one("SELECT count(*) FROM {env}.events")

    rows.run(
        "INSERT INTO {env}.events (event_type, occurred_at, data) SELECT 'webhook.ping',"
        " now() - interval '8 days', '{{}}' FROM generate_series(1, 1200)"
    )
    seen = []
    for _ in range(3):
        scheduler.make_pass(session)
        seen.append(left())
    assert seen == [700, 200, 0]
    rows.event(age=OLD)
    scheduler.make_pass(session)
    assert left() == 1
    clock.now += 61
    scheduler.make_pass(session)
    assert left() == 0


def test_sent_mails_are_deleted_after_a_month_and_unsent_ones_never(
    rows: WebhookRows, scheduler: Scheduler, session: Session, endpoint: UUID
) -> None:
    for sent in ("31 days", "29 days", None):
        rows.run(
            "INSERT INTO {env}.mails"
            " (kind, partner_id, endpoint_id, since, reason, created_at, sent_at)"
            " SELECT 'incident_opened', partner_id, id, now(), '', now() - interval '40 days',"
            " now() - %s::interval FROM {env}.endpoints",
            [sent],
        )
    scheduler.make_pass(session)
    assert rows.one("SELECT count(*) FROM {env}.mails") == 2


def deleted_endpoint(rows: WebhookRows, ago: str = "2 min") -> UUID:
    """Insert an endpoint that was deleted a while ago, by a release that left its secret."""
    endpoint = rows.endpoint(rows.one("SELECT id FROM {env}.partners"), state="deleted")
    age = "UPDATE {env}.endpoints SET changed_at = now() - %s::interval WHERE id = %s"
    rows.run(age, [ago, endpoint])
    return endpoint


def endpoints(rows: WebhookRows) -> set[UUID]:
    return {row[0] for row in rows.run("SELECT id FROM {env}.endpoints")}


def test_a_deleted_endpoint_goes_when_its_deliveries_are_gone(
    rows: WebhookRows, scheduler: Scheduler, session: Session, endpoint: UUID, clock: Clock
) -> None:
    without, just_deleted = deleted_endpoint(rows), deleted_endpoint(rows, "30 s")
    with_one = deleted_endpoint(rows)
    event = rows.delivery(with_one, rows.event(age="6 days"), state=DeliveryState.DELIVERED)
    scheduler.make_pass(session)
    assert without not in endpoints(rows)
    assert endpoints(rows) == {endpoint, just_deleted, with_one}
    columns = "secret IS NULL, kept_until BETWEEN now() + '23 h' AND now() + '1 day'"
    assert rows.endpoint_columns(with_one, columns) == (True, True)
    rows.run("UPDATE {env}.events SET occurred_at = now() - interval '8 days'")
    look_now = "UPDATE {env}.endpoints SET kept_until = now() - interval '2 min' WHERE id = %s"
    rows.run(look_now, [with_one])
    clock.now += 61
    scheduler.make_pass(session)
    assert endpoints(rows) == {endpoint, just_deleted}
    assert rows.run("SELECT FROM {env}.events WHERE id = %s", [event]) == []
    assert rows.endpoint_columns(endpoint, "secret") == (b"sealed",)


@pytest.mark.parametrize("state", UNFINISHED)
def test_what_waits_for_a_deleted_endpoint_is_cancelled_before_it_is_passed_by(
    rows: WebhookRows, scheduler: Scheduler, session: Session, clock: Clock, state: DeliveryState
) -> None:
    rows.partner()
    deleted = deleted_endpoint(rows)
    event = rows.delivery(deleted, state=state, attempts=1, due_in="1 h", lease_in="1 h")
    scheduler.make_pass(session)
    assert rows.endpoint_columns(deleted, "kept_until, secret") == (None, None)
    rows.run("UPDATE {env}.deliveries SET next_attempt_at = now(), state = 'retrying'")
    clock.now += 61
    scheduler.make_pass(session)
    assert rows.states(deleted) == {event: "cancelled"}
    assert rows.endpoint_columns(deleted, "kept_until > now() + '6 days'") == (True,)


def test_a_deleted_endpoint_stays_for_a_mail_that_was_not_sent(
    rows: WebhookRows, scheduler: Scheduler, session: Session, endpoint: UUID
) -> None:
    kept, gone = deleted_endpoint(rows), deleted_endpoint(rows)
    for each, sent in ((kept, None), (gone, "1 day")):
        rows.run(
            "INSERT INTO {env}.mails (kind, partner_id, endpoint_id, since, reason, sent_at)"
            " SELECT 'endpoint_gone', partner_id, id, now(), '', now() - %s::interval"
            " FROM {env}.endpoints WHERE id = %s",
            [sent, each],
        )
    scheduler.make_pass(session)
    assert endpoints(rows) == {endpoint, kept}
    assert rows.endpoint_columns(kept, "kept_until < now() + interval '2 h'") == (True,)


def test_many_deleted_endpoints_go_pass_by_pass_and_hold_up_nobody(
    rows: WebhookRows, database: Database, scheduler: Scheduler, session: Session, endpoint: UUID
) -> None:
    rows.run(
        "INSERT INTO {env}.endpoints (partner_id, url, events, state, changed_at)"
        " SELECT partner_id, n, events, 'deleted', now() - interval '1 h'"
        " FROM {env}.endpoints, generate_series(1, 1200) AS n"
    )
    held = rows.one("SELECT id FROM {env}.endpoints WHERE url = '7'")
    with psycopg.connect(database.owner_url) as other:
        other.execute("SELECT FROM sandbox.endpoints WHERE id = %s FOR UPDATE", [held])
        seen = []
        for _ in range(3):
            scheduler.make_pass(session)
            seen.append(len(endpoints(rows)))
        assert seen == [701, 201, 2]
    assert endpoints(rows) == {endpoint, held}


def test_deleted_endpoints_that_stay_in_use_are_not_written_and_hide_no_other(
    *, rows: WebhookRows, scheduler: Scheduler, session: Session, endpoint: UUID, clock: Clock
) -> None:
    rows.run(
        "INSERT INTO {env}.endpoints (partner_id, url, events, state, changed_at)"
        " SELECT partner_id, n, events, 'deleted', now() - interval '1 h'"
        " FROM {env}.endpoints, generate_series(1, 500) AS n"
    )
    event = rows.event()
    rows.run(
        "INSERT INTO {env}.deliveries (endpoint_id, event_id, next_attempt_at)"
        " SELECT id, %s, now() + interval '1 h' FROM {env}.endpoints WHERE state = 'deleted'",
        [event],
    )
    versions = "SELECT id, xmin::text FROM {env}.endpoints WHERE state = 'deleted' ORDER BY id"
    before = rows.run(versions)
    hidden = deleted_endpoint(rows)
    scheduler.make_pass(session)
    assert hidden not in endpoints(rows)
    another = deleted_endpoint(rows)
    scheduler.make_pass(session)
    assert another in endpoints(rows)  # there was no more, so that it waits for a minute
    clock.now += 61
    scheduler.make_pass(session)
    assert another not in endpoints(rows)
    assert rows.run(versions) == before


def test_what_is_known_of_a_removed_product_goes_with_its_removal(
    rows: WebhookRows, scheduler: Scheduler, session: Session
) -> None:
    def removed() -> set[str]:
        return {row[0] for row in rows.run("SELECT product_id FROM {env}.removed_products")}

    rows.forget_the_seed()
    rows.run("DELETE FROM {env}.removed_products")
    for product in ("OLD", "AGAIN", "NEW"):
        rows.set_stock(product, 1)
    rows.run("DELETE FROM {env}.products WHERE product_id IN ('OLD', 'AGAIN')")
    rows.run(
        "UPDATE {env}.stock_changes SET relayed = true, changed_at = now() - interval '9 days'"
    )
    rows.set_stock("AGAIN", 2)
    rows.run("DELETE FROM {env}.products WHERE product_id IN ('NEW', 'AGAIN')")
    assert removed() == {"OLD", "AGAIN", "NEW"}
    scheduler.make_pass(session)
    assert removed() == {"AGAIN", "NEW"}


def test_an_endpoint_that_was_enabled_meanwhile_keeps_its_deliveries(
    rows: WebhookRows, session: Session, endpoint: UUID
) -> None:
    event, store = rows.delivery(endpoint), SchedulerStore(Environment.SANDBOX)
    other = rows.endpoint(rows.one("SELECT id FROM {env}.partners"), state="disabled")
    cancelled = rows.delivery(other)
    assert store.cancel(session, [endpoint, other], 10) == 1
    assert rows.states(endpoint) == {event: "pending"}
    assert rows.states(other) == {cancelled: "cancelled"}
