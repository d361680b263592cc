"""Background programs at SIGTERM: calls under way end, and nothing is lost or sent twice."""

import signal
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.chaos.partners import Partners
from tools.chain import Chain
from tools.receiver import Behaviour
from tools.receiver_process import Receiver, running_receiver
from tools.waiting import wait_for

SLOW = 12.0  # seconds that the receiver takes; longer than a lease (2.5 s)
ENDPOINTS = 2  # of those that partners.py knows: both hear of every update
UPDATES = 150

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]


@pytest.fixture
def receiver(tmp_path: Path) -> Generator[Receiver]:
    with running_receiver(tmp_path) as found:
        yield found


@pytest.fixture
def chain(tmp_path: Path) -> Generator[Chain]:
    found = Chain(tmp_path, SMTP_URL="smtp://127.0.0.1:1", RELAY_POLL_SECONDS=1)
    try:
        found.start_servers()
        yield found
    finally:
        found.end()


def registered(chain: Chain, receiver: Receiver, behaviour: Behaviour) -> None:
    """Register endpoints that all behave in this way."""
    partners = Partners(chain, receiver)
    partners.add_to_database()
    for number in range(ENDPOINTS):
        partners.register(number)
        receiver.configure(number, partners.secrets_of(number), [behaviour])


def add_products(chain: Chain, first: int, count: int) -> None:
    with chain.owner() as owner:
        owner.execute(
            "INSERT INTO sandbox.products (product_id, quantity)"
            " SELECT 'P-' || n, 100 FROM generate_series(%s::int, %s::int) AS n",
            [first, first + count - 1],
        )


def states(chain: Chain) -> dict[tuple[str, int], int]:
    """Return how many deliveries there are by state and by number of attempts."""
    with chain.owner() as owner:
        rows = owner.execute(
            "SELECT state, attempts, count(*) FROM sandbox.deliveries GROUP BY 1, 2"
        ).fetchall()
    return {(state, attempts): count for state, attempts, count in rows}


def test_a_worker_that_ends_makes_its_calls_to_the_end(chain: Chain, receiver: Receiver) -> None:
    chain.start()
    registered(chain, receiver, Behaviour(after=SLOW))
    add_products(chain, 1, 1)
    wait_for(lambda: receiver.count() == ENDPOINTS, "both calls under way")
    began = time.monotonic()
    chain.signal("worker", signal.SIGTERM)
    assert chain.wait_ended("worker", 20) == 0
    assert time.monotonic() - began > SLOW - 3
    # Had a lease lapsed or a call been broken off, the scheduler would have had it made again.
    assert states(chain) == {("delivered", 1): ENDPOINTS}
    assert receiver.count() == ENDPOINTS


def test_restarts_of_all_programs_lose_nothing_and_send_nothing_twice(
    chain: Chain, receiver: Receiver
) -> None:
    chain.start()
    registered(chain, receiver, Behaviour(after=0.02))
    for round_, name in enumerate(("relay", "worker", "scheduler", "slow-worker") * 2):
        add_products(chain, round_ * UPDATES, UPDATES)
        wait_for(lambda: receiver.count() > round_ * UPDATES, "some of them sent")  # noqa: B023
        chain.signal(name, signal.SIGTERM)
        assert chain.wait_ended(name, 20) == 0
        chain.start([name])
    expected = 8 * UPDATES * ENDPOINTS
    wait_for(lambda: states(chain) == {("delivered", 1): expected}, "all delivered", within=60)
    assert receiver.count() == expected
    assert len({(each.endpoint, each.event_id) for each in receiver.receipts()}) == expected
