"""Migration rules: what none may do while programs of the release before are running."""

import re

# Tables that grow with products, changes or partners: an index on them takes seconds to minutes.
LARGE = ("products", "removed_products", "stock_changes", "events", "deliveries", "attempts")
CONTRACT = re.compile(r"^contract: \d+\.\d+\b", re.MULTILINE)  # `contract: 1.4` in the docstring

# What breaks programs that still run; allowed where a release is named from which nobody needs it.
CONTRACTING = {
    r"\bDROP\s+(COLUMN|TABLE|SCHEMA|VIEW|FUNCTION|SEQUENCE|TRIGGER|TYPE)\b": "drops something",
    r"\bRENAME\b": "renames something",
    r"\bALTER\s+(COLUMN\s+)?\w+\s+(SET\s+DATA\s+)?TYPE\b": "changes a type",
    r"\bSET\s+NOT\s+NULL\b": "forbids null",
    r"\bREVOKE\b": "takes a right away",
    r"\bADD\s+COLUMN\b(?![^,;]*\bDEFAULT\b)[^,;]*\bNOT\s+NULL\b": "adds a column to be given",
    r"\bADD\s+CONSTRAINT\b(?![^;]*\bNOT\s+VALID\b)": "adds a constraint that looks at every row",
}
# What stops everybody while it runs; never allowed.
BLOCKING = {
    r"\bADD\s+COLUMN\b[^,;]*\bDEFAULT\b[^,;]*"
    r"(random|nextval|uuid|clock_timestamp)\w*\s*\(": "writes the whole table anew",
    r"\bLOCK\s+TABLE\b": "locks a table",
    r"\b(VACUUM\s+FULL|CLUSTER)\b": "writes the whole table anew",
}
LOCKING = re.compile(
    r"\b(ALTER\s+TABLE|CREATE\s+TRIGGER|DROP\s+(TABLE|INDEX|TRIGGER))\b", re.IGNORECASE
)
NEW_TABLE = re.compile(r"\bCREATE\s+TABLE\s+(?:\w+\.)?(\w+)", re.IGNORECASE)
INDEX = re.compile(
    r"\bCREATE\s+(?:UNIQUE\s+)?INDEX\s+(CONCURRENTLY\s+)?.*?\bON\s+(?:\w+\.)?(\w+)",
    re.IGNORECASE | re.DOTALL,
)
COMMENT = re.compile(r"--[^\n]*")


def faults_of(docstring: str, statements: str) -> list[str]:
    """Return what is wrong with a migration, in words; nothing, if it may run under load."""
    text = COMMENT.sub("", statements)
    patterns = dict(BLOCKING) if CONTRACT.search(docstring) else {**BLOCKING, **CONTRACTING}
    found = [
        words for pattern, words in patterns.items() if re.search(pattern, text, re.IGNORECASE)
    ]
    new = set(NEW_TABLE.findall(text))
    found += [
        f"makes an index on {table} without CONCURRENTLY"
        for concurrently, table in INDEX.findall(text)
        if table in LARGE and table not in new and not concurrently
    ]
    if LOCKING.search(text) and not re.search(
        r"\bSET\s+LOCAL\s+lock_timeout\b", text, re.IGNORECASE
    ):
        found.append("waits for a lock without lock_timeout")
    return found
