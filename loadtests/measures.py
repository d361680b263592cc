"""Measures: the figures of a run out of what was noted; pure."""

import bisect
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from loadtests.changing import Change
from loadtests.hooks import Delivered
from loadtests.memory import Held
from loadtests.records import Begin, Generator, Outcome, Record, Request, Seen
from tools.percentile import percentile

# Partner reads: the scenarios that Q6 is about.
PARTNER = ("product-page", "hourly-sync", "sandbox-read", "peak-arrivals")
INTERNAL = ("internal-read",)
MOST_KEPT = 10  # examples of what went wrong
PART = 0.2  # of full load: what drifts is compared between its first and its last part


@dataclass(frozen=True)
class Window:
    """Times in seconds since 1970."""

    start: float
    full_from: float
    full_until: float
    outage_from: float = math.inf  # a fault came, and errors are its own until outage_until
    outage_until: float = math.inf

    def in_outage(self, request: Request) -> bool:
        """Say whether a request ran while a fault lasted; one that was under way then, too."""
        lasts = self.outage_until > self.outage_from
        return (
            lasts
            and request.at + request.seconds >= self.outage_from
            and request.at < self.outage_until
        )


@dataclass
class Run:
    """All that was noted in a run, by kind."""

    window: Window
    requests: list[Request] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    generator: list[Generator] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    delivered: Delivered | None = None
    held: list[Held] = field(default_factory=list)

    def full(self, scenarios: Sequence[str]) -> list[Request]:
        """Return the good requests of full load, without those of an outage."""
        window = self.window
        return [
            each
            for each in self.requests
            if each.scenario in scenarios
            and each.outcome is Outcome.OK
            and window.full_from <= each.at < window.full_until
            and not window.in_outage(each)
        ]


@dataclass(frozen=True)
class Health:
    """The load generator itself, at full load."""

    cpu_percent: float | None  # the mean
    lag_p95_ms: float | None


def started_at(records: Iterable[Record]) -> float | None:
    """Return when the first user came."""
    return next((each.at for each in records if isinstance(each, Begin)), None)


def make_run(window: Window, records: Iterable[Record]) -> Run:
    """Sort records by kind."""
    run = Run(window)
    for each in records:
        if isinstance(each, Request):
            run.requests.append(each)
        elif isinstance(each, Seen):
            run.seen.append(each)
        elif isinstance(each, Generator):
            run.generator.append(each)
    return run


def measure(run: Run) -> dict[str, float | None]:
    """Return each threshold's figure; None: not measured."""
    outage, errors = _errors(run)
    stale = staleness(run.changes, run.seen)
    delivered = run.delivered
    arrived = [seconds for _, seconds in delivered.latencies] if delivered else []
    return {
        "partner_p95_ms": milliseconds(percentile(_seconds(run.full(PARTNER)), 0.95)),
        "internal_p95_ms": milliseconds(percentile(_seconds(run.full(INTERNAL)), 0.95)),
        "errors": float(errors),
        "outage_errors": float(outage),
        "wrong_answers": float(_count(run.requests, Outcome.WRONG)),
        "over_limit_extra": over_limit_extra(run.requests),
        "staleness_p99_s": percentile(stale, 0.99),
        "staleness_max_s": max(stale, default=None),
        "delivered_percent": _delivered_percent(delivered),
        "webhook_p95_s": percentile(arrived, 0.95),
        "p95_drift_ms": _p95_drift_ms(run),
        "memory_growth_mb": max(memory_growth(run).values(), default=None),
        "bad_deliveries": None if delivered is None else float(len(delivered.bad)),
        "samples_at_least": float(len(run.requests)),
        "knee_users_at_least": None,
    }


def _parts(window: Window) -> tuple[float, float]:
    """Return when the first part of full load ends and when the last one begins."""
    part = (window.full_until - window.full_from) * PART
    return window.full_from + part, window.full_until - part


def _p95_drift_ms(run: Run) -> float | None:
    """Return by how much partner reads were slower in the last part than in the first."""
    first_until, last_from = _parts(run.window)
    reads = run.full(PARTNER)
    first = percentile([each.seconds for each in reads if each.at < first_until], 0.95)
    last = percentile([each.seconds for each in reads if each.at >= last_from], 0.95)
    return None if first is None or last is None else milliseconds(last - first)


def memory_growth(run: Run) -> dict[str, float]:
    """Return for each process of the stack by how many MB it holds more in the last part.

    Medians of both parts. One that was not looked at in both is left out.
    """
    first_until, last_from = _parts(run.window)
    first: dict[str, list[float]] = defaultdict(list)
    last: dict[str, list[float]] = defaultdict(list)
    for each in run.held:
        if run.window.full_from <= each.at < first_until:
            first[each.name].append(each.megabytes)
        elif last_from <= each.at < run.window.full_until:
            last[each.name].append(each.megabytes)
    return {
        name: statistics.median(last[name]) - statistics.median(first[name])
        for name in first
        if name in last
    }


def milliseconds(seconds: float | None) -> float | None:
    """Return seconds in milliseconds."""
    return None if seconds is None else seconds * 1000


def _seconds(requests: Iterable[Request]) -> list[float]:
    return [each.seconds for each in requests]


def _count(requests: Iterable[Request], outcome: Outcome) -> int:
    return sum(each.outcome is outcome for each in requests)


def _errors(run: Run) -> tuple[int, int]:
    """Return errors within the outage, and all others."""
    window, outage, others = run.window, 0, 0
    for each in run.requests:
        if each.outcome is Outcome.ERROR:
            if window.in_outage(each):
                outage += 1
            else:
                others += 1
    return outage, others


def _delivered_percent(delivered: Delivered | None) -> float | None:
    if delivered is None or not delivered.expected:
        return None
    return 100 * (delivered.expected - delivered.missed) / delivered.expected


def over_limit_extra(requests: Iterable[Request]) -> float | None:
    """Return by how much the partner over its limit got through in its worst calendar minute.

    Requests that began in one minute and ended in the next may count for either: left out.
    """
    through: Counter[int] = Counter()
    limit = None
    for each in requests:
        if each.scenario != "over-limit":
            continue
        if each.detail.isdecimal():
            limit = int(each.detail)
        minute = int(each.at // 60)
        if each.outcome is Outcome.OK and minute == int((each.at + each.seconds) // 60):
            through[minute] += 1
    if limit is None:
        return None
    return float(max(0, max(through.values(), default=0) - limit))


def staleness(changes: Iterable[Change], seen: Iterable[Seen]) -> list[float]:
    """Return for each change the seconds after which a reader was still given what was before it.

    A request that was sent before the change was confirmed says nothing. Changes that nobody asked
    for afterwards are left out.
    """
    by_product: dict[tuple[str, str], list[Change]] = defaultdict(list)
    for change in changes:
        by_product[change.environment, change.product_id].append(change)
    for made in by_product.values():
        made.sort(key=lambda each: each.version)
    found: dict[int, float] = {}
    for answer in seen:
        for product_id, version in answer.versions:
            made = by_product.get((answer.environment, product_id), [])
            _note_staleness(found, made, answer.at, version)
    return list(found.values())


def _note_staleness(
    found: dict[int, float], made: list[Change], asked: float, version: int
) -> None:
    """Note one answer: up to `version` the changes were visible, later ones were not."""
    place = bisect.bisect_right(made, version, key=lambda each: each.version)
    if place:
        found.setdefault(id(made[place - 1]), 0.0)
    for change in made[place:]:
        if change.done_at >= asked:
            break
        found[id(change)] = max(found.get(id(change), 0.0), asked - change.done_at)


def health(run: Run, start: float | None = None, until: float | None = None) -> Health:
    """Return how the generator was, at full load or between two times."""
    start, end = start or run.window.full_from, until or run.window.full_until
    within = [each for each in run.generator if start <= each.at <= end]
    lags = [lag for each in within for lag in each.lags]
    cpu = sum(each.cpu for each in within) / len(within) * 100 if within else None
    return Health(cpu, milliseconds(percentile(lags, 0.95)))


def examples(run: Run) -> dict[str, int]:
    """Return what went wrong and how often, the most frequent first."""
    counted = Counter(
        f"{each.scenario}: {each.detail}"
        for each in run.requests
        if each.outcome in (Outcome.ERROR, Outcome.WRONG)
    )
    return dict(counted.most_common(MOST_KEPT))
