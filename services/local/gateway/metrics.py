"""Metrics: a node's requests and their times, named as Kong's prometheus plugin names them.

Names, labels and buckets are those of Kong 3.9's documentation and source, not measured on a node.
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from services.local.gateway.balancer import Health

# Milliseconds; Kong has no bucket at 200 for whole requests, so P95 is judged in the services.
_KONG_BUCKETS = (1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000)
_BUCKETS = (25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000)
_WORKSPACE = "default"  # the only one of the open-source edition


class _TargetHealth(Collector):
    """Whether each address of the upstreams gets requests, by state."""

    def __init__(self, healths: Callable[[], Iterable[Health]]) -> None:
        self._healths = healths
        self.is_shown = False

    def collect(self) -> Iterable[Metric]:
        if not self.is_shown:
            return
        labels = ["upstream", "target", "address", "state", "subsystem"]
        found = GaugeMetricFamily(
            "kong_upstream_target_health", "Health of targets.", labels=labels
        )
        for upstream, target, address, is_healthy in self._healths():
            state = "healthy" if is_healthy else "unhealthy"
            for each in ("healthchecks_off", "healthy", "unhealthy", "dns_error"):
                found.add_metric([upstream, target, address, each, "http"], each == state)
        yield found


class GatewayMetrics:
    """The metrics of one node; they outlive its configurations."""

    def __init__(self) -> None:
        """Make the metrics, at zero."""
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
        self._targets: _TargetHealth | None = None

    def show_targets(self, healths: Callable[[], Iterable[Health]]) -> None:
        """Show what `healths` yields, while a configuration asks for it."""
        self._targets = _TargetHealth(healths)
        self._registry.register(self._targets)

    def ask_for_targets(self, *, are_asked_for: bool) -> None:
        """Remember whether the running configuration asks for the health of targets."""
        if self._targets is not None:
            self._targets.is_shown = are_asked_for

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
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
