"""Machines: the verdict as JSON and as JUnit, for CI; pure."""

from xml.sax.saxutils import escape, quoteattr

import msgspec

from loadtests.measures import Run, examples, memory_growth
from loadtests.report import About
from loadtests.stress import Step
from loadtests.verdict import Result, Verdict, Word


def as_json(about: About, verdict: Verdict, run: Run, steps: list[Step]) -> bytes:
    """Return everything that the verdict rests on."""
    delivered = run.delivered
    told = {
        "verdict": str(verdict.word),
        "reasons": verdict.reasons,
        "notes": verdict.notes,
        "profile": about.profile,
        "fault": about.fault or None,
        "target": about.target,
        "started": about.started,
        "seconds": round(about.seconds, 1),
        "left_out": dict(about.left_out),
        "thresholds": [
            {
                "name": each.name,
                "limit": each.limit,
                "measured": each.measured,
                "result": str(each.result),
            }
            for each in verdict.rows
        ],
        "generator": verdict.health,
        "steps": steps,
        "stock_changes": len(run.changes),
        "deliveries_expected": delivered.expected if delivered else None,
        "not_delivered": delivered.missing if delivered else [],
        "bad_deliveries": delivered.bad[:10] if delivered else [],
        "memory_growth_mb": {name: round(grew, 1) for name, grew in memory_growth(run).items()},
        "went_wrong": examples(run),
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


def as_junit(about: About, verdict: Verdict) -> str:
    """Return a test case for each threshold, and one for the load generator."""
    failed = sum(each.result is Result.FAIL for each in verdict.rows)
    invalid = verdict.word is Word.INVALID
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    name = quoteattr(f"loadtests.{about.profile}" + (f".{about.fault}" if about.fault else ""))
    lines.append(
        f"<testsuite name={name} tests={quoteattr(str(len(verdict.rows) + 1))}"
        f' failures="{0 if invalid else failed}" errors="{int(invalid)}"'
        f' time="{about.seconds:.1f}" timestamp={quoteattr(about.started)}>'
    )
    for each in verdict.rows:
        inner = ""
        if each.result is Result.FAIL:
            told = quoteattr(f"{each.says}: {each.measured_told}, {each.limit_told}")
            inner = f"<skipped message={told}/>" if invalid else f"<failure message={told}/>"
        elif each.result is not Result.PASS:
            inner = f"<skipped message={quoteattr(str(each.result))}/>"
        lines.append(f"  <testcase classname={name} name={quoteattr(each.name)}>{inner}</testcase>")
    inner = f"<error>{escape(verdict.reasons[0])}</error>" if invalid else ""
    lines.append(f'  <testcase classname={name} name="load_generator">{inner}</testcase>')
    return "\n".join([*lines, "</testsuite>\n"])
