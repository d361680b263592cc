"""Queue: wake-ups on Valkey. A message names an endpoint that may have something due, no more.

The truth of a delivery is its row: an emptied Valkey loses nothing, a doubled message does no harm.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import cast
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware, Retries

from services.core.environments import Environment

ACTOR = "send_due"  # its one argument is an endpoint's id
CONNECT_WITHIN = 1.0  # seconds; Valkey is near
DEAD_KEPT = 3_600_000  # milliseconds; a wake-up that failed is worth nothing to anybody
ANSWER_WITHIN = 0.5  # seconds; a hung Valkey must not stop the relay for ever


class Lane(StrEnum):
    """The queues: endpoints that time out have workers of their own (W10)."""

    FAST = "deliveries"
    SLOW = "deliveries_slow"


class QueueAwayError(Exception):
    """Valkey did not take a wake-up; the scheduler will send another."""


def make_broker(
    queue_url: str, environment: Environment, *, middleware: Sequence[Middleware] = ()
) -> RedisBroker:
    """Return a broker of this environment; it connects when it is first used.

    redis-py inside: Dramatiq catches its errors, and valkey-py's are not among them. Retries is
    there only to be told that actors have none: those are the delivery rows' business.
    """
    parts = urlsplit(queue_url)
    scheme = parts.scheme.replace("valkey", "redis")
    broker = RedisBroker(
        url=urlunsplit(parts._replace(scheme=scheme)),
        middleware=[Retries(max_retries=0), *middleware],
        dead_message_ttl=DEAD_KEPT,
        namespace=f"{environment}:webhooks",
        socket_connect_timeout=CONNECT_WITHIN,
        socket_timeout=ANSWER_WITHIN,
    )
    for lane in Lane:
        broker.declare_queue(lane)
    return broker


class Wakeups:
    """Sends wake-ups."""

    def __init__(self, broker: RedisBroker) -> None:
        """Take the broker of make_broker."""
        # redis-py and Dramatiq tell little of their types.
        self._enqueue = cast("Callable[[dramatiq.Message[None]], object]", broker.enqueue)
        self._size = cast("Callable[[str], int]", broker.do_qsize)

    def wake(self, endpoint_id: UUID, lane: Lane = Lane.FAST, *, times: int = 1) -> None:
        """Ask for up to `times` workers for an endpoint. Raises QueueAwayError."""
        try:
            for _ in range(times):
                self._enqueue(
                    dramatiq.Message(
                        queue_name=lane,
                        actor_name=ACTOR,
                        args=(str(endpoint_id),),
                        kwargs={},
                        options={},
                    )
                )
        except (dramatiq.BrokerConnectionError, redis.RedisError) as exc:
            raise QueueAwayError(str(exc)) from exc

    def waiting(self, lane: Lane) -> int:
        """Return how many wake-ups wait. Raises QueueAwayError."""
        try:
            return self._size(lane)
        except (dramatiq.BrokerConnectionError, redis.RedisError) as exc:
            raise QueueAwayError(str(exc)) from exc
