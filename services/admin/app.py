"""App: admin's routes with their tokens, errors and OpenAPI document."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import litestar_offline_docs
from litestar import Router
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.static_files import create_static_files_router  # pyright: ignore[reportUnknownVariableType]
from litestar.types import ASGIApp
from prometheus_client.registry import Collector

from services.admin.access import (
    BearerAuthentication,
    check_parameters,
    refuse_unfit_text,
    token_finder,
)
from services.admin.audit.http import list_audit
from services.admin.changes import Admin
from services.admin.deliveries.http import DELIVERIES
from services.admin.endpoints.http import ENDPOINTS
from services.admin.failures import exception_handlers
from services.admin.gateway.http import GATEWAY
from services.admin.keys.http import KEYS
from services.admin.partners.http import PARTNERS
from services.admin.requests import StrictRequest
from services.admin.stock.http import STOCK_HANDLERS
from services.admin.tokens.http import TOKENS
from services.core.availability import Availability
from services.core.errors import Envelope
from services.core.http.assembly import Lifespan, make_app
from services.core.http.health import Dependency

ROOT = "/admin/v1"
DOCS = f"{ROOT}/docs"
ASSETS = f"{DOCS}/assets"
# Litestar writes OpenAPI 3.1, which the older Swagger UI of the partners' page can't show.
SWAGGER_UI = Path(litestar_offline_docs.__file__).parent / "static"

HANDLERS: Sequence[HTTPRouteHandler] = (
    *PARTNERS,
    *KEYS,
    *ENDPOINTS,
    *DELIVERIES,
    *STOCK_HANDLERS,
    *GATEWAY,
    *TOKENS,
    list_audit,
)


# What any of them may answer, for the OpenAPI document; all in one shape (A5).
ERRORS = {
    status: ResponseSpec(Envelope, generate_examples=False, description=description)
    for status, description in (
        (400, "A field is wrong; the message names it and how to mend it"),
        (401, "No token, or one that does not work"),
        (403, "The token's role is viewer"),
        (404, "There is no such thing"),
        (409, "It is not in a state in which this can be done"),
        (503, "PostgreSQL is away; try again"),
    )
}


def make_admin_app(
    admin: Admin,
    *,
    availability: Availability,
    dependencies: Mapping[str, Dependency],
    lifespan: Lifespan,
    collectors: Sequence[Collector] = (),
) -> ASGIApp:
    """Return the app that operations and their tools call."""
    for handler in HANDLERS:
        handler.responses = {**ERRORS, **(handler.responses or {})}
    routes = Router(
        ROOT,
        route_handlers=HANDLERS,
        request_class=StrictRequest,
        middleware=[DefineMiddleware(BearerAuthentication, find=token_finder(admin))],
        guards=[check_parameters, refuse_unfit_text],
        dependencies={"admin": Provide(lambda: admin, use_cache=True, sync_to_thread=False)},
        security=[{"token": []}],
    )
    assets: Router = create_static_files_router(path=ASSETS, directories=[SWAGGER_UI])
    return make_app(
        [routes, assets],
        dependencies,
        lifespan,
        exception_handlers=exception_handlers(availability),
        openapi=_openapi(),
        collectors=collectors,
    )


def _openapi() -> OpenAPIConfig:
    page = SwaggerRenderPlugin(
        js_url=f"{ASSETS}/swagger-ui-bundle.js",
        css_url=f"{ASSETS}/swagger-ui.css",
        standalone_preset_js_url=f"{ASSETS}/swagger-ui-standalone-preset.js",
        path="/",
        favicon="<link rel='icon' href='data:,'>",  # by default another host's
    )
    return OpenAPIConfig(
        title="Partner Inventory: admin",
        version="1",
        description="Internal. `Authorization: Bearer` with a token of `partnerapi tokens create`.",
        path=DOCS,
        render_plugins=[page],
        components=Components(
            security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}
        ),
    )
