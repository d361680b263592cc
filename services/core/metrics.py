"""Metrics: a registry of one process and the text of it that Prometheus reads (D4).

In services/core, as every program shows one: the HTTP services by Litestar (core/http/metrics.py),
the programs in the background, which would load Litestar for nothing else, by a listener of their
own. docs/metrics.md lists what there is, with the values that each label may have.
"""

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from services.core.background import FAILURES
from services.core.log_writer import LOST

METRICS_PATH = "/metrics"
CONTENT_TYPE = CONTENT_TYPE_LATEST

# A time of birth for each child of each metric: Prometheus takes it for a gauge of its own.
disable_created_metrics()


def make_registry() -> CollectorRegistry:
    """Return a registry that tells of the process: memory, processor time, open files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(FAILURES)
    registry.register(LOST)
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """Return what a registry shows now, as CONTENT_TYPE says."""
    return generate_latest(registry)
