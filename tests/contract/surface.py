"""Contract: what the document offers, what the apps serve and the gateway routes, to compare."""

import re
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any, NamedTuple, TypeVar

import httpx
from litestar import Litestar
from litestar.types import ASGIApp

from services.core import headers
from services.core.environments import Environment
from services.webhooks.api.resources import Resources
from tools.contract.document import METHODS

BACKEND_TOKEN = "backend-token-of-the-tests-0123456789"
CREDENTIAL_ID = "5e0c7d52-3a44-4b0e-8d0f-9c1a2b3d4e5f"
SANDBOX_ONLY = "/partner/v1/sandbox/"
OWN_PATHS = ("/health", "/metrics")  # of every service; the gateway routes none of them
ASSETS = "/partner/v1/docs/assets/"  # parts of the page

T = TypeVar("T")


class Route(NamedTuple):
    """One method of one path, `{}` in the places of its parameters."""

    method: str
    path: str


def documented(document: Mapping[str, Any], environment: Environment) -> set[Route]:
    """Return what the document offers in an environment."""
    return {
        Route(method.upper(), plain(path))
        for path, item in document["paths"].items()
        for method in item
        if method.upper() in METHODS
        and (environment is Environment.SANDBOX or not path.startswith(SANDBOX_ONLY))
    }


def plain(path: str) -> str:
    """Return a path without the names and types of its parameters."""
    return re.sub(r"\{[^}]*\}", "{}", path)


async def served(app: ASGIApp, environment: Environment) -> set[Route]:
    """Return what an app serves to partners: its paths, and the methods that each one allows."""
    found: set[Route] = set()
    for path in partner_paths(app):
        answer = await ask(app, environment, "TRACE", path.replace("{}", "x"))
        assert answer.status_code == 405, f"TRACE {path}: {answer.status_code} {answer.text}"
        found |= {Route(each.strip(), path) for each in answer.headers["Allow"].split(",")}
    return found


def partner_paths(app: ASGIApp) -> set[str]:
    """Return the paths of an app, those below a mount of Resources too."""
    litestar = next(found_in(app, Litestar))
    own = {plain(route.path) for route in litestar.routes if "{path:path}" not in route.path}
    mounted = {
        plain(path) for resources in found_in(app, Resources) for path, *_ in resources._templates
    }
    mounts = {"/partner/v1"} if mounted else set[str]()
    return {
        path
        for path in (own - mounts) | mounted
        if not path.startswith((*OWN_PATHS, ASSETS)) and path != "/"
    }


async def ask(
    app: ASGIApp, environment: Environment, method: str, path: str, content: bytes | None = None
) -> httpx.Response:
    """Send an app one request as the gateway would."""
    sent = {
        headers.BACKEND_TOKEN: BACKEND_TOKEN,
        headers.CONSUMER_CUSTOM_ID: environment.custom_id("techmart"),
        headers.CREDENTIAL_IDENTIFIER: CREDENTIAL_ID,
        "Content-Type": "application/json",
    }
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type] -- Litestar's own ASGI types
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
        return await client.request(method, path, headers=sent, content=content)


def found_in(start: object, wanted: type[T]) -> Iterator[T]:
    """Yield each object of a type that can be reached through attributes, closures and lists."""
    seen: set[int] = set()
    waiting: list[object] = [start]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, wanted):
            yield each
        waiting += parts_of(each)


def parts_of(each: object) -> list[object]:
    """Return what an object of our services or of Litestar holds."""
    if isinstance(each, FunctionType):
        return [cell.cell_contents for cell in each.__closure__ or ()]
    if isinstance(each, list | tuple):
        return list(each)
    if isinstance(each, dict):
        return list(each.values())
    if type(each).__module__.startswith(("services.", "litestar.")):
        named: list[str] = [*getattr(each, "__dict__", {})]
        for kind in type(each).__mro__:
            slots = getattr(kind, "__slots__", ())
            named += [slots] if isinstance(slots, str) else slots
        return [getattr(each, name, None) for name in named]
    return []


def routed(policy: Mapping[str, Any], environment: Environment) -> dict[str, bool]:
    """Return the path prefixes that the gateway routes in an environment, and who is public."""
    found: dict[str, bool] = {}
    for service in policy["services"]:
        public = "key-auth" not in {plugin["name"] for plugin in service.get("plugins", [])}
        for route in service["routes"]:
            is_sandbox = any("sandbox" in host for host in route.get("hosts", []))
            if public or is_sandbox == (environment is Environment.SANDBOX):
                found |= dict.fromkeys(route["paths"], public)
    return found


def unrouted(routes: set[Route], prefixes: Mapping[str, bool]) -> set[str]:
    """Return the paths that no prefix covers."""
    return {route.path for route in routes if not any(map(route.path.startswith, prefixes))}


def unused(routes: set[Route], prefixes: Mapping[str, bool]) -> set[str]:
    """Return the prefixes that cover no path."""
    return {
        prefix for prefix in prefixes if not any(each.path.startswith(prefix) for each in routes)
    }


def names_in(refusal: str) -> set[str]:
    """Return the fields or parameters that a refusal lists after "send"."""
    return set(re.findall(r"`([a-z_]+)`", refusal.partition(": send ")[2]))
