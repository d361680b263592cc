"""Fields: the values of a map with their defaults, and the faults that a node refuses it for."""

from typing import Any, NamedTuple, cast

from services.policy.fields import Field, Fields, not_embedded, wrong

Values = dict[str, Any]


class Fault(NamedTuple):
    """One fault; `field` is its dotted path, empty for the entity as a whole."""

    field: str
    message: str


def check(fields: Fields, given: object, path: str = "") -> tuple[Values, list[Fault]]:
    """Return the values with defaults filled in, and all faults."""
    if given is None:
        given = {}
    if not isinstance(given, dict):
        return {}, [Fault(path.rstrip("."), "expected a record")]
    record = cast("dict[str, Any]", given)
    values = dict(fields.defaults)
    faults: list[Fault] = []
    for name, value in record.items():
        known = fields.get(name)
        if known is None:
            faults.append(Fault(f"{path}{name}", "unknown field"))
        elif value is not None or known.instead:
            values[name], found = _read(name, known, value, path)
            faults += found
    for name, words in fields.needed.items():
        if record.get(name) is None:
            faults.append(Fault(f"{path}{name}", words))
    return values, faults


def _read(name: str, known: Field, value: object, path: str) -> tuple[Any, list[Fault]]:
    if known.instead:
        return value, [Fault(f"{path}{name}", known.instead)]
    if known.fields:
        return check(known.fields, value, f"{path}{name}.")
    faults = [
        Fault(f"{path}{name}" if place is None else f"{path}{name}.{place + 1}", words)
        for place, words in wrong(name, known, value)
    ]
    if not faults and (words := not_embedded(known, value)):
        faults.append(Fault(f"{path}{name}", words))
    return value, faults
