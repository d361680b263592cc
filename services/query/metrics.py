"""Metrics: what one query process counts, read when Prometheus asks (D4).

The counts are plain numbers of the parts that they are of, added to as requests pass: a counter of
prometheus_client takes a lock and 0.4 us each time.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from services.query.cache import Cache
from services.query.changes import ChangeFeed
from services.query.inventory import Inventory
from services.query.memory import Memory
from services.query.store import Store


class QueryMetrics(Collector):
    """The numbers of one process's parts; asked in a thread, it only reads."""

    def __init__(
        self, inventory: Inventory, memory: Memory, cache: Cache, store: Store, feed: ChangeFeed
    ) -> None:
        """Take the parts."""
        self._inventory = inventory
        self._memory = memory
        self._cache = cache
        self._store = store
        self._feed = feed

    def collect(self) -> Iterable[Metric]:
        """Return every number as it is now."""
        yield self._lookups()
        yield from self._breakers()
        yield _gauge(
            "stock_feed_age_seconds",
            "Since the change feed last read what has changed.",
            self._feed.age,
        )
        yield _gauge(
            "stock_database_reads_in_progress",
            "Reads of PostgreSQL, those that wait for a connection included.",
            self._store.under_way,
        )
        yield CounterMetricFamily(
            "stock_database_reads_refused",
            "Reads of PostgreSQL that were refused, as too many were under way.",
            self._store.refused,
        )
        yield _gauge("stock_memory_entries", "Products kept in this process.", self._memory.held)
        yield _gauge("stock_memory_bytes", "What those take, about.", self._memory.size)

    def _lookups(self) -> Metric:
        found = CounterMetricFamily(
            "stock_lookups",
            "Product ids that a level was asked for, by whether it knew them.",
            labels=["level", "outcome"],
        )
        counted = self._inventory.lookups
        for level, hits, misses in (
            ("memory", counted.memory_hits, counted.memory_misses),
            ("valkey", counted.valkey_hits, counted.valkey_misses),
            ("postgresql", counted.postgresql_hits, counted.postgresql_misses),
        ):
            found.add_metric([level, "hit"], hits)
            found.add_metric([level, "miss"], misses)
        return found

    def _breakers(self) -> Iterator[Metric]:
        breakers = self._cache.breakers
        states = GaugeMetricFamily(
            "stock_cache_breakers",
            "Servers of the cache that are asked (closed) or not, as they are away (open).",
            labels=["state"],
        )
        states.add_metric(["closed"], breakers.closed)
        states.add_metric(["open"], breakers.open)
        yield states
        yield CounterMetricFamily(
            "stock_cache_breaker_opened",
            "How often a server of the cache was found to be away.",
            breakers.times_opened,
        )


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(name, told, value)
