"""The relay: every committed change becomes its events and deliveries once, whatever happens."""

import random
import time
from collections.abc import Iterator
from threading import Thread
from uuid import UUID

import psycopg
import pytest
from structlog.testing import capture_logs

from services.core.environments import Environment
from services.domain.events import EventType
from services.local.valkey import RunningValkey
from services.webhooks.faults import FaultStep
from services.webhooks.queue import Lane, Wakeups, make_broker
from services.webhooks.relay import relay as relay_module
from services.webhooks.relay.relay import Relay
from services.webhooks.relay.store import Change, NewEvent
from services.webhooks.sessions import Session
from tests.conftest import Database
from tests.integration.webhooks.relay.conftest import MakeRelay
from tests.recorded_wakeups import RecordedWakeups, Wakeup
from tests.webhook_rows import WebhookRows
from tools.waiting import Running, wait_for

MANY = 600  # changes


def relayed(rows: WebhookRows) -> bool:
    return rows.one("SELECT count(*) FROM {env}.stock_changes WHERE NOT relayed") == 0


def events(rows: WebhookRows) -> list[tuple[str, int]]:
    """Return product and version of each event, in the order of their ids."""
    return rows.run("SELECT product_id, version FROM {env}.events ORDER BY id")


def change_many(rows: WebhookRows, many: int = MANY) -> None:
    """Change stock `many` times, in transactions of several sizes."""
    for start in range(0, many, 50):
        rows.run(
            "INSERT INTO {env}.products (product_id, quantity)"
            " SELECT 'P-' || n, 100 FROM generate_series(%s::int, %s::int) AS n",
            [start, start + 49],
        )


def change_many_again(rows: WebhookRows) -> None:
    """Change every product once more, in one statement."""
    rows.run("UPDATE {env}.products SET quantity = quantity + 1")


def assert_each_change_once(rows: WebhookRows, endpoint_id: UUID, many: int = MANY) -> None:
    changes = rows.run("SELECT product_id, version FROM {env}.stock_changes ORDER BY 1, 2")
    assert len(changes) == many
    assert sorted(events(rows)) == changes
    assert len(rows.states(endpoint_id)) == many


def test_a_change_is_relayed_with_the_item_as_partners_read_it(
    rows: WebhookRows, relay: Relay, session: Session
) -> None:
    rows.set_stock("A", 12)
    rows.set_stock("A", 9)
    assert relay.relay_batch(session) == 2
    stored = rows.run(
        "SELECT event_type, data::jsonb ->> 'quantity', data::jsonb ->> 'status',"
        " (data::jsonb ->> 'version')::bigint = version,"
        " (data::jsonb ->> 'updated_at')::timestamptz = occurred_at FROM {env}.events ORDER BY id"
    )
    assert stored == [
        ("inventory.updated", "12", "in_stock", True, True),
        ("inventory.updated", "9", "low_stock", True, True),
        ("inventory.low_stock", "9", "low_stock", True, True),
    ]
    assert relay.relay_batch(session) == 0


def test_events_are_stored_when_nobody_subscribed(
    rows: WebhookRows, relay: Relay, session: Session, wakeups: RecordedWakeups
) -> None:
    rows.set_stock("A", 1)
    relay.relay_batch(session)
    assert len(events(rows)) == 1
    assert wakeups.sent == []


@pytest.mark.parametrize("state", ["disabled", "deleted"])
def test_an_endpoint_that_is_not_active_is_given_no_deliveries(
    rows: WebhookRows, relay: Relay, session: Session, wakeups: RecordedWakeups, state: str
) -> None:
    partner = rows.partner()
    active = rows.endpoint(partner)
    other = rows.endpoint(partner, state=state)
    rows.set_stock("A", 1)
    relay.relay_batch(session)
    assert (len(rows.states(active)), len(rows.states(other))) == (1, 0)
    assert [each.endpoint_id for each in wakeups.sent] == [active]


def test_a_suspended_partner_is_given_no_deliveries_and_events_are_kept_for_its_replay(
    rows: WebhookRows, relay: Relay, session: Session
) -> None:
    endpoint = rows.endpoint(rows.partner(state="suspended"))
    rows.set_stock("A", 1)
    relay.relay_batch(session)
    assert rows.states(endpoint) == {}
    assert {product_id for product_id, _ in events(rows)} == {"A"}


def test_only_subscribed_types_are_delivered(
    rows: WebhookRows, relay: Relay, session: Session
) -> None:
    endpoint = rows.endpoint(rows.partner(), events=[EventType.INVENTORY_OUT_OF_STOCK])
    for quantity in (20, 5, 0):
        rows.set_stock("A", quantity)
    relay.relay_batch(session)
    delivered = rows.one(
        "SELECT event_type FROM {env}.deliveries JOIN {env}.events ON events.id = event_id"
        " WHERE endpoint_id = %s",
        [endpoint],
    )
    assert delivered == "inventory.out_of_stock"


def test_a_change_that_is_rolled_back_is_told_to_nobody(
    rows: WebhookRows, relay: Relay, session: Session
) -> None:
    with rows.owner.transaction(force_rollback=True):
        rows.set_stock("A", 1)
    assert relay.relay_batch(session) == 0
    assert events(rows) == []


def test_a_batch_is_the_oldest_changes_in_order(
    rows: WebhookRows, make_relay: MakeRelay, session: Session
) -> None:
    relay = make_relay(batch=40)
    change_many(rows, 100)
    taken = []
    while batch := relay.relay_batch(session):
        taken.append(batch)
    assert taken == [40, 40, 20]
    assert [version for _, version in events(rows)] == sorted(v for _, v in events(rows))


def test_wake_ups_are_sent_after_the_commit_and_no_more_than_workers_can_use(
    rows: WebhookRows, database: Database, session: Session
) -> None:
    visible: list[int] = []

    def look(endpoint_id: UUID) -> None:
        visible.append(len(rows.states(endpoint_id)))

    wakeups = RecordedWakeups(on_wake=look)
    endpoint = rows.endpoint(rows.partner())
    relay = Relay("", Environment.SANDBOX, wakeups, poll_seconds=1)
    rows.set_stock("A", 100)
    relay.relay_batch(session)
    change_many(rows, 50)
    relay.relay_batch(session)
    assert wakeups.sent == [Wakeup(endpoint, Lane.FAST, 1), Wakeup(endpoint, Lane.FAST, 4)]
    assert visible == [1, 51]


def test_a_slow_endpoint_is_woken_in_the_slow_lane(
    rows: WebhookRows, relay: Relay, session: Session, wakeups: RecordedWakeups
) -> None:
    endpoint = rows.endpoint(rows.partner())
    statement = "UPDATE {env}.endpoints SET slow_until = now() + %s::interval"
    for until in ("1 hour", "-1 s"):
        rows.run(statement, [until])
        rows.set_stock(until, 100)
        relay.relay_batch(session)
    assert wakeups.sent == [Wakeup(endpoint, Lane.SLOW, 1), Wakeup(endpoint, Lane.FAST, 1)]


def test_a_bulk_change_of_five_thousand_is_relayed_to_six_subscribers(
    rows: WebhookRows, relay: Relay, session: Session
) -> None:
    partner = rows.partner()
    for _ in range(6):
        rows.endpoint(partner)
    rows.run("CREATE TEMP TABLE staging (product_id text, quantity int)")
    with rows.owner.cursor().copy("COPY staging FROM STDIN") as copy:
        for number in range(5_000):
            copy.write_row((f"P-{number}", 100))
    rows.run("INSERT INTO {env}.products (product_id, quantity) SELECT * FROM staging")
    began = time.monotonic()
    while relay.relay_batch(session):
        pass
    assert time.monotonic() - began < 8  # 1.1 s on two idle cores
    assert rows.one("SELECT count(*) FROM {env}.deliveries") == 30_000


def test_two_relays_at_once_neither_lose_nor_double(
    rows: WebhookRows, make_relay: MakeRelay
) -> None:
    endpoint = rows.endpoint(rows.partner())
    with Running(make_relay(batch=7).run), Running(make_relay(batch=11).run):
        change_many(rows)
        wait_for(lambda: relayed(rows), "everything relayed")
    assert_each_change_once(rows, endpoint)


def test_a_relay_does_not_wait_for_what_another_has_in_hand(
    rows: WebhookRows, make_relay: MakeRelay, session: Session
) -> None:
    change_many(rows, 50)
    with rows.owner.transaction(force_rollback=True):
        rows.run(
            "SELECT id FROM {env}.stock_changes WHERE NOT relayed ORDER BY id LIMIT 20 FOR UPDATE"
        )
        assert make_relay().relay_batch(session) == 30
    assert make_relay().relay_batch(session) == 20


def test_a_notification_wakes_it_at_once(rows: WebhookRows, make_relay: MakeRelay) -> None:
    with Running(make_relay(poll_seconds=3600).run):
        wait_for_listener(rows)
        for number in range(3):
            rows.set_stock("A", number)
            wait_for(lambda: relayed(rows), "the change relayed", within=5)


def test_a_lost_notification_is_made_up_for_by_the_poll(
    rows: WebhookRows, make_relay: MakeRelay
) -> None:
    rows.run("ALTER TABLE {env}.products DISABLE TRIGGER wake")
    with Running(make_relay(poll_seconds=0.1).run):
        wait_for_listener(rows)
        rows.set_stock("A", 1)
        wait_for(lambda: relayed(rows), "the change relayed")


@pytest.mark.long
def test_connections_that_are_ended_at_random_lose_nothing(
    rows: WebhookRows, database: Database, make_relay: MakeRelay
) -> None:
    endpoint = rows.endpoint(rows.partner())
    chance = random.Random(4)

    def end_sessions() -> None:
        with psycopg.connect(database.owner_url, autocommit=True) as other:
            for _ in range(40):
                time.sleep(chance.uniform(0, 0.03))  # any moment: between batches and within one
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'sandbox relay'"
                )

    ending = Thread(target=end_sessions)
    with capture_logs() as logs, Running(make_relay(batch=3).run):
        ending.start()
        change_many(rows)
        ending.join()
        wait_for(lambda: relayed(rows), "everything relayed")
    assert_each_change_once(rows, endpoint)
    assert {"database.away"} <= {log["event"] for log in logs} <= {"database.away", "database.back"}


def test_a_relay_that_dies_between_taking_and_storing_has_taken_nothing(
    rows: WebhookRows, database: Database, make_relay: MakeRelay
) -> None:
    endpoint = rows.endpoint(rows.partner())
    change_many(rows, 50)
    waiting = (
        "FROM pg_stat_activity WHERE application_name = 'sandbox relay'"
        " AND wait_event_type = 'Lock'"
    )
    with capture_logs(), Running(make_relay().run):
        for _ in range(3):
            with psycopg.connect(database.owner_url) as blocking:
                blocking.execute("LOCK TABLE sandbox.events IN EXCLUSIVE MODE")
                if relayed(rows):
                    change_many_again(rows)
                wait_for(lambda: rows.one(f"SELECT count(*) {waiting}") == 1, "a relay that waits")
                rows.run(f"SELECT pg_terminate_backend(pid) {waiting}")
                wait_for(lambda: rows.one(f"SELECT count(*) {waiting}") == 0, "its end")
            wait_for(lambda: relayed(rows), "everything relayed")
    changes = rows.one("SELECT count(*) FROM {env}.stock_changes")
    assert_each_change_once(rows, endpoint, changes)


def test_without_valkey_relaying_goes_on_and_the_outage_is_told_once(
    rows: WebhookRows, make_relay: MakeRelay, session: Session, wakeups: RecordedWakeups
) -> None:
    endpoint = rows.endpoint(rows.partner())
    wakeups.away = True
    relay = make_relay(batch=10)
    change_many(rows, 200)
    with capture_logs() as logs:
        while relay.relay_batch(session):
            pass
    assert_each_change_once(rows, endpoint, 200)
    assert [log["event"] for log in logs] == ["queue.away"]
    assert wakeups.calls == 1


class BugError(Exception):
    """A mistake in our code."""


def failing_for(bad: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the relay fail at the changes of these products."""
    events_of = relay_module.new_events

    def new_events(change: Change) -> Iterator[NewEvent]:
        if change.product_id in bad:
            raise BugError
        return events_of(change)

    monkeypatch.setattr(relay_module, "new_events", new_events)


def relay_all(relay: Relay, session: Session) -> None:
    while relay.relay_batch(session):
        pass


def test_a_change_that_cannot_be_relayed_stops_no_other_and_goes_out_once_the_fault_is_removed(
    rows: WebhookRows, make_relay: MakeRelay, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, faults = [0.0], list[FaultStep]()
    relay = make_relay(clock=lambda: now[0], on_fault=faults.append)
    for product_id in ("A", "BAD-1", "B", "BAD-2", "C"):
        rows.set_stock(product_id, 12)
    with monkeypatch.context() as patch, capture_logs() as logs:
        failing_for({"BAD-1", "BAD-2"}, patch)
        relay_all(relay, session)
        assert {product for product, _ in events(rows)} == {"A", "B", "C"}
        assert faults == [FaultStep.RELAY] * 2
        told = [log["product_id"] for log in logs if log["event"] == "relay.fault"]
        assert told == ["BAD-1", "BAD-2"]
    relay_all(relay, session)
    assert not relayed(rows)  # it has its pause
    now[0] += relay_module.ASIDE_FOR
    relay_all(relay, session)
    assert relayed(rows)
    assert {product for product, _ in events(rows)} == {"A", "B", "C", "BAD-1", "BAD-2"}


def test_a_change_that_postgresql_refuses_to_store_stops_no_other(
    rows: WebhookRows, relay: Relay, session: Session
) -> None:
    rows.run("ALTER TABLE {env}.events ADD CONSTRAINT no_bad CHECK (product_id <> 'BAD')")
    for product_id in ("A", "BAD", "B"):
        rows.set_stock(product_id, 12)
    relay_all(relay, session)
    assert {product for product, _ in events(rows)} == {"A", "B"}
    assert rows.one("SELECT product_id FROM {env}.stock_changes WHERE NOT relayed") == "BAD"


def test_a_fault_of_every_change_is_not_taken_for_one_of_each(
    rows: WebhookRows, make_relay: MakeRelay, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "ASIDE_MOST", 3)
    products = {f"P-{number}" for number in range(5)}
    for product_id in sorted(products):
        rows.set_stock(product_id, 12)
    with monkeypatch.context() as patch:
        failing_for(products, patch)
        relay = make_relay()
        with pytest.raises(BugError):
            relay_all(relay, session)
    relay_all(relay, session)
    assert len(events(rows)) == 2


def test_a_real_valkey_gets_the_wake_ups(
    rows: WebhookRows, database: Database, session: Session, valkey: RunningValkey
) -> None:
    rows.endpoint(rows.partner())
    wakeups = Wakeups(make_broker(valkey.url, Environment.SANDBOX))
    change_many(rows, 50)
    Relay("", Environment.SANDBOX, wakeups, poll_seconds=1).relay_batch(session)
    assert (wakeups.waiting(Lane.FAST), wakeups.waiting(Lane.SLOW)) == (4, 0)


def test_it_ends_soon_after_it_is_told_to(rows: WebhookRows, make_relay: MakeRelay) -> None:
    with Running(make_relay(poll_seconds=3600).run) as running:
        wait_for_listener(rows)
        running.stop.set()
        running.thread.join(2)
        assert not running.thread.is_alive()


def test_it_waits_for_a_database_that_is_not_there_and_still_ends(
    wakeups: RecordedWakeups,
) -> None:
    relay = Relay("postgresql://a:b@127.0.0.1:1/x", Environment.SANDBOX, wakeups, poll_seconds=1)
    with capture_logs() as logs, Running(relay.run) as running:
        wait_for(lambda: len(logs) > 0, "the outage told")
        running.stop.set()
        running.thread.join(3)
        assert not running.thread.is_alive()
    assert [log["event"] for log in logs] == ["database.away"]


def wait_for_listener(rows: WebhookRows) -> None:
    def listening() -> bool:
        return rows.one(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'sandbox relay'"
            " AND state = 'idle' AND query NOT LIKE 'LISTEN%%'"
        )

    wait_for(listening, "a relay that waits")
