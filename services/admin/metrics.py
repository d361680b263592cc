"""Metrics: the gateway and the keys as PostgreSQL has them when Prometheus asks (D4)."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg_pool import PoolTimeout

from services.admin.changes import Admin
from services.admin.gateway.counters import answers, counter_store
from services.admin.gateway.node_sync import NodeState
from services.admin.gateway.status import OUTDATED, UNKNOWN, GatewayStatus, read_status
from services.admin.settings import AdminSettings
from services.policy.render import PolicyError

NODE_STATES = (*map(str, NodeState), OUTDATED, UNKNOWN)
WITHIN = ("1d", "7d", "30d")


class KeyEnds(NamedTuple):
    """Keys of active partners that end, and that no rotation has replaced."""

    in_a_day: int
    in_a_week: int
    in_a_month: int
    ended: int  # in the 30 days before


# By api_keys_not_revoked. What ended long ago is left out, as there is more of it each year.
COUNT_KEYS = """
SELECT count(*) FILTER (WHERE expires_at > now() AND expires_at <= now() + interval '1 day'),
    count(*) FILTER (WHERE expires_at > now() AND expires_at <= now() + interval '7 days'),
    count(*) FILTER (WHERE expires_at > now()),
    count(*) FILTER (WHERE expires_at <= now())
FROM control.api_keys JOIN control.partners ON partners.id = api_keys.partner_id
WHERE expires_at BETWEEN now() - interval '30 days' AND now() + interval '30 days'
    AND revoked_at IS NULL AND replaced_by IS NULL AND partners.state = 'active'
"""


def count_keys(connection: Connection[TupleRow]) -> KeyEnds:
    """Return how many keys end soon, and have ended."""
    (row,) = connection.execute(COUNT_KEYS).fetchall()
    return KeyEnds._make(row)


class AdminMetrics(Collector):
    """What one admin shows; it asks PostgreSQL each time, in the thread of whoever asks it."""

    def __init__(
        self, admin: Admin, *, is_leader: Callable[[], bool], clock: Callable[[], float]
    ) -> None:
        """`is_leader`: whether this admin publishes; `clock`: monotonic seconds."""
        self._admin = admin
        self._is_leader = is_leader
        self._clock = clock
        self._current_at = clock()  # when all was last seen to be right; until then: the start

    def collect(self) -> Iterable[Metric]:
        """Return what can be told; without PostgreSQL that is little."""
        yield _gauge(
            "gateway_reconciler_leader", "1: this admin publishes.", float(self._is_leader())
        )
        yield from _counters(self._admin.settings)
        try:
            with self._admin.reading() as connection:
                status = read_status(connection, self._admin.settings)
                keys = count_keys(connection)
        except (psycopg.Error, PoolTimeout):
            yield self._publish_age(None)
            return
        yield self._publish_age(status)
        yield from _gateway(status)
        yield from _keys(keys)

    def _publish_age(self, status: GatewayStatus | None) -> Metric:
        if status is not None and status.current:
            looks = [node.age_seconds or 0.0 for node in status.nodes]
            self._current_at = max(self._current_at, self._clock() - max(looks))
        return _gauge(
            "gateway_publish_age_seconds",
            "Since every node was last seen to run what it should.",
            self._clock() - self._current_at,
        )


def _counters(settings: AdminSettings) -> Iterator[Metric]:
    """Yield whether the limits have their store; nothing where the policy does not name one."""
    with contextlib.suppress(OSError, PolicyError):
        store = counter_store(Path(settings.gateway_policy).read_text(), settings.addresses)
        if store is not None:
            told = "1: the store of the gateway's limits answers; without it there are none."
            yield _gauge("gateway_counters_up", told, float(answers(store)))


def _gateway(status: GatewayStatus) -> Iterator[Metric]:
    nodes = GaugeMetricFamily(
        "gateway_node_state", "1 for the state that a node is in.", labels=["node", "state"]
    )
    for node in status.nodes:
        for state in NODE_STATES:
            nodes.add_metric([_host_of(node.url), state], float(node.state == state))
    yield nodes
    yield _gauge(
        "gateway_policy_broken",
        "1: kong.yml on the disk is not sound, and the last good one is sent.",
        float(status.policy_error is not None),
    )


def _keys(keys: KeyEnds) -> Iterator[Metric]:
    expiring = GaugeMetricFamily(
        "api_keys_expiring",
        "Keys of active partners that end soon and are not replaced.",
        labels=["within"],
    )
    for within, count in zip(WITHIN, keys, strict=False):
        expiring.add_metric([within], count)
    yield expiring
    told = "Keys that ended in the last 30 days and were not replaced."
    yield _gauge("api_keys_expired", told, keys.ended)


def _host_of(url: str) -> str:
    """Return host and port: an address may hold a password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(name, told, value)
