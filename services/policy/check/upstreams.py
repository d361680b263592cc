"""Upstreams: targets that Kong would misread, and services that name no upstream."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from services.policy.entities import Entity, Policy
from services.policy.faults import Fault, nearest
from services.policy.hosts import written_host

_IN_LOWER_CASE = "write it in lower case"


def target_faults(policy: Policy, upstream: Entity) -> Iterator[Fault]:
    """Yield the faults of an upstream's name and of its targets."""
    name = upstream.text("name")
    if name and name != name.lower():
        words = f"has upper-case letters, which Kong compares as such: {_IN_LOWER_CASE}"
        yield Fault(upstream.value.map["name"].line, f"`name` of {upstream.label} {words}")
    targets = policy.of("targets", upstream)
    if not targets:
        words = "has no `targets`, so its services get no requests: name one at least"
        yield Fault(upstream.line, f"{upstream.label} {words}")
    elif all(weight(target) == 0 for target in targets):
        words = "has targets of weight 0 alone, so its services get no requests: give one a weight"
        yield Fault(upstream.line, f"{upstream.label} {words}")
    first: dict[str, int] = {}
    for target in targets:
        address = target.text("target")
        if not address:
            continue
        line = target.value.map["target"].line
        if address.lower() in first:
            words = f"is there already (line {first[address.lower()]}): keep one"
            yield Fault(line, f"{target.label} {words}")
        first.setdefault(address.lower(), line)


def weight(target: Entity) -> int:
    """Return a target's share of the requests; Kong's default is 100."""
    value = target.value.map.get("weight")
    return value.data if value and isinstance(value.data, int) else 100


def host_faults(policy: Policy, service: Entity) -> Iterator[Fault]:
    """Yield the faults of the host of a service's url: an upstream, or a name with a dot."""
    try:
        parts = urlsplit(service.text("url") or "")
        host, port = parts.hostname, parts.port
    except ValueError:
        return
    if not host or parts.scheme not in {"http", "https"}:
        return
    line = service.value.map["url"].line
    upstream = policy.upstream(service)
    if upstream is not None and written_host(parts) != host:
        words = f"names {upstream.label} with upper-case letters, so Kong would take it"
        yield Fault(line, f"`url` of {service.label} {words} for another host: {_IN_LOWER_CASE}")
    if upstream is not None and port is not None:
        words = f"names {upstream.label} and a port, which Kong ignores: a port belongs to a target"
        yield Fault(line, f"`url` of {service.label} {words}")
    elif upstream is None and "." not in host and ":" not in host:
        names = [name for each in policy.of("upstreams") if (name := each.text("name"))]
        words = f"names no upstream of the file, so nothing checks `{host}`"
        yield Fault(line, f"`url` of {service.label} {words}: {nearest(host, names)}")
