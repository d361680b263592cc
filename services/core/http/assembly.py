"""Assembly: a service's routes become its app, with health, metrics, errors as everywhere."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from litestar import Litestar, Request, Response
from litestar.datastructures import CacheControlHeader
from litestar.openapi import OpenAPIConfig
from litestar.types import ASGIApp, ControllerRouterHandler
from prometheus_client.registry import Collector

from services.core.http.failures import answer_failure
from services.core.http.health import Dependency, health_routes
from services.core.http.metrics import RequestMetrics
from services.core.http.paths import RawPaths, decode_path_parameters
from services.core.http.request_scope import RequestScope

FailureHandlers = dict[
    int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[bytes]]
]
Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


def make_app(
    routes: Sequence[ControllerRouterHandler],
    dependencies: Mapping[str, Dependency],
    lifespan: Lifespan,
    *,
    exception_handlers: FailureHandlers | None = None,
    openapi: OpenAPIConfig | None = None,
    collectors: Sequence[Collector] = (),
) -> ASGIApp:
    """Return an app; what its handlers raise becomes the envelope (A5).

    `exception_handlers` take the place of the one that all services have; `collectors` show what
    the service counts itself.
    """
    metrics = RequestMetrics(collectors)
    app = Litestar(
        route_handlers=[*routes, *health_routes(dependencies), metrics.route()],
        exception_handlers={**(exception_handlers or {Exception: answer_failure})},
        before_request=decode_path_parameters,
        cache_control=CacheControlHeader(no_store=True),
        lifespan=[lifespan],
        openapi_config=openapi,
        logging_config=None,
        debug=False,
    )
    return RequestScope(RawPaths(app), metrics)
