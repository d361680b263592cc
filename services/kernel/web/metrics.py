"""Metrics: how long answers take, by route and status class, for Prometheus; GET /metrics (D4).

Kept lean: one histogram, bound once for each route and class. Its count is the count of requests.
"""

from collections.abc import Callable, Iterable

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import Histogram
from prometheus_client.registry import Collector

from services.kernel.metrics import CONTENT_TYPE, METRICS_PATH, exposition, make_registry

# Seconds. A hot answer takes 0.1 ms, one from PostgreSQL a few; partners are promised 0.2 s (Q6)
# and the gateway gives up after 2.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
OTHER = "other"  # the route of a request that none took
CLASSES = range(6)  # by the first digit of a status; 0: nothing was answered


class RequestMetrics:
    """The metrics of one app, in a registry of its own."""

    def __init__(self, collectors: Iterable[Collector] = ()) -> None:
        """Make them, at zero; `collectors` show what the service counts besides."""
        self._registry = make_registry()
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "Time from a request's first byte here to the last of its answer.",
            ["route", "status"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        for each in collectors:
            self._registry.register(each)
        # Bound by the first request of its kind: all that there could be are 3,000 lines of admin.
        self._bound: dict[tuple[str, int], Callable[[float], None]] = {}

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; `route` is a template of ours, never a path as it was sent.

        1.1 us; `labels` at each request would be 3 more, Litestar's middleware 33.
        """
        try:
            self._bound[route, status // 100](seconds)
        except KeyError:
            self._bind(route, status // 100)(seconds)

    def route(self) -> HTTPRouteHandler:
        """Return the handler of GET /metrics; the gateway has no route to it."""

        # In a thread: a collector may ask PostgreSQL.
        @get(METRICS_PATH, sync_to_thread=True)
        def metrics() -> Response[bytes]:
            return Response(exposition(self._registry), headers={"Content-Type": CONTENT_TYPE})

        return metrics

    def _bind(self, route: str, digit: int) -> Callable[[float], None]:
        status = f"{digit if digit in CLASSES else 0}xx"
        observe = self._seconds.labels(route, status).observe
        self._bound[route, digit] = observe
        return observe
