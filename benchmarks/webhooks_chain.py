"""Webhooks chain: the programs, a receiver and partners' endpoints, for measurements."""

import contextlib
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tools.chain import API, BACKGROUND, STOCK_ROLE, Chain, running_chain
from tools.receiver import Behaviour
from tools.receiver_process import Receiver, running_receiver
from tools.waiting import wait_for

EVENT = "inventory.updated"  # one event for each change: deliveries are easy to count
ENDPOINTS_OF_A_PARTNER = 10
PRODUCTS = 1_000
QUIET_WITHIN = 60.0  # seconds

INSERT = """
INSERT INTO sandbox.products (product_id, quantity)
SELECT 'BENCH-' || number, 100 FROM generate_series(0, %s - 1) AS number
"""
TO_RELAY = "SELECT count(*) FROM sandbox.stock_changes WHERE NOT relayed"


@dataclass(frozen=True)
class Bench:
    """A running chain with endpoints; the programs run with their own defaults."""

    chain: Chain
    receiver: Receiver
    secrets: Sequence[str]  # by endpoint

    @property
    def stock_url(self) -> str:
        """The database address of the role that writes stock."""
        return self.chain.postgres.url(STOCK_ROLE)


@contextlib.contextmanager
def running_bench(
    endpoints: int, behaviour: Callable[[int], Sequence[Behaviour]], **settings: object
) -> Generator[Bench]:
    """Run everything, with products of which nothing is left to tell, for a with block."""
    with (
        tempfile.TemporaryDirectory() as name,
        running_receiver(Path(name), hosts=endpoints) as receiver,
        running_chain(Path(name), **settings) as chain,
    ):
        chain.start((*BACKGROUND, API))
        _insert_products(chain)
        secrets = [_register(chain, receiver, number, behaviour) for number in range(endpoints)]
        chain.end([API])
        yield Bench(chain, receiver, secrets)


def _insert_products(chain: Chain) -> None:
    """Insert them before there is an endpoint, and wait until the relay is through with them."""
    with chain.owner() as owner:
        owner.execute(INSERT, [PRODUCTS])
    wait_for(
        lambda: count(chain, TO_RELAY) == 0, "the products are relayed", QUIET_WITHIN, every=0.1
    )


def _register(
    chain: Chain,
    receiver: Receiver,
    number: int,
    behaviour: Callable[[int], Sequence[Behaviour]],
) -> str:
    name = f"partner-{number // ENDPOINTS_OF_A_PARTNER}"
    if number % ENDPOINTS_OF_A_PARTNER == 0:
        statement = "INSERT INTO sandbox.partners VALUES (%s, %s, 'a@b.example', 'active')"
        with chain.owner() as owner:
            owner.execute(statement, [uuid4(), name])
    body = {"url": receiver.url(number), "events": [EVENT]}
    with chain.partner(name) as partner:
        answer = partner.post("/webhooks", json=body).raise_for_status()
    secret: str = answer.json()["secret"]
    receiver.configure(number, [secret], behaviour(number))
    return secret


def count(chain: Chain, statement: str) -> int:
    """Return the number that a statement selects."""
    with chain.owner() as owner:
        row = owner.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row[0])
