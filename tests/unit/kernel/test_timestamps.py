"""Times as partners read them."""

import random
from datetime import datetime

from services.core.timestamps import Stamps, rfc3339


def test_a_stamp_is_what_rfc3339_writes_in_whatever_order_times_come() -> None:
    stamps = Stamps()
    chance = random.Random(1)
    for _ in range(5_000):
        now = 1_764_000_000 + chance.randrange(3_000_000) / 1_000_000
        told = datetime.fromisoformat(stamps.stamp(now).decode())
        # A float holds such a time to a quarter of a microsecond, and one way rounds.
        assert abs(told.timestamp() - now) < 2e-6
        assert rfc3339(told).encode() == stamps.stamp(now)


def test_the_first_and_the_last_moment_of_a_second_are_in_it() -> None:
    stamps = Stamps()
    assert stamps.stamp(1_764_000_000.0) == b"2025-11-24T16:00:00.000000Z"
    assert stamps.stamp(1_764_000_000.9999995) == b"2025-11-24T16:00:00.999999Z"
    assert stamps.stamp(1_764_000_001.0) == b"2025-11-24T16:00:01.000000Z"
