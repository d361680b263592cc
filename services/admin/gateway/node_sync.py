"""Node sync: looks what one node runs, and sends it what it should run."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Protocol

import msgspec

from services.admin.gateway.nodes import AwayError, RefusedTextError

VERIFY_WITHIN = 5.0  # seconds from a node's 201 to its new configuration_hash
VERIFY_POLL = 0.02  # seconds
# Seconds until a refused text is tried again: the node may have got the plugin that it lacked.
RETRY_REFUSED = 60.0
RETRY_FAILED = 5.0  # the same after a 5xx, which may have had nothing to do with the text


class StoodDownError(Exception):
    """A text was to be posted, but this process may no longer; somebody else publishes."""


class _UnverifiedError(Exception):
    """The node took a text and runs another."""


def text_hash(text: str) -> str:
    """Return Kong's configuration_hash of a text that was posted as text (KONG.md)."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class NodeState(StrEnum):
    """What a node does; the words of control.gateway_nodes."""

    CURRENT = "current"
    FALLBACK = "fallback"
    REFUSING = "refusing"
    AWAY = "away"


class NodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one node runs; `error` is None when that is what it should."""

    url: str
    state: NodeState
    hash: str | None = None  # as far as it says
    revision: int | None = None  # of the partners and keys that it runs; None: not ours
    error: str | None = None
    policy_hash: str | None = None  # of the kong.yml that it runs
    posted: bool = False  # it took a text just now


@dataclass(frozen=True)
class Candidate:
    """A text that a node may run: a kong.yml with the partners and keys of now."""

    text: str = field(repr=False)  # it holds keys
    policy: str = field(repr=False)  # the kong.yml

    @cached_property
    def hash(self) -> str:
        """What a node that runs it tells as its configuration_hash."""
        return text_hash(self.text)

    @cached_property
    def policy_hash(self) -> str:
        """What tells this kong.yml from others."""
        return text_hash(self.policy)


@dataclass(frozen=True)
class Desired:
    """What every node should run."""

    revision: int  # of the partners and keys in it
    wanted: Candidate | None  # None: there is nothing sound to send
    fallback: Candidate | None = None  # for a node that refuses `wanted`; None: the same
    policy_error: str | None = None  # why the kong.yml on disk is not what is wanted
    accepted: str | None = field(default=None, repr=False)  # the last kong.yml every node took

    @property
    def candidates(self) -> list[Candidate]:
        """The texts, best first."""
        return [each for each in (self.wanted, self.fallback) if each is not None]


class Node(Protocol):
    """What `settle` asks of a node."""

    url: str

    def running_hash(self) -> str | None: ...
    def post(self, text: str) -> None: ...


@dataclass
class Memory:
    """What one node refused, so that it is not sent the same again at every look."""

    seen: str | None = None  # what it ran at the last look
    refused: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])

    def look(self, running: str | None, desired: Desired, now: float) -> None:
        """Forget refusals that no longer say anything."""
        if running != self.seen:  # it restarted, or somebody else gave it something
            self.refused.clear()
        self.seen = running
        names = {_refusal_name(each, desired) for each in desired.candidates}
        self.refused = {
            name: (words, until)
            for name, (words, until) in self.refused.items()
            if name in names and until > now
        }


def settle(
    node: Node,
    desired: Desired,
    memory: Memory,
    *,
    clock: Callable[[], float],
    may_post: Callable[[], bool] = lambda: True,
) -> NodeReport:
    """Look what a node runs and have it run what is desired, or else the fallback.

    `may_post` is asked right before each post. `clock` tells seconds of any origin. Raises
    StoodDownError.
    """

    def post(candidate: Candidate, name: str) -> str | None:
        if not may_post():
            raise StoodDownError
        return _post(node, candidate, memory, name, clock)

    try:
        running = node.running_hash()
        memory.look(running, desired, clock())
        return _settle(node, running, desired, memory, post)
    except AwayError as exc:
        return NodeReport(url=node.url, state=NodeState.AWAY, error=str(exc))
    except _UnverifiedError as exc:  # seen again at the next look
        return NodeReport(
            url=node.url, state=NodeState.REFUSING, hash=memory.seen, error=str(exc), posted=True
        )


def _settle(
    node: Node,
    running: str | None,
    desired: Desired,
    memory: Memory,
    post: Callable[[Candidate, str], str | None],
) -> NodeReport:
    error = None if desired.wanted else desired.policy_error or "there is nothing to send"
    for candidate in desired.candidates:
        name = _refusal_name(candidate, desired)
        refused = memory.refused.get(name, (None, 0.0))[0]
        if candidate.hash == running:
            return _runs(node, candidate, desired, error, posted=False)
        if refused is None:
            refused = post(candidate, name)
            if refused is None:
                return _runs(node, candidate, desired, error, posted=True)
        error = error or refused
    return NodeReport(url=node.url, state=NodeState.REFUSING, hash=running, error=error)


def _refusal_name(candidate: Candidate, desired: Desired) -> str:
    """Return what a refusal is remembered by.

    A kong.yml that was refused is not tried again with each change of a key while there is another
    to send the change with: a refusal of 10,000 partners costs the node seconds.
    """
    return candidate.policy_hash if candidate is not desired.candidates[-1] else candidate.hash


def _runs(
    node: Node, candidate: Candidate, desired: Desired, error: str | None, *, posted: bool
) -> NodeReport:
    is_wanted = candidate is desired.wanted
    return NodeReport(
        url=node.url,
        state=NodeState.CURRENT if is_wanted else NodeState.FALLBACK,
        hash=candidate.hash,
        revision=desired.revision,
        error=None if is_wanted else error,
        policy_hash=candidate.policy_hash,
        posted=posted,
    )


def _post(
    node: Node, candidate: Candidate, memory: Memory, name: str, clock: Callable[[], float]
) -> str | None:
    """Post a text and see that the node runs it; return its words if it refuses."""
    try:
        node.post(candidate.text)
    except RefusedTextError as exc:
        wait = RETRY_FAILED if exc.status >= 500 else RETRY_REFUSED
        memory.refused[name] = (str(exc), clock() + wait)
        return str(exc)
    memory.seen = running = _verify(node, candidate.hash, clock)
    if running != candidate.hash:
        msg = f"took the text but runs {running}"
        raise _UnverifiedError(msg)
    return None


def _verify(node: Node, wanted: str, clock: Callable[[], float]) -> str | None:
    deadline = clock() + VERIFY_WITHIN
    while True:
        running = node.running_hash()
        if running == wanted or clock() > deadline:
            return running
        time.sleep(VERIFY_POLL)
