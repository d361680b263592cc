"""Report: one HTML file with everything in it, for people; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from loadtests.measures import Run, examples, milliseconds
from loadtests.records import Outcome
from loadtests.series import Chart
from loadtests.stress import Step
from loadtests.svg import draw
from loadtests.verdict import Verdict
from tools.percentile import percentile

# The policy of the page itself: nothing is fetched from anywhere, no script runs.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 900px; margin: 24px auto; padding: 0 16px;
  color: #222; background: #fff }
h1 { font-size: 24px } h2 { font-size: 17px; margin-top: 32px }
.verdict { padding: 12px 16px; border-left: 8px solid; background: #f5f5f5 }
.PASS { border-color: #2b8a4b } .FAIL { border-color: #c0262d } .INVALID { border-color: #c98a00 }
table { border-collapse: collapse; width: 100% }
td, th { padding: 3px 10px; border-bottom: 1px solid #ddd; text-align: right }
td:first-child, th:first-child { text-align: left }
.failed { color: #c0262d; font-weight: bold } .none { color: #777 }
svg { width: 100%; height: auto } svg text { font-size: 12px; fill: #444 }
svg polyline { stroke-width: 1.8 } svg .grid { stroke: #e3e3e3 }
svg .end { text-anchor: end } svg .mid { text-anchor: middle }
svg line.limit { stroke: #c0262d; stroke-dasharray: 5 4 } svg text.limit { fill: #c0262d }
"""


@dataclass(frozen=True)
class About:
    """What was run, for the head of the report."""

    profile: str
    says: str
    fault: str  # empty: none
    target: str
    started: str  # RFC 3339
    seconds: float
    left_out: Mapping[str, str]  # scenarios that could not run, and why


def render(about: About, verdict: Verdict, run: Run, charts: list[Chart], steps: list[Step]) -> str:
    """Return the page."""
    fault = f", fault {about.fault}" if about.fault else ""
    title = f"{verdict.word}: {about.profile}{fault}"
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<link rel="icon" href="data:,">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(about.says)}<br>{escape(about.target)}, {escape(about.started)},"
        f" {about.seconds:.0f} s</p>",
        _verdict(verdict),
        "<h2>Thresholds</h2>",
        _thresholds(verdict),
        *(["<h2>Steps</h2>", _steps(steps)] if steps else []),
    ]
    for chart in charts:
        unit = f" ({chart.unit})" if chart.unit else ""
        parts += [f"<h2>{escape(chart.title)}{escape(unit)}</h2>", draw(chart)]
    parts += ["<h2>Scenarios</h2>", _scenarios(run), "<h2>What went wrong</h2>", _wrong(run)]
    if about.left_out:
        left_out = list(about.left_out.items())
        parts += ["<h2>Left out</h2>", _table(("scenario", "why"), left_out)]
    return "\n".join([*parts, "</body></html>\n"])


def _verdict(verdict: Verdict) -> str:
    lines = [f"<strong>{verdict.word}</strong>"]
    lines += [escape(each) for each in verdict.reasons]
    lines += [f"Note: {escape(each)}" for each in verdict.notes]
    return f'<p class="verdict {verdict.word}">{"<br>".join(lines)}</p>'


def _thresholds(verdict: Verdict) -> str:
    rows = [
        (each.says, each.limit_told, each.measured_told, str(each.result)) for each in verdict.rows
    ]
    return _table(("threshold", "limit", "measured", "result"), rows)


def _steps(steps: list[Step]) -> str:
    rows = [
        (
            str(each.users),
            f"{each.rate:.0f}",
            "-" if each.p95_ms is None else f"{each.p95_ms:.1f}",
            str(each.errors),
        )
        for each in steps
    ]
    return _table(("users", "partner reads/s", "P95 (ms)", "errors"), rows)


def _scenarios(run: Run) -> str:
    rows: list[tuple[str, ...]] = []
    for name in sorted({each.scenario for each in run.requests}):
        mine = [each for each in run.requests if each.scenario == name]
        good = [each.seconds for each in mine if each.outcome is Outcome.OK]
        shown = [milliseconds(percentile(good, share)) for share in (0.5, 0.95, 0.99)]
        counts = [sum(each.outcome is outcome for each in mine) for outcome in Outcome]
        told = ["-" if each is None else f"{each:.1f}" for each in shown]
        rows.append((name, str(len(mine)), *(str(each) for each in counts), *told))
    head = ("scenario", "requests", *Outcome, "P50 (ms)", "P95", "P99")
    return _table(head, rows)


def _wrong(run: Run) -> str:
    rows = [(what, str(count)) for what, count in examples(run).items()]
    if run.delivered is not None:
        rows += [(f"not delivered: {each}", "") for each in run.delivered.missing]
        rows += [(each, "") for each in run.delivered.bad[:10]]
    return _table(("what", "times"), rows) if rows else '<p class="none">Nothing.</p>'


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    def cells(kind: str, row: tuple[str, ...]) -> str:
        failed = ' class="failed"' if "FAIL" in row else ""
        return f"<tr{failed}>{''.join(f'<{kind}>{escape(e)}</{kind}>' for e in row)}</tr>"

    return "\n".join(
        ["<table>", cells("th", head), *(cells("td", each) for each in rows), "</table>"]
    )
