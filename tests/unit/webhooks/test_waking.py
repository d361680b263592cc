"""Wake-ups that fail cost whoever sends them next to nothing."""

from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from services.webhooks.queue import Lane
from services.webhooks.waking import ENOUGH, LOOK_EVERY, PAUSE, Waker
from tests.clock import Clock
from tests.recorded_wakeups import RecordedWakeups


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wakeups() -> RecordedWakeups:
    return RecordedWakeups()


@pytest.fixture
def waker(wakeups: RecordedWakeups, clock: Clock) -> Waker:
    return Waker(wakeups, clock=clock)


def test_after_a_failure_nothing_is_tried_for_a_while(
    waker: Waker, wakeups: RecordedWakeups, clock: Clock
) -> None:
    wakeups.away = True
    with capture_logs() as logs:
        for _ in range(100):
            assert not waker.wake(uuid4(), Lane.FAST)
        assert wakeups.calls == 1
        clock.now += PAUSE
        assert waker.waiting(Lane.SLOW) is None
        assert wakeups.calls == 2
        wakeups.away = False
        clock.now += PAUSE
        assert waker.wake(uuid4(), Lane.FAST)
        clock.now += PAUSE
        assert waker.wake(uuid4(), Lane.FAST)
    assert [log["event"] for log in logs] == ["queue.away", "queue.back"]


def test_a_failure_that_took_long_is_followed_by_a_longer_pause(clock: Clock) -> None:
    class Hanging(RecordedWakeups):
        def waiting(self, lane: Lane) -> int:
            clock.now += 2  # seconds until the call gives up
            return super().waiting(lane)

    wakeups = Hanging()
    wakeups.away = True
    waker = Waker(wakeups, clock=clock)
    for _ in range(1_000):
        waker.waiting(Lane.FAST)
        clock.now += 0.1
    assert wakeups.calls * 2 < clock.now * 0.4


def test_a_full_lane_gets_no_more_until_it_has_room(
    waker: Waker, wakeups: RecordedWakeups, clock: Clock
) -> None:
    wakeups.queued[Lane.FAST] = ENOUGH + 1
    for _ in range(LOOK_EVERY + 50):
        waker.wake(uuid4(), Lane.FAST)
    assert len(wakeups.sent) == LOOK_EVERY
    assert waker.wake(uuid4(), Lane.SLOW)
    wakeups.queued[Lane.FAST] = ENOUGH
    clock.now += PAUSE
    assert waker.wake(uuid4(), Lane.FAST)
