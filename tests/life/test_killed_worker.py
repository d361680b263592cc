"""A worker killed in mid-call: its endpoints get what comes next within 5 s (W6, W9)."""

import time
from collections.abc import Generator
from pathlib import Path

import pytest

from services.webhooks.delivery.claims import HANGING
from tests.chaos.partners import Partners
from tools.chain import Chain
from tools.receiver import NO_ANSWER, Behaviour
from tools.receiver_process import Receiver, running_receiver
from tools.waiting import wait_for

KILLS = 10
WITHIN = 5.0  # seconds from a change to its receiver (W6)
WORKERS = ("worker", "other-worker")

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]


@pytest.fixture
def receiver(tmp_path: Path) -> Generator[Receiver]:
    with running_receiver(tmp_path) as found:
        yield found


@pytest.fixture
def chain(tmp_path: Path) -> Generator[Chain]:
    found = Chain(tmp_path, SMTP_URL="smtp://127.0.0.1:1", RELAY_POLL_SECONDS=1, CALL_SECONDS=120)
    try:
        found.start_servers()
        yield found
    finally:
        found.end()


def add_product(chain: Chain, product_id: str) -> None:
    with chain.owner() as owner:
        owner.execute(
            "INSERT INTO sandbox.products (product_id, quantity) VALUES (%s, 100)", [product_id]
        )


def hangs(chain: Chain) -> bool:
    """Say whether a call is under way that has taken so long that its endpoint gets no other."""
    with chain.owner() as owner:
        found = owner.execute(
            "SELECT FROM sandbox.deliveries WHERE state = 'sending' AND claimed_at < now() - %s",
            [HANGING],
        ).fetchall()
    return bool(found)


def unfinished(chain: Chain) -> int:
    with chain.owner() as owner:
        found = owner.execute("SELECT FROM sandbox.deliveries WHERE state <> 'delivered'")
        return found.rowcount


def test_a_worker_killed_in_mid_call_delays_the_next_change_by_no_more_than_w6_allows(
    chain: Chain, receiver: Receiver
) -> None:
    chain.add("other-worker", like="worker")
    chain.start(["api", "relay", "scheduler", "worker"])
    partners = Partners(chain, receiver)
    partners.add_to_database()
    partners.register(0)

    def behave(behaviour: Behaviour) -> None:
        receiver.configure(0, partners.secrets_of(0), [behaviour])

    took: list[float] = []
    for number in range(KILLS):
        dying, staying = WORKERS if number % 2 == 0 else reversed(WORKERS)
        behave(Behaviour(status=NO_ANSWER))
        add_product(chain, f"KILLED-{number}")
        wait_for(lambda: hangs(chain), "a call that hangs")
        behave(Behaviour())
        chain.start([staying])
        chain.kill([dying])
        began = time.monotonic()
        add_product(chain, f"NEXT-{number}")
        wait_for(
            lambda: f"NEXT-{number}" in {each.product_id for each in receiver.receipts()},  # noqa: B023
            "the next change",
        )
        took.append(time.monotonic() - began)
        wait_for(lambda: unfinished(chain) == 0, "what was under way sent again")
    print(f"seconds from the change to its receiver: {sorted(round(each, 2) for each in took)}")
    assert max(took) < WITHIN
    assert {each.retry_count for each in receiver.receipts()} == {0}
    with chain.owner() as owner:
        counted = owner.execute("SELECT DISTINCT attempts FROM sandbox.deliveries").fetchall()
        assert counted == [(1,)]
        assert owner.execute("SELECT FROM sandbox.mails").fetchall() == []
