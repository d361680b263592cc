"""A lease lasts as long as its holder lives, and no longer."""

import threading
from datetime import timedelta

import psycopg
import pytest
from msgspec import structs
from structlog.testing import capture_logs

from services.core.database import ThreadPool
from services.core.environments import Environment
from services.webhooks.delivery.claims import LEASE, Claim
from services.webhooks.delivery.leases import Leases
from services.webhooks.delivery.store import Store
from tests.webhook_rows import WebhookRows
from tools.waiting import wait_for


@pytest.fixture
def leases(pool: ThreadPool) -> Leases:
    return Leases(pool, Environment.SANDBOX)


@pytest.fixture
def claim(rows: WebhookRows, store: Store) -> Claim:
    endpoint = rows.endpoint(rows.partner())
    rows.delivery(endpoint)
    claim = store.claim(endpoint)
    assert claim is not None
    rows.run("UPDATE {env}.deliveries SET lease_until = now() + interval '1 s'")
    return claim


def left(rows: WebhookRows) -> timedelta:
    return rows.one("SELECT lease_until - now() FROM {env}.deliveries")


def test_what_is_held_is_renewed(rows: WebhookRows, leases: Leases, claim: Claim) -> None:
    leases.hold(claim)
    assert leases.renew() == 1
    assert timedelta(seconds=1) < left(rows) <= LEASE


def test_what_was_left_is_not_renewed(rows: WebhookRows, leases: Leases, claim: Claim) -> None:
    leases.hold(claim)
    leases.leave(claim)
    leases.leave(claim)
    assert leases.renew() == 0
    assert left(rows) <= timedelta(seconds=1)


def test_a_claim_that_others_have_taken_over_is_not_renewed(
    rows: WebhookRows, leases: Leases, claim: Claim
) -> None:
    leases.hold(claim)
    rows.run("UPDATE {env}.deliveries SET claimed_at = claimed_at + interval '1 ms'")
    assert leases.renew() == 0
    rows.run("UPDATE {env}.deliveries SET claimed_at = %s, state = 'retrying'", [claim.claimed_at])
    assert leases.renew() == 0


def test_leaving_a_lapsed_claim_keeps_a_newer_one_of_the_same_delivery(
    leases: Leases, claim: Claim
) -> None:
    lapsed = structs.replace(claim, claimed_at=claim.claimed_at - timedelta(seconds=3))
    leases.hold(lapsed)
    leases.hold(claim)
    leases.leave(lapsed)
    assert leases.renew() == 1


def test_renewals_go_on_after_a_failure_that_nobody_expected(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[int] = []

    def fail() -> int:
        failed.append(1)
        raise psycopg.errors.InsufficientPrivilege

    monkeypatch.setattr(leases, "renew", fail)
    stop = threading.Event()
    thread = threading.Thread(target=leases.run, args=[stop, timedelta(milliseconds=1)])
    with capture_logs() as logs:
        thread.start()
        wait_for(lambda: len(failed) > 1, "a renewal after the failure")
        stop.set()
        thread.join(timeout=5)
    assert logs[0]["event"] == "leases.failed"


def test_renewals_go_on_until_the_end(rows: WebhookRows, leases: Leases, claim: Claim) -> None:
    stop = threading.Event()
    every = timedelta(milliseconds=20)
    thread = threading.Thread(target=leases.run, args=[stop, every])
    thread.start()
    try:
        leases.hold(claim)
        for _ in range(2):
            rows.run("UPDATE {env}.deliveries SET lease_until = now()")
            wait_for(lambda: left(rows) > timedelta(seconds=1), "a renewed lease")
    finally:
        stop.set()
        thread.join(timeout=5)
    assert not thread.is_alive()
