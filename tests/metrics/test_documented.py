"""The check of docs/metrics.md finds what it is for, and the apps stay within their sets."""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any
from unittest.mock import MagicMock

import anyio
import httpx
import pytest
from litestar.types import ASGIApp
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import generate_latest

from services.core import headers
from services.core.environments import Environment
from services.core.http.metrics import RequestMetrics
from services.query import app as query_app
from tests.contract.surface import BACKEND_TOKEN, CREDENTIAL_ID
from tests.contract.test_routes import apps, nothing_runs
from tests.metrics.documented import HTTP, PROGRAMS, faults, metrics, routes

ODD_PATHS = (
    "/",
    "/partner/v1",
    "/partner/v1/inventory/",
    "/partner/v1/inventory/PROD-00001",
    "/partner//v1/inventory",
    "/partner/v1/webhooks/0198c5de-0000-7000-8000-000000000001",
    "/partner/v1/webhooks/not-an-id/deliveries/%2e%2e",
    "/partner/v1/sandbox/inventory/TABLET-00001",
    "/api/v1/products/TABLET-00001/stock",
    "/api/v1/products/%00/stock",
    "/admin/v1/partners/techmart",
    "/admin/v1/live/stock/TABLET-00001",
    "/admin/v1/docs/assets/no-such-file.js",
    "/health/live",
    "/metrics",
    '/"}evil{label="1',
    f"/{'x' * 500}",
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "BREW")


def served() -> dict[str, ASGIApp]:
    """Return each app as production composes it, without databases."""
    known: dict[str, Any] = {"dependencies": {}, "lifespan": nothing_runs}
    partner, api = apps(Environment.SANDBOX)
    internal = query_app.make_internal_app(MagicMock(), **known)
    with warnings.catch_warnings():  # Litestar's, of a spelling that it will take for long
        warnings.simplefilter("ignore", DeprecationWarning)
        make_admin_app = import_module("services.admin.app").make_admin_app
        admin = make_admin_app(MagicMock(), availability=MagicMock(), **known)
    return {"partner": partner, "internal": internal, "api": api, "admin": admin}


async def shown_after_odd_requests(app: ASGIApp) -> str:
    sent = {
        headers.BACKEND_TOKEN: BACKEND_TOKEN,
        headers.CONSUMER_CUSTOM_ID: Environment.SANDBOX.custom_id("techmart"),
        headers.CREDENTIAL_IDENTIFIER: CREDENTIAL_ID,
    }
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        for number, path in enumerate(ODD_PATHS):
            for method in METHODS:
                await client.request(method, path, headers=sent if number % 2 else {})
        return (await client.get("/metrics")).text


@pytest.mark.parametrize("program", HTTP)
def test_odd_requests_make_no_label_value_that_is_not_documented(program: str) -> None:
    shown = anyio.run(shown_after_odd_requests, served()[program])
    assert f'route="other",status="4xx"' in shown  # noqa: F541
    assert faults(shown, [program], whole=False) == []


@pytest.mark.parametrize("program", HTTP)
def test_the_page_names_every_route_and_no_other(program: str) -> None:
    app: Any = served()[program]
    templates = {each.path_format for each in app._app._app.routes}
    if program == "api":
        templates = {each for each in templates if not each.startswith("/partner")}
        assert routes()[program] > templates
    else:
        assert routes()[program] == templates | {"other"}


def test_a_status_that_http_does_not_know_is_of_a_documented_class() -> None:
    counted = RequestMetrics()
    for status in (0, 99, 100, 299, 599, 600, 999, 12_345, -1):
        counted.observe("/metrics", status, 0.1)
    shown = counted.route().fn().content.decode()  # pyright: ignore
    assert faults(shown, ["admin"], whole=False) == []


def plant(make: Callable[[CollectorRegistry], object]) -> list[str]:
    """Return what is found in a registry with a planted metric."""
    registry = CollectorRegistry()
    make(registry)
    return faults(generate_latest(registry).decode(), ["partner"], whole=False)


def by_product(registry: CollectorRegistry) -> None:
    found = Counter(
        "stock_lookups", "Planted.", ["level", "outcome", "product_id"], registry=registry
    )
    found.labels("memory", "hit", "TABLET-00001").inc()


def by_partner(registry: CollectorRegistry) -> None:
    found = Gauge("stock_cache_breakers", "Planted.", ["state"], registry=registry)
    found.labels("techmart").set(1)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (by_product, "stock_lookups_total: has the labels ['level', 'outcome', 'product_id']"),
        (by_product, "stock_lookups_total: product_id='TABLET-00001' is not in its documented set"),
        (by_partner, "stock_cache_breakers: state='techmart' is not in its documented set"),
        (
            lambda registry: Gauge("stock_surprise", "Planted.", registry=registry),
            "stock_surprise: shown and not documented for partner",
        ),
        (
            lambda registry: Gauge("webhook_outbox_changes", "Planted.", registry=registry),
            "webhook_outbox_changes: shown and not documented for partner",
        ),
        (
            lambda registry: Counter("stock_memory_bytes", "Planted.", registry=registry),
            "stock_memory_bytes_total: shown and not documented for partner",
        ),
    ],
)
def test_a_planted_metric_is_found(make: Callable[[CollectorRegistry], object], told: str) -> None:
    assert told in plant(make)


def test_a_documented_metric_that_is_not_shown_is_found() -> None:
    assert "stock_feed_age_seconds: documented and not shown" in faults("", ["internal"])


def test_the_page_tells_type_use_and_programs_of_every_metric() -> None:
    assert len(metrics()) > 30
    for each in metrics().values():
        assert each.kind in ("counter", "gauge", "histogram"), each.name
        assert each.programs <= set(PROGRAMS), each.name
        assert each.programs, each.name
        assert all(values or name in ("route", "node") for name, values in each.labels.items())
        assert (each.kind == "counter") == each.name.endswith("_total"), each.name
