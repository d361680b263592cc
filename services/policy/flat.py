"""Flat: a rendered text or a node's export -> its entities by name, each a map of plain fields.

A text nests entities and names what it likes; an export (Kong's GET /config) has flat lists, names
entities by id, and has every field that Kong filled in.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import yaml

from services.domain.key_form import mask_keys, shown_part
from services.policy.schema import ENTITIES, PARENTS

Document = dict[str, Any]
Fields = dict[str, object]  # by dotted name; lists of texts sorted, for their order says nothing

# Fields that say nothing about how the gateway behaves, or are read elsewhere.
_NOT_FIELDS = frozenset(("id", "created_at", "updated_at", "ws_id", "url", *ENTITIES))
_PORTS = {"http": 80, "https": 443}
_SECRET = re.compile(r"(?:^|[._])(?:key|password|secret|token)$")
_REFERENCE = re.compile(r"\{vault://[^}]*\}")


class Name(NamedTuple):
    """The name of an entity: its kind in the singular, its own name, and its parents' names."""

    kind: str
    own: str
    service: str = ""
    route: str = ""
    consumer: str = ""
    upstream: str = ""

    @property
    def label(self) -> str:
        """The entity in words."""
        owners = [f"{kind} {name}" for kind, name in self.owners if name]
        return f"{self.kind} {self.own}" + (f" of {', '.join(owners)}" if owners else "")

    @property
    def owners(self) -> tuple[tuple[str, str], ...]:
        """The names of its parents, by kind."""
        return (
            ("route", self.route),
            ("service", self.service),
            ("consumer", self.consumer),
            ("upstream", self.upstream),
        )


def read(text: str) -> Document:
    """Return the document of a text, JSON or YAML. Raises ValueError."""
    try:
        found: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        try:
            found = yaml.load(text, Loader=yaml.CSafeLoader)
        except yaml.YAMLError as exc:
            msg = "neither JSON nor YAML"
            raise ValueError(msg) from exc
    if not isinstance(found, dict):
        msg = "not a map"
        raise ValueError(msg)  # noqa: TRY004 -- a text of the wrong form
    return found  # pyright: ignore[reportUnknownVariableType]


def flatten(document: Document) -> dict[Name, Fields]:
    """Return the entities of a document by name."""
    names = dict(_names_by_id(document))
    found: dict[Name, Fields] = {}
    for kind, entity, parents in _walk(document, {}):
        named: dict[str, str] = {
            **parents,
            **{
                scope: str(names.get(entity[scope], entity[scope]))
                for scope in PARENTS.values()
                if isinstance(entity.get(scope), str)
            },
        }
        found[_name(kind, entity, named)] = _fields(kind, entity)
    return found


def shown(name: str, value: object) -> str:
    """Return a field's value for people, with secrets hidden and keys masked."""
    if isinstance(value, str) and _SECRET.search(name) and not _REFERENCE.fullmatch(value):
        return "(hidden)"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return mask_keys(text)


def _walk(
    document: Document, parents: Mapping[str, str]
) -> Iterator[tuple[str, Document, Mapping[str, str]]]:
    for kind in ENTITIES:
        entities: list[Document] = document.get(kind) or []
        for entity in entities:
            yield kind, entity, parents
            if kind in PARENTS:
                yield from _walk(entity, {**parents, PARENTS[kind]: _own_name(kind, entity)})


def _names_by_id(document: Document) -> Iterator[tuple[str, str]]:
    for kind, entity, _ in _walk(document, {}):
        if kind in PARENTS and isinstance(entity.get("id"), str):
            yield entity["id"], _own_name(kind, entity)


def _own_name(kind: str, entity: Document) -> str:
    if kind == "keyauth_credentials":
        return str(entity.get("id") or shown_part(str(entity.get("key"))))
    names = (entity.get(name) for name in (*ENTITIES[kind].named_by, "name", "id"))
    return next((str(name) for name in names if name), "")


def _name(kind: str, entity: Document, named: Mapping[str, str]) -> Name:
    singular = {"acls": "group", "keyauth_credentials": "key"}.get(kind, kind.removesuffix("s"))
    scope = {key: value for key, value in named.items() if key in PARENTS.values()}
    if kind == "plugins" and "route" in scope and "consumer" not in scope:
        scope.pop("service", None)  # an export names the route only
    return Name(singular, _own_name(kind, entity), **scope)


def _fields(kind: str, entity: Document) -> Fields:
    own: Document = {key: value for key, value in entity.items() if key not in _NOT_FIELDS}
    for scope in PARENTS.values() if kind != "routes" else ():
        own.pop(scope, None)
    own.pop("username" if kind == "consumers" else "name", None)
    if kind == "routes":
        own.pop("service", None)
    address: object = entity.get("url")
    if kind == "services" and isinstance(address, str):
        own.update(_parts(address))
    return dict(_leaves("", own))


def _parts(address: str) -> Document:
    """Return the fields that Kong makes of a service's url."""
    url = urlsplit(address)
    return {
        "protocol": url.scheme,
        "host": url.hostname,
        "port": url.port or _PORTS.get(url.scheme),
        "path": url.path or None,
    }


def _leaves(prefix: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
            yield from _leaves(f"{prefix}.{key}" if prefix else str(key), inner)  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):  # pyright: ignore[reportUnknownVariableType]
        yield prefix, sorted(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    else:
        yield prefix, value
