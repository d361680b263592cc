"""Run: stock changes while everything is killed, then the receivers' ledger against the tables.

`make chaos` runs it at full size and exits with 1 on any loss; the suite runs a small one.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import Connection

from services.webhooks.delivery.claims import LEASE
from tests.chaos.comparison import (
    Change,
    Fault,
    Findings,
    Subscription,
    Told,
    check_confirmed,
    compare,
    told_by,
)
from tests.chaos.director import Director, Kill
from tests.chaos.partners import ENDPOINTS, LATE, ROTATED, Partners
from tests.chaos.writers import Confirmed, Writers
from tools.chain import PARTS, Chain, running_chain
from tools.receiver import Receipt
from tools.receiver_process import Receiver, running_receiver
from tools.waiting import wait_for

SETTINGS = {
    "RETRY_DELAYS_SECONDS": "1,2,3,4",
    "CALL_SECONDS": 2.5,  # above the 2 s that make an endpoint slow
    "CONNECT_SECONDS": 2,
    "WORKER_THREADS": 16,
    "SLOW_WORKER_THREADS": 4,
}
LOOK_EVERY = 0.2  # seconds between two looks at the tables
WRITTEN_WITHIN = 180.0  # seconds from the last kill; that many changes take 110 in all

UNFINISHED = """
SELECT (SELECT count(*) FROM sandbox.stock_changes WHERE NOT relayed),
    (SELECT count(*) FROM sandbox.deliveries
        WHERE state IN ('pending', 'sending', 'retrying'))
"""
CHANGES = """
SELECT product_id, old_quantity, new_quantity, version, extract(epoch FROM changed_at)::float8
FROM sandbox.stock_changes ORDER BY id
"""
STOCK = "SELECT product_id, version, quantity FROM sandbox.products"
STATES = "SELECT state, count(*) FROM sandbox.deliveries GROUP BY state"
OUTCOMES = "SELECT outcome, count(*) FROM sandbox.attempts GROUP BY outcome"
MAILS = "SELECT count(*) FROM sandbox.mails"


@dataclass(frozen=True)
class Scale:
    """How large a run is."""

    changes: int
    waves: Callable[[Director], Iterable[list[Kill]]]  # two of them at least
    pace: float = 1.0  # of the writers
    haste: float = 1.0  # of the kills
    settle_within: float = 240.0  # seconds from the last change to the last delivery


@dataclass
class Result:
    """What a run showed."""

    findings: Findings
    confirmed: Confirmed
    kills: Counter[str]
    struck: int
    lapsed: int
    states: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    longest: float = 0.0  # seconds from a commit to its receipt
    settled_after: float = 0.0  # seconds from the last kill to the last delivery
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing was wrong."""
        return not self.findings.lines


def run(folder: Path, scale: Scale, *, seed: int) -> Result:
    """Run everything in a folder; leave no process behind."""
    began = time.monotonic()
    with (
        running_receiver(folder, hosts=len(ENDPOINTS)) as receiver,
        running_chain(folder, **SETTINGS) as chain,
    ):
        chain.start()
        partners = Partners(chain, receiver)
        partners.add_to_database()
        for number in range(len(ENDPOINTS)):
            if number != LATE:
                partners.register(number)
        writers = Writers(chain, ENDPOINTS[0].partner, seed=seed, pace=scale.pace)
        director = Director(chain, seed=seed, haste=scale.haste)
        writers.start()
        try:
            _kill_everything(chain, director, partners, scale)
            _wait_for_changes(writers, scale.changes)
        finally:
            writers.stop()
        _wait_until_settled(chain, within=scale.settle_within)
        settled_after = time.time() - director.last_kill
        partners.end_overlap(ROTATED)
        writers.write_last()
        _wait_until_settled(chain, within=scale.settle_within)
        chain.check_alive()
        result = _result(chain, receiver, partners.subscriptions, writers.confirmed)
    result.kills, result.struck = director.kills, director.struck
    result.settled_after = settled_after
    result.seconds = time.monotonic() - began
    return result


def _kill_everything(chain: Chain, director: Director, partners: Partners, scale: Scale) -> None:
    """Kill in waves; between the first of them partners do something."""
    acts = [
        lambda: partners.rotate(ROTATED),
        lambda: partners.register(LATE, from_the_first=False),
    ]
    for wave in scale.waves(director):
        director.kill_all(wave, after_each=chain.check_alive)
        if acts:
            acts.pop(0)()
    assert not acts, "there are too few waves for what partners do"


def _wait_for_changes(writers: Writers, wanted: int) -> None:
    wait_for(
        lambda: writers.changes >= wanted, f"{wanted} changes", WRITTEN_WITHIN, every=LOOK_EVERY
    )


def _wait_until_settled(chain: Chain, *, within: float) -> None:
    """Return when every change is relayed and nothing is to be delivered any more."""
    deadline = time.monotonic() + within
    with chain.owner() as owner:
        while any(_rows(owner, UNFINISHED)[0]):
            if time.monotonic() > deadline:
                return  # the comparison tells what is missing
            time.sleep(LOOK_EVERY)


def _result(
    chain: Chain,
    receiver: Receiver,
    subscriptions: Sequence[Subscription],
    confirmed: Confirmed,
) -> Result:
    receipts = receiver.receipts()
    with chain.owner() as owner:
        changes = [Change._make(row) for row in _rows(owner, CHANGES)]
        stock = {product: (version, units) for product, version, units in _rows(owner, STOCK)}
        states, outcomes = dict(_rows(owner, STATES)), dict(_rows(owner, OUTCOMES))
        mails = _rows(owner, MAILS)[0][0]
    lapsed = chain.count_in_log("scheduler", b'"delivery.lapsed"')
    findings = compare(changes, stock, subscriptions, receipts, lapsed=lapsed)
    check_confirmed(confirmed.quantities, changes, findings)
    check_rotation(receipts, findings)
    if set(states) != {"delivered"} or mails:
        findings.add(Fault.LOST, f"deliveries are {states}, {mails} mails")
    longest = _longest(changes, confirmed.committed_at, receipts)
    return Result(findings, confirmed, Counter(), 0, lapsed, states, outcomes, longest)


def check_rotation(receipts: Sequence[Receipt], findings: Findings) -> None:
    """See that the rotated endpoint was signed for in the three ways of a rotation (W11)."""
    seen = {
        (receipt.x_signature, *receipt.standard)
        for receipt in receipts
        if receipt.endpoint == ROTATED
    }
    before, during, after = (0, 0), (0, 1, 0), (1, 1)
    if seen != {before, during, after}:
        findings.add(Fault.SIGNATURE, f"a rotation was signed as {sorted(seen)}")


def _longest(
    changes: Sequence[Change], committed_at: Mapping[int, float], receipts: Sequence[Receipt]
) -> float:
    """Return the longest time from a commit to a first receipt, in seconds."""
    first: dict[Told, float] = {}
    for receipt in receipts:
        if receipt.status // 100 == 2:
            told = told_by(receipt)
            first[told] = min(receipt.received_at, first.get(told, receipt.received_at))
    changed_at = {change.version: change.changed_at for change in changes}
    return max(
        (
            received_at - committed_at.get(told.version, changed_at.get(told.version, received_at))
            for told, received_at in first.items()
        ),
        default=0.0,
    )


def _rows(owner: Connection[Any], statement: str) -> list[tuple[Any, ...]]:
    return owner.execute(statement.encode()).fetchall()


def report(result: Result, *, seed: int) -> str:
    """Return the figures and the faults."""
    findings, confirmed = result.findings, result.confirmed
    kinds = ", ".join(f"{name} {count:,}" for name, count in sorted(confirmed.by_kind.items()))
    kills = ", ".join(f"{name} {result.kills[name]}" for name in PARTS)
    outcomes = ", ".join(f"{name} {count:,}" for name, count in sorted(result.outcomes.items()))
    unconfirmed = findings.changes - len(confirmed.quantities)
    rows = (
        ("changes in the table", f"{findings.changes:,}"),
        ("  confirmed to a writer", f"{len(confirmed.quantities):,} ({kinds})"),
        ("  not confirmed, and there", f"{unconfirmed:,} (removals among them)"),
        ("events", f"{findings.events:,}"),
        ("deliveries expected", f"{findings.expected:,}"),
        ("deliveries taken", f"{findings.taken:,}"),
        ("lost", f"{findings.count(Fault.LOST):,}"),
        ("duplicates, same event_id", f"{findings.duplicates:,}"),
        ("requests failed on purpose", f"{findings.refused:,}"),
        ("attempts", outcomes),
        ("kills (SIGKILL)", kills),
        ("calls cut off with a worker", f"{result.struck:,}"),
        ("leases that lapsed", f"{result.lapsed:,}"),
        ("longest commit to receipt", f"{result.longest:.1f} s (a dead worker's lease: {LEASE})"),
        ("from the last kill to quiet", f"{result.settled_after:.1f} s"),
        ("time", f"{result.seconds:.0f} s"),
        ("seed", str(seed)),
    )
    width = max(len(name) for name, _ in rows)
    told = [f"{name:<{width}}  {value}" for name, value in rows]
    verdict = "nothing lost, nothing wrong" if result.good else "FAILED"
    return "\n".join([*told, *findings.lines, verdict])


def main() -> None:
    """Run at full size and exit with the verdict."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--changes", type=int, default=10_000, help="at least so many")
    parser.add_argument("--waves", type=int, default=3, help="each kills every part once")
    parser.add_argument("--pace", type=float, default=1.0, help="of the writers")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended
    if given.waves < 1:
        parser.error("--waves: at least 1")
    scale = Scale(given.changes, lambda director: director.waves(given.waves), pace=given.pace)
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), scale, seed=given.seed)
    print(report(result, seed=given.seed))
    sys.exit(0 if result.good else 1)


if __name__ == "__main__":
    main()
