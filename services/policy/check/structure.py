"""Structure: faults that Kong would refuse or misread, entity by entity."""

import itertools
from collections.abc import Iterator

from services.policy.check.fields import Owner, check_fields
from services.policy.check.plugins import plugin_faults
from services.policy.check.upstreams import host_faults, target_faults
from services.policy.entities import Entity, Policy
from services.policy.faults import Fault, nearest
from services.policy.schema import DOCUMENT, ENTITIES, FORMAT_VERSION, PARENTS, SCOPES, TOP
from services.policy.source import Value, kind_of, plain


def structure_faults(policy: Policy) -> Iterator[Fault]:
    """Yield the faults of the file itself and of each entity in it."""
    yield from _document_faults(policy.root)
    for kind in TOP:
        yield from _shape(kind, policy.root.map.get(kind))
    for entity in policy.entities:
        yield from _entity_faults(policy, entity)
    yield from _taken(policy)


def _document_faults(root: Value) -> Iterator[Fault]:
    for name, value in root.map.items():
        if name not in DOCUMENT:
            words = f"a kong.yml has no field `{name}`: {nearest(name, DOCUMENT.usable)}"
            yield Fault(value.at, words)
        elif DOCUMENT[name].instead:
            yield Fault(value.at, f"`{name}`: {DOCUMENT[name].instead}")
    version = root.map.get("_format_version")
    if version is None or version.data != FORMAT_VERSION:
        line = version.line if version else root.line
        yield Fault(line, f'`_format_version` must be "{FORMAT_VERSION}", in quotes')
    transform = root.map.get("_transform")
    if transform is not None and transform.data is not True:
        yield Fault(transform.line, "`_transform` must be true: Kong then reads keys as plain text")
    ignored = root.map.get("_ignore")
    if ignored is not None and not isinstance(ignored.data, list):
        yield Fault(ignored.line, f"`_ignore` must be a list, not {kind_of(ignored.data)}")


def _shape(kind: str, value: Value | None) -> Iterator[Fault]:
    """Yield the faults of a list of entities: no list, or an entry that is no map."""
    if value is None or value.data is None:
        return
    if not isinstance(value.data, list):
        words = f"`{kind}` must be a list, each entry after a dash, not {kind_of(value.data)}"
        yield Fault(value.line, words)
    for item in value.items:
        if not isinstance(item.data, dict):
            words = f"each entry of `{kind}` must be a map, not {kind_of(item.data)}"
            yield Fault(item.line, words)


def _entity_faults(policy: Policy, entity: Entity) -> Iterator[Fault]:
    kind = ENTITIES[entity.kind]
    elsewhere = (*kind.children, "config") if entity.kind == "plugins" else kind.children
    given = entity.value.map
    for name in kind.children:
        yield from _shape(name, given.get(name))
    own = {name: value for name, value in given.items() if name not in elsewhere}
    yield from check_fields(kind.fields, own, Owner(entity.label, entity.line), elsewhere)
    if kind.some_of and not any(_is_written(entity, name) for name in kind.some_of):
        yield Fault(entity.line, f"{entity.label} {kind.without}")
    yield from _reference_faults(entity)
    yield from _more_faults(policy, entity)


def _is_written(entity: Entity, name: str) -> bool:
    is_list = ENTITIES[entity.kind].fields[name].kind is list
    return bool(entity.texts(name) if is_list else entity.text(name))


def _more_faults(policy: Policy, entity: Entity) -> Iterator[Fault]:
    """Yield the faults of an entity whose fields are right one by one."""
    if entity.kind == "plugins":
        yield from plugin_faults(policy, entity)
    elif entity.kind == "services":
        yield from host_faults(policy, entity)
    elif entity.kind == "upstreams":
        yield from target_faults(policy, entity)


def _reference_faults(entity: Entity) -> Iterator[Fault]:
    for scope in SCOPES.values():
        named = entity.text(scope)
        if scope not in ENTITIES[entity.kind].fields or named is None:
            continue
        place = entity.value.map[scope]
        if entity.parent is not None and PARENTS[entity.parent.kind] == scope:
            words = f"{entity.label} stands under its {scope} already: take `{scope}` out"
            yield Fault(place.at, words)
        elif scope not in entity.targets:
            words = f"{entity.label} names a {scope} `{named}` that is not in the file: name one"
            yield Fault(place.line, f"{words} that is, or add it")
    needs = {"routes": "service", "acls": "consumer", "keyauth_credentials": "consumer"}
    scope = needs.get(entity.kind)
    if scope and scope not in entity.targets and entity.text(scope) is None:
        yield Fault(entity.line, f"{entity.label} belongs to no {scope}: put it under one")


def _taken(policy: Policy) -> Iterator[Fault]:
    """Yield a fault for each entity that takes a name, place or path which is taken."""
    seen: dict[tuple[object, ...], int] = {}
    for entity in policy.entities:
        for place, line, words in _places(entity):
            if place in seen:
                advice = f"(line {seen[place]}): keep one, or change this one"
                yield Fault(entity.via or line, f"{words} {advice}")
            seen.setdefault(place, line)


def _places(entity: Entity) -> Iterator[tuple[tuple[object, ...], int, str]]:
    """Yield the names, paths and places that an entity takes, each with its line and words."""
    for name in ("id", *ENTITIES[entity.kind].unique):
        value = entity.text(name)
        if value is not None:
            shown = "its key" if name == "key" else f"the {name} `{value}`"
            line = entity.value.map[name].line
            yield (entity.kind, name, value), line, f"{entity.label} has {shown}, which is taken"
    if entity.kind == "plugins" and entity.text("name"):
        scope = tuple(id(entity.targets.get(scope)) for scope in SCOPES.values())
        yield ("plugin", entity.name, *scope), entity.line, f"{entity.label} is there already"
    elif entity.kind == "routes":
        rest = str(plain(entity.value.map.get("headers")))
        requests = itertools.product(
            sorted(set(entity.texts("hosts"))) or [""],
            entity.texts_with_lines("paths"),
            sorted(set(entity.texts("methods"))) or [""],
        )
        for host, (line, path), method in requests:
            where = f"{method} {host}{path}".strip()
            words = f"{entity.label} takes {where}, which another route takes"
            yield ("request", host, path, method, rest), line, words
