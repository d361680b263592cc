"""Routing: which route of a kong.yml a request takes, by Kong's traditional_compatible rules.

The embedded gateway has the same rules for requests; a test compares the two. Paths are taken as
they are: Kong first undoes needless escapes, doubled slashes and dots.
"""

import re
from collections.abc import Iterator

from services.policy.check.entities import Entity, Policy
from services.policy.hosts import split_host


def find_route(policy: Policy, method: str, host: str, path: str) -> Entity | None:
    """Return the route of a request, or None: Kong answers 404 then."""
    bare, port = (part.decode() for part in split_host(host.encode(errors="replace")))
    host = f"{bare}:{port}" if port else bare
    ranked = sorted(_rules(policy), key=lambda rule: rule[0], reverse=True)
    for _, route, prefix in ranked:
        hosts, methods = route.texts("hosts"), route.texts("methods")
        if hosts and not any(_is_host(name.lower(), host, bare) for name in hosts):
            continue
        if (not methods or method in methods) and _matches(prefix, path):
            return route
    return None


def _rules(policy: Policy) -> Iterator[tuple[tuple[int, bool, bool, int], Entity, str]]:
    """Yield each route with each of its paths; the highest rank is asked first."""
    for route in policy.of("routes"):
        hosts, paths = route.texts("hosts"), route.texts("paths")
        kinds = sum(map(bool, (hosts, paths, route.texts("methods"))))
        for path in paths or [""]:
            is_pattern = path.startswith("~")
            rank = (kinds, bool(hosts), is_pattern, len(path) - is_pattern)
            yield rank, route, path


def _is_host(name: str, host: str, bare: str) -> bool:
    if name.startswith("*."):
        return bare.endswith(name[1:])
    if name.endswith(".*"):
        return bare.startswith(name[:-1])
    return name in (host, bare)


def _matches(prefix: str, path: str) -> bool:
    if prefix.startswith("~"):
        return re.match(prefix[1:], path) is not None
    return path.startswith(prefix)
