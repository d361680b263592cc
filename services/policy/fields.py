"""Fields: the description of a field of Kong, and the faults of a value."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, cast

from services.policy.faults import or_list
from services.policy.source import kind_of

NOT_EMBEDDED = (None,)  # the embedded gateway takes the field only if it is left out

_KINDS: dict[type, str] = {
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a map",
}


class Ours(NamedTuple):
    """The rule of our policy for a field, beyond the values that Kong takes."""

    allowed: tuple[Any, ...] | range  # empty: any value, but it must be written
    why: str

    @property
    def words(self) -> str:
        """The allowed values, for a sentence."""
        if isinstance(self.allowed, range):
            return f"from {self.allowed.start:,} to {self.allowed.stop - 1:,}"
        return or_list(map(shown, self.allowed))


class Fields(dict[str, "Field"]):
    """The fields of one map by name: its own, and those that it shares with others."""

    def __init__(self, *shared: Mapping[str, "Field"], **own: "Field") -> None:
        super().__init__()
        for fields in (*shared, own):
            self.update(fields)

    @cached_property
    def usable(self) -> "dict[str, Field]":
        """The fields that may be written."""
        return {name: known for name, known in self.items() if not known.instead}

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The values of an empty map. All entities share them, so never change them."""
        return {
            name: known.fields.defaults if known.fields else known.default
            for name, known in self.usable.items()
        }

    @cached_property
    def needed(self) -> dict[str, str]:
        """The fields that the embedded gateway needs, and why."""
        reasons = {name: _needed(known) for name, known in self.usable.items()}
        return {name: words for name, words in reasons.items() if words}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an entity or a plugin's config; one_of and form of a list are its elements'."""

    kind: type
    default: Any = None  # Kong's
    required: bool = False
    one_of: tuple[Any, ...] = ()
    between: tuple[int, int] | None = None
    elements: type | None = None  # what a list holds
    form: Callable[[str], str] | None = None  # returns the fault of a text, or ""
    fields: Fields = field(default_factory=Fields)  # what a map holds
    referenceable: bool = False  # Kong resolves {vault://env/...} here
    ours: Ours | None = None
    embedded: tuple[Any, ...] | None = None  # the values that the embedded gateway runs; None: all
    instead: str = ""  # not for use here: what to write instead


def wrong(name: str, known: Field, data: object) -> Iterator[tuple[int | None, str]]:
    """Yield why Kong would refuse a value; with a place (from 0) if it is an element of a list."""
    # bool is a subclass of int, so the exact type is compared; an integer is a number, too.
    if type(data) is not known.kind and not (known.kind is float and type(data) is int):
        kind = known.kind
        yield None, f"must be {_KINDS[kind]}, not {kind_of(data)}: {_how(kind, data)}"
    elif known.elements is not None:
        yield from _wrong_elements(name, known, cast("list[object]", data))
    elif words := _wrong_scalar(known, data):
        yield None, words


def missing(known: Field) -> str:
    """Return the value to write into a required field, as the end of a sentence."""
    return f"write {or_list(known.one_of) if known.one_of else _KINDS[known.kind]}"


def not_embedded(known: Field, data: object) -> str:
    """Return why the embedded gateway does not run a value that Kong takes, "" if it does."""
    if known.embedded is None or data in known.embedded:
        return ""
    if known.embedded == NOT_EMBEDDED:
        return "is not for the embedded gateway: take it out"
    return f"must be {or_list(map(shown, known.embedded))} in the embedded gateway"


def _needed(known: Field) -> str:
    if known.required:
        return "required field missing"
    words = not_embedded(known, known.default)
    return f"Kong's default is {shown(known.default)}: it {words}" if words else ""


def shown(value: object) -> str:
    """Return a value as kong.yml has it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(str, cast('list[object]', value)))}]"
    return str(value)


def _how(kind: type, data: object) -> str:
    if kind is str and not isinstance(data, (list, dict)):
        return "put it in quotes"
    if kind in (int, float, bool) and isinstance(data, str):
        return "a bare value without quotes"
    if kind is list and not isinstance(data, (list, dict)):
        return "put it in brackets, [like, this]"
    return f"write {_KINDS[kind]}"


def _wrong_scalar(known: Field, data: Any) -> str:  # noqa: ANN401 -- any YAML
    if known.one_of and data not in known.one_of:
        return f"must be {or_list(map(shown, known.one_of))}"
    if known.between and not known.between[0] <= data <= known.between[1]:
        low, high = known.between
        return f"must be from {low:,} to {high:,}"
    if data in ("", {}):
        return "must not be empty"
    return known.form(data) if known.form else ""


def _wrong_elements(
    name: str, known: Field, data: list[object]
) -> Iterator[tuple[int | None, str]]:
    if not data:
        yield None, "must not be empty: name one at least, or take the field out"
    for place, element in enumerate(data):
        if words := _wrong_element(name, known, element):
            yield place, words


def _wrong_element(name: str, known: Field, element: object) -> str:
    kind = cast("type", known.elements)
    if type(element) is not kind:
        return f"must hold {_KINDS[kind]} in each place, not {kind_of(element)}"
    if element == "":
        return "must hold no empty text"
    if known.one_of and element not in known.one_of:
        return f"hold `{element}`: {name} are {or_list(known.one_of)}"
    words = known.form(cast("str", element)) if known.form else ""
    return f"hold `{element}`: {words}" if words else ""
