"""Old rows: no statement that programs repeat reads more pages because of what once was.

Whatever the programs run in a round is measured; a statement that is new is measured as well.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
import pytest
from psycopg import AsyncConnection, Connection, sql

from services.admin.changes import Admin
from services.admin.gateway.reconciler import Reconciler
from services.admin.metrics import AdminMetrics
from services.admin.settings import AdminSettings
from services.core.availability import Availability
from services.core.database_calls import Work
from services.core.encryption import SecretBox, make_master_key
from services.core.environments import Environment
from services.domain.key_uses import KeyUseStore
from services.local.children import free_port
from services.query.changes import ChangeFeed
from services.query.delta import Delta
from services.query.memory import Bounds, Memory
from services.query.store import Store
from services.webhooks.mail.mailer import Mailer
from services.webhooks.monitoring.backlogs import DeliveryBacklog, OutboxBacklog, Pace
from services.webhooks.monitoring.store import MonitoringStore
from services.webhooks.relay.relay import Relay
from services.webhooks.scheduler.scheduler import Scheduler
from tests.conftest import Database
from tests.page_reads import PageReads
from tests.recorded_wakeups import RecordedWakeups
from tests.webhook_rows import WebhookRows, connect_owner
from tools.waiting import wait_for

T = TypeVar("T")

ENVIRONMENT = Environment.LIVE
POLICY = Path(__file__).parents[2] / "gateway" / "kong.yml"
OLD_ROWS = 100_000
FACTOR = 1.5
INDEX_LEVELS = (
    8  # pages: an index of 100,000 rows has a level or two more, wherever it is looked at
)
ROUNDS = 3

# 1,000 events, of which the last 50 wait to be sent again.
DAYS_DELIVERIES = """
WITH event AS (
    INSERT INTO {env}.events (event_type, product_id, version, occurred_at, data)
    SELECT 'inventory.updated', 'A', n, now() - n * interval '1 min', '{{}}'
    FROM generate_series(1, 1000) AS n
    RETURNING id, version
)
INSERT INTO {env}.deliveries (endpoint_id, event_id, state, attempts, next_attempt_at)
SELECT endpoints.id, event.id, CASE WHEN version < 50 THEN 'retrying' ELSE 'delivered' END, 1,
    now() + interval '1 hour'
FROM event CROSS JOIN {env}.endpoints
"""

# Of each kind as many as there may be after years, all at once; without the triggers and the checks
# of foreign keys, which would take a minute.
GROW = """
SET LOCAL session_replication_role = replica;

CREATE TEMPORARY TABLE old ON COMMIT DROP AS
SELECT uuidv7() AS id, n, now() - n * interval '1 s' AS at FROM generate_series(1, {rows}) AS n;

INSERT INTO {env}.endpoints (id, partner_id, url, events, state, secret, kept_until)
SELECT old.id, {partner}, 'https://old.example/' || n, ARRAY['inventory.updated'], 'deleted', NULL,
    now() + interval '6 days' FROM old;
INSERT INTO {env}.events (id, event_type, product_id, version, occurred_at, data)
SELECT id, 'inventory.updated', 'OLD-' || n, 1, at, '{{}}' FROM old;
INSERT INTO {env}.deliveries (endpoint_id, event_id, state, attempts, finished_at)
SELECT id, id, (ARRAY['delivered', 'cancelled'])[1 + n % 2], 1, at FROM old;
INSERT INTO {env}.attempts
    (endpoint_id, event_id, series, number, outcome, started_at, milliseconds)
SELECT id, id, 1, 1, 'delivered', at, 5 FROM old;
INSERT INTO {env}.mails (kind, partner_id, endpoint_id, since, reason, sent_at)
SELECT 'incident_opened', {partner}, id, at, 'HTTP 500', at FROM old;
INSERT INTO {env}.stock_changes (product_id, new_quantity, version, changed_at, relayed)
SELECT 'OLD-' || n, NULL, n, at, true FROM old;
INSERT INTO {env}.removed_products (product_id, version, removed_at)
SELECT 'OLD-' || n, n, at FROM old;

-- A third was revoked, the others ended, half of those after a rotation; a sixth never had an end.
INSERT INTO control.api_keys (id, partner_id, environment, shown, fingerprint, sealed,
    expires_at, revoked_at, replaced_by)
SELECT id, {partner}, 'live', 'pk_live_' || n, n, CASE WHEN n % 3 <> 0 THEN 'sealed'::bytea END,
    CASE WHEN n % 6 <> 0 THEN at - interval '31 days' END,
    CASE WHEN n % 3 = 0 THEN at END, CASE WHEN n % 3 = 1 THEN id END FROM old;
INSERT INTO {env}.key_uses (key_id, last_used_at) SELECT id, at FROM old;
INSERT INTO control.tokens (name, role, fingerprint, revoked_at)
SELECT 'token-' || n, 'viewer', n, at FROM old;
INSERT INTO control.audit (actor, action, target, at)
SELECT 'token:old', 'key.revoked', 'key:' || id, at FROM old;
"""


@pytest.fixture
def rows(database: Database) -> Generator[WebhookRows]:
    with closing(connect_owner(database.owner_url)) as owner:
        yield WebhookRows(owner, ENVIRONMENT)


@pytest.fixture
def settings(database: Database) -> AdminSettings:
    return AdminSettings(
        admin_database_url=database.url("admin"),
        master_keys=make_master_key(),
        gateway_policy=str(POLICY),
        kong_admin_urls=f"http://127.0.0.1:{free_port()}",  # a node that is away
    )


@pytest.mark.long
@pytest.mark.timeout(300)
def test_what_programs_repeat_reads_no_more_pages_because_of_100000_old_rows(
    database: Database, rows: WebhookRows, settings: AdminSettings
) -> None:
    make_a_days_rows(rows, SecretBox(settings.master_keys))
    before = measure(database, rows, settings)
    grow(rows)
    after = measure(database, rows, settings)
    assert set(after.fewest) == set(before.fewest)
    grown = {
        statement: (few, after.fewest[statement], after.scanned(statement))
        for statement, few in before.fewest.items()
        if after.fewest[statement] > max(few * FACTOR, few + INDEX_LEVELS)
    }
    assert grown == {}
    assert len(before.fewest) > 25


def make_a_days_rows(rows: WebhookRows, box: SecretBox) -> None:
    """Insert what there is on any day: partners with keys, endpoints, and deliveries that wait."""
    for number in range(10):
        partner = rows.partner(f"partner-{number}")
        rows.run(
            "INSERT INTO control.partners (id, name, tier, contact)"
            " SELECT id, name, 'standard', contact FROM {env}.partners WHERE id = %s",
            [partner],
        )
        for ends_in in (None, "20 days"):
            key = uuid4()
            rows.run(
                "INSERT INTO control.api_keys (id, partner_id, environment, shown, fingerprint,"
                " sealed, expires_at) VALUES (%s, %s, 'live', %s, %s, %s, now() + %s::interval)",
                [key, partner, str(key)[:12], str(key), box.seal(f"pk_live_{key}"), ends_in],
            )
        for state in ("active", "disabled"):
            rows.endpoint(partner, state=state)
    rows.run(DAYS_DELIVERIES)


def grow(rows: WebhookRows) -> None:
    """Add OLD_ROWS of everything that is over."""
    env, partner = sql.Identifier(rows.environment), rows.run("SELECT id FROM {env}.partners")[0][0]
    statement = sql.SQL(GROW).format(env=env, partner=sql.Literal(partner), rows=OLD_ROWS)
    with rows.owner.transaction():
        rows.owner.execute(statement)


def measure(database: Database, rows: WebhookRows, settings: AdminSettings) -> PageReads:
    """Return what the statements of all programs read, at their fewest of some rounds."""
    rows.owner.execute("VACUUM ANALYZE")
    reads = PageReads()
    with contextlib.ExitStack() as opened:

        def connect(role: str) -> Connection[Any]:
            connection = psycopg.connect(database.url(role), autocommit=True)
            return reads.of(opened.enter_context(closing(connection)))

        webhooks = webhook_rounds(connect("live_webhooks"))
        admin = admin_rounds(connect("admin"), settings)
        for _ in range(ROUNDS):
            change_something(rows)
            next(webhooks)
            next(admin)
        reconcile(reads, settings)
        asyncio.run(query_rounds(database, reads, rows))
    return reads


def change_something(rows: WebhookRows) -> None:
    """Change a product, and have a delivery wait for an endpoint that is disabled."""
    rows.set_stock("TABLET-00001", int(time.monotonic_ns() % 1_000_000))
    rows.delivery(rows.run("SELECT id FROM {env}.endpoints WHERE state = 'disabled'")[0][0])


def webhook_rounds(session: Connection[Any]) -> Iterator[None]:
    """Make a round of the relay, the scheduler and the mailer at each step."""
    clock = itertools.count(0.0, 61.0).__next__  # every round is one that tidies and looks
    wakeups, store = RecordedWakeups(), MonitoringStore(ENVIRONMENT)
    relay = Relay("", ENVIRONMENT, wakeups, poll_seconds=1)
    scheduler = Scheduler(
        "",
        ENVIRONMENT,
        wakeups,
        poll_seconds=1,
        clock=clock,
    )
    mailer = Mailer(
        "",
        ENVIRONMENT,
        smtp_url="smtp://127.0.0.1:1",
        mail_from="a@shop.example",
        poll_seconds=1,
    )
    outbox = OutboxBacklog(store, pace=Pace(clock), now=lambda: datetime.now(UTC))
    deliveries = DeliveryBacklog(store, pace=Pace(clock), now=lambda: datetime.now(UTC))
    while True:
        assert relay.relay_batch(session) > 0
        outbox.look(session)
        scheduler.make_pass(session)
        deliveries.look(session)
        assert not mailer.send_one(session)
        yield


def admin_rounds(connection: Connection[Any], settings: AdminSettings) -> Iterator[None]:
    """Show admin's metrics at each step."""
    box = SecretBox(settings.master_keys)
    admin = Admin(settings, box, lambda: contextlib.nullcontext(connection))
    metrics = AdminMetrics(admin, is_leader=lambda: True, clock=time.monotonic)
    while True:
        assert list(metrics.collect())
        yield


def reconcile(reads: PageReads, settings: AdminSettings) -> None:
    """Let a reconciler look some times, first at partners and keys that it does not know."""

    class Measured(Reconciler):
        def _connect(self) -> Connection[Any]:
            return reads.of(super()._connect())

    def looks() -> int:
        return max((n for text, n in reads.runs.items() if "gateway_publisher" in text), default=0)

    box = SecretBox(settings.master_keys)
    before = looks()
    reconciler = Measured(settings, box, name="a test", clock=time.monotonic)
    reconciler.start()
    try:
        wait_for(lambda: looks() >= before + ROUNDS, "looks of the reconciler")
    finally:
        reconciler.stop()


async def query_rounds(database: Database, reads: PageReads, rows: WebhookRows) -> None:
    """Have a query process follow changes, read stock, note uses and answer the delta sync."""
    plain = await AsyncConnection.connect(database.url("live_query"), autocommit=True)
    async with plain, reads.of_async(plain) as connection:
        calls: Any = OneConnection(connection)
        memory = Memory(Bounds(0, 0), max_age=timedelta(seconds=25), clock=time.time)
        feed = ChangeFeed(
            "",
            ENVIRONMENT,
            NoCache(),  # type: ignore[arg-type] -- the one method that it calls
            memory,
            poll=timedelta(seconds=1),
            max_age=timedelta(seconds=25),
            clock=time.time,
            availability=Availability("changes", clock=time.monotonic),
        )
        delta = Delta(calls, ENVIRONMENT, at_once=1)
        await feed.catch_up(connection)
        cursor = await delta.start()
        for _ in range(ROUNDS):
            change_something(rows)
            assert await feed.catch_up(connection) == 1
            page = await delta.page(cursor, 100)
            assert b"TABLET-00001" in page.items
            await Store(calls, ENVIRONMENT).read(["TABLET-00001", "GONE"])
            await KeyUseStore(calls, ENVIRONMENT).write({str(uuid4()): time.time()})


class OneConnection:
    """Does the work of requests on the one connection that is measured."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection

    async def read(self, work: Work[T], **_: float) -> T:
        return await work(self._connection)


class NoCache:
    """Takes the place of Valkey: of no interest here."""

    async def write(self, entries: list[Any], **_: float) -> int:
        return len(entries)
