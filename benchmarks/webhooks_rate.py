"""Webhooks rate: deliveries/s of one worker process, beside a bare loop that only sends.

Both send to the same receiver with the same number of threads; the receiver's ledger has the times
of the first and the last request of each.
"""

import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import psycopg

from benchmarks.webhooks_bare import Task
from benchmarks.webhooks_chain import QUIET_WITHIN, Bench, count
from tools.receiver import Receipt
from tools.waiting import wait_for

DRAINED_WITHIN = 120.0  # seconds

CHANGE_MANY = """
UPDATE sandbox.products SET quantity = quantity + 1
WHERE product_id IN (SELECT 'BENCH-' || number FROM generate_series(0, %s - 1) AS number)
"""
PENDING = "SELECT count(*) FROM sandbox.deliveries WHERE state = 'pending'"
UNFINISHED = "SELECT count(*) FROM sandbox.deliveries WHERE state <> 'delivered'"


class Round(NamedTuple):
    """Sends per second."""

    bare: float
    worker: float

    @property
    def ratio(self) -> float:
        """The worker's share of the bare loop's rate."""
        return self.worker / self.bare


def measure(bench: Bench, *, deliveries: int, threads: int) -> Round:
    """Measure both, one after the other, with nothing else going on."""
    bench.chain.end(["worker"])
    return Round(
        _bare(bench, deliveries=deliveries, threads=threads), _worker(bench, deliveries=deliveries)
    )


def _bare(bench: Bench, *, deliveries: int, threads: int) -> float:
    urls = [bench.receiver.url(number) for number in range(len(bench.secrets))]
    task = Task(urls, list(bench.secrets), threads, deliveries)
    before = bench.receiver.count()
    command = [sys.executable, "-m", "benchmarks.webhooks_bare"]
    subprocess.run([*command, msgspec.json.encode(task).decode()], check=True)
    return rate_of(bench.receiver.receipts(before))


def _worker(bench: Bench, *, deliveries: int) -> float:
    """Prepare a backlog, then start the worker and let it work until nothing is left."""
    endpoints = len(bench.secrets)
    with psycopg.connect(bench.stock_url, autocommit=True) as connection:
        connection.execute(CHANGE_MANY, [deliveries // endpoints])
    wanted = deliveries // endpoints * endpoints
    wait_for(lambda: count(bench.chain, PENDING) == wanted, "a backlog", QUIET_WITHIN, every=0.1)
    before = bench.receiver.count()
    bench.chain.start(["worker"])
    wait_for(
        lambda: bench.receiver.count() >= before + wanted,
        "the worker gets through its backlog",
        DRAINED_WITHIN,
        every=0.2,
    )
    wait_for(lambda: count(bench.chain, UNFINISHED) == 0, "all recorded", QUIET_WITHIN, every=0.1)
    bench.chain.end(["worker"])
    return rate_of(bench.receiver.receipts(before))


def rate_of(receipts: Sequence[Receipt]) -> float:
    """Return requests per second from the first to the last."""
    bad = [each for each in receipts if each.x_signature < 0 or each.fault]
    assert not bad, f"{len(bad)} requests are not genuine: {bad[0]}"
    times = [receipt.received_at for receipt in receipts]
    return (len(times) - 1) / (max(times) - min(times))
