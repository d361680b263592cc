"""App: admin's routes with their tokens, errors and OpenAPI document."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import swagger_ui_bundle
from litestar import Router
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.static_files import create_static_files_router  # pyright: ignore[reportUnknownVariableType]
from litestar.types import ASGIApp, ControllerRouterHandler

from services.admin.changes import Admin
from services.admin.http.access import BearerAuthentication, refuse_unknown_parameters, token_finder
from services.admin.http.audit import list_audit
from services.admin.http.deliveries import DELIVERIES
from services.admin.http.endpoints import ENDPOINTS
from services.admin.http.failures import exception_handlers
from services.admin.http.gateway import publish_gateway, show_gateway
from services.admin.http.keys import KEYS
from services.admin.http.partners import PARTNERS
from services.admin.http.stock import (
    get_product,
    import_products,
    list_products,
    remove_product,
    set_product,
)
from services.admin.http.tokens import end_token, list_all_tokens, make_token
from services.kernel.availability import Availability
from services.kernel.web.assembly import Lifespan, make_app
from services.kernel.web.health import Dependency

ROOT = "/admin/v1"
DOCS = f"{ROOT}/docs"
ASSETS = f"{DOCS}/assets"

HANDLERS: Sequence[ControllerRouterHandler] = (
    show_gateway,
    publish_gateway,
    list_audit,
    list_all_tokens,
    make_token,
    end_token,
    list_products,
    get_product,
    set_product,
    remove_product,
    import_products,
    *PARTNERS,
    *KEYS,
    *ENDPOINTS,
    *DELIVERIES,
)


def make_admin_app(
    admin: Admin,
    *,
    availability: Availability,
    dependencies: Mapping[str, Dependency],
    lifespan: Lifespan,
) -> ASGIApp:
    """Return the app that operations and their tools call."""
    routes = Router(
        ROOT,
        route_handlers=HANDLERS,
        middleware=[DefineMiddleware(BearerAuthentication, find=token_finder(admin))],
        guards=[refuse_unknown_parameters],
        dependencies={"admin": Provide(lambda: admin, use_cache=True, sync_to_thread=False)},
        security=[{"token": []}],
    )
    assets: Router = create_static_files_router(
        path=ASSETS, directories=[Path(str(swagger_ui_bundle.swagger_ui_path))]
    )
    return make_app(
        [routes, assets],
        dependencies,
        lifespan,
        exception_handlers=exception_handlers(availability),
        openapi=_openapi(),
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
