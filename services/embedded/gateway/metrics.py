"""Metrics: a node's requests and their times, named as Kong's prometheus plugin names them.

Names, labels and buckets are those of Kong 3.9's documentation and source, not measured on a node.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

# Milliseconds; Kong has no bucket at 200 for whole requests, so P95 is judged in the services.
_KONG_BUCKETS = (1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000)
_BUCKETS = (25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000)
_WORKSPACE = "default"  # the only one of the open-source edition


class GatewayMetrics:
    """The metrics of one node; they outlive its configurations."""

    def __init__(self) -> None:
        """Make them, at zero."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "kong_http_requests_total",
            "HTTP status codes by service and route.",
            ["service", "route", "code", "source", "workspace", "consumer"],
            registry=self._registry,
        )
        self._whole = self._latency("request", _BUCKETS)
        self._upstream = self._latency("upstream", _BUCKETS)
        self._own = self._latency("kong", _KONG_BUCKETS)
        reachable = Gauge(
            "kong_datastore_reachable",
            "1: without a database there is none to miss.",
            registry=self._registry,
        )
        reachable.set(1)

    def _latency(self, part: str, buckets: tuple[int, ...]) -> Histogram:
        name = f"kong_{part}_latency_ms"
        labels = ["service", "route", "workspace"]
        return Histogram(name, f"Time of {part}.", labels, buckets=buckets, registry=self._registry)

    def count(self, service: str, route: str, code: int, *, from_service: bool) -> None:
        """Count an answer; no consumer, because 10,000 partners would be as many series."""
        source = "service" if from_service else "kong"
        self._requests.labels(service, route, code, source, _WORKSPACE, "").inc()

    def time(self, service: str, route: str, whole: float, upstream: float | None) -> None:
        """Take the seconds of a whole request and of its service, if that was asked."""
        labels = (service, route, _WORKSPACE)
        self._whole.labels(*labels).observe(whole * 1000)
        if upstream is not None:
            self._upstream.labels(*labels).observe(upstream * 1000)
        self._own.labels(*labels).observe((whole - (upstream or 0)) * 1000)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)
