"""Access: who reaches a route, and what callers without a good key get (A1, A5, A6, A7)."""

from collections.abc import Iterator

from services.core.headers import API_KEY
from services.policy.entities import ACL, KEY_AUTH, LIMIT, Entity, Policy
from services.policy.faults import Fault

PUBLIC = "public"
TERMINATION = "request-termination"

_AS_QUERY_LIVE = "add the plugin to its service, as query-live has it"
# Plugins that every route needs, wherever they stand, and the harm without them.
_EVERYWHERE = {
    "error-envelope": "errors would have Kong's own shape",
    "correlation-id": "requests would have no X-Request-ID",
    "backend-token": "the services refuse what comes without their token",
}


def is_public(route: Entity) -> bool:
    """Return whether a route is open to callers without a key."""
    return PUBLIC in route.texts("tags")


def access_faults(policy: Policy) -> Iterator[Fault]:
    """Yield the faults that let a caller in without a good key, or past a limit."""
    for route in policy.of("routes"):
        for name, without in _EVERYWHERE.items():
            if policy.instance(name, route, None) is None:
                yield _absent_everywhere(policy, name, without)
        if policy.instance("request-size-limiting", route, None) is None:
            words = f"{route.label} takes bodies of any size: {_AS_QUERY_LIVE}"
            yield Fault(route.line, f"{words} (request-size-limiting)")
        yield from (_public_faults if is_public(route) else _partner_faults)(policy, route)
    for consumer in policy.of("consumers"):
        if policy.groups(consumer) and policy.instance(LIMIT, None, consumer) is None:
            words = "has an acl group and no rate-limiting: write the limit under its `plugins`"
            yield Fault(consumer.line, f"{consumer.label} {words}")


def _absent_everywhere(policy: Policy, name: str, without: str) -> Fault:
    plugins = policy.root.map.get("plugins")
    line = plugins.at if plugins else policy.root.line
    return Fault(line, f"{name} is not among the `plugins` for every request: {without}")


def _partner_faults(policy: Policy, route: Entity) -> Iterator[Fault]:
    tagged = f"{_AS_QUERY_LIVE}, or tag the route `public`"
    key_auth, acl = (policy.instance(name, route, None) for name in (KEY_AUTH, ACL))
    if key_auth is None:
        yield Fault(route.line, f"{route.label} has no key-auth, so anybody may call it: {tagged}")
    if acl is None:
        words = f"{route.label} has no acl, so a key of either environment opens it: {tagged}"
        yield Fault(route.line, words)
    yield from _limit_faults(policy, route)
    if key_auth is not None:
        anonymous = policy.named("consumers", _text(key_auth.setting("anonymous")))
        if anonymous is not None:
            yield from _anonymous_faults(policy, route, anonymous)


def _limit_faults(policy: Policy, route: Entity) -> Iterator[Fault]:
    if not policy.tiers:
        words = f"{route.label} has no limit that its callers reach: write tiers under `_ignore`"
        yield Fault(route.line, f"{words}, which the renderer copies to each partner")
    own = policy.instance(LIMIT, route, None)
    if own is None or not own.targets:
        return
    if len(own.targets) > 1:
        words = "takes the place of every partner's tier: name the route or the service, not both"
    else:
        words = "never counts, as one limit runs for a request and a partner's tier comes first"
        words += ": take it out, or tag the route `public`"
    yield Fault(own.line, f"{own.label} {words}")


def _anonymous_faults(policy: Policy, route: Entity, anonymous: Entity) -> Iterator[Fault]:
    """Yield the faults of the consumer that callers without a good key become."""
    line, who = anonymous.line, anonymous.label
    limit = policy.instance(LIMIT, route, anonymous)
    if limit is None or "consumer" not in limit.targets:
        words = "has no rate-limiting of its own, so wrong keys are never limited: add it under"
        yield Fault(line, f"{who} {words} its `plugins` with limit_by ip")
    elif limit.setting("limit_by") != "ip":
        words = "must be ip: else all callers without a good key share one limit"
        yield Fault(limit.line_of("limit_by"), f"`limit_by` of {limit.label} {words}")
    yield from _end_faults(policy.instance(TERMINATION, route, anonymous), anonymous)
    acl = policy.instance(ACL, route, None)
    allowed = acl.setting_texts("allow") if acl else []
    if allowed and policy.groups(anonymous).isdisjoint(allowed):
        words = f"is in no group that {route.label} allows, so wrong keys end at acl, unlimited"
        yield Fault(line, f"{who} {words}: add `group: {allowed[0]}` to its `acls`")


def _end_faults(end: Entity | None, anonymous: Entity) -> Iterator[Fault]:
    if end is None:
        words = "has no request-termination, so callers without a key get through: add it under"
        yield Fault(anonymous.line, f"{anonymous.label} {words} its `plugins`, status_code 401")
        return
    if end.setting("status_code") != 401:
        words = "must be 401: the contract has that answer for a caller without a good key"
        yield Fault(end.line_of("status_code"), f"`status_code` of {end.label} {words}")
    if end.setting("trigger") is not None:
        words = "ends only requests that carry the trigger: take `trigger` out"
        yield Fault(end.line_of("trigger"), f"{end.label} {words}")


def _public_faults(policy: Policy, route: Entity) -> Iterator[Fault]:
    limit = policy.instance(LIMIT, route, None)
    if limit is None:
        words = "is public and has no limit: add rate-limiting with limit_by ip to its service"
        yield Fault(route.line, f"{route.label} {words}")
    elif limit.setting("limit_by") != "ip":
        words = "must be ip: nobody on a public route has a key"
        yield Fault(limit.line_of("limit_by"), f"`limit_by` of {limit.label} {words}")
    token = policy.instance("backend-token", route, None)
    if token is None or policy.instance(KEY_AUTH, route, None) is not None:
        return
    if API_KEY.lower() not in {name.lower() for name in token.setting_texts("hide")}:
        words = "is public, and a key that a client sends reaches the service: add `hide: "
        yield Fault(route.line, f"{route.label} {words}[{API_KEY}]` to its backend-token")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
