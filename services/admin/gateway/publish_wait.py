"""Publish wait: wait until the reconciler has sent every node a change that is committed."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
import structlog
from psycopg import Connection
from psycopg.rows import TupleRow

from services.admin.gateway import store
from services.admin.gateway.desired import read_policy
from services.admin.gateway.node_sync import NodeReport, NodeState, text_hash
from services.admin.gateway.reconciler import LOOK_EVERY
from services.admin.gateway.store import NodeRow, Publisher
from services.admin.settings import AdminSettings
from services.core.database import Connect
from services.policy.render import PolicyError

ANSWER_WITHIN = 6.0  # seconds; a node that can be reached runs a change within 5 (A2)
POLL = 0.05  # seconds
POLL_MOST = 0.4  # seconds, when it takes longer
LOOKED_AGAIN = timedelta(seconds=LOOK_EVERY)  # by then the reconciler has read its file anew
RUNNING = (NodeState.CURRENT, NodeState.FALLBACK)

log = structlog.get_logger()


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway's nodes run after a publish."""

    nodes: list[NodeReport]  # none: no node is configured
    policy_error: str | None = None  # why kong.yml was not sent; changes of keys were all the same
    nothing_sent: bool = False  # there is no good kong.yml at all
    note: str | None = None  # something that its reader may not expect

    @property
    def is_complete(self) -> bool:
        """Whether every node runs kong.yml with the partners and keys of now."""
        return self.policy_error is None and all(node.error is None for node in self.nodes)


async def reports_after_change(connect: Connect, settings: AdminSettings) -> list[NodeReport]:
    """Wait for the publish of a change; return what each node does. Raises nothing.

    The change is committed. A key that was just made is shown once, in the answer to the call that
    made it, so nothing that goes wrong here may turn that answer into an error.
    """
    try:
        published = await await_publish(connect, settings, with_policy=False)
    except Exception as exc:
        log.exception("gateway.publish_failed")
        return _not_published(settings, str(exc) or type(exc).__name__)
    if published.nothing_sent:
        return _not_published(settings, published.policy_error or "there is nothing to send")
    return published.nodes


def _not_published(settings: AdminSettings, words: str) -> list[NodeReport]:
    error = f"not published yet: {words}"
    return [NodeReport(url=url, state=NodeState.REFUSING, error=error) for url in settings.nodes]


async def await_publish(
    connect: Connect,
    settings: AdminSettings,
    *,
    with_policy: bool = True,
    within: float = ANSWER_WITHIN,
) -> Published:
    """Wait until the reconciler has sent every node the partners and keys of now.

    `with_policy` is false for a change, which does not wait for a kong.yml that was just saved.
    Returns what each node does, after `within` seconds at the latest. Between two looks at the
    database it holds no connection and no thread: a node may hang while many changes wait.
    """
    if not settings.nodes:
        return Published(nodes=[])
    target = await asyncio.to_thread(_find_target, connect, settings, with_policy)
    deadline = time.monotonic() + within
    pause = POLL
    while True:
        is_over = time.monotonic() > deadline
        published = await asyncio.to_thread(_look, connect, settings, target, is_over=is_over)
        if published is not None:
            return published
        await asyncio.sleep(pause)
        pause = min(2 * pause, POLL_MOST)


class PublishTarget(msgspec.Struct, frozen=True):
    """What nodes have to run before a publish is done."""

    revision: int
    policy_hash: str | None  # of the kong.yml that this process reads; None: it can't
    asked_at: datetime  # by PostgreSQL's clock, like all that it is compared with
    with_policy: bool = False  # done when nodes run the kong.yml of now, too

    @property
    def tried_after(self) -> datetime:
        """When a look at a node is one with what is wanted: a file is read at the next look."""
        return self.asked_at + 2 * LOOKED_AGAIN if self.with_policy else self.asked_at


class Observed(NamedTuple):
    """What the database says of the reconciler and of its nodes."""

    publisher: Publisher | None
    rows: dict[str, NodeRow]


def observe(connection: Connection[TupleRow], nodes: Sequence[str]) -> Observed:
    """Return what the reconciler last wrote."""
    return Observed(store.read_publisher(connection), store.read_nodes(connection, nodes))


def publish_target(
    connection: Connection[TupleRow],
    settings: AdminSettings,
    asked_at: datetime | None = None,
    *,
    with_policy: bool = False,
) -> PublishTarget:
    """Return the target of now; what the reconciler did before `asked_at` does not count."""
    policy_hash = None
    with contextlib.suppress(PolicyError):
        policy_hash = text_hash(read_policy(settings.gateway_policy))
    revision = store.read_version(connection).revision
    asked_at = asked_at or store.read_clock(connection)
    return PublishTarget(revision, policy_hash, asked_at, with_policy)


def _find_target(
    connect: Connect,
    settings: AdminSettings,
    with_policy: bool,
) -> PublishTarget:
    with connect() as connection:
        return publish_target(connection, settings, with_policy=with_policy)


def _look(
    connect: Connect, settings: AdminSettings, target: PublishTarget, *, is_over: bool
) -> Published | None:
    """Return what each node does if all were tried, or if the time is over."""
    with connect() as connection:
        observed = observe(connection, settings.nodes)
    if is_over or is_published(observed, settings.nodes, target):
        return published_of(observed, settings, target)
    return None


def is_published(observed: Observed, nodes: Sequence[str], target: PublishTarget) -> bool:
    """Say whether the reconciler has done for each node what it can."""
    publisher, rows = observed
    if publisher is None or publisher.seen_at < target.asked_at:
        return False
    is_mine = publisher.policy_hash == target.policy_hash
    if not is_mine and publisher.seen_at < target.asked_at + LOOKED_AGAIN:
        return False  # it may not have read the file since it was changed
    is_settled = publisher.seen_at > target.asked_at + LOOKED_AGAIN
    return all(
        _has_tried(rows[node], publisher, target) if node in rows else is_settled for node in nodes
    )


def _has_tried(row: NodeRow, publisher: Publisher, target: PublishTarget) -> bool:
    if row.state in RUNNING and (row.revision or 0) < target.revision:
        return False
    if row.state is NodeState.CURRENT:
        return row.hash == publisher.text_hash
    return row.seen_at > target.tried_after


def published_of(observed: Observed, settings: AdminSettings, target: PublishTarget) -> Published:
    """Return what the reconciler last saw of each node."""
    publisher, rows = observed
    note = None
    if publisher and not publisher.policy_error and publisher.policy_hash != target.policy_hash:
        note = (
            f"the admin service ({publisher.name}) publishes another kong.yml than"
            f" {settings.gateway_policy} here"
        )
    return Published(
        nodes=[_as_report(node, rows.get(node), publisher, target) for node in settings.nodes],
        policy_error=publisher.policy_error if publisher else None,
        nothing_sent=publisher is not None and publisher.text_hash is None,
        note=note,
    )


def _as_report(
    url: str, row: NodeRow | None, publisher: Publisher | None, target: PublishTarget
) -> NodeReport:
    if row is None:
        error = "the admin service does not know this node: compare its KONG_ADMIN_URLS with yours"
        return NodeReport(url=url, state=NodeState.AWAY, error=error)
    error = row.error
    if row.state in RUNNING and (row.revision or 0) < target.revision:
        error = "does not run this change yet; see `partnerapi gateway status`"
    elif target.with_policy and row.state is NodeState.CURRENT and _is_old(row, publisher, target):
        error = "does not run the kong.yml of now yet; see `partnerapi gateway status`"
    return NodeReport(url=url, state=row.state, hash=row.hash, revision=row.revision, error=error)


def _is_old(row: NodeRow, publisher: Publisher | None, target: PublishTarget) -> bool:
    """Say whether a node may run an older text, though its partners and keys are those of now."""
    if publisher is None or publisher.seen_at < target.asked_at:
        return True
    return row.hash != publisher.text_hash
