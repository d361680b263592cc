"""One line in the log when a dependency goes, one when it is back, however many requests saw it."""

from structlog.testing import capture_logs

from services.core.availability import QUIET, Availability
from tests.clock import Clock


def test_an_outage_is_told_once_at_each_end() -> None:
    clock = Clock()
    cache = Availability("cache", clock=clock)
    with capture_logs() as logs:
        cache.succeeded()
        for _ in range(50):
            clock.now += 0.1
            cache.failed(TimeoutError("slow"))
        clock.now += QUIET
        cache.succeeded()
        cache.succeeded()
    assert [event["event"] for event in logs] == ["cache.away", "cache.back"]
    assert logs[0]["reason"] == "TimeoutError: slow"
    assert logs[1]["away_seconds"] == 5.9


def test_a_dependency_that_comes_and_goes_with_every_call_is_one_outage() -> None:
    clock = Clock()
    cache = Availability("cache", clock=clock)
    with capture_logs() as logs:
        for _ in range(50):
            clock.now += 0.01
            cache.failed(OSError("refused"))
            cache.succeeded()
    assert [event["event"] for event in logs] == ["cache.away"]


def test_one_of_several_servers_is_told_by_its_name() -> None:
    clock = Clock()
    cache = Availability("cache", clock=clock)
    first, second = (cache.of_part(name) for name in ("a:1", "b:2"))
    with capture_logs() as logs:
        first.failed(OSError("refused"))
        second.succeeded()
        clock.now += QUIET
        first.succeeded()
    told = [(event["event"], event["part"]) for event in logs]
    assert told == [("cache.away", "a:1"), ("cache.back", "a:1")]
