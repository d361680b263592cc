"""Entities: a parsed declarative file -> its services, routes, consumers and plugins, checked."""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from services.domain.key_form import shown_part
from services.local.gateway.fields import Fault, Values, check
from services.local.gateway.plugins import REGISTRY
from services.local.gateway.plugins.base import Known
from services.local.gateway.refusal import FaultyEntity, InvalidConfigurationError
from services.policy.schema import DOCUMENT, ENTITIES, PLUGINS, SCOPES, TOP

_ID_SPACE = uuid.UUID("5e1f0a3c-2f5b-4c0e-9f0e-3a6d1c9b7e42")


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
        """The id: the given one, or one that stays the same while the name does."""
        if isinstance(self.values.get("id"), str):
            return self.values["id"]
        kind = ENTITIES[self.kind]
        naming = (*kind.named_by, *kind.unique)
        own = next((self.values[name] for name in naming if self.values.get(name)), "")
        above = self.parent.id if self.parent else ""
        place = "" if own else self.report.path
        return str(uuid.uuid5(_ID_SPACE, f"{self.kind}:{above}:{own}:{place}"))

    @property
    def names(self) -> list[str]:
        """The name and the id, by which other entities refer to this one."""
        names = [self.id, self.values.get(ENTITIES[self.kind].named_by[0])]
        return [name for name in names if isinstance(name, str)]

    def of(self, kind: str) -> list["Entity"]:
        """Return its children of one kind."""
        return [child for child in self.children if child.kind == kind]


def read_entities(document: object, environment: Mapping[str, str]) -> list[Entity]:
    """Return the entities at the top of a file. Raises InvalidConfigurationError."""
    if not isinstance(document, dict):
        raise InvalidConfigurationError(document={"error": "expected an object"})
    given = cast("dict[str, Any]", document)
    faults = {fault.field: fault.message for fault in check(DOCUMENT, given)[1]}
    top: list[Entity] = []
    for kind in TOP:
        top.extend(_read_list(kind, given.get(kind), (kind,), None, faults))
    everything = list(_walk(top))
    _check_plugins(everything, environment)
    _check_unique(everything)
    reports = [entity.report for entity in everything]
    if faults or any(report.faults for report in reports):
        raise InvalidConfigurationError(document=faults, entities=reports)
    return top


def _read_list(
    kind: str,
    given: object,
    path: tuple[str | int, ...],
    parent: Entity | None,
    faults: dict[str, str],
) -> Iterator[Entity]:
    """Yield the entities of a list; `faults` gets entries that are no records."""
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
    children = ENTITIES[kind].children
    nested = (*children, "config") if kind == "plugins" else children
    own = {key: value for key, value in given.items() if key not in nested}
    values, found = check(ENTITIES[kind].fields, own)
    report = FaultyEntity(kind.removesuffix("s"), path, given, found)
    entity = Entity(kind, values, report, parent)
    if not found:
        found.extend(_more_faults(entity))
    for name in children:
        entity.children.extend(_read_list(name, given.get(name), (*path, name), entity, faults))
    return entity


def _more_faults(entity: Entity) -> Iterator[Fault]:
    """Yield the faults of an entity whose fields are right one by one."""
    kind, values = ENTITIES[entity.kind], entity.values
    if kind.some_of and not any(values[name] for name in kind.some_of):
        yield Fault("", kind.without)
    elif entity.kind == "services" and not values["url"].startswith("http://"):
        yield Fault("url", "the embedded gateway speaks http:// only")
    elif entity.kind == "targets" and values["target"].startswith("["):
        yield Fault("target", "the embedded gateway asks IPv4 addresses only")


def _walk(entities: Iterable[Entity]) -> Iterator[Entity]:
    for entity in entities:
        yield entity
        yield from _walk(entity.children)


def _check_plugins(everything: list[Entity], environment: Mapping[str, str]) -> None:
    """Add the faults of plugins: their names, configs and references."""
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
    config, faults = check(PLUGINS[name].fields, given, "config.")
    plugin.values["config"] = config
    return faults or REGISTRY[name].faults(config, known)


def _check_unique(everything: list[Entity]) -> None:
    """Add a fault to each entity that takes a name, key, id or place which is taken."""
    seen: set[tuple[Any, ...]] = set()
    for entity in everything:
        for field_name in ("id", *ENTITIES[entity.kind].unique):
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
        value = shown_part(value) + "..."
    whose = f"'{entity.kind}' entity with {field_name} set to '{value}'"
    return f"uniqueness violation: {whose} already declared"
