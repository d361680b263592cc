"""Fields: what an entity or a plugin's config may hold, and every fault of what it does hold."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

REQUIRED: Any = object()  # a field without a default


class Fault(NamedTuple):
    """One thing that is wrong; `field` is its dotted path, empty for the entity as a whole."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its type, its default, and what its value may be."""

    kind: type
    default: Any = None
    one_of: tuple[Any, ...] = ()
    between: tuple[int, int] | None = None
    elements: type | None = None  # what a list holds
    fields: Mapping[str, "Field"] = field(default_factory=dict[str, "Field"])  # what a map holds


Fields = Mapping[str, Field]
Values = dict[str, Any]

_NAMES: dict[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    list: "an array",
    dict: "a record",
}


def check(fields: Fields, given: object, path: str = "") -> tuple[Values, list[Fault]]:
    """Return the values with defaults filled in, and all faults, worded as Kong words them."""
    if given is None:
        given = {}
    if not isinstance(given, dict):
        return {}, [Fault(path.rstrip("."), "expected a record")]
    record = cast("dict[object, object]", given)
    faults = [Fault(f"{path}{name}", "unknown field") for name in record if name not in fields]
    values: Values = {}
    for name, known in fields.items():
        value = record.get(name)
        if value is None and known.kind is not dict:
            values[name] = None if known.default is REQUIRED else known.default
            if known.default is REQUIRED:
                faults.append(Fault(f"{path}{name}", "required field missing"))
        elif known.fields:
            values[name], inner = check(known.fields, value, f"{path}{name}.")
            faults.extend(inner)
        else:
            values[name] = value
            faults.extend(Fault(f"{path}{name}", message) for message in _faults(known, value))
    return values, faults


def _faults(known: Field, value: object) -> Iterator[str]:
    # bool is a subclass of int, so the exact type is compared; an integer is a number, too.
    if type(value) is not known.kind and not (known.kind is float and type(value) is int):
        yield f"expected {_NAMES[known.kind]}"
    elif known.one_of and value not in known.one_of:
        yield f"expected one of: {', '.join(str(choice) for choice in known.one_of)}"
    elif known.between and not known.between[0] <= cast("int", value) <= known.between[1]:
        yield f"value should be between {known.between[0]} and {known.between[1]}"
    elif known.elements and any(
        type(element) is not known.elements for element in cast("list[object]", value)
    ):
        yield f"expected an array of {_NAMES[known.elements].split(' ')[1]}s"
    elif value in ("", []):
        yield "length must be at least 1"
