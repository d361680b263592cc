"""Routing: which route a request takes, by the rules of Kong's router `traditional_compatible`.

A route with more kinds of criteria (hosts, paths, methods) wins, then one with whole hosts, then a
regular expression over a prefix, then the longer path. A prefix is text: /inventory matches
/inventories too.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from services.policy.hosts import split_host

# RFC 3986's reserved characters and "%": escaped ones stay escaped, because they mean something.
_RESERVED = frozenset(b"!#$%&'()*+,/:;=?@[]")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_TO_ESCAPE = re.compile(rb"[^!#$%&'()*+,/:;=?@\[\]A-Za-z0-9\-_.~]")

R = TypeVar("R")


class Criteria(NamedTuple):
    """The hosts, paths and methods of a route, as the file has them; an empty list takes all."""

    hosts: Sequence[str] = ()
    paths: Sequence[str] = ()
    methods: Sequence[str] = ()


class Match(NamedTuple, Generic[R]):
    """A route, and how much of the path it matched (characters)."""

    route: R
    length: int


class _Rule(NamedTuple, Generic[R]):
    """One path of a route."""

    rank: tuple[int, bool, bool, int]
    route: R
    has_hosts: bool
    hosts: frozenset[bytes]  # whole, with or without a port
    wildcards: tuple[re.Pattern[bytes], ...]
    methods: frozenset[str]
    prefix: str
    pattern: re.Pattern[str] | None


class Router(Generic[R]):
    """All routes, the most specific first; `R` is the caller's own type of a route."""

    def __init__(self, routes: Iterable[tuple[Criteria, R]]) -> None:
        rules = [rule for criteria, route in routes for rule in _rules(criteria, route)]
        self._rules = sorted(rules, key=lambda rule: rule.rank, reverse=True)

    def match(self, method: str, host: bytes, path: str) -> Match[R] | None:
        """Return the route of a request; `host` is as it came, `path` as `normalise` returns it."""
        name, port = split_host(host)
        with_port = name + b":" + port if port else name
        for _, route, has_hosts, hosts, wildcards, methods, prefix, pattern in self._rules:
            if has_hosts and not (
                with_port in hosts
                or name in hosts
                or (wildcards and any(wildcard.fullmatch(with_port) for wildcard in wildcards))
            ):
                continue
            if methods and method not in methods:
                continue
            if pattern is None:
                if path.startswith(prefix):
                    return Match(route, len(prefix))
            elif found := pattern.match(path):
                return Match(route, found.end())
        return None


def _rules(criteria: Criteria, route: R) -> Iterator[_Rule[R]]:
    hosts = [host.lower().encode() for host in criteria.hosts]
    whole = frozenset(host for host in hosts if b"*" not in host)
    wildcards = tuple(_wildcard(host) for host in hosts if b"*" in host)
    kinds = sum(map(bool, criteria))
    for path in criteria.paths or ("",):
        is_pattern = path.startswith("~")
        prefix = path.removeprefix("~")
        yield _Rule(
            rank=(kinds, bool(hosts) and not wildcards, is_pattern, len(prefix)),
            route=route,
            has_hosts=bool(hosts),
            hosts=whole,
            wildcards=wildcards,
            methods=frozenset(criteria.methods),
            prefix=prefix,
            pattern=re.compile(prefix) if is_pattern else None,
        )


def _wildcard(host: bytes) -> re.Pattern[bytes]:
    """Return the pattern of `*.example` or `example.*`, which without a port takes any."""
    name, port = split_host(host)
    pattern = re.escape(name).replace(rb"\*", rb"[^:]*")
    return re.compile(pattern + (b":" + port if port else rb"(:\d+)?"))


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
