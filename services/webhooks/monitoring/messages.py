"""Messages: Dramatiq's numbers of its own work, under the names of its Prometheus middleware.

Not by that middleware: it makes its counters in a hook that only the command `dramatiq` calls, and
shows them by a process that this command forks, through files that all its processes share. Here
dramatiq.Worker runs in a process that has a registry and a port already; nothing is retried by
Dramatiq or delayed, so that two of its numbers would always be 0 and are left out.
"""

import time
from collections.abc import Callable
from threading import local
from typing import Any

from dramatiq.middleware import Middleware
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.webhooks.queue import ACTOR, Lane

# Milliseconds, as its own; a wake-up ends within 50 calls of 15 s.
BUCKETS = (5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000, 30_000, 60_000)
LABELS = ("queue_name", "actor_name")


class MessageCounts(Middleware):
    """Counts the messages of the lanes; bound once, as `labels` costs 3 us each time."""

    def __init__(
        self, registry: CollectorRegistry, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make the numbers, at zero; `clock` is monotonic seconds."""
        self._clock = clock
        self._own = local()  # when this thread began its message
        told: dict[str, Any] = {"labelnames": LABELS, "registry": registry}
        total = Counter("dramatiq_messages_total", "Messages processed.", **told)
        errors = Counter("dramatiq_message_errors_total", "Messages that raised.", **told)
        rejects = Counter("dramatiq_message_rejects_total", "Messages put aside.", **told)
        in_progress = Gauge("dramatiq_messages_inprogress", "Messages in work.", **told)
        durations = Histogram(
            "dramatiq_message_duration_milliseconds", "Time of a message.", buckets=BUCKETS, **told
        )
        self._total = {lane: total.labels(lane, ACTOR) for lane in Lane}
        self._errors = {lane: errors.labels(lane, ACTOR) for lane in Lane}
        self._rejects = {lane: rejects.labels(lane, ACTOR) for lane in Lane}
        self._in_progress = {lane: in_progress.labels(lane, ACTOR) for lane in Lane}
        self._durations = {lane: durations.labels(lane, ACTOR) for lane in Lane}

    def before_process_message(self, broker: object, message: Any) -> None:  # noqa: ANN401, ARG002
        """Note that a message is begun."""
        self._own.began = self._clock()
        self._in_progress[Lane(message.queue_name)].inc()

    def after_process_message(
        self,
        broker: object,  # noqa: ARG002
        message: Any,  # noqa: ANN401
        *,
        result: object = None,  # noqa: ARG002
        exception: BaseException | None = None,
    ) -> None:
        """Count a message that is done, well or not."""
        lane = Lane(message.queue_name)
        self._durations[lane].observe((self._clock() - self._own.began) * 1000)
        self._in_progress[lane].dec()
        self._total[lane].inc()
        if exception is not None:
            self._errors[lane].inc()

    def after_nack(self, broker: object, message: Any) -> None:  # noqa: ANN401, ARG002
        """Count a message that was put aside."""
        self._rejects[Lane(message.queue_name)].inc()
