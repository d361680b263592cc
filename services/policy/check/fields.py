"""Fields: what an entity or a plugin's config may hold, by Kong 3.9 and by our policy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from services.policy.check.faults import Fault, nearest, or_list
from services.policy.check.source import Value, kind_of, plain

_KINDS: dict[type, str] = {
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a map",
}


class Ours(NamedTuple):
    """What our policy asks of a field beyond what Kong takes; what is left out is its default."""

    allowed: tuple[Any, ...] | range  # empty: any value, but it must be written
    why: str

    @property
    def words(self) -> str:
        """The allowed values, for a sentence."""
        if isinstance(self.allowed, range):
            return f"from {self.allowed.start:,} to {self.allowed.stop - 1:,}"
        return or_list(map(_shown, self.allowed))


@dataclass(frozen=True, slots=True)
class Field:
    """One field as Kong 3.9 knows it."""

    kind: type
    default: Any = None
    required: bool = False
    one_of: tuple[Any, ...] = ()
    between: tuple[int, int] | None = None
    elements: type | None = None  # what a list holds
    fields: Mapping[str, "Field"] = field(default_factory=dict[str, "Field"])  # what a map holds
    referenceable: bool = False  # Kong resolves {vault://env/...} here
    secret: bool = False
    ours: Ours | None = None
    instead: str = ""  # Kong has it, we don't: what to write instead


Fields = Mapping[str, Field]


class Owner(NamedTuple):
    """Whose fields are checked: its name in sentences and the line for what is left out."""

    name: str
    line: int


def check_fields(fields: Fields, value: Value | None, owner: Owner) -> Iterator[Fault]:
    """Yield what is wrong with a map's fields."""
    if value is not None and value.data is not None and not isinstance(value.data, dict):
        yield Fault(
            value.line, f"`config` of {owner.name} must be a map, not {kind_of(value.data)}"
        )
        return
    given = value.map if value else {}
    for name, inner in given.items():
        if name not in fields:
            usable = [field for field, known in fields.items() if not known.instead]
            words = f"{owner.name} has no field `{name}`: {nearest(name, usable)}"
            yield Fault(inner.at, words)
    for name, known in fields.items():
        yield from _field(name, known, given.get(name), owner)


def setting(fields: Fields, value: Value | None, path: str) -> Any:  # noqa: ANN401 -- any YAML
    """Return what counts for a dotted path: what is written, or else Kong's default."""
    name, _, rest = path.partition(".")
    given = value.map.get(name) if value else None
    if rest:
        return setting(fields[name].fields, given, rest)
    return fields[name].default if given is None or given.data is None else plain(given)


def _field(name: str, known: Field, value: Value | None, owner: Owner) -> Iterator[Fault]:
    if value is None or value.data is None:
        if not known.instead:
            yield from _left_out(name, known, value.at if value else owner.line, owner)
    elif known.instead:
        yield Fault(value.at, f"{owner.name}: `{name}`: {known.instead}")
    elif known.fields and isinstance(value.data, dict):
        # Often an alias that several share: told once, by its line, whoever uses it.
        yield from check_fields(known.fields, value, Owner(f"`{name}`", value.line))
    else:
        faults = list(_wrong(known, value))
        if not faults and known.ours and known.ours.allowed:
            faults = list(_against_policy(known.ours, value))
        title = f"`{name}` of {owner.name}"
        yield from (Fault(line, f"{title} {words}") for line, words in faults)


def _left_out(name: str, known: Field, line: int, owner: Owner) -> Iterator[Fault]:
    title = f"`{name}`"
    if known.required:
        kind = or_list(known.one_of) if known.one_of else _KINDS[known.kind]
        yield Fault(line, f"{owner.name} needs {title}: write {kind}")
    elif known.ours and known.default not in known.ours.allowed:
        is_default = f"Kong's default is {_shown(known.default)}"
        write = f": write {known.ours.words}" if known.ours.allowed else ""
        words = f"{owner.name} leaves {title} out, and {is_default}{write}; {known.ours.why}"
        yield Fault(line, words)


def _wrong(known: Field, value: Value) -> Iterator[tuple[int, str]]:
    """Yield what Kong would refuse, each with its line."""
    data: Any = value.data
    # bool is a subclass of int, so the exact type is compared; an integer is a number, too.
    if type(data) is not known.kind and not (known.kind is float and type(data) is int):
        kind, given = _KINDS[known.kind], kind_of(data)
        yield value.line, f"must be {kind}, not {given}: {_how(known.kind, data)}"
    elif known.one_of and data not in known.one_of:
        yield value.line, f"must be {or_list(map(_shown, known.one_of))}"
    elif known.between and not known.between[0] <= data <= known.between[1]:
        low, high = known.between
        yield value.line, f"must be from {low:,} to {high:,}"
    elif known.elements:
        yield from _wrong_elements(known.elements, value)
    elif data in ("", {}):
        yield value.line, "must not be empty"


def _how(kind: type, data: object) -> str:
    if kind is str and not isinstance(data, (list, dict)):
        return "put it in quotes"
    if kind in (int, float, bool) and isinstance(data, str):
        return "a bare value without quotes"
    if kind is list and not isinstance(data, (list, dict)):
        return "put it in brackets, [like, this]"
    return f"write {_KINDS[kind]}"


def _wrong_elements(kind: type, value: Value) -> Iterator[tuple[int, str]]:
    if not value.items:
        yield value.line, "must not be empty: name one at least, or take the field out"
    for inner in value.items:
        if type(inner.data) is not kind:
            yield inner.line, f"must hold {_KINDS[kind]} in each place, not {kind_of(inner.data)}"
        elif inner.data == "":
            yield inner.line, "must hold no empty text"


def _against_policy(ours: Ours, value: Value) -> Iterator[tuple[int, str]]:
    data = plain(value)
    if data not in ours.allowed:
        yield value.line, f"must be {ours.words}: {ours.why}"


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(str, cast('list[object]', value)))}]"
    return str(value)
