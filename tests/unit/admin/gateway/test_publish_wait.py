"""When a publish is over: what the reconciler said of a node, and when it looked."""

from datetime import UTC, datetime, timedelta

import pytest

from services.admin.gateway.node_sync import NodeState
from services.admin.gateway.publish_wait import Observed, PublishTarget, is_published
from services.admin.gateway.store import NodeRow, Publisher

ASKED_AT = datetime(2026, 11, 27, 12, tzinfo=UTC)
NODE = "http://node"


def observed(state: NodeState, seconds: float, *, revision: int = 7, text: str = "new") -> Observed:
    """Return what is seen when the look at the node was so many seconds after the call."""
    seen_at = ASKED_AT + timedelta(seconds=seconds)
    publisher = Publisher("a test", ASKED_AT + timedelta(seconds=5), 0.0, 7, "new", "policy", None)
    return Observed(
        publisher, {NODE: NodeRow(NODE, state, text, revision, "", seen_at, seen_at, 0.0)}
    )


@pytest.mark.parametrize("state", [NodeState.REFUSING, NodeState.FALLBACK, NodeState.AWAY])
def test_a_verdict_on_the_file_before_does_not_count_for_a_publish(state: NodeState) -> None:
    publish = PublishTarget(7, "policy", ASKED_AT, with_policy=True)
    change = PublishTarget(7, "policy", ASKED_AT)
    for target, counts_from in ((publish, 2.0), (change, 0.0)):
        for seconds in (-0.5, 0.5, 2.5):
            is_over = is_published(observed(state, seconds), [NODE], target)
            assert is_over == (seconds > counts_from)


@pytest.mark.parametrize("state", [NodeState.CURRENT, NodeState.FALLBACK])
def test_a_node_without_the_change_is_waited_for(state: NodeState) -> None:
    target = PublishTarget(7, "policy", ASKED_AT)
    assert not is_published(observed(state, 2.5, revision=6), [NODE], target)


def test_a_node_that_runs_what_is_wanted_needs_no_further_look() -> None:
    target = PublishTarget(7, "policy", ASKED_AT, with_policy=True)
    assert is_published(observed(NodeState.CURRENT, -0.5), [NODE], target)
    assert not is_published(observed(NodeState.CURRENT, -0.5, text="old"), [NODE], target)
