"""The scheduler: whatever nobody else moves on, it does, pass by pass."""

from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from structlog.testing import capture_logs

from services.kernel.environments import Environment
from services.webhooks.queue import Lane
from services.webhooks.scheduler.scheduler import Scheduler
from services.webhooks.scheduler.store import SchedulerStore
from services.webhooks.sessions import Session
from services.webhooks.states import DeliveryState
from tests.conftest import Database
from tests.integration.webhooks.scheduler.conftest import SCHEDULE, Clock, MakeScheduler
from tests.page_reads import PageReads
from tests.recorded_wakeups import RecordedWakeups, Wakeup
from tests.waiting import Running, wait_for
from tests.webhook_rows import WebhookRows

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


@pytest.mark.parametrize("made", [1, 4, 5])
def test_a_lapsed_lease_is_an_attempt_of_unknown_outcome_and_is_tried_again(
    rows: WebhookRows, scheduler: Scheduler, session: Session, endpoint: UUID, made: int
) -> None:
    event = rows.delivery(endpoint, state=SENDING, attempts=made, lease_in="-15 s")
    scheduler.make_pass(session)
    state, counted, due_in, leased, finished = delivery(rows, event)
    assert (state, counted, leased, finished) == (RETRYING, made, False, False)
    expected = SCHEDULE.delay(min(made, 4), 0.5)
    assert expected - timedelta(seconds=10) < due_in <= expected
    assert attempts(rows) == [("unknown", made, 30_000)]  # claimed 45 s ago
    assert mails(rows) == []
    failing, incident = rows.endpoint_columns(endpoint, "failing_since, incident_since")
    assert (failing is not None, incident) == (True, None)


def test_a_sixth_attempt_that_lapsed_is_the_last_and_opens_an_incident(
    rows: WebhookRows, scheduler: Scheduler, session: Session, endpoint: UUID
) -> None:
    events = [rows.delivery(endpoint, state=SENDING, attempts=6, lease_in="-1 s") for _ in range(2)]
    with capture_logs() as logs:
        scheduler.make_pass(session)
    for event in events:
        state, counted, _, leased, finished = delivery(rows, event)
        assert (state, counted, leased, finished) == (EXHAUSTED, 6, False, True)
    told = [log for log in logs if log["event"] == "delivery.exhausted"]
    assert {log["event_id"] for log in told} == {str(event) for event in events}
    assert [kind for kind, _ in mails(rows)] == ["incident_opened"]
    assert mails(rows)[0][1].startswith("unknown: ")
    failing, incident = rows.endpoint_columns(endpoint, "failing_since, incident_since")
    assert failing is not None
    assert incident is not None


def test_an_incident_under_way_is_not_told_again(
    rows: WebhookRows, scheduler: Scheduler, session: Session, endpoint: UUID
) -> None:
    for _ in range(2):
        rows.delivery(endpoint, state=SENDING, attempts=6, lease_in="-1 s")
        scheduler.make_pass(session)
    assert len(mails(rows)) == 1


def test_a_lease_that_holds_is_left_alone(
    rows: WebhookRows, scheduler: Scheduler, session: Session, endpoint: UUID
) -> None:
    holding = rows.delivery(endpoint, state=SENDING, attempts=1, lease_in="20 s")
    lapsed = rows.delivery(endpoint, state=SENDING, attempts=1, lease_in="-1 s")
    scheduler.make_pass(session)
    assert rows.states(endpoint) == {holding: SENDING, lapsed: RETRYING}
    assert len(attempts(rows)) == 1


def test_several_schedulers_count_a_lapsed_lease_once(
    rows: WebhookRows, make_scheduler: MakeScheduler, endpoint: UUID
) -> None:
    many = 250  # more than one transaction takes
    for _ in range(many):
        rows.delivery(endpoint, state=SENDING, attempts=1, lease_in="-1 s")
    with capture_logs() as logs, Running(make_scheduler().run), Running(make_scheduler().run):
        wait_for(
            lambda: set(rows.states(endpoint).values()) == {RETRYING}, "every delivery retrying"
        )
    assert len(attempts(rows)) == many
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
    rows: WebhookRows, scheduler: Scheduler, session: Session, wakeups: RecordedWakeups
) -> None:
    partner = rows.partner()
    endpoints = [rows.endpoint(partner) for _ in range(3)]
    for endpoint in endpoints:
        rows.delivery(endpoint)
    wakeups.queued[Lane.FAST] = 7
    scheduler.make_pass(session)
    assert wakeups.sent == []
    wakeups.queued[Lane.FAST] = 6
    scheduler.make_pass(session)
    assert {each.endpoint_id for each in wakeups.sent} == set(endpoints)


def test_without_valkey_passes_go_on_and_the_outage_is_told_once(
    rows: WebhookRows, make_scheduler: MakeScheduler, wakeups: RecordedWakeups, endpoint: UUID
) -> None:
    rows.delivery(endpoint)
    lapsed = rows.delivery(endpoint, state=SENDING, attempts=1, lease_in="-1 s")
    wakeups.away = True
    scheduler = make_scheduler()
    with capture_logs() as logs, Running(scheduler.run):
        wait_for(lambda: rows.states(endpoint)[lapsed] == RETRYING, "the lapsed one retrying")
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
