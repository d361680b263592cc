"""Kernel: a service's settings out of its environment; every fault in one message, at start."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, TypeVar

import msgspec
from msgspec.structs import FieldInfo, fields

# What settings of several services are made of.
BackendToken = Annotated[str, msgspec.Meta(min_length=32)]
PostgresUrl = Annotated[str, msgspec.Meta(pattern="^postgres(ql)?://")]
ValkeyUrl = Annotated[str, msgspec.Meta(pattern="^(valkey|redis)s?://")]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]  # 0: one that the system chooses

S = TypeVar("S", bound=msgspec.Struct)

LOOKS_ALIKE = 0.88  # CACHE_ULR is as like CACHE_URL as this; DATABASE_URL and CACHE_URL are not


class SettingsError(Exception):
    """The environment does not fit; the message names every setting at fault."""


def load_settings(settings: type[S], environment: Mapping[str, str]) -> S:
    """Read each field of a Struct from the variable of its name in capitals.

    Raises SettingsError with one line for each fault: missing, malformed, or a name that looks
    mistyped. Values never stand in the message, because some are secrets.
    """
    faults: list[str] = []
    values: dict[str, object] = {}
    for field in fields(settings):
        name = field.name.upper()
        if name in environment:
            try:
                values[field.name] = msgspec.convert(environment[name], field.type, strict=False)
            except msgspec.ValidationError as exc:
                faults.append(f"{name}: {exc}")
        else:
            faults.extend(_absent(field, environment))
    if faults:
        raise SettingsError("\n".join(["the environment does not fit:", *faults]))
    return settings(**values)


def _absent(field: FieldInfo, environment: Mapping[str, str]) -> Iterator[str]:
    name = field.name.upper()
    mistyped = [
        other
        for other in difflib.get_close_matches(name, environment, n=1, cutoff=LOOKS_ALIKE)
        if sorted(other.replace("_", "")) == sorted(name.replace("_", "")) or field.required
    ]
    if mistyped:
        yield f"{mistyped[0]}: there is no such setting; did you mean {name}?"
    elif field.required:
        yield f"{name}: required but not set"
