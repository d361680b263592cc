"""Core: a service's settings out of its environment; every fault in one message, at start."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec.structs import FieldInfo, fields

# What settings of several services are made of.
# Several while one takes the place of the other; the gateway's nodes send the first.
BACKEND_TOKENS_PATTERN = r"^[!-+\--~]{32,}(,[!-+\--~]{32,})*$"
BackendTokens = Annotated[str, msgspec.Meta(pattern=BACKEND_TOKENS_PATTERN)]
PostgresUrl = Annotated[str, msgspec.Meta(pattern="^postgres(ql)?://")]
ValkeyUrl = Annotated[str, msgspec.Meta(pattern="^(valkey|redis)s?://")]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]  # 0: one that the system chooses

S = TypeVar("S", bound=msgspec.Struct)

FILE = "_FILE"  # DATABASE_URL_FILE names a file that holds DATABASE_URL, as Docker's secrets are
LOOKS_ALIKE = 0.88  # CACHE_ULR is as like CACHE_URL as this; DATABASE_URL and CACHE_URL are not


class SettingsError(Exception):
    """The environment does not fit; the message names every setting at fault."""


class _FaultError(Exception):
    """One line of a SettingsError."""


def load_settings(settings: type[S], environment: Mapping[str, str]) -> S:
    """Read each field of a Struct from the variable of its name in capitals.

    NAME_FILE names a file that holds the setting NAME, without one newline at its end. Raises
    SettingsError with one line for each fault: missing, malformed, a file that can't be read, a
    name that looks mistyped, or a ValueError of the Struct's `__post_init__`. No value stands in
    the messages made here, because some are secrets.
    """
    faults: list[str] = []
    values: dict[str, object] = {}
    for field in fields(settings):
        name = field.name.upper()
        try:
            given = _given(name, environment)
            if given is not None:
                values[field.name] = msgspec.convert(given, field.type, strict=False)
            else:
                faults.extend(_absent(field, environment))
        except _FaultError as exc:
            faults.append(str(exc))
        except msgspec.ValidationError as exc:
            faults.append(f"{name}: {exc}")
    if not faults:
        try:
            return settings(**values)
        except ValueError as exc:
            faults.append(str(exc))
    raise SettingsError("\n".join(["the environment does not fit:", *faults]))


def is_set(name: str, environment: Mapping[str, str]) -> bool:
    """Say whether a setting is given, in the environment or by a file."""
    return name in environment or name + FILE in environment


def _given(name: str, environment: Mapping[str, str]) -> str | None:
    by_file = name + FILE
    if by_file not in environment:
        return environment.get(name)
    if name in environment:
        msg = f"{name}: {by_file} is set, too; set one of them"
        raise _FaultError(msg)
    try:
        return Path(environment[by_file]).read_text(encoding="utf-8").removesuffix("\n")
    except OSError as exc:
        msg = f"{by_file}: {environment[by_file]} can't be read: {exc.strerror}"
    except ValueError:  # not UTF-8, or a null in the path; its own words would hold what was read
        msg = f"{by_file}: what it names is not a text file in UTF-8"
    raise _FaultError(msg)


def _absent(field: FieldInfo, environment: Mapping[str, str]) -> Iterator[str]:
    name = field.name.upper()
    for meant in (name, name + FILE):
        mistyped = [
            other
            for other in difflib.get_close_matches(meant, environment, n=1, cutoff=LOOKS_ALIKE)
            if sorted(other.replace("_", "")) == sorted(meant.replace("_", "")) or field.required
        ]
        if mistyped:
            yield f"{mistyped[0]}: there is no such setting; did you mean {meant}?"
            return
    if field.required:
        yield f"{name}: required but not set"
