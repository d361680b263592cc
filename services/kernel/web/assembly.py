"""Assembly: a service's routes become its app; health, errors and request ids as everywhere."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from litestar import Litestar
from litestar.types import ASGIApp, ControllerRouterHandler

from services.kernel.web.failures import answer_failure
from services.kernel.web.health import Dependency, health_routes
from services.kernel.web.request_scope import RequestScope

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


def make_app(
    routes: Sequence[ControllerRouterHandler],
    dependencies: Mapping[str, Dependency],
    lifespan: Lifespan,
) -> ASGIApp:
    """Return an app; what its handlers raise becomes the envelope (A5)."""
    app = Litestar(
        route_handlers=[*routes, *health_routes(dependencies)],
        exception_handlers={Exception: answer_failure},
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    return RequestScope(app)
