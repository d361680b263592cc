"""Publisher: have every node run a change now; by the admin service if one runs, else from here."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow

from services.admin.gateway import store
from services.admin.gateway.desired import DesiredReader, read_policy
from services.admin.gateway.nodes import NodeClient
from services.admin.gateway.publish import (
    Desired,
    Memory,
    NodeReport,
    NodeState,
    settle,
    text_hash,
)
from services.admin.gateway.reconciler import LOOK_EVERY, accepted_policy
from services.admin.gateway.store import NodeRow, Publisher
from services.admin.settings import AdminSettings
from services.core.database import Connect
from services.core.encryption import SecretBox
from services.policy.render import PolicyError

# Seconds to wait for the admin service: it renders 10,000 partners in 2 and posts them in 5, and
# may be at it when the change comes.
WAIT = 15.0
# Seconds that the service's own answers wait: what is reached runs a change within 5 (A2).
ANSWER_WITHIN = 6.0
POLL = 0.05  # seconds
POLL_MOST = 0.4  # seconds, when it takes longer
LOOKED_AGAIN = timedelta(seconds=LOOK_EVERY)  # by then the admin service has read its file anew
RUNNING = (NodeState.CURRENT, NodeState.FALLBACK)


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a publish."""

    nodes: list[NodeReport]  # none: no node is configured
    policy_error: str | None = None  # why kong.yml was not sent; changes of keys were all the same
    nothing_sent: bool = False  # there is no good kong.yml at all
    note: str | None = None  # something that its reader may not expect

    @property
    def is_complete(self) -> bool:
        """Whether every node runs kong.yml with the partners and keys of now."""
        return self.policy_error is None and all(node.error is None for node in self.nodes)

    def notes(self) -> list[str]:
        """Return lines for people about what they may not expect."""
        lines = [] if self.note is None else [f"Note: {self.note}"]
        if self.policy_error is not None:
            sent = "nothing" if self.nothing_sent else "the last good one with the keys of now"
            lines += [f"kong.yml was not sent, but {sent}:", self.policy_error]
        return lines


def publish_change(
    connection: Connection[TupleRow],
    settings: AdminSettings,
    box: SecretBox,
    *,
    within: float = WAIT,
) -> Published:
    """Have every configured node run the partners and keys of now; return what each does.

    The change must be committed and the connection in autocommit mode. Waits `within` seconds at
    most for another admin that publishes.
    """
    if not settings.nodes:
        return Published(nodes=[])
    wish = _wish(connection, settings)
    deadline = time.monotonic() + within
    while not store.try_lock(connection):
        is_done = _is_done(connection, settings.nodes, wish)
        if is_done or time.monotonic() > deadline:
            return _from_rows(connection, settings, wish)
        time.sleep(POLL)
    try:
        return publish_alone(connection, settings, box)
    finally:
        store.unlock(connection)


async def await_publish(
    connect: Connect, settings: AdminSettings, *, within: float = ANSWER_WITHIN
) -> Published:
    """Wait until an admin service has sent every node the partners and keys of now.

    Returns what each node does, after `within` seconds at the latest. Between two looks at the
    database it holds no connection and no thread: a node may hang while many changes wait.
    """
    if not settings.nodes:
        return Published(nodes=[])
    wish = await asyncio.to_thread(_ask, connect, settings)
    deadline = time.monotonic() + within
    pause = POLL
    while True:
        is_over = time.monotonic() > deadline
        published = await asyncio.to_thread(_look, connect, settings, wish, is_over=is_over)
        if published is not None:
            return published
        await asyncio.sleep(pause)
        pause = min(2 * pause, POLL_MOST)


def _ask(connect: Connect, settings: AdminSettings) -> "_Wish":
    with connect() as connection:
        return _wish(connection, settings)


def _look(
    connect: Connect, settings: AdminSettings, wish: "_Wish", *, is_over: bool
) -> Published | None:
    """Return what each node does if all were tried, or if the time is over."""
    with connect() as connection:
        if is_over or _is_done(connection, settings.nodes, wish):
            return _from_rows(connection, settings, wish)
    return None


def publish_alone(
    connection: Connection[TupleRow], settings: AdminSettings, box: SecretBox
) -> Published:
    """Look at all nodes once, and send them what they lack; the caller holds the lock."""
    nodes = settings.nodes
    desired = DesiredReader(settings.gateway_policy, settings.addresses, box).read(connection)
    reports = settle_all(nodes, desired)
    store.forget_other_nodes(connection, nodes)
    store.write_nodes(connection, [(report, 0.0) for report in reports])
    accepted = accepted_policy(desired, nodes, {report.url: report for report in reports})
    if accepted is not None:
        store.write_accepted(connection, accepted)
    return Published(
        nodes=reports, policy_error=desired.policy_error, nothing_sent=desired.wanted is None
    )


def settle_all(nodes: Sequence[str], desired: Desired) -> list[NodeReport]:
    """Settle all nodes at once, so that one that is away holds up no other."""
    if not nodes:
        return []
    with ThreadPoolExecutor(max_workers=len(nodes)) as threads:
        return list(threads.map(_settle_once, nodes, itertools.repeat(desired)))


def _settle_once(url: str, desired: Desired) -> NodeReport:
    with NodeClient(url) as node:
        return settle(node, desired, Memory(), clock=time.monotonic)


class _Wish(msgspec.Struct, frozen=True):
    """What a command waits for."""

    revision: int
    policy_hash: str | None  # of the kong.yml that this process reads; None: it can't
    asked_at: datetime  # by PostgreSQL's clock, like all that it is compared with


def _wish(connection: Connection[TupleRow], settings: AdminSettings) -> _Wish:
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None  # noqa: S101 -- a SELECT without FROM has one row
    policy_hash = None
    with contextlib.suppress(PolicyError):
        policy_hash = text_hash(read_policy(settings.gateway_policy))
    return _Wish(store.read_version(connection).revision, policy_hash, row[0])


def _is_done(connection: Connection[TupleRow], nodes: Sequence[str], wish: _Wish) -> bool:
    """Say whether the admin service has done for each node what it can."""
    publisher = store.read_publisher(connection)
    if publisher is None or publisher.seen_at < wish.asked_at:
        return False
    is_mine = publisher.policy_hash == wish.policy_hash
    if not is_mine and publisher.seen_at < wish.asked_at + LOOKED_AGAIN:
        return False  # it may not have read the file since it was changed
    rows = store.read_nodes(connection, nodes)
    is_settled = publisher.seen_at > wish.asked_at + LOOKED_AGAIN
    return all(
        _has_tried(rows[node], publisher, wish) if node in rows else is_settled for node in nodes
    )


def _has_tried(row: NodeRow, publisher: Publisher, wish: _Wish) -> bool:
    if row.state in RUNNING:
        is_wanted = row.state is NodeState.FALLBACK or row.hash == publisher.text_hash
        return is_wanted and (row.revision or 0) >= wish.revision
    return row.seen_at > wish.asked_at


def _from_rows(connection: Connection[TupleRow], settings: AdminSettings, wish: _Wish) -> Published:
    rows = store.read_nodes(connection, settings.nodes)
    publisher = store.read_publisher(connection)
    note = None
    if publisher and not publisher.policy_error and publisher.policy_hash != wish.policy_hash:
        note = (
            f"the admin service ({publisher.name}) publishes another kong.yml than"
            f" {settings.gateway_policy} here"
        )
    return Published(
        nodes=[_as_report(node, rows.get(node), wish) for node in settings.nodes],
        policy_error=publisher.policy_error if publisher else None,
        nothing_sent=publisher is not None and publisher.text_hash is None,
        note=note,
    )


def _as_report(url: str, row: NodeRow | None, wish: _Wish) -> NodeReport:
    if row is None:
        error = "the admin service does not know this node: compare its KONG_ADMIN_URLS with yours"
        return NodeReport(url=url, state=NodeState.AWAY, error=error)
    error = row.error
    if row.state in RUNNING and (row.revision or 0) < wish.revision:
        error = "does not run this change yet; see `partnerapi gateway status`"
    return NodeReport(url=url, state=row.state, hash=row.hash, revision=row.revision, error=error)
