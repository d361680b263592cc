"""Series: figures over time for the report's charts; pure."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from loadtests.measures import INTERNAL, PARTNER, Run, memory_growth
from loadtests.records import Outcome, Request
from tools.percentile import percentile

MOST_POINTS = 150  # in one line; a soak's seconds are put together
MOST_PROCESSES = 8  # lines; those that grew most

Points = list[tuple[float, float]]  # (seconds from the start, value)


class Chart(NamedTuple):
    """Lines over time, by name."""

    title: str
    unit: str
    lines: dict[str, Points]
    limit: float | None = None  # a line across


def charts(run: Run, p95_below_ms: float | None, webhook_below_s: float | None) -> list[Chart]:
    """Return all charts of a report."""
    step = _step(run)
    partner = [e for e in run.requests if e.scenario in PARTNER and e.outcome is Outcome.OK]
    internal = [e for e in run.requests if e.scenario in INTERNAL and e.outcome is Outcome.OK]
    latency = {
        f"partner {name}": _percentiles(run, step, partner, share)
        for name, share in (("P50", 0.5), ("P95", 0.95), ("P99", 0.99))
    }
    latency["internal P95"] = _percentiles(run, step, internal, 0.95)
    delivery = _deliveries(run, step)
    return [
        Chart("Latency", "ms", latency, p95_below_ms),
        Chart("Requests a second, by what became of them", "/s", _outcomes(run, step)),
        Chart("Status codes a second", "/s", _statuses(run, step)),
        Chart("Users", "", {"users": [(e.at - run.window.start, e.users) for e in run.generator]}),
        Chart("From a stock change to its webhook", "s", delivery, webhook_below_s),
        Chart("Memory of the processes that grew most", "MB", _held(run)),
        Chart("The load generator: processor", "% of a core", _generator(run, _cpu)),
        Chart("The load generator: event loop late", "ms", _generator(run, _lag)),
    ]


def _step(run: Run) -> float:
    """Return the seconds that one point stands for."""
    last = max((each.at for each in run.requests), default=run.window.start)
    return max(1.0, math.ceil((last - run.window.start) / MOST_POINTS))


def _grouped(
    run: Run, step: float, values: Iterable[tuple[float, float]]
) -> dict[float, list[float]]:
    found: dict[float, list[float]] = defaultdict(list)
    for at, value in values:
        place = (at - run.window.start) // step
        if place >= 0:
            found[place * step].append(value)
    return dict(sorted(found.items()))


def _percentiles(run: Run, step: float, requests: list[Request], share: float) -> Points:
    grouped = _grouped(run, step, ((each.at, each.seconds) for each in requests))
    return [(at, (percentile(values, share) or 0) * 1000) for at, values in grouped.items()]


def _rates(run: Run, step: float, times: list[float]) -> Points:
    """Return how many a second, with zeros where there are none."""
    grouped = _grouped(run, step, ((at, 1.0) for at in times))
    last = max(grouped, default=0.0)
    places = [number * step for number in range(int(last / step) + 1)]
    return [(at, len(grouped.get(at, [])) / step) for at in places]


def _outcomes(run: Run, step: float) -> dict[str, Points]:
    return {
        str(outcome): _rates(run, step, times)
        for outcome in Outcome
        if (times := [each.at for each in run.requests if each.outcome is outcome])
    }


def _statuses(run: Run, step: float) -> dict[str, Points]:
    by_status: dict[int, list[float]] = defaultdict(list)
    for each in run.requests:
        by_status[each.status].append(each.at)
    return {
        str(status) if status else "no answer": _rates(run, step, times)
        for status, times in sorted(by_status.items())
    }


def _deliveries(run: Run, step: float) -> dict[str, Points]:
    if run.delivered is None:
        return {}
    grouped = _grouped(run, step, run.delivered.latencies)
    return {
        name: [(at, percentile(values, share) or 0) for at, values in grouped.items()]
        for name, share in (("P50", 0.5), ("P95", 0.95))
    }


def _held(run: Run) -> dict[str, Points]:
    growth = memory_growth(run)
    found: dict[str, Points] = {
        name: [] for name in sorted(growth, key=growth.__getitem__, reverse=True)[:MOST_PROCESSES]
    }
    for each in run.held:
        if each.name in found:
            found[each.name].append((each.at - run.window.start, each.megabytes))
    return found


def _generator(run: Run, figure: Callable[[float, list[float]], float]) -> dict[str, Points]:
    points = [(e.at - run.window.start, figure(e.cpu, e.lags)) for e in run.generator]
    return {"mean" if figure is _cpu else "P95": points}


def _cpu(cpu: float, lags: list[float]) -> float:
    del lags
    return cpu * 100


def _lag(cpu: float, lags: list[float]) -> float:
    del cpu
    return (percentile(lags, 0.95) or 0) * 1000
