"""Counters: does the store of the gateway's limits answer? Without it nodes let all pass."""

from collections.abc import Mapping
from typing import Any

import valkey
from valkey.exceptions import ValkeyError

from services.policy.render import Addresses, CounterStore, parse_policy, tiers_of

WITHIN = 1.0  # seconds; a node waits 0.1 (gateway/kong.yml)


def counter_store(policy_text: str, addresses: Addresses) -> CounterStore | None:
    """Return where the tiers count; None if they do so in a node's memory. Raises PolicyError."""
    if addresses.counters is not None:
        return addresses.counters
    for tier in tiers_of(parse_policy(policy_text)).values():
        config: Mapping[str, Any] = tier.get("config") or {}
        redis: Mapping[str, Any] = config.get("redis") or {}
        if config.get("policy") == "redis" and "host" in redis:
            return CounterStore(redis["host"], redis.get("port", 6379), redis.get("database", 0))
    return None


def answers(store: CounterStore) -> bool:
    """Say whether the store answers a PING."""
    try:
        with valkey.Valkey(
            store.host,
            store.port,
            store.database,
            socket_connect_timeout=WITHIN,
            socket_timeout=WITHIN,
        ) as client:
            return bool(client.ping())  # pyright: ignore[reportUnknownMemberType]
    except (ValkeyError, OSError):
        return False
