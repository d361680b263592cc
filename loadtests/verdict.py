"""Verdict: threshold, measured, pass or fail, or that the load generator was the limit; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from loadtests.measures import Health
from loadtests.thresholds import AT_LEAST, NAMES, Thresholds

SAYS = {
    "partner_p95_ms": "partner reads at full load, P95 (ms)",
    "internal_p95_ms": "internal reads at full load, P95 (ms)",
    "errors": "requests without a right answer",
    "outage_errors": "such requests while a fault lasted",
    "wrong_answers": "answers that break the contract",
    "over_limit_extra": "requests let through beyond a limit",
    "staleness_p99_s": "a stock change is missed by readers, P99 (s)",
    "staleness_max_s": "a stock change is missed by readers, at most (s)",
    "delivered_percent": "stock changes delivered to each webhook (%)",
    "webhook_p95_s": "from a stock change to its webhook, P95 (s)",
    "p95_drift_ms": "partner reads: P95 later in full load, more by (ms)",
    "memory_growth_mb": "memory of the process that grew most, more by (MB)",
    "bad_deliveries": "webhooks with a wrong signature or content",
    "samples_at_least": "requests in all",
    "knee_users_at_least": "users that were carried",
}
# A slow generator makes none of these: they are the build's, whatever the generator did.
NEVER_THE_GENERATOR = (
    "wrong_answers",
    "over_limit_extra",
    "bad_deliveries",
    "delivered_percent",
)
GENERATOR_WAS_THE_LIMIT = "the load generator was the limit"


class Result(StrEnum):
    """Of one threshold."""

    PASS = "pass"  # noqa: S105 -- a verdict
    FAIL = "FAIL"
    NOT_JUDGED = "not judged"
    NOT_MEASURED = "not measured"


class Word(StrEnum):
    """The verdict in a word."""

    PASS = "PASS"  # noqa: S105 -- a verdict
    FAIL = "FAIL"
    INVALID = "INVALID"  # the load generator was the limit: it says nothing of the build


EXIT_CODES = {Word.PASS: 0, Word.FAIL: 1, Word.INVALID: 2}


@dataclass(frozen=True)
class Row:
    """One threshold."""

    name: str
    limit: float | None
    measured: float | None
    result: Result

    @property
    def says(self) -> str:
        """Return what it is, in words."""
        return SAYS[self.name]

    @property
    def limit_told(self) -> str:
        """Return the limit as people write it."""
        if self.limit is None:
            return "-"
        if self.name in AT_LEAST:
            return f"at least {self.limit:g}"
        return f"below {self.limit:g}" if is_time(self.name) else f"at most {self.limit:g}"

    @property
    def measured_told(self) -> str:
        """Return the figure as people write it."""
        return "-" if self.measured is None else told(self.name, self.measured)


@dataclass(frozen=True)
class Verdict:
    """The whole table, and what it comes to."""

    word: Word
    reasons: list[str]
    rows: list[Row]
    health: Health
    notes: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """Return 0 for PASS, 1 for FAIL, 2 for INVALID."""
        return EXIT_CODES[self.word]


def is_time(name: str) -> bool:
    """Say whether a threshold is a time, which must stay below its limit; a count may reach it."""
    return name.endswith(("_ms", "_s"))


def told(name: str, value: float) -> str:
    """Return a figure as people write it; a percentage never rounded up to 100."""
    if name == "delivered_percent":
        return "100" if value >= 100 else f"{min(value, 99.999):.3f}"
    if name.endswith(("_ms", "_mb")):
        return f"{value:.1f}"
    return f"{value:.2f}" if name.endswith("_s") else f"{value:,.0f}"


def row(name: str, limit: float | None, measured: float | None) -> Row:
    """Judge one threshold."""
    if limit is None:
        result = Result.NOT_JUDGED
    elif measured is None:
        result = Result.NOT_MEASURED
    else:
        result = Result.PASS if _kept(name, limit, measured) else Result.FAIL
    return Row(name, limit, measured, result)


def _kept(name: str, limit: float, measured: float) -> bool:
    if name in AT_LEAST:
        return measured >= limit
    return measured < limit if is_time(name) else measured <= limit


def judge(
    measured: Mapping[str, float | None],
    thresholds: Thresholds,
    health: Health,
    *,
    until_it_breaks: bool = False,
) -> Verdict:
    """Judge a run; `until_it_breaks`: a stress run, where a busy generator is expected."""
    rows = [row(name, thresholds.limits[name], measured[name]) for name in NAMES]
    failed = [each for each in rows if each.result is Result.FAIL]
    lines = [f"{each.says}: {each.measured_told}, {each.limit_told}" for each in failed]
    busy, late = saturated(health, thresholds)
    notes = [f"{each.says}: not measured" for each in rows if each.result is Result.NOT_MEASURED]
    notes += [f"{GENERATOR_WAS_THE_LIMIT}: {why}" for why in (busy, late) if why]
    own = [each for each in failed if each.name in NEVER_THE_GENERATOR]
    # Also without a failure: it did not make the load that was asked for, so a PASS says nothing.
    limited = bool(busy or late) and (bool(failed) or not until_it_breaks)
    if limited and not own:
        reasons = [f"{GENERATOR_WAS_THE_LIMIT}: {busy or late}", *lines]
        return Verdict(Word.INVALID, reasons, rows, health, notes)
    return Verdict(Word.FAIL if failed else Word.PASS, lines, rows, health, notes)


def saturated(health: Health, thresholds: Thresholds) -> tuple[str, str]:
    """Return in words why the generator was too slow, by processor and event loop; empty: fine."""
    cpu, lag = thresholds.generator["cpu_percent"], thresholds.generator["lag_p95_ms"]
    busy = late = ""
    if health.cpu_percent is None or health.lag_p95_ms is None:
        return "it noted nothing of itself", ""
    if health.cpu_percent >= cpu:
        busy = f"it took {health.cpu_percent:.0f} % of a core, and {cpu:g} % is its limit"
    if health.lag_p95_ms >= lag:
        late = f"its event loop was {health.lag_p95_ms:.0f} ms late (P95), and {lag:g} is its limit"
    return busy, late


def table(verdict: Verdict) -> str:
    """Return the verdict for a terminal."""
    cells = [("threshold", "limit", "measured", "")]
    cells += [(e.says, e.limit_told, e.measured_told, str(e.result)) for e in verdict.rows]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = [
        "  ".join(
            (
                a.ljust(widths[0]),
                b.rjust(widths[1]),
                c.rjust(widths[2]),
                d,
            )
        ).rstrip()
        for a, b, c, d in cells
    ]
    health = verdict.health
    if health.cpu_percent is not None and health.lag_p95_ms is not None:
        lines.append(
            f"\nload generator: {health.cpu_percent:.0f} % of a core, its event loop"
            f" {health.lag_p95_ms:.1f} ms late (P95)"
        )
    lines += [f"note: {each}" for each in verdict.notes]
    lines.append(f"\n{verdict.word}" + (":" if verdict.reasons else ""))
    lines += [f"  {each}" for each in verdict.reasons]
    return "\n".join(lines)
