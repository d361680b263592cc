"""Metrics: how long answers take, by route and status class, for Prometheus; GET /metrics (D4).

Kept lean: plain numbers for each route and class, made a histogram when Prometheus asks. Its count
is the count of requests.
"""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from services.core.metrics import CONTENT_TYPE, METRICS_PATH, exposition, make_registry

# Seconds. A hot answer takes 0.1 ms, one from PostgreSQL a few; partners are promised 0.2 s (Q6)
# and the gateway gives up after 2.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
OTHER = "other"  # the route of a request that none took
CLASSES = range(6)  # by the first digit of a status; 0: nothing was answered

_BOUNDS = [*map(str, BUCKETS), "+Inf"]  # as Prometheus writes them


class _Answers:
    """The answers of one route and class: how many in each bucket, how long all of them took."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        self.seconds = 0.0


class _Durations(Collector):
    """The histogram of one app; collected in a thread, it only reads."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, int], _Answers] = {}  # by route and digit

    def collect(self) -> Iterable[Metric]:
        found = HistogramMetricFamily(
            "http_request_duration_seconds",
            "Time from a request's first byte here to the last of its answer.",
            labels=["route", "status"],
        )
        for (route, digit), answers in list(self.answers.items()):
            buckets = list(zip(_BOUNDS, accumulate(answers.counts), strict=True))
            found.add_metric([route, f"{digit}xx"], buckets, answers.seconds)
        yield found


class RequestMetrics:
    """The metrics of one app, in a registry of its own."""

    def __init__(self, collectors: Iterable[Collector] = ()) -> None:
        """Make them, at zero; `collectors` show what the service counts besides."""
        self._registry = make_registry()
        # By route and digit, as they come: all that there could be are 3,000 lines of admin.
        self._durations = _Durations()
        self._answers = self._durations.answers
        for each in (self._durations, *collectors):
            self._registry.register(each)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; `route` is a template of ours, never a path as it was sent.

        0.3 us; prometheus_client's histogram, with its locks, takes 1, Litestar's middleware 33.
        """
        try:
            answers = self._answers[route, status // 100]
        except KeyError:
            digit = status // 100
            answers = self._answers.setdefault(
                (route, digit if digit in CLASSES else 0), _Answers()
            )
        answers.counts[bisect_left(BUCKETS, seconds)] += 1
        answers.seconds += seconds

    def route(self) -> HTTPRouteHandler:
        """Return the handler of GET /metrics; the gateway has no route to it."""

        # In a thread: a collector may ask PostgreSQL.
        @get(METRICS_PATH, sync_to_thread=True)
        def metrics() -> Response[bytes]:
            return Response(exposition(self._registry), headers={"Content-Type": CONTENT_TYPE})

        return metrics
