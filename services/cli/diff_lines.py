"""Diff lines: what `partnerapi gateway diff` prints of a document of admin's."""

from collections import Counter
from collections.abc import Iterator, Sequence

from services.admin.gateway.diff import Change
from services.core.wording import counted

NAMED = 5  # partners named in one line
LINES = 20  # of changes of the same kind
SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def change_lines(changes: Sequence[Change]) -> Iterator[str]:
    """Yield a line for each change; consumers are counted, and many alike shortened."""
    seen: Counter[tuple[str, str]] = Counter()
    for change in changes:
        alike = change.what, change.entity.partition(" ")[0]
        seen[alike] += 1
        if seen[alike] <= LINES:
            yield f"{SIGNS[change.what]} {change.entity}{_how(change)}{_whom(change.consumers)}"
    for (what, kind), count in seen.items():
        if count > LINES:
            yield f"{SIGNS[what]} and {count - LINES:,} more of kind {kind}"


def _how(change: Change) -> str:
    if change.field is None:
        return ""
    return f": {change.field.removeprefix('config.')} {change.old} -> {change.new}"


def _whom(consumers: Sequence[str]) -> str:
    if not consumers:
        return ""
    more = ", ..." if len(consumers) > NAMED else ""
    return f" ({counted(len(consumers), 'consumer')}: {', '.join(consumers[:NAMED])}{more})"
