"""Declarative: the text of a declarative file -> a configuration, or all its faults."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from services.local.gateway.configuration import Configuration
from services.local.gateway.entities import Entity, read_entities
from services.local.gateway.model import (
    Callers,
    Checks,
    Consumer,
    Credential,
    Route,
    Service,
    Target,
    Upstream,
)
from services.local.gateway.plugins import REGISTRY
from services.local.gateway.plugins.base import Plugin, Surroundings
from services.local.gateway.plugins.plan import Plans
from services.local.gateway.refusal import InvalidConfigurationError
from services.policy.hosts import written_host
from services.policy.precedence import Scope
from services.policy.routing import Criteria, Router


def text_hash(text: str) -> str:
    """Return the configuration_hash of Kong: the MD5 of the text."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def load(text: str, surroundings: Surroundings) -> Configuration:
    """Check a text and build its configuration. Raises InvalidConfigurationError."""
    top = read_entities(parse(text), surroundings.environment)
    upstreams = {e.values["name"]: _upstream(e) for e in top if e.kind == "upstreams"}
    plugins = (plugin for entity in _plugins(top) for plugin in _plugin(entity, surroundings))
    return Configuration(
        hash=text_hash(text),
        router=Router(_routes(top, upstreams)),
        plans=Plans(dict(plugins)),
        callers=_callers(top),
        upstreams=tuple(upstreams.values()),
    )


def parse(text: str) -> object:
    """Return a text's document. Raises InvalidConfigurationError."""
    # What admin sends is JSON: 20 times as fast to read as YAML.
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        pass
    try:
        return yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        message = f"failed parsing declarative configuration: {exc}"
        raise InvalidConfigurationError(document={"error": message}) from exc


def _routes(
    top: list[Entity], upstreams: Mapping[str, Upstream]
) -> Iterator[tuple[Criteria, Route]]:
    for entity in top:
        if entity.kind == "services":
            service = _service(entity, upstreams)
            for route in entity.of("routes"):
                yield _criteria(route), _route(route, service)


def _callers(top: list[Entity]) -> Callers:
    consumers = [(entity, _consumer(entity)) for entity in top if entity.kind == "consumers"]
    return Callers(
        consumers={name: consumer for entity, consumer in consumers for name in entity.names},
        credentials={
            credential.values["key"].encode(): Credential(credential.id, consumer)
            for entity, consumer in consumers
            for credential in entity.of("keyauth_credentials")
        },
    )


def _upstream(entity: Entity) -> Upstream:
    checks = entity.values["healthchecks"]
    active, passive = checks["active"], checks["passive"]["unhealthy"]
    pairs = [(each.values["target"].rpartition(":"), each) for each in entity.of("targets")]
    return Upstream(
        name=entity.values["name"],
        targets=tuple(
            Target(host, int(port), each.values["weight"]) for (host, _, port), each in pairs
        ),
        checks=Checks(
            path=active["http_path"],
            interval=active["healthy"]["interval"],
            timeout=active["timeout"],
            successes=active["healthy"]["successes"],
            http_failures=active["unhealthy"]["http_failures"],
            tcp_failures=active["unhealthy"]["tcp_failures"],
            timeouts=active["unhealthy"]["timeouts"],
            request_tcp_failures=passive["tcp_failures"],
            request_timeouts=passive["timeouts"],
        ),
    )


def _service(entity: Entity, upstreams: Mapping[str, Upstream]) -> Service:
    values = entity.values
    given: str = values["url"]
    url = urlsplit(given)
    return Service(
        id=entity.id,
        name=values["name"],
        origin=f"http://{url.netloc}",
        path=url.path.rstrip("/").encode(),
        retries=values["retries"],
        connect_timeout=values["connect_timeout"] / 1000,
        write_timeout=values["write_timeout"] / 1000,
        read_timeout=values["read_timeout"] / 1000,
        upstream=upstreams.get(written_host(url)),
    )


def _criteria(route: Entity) -> Criteria:
    return Criteria(*(route.values[name] or () for name in Criteria._fields))


def _route(entity: Entity, service: Service) -> Route:
    values = entity.values
    return Route(
        id=entity.id, name=values["name"], service=service, strip_path=values["strip_path"]
    )


def _consumer(entity: Entity) -> Consumer:
    values = entity.values
    headers: list[tuple[bytes, str | None]] = [
        (b"x-consumer-id", entity.id),
        (b"x-consumer-custom-id", values["custom_id"]),
        (b"x-consumer-username", values["username"]),
    ]
    return Consumer(
        id=entity.id,
        username=values["username"],
        custom_id=values["custom_id"],
        groups=frozenset(acl.values["group"] for acl in entity.of("acls")),
        tags=frozenset(values["tags"] or ()),
        headers={name: value.encode() for name, value in headers if value},
    )


def _plugins(entities: list[Entity]) -> Iterator[Entity]:
    for entity in entities:
        if entity.kind == "plugins":
            yield entity
        yield from _plugins(entity.children)


def _plugin(
    entity: Entity, surroundings: Surroundings
) -> Iterator[tuple[tuple[str, Scope[str]], Plugin]]:
    values: dict[str, Any] = entity.values
    if values["enabled"]:
        name: str = values["name"]
        scope = Scope[str](*(values[name] for name in Scope._fields))
        yield (name, scope), REGISTRY[name](values["config"], scope, surroundings)
