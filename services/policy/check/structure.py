"""Structure: what Kong would refuse, misread or not have, entity by entity."""

import itertools
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from services.policy.check import kong, missing
from services.policy.check.entities import Entity, Policy
from services.policy.check.faults import Fault, nearest, or_list
from services.policy.check.fields import Owner, check_fields
from services.policy.check.source import Value, kind_of, plain
from services.policy.check.upstreams import host_faults, target_faults

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NAME = re.compile(r"[\w.~-]+")
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?(:\d{1,5})?")


def structure_faults(policy: Policy) -> Iterator[Fault]:
    """Yield them for the file itself and for each entity in it."""
    yield from _document_faults(policy.root)
    for kind in kong.CHILDREN[""]:
        yield from _shape(kind, policy.root.map.get(kind))
    for entity in policy.entities:
        yield from _entity_faults(policy, entity)
    yield from _taken(policy)


def _document_faults(root: Value) -> Iterator[Fault]:
    for name, value in root.map.items():
        if name in missing.FIELDS[""]:
            yield Fault(value.at, f"`{name}`: {missing.FIELDS[''][name]}")
        elif name not in kong.DOCUMENT:
            words = f"a kong.yml has no field `{name}`: {nearest(name, kong.DOCUMENT)}"
            yield Fault(value.at, words)
    version = root.map.get("_format_version")
    if version is None or version.data not in kong.FORMAT_VERSIONS:
        line = version.line if version else root.line
        yield Fault(line, '`_format_version` must be "3.0", in quotes')
    transform = root.map.get("_transform")
    if transform is not None and transform.data is not True:
        yield Fault(transform.line, "`_transform` must be true: Kong then reads keys as plain text")
    ignored = root.map.get("_ignore")
    if ignored is not None and not isinstance(ignored.data, list):
        yield Fault(ignored.line, f"`_ignore` must be a list, not {kind_of(ignored.data)}")


def _shape(kind: str, value: Value | None) -> Iterator[Fault]:
    """Yield what keeps a list of entities from being read."""
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
    kind, nested = entity.kind, kong.CHILDREN.get(entity.kind, ())
    lacking = missing.FIELDS.get(kind, {})
    own: dict[str, Value] = {}
    for name, value in entity.value.map.items():
        if name in lacking:
            yield Fault(value.at, f"`{name}` of {entity.label}: {lacking[name]}")
        elif name in nested:
            yield from _shape(name, value)
        elif not (kind == "plugins" and name == "config"):
            own[name] = value
    stripped = Value(own, entity.line, at=entity.value.at, node=0, aliased=False)
    besides = (*nested, "config") if kind == "plugins" else nested
    known = {**kong.ENTITIES[kind], **dict.fromkeys(besides, _ANYTHING)}
    yield from check_fields(known, stripped, Owner(entity.label, entity.line))
    yield from _identity_faults(entity)
    yield from _reference_faults(entity)
    yield from _more_faults(policy, entity)


def _more_faults(policy: Policy, entity: Entity) -> Iterator[Fault]:
    """Yield what is wrong although each field is right by itself."""
    if entity.kind == "plugins":
        yield from plugin_faults(policy, entity)
    elif entity.kind == "routes":
        yield from _route_faults(entity)
    elif entity.kind == "services":
        yield from _url_faults(entity)
        yield from host_faults(policy, entity)
    elif entity.kind == "upstreams":
        yield from target_faults(policy, entity)
    elif entity.kind == "consumers" and not (entity.text("username") or entity.text("custom_id")):
        yield Fault(entity.line, "a consumer needs a `username`")


_ANYTHING = kong.Field(list)


def _identity_faults(entity: Entity) -> Iterator[Fault]:
    given = entity.value.map
    own_id = entity.text("id")
    if own_id is not None and not _UUID.fullmatch(own_id):
        yield Fault(given["id"].line, f"`id` of {entity.label} must be {kong.UUID_FORM}")
    name = entity.text("name")
    if entity.kind in {"services", "routes"} and name and not _NAME.fullmatch(name):
        words = f"`name` of {entity.label} may hold letters, digits and `.-_~` only, no spaces"
        yield Fault(given["name"].line, words)


def _reference_faults(entity: Entity) -> Iterator[Fault]:
    for scope in kong.SCOPES.values():
        named = entity.text(scope)
        if scope not in kong.ENTITIES[entity.kind] or named is None:
            continue
        place = entity.value.map[scope]
        if entity.parent is not None and kong.SCOPES[entity.parent.kind] == scope:
            words = f"{entity.label} stands under its {scope} already: take `{scope}` out"
            yield Fault(place.at, words)
        elif scope not in entity.targets:
            words = f"{entity.label} names a {scope} `{named}` that is not in the file: name one"
            yield Fault(place.line, f"{words} that is, or add it")
    needs = {"routes": "service", "acls": "consumer", "keyauth_credentials": "consumer"}
    scope = needs.get(entity.kind)
    if scope and scope not in entity.targets and entity.text(scope) is None:
        yield Fault(entity.line, f"{entity.label} belongs to no {scope}: put it under one")


def plugin_faults(policy: Policy, plugin: Entity) -> Iterator[Fault]:
    """Yield what is wrong with a plugin's name, place and config."""
    name = plugin.text("name")
    if name is None:
        return
    line = plugin.value.map["name"].line
    if name not in kong.PLUGINS:
        yield Fault(line, _unknown_plugin(name))
        return
    if plugin.via is not None:
        words = "to Kong an aliased plugin is one plugin, not two: write it out"
        yield Fault(plugin.via, f"{plugin.label} is reached through an alias; {words}")
    if name in kong.GLOBAL_ONLY and plugin.targets:
        yield Fault(line, f"{name} is for every request: put it into `plugins` of the file itself")
    elif name in kong.NO_CONSUMER and "consumer" in plugin.targets:
        yield Fault(line, f"{name} runs before Kong knows the consumer: put it under a service")
    yield from check_fields(kong.PLUGINS[name], plugin.config, Owner(plugin.label, plugin.line))
    if name == "key-auth":
        anonymous = plugin.setting("anonymous")
        if isinstance(anonymous, str) and policy.named("consumers", anonymous) is None:
            words = f"`anonymous` of {plugin.label} names a consumer `{anonymous}` that is not in"
            yield Fault(plugin.line_of("anonymous"), f"{words} the file: add it under `consumers`")


def _unknown_plugin(name: str) -> str:
    if name in missing.PLUGINS:
        return f"no plugin `{name}` here: {missing.PLUGINS[name]}"
    if name in missing.BUNDLED:
        return f"no plugin `{name}` here: {missing.ADD_IT}"
    known = {*kong.PLUGINS, *missing.BUNDLED}
    words = nearest(name, known)
    return f"no plugin is called `{name}`: " + (
        words if words.startswith("did") else nearest("", kong.PLUGINS)
    )


def _url_faults(service: Entity) -> Iterator[Fault]:
    url = service.text("url")
    if not url:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, usable = urlsplit(""), False
    line = service.value.map["url"].line
    if not usable:
        words = "must be http:// or https:// with a host, such as http://query"
        yield Fault(line, f"`url` of {service.label} {words}")
    elif parts.username is not None:
        words = "holds a user or password, which Kong does not send: take it out"
        yield Fault(line, f"`url` of {service.label} {words}")
    elif parts.query or parts.fragment:
        yield Fault(line, f"`url` of {service.label} must end with its path, without ? and #")


def _route_faults(route: Entity) -> Iterator[Fault]:
    if not any(route.texts(name) for name in ("hosts", "paths", "methods")):
        yield Fault(route.line, f"{route.label} takes every request: give it `paths`")
    for line, path in route.texts_with_lines("paths"):
        yield from (Fault(line, f"{route.label}: {words}") for words in _path(path))
    for line, host in route.texts_with_lines("hosts"):
        if not _HOST.fullmatch(host):
            words = f"{route.label}: `{host}` is no host name: write it without http:// and /"
            yield Fault(line, words)
    for name, known in (("methods", kong.METHODS), ("protocols", kong.PROTOCOLS)):
        for line, given in route.texts_with_lines(name):
            if given not in known:
                yield Fault(line, f"{route.label}: {name} are {or_list(known)}, not `{given}`")


def _path(path: str) -> Iterator[str]:
    if not path.startswith(("/", "~/")):
        yield f"the path `{path}` must begin with / (or ~/ for a regular expression)"
    elif path.startswith("~"):
        try:
            re.compile(path[1:])
        except re.error as exc:
            yield f"the path `{path}` is no regular expression: {exc}"
    elif re.search(r"[\\*^$|?()\[\]]", path):
        yield f"the path `{path}` is taken as it stands: begin it with ~/ for a regular expression"
    elif "//" in path:
        yield f"the path `{path}` holds //, which Kong takes for /: write one"


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
    """Yield what an entity takes, its line, and how to say that it is taken."""
    for name in kong.UNIQUE.get(entity.kind, ()):
        value = entity.text(name)
        if value is not None:
            shown = "its key" if name == "key" else f"the {name} `{value}`"
            line = entity.value.map[name].line
            yield (entity.kind, name, value), line, f"{entity.label} has {shown}, which is taken"
    if entity.kind == "plugins" and entity.text("name"):
        scope = tuple(id(entity.targets.get(scope)) for scope in kong.SCOPES.values())
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
