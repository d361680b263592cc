"""What admin counts of keys, and shows while PostgreSQL is away."""

import contextlib
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import psycopg

from services.admin.metrics import AdminMetrics, KeyEnds, count_keys
from services.admin.settings import AdminSettings
from tests.conftest import Database


def add_partner(owner: psycopg.Connection[Any], name: str, state: str = "active") -> UUID:
    partner = uuid4()
    owner.execute(
        "INSERT INTO control.partners (id, name, tier, contact, state)"
        " VALUES (%s, %s, 'premium', 'a@b.example', %s)",
        [partner, name, state],
    )
    return partner


def add_key(
    owner: psycopg.Connection[Any],
    partner: UUID,
    ends_in: str | None,
    *,
    revoked: bool = False,
    replaced_by: UUID | None = None,
) -> UUID:
    key = uuid4()
    owner.execute(
        "INSERT INTO control.api_keys (id, partner_id, environment, shown, fingerprint, sealed,"
        " expires_at, revoked_at, replaced_by)"
        " VALUES (%s, %s, 'live', 'pk_live_abcd', %s, 's', now() + %s::interval,"
        " CASE WHEN %s THEN now() END, %s)",
        [key, partner, str(key), ends_in, revoked, replaced_by],
    )
    return key


def test_keys_are_counted_that_end_and_that_nothing_has_replaced(database: Database) -> None:
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        active, suspended = add_partner(owner, "techmart"), add_partner(owner, "other", "suspended")
        new = add_key(owner, active, None)
        for ends_in in ("1 hour", "3 days", "20 days", "40 days", "-1 day"):
            add_key(owner, active, ends_in)
            add_key(owner, suspended, ends_in)
            add_key(owner, active, ends_in, revoked=True)
            add_key(owner, active, ends_in, replaced_by=new)
    with psycopg.connect(database.url("admin"), autocommit=True) as connection:
        assert count_keys(connection) == KeyEnds(1, 2, 3, 1)


def test_without_postgresql_the_age_of_the_last_publish_goes_on_and_the_rest_is_left_out() -> None:
    now = 100.0

    @contextlib.contextmanager
    def away() -> Any:  # noqa: ANN401 -- it never yields
        raise psycopg.OperationalError
        yield

    settings = AdminSettings(
        admin_database_url="postgresql://admin@127.0.0.1/x",
        master_keys="unused",
        gateway_counters_url="valkey://127.0.0.1:1/0",  # where nobody listens
    )
    admin: Any = SimpleNamespace(reading=away, settings=settings)
    shown = AdminMetrics(admin, is_leader=lambda: False, clock=lambda: now)
    now += 30
    values = {each.name: each.samples[0].value for each in shown.collect()}
    assert values == {
        "gateway_reconciler_leader": 0,
        "gateway_counters_up": 0,
        "gateway_publish_age_seconds": 30,
    }
