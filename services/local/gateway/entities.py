"""Entities: a parsed declarative file -> its services, routes, consumers and plugins, checked."""

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from services.local.gateway.fields import REQUIRED, Fault, Field, Fields, Values, check
from services.local.gateway.plugins import REGISTRY
from services.local.gateway.plugins.base import Known
from services.local.gateway.refusal import FaultyEntity, InvalidConfigurationError

_MAX_MS = 2**31 - 2
_COMMON: Fields = {"id": Field(str), "tags": Field(list, elements=str)}
_PLUGIN: Fields = {
    **_COMMON,
    "name": Field(str, REQUIRED),
    "enabled": Field(bool, True),
    "service": Field(str),
    "route": Field(str),
    "consumer": Field(str),
}
_COUNT = Field(int, 0, between=(0, 255))
_SECONDS = (0, 65535)
_ACTIVE: Fields = {
    "type": Field(str, "http", one_of=("http",)),
    "http_path": Field(str, "/"),
    "timeout": Field(float, 1, between=_SECONDS),
    "healthy": Field(
        dict, fields={"interval": Field(float, 0, between=_SECONDS), "successes": _COUNT}
    ),
    "unhealthy": Field(
        dict,
        fields={
            "interval": Field(float, 0, between=_SECONDS),
            "http_failures": _COUNT,
            "tcp_failures": _COUNT,
            "timeouts": _COUNT,
        },
    ),
}
_PASSIVE: Fields = {
    "unhealthy": Field(
        dict,
        fields={
            "tcp_failures": _COUNT,
            "timeouts": _COUNT,
            "http_failures": Field(int, 0, between=(0, 255), one_of=(0,)),
        },
    ),
}
_FIELDS: Mapping[str, Fields] = {
    "upstreams": {
        **_COMMON,
        "name": Field(str, REQUIRED),
        "algorithm": Field(str, "round-robin", one_of=("round-robin",)),
        "healthchecks": Field(
            dict,
            fields={"active": Field(dict, fields=_ACTIVE), "passive": Field(dict, fields=_PASSIVE)},
        ),
    },
    "targets": {
        **_COMMON,
        "target": Field(str, REQUIRED),
        "weight": Field(int, 100, between=(0, 65535)),
    },
    "services": {
        **_COMMON,
        "name": Field(str, REQUIRED),
        "url": Field(str, REQUIRED),
        "retries": Field(int, 5, between=(0, 32767)),
        "connect_timeout": Field(int, 60000, between=(1, _MAX_MS)),
        "write_timeout": Field(int, 60000, between=(1, _MAX_MS)),
        "read_timeout": Field(int, 60000, between=(1, _MAX_MS)),
    },
    "routes": {
        **_COMMON,
        "name": Field(str, REQUIRED),
        "hosts": Field(list, [], elements=str),
        "paths": Field(list, [], elements=str),
        "methods": Field(list, [], elements=str),
        "strip_path": Field(bool, True),
    },
    "consumers": {**_COMMON, "username": Field(str), "custom_id": Field(str)},
    "acls": {**_COMMON, "group": Field(str, REQUIRED)},
    "keyauth_credentials": {**_COMMON, "key": Field(str, REQUIRED)},
    "plugins": _PLUGIN,
}
_CHILDREN: Mapping[str, tuple[str, ...]] = {
    "": ("upstreams", "services", "consumers", "plugins"),
    "upstreams": ("targets",),
    "services": ("routes", "plugins"),
    "routes": ("plugins",),
    "consumers": ("acls", "keyauth_credentials", "plugins"),
}
_DOCUMENT_FIELDS = frozenset(("_format_version", "_transform", "_ignore", *_CHILDREN[""]))
_FORMAT_VERSIONS = ("1.1", "2.1", "3.0")
# What no two entities of a kind may share.
_UNIQUE: Mapping[str, tuple[str, ...]] = {
    "upstreams": ("name",),
    "services": ("name",),
    "routes": ("name",),
    "consumers": ("username", "custom_id"),
    "keyauth_credentials": ("key",),
}
_ID_SPACE = uuid.UUID("5e1f0a3c-2f5b-4c0e-9f0e-3a6d1c9b7e42")
_SHOWN_OF_A_KEY = 12  # characters; the prefix, and enough to find it

SCOPES = {"services": "service", "routes": "route", "consumers": "consumer"}
PARENTS = {**SCOPES, "upstreams": "upstream"}
_TARGET = re.compile(r"(?P<host>[A-Za-z0-9_.-]+):(?P<port>\d{1,5})")


@dataclass(slots=True)
class Entity:
    """One entity of the file; `values` have their defaults filled in."""

    kind: str
    values: Values
    report: FaultyEntity
    parent: "Entity | None" = None
    children: list["Entity"] = field(default_factory=list["Entity"])

    @property
    def id(self) -> str:
        """Its id: the given one, or one that stays the same while its name does."""
        if isinstance(self.values.get("id"), str):
            return self.values["id"]
        own = next((self.values[key] for key in _naming(self.kind) if self.values.get(key)), "")
        above = self.parent.id if self.parent else ""
        place = "" if own else self.report.path
        return str(uuid.uuid5(_ID_SPACE, f"{self.kind}:{above}:{own}:{place}"))

    @property
    def names(self) -> list[str]:
        """What other entities may call it."""
        names = [self.id, self.values.get("username" if self.kind == "consumers" else "name")]
        return [name for name in names if isinstance(name, str)]

    def of(self, kind: str) -> list["Entity"]:
        """Return its children of one kind."""
        return [child for child in self.children if child.kind == kind]


def _naming(kind: str) -> tuple[str, ...]:
    return {"acls": ("group",), "plugins": (), "targets": ("target",)}.get(
        kind, _UNIQUE.get(kind, ())
    )


def read_entities(document: object, environment: Mapping[str, str]) -> list[Entity]:
    """Return the entities at the top of a file. Raises InvalidConfigurationError."""
    if not isinstance(document, dict):
        raise InvalidConfigurationError(document={"error": "expected an object"})
    given = cast("dict[str, Any]", document)
    faults = _document_faults(given)
    top: list[Entity] = []
    for kind in _CHILDREN[""]:
        top.extend(_read_list(kind, given.get(kind), (kind,), None, faults))
    everything = list(_walk(top))
    _check_plugins(everything, environment)
    _check_unique(everything)
    reports = [entity.report for entity in everything]
    if faults or any(report.faults for report in reports):
        raise InvalidConfigurationError(document=faults, entities=reports)
    return top


def _document_faults(document: dict[str, Any]) -> dict[str, str]:
    faults = {str(name): "unknown field" for name in document if name not in _DOCUMENT_FIELDS}
    version = document.get("_format_version")
    if version is None:
        faults["_format_version"] = "required field missing"
    elif version not in _FORMAT_VERSIONS:
        faults["_format_version"] = f"expected one of: {', '.join(_FORMAT_VERSIONS)}"
    return faults


def _read_list(
    kind: str,
    given: object,
    path: tuple[str | int, ...],
    parent: Entity | None,
    faults: dict[str, str],
) -> Iterator[Entity]:
    """Yield the entities of a list; what is no list of records goes to `faults`."""
    if given is None:
        return
    if not isinstance(given, list):
        faults[".".join(map(str, path))] = "expected an array"
        return
    for place, entry in enumerate(cast("list[object]", given)):
        where = (*path, place)
        if isinstance(entry, dict):
            yield _read(kind, cast("dict[str, Any]", entry), where, parent, faults)
        else:
            faults[".".join(map(str, where))] = "expected a record"


def _read(
    kind: str,
    given: dict[str, Any],
    path: tuple[str | int, ...],
    parent: Entity | None,
    faults: dict[str, str],
) -> Entity:
    nested = {*_CHILDREN.get(kind, ()), *(["config"] if kind == "plugins" else [])}
    own = {key: value for key, value in given.items() if key not in nested}
    values, found = check(_FIELDS[kind], own)
    report = FaultyEntity(kind.removesuffix("s"), path, given, found)
    entity = Entity(kind, values, report, parent)
    if not found:
        found.extend(_more_faults(entity))
    for child_kind in _CHILDREN.get(kind, ()):
        children = _read_list(
            child_kind, given.get(child_kind), (*path, child_kind), entity, faults
        )
        entity.children.extend(children)
    return entity


def _more_faults(entity: Entity) -> Iterator[Fault]:
    """Yield what is wrong although each field is right by its type."""
    values = entity.values
    if values["id"] is not None and not _is_uuid(values["id"]):
        yield Fault("id", "expected a valid UUID")
    if entity.kind == "services":
        yield from _url_faults(values["url"])
    elif entity.kind == "routes":
        yield from _route_faults(values)
    elif entity.kind == "targets" and not _TARGET.fullmatch(values["target"]):
        yield Fault("target", "the embedded gateway takes host:port")
    elif entity.kind == "consumers" and not (values["username"] or values["custom_id"]):
        yield Fault("", "at least one of these fields must be non-empty: 'custom_id', 'username'")


def _is_uuid(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text))


def _url_faults(url: str) -> Iterator[Fault]:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        yield Fault("url", "missing host in url")
    elif not url.startswith("http://"):
        yield Fault("url", "the embedded gateway speaks http:// only")


def _route_faults(values: Values) -> Iterator[Fault]:
    if not (values["hosts"] or values["paths"] or values["methods"]):
        yield Fault(
            "", "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' for an http route"
        )
    for place, path in enumerate(values["paths"], 1):
        if not path.startswith(("/", "~/")):
            yield Fault(f"paths.{place}", "should start with: / (fixed path) or ~/ (regex path)")
        elif path.startswith("~") and not _compiles(path[1:]):
            yield Fault(f"paths.{place}", "invalid regex")
    for place, host in enumerate(values["hosts"], 1):
        if "*" in host:
            yield Fault(f"hosts.{place}", "the embedded gateway knows no wildcards")


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _walk(entities: Iterable[Entity]) -> Iterator[Entity]:
    for entity in entities:
        yield entity
        yield from _walk(entity.children)


def _check_plugins(everything: list[Entity], environment: Mapping[str, str]) -> None:
    """Add what is wrong with plugins: their names, their configs, what they refer to."""
    targets = {
        scope: {
            name: entity for entity in everything if entity.kind == kind for name in entity.names
        }
        for kind, scope in SCOPES.items()
    }
    known = Known(frozenset(targets["consumer"]), environment)
    for plugin in everything:
        if plugin.kind != "plugins":
            continue
        faults = plugin.report.faults
        for scope, names in targets.items():
            faults.extend(_resolve(plugin, scope, names))
        name = plugin.values.get("name")
        if isinstance(name, str):
            faults.extend(_config_faults(plugin, name, known))


def _resolve(plugin: Entity, scope: str, targets: Mapping[str, Entity]) -> Iterator[Fault]:
    """Put the id of the service, route or consumer that a plugin names in place of its name."""
    named = plugin.values.get(scope)
    if plugin.parent is not None and SCOPES[plugin.parent.kind] == scope:
        plugin.values[scope] = plugin.parent.id
    elif isinstance(named, str):
        if named in targets:
            plugin.values[scope] = targets[named].id
        else:
            yield Fault(scope, f"no {scope} is called '{named}'")


def _config_faults(plugin: Entity, name: str, known: Known) -> Iterable[Fault]:
    if name not in REGISTRY:
        message = "plugin '%s' not enabled; add it to the 'plugins' configuration property"
        return [Fault("name", message % name)]
    given = plugin.report.given.get("config")
    config, faults = check(REGISTRY[name].FIELDS, given, "config.")
    plugin.values["config"] = config
    return faults or REGISTRY[name].faults(config, known)


def _check_unique(everything: list[Entity]) -> None:
    """Add a fault to each entity that takes a name, key, id or place which is taken."""
    seen: set[tuple[Any, ...]] = set()
    for entity in everything:
        for field_name in ("id", *_UNIQUE.get(entity.kind, ())):
            value = entity.values.get(field_name)
            taken = (entity.kind, field_name, str(value))
            if value is not None and taken in seen:
                entity.report.faults.append(Fault(field_name, _taken(entity, field_name)))
            seen.add(taken)
        if entity.kind == "targets" and entity.parent is not None:
            place = ("targets", entity.parent.id, str(entity.values.get("target")).lower())
            if place in seen:
                message = f"'{entity.values['target']}' is already a target of this upstream"
                entity.report.faults.append(Fault("target", f"uniqueness violation: {message}"))
            seen.add(place)
        if entity.kind == "plugins":
            scope = tuple(entity.values.get(scope) for scope in SCOPES.values())
            place = ("plugins", entity.values.get("name"), *scope)
            if place in seen:
                message = f"'{entity.values.get('name')}' is already there for the same scope"
                entity.report.faults.append(Fault("", f"uniqueness violation: {message}"))
            seen.add(place)


def _taken(entity: Entity, field_name: str) -> str:
    value = str(entity.values[field_name])
    if field_name == "key":  # a secret: not in answers, not in logs
        value = value[:_SHOWN_OF_A_KEY] + "..."
    whose = f"'{entity.kind}' entity with {field_name} set to '{value}'"
    return f"uniqueness violation: {whose} already declared"
