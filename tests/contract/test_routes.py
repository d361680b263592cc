"""Contract: each route is in the document and in what runs, or a test fails."""

import contextlib
from collections.abc import Callable
from copy import deepcopy
from typing import Any
from unittest.mock import MagicMock

import anyio
import pytest
import yaml
from litestar import Litestar
from litestar.types import ASGIApp

from services.core.environments import Environment
from services.query import app as query_app
from services.webhooks.api.app import Stores, make_webhooks_app
from services.webhooks.targets import TargetPolicy
from tests.contract import surface
from tests.contract.surface import BACKEND_TOKEN, Route, documented, routed
from tools.contract.document import DOCUMENT, load_document

Document = dict[str, Any]

document = load_document()
policy = yaml.safe_load((DOCUMENT.parents[2] / "gateway" / "kong.yml").read_text("utf-8"))


@contextlib.asynccontextmanager
async def nothing_runs(_: Litestar):  # noqa: ANN201 -- a lifespan without a database
    yield


def apps(environment: Environment) -> list[ASGIApp]:
    """Return the two apps behind the gateway, as production composes them, without databases."""
    known: dict[str, Any] = {
        "environment": environment,
        "backend_token": BACKEND_TOKEN,
        "note_key": lambda _: None,
        "dependencies": {},
        "lifespan": nothing_runs,
    }
    sandbox = MagicMock() if environment is Environment.SANDBOX else None
    stores = Stores(MagicMock(), MagicMock(), sandbox)
    target_policy = TargetPolicy.of("", "443")
    return [
        query_app.make_partner_app(MagicMock(), MagicMock(), clock=lambda: 0.0, **known),
        make_webhooks_app(stores, policy=target_policy, wake=lambda *_: None, **known),
    ]


def served(environment: Environment) -> set[Route]:
    async def ask_all() -> set[Route]:
        found: set[Route] = set()
        for app in apps(environment):
            found |= await surface.served(app, environment)
        return found

    return anyio.run(ask_all)


@pytest.mark.parametrize("environment", Environment)
def test_the_apps_serve_what_the_document_offers_and_nothing_else(environment: Environment) -> None:
    offered = documented(document, environment)
    assert served(environment) == offered
    assert len(offered) >= 16


@pytest.mark.parametrize("environment", Environment)
def test_the_gateway_routes_what_the_document_offers_and_nothing_else(
    environment: Environment,
) -> None:
    offered, prefixes = documented(document, environment), routed(policy, environment)
    assert surface.unrouted(offered, prefixes) == set()
    assert surface.unused(offered, prefixes) == set()


def test_production_does_not_route_the_sandboxs_paths() -> None:
    assert not any("sandbox" in prefix for prefix in routed(policy, Environment.LIVE))


def test_what_the_document_calls_public_is_what_the_gateway_lets_in_without_a_key() -> None:
    prefixes = routed(policy, Environment.SANDBOX)
    for path, item in document["paths"].items():
        public = next(public for prefix, public in prefixes.items() if path.startswith(prefix))
        for method, operation in item.items():
            assert (operation.get("security") == []) == public, f"{method} {path}"


def moved(path: str, new: str) -> Callable[[Document], None]:
    def spoil(spoiled: Document) -> None:
        spoiled["paths"][new] = spoiled["paths"].pop(path)

    return spoil


# what is planted into a copy of the document
DIFFERENCES: dict[str, Callable[[Document], object]] = {
    "a path less": lambda spoiled: spoiled["paths"].pop("/partner/v1/inventory/changes"),
    "a path more": lambda spoiled: spoiled["paths"].update({"/partner/v1/prices": {"get": {}}}),
    "a method less": lambda spoiled: spoiled["paths"]["/partner/v1/webhooks"].pop("get"),
    "a method more": lambda spoiled: spoiled["paths"]["/partner/v1/webhooks"].update(put={}),
    "another path": moved("/partner/v1/docs", "/partner/v1/documents"),
    "a longer path": moved("/partner/v1/inventory", "/partner/v1/inventory/"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_route_on_one_side_only_is_found(name: str) -> None:
    spoiled = deepcopy(document)
    DIFFERENCES[name](spoiled)
    assert served(Environment.LIVE) != documented(spoiled, Environment.LIVE)


def test_a_route_that_the_gateway_does_not_have_is_found() -> None:
    offered = {Route("GET", "/partner/v1/prices")}
    prefixes = routed(policy, Environment.LIVE)
    assert surface.unrouted(offered, prefixes) == {"/partner/v1/prices"}
    assert surface.unused(offered, prefixes) == set(prefixes)
