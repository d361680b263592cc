"""Environments: sandbox and live share nothing that the file could keep apart (A8).

An environment here is the one group that a route's acl allows. Kept apart are the hosts of
routes, the addresses of services, and the groups. The counters' Valkey is one for both on
purpose: it counts by consumer, and a partner's two environments are two consumers. Public routes
belong to neither. The consumer without a key is in both groups, as it only ever gets a 401.
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

from services.core.environments import Environment
from services.policy.check.access import is_public
from services.policy.entities import ACL, KEY_AUTH, Entity, Policy
from services.policy.faults import Fault, nearest

GROUPS = tuple(str(environment) for environment in Environment)


def environment_of(policy: Policy, route: Entity) -> str | None:
    """Return the one environment whose keys open a route, or None if there are several."""
    acl = policy.instance(ACL, route, None)
    groups = acl.setting_texts("allow") if acl else []
    return groups[0] if len(groups) == 1 else None


def environment_faults(policy: Policy) -> Iterator[Fault]:
    """Yield the hosts, addresses and groups that both environments would share."""
    for acl in policy.of("plugins"):
        if acl.name == ACL:
            yield from _group_faults(acl)
    anonymous = [
        plugin.setting("anonymous") for plugin in policy.of("plugins") if plugin.name == KEY_AUTH
    ]
    for consumer in policy.of("consumers"):
        groups = policy.groups(consumer)
        if len(groups) > 1 and consumer.name not in anonymous:
            words = "is in the groups of both environments: one consumer for each"
            yield Fault(consumer.line, f"{consumer.label} {words}")
    for group in policy.of("acls"):
        if (name := group.text("group")) is not None and name not in GROUPS:
            words = f"`group: {name}`: no route allows it; {nearest(name, GROUPS)}"
            yield Fault(group.line, words)
    routes = [(r, environment_of(policy, r)) for r in policy.of("routes") if not is_public(r)]
    yield from _host_faults([(route, own) for route, own in routes if own in GROUPS])
    yield from _address_faults(policy, [(route, own) for route, own in routes if own in GROUPS])


def _group_faults(acl: Entity) -> Iterator[Fault]:
    allowed = acl.config.map.get("allow") if acl.config else None
    names = [item for item in (allowed.items if allowed else ()) if isinstance(item.data, str)]
    for item in names:
        if item.data not in GROUPS:
            words = f"`allow` of {acl.label}: no partner is in the group `{item.data}`"
            yield Fault(item.line, f"{words}; {nearest(item.data, GROUPS)}")
    if len({item.data for item in names}) > 1:
        words = "lets keys of both environments in: allow the one whose stock the service has"
        yield Fault(names[0].line, f"{acl.label} {words}")


def _host_faults(routes: list[tuple[Entity, str | None]]) -> Iterator[Fault]:
    """Yield the faults of hosts: the sandbox has its own, live takes all others."""
    hosts_of_live = {h for route, own in routes if own == "live" for h in route.texts("hosts")}
    for route, own in routes:
        if own != "sandbox":
            continue
        if not route.texts("hosts"):
            words = "is the sandbox's and has no `hosts`, so it would take live's requests"
            yield Fault(route.line, f"{route.label} {words}: name the sandbox's hosts")
        for line, host in route.texts_with_lines("hosts"):
            if host in hosts_of_live:
                words = f"`{host}` is a host of live too: a host belongs to one environment"
                yield Fault(line, f"{route.label}: {words}")


def _address_faults(policy: Policy, routes: list[tuple[Entity, str | None]]) -> Iterator[Fault]:
    taken: dict[str, tuple[str | None, Entity, Entity]] = {}
    for route, own in routes:
        service = route.targets.get("service")
        for address, line, holder in _addresses(policy, service) if service else ():
            other, first, first_service = taken.setdefault(address, (own, holder, service or route))
            if other == own:
                continue
            if first_service is service:
                words = f"{route.label} and another route give both environments to one service"
                yield Fault(route.line, f"{words}: write a service for each")
            else:
                words = f"has the address of {first.label}, which is {other}'s"
                yield Fault(line, f"{holder.label} is {own}'s and {words}: give it its own")


def _addresses(policy: Policy, service: Entity) -> Iterator[tuple[str, int, Entity]]:
    """Yield each address of a service, its line and the entity that names it."""
    upstream = policy.upstream(service)
    url = service.value.map.get("url")
    if upstream is None and url is not None and (address := _address(service)):
        yield address, url.line, service
    for target in policy.of("targets", upstream) if upstream else ():
        yield (target.text("target") or "").lower(), target.line, target


def _address(service: Entity) -> str | None:
    try:
        parts = urlsplit(service.text("url") or "")
        port = parts.port or {"https": 443}.get(parts.scheme, 80)
    except ValueError:
        return None
    return f"{parts.hostname}:{port}" if parts.hostname else None
