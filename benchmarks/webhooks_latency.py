"""Webhooks latency: from the commit of a change to its receipt, at a given rate of changes."""

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg

from benchmarks.webhooks_chain import PRODUCTS, Bench
from tools.percentile import percentile
from tools.receiver import Receipt

CHANGE = """
UPDATE sandbox.products SET quantity = quantity + %s WHERE product_id = %s RETURNING version
"""
WARM_UP = 5.0  # seconds that are not measured: connections open, caches fill
LATE = 30.0  # seconds to wait for what is still missing at the end


@dataclass
class Latencies:
    """What healthy endpoints saw; seconds, one for each delivery."""

    changes: int
    seconds: float
    endpoints: int
    seen: list[float] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Deliveries that never came."""
        return self.changes * self.endpoints - len(self.seen)

    @property
    def rate(self) -> float:
        """Changes per second that were really made."""
        return self.changes / self.seconds

    def percentile(self, share: float) -> float:
        """Return the seconds that `share` of the deliveries stayed within; a missing one never."""
        found = percentile([*self.seen, *[math.inf] * self.missing], share)
        return math.inf if found is None else found


def measure(bench: Bench, healthy: Sequence[int], *, rate: float, seconds: float) -> Latencies:
    """Make changes at a steady rate and note when each healthy endpoint receives each of them."""
    _change(bench, rate=rate, seconds=WARM_UP)
    committed_at = _change(bench, rate=rate, seconds=seconds)
    wanted = set(healthy)
    deadline = time.monotonic() + LATE
    while True:
        first = _first_receipts(bench.receiver.receipts(), committed_at, wanted)
        if len(first) == len(committed_at) * len(wanted) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    # A receipt can be there before the writer knows that its commit is done.
    seen = [max(0.0, at - committed_at[version]) for (_, version), at in first.items()]
    return Latencies(len(committed_at), seconds, len(wanted), seen)


def _first_receipts(
    receipts: Sequence[Receipt], committed_at: dict[int, float], wanted: set[int]
) -> dict[tuple[int, int], float]:
    """Return when each (endpoint, version) was first received."""
    first: dict[tuple[int, int], float] = {}
    for receipt in receipts:
        if receipt.endpoint in wanted and receipt.version in committed_at:
            first.setdefault((receipt.endpoint, receipt.version), receipt.received_at)
    return first


def _change(bench: Bench, *, rate: float, seconds: float) -> dict[int, float]:
    """Make changes at their due times, however long one takes; return each version's commit."""
    chance = random.Random(0)
    committed_at: dict[int, float] = {}
    with psycopg.connect(bench.stock_url, autocommit=True) as connection:
        began = time.monotonic()
        for number in range(round(rate * seconds)):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            values = [chance.randint(1, 9), f"BENCH-{chance.randrange(PRODUCTS)}"]
            row = connection.execute(CHANGE, values).fetchone()
            committed_at[row[0] if row else 0] = time.time()
        time.sleep(max(0.0, began + seconds - time.monotonic()))
    return committed_at
