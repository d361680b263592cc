"""Router: which route a request takes, by Kong's traditional_compatible rules.

A route with more kinds of criteria (hosts, paths, methods) wins, then a regular expression over a
prefix, then the longer path. A prefix is text: /inventory matches /inventories too.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from services.local.gateway.model import Route
from services.policy.hosts import split_host

# RFC 3986's reserved characters and "%": escaped ones stay escaped, because they mean something.
_RESERVED = frozenset(b"!#$%&'()*+,/:;=?@[]")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_TO_ESCAPE = re.compile(rb"[^!#$%&'()*+,/:;=?@\[\]A-Za-z0-9\-_.~]")


class _Rule(NamedTuple):
    """One path of a route (or None when the route has no paths)."""

    route: Route
    prefix: str
    pattern: re.Pattern[str] | None


class Match(NamedTuple):
    """A route, and how much of the path it matched (characters)."""

    route: Route
    length: int


class Router:
    """All routes, the most specific first."""

    def __init__(self, routes: Iterable[Route]) -> None:
        rules = [_rule(route, path) for route in routes for path in route.paths or ("",)]
        self._rules: Sequence[_Rule] = sorted(rules, key=_rank, reverse=True)

    def match(self, method: str, host: bytes, path: str) -> Match | None:
        """Return the route of a request; `host` is as it came, `path` normalised and unescaped."""
        without_port, port = split_host(host)
        with_port = without_port + b":" + port if port else without_port
        for route, prefix, pattern in self._rules:
            if route.hosts and not (with_port in route.hosts or without_port in route.hosts):
                continue
            if route.methods and method not in route.methods:
                continue
            if pattern is None:
                if path.startswith(prefix):
                    return Match(route, len(prefix))
            elif found := pattern.match(path):
                return Match(route, found.end())
        return None


def _rule(route: Route, path: str) -> _Rule:
    if path.startswith("~"):
        return _Rule(route, path[1:], re.compile(path[1:]))
    return _Rule(route, path, None)


def _rank(rule: _Rule) -> tuple[int, bool, bool, int]:
    route = rule.route
    criteria = sum(map(bool, (route.hosts, route.paths, route.methods)))
    return criteria, bool(route.hosts), rule.pattern is not None, len(rule.prefix)


def normalise(path: bytes) -> bytes:
    """Return a path as Kong matches and forwards it.

    Needless escapes are undone, dot segments and doubled slashes removed, so that no spelling of
    a path gets round a route.
    """
    if b"%" in path:
        path = _ESCAPE.sub(_unescape, path)
    if b"//" in path or b"/." in path:
        path = _without_dots(path)
    return _TO_ESCAPE.sub(_escape, path)


def _unescape(escape: re.Match[bytes]) -> bytes:
    code = int(escape[1], 16)
    return escape[0].upper() if code in _RESERVED else bytes((code,))


def _escape(character: re.Match[bytes]) -> bytes:
    return b"%%%02X" % ord(character[0])


def _without_dots(path: bytes) -> bytes:
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            kept = kept[:-1]
        elif segment not in (b".", b""):
            kept.append(segment)
    is_folder = segments[-1] in (b"", b".", b"..")
    return b"/" + b"/".join(kept) + (b"/" if is_folder and kept else b"")
