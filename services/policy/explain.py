"""Explain: the route, limit and plugins that a partner's request meets, in Kong's order."""

import re
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from services.core.environments import Environment
from services.core.errors import SUSPENDED_MESSAGE, ErrorCode
from services.core.wording import counted
from services.policy.callers import Caller
from services.policy.check.checking import require_sound
from services.policy.check.environments import environment_of
from services.policy.entities import ACL, KEY_AUTH, LIMIT, Entity, Policy
from services.policy.render import SUSPENDED_TAG, SUSPENSION, PolicyError
from services.policy.routing import Criteria, Router, normalise
from services.policy.schema import PLUGINS
from services.policy.source import Value, read

_FIELD = re.compile(r"\{([a-z_.]+)\}")
_WAITS = ("connect", "write", "read")

TERMINATION = "request-termination"
AFTERWARDS = ("prometheus",)  # run whichever plugin ends the request
WITHOUT_A_ROUTE = ("correlation-id", "error-envelope")
NO_ROUTE = "404 NOT_FOUND: no route takes this request, whatever the key"


class Request(msgspec.Struct, frozen=True):
    """The request that is explained."""

    method: str
    path: str
    environment: Environment
    host: str | None = None  # None: as that environment's callers send it


class Step(msgspec.Struct, frozen=True):
    """One plugin that runs; `ends` is the answer if the request goes no further."""

    plugin: str
    scope: str
    line: int  # 0: not of the file, but of every rendering of a suspended partner
    does: str
    ends: str | None = None


class Explanation(msgspec.Struct, frozen=True):
    """The answer to a partner's request, and to one without a good key."""

    request: str
    route: str | None
    service: str | None
    caller: str
    steps: list[Step]
    answer: str
    anonymous_steps: list[Step]
    anonymous_answer: str


def explain(
    text: str, file: str, request: Request, caller: Caller, partner: str = "a partner"
) -> Explanation:
    """Return the way of a request through the gateway. Raises PolicyError."""
    policy = _sound_policy(text, file)
    if caller.tier not in policy.tiers:
        msg = f"{partner} has tier {caller.tier}; {file} has only {', '.join(policy.tiers)}"
        raise PolicyError(msg)
    host = _own_host(policy, request.environment) if request.host is None else request.host
    path = request.path.partition("?")[0]
    route = _route(policy, request.method, host, path)
    consumer = _consumer(policy, caller, request.environment.username(partner))
    steps, others = _both(policy, route, consumer, {str(request.environment)})
    service = route.targets["service"] if route else None
    return Explanation(
        request=f"{request.method} {path}, host {host or '(any that is not the sandbox)'}",
        route=f"{route.name} (line {route.line})" if route else None,
        service=_service(policy, service) if service else None,
        caller=_caller(partner, request.environment, caller),
        steps=steps,
        answer=_answer_to(caller, steps, others) if route else NO_ROUTE,
        anonymous_steps=others,
        anonymous_answer=_answer(others) if route else NO_ROUTE,
    )


def _sound_policy(text: str, file: str) -> Policy:
    require_sound(text, file)
    root, _ = read(text)
    assert root is not None  # noqa: S101 -- a sound text has a document
    return Policy(root)


def _route(policy: Policy, method: str, host: str, path: str) -> Entity | None:
    router = Router(
        (Criteria(*map(route.texts, Criteria._fields)), route) for route in policy.of("routes")
    )
    written = normalise(path.encode(errors="surrogateescape")).decode()
    match = router.match(method, host.encode(errors="replace"), written)
    return match.route if match else None


def _own_host(policy: Policy, environment: Environment) -> str:
    """Return the first host of an environment's routes; live needs none."""
    for route in policy.of("routes"):
        if environment_of(policy, route) == environment and route.texts("hosts"):
            return route.texts("hosts")[0]
    return ""


def _both(
    policy: Policy, route: Entity | None, consumer: Entity, groups: set[str]
) -> tuple[list[Step], list[Step]]:
    """Return the plugins for a good key, and for none."""
    key_auth = policy.instance(KEY_AUTH, route, None) if route else None
    anonymous = policy.named("consumers", key_auth.setting("anonymous")) if key_auth else None
    others = policy.groups(anonymous) if anonymous else set[str]()
    return (
        list(_steps(policy, route, consumer if key_auth else None, groups)),
        list(_steps(policy, route, anonymous, others)),
    )


def _consumer(policy: Policy, caller: Caller, username: str) -> Entity:
    """Return the consumer that the renderer would make, and add its plugins to the policy."""
    suspended = caller.state == "suspended"
    tags = [SUSPENDED_TAG] if suspended else []
    consumer = Entity("consumers", _rendered({"username": username, "tags": tags}))
    policy.add_to_consumer(consumer, policy.tiers[caller.tier])
    if suspended:
        suspension = Entity("plugins", _rendered(SUSPENSION), targets={"consumer": consumer})
        policy.add_to_consumer(consumer, suspension)
    return consumer


def _rendered(data: object) -> Value:
    """Return a part that the renderer adds as a value that is on no line of the file."""
    inner: Any = data
    if isinstance(data, dict):
        named = cast("dict[str, object]", data)
        inner = {name: _rendered(value) for name, value in named.items()}
    elif isinstance(data, list):
        inner = [_rendered(value) for value in cast("list[object]", data)]
    return Value(inner, 0, at=0, node=0, aliased=False)


def _caller(partner: str, environment: Environment, caller: Caller) -> str:
    known = f"{partner} ({environment}), tier {caller.tier}, acl group {environment}"
    if caller.keys is None:
        return known
    state = "" if caller.state == "active" else f", {caller.state}"
    return f"{known}, {counted(caller.keys, 'working key')}{state}"


def _service(policy: Policy, service: Entity) -> str:
    waits = [service.value.map[f"{name}_timeout"].data for name in ("connect", "write", "read")]
    retries = service.value.map["retries"].data
    waited = ", ".join(f"{name} {ms} ms" for name, ms in zip(_WAITS, waits, strict=True))
    return f"{service.name} at {_address(policy, service)} ({waited}, retries {retries})"


def _address(policy: Policy, service: Entity) -> str | None:
    """Return the targets of a service as the file has them, or its url."""
    upstream = policy.upstream(service)
    if upstream is None:
        return service.text("url")
    targets = ", ".join(target.name for target in policy.of("targets", upstream))
    return f"{targets} by {upstream.label} (line {upstream.line})"


def _steps(
    policy: Policy, route: Entity | None, consumer: Entity | None, groups: set[str]
) -> Iterator[Step]:
    """Yield the plugins that run, up to the one that ends the request, and those after it."""
    known: Entity | None = None
    ended = False
    for name in sorted(PLUGINS, key=lambda name: -PLUGINS[name].priority):
        plugin = policy.instance(name, route, known)
        if plugin is None or (route is None and name not in WITHOUT_A_ROUTE):
            continue
        if not ended or name in AFTERWARDS:
            step = _step(plugin, groups, known)
            ended = ended or step.ends is not None
            yield step
        if name == KEY_AUTH:  # from here on Kong knows who asks
            known = consumer


def _step(plugin: Entity, groups: set[str], consumer: Entity | None) -> Step:
    above = [t.label for t in plugin.targets.values()]
    scope = f"consumer ({plugin.label})" if plugin.tier else " and ".join(above) or "global"
    ends = _end(plugin, groups, consumer)
    return Step(plugin.name, scope, plugin.line, _does(plugin), ends)


def _end(plugin: Entity, groups: set[str], consumer: Entity | None) -> str | None:
    """Return the answer of a plugin that lets the request go no further."""
    if plugin.name == ACL and groups.isdisjoint(plugin.setting_texts("allow")):
        status, message = 403, f"{ErrorCode.FORBIDDEN}: this key is for the other environment"
    elif plugin.name == TERMINATION:
        status, message = plugin.setting("status_code"), plugin.setting("message") or ""
    else:
        return None
    if status == 403 and consumer is not None and SUSPENDED_TAG in consumer.texts("tags"):
        message = f"{ErrorCode.PARTNER_SUSPENDED}: {SUSPENDED_MESSAGE}"  # as error-envelope does
    return f"{status} {message}".strip()


def _does(plugin: Entity) -> str:
    """Return the sentence of a plugin with its settings; none of them is a secret."""

    def shown(field: re.Match[str]) -> str:
        value = plugin.setting(field[1])
        listed = ", ".join(plugin.setting_texts(field[1]))
        return listed or ("nothing" if value in (None, []) else str(value))

    return _FIELD.sub(shown, PLUGINS[plugin.name].does)


def _answer_to(caller: Caller, steps: list[Step], others: list[Step]) -> str:
    if caller.keys == 0 and steps != others:
        return f"no key of it works now, so: {_answer(others)}"
    return _answer(steps)


def _answer(steps: list[Step]) -> str:
    limits = [step for step in steps if step.plugin == LIMIT]
    over = " (429 above the limit)" if limits else ""
    end = next((step.ends for step in steps if step.ends), None)
    return (end or "the service answers") + over


def as_text(explanation: Explanation) -> str:
    """Return an explanation for people, a line for each plugin."""
    lines = [
        explanation.request,
        f"  route    {explanation.route or 'none'}",
        f"  service  {explanation.service or 'none'}",
        f"  caller   {explanation.caller}",
        *_table(explanation.steps),
        f"  answer   {explanation.answer}",
        "without a good key:",
    ]
    if explanation.anonymous_steps == explanation.steps:
        return "\n".join((*lines, f"  the same: {explanation.anonymous_answer}"))
    table = _table(explanation.anonymous_steps)
    return "\n".join((*lines, *table, f"  answer   {explanation.anonymous_answer}"))


def _table(steps: list[Step]) -> list[str]:
    """Return the plugins in the order in which they run."""
    names = [f"{number}. {step.plugin}" for number, step in enumerate(steps, 1)]
    first = max(map(len, names), default=0)
    second = max((len(step.scope) for step in steps), default=0)
    return [
        f"  {name:<{first}}  {step.scope:<{second}}  {step.does}"
        + (f" -> {step.ends}" if step.ends else "")
        for name, step in zip(names, steps, strict=True)
    ]
