"""Loops: when each of a process's loops last made a whole round."""

from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

# Seconds without a whole round, beyond its pause, after which a loop is taken to hang or to have
# lost its database: its longest statement may take 30, a mail as long.
LATE = 45.0


class Loop:
    """One loop."""

    def __init__(self, *, pause: float, clock: Callable[[], float]) -> None:
        """`pause`: seconds that it may wait between two rounds; `clock`: monotonic seconds."""
        self._clock = clock
        self._most = pause + LATE
        self._done_at = clock()  # until the first time: the start

    @property
    def age(self) -> float:
        """Seconds since its last whole round."""
        return self._clock() - self._done_at

    @property
    def runs(self) -> bool:
        """Whether its last round is recent."""
        return self.age < self._most

    def done(self) -> None:
        """Note a whole round."""
        self._done_at = self._clock()


class Loops(Collector):
    """The loops of one process by their names, and their ages as a metric."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take `clock` as monotonic seconds."""
        self._clock = clock
        self._loops: dict[str, Loop] = {}

    def add(self, name: str, *, pause: float) -> Loop:
        """Return a new loop."""
        self._loops[name] = Loop(pause=pause, clock=self._clock)
        return self._loops[name]

    def running(self) -> dict[str, bool]:
        """Say of each loop whether it runs."""
        return {name: loop.runs for name, loop in list(self._loops.items())}

    def collect(self) -> Iterable[Metric]:
        """Return how long ago each made its last round."""
        ages = GaugeMetricFamily(
            "webhook_loop_age_seconds",
            "Since a loop of this process last made a whole round.",
            labels=["loop"],
        )
        for name, loop in list(self._loops.items()):
            ages.add_metric([name], loop.age)
        yield ages
