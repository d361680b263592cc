"""Director: kills every part again and again, and brings it back."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psycopg

from tools.chain import API, POSTGRES, PROGRAMS, VALKEY, Chain

AWAY = (0.1, 1.0)  # seconds between a kill and the new start
BETWEEN = (0.5, 2.5)  # seconds from a start to the next kill
BUSY_WITHIN = 10.0  # seconds to wait for something to be under way
# The worker comes first, so that the leases it leaves run out while others are killed.
FIRST = "worker"
OTHERS = ("relay", "scheduler", "slow-worker", API, VALKEY, POSTGRES)
TOGETHER = (
    (FIRST, VALKEY),
    (POSTGRES, "relay"),
    (API, "slow-worker", "scheduler"),
    (*PROGRAMS, VALKEY, POSTGRES),
)

# Those of the worker: endpoints in the slow lane are the slow worker's.
SENDING = """
SELECT count(*) FROM sandbox.deliveries JOIN sandbox.endpoints ON id = endpoint_id
WHERE deliveries.state = 'sending' AND coalesce(slow_until <= now(), true)
"""

Kill = tuple[str, ...]


def one_wave(chance: random.Random) -> list[Kill]:
    """Return a wave that kills each part once, alone."""
    others = list(OTHERS)
    chance.shuffle(others)
    return [(name,) for name in (FIRST, *others)]


class Director:
    """Kills parts; counts what it did."""

    def __init__(self, chain: Chain, *, seed: int, haste: float = 1.0) -> None:
        """`haste` divides the pauses."""
        self._chain = chain
        self._chance = random.Random(f"{seed}:director")
        self._haste = haste
        self.kills: Counter[str] = Counter()
        self.last_kill = 0.0  # seconds since 1970
        self.struck = 0  # calls that were under way when the worker was killed

    def waves(self, count: int) -> Iterator[list[Kill]]:
        """Yield so many waves, and a last one of parts that go together."""
        for _ in range(count):
            yield one_wave(self._chance)
        yield list(TOGETHER)

    def kill_all(self, wave: list[Kill], *, after_each: Callable[[], None]) -> None:
        """Kill and bring back, one after the other."""
        for names in wave:
            self._pause(BETWEEN)
            if FIRST in names:
                self._catch_worker_in_a_call()
            self._chain.kill(names)
            self.last_kill = time.time()
            self.kills.update(names)
            self._pause(AWAY)
            self._chain.start(names)
            after_each()

    def _pause(self, seconds: tuple[float, float]) -> None:
        time.sleep(self._chance.uniform(*seconds) / self._haste)

    def _catch_worker_in_a_call(self) -> None:
        """Stop the worker while calls are under way: a kill that hits nothing shows nothing."""
        deadline = time.monotonic() + BUSY_WITHIN
        with self._chain.owner() as owner:
            while time.monotonic() < deadline:
                self._chain.signal(FIRST, signal.SIGSTOP)
                sending = _number(owner, SENDING)
                if sending:
                    self.struck += sending
                    return
                self._chain.signal(FIRST, signal.SIGCONT)
                time.sleep(self._chance.uniform(0.001, 0.01))


def _number(owner: psycopg.Connection[tuple[int]], statement: str) -> int:
    row = owner.execute(statement.encode()).fetchone()
    return row[0] if row else 0
