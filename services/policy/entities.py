"""Entities: the values of a kong.yml -> its services, routes, consumers, plugins and tiers.

Reads as much as there is; check/ reports the faults.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from services.policy.precedence import Scope, by_precedence
from services.policy.schema import ENTITIES, PLUGINS, SCOPES, TOP, Fields
from services.policy.source import Value, plain

KEY_AUTH, ACL, LIMIT = "key-auth", "acl", "rate-limiting"


@dataclass(eq=False, slots=True)
class Entity:
    """One entity of the file; a tier is one of kind `plugins`."""

    kind: str
    value: Value
    parent: "Entity | None" = None
    via: int | None = None  # the line of the alias through which it is reached
    tier: str | None = None
    # A plugin's service, route and consumer; a route's service; a credential's consumer.
    targets: dict[str, "Entity"] = field(default_factory=dict[str, "Entity"])

    def text(self, name: str) -> str | None:
        """Return a field that is a text, else None."""
        value = self.value.map.get(name)
        return value.data if value and isinstance(value.data, str) else None

    def texts(self, name: str) -> list[str]:
        """Return the texts of a field that is a list."""
        return [text for _, text in self.texts_with_lines(name)]

    def texts_with_lines(self, name: str) -> Iterator[tuple[int, str]]:
        """Yield the texts of a field that is a list, each with its line."""
        value = self.value.map.get(name)
        for item in value.items if value else ():
            if isinstance(item.data, str) and item.data:
                yield item.line, item.data

    @property
    def name(self) -> str:
        """The name by which people know the entity."""
        named_by = ("name",) if self.kind == "plugins" else ENTITIES[self.kind].named_by
        own = (self.text(field) for field in (*named_by, "id"))
        return next((text for text in own if text), "without a name")

    @property
    def label(self) -> str:
        """The entity in sentences: `key-auth of service query-live`."""
        if self.tier is not None:
            return f"tier {self.tier}"
        if self.kind == "plugins":
            above = [self.targets[s].label for s in SCOPES.values() if s in self.targets]
            return f"{self.name} of {' and '.join(above)}" if above else f"global {self.name}"
        kind = ENTITIES[self.kind]
        if self.kind in SCOPES:
            return f"{kind.called} {self.name}"
        what = f"{kind.called} {self.name}" if kind.named_by else kind.called
        if self.parent is None:
            return what if kind.named_by else f"this {what}"
        return f"{what} of {self.parent.label}"

    @property
    def line(self) -> int:
        """The line on which the entity begins."""
        return self.value.line

    def setting_texts(self, path: str) -> list[str]:
        """Return the texts of a plugin's field that is a list."""
        value = self.setting(path)
        items = cast("list[object]", value) if isinstance(value, list) else []
        return [item for item in items if isinstance(item, str)]

    @property
    def enabled(self) -> bool:
        """Whether Kong runs the plugin."""
        value = self.value.map.get("enabled")
        return value is None or value.data is not False

    @property
    def config(self) -> Value | None:
        """A plugin's config."""
        return self.value.map.get("config")

    def setting(self, path: str) -> Any:  # noqa: ANN401 -- any YAML
        """Return the written or default value of a plugin's field, such as `redis.host`."""
        return _setting(PLUGINS[self.name].fields, self.config, path)

    def line_of(self, path: str) -> int:
        """Return the line of a plugin's field, or of the plugin if it is left out."""
        value = self.config
        for name in path.split("."):
            value = value.map.get(name) if value else None
        return value.line if value else self.line


class Policy:
    """A kong.yml: its entities and tiers, and which instance of a plugin runs for a request."""

    def __init__(self, root: Value) -> None:
        self.root = root
        self.entities: list[Entity] = []
        for kind in TOP:
            self._read(kind, root.map.get(kind), None, None)
        self.tiers = dict(_tiers(root))
        self._resolve()
        self._instances = {
            (plugin.name, Scope(**plugin.targets)): plugin
            for plugin in reversed(self.of("plugins"))
            if plugin.enabled
        }

    def of(self, kind: str, parent: Entity | None = None) -> list[Entity]:
        """Return the entities of a kind; with a parent, those that stand under it."""
        return [e for e in self.entities if e.kind == kind and parent in (None, e.parent)]

    def named(self, kind: str, name: str | None) -> Entity | None:
        """Return the entity with a name or id, if there is one."""
        own = "username" if kind == "consumers" else "name"
        return next(
            (e for e in self.of(kind) if name and name in (e.text(own), e.text("id"))), None
        )

    def upstream(self, service: Entity) -> Entity | None:
        """Return the upstream that a service's url names as its host, in whatever case."""
        try:
            host = urlsplit(service.text("url") or "").hostname
        except ValueError:
            return None
        upstreams = reversed(self.of("upstreams"))
        names = {(upstream.text("name") or "").lower(): upstream for upstream in upstreams}
        return names.get(host) if host else None

    def add_to_consumer(self, consumer: Entity, plugin: Entity) -> None:
        """Add a plugin to a consumer that the file does not hold."""
        self._instances[plugin.name, Scope(consumer=consumer)] = plugin

    def instance(self, name: str, route: Entity | None, consumer: Entity | None) -> Entity | None:
        """Return the one instance of a plugin that runs for a request, if any."""
        service = route.targets.get("service") if route else None
        scopes = by_precedence(Scope(service, route, consumer))
        found = (self._instances.get((name, scope)) for scope in scopes)
        return next((plugin for plugin in found if plugin), None)

    def groups(self, consumer: Entity) -> set[str]:
        """Return the acl groups of a consumer."""
        acls = (e for e in self.of("acls") if e.targets.get("consumer") is consumer)
        return {group for e in acls if (group := e.text("group"))}

    def _read(self, kind: str, value: Value | None, parent: Entity | None, via: int | None) -> None:
        if value is not None and value.aliased:
            via = value.at
        for item in value.items if value else ():
            if not isinstance(item.data, dict):
                continue
            here = item.at if item.aliased else via
            entity = Entity(kind, item, parent, here)
            if parent is not None and parent.kind in SCOPES:
                entity.targets[SCOPES[parent.kind]] = parent
            self.entities.append(entity)
            for child in ENTITIES[kind].children:
                self._read(child, item.map.get(child), entity, here)

    def _resolve(self) -> None:
        """Find the entities that others name in a field: `service: query-live`."""
        for entity in self.entities:
            for kind, scope in SCOPES.items():
                if scope in ENTITIES[entity.kind].fields and scope not in entity.targets:
                    target = self.named(kind, entity.text(scope))
                    if target is not None:
                        entity.targets[scope] = target


def tiers_value(root: Value) -> Value | None:
    """Return the map of tiers under `_ignore`, if there is one."""
    ignored = root.map.get("_ignore")
    return next(
        (e.map["tiers"] for e in (ignored.items if ignored else ()) if "tiers" in e.map), None
    )


def _tiers(root: Value) -> Iterator[tuple[str, Entity]]:
    found = tiers_value(root)
    for name, value in found.map.items() if found else ():
        yield name, Entity("plugins", value, tier=name)


def _setting(fields: Fields, value: Value | None, path: str) -> Any:  # noqa: ANN401 -- any YAML
    """Return the value that counts for a dotted path: the written one, or else Kong's default."""
    name, _, rest = path.partition(".")
    given = value.map.get(name) if value else None
    if rest:
        return _setting(fields[name].fields, given, rest)
    return fields[name].default if given is None or given.data is None else plain(given)
