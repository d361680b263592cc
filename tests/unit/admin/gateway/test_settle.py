"""Settling one node: what it is sent, what is remembered of its refusals, what is reported."""

import pytest

from services.admin.gateway.node_sync import (
    RETRY_FAILED,
    RETRY_REFUSED,
    Candidate,
    Desired,
    Memory,
    NodeReport,
    NodeState,
    StoodDownError,
    settle,
    text_hash,
)
from services.admin.gateway.nodes import AwayError, RefusedTextError

NEW = Candidate("new policy, keys of now", "new policy")
OLD = Candidate("old policy, keys of now", "old policy")


class FakeNode:
    """Runs what it is sent, unless that is of a policy it refuses."""

    url = "http://node"

    def __init__(self, *refused: str, status: int = 400) -> None:
        self.running: str | None = None
        self.refused = refused
        self.status = status
        self.posts: list[str] = []
        self.is_away = False
        self.keeps = False  # whether it says yes and does nothing

    def running_hash(self) -> str | None:
        if self.is_away:
            msg = "no answer"
            raise AwayError(msg)
        return self.running

    def post(self, text: str) -> None:
        self.posts.append(text)
        if any(word in text for word in self.refused):
            raise RefusedTextError(self.status, "not this")
        if not self.keeps:
            self.running = text_hash(text)


class Clock:
    """Seconds that pass when a test says so, and a little at each look."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


class Case:
    """One node and what is remembered of it."""

    def __init__(self, *refused: str, status: int = 400) -> None:
        self.node = FakeNode(*refused, status=status)
        self.memory = Memory()
        self.clock = Clock()

    def settle(self, desired: Desired) -> NodeReport:
        return settle(self.node, desired, self.memory, clock=self.clock)


def test_a_node_that_runs_what_it_should_is_sent_nothing() -> None:
    case = Case()
    case.node.running = NEW.hash
    report = case.settle(Desired(7, NEW))
    assert report == NodeReport(
        url="http://node",
        state=NodeState.CURRENT,
        hash=NEW.hash,
        revision=7,
        policy_hash=NEW.policy_hash,
    )
    assert case.node.posts == []


def test_a_node_that_runs_something_else_is_sent_the_text_once() -> None:
    case = Case()
    report = case.settle(Desired(7, NEW, OLD))
    assert (report.state, report.posted, report.error) == (NodeState.CURRENT, True, None)
    assert case.settle(Desired(7, NEW, OLD)).posted is False
    assert case.node.posts == [NEW.text]


def test_a_node_that_refuses_runs_the_last_good_policy_and_says_why() -> None:
    case = Case("new")
    report = case.settle(Desired(7, NEW, OLD))
    assert (report.state, report.hash, report.revision) == (NodeState.FALLBACK, OLD.hash, 7)
    assert report.error == "refused with 400: not this"
    assert report.policy_hash == OLD.policy_hash
    assert case.settle(Desired(7, NEW, OLD)).error == "refused with 400: not this"
    assert case.node.posts == [NEW.text, OLD.text]


def test_a_change_of_keys_does_not_try_a_refused_policy_again() -> None:
    case = Case("new")
    case.settle(Desired(7, NEW, OLD))
    new, old = Candidate("new, fewer keys", NEW.policy), Candidate("old, fewer keys", OLD.policy)
    report = case.settle(Desired(8, new, old))
    assert (report.state, report.hash, report.revision) == (NodeState.FALLBACK, old.hash, 8)
    assert case.node.posts == [NEW.text, OLD.text, old.text]


def test_another_policy_is_tried_at_once() -> None:
    case = Case("new")
    case.settle(Desired(7, NEW, OLD))
    mended = Candidate("mended policy, keys of now", "mended policy")
    assert case.settle(Desired(7, mended, OLD)).state is NodeState.CURRENT


@pytest.mark.parametrize(("status", "wait"), [(400, RETRY_REFUSED), (500, RETRY_FAILED)])
def test_a_refused_policy_is_tried_again_after_a_while(status: int, wait: float) -> None:
    case = Case("new", status=status)
    case.settle(Desired(7, NEW, OLD))
    case.node.refused = ()
    case.clock.now += wait - 1
    assert case.settle(Desired(7, NEW, OLD)).state is NodeState.FALLBACK
    case.clock.now += 1
    assert case.settle(Desired(7, NEW, OLD)).state is NodeState.CURRENT


def test_a_node_that_restarted_is_tried_again_at_once() -> None:
    case = Case("new")
    case.settle(Desired(7, NEW, OLD))
    case.node.refused, case.node.running = (), None
    assert case.settle(Desired(7, NEW, OLD)).state is NodeState.CURRENT


def test_a_node_that_refuses_everything_is_not_asked_at_every_look() -> None:
    case = Case("new", "old")
    for _ in range(5):
        report = case.settle(Desired(7, NEW, OLD))
        assert (report.state, report.revision) == (NodeState.REFUSING, None)
        assert report.error == "refused with 400: not this"
    assert case.node.posts == [NEW.text, OLD.text]


def test_without_another_policy_a_change_of_keys_is_tried() -> None:
    case = Case("more")
    case.settle(Desired(7, Candidate("new, more keys", "new")))
    assert case.settle(Desired(8, Candidate("new, fewer keys", "new"))).state is NodeState.CURRENT


def test_a_node_without_answer_is_away() -> None:
    case = Case()
    case.node.is_away = True
    report = case.settle(Desired(7, NEW))
    assert (report.state, report.hash, report.error) == (NodeState.AWAY, None, "no answer")


def test_a_node_that_says_yes_and_does_nothing_is_not_current() -> None:
    case = Case()
    case.node.keeps = True
    case.clock = FastClock()
    report = case.settle(Desired(7, NEW, OLD))
    assert (report.state, report.error) == (NodeState.REFUSING, "took the text but runs None")
    assert case.node.posts == [NEW.text], "it did not refuse, so it is not sent another"


class FastClock(Clock):
    """A second at each look."""

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_with_nothing_to_send_a_node_is_left_alone_and_that_is_told() -> None:
    case = Case()
    report = case.settle(Desired(7, None, policy_error="kong.yml:3: wrong"))
    assert (report.state, report.error) == (NodeState.REFUSING, "kong.yml:3: wrong")
    assert case.node.posts == []


def test_who_may_no_longer_post_does_not() -> None:
    case = Case()
    with pytest.raises(StoodDownError):
        settle(case.node, Desired(7, NEW), Memory(), clock=case.clock, may_post=lambda: False)
    assert case.node.posts == []
