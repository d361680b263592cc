"""What is logged of the gateway: each change once, loudly what somebody must mend."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from services.admin.gateway.node_event_log import SETTLED, NodeEventLog
from services.admin.gateway.node_sync import Candidate, Desired, NodeReport, NodeState

GOOD = Desired(1, Candidate("text", "policy"))
BROKEN = Desired(1, None, policy_error="kong.yml:3: one\nkong.yml:5: two")


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def event_log(clock: Clock) -> NodeEventLog:
    return NodeEventLog(clock)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def events(logs: list[Any]) -> list[str]:
    return [entry["event"] for entry in logs]


def report(state: NodeState, error: str | None = None, *, posted: bool = False) -> NodeReport:
    return NodeReport(
        url="http://node", state=state, error=error, posted=posted, hash="h", revision=1
    )


def test_a_broken_file_is_told_once_with_all_faults(
    event_log: NodeEventLog, clock: Clock, logs: list[Any]
) -> None:
    for _ in range(5):
        event_log.policy(BROKEN)
        clock.now += SETTLED
    (told,) = logs
    assert (told["event"], told["log_level"]) == ("policy.broken", "error")
    assert told["faults"] == ["kong.yml:3: one", "kong.yml:5: two"]


def test_a_file_that_is_half_written_for_a_moment_is_not_told(
    event_log: NodeEventLog, clock: Clock, logs: list[Any]
) -> None:
    for desired in (GOOD, BROKEN, BROKEN, GOOD, GOOD):
        event_log.policy(desired)
        clock.now += SETTLED / 3
    clock.now += SETTLED
    event_log.policy(GOOD)
    assert logs == []


def test_another_fault_is_told_again_and_so_is_its_end(
    event_log: NodeEventLog, clock: Clock, logs: list[Any]
) -> None:
    other = Desired(1, None, policy_error="kong.yml:9: three")
    for desired in (BROKEN, BROKEN, other, other, GOOD, GOOD, GOOD):
        event_log.policy(desired)
        clock.now += SETTLED
    assert events(logs) == ["policy.broken", "policy.broken", "policy.mended"]


def test_a_node_that_goes_and_comes_is_told_once_each(
    event_log: NodeEventLog, logs: list[Any]
) -> None:
    for _ in range(3):
        event_log.node(report(NodeState.AWAY, "no answer"))
    for _ in range(3):
        event_log.node(report(NodeState.CURRENT))
    event_log.node(report(NodeState.CURRENT, posted=True))
    assert events(logs) == ["node.away", "node.back", "node.published"]


def test_a_refusal_is_told_once_until_it_is_another(
    event_log: NodeEventLog, logs: list[Any]
) -> None:
    for words in ("this", "this", "that"):
        event_log.node(report(NodeState.FALLBACK, words))
    assert events(logs) == ["node.refused", "node.refused"]
    assert logs[0]["log_level"] == "error"
