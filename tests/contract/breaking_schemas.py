"""Breaking schemas: what of a changed schema breaks a client that sends it, or one that reads it.

Schemas are expanded: no `$ref` is left. `x-may-grow` marks an enum whose clients were told to
expect new values.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Any

Schema = dict[str, Any]

# keyword: whether a larger value lets less through
BOUNDS = {
    "minimum": True,
    "minLength": True,
    "minItems": True,
    "minProperties": True,
    "maximum": False,
    "maxLength": False,
    "maxItems": False,
    "maxProperties": False,
}
EXACT = ("pattern", "format", "multipleOf", "uniqueItems")
GROWS = "x-may-grow"
NUMBERS = {"integer": 1, "number": 2}  # each holds what the one before holds


class Sends(Enum):
    """Who sends what a schema describes."""

    CLIENT = "client"  # breaks when less is taken than before
    US = "us"  # breaks when more or other is sent than before


def schema_breaks(old: Schema, new: Schema, who: Sends, place: str) -> Iterator[str]:
    """Yield each way in which a changed schema breaks a client."""
    yield from type_breaks(old, new, who, place)
    yield from enum_breaks(old, new, who, place)
    yield from bound_breaks(old, new, who, place)
    yield from object_breaks(old, new, who, place)
    if "items" in old and "items" in new:
        yield from schema_breaks(old["items"], new["items"], who, f"{place}[]")
    yield from alternative_breaks(old, new, who, place)


def type_breaks(old: Schema, new: Schema, who: Sends, place: str) -> Iterator[str]:
    """Compare types, nulls and defaults."""
    before, after = old.get("type"), new.get("type")
    if before != after and not holds(before, after, who):
        yield f"{place}: the type was {before} and is {after}"
    narrower, wider = (old, new) if who is Sends.US else (new, old)
    if wider.get("nullable") and not narrower.get("nullable"):
        yield f"{place}: null is {'new' if who is Sends.US else 'no longer taken'}"
    if old.get("default") != new.get("default"):
        yield f"{place}: the default was {old.get('default')} and is {new.get('default')}"


def holds(before: str | None, after: str | None, who: Sends) -> bool:
    """Say whether one type of number may follow the other: the one for clients may only widen."""
    if before not in NUMBERS or after not in NUMBERS:
        return False
    return (NUMBERS[before] < NUMBERS[after]) == (who is Sends.CLIENT)


def enum_breaks(old: Schema, new: Schema, who: Sends, place: str) -> Iterator[str]:
    """Compare the listed values."""
    before, after = old.get("enum"), new.get("enum")
    if who is Sends.CLIENT:
        if after is not None and (before is None or set(before) - set(after)):
            gone = "any other" if before is None else sorted(map(str, set(before) - set(after)))
            yield f"{place}: no longer taken: {gone}"
    elif before is not None and not old.get(GROWS) and (after is None or set(after) - set(before)):
        more = "any" if after is None else sorted(map(str, set(after) - set(before)))
        yield f"{place}: new values: {more}"


def bound_breaks(old: Schema, new: Schema, who: Sends, place: str) -> Iterator[str]:
    """Compare bounds and forms."""
    # What clients send may only get looser, what we send only tighter.
    looser, tighter = (new, old) if who is Sends.CLIENT else (old, new)
    for keyword, is_least in BOUNDS.items():
        least, most = (looser, tighter) if is_least else (tighter, looser)
        if keyword not in looser:
            continue
        if keyword not in tighter or least[keyword] > most[keyword]:
            yield f"{place}: {keyword} was {old.get(keyword)} and is {new.get(keyword)}"
    for keyword in EXACT:
        if keyword in looser and looser[keyword] != tighter.get(keyword):
            yield f"{place}: {keyword} was {old.get(keyword)} and is {new.get(keyword)}"


def object_breaks(old: Schema, new: Schema, who: Sends, place: str) -> Iterator[str]:
    """Compare the fields of objects."""
    before, after = old.get("properties", {}), new.get("properties", {})
    needed_before, needed_after = set(old.get("required", [])), set(new.get("required", []))
    for name in before:
        if name not in after:
            yield f"{place}.{name}: the field was removed"
        else:
            yield from schema_breaks(before[name], after[name], who, f"{place}.{name}")
    if who is Sends.CLIENT:
        yield from (f"{place}.{name}: must be sent now" for name in needed_after - needed_before)
        if old.get("additionalProperties", True) and new.get("additionalProperties") is False:
            yield f"{place}: unknown fields are refused now"
    else:
        left = (needed_before - needed_after) & set(after)
        yield from (f"{place}.{name}: may be absent now" for name in sorted(left))


def alternative_breaks(old: Schema, new: Schema, who: Sends, place: str) -> Iterator[str]:
    """Compare the alternatives of a oneOf, each with the one in its place."""
    before, after = old.get("oneOf", []), new.get("oneOf", [])
    for number, (one, other) in enumerate(zip(before, after, strict=False)):
        yield from schema_breaks(one, other, who, f"{place}|{number}")
    if len(after) < len(before) and who is Sends.CLIENT:
        yield f"{place}: an alternative was removed"
    if len(after) > len(before) and who is Sends.US and not old.get(GROWS):
        yield f"{place}: an alternative is new"
