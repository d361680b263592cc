"""Comparison: what receivers were sent against what the tables say happened.

It shares no code with the chain: events are worked out from the requirement's words (W3).
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tools.receiver import Receipt

SHOWN = 5  # examples of each fault
MOST_ATTEMPTS = 5


class Change(NamedTuple):
    """A line of stock_changes; None stands for no such product before or after it."""

    product_id: str
    old: int | None
    new: int | None
    version: int
    changed_at: float  # seconds since 1970; the commit comes after it


class Subscription(NamedTuple):
    """An endpoint; what was changed after `since` it must hear of, the rest it may."""

    endpoint: int
    events: frozenset[str]
    since: float = 0.0  # seconds since 1970: its registration was answered


class Told(NamedTuple):
    """What one delivery tells one endpoint."""

    endpoint: int
    product_id: str
    version: int
    event_type: str


class Fault(StrEnum):
    """What can be wrong, each of them enough to fail."""

    LOST = "lost"
    UNEXPECTED = "unexpected"
    EVENT_ID = "event_id"
    SIGNATURE = "signature"
    PAYLOAD = "payload"
    ATTEMPT = "attempt"
    STALE = "stale"
    NOT_IN_TABLE = "not in the table"


@dataclass
class Findings:
    """Figures, and every fault in words."""

    changes: int = 0
    events: int = 0
    expected: int = 0  # deliveries
    taken: int = 0  # of these, by a receiver that said so
    duplicates: int = 0  # requests that a receiver had taken before
    refused: int = 0  # requests that a receiver failed on purpose
    faults: dict[Fault, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, fault: Fault, words: object) -> None:
        """Note a fault."""
        self.faults[fault].append(str(words))

    def count(self, fault: Fault) -> int:
        """Return how many there are of a kind."""
        return len(self.faults.get(fault, ()))

    @property
    def lines(self) -> list[str]:
        """The faults, a few of each kind."""
        told: list[str] = []
        for fault, found in self.faults.items():
            told += [f"{fault}: {each}" for each in found[:SHOWN]]
            if len(found) > SHOWN:
                told.append(f"{fault}: {len(found) - SHOWN} more")
        return told


def compare(
    changes: Sequence[Change],
    stock: Mapping[str, tuple[int, int]],
    subscriptions: Sequence[Subscription],
    receipts: Sequence[Receipt],
    *,
    lapsed: int = 0,
) -> Findings:
    """Compare; `stock` is the products table: version and quantity of each product.

    `lapsed` is how often our side lost track of an attempt, which is then made once more.
    """
    findings = Findings(changes=len(changes))
    expected, allowed = _expected(changes, subscriptions)
    findings.expected = len(expected)
    findings.events = sum(len(events_of(change)) for change in changes)
    taken = Counter(told_by(receipt) for receipt in receipts if receipt.status // 100 == 2)
    findings.taken = sum(1 for told in expected if told in taken)
    findings.refused = sum(1 for receipt in receipts if receipt.status // 100 != 2)
    findings.duplicates = taken.total() - len(taken)
    for told in expected - taken.keys():
        findings.add(Fault.LOST, told)
    for told in {told_by(receipt) for receipt in receipts} - allowed:
        findings.add(Fault.UNEXPECTED, told)
    _check_event_ids(receipts, findings)
    _check_requests(receipts, {change.version: change for change in changes}, findings)
    _check_attempts(receipts, findings, lapsed)
    _check_last_state(receipts, stock, subscriptions, findings)
    return findings


def check_confirmed(
    confirmed: Mapping[int, tuple[str, int]], changes: Sequence[Change], findings: Findings
) -> None:
    """Find confirmed changes, by version, that left no line in stock_changes."""
    lines = {change.version: (change.product_id, change.new) for change in changes}
    for version, what in confirmed.items():
        if lines.get(version) != what:
            findings.add(Fault.NOT_IN_TABLE, f"{what}, version {version}")


def events_of(change: Change) -> list[str]:
    """Work out the events of a change (W3)."""
    if change.new is None:
        return []  # removed
    events = ["inventory.updated"]
    if change.old is not None:
        if change.old > 10 and 1 <= change.new <= 10:
            events.append("inventory.low_stock")
        if change.old > 0 and change.new == 0:
            events.append("inventory.out_of_stock")
    return events


def told_by(receipt: Receipt) -> Told:
    """Return what a request told."""
    return Told(receipt.endpoint, receipt.product_id, receipt.version, receipt.event_type)


def _expected(
    changes: Sequence[Change], subscriptions: Sequence[Subscription]
) -> tuple[set[Told], set[Told]]:
    """Return what must have been told, and what may have been."""
    must: set[Told] = set()
    may: set[Told] = set()
    for change in changes:
        for subscription, event_type in _subscribed(change, subscriptions):
            told = Told(subscription.endpoint, change.product_id, change.version, event_type)
            may.add(told)
            if change.changed_at >= subscription.since:
                must.add(told)
    return must, may


def _subscribed(
    change: Change, subscriptions: Sequence[Subscription]
) -> Iterator[tuple[Subscription, str]]:
    for event_type in events_of(change):
        for subscription in subscriptions:
            if event_type in subscription.events:
                yield subscription, event_type


def _check_event_ids(receipts: Sequence[Receipt], findings: Findings) -> None:
    """One event has one id, the same for all endpoints and attempts; an id is of one event."""
    ids: dict[tuple[str, int, str], str] = {}
    events: dict[str, tuple[str, int, str]] = {}
    for receipt in receipts:
        event = receipt.product_id, receipt.version, receipt.event_type
        if ids.setdefault(event, receipt.event_id) != receipt.event_id:
            findings.add(Fault.EVENT_ID, f"{event} came as {ids[event]} and {receipt.event_id}")
        if events.setdefault(receipt.event_id, event) != event:
            findings.add(
                Fault.EVENT_ID, f"{receipt.event_id} is {events[receipt.event_id]} and {event}"
            )


def _check_requests(
    receipts: Sequence[Receipt], changes: Mapping[int, Change], findings: Findings
) -> None:
    for receipt in receipts:
        if receipt.x_signature < 0 or not receipt.standard or min(receipt.standard) < 0:
            findings.add(Fault.SIGNATURE, receipt)
        change = changes.get(receipt.version)
        if receipt.fault or change is None or change.new != receipt.quantity:
            findings.add(Fault.PAYLOAD, receipt)


def _check_attempts(receipts: Sequence[Receipt], findings: Findings, lapsed: int) -> None:
    """An attempt is made once, unless we lost track of it, and there are not too many of them."""
    made = Counter((each.endpoint, each.event_id, each.retry_count) for each in receipts)
    repeats = made.total() - len(made)
    if repeats > lapsed:
        findings.add(Fault.ATTEMPT, f"{repeats} were made again, and {lapsed} were lost track of")
    for attempt in made:
        if not 0 <= attempt[2] < MOST_ATTEMPTS:
            findings.add(Fault.ATTEMPT, f"{attempt} was made")


def _check_last_state(
    receipts: Sequence[Receipt],
    stock: Mapping[str, tuple[int, int]],
    subscriptions: Sequence[Subscription],
    findings: Findings,
) -> None:
    """A receiver that keeps the highest version of each product holds what the database holds.

    For endpoints that hear of every change, and were there from the first.
    """
    kept: dict[int, dict[str, tuple[int, int]]] = defaultdict(dict)
    for receipt in receipts:
        if receipt.status // 100 == 2:
            products = kept[receipt.endpoint]
            held = products.get(receipt.product_id, (0, 0))
            products[receipt.product_id] = max(held, (receipt.version, receipt.quantity))
    for subscription in subscriptions:
        if "inventory.updated" in subscription.events and subscription.since == 0:
            held = kept[subscription.endpoint]
            for product_id, has in stock.items():
                if held.get(product_id) != has:
                    words = f"endpoint {subscription.endpoint}, {product_id}: holds"
                    findings.add(Fault.STALE, f"{words} {held.get(product_id)}, is {has}")
