"""Fields: faults of the fields of a map, by Kong 3.9 and by our policy, with lines."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from services.policy.faults import Fault, nearest
from services.policy.fields import Field, Fields, missing, shown, wrong
from services.policy.source import Value, plain


class Owner(NamedTuple):
    """The holder of the fields: its name in sentences, and the line for a field left out."""

    name: str
    line: int


def check_fields(
    fields: Fields, given: Mapping[str, Value], owner: Owner, besides: tuple[str, ...] = ()
) -> Iterator[Fault]:
    """Yield the faults of a map's fields; `besides` are fields that are read elsewhere."""
    for name, inner in given.items():
        if name not in fields and name not in besides:
            words = f"{owner.name} has no field `{name}`"
            yield Fault(inner.at, f"{words}: {nearest(name, (*fields.usable, *besides))}")
    for name, known in fields.items():
        yield from _field(name, known, given.get(name), owner)


def _field(name: str, known: Field, value: Value | None, owner: Owner) -> Iterator[Fault]:
    if known.instead:
        if value is not None:  # an empty one too: Kong may not know the field at all
            yield Fault(value.at, f"`{name}` of {owner.name}: {known.instead}")
    elif value is None or value.data is None:
        yield from _left_out(name, known, value.at if value else owner.line, owner)
    elif known.fields and isinstance(value.data, dict):
        # Often an alias that several share: reported once, by its own line.
        yield from check_fields(known.fields, value.map, Owner(f"`{name}`", value.line))
    else:
        title = f"`{name}` of {owner.name}"
        for line, words in _wrong(name, known, value):
            yield Fault(line, f"{title} {words}")


def _left_out(name: str, known: Field, line: int, owner: Owner) -> Iterator[Fault]:
    if known.required:
        yield Fault(line, f"{owner.name} needs `{name}`: {missing(known)}")
    elif known.ours and known.fields:
        yield Fault(line, f"{owner.name} needs `{name}`: {known.ours.why}")
    elif known.ours and known.default not in known.ours.allowed:
        is_default = f"Kong's default is {shown(known.default)}"
        write = f": write {known.ours.words}" if known.ours.allowed else ""
        words = f"{owner.name} leaves `{name}` out, and {is_default}{write}; {known.ours.why}"
        yield Fault(line, words)


def _wrong(name: str, known: Field, value: Value) -> Iterator[tuple[int, str]]:
    data, ours = plain(value), known.ours
    if ours and ours.allowed:
        known = replace(known, one_of=())  # what we allow is narrower, and says why
    faults = [
        (value.line if place is None else value.items[place].line, words)
        for place, words in wrong(name, known, data)
    ]
    yield from faults
    if not faults and ours and ours.allowed and data not in ours.allowed:
        yield value.line, f"must be {ours.words}: {ours.why}"
