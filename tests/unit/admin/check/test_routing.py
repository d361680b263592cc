"""`explain` and the embedded gateway choose the same route for a request."""

import itertools
import random
from typing import Any

import pytest
import yaml

from services.local.gateway.model import Route, Service
from services.local.gateway.router import Router
from services.policy.check.entities import Policy
from services.policy.check.source import read
from services.policy.routing import find_route
from tests.unit.admin.check.broken import POLICY

PATHS = ("/partner/v1/inventory", "/partner/v1", "/partner/v1/webhooks/a", "~/partner/v[0-9]/doc",
         "/partner", "/partner/v1/docs", "/", "~/x+")  # fmt: skip
HOSTS = ("sandbox-api.localhost", "a.example", "a.example:8443")
METHODS = ("GET", "POST")
ASKED_PATHS = ("/partner/v1/inventory/changes", "/partner/v1/docs/a", "/partner/v2/docs", "/xx",
               "/partner/v1/webhooks/a/b", "/partner", "/partners", "/y")  # fmt: skip
ASKED_HOSTS = ("sandbox-api.localhost", "SANDBOX-API.localhost:8000", "a.example", "a.example:8443",
               "127.0.0.1:8000", "", "sandbox-api.localhost.", "Sandbox-API.LOCALHOST.:8000",
               "sandbox-api.localhost:", "a.example.:8443", "[::1]:8000", "[::1]")  # fmt: skip

SERVICE = Service("s", "http://s", b"", 0, 1, 1, 1)


def some(choice: random.Random, values: tuple[str, ...]) -> list[str]:
    return choice.sample(values, choice.randint(0, 2))


def disagreements(routes: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    root, _ = read(yaml.safe_dump({"routes": routes}))
    assert root is not None
    policy = Policy(root)
    router = Router(
        Route(
            r["name"],
            SERVICE,
            frozenset(host.lower().encode() for host in r.get("hosts", [])),
            tuple(r.get("paths", [])),
            frozenset(r.get("methods", [])),
            strip_path=False,
        )
        for r in routes
    )
    wrong: list[tuple[str, ...]] = []
    for method, host, path in itertools.product(METHODS, ASKED_HOSTS, ASKED_PATHS):
        match = router.match(method, host.encode(), path)
        ours = find_route(policy, method, host, path)
        if (match.route.id if match else None) != (ours.name if ours else None):
            wrong.append((method, host, path))
    return wrong


def test_they_agree_on_the_real_routes() -> None:
    services = yaml.safe_load(POLICY)["services"]
    assert disagreements([route for service in services for route in service["routes"]]) == []


@pytest.mark.parametrize(
    "host", ["sandbox-api.localhost.", "sandbox-api.localhost.:8000", "SANDBOX-API.Localhost."]
)
def test_every_way_of_writing_the_sandboxs_host_leads_there(host: str) -> None:
    root, _ = read(POLICY)
    assert root is not None
    route = find_route(Policy(root), "POST", host, "/partner/v1/inventory")
    assert route is not None
    assert route.targets["service"].name == "query-sandbox"


def test_they_agree_on_routes_of_every_kind() -> None:
    choice = random.Random(7)
    for _ in range(60):
        routes: list[dict[str, Any]] = [
            {"name": f"r{n}", "hosts": some(choice, HOSTS), "paths": some(choice, PATHS),
             "methods": some(choice, METHODS)}
            for n in range(4)
        ]  # fmt: skip
        kept = [r for r in routes if r["hosts"] or r["paths"] or r["methods"]]
        assert disagreements(kept) == [], kept
