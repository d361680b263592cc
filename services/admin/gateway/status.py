"""Status: what every configured node runs, and whether that is what it should."""

from datetime import datetime

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow

from services.admin.gateway import store
from services.admin.gateway.node_sync import NodeState
from services.admin.gateway.store import NodeRow, Publisher
from services.admin.settings import AdminSettings

# Seconds without a word after which no admin service is taken to run; one that renders 10,000
# partners twice is silent for 4.
SILENT = 15.0

OUTDATED = "outdated"  # it runs something else, and nothing is known against it
UNKNOWN = "unknown"  # nobody has looked at it yet


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A node of the gateway."""

    url: str
    state: str  # current, fallback, refusing or away; or outdated, unknown
    hash: str | None = None  # configuration_hash of what it runs
    revision: int | None = None  # of the partners and keys that it runs
    error: str | None = None
    since: datetime | None = None  # in this state
    seen_at: datetime | None = None
    age_seconds: float | None = None  # since it was last looked at


class PublisherStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The admin service that publishes."""

    name: str
    age_seconds: float  # since it last looked
    revision: int
    text_hash: str | None  # of what it sends
    policy_hash: str | None  # of the kong.yml in it


class GatewayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway, as HTTP and `gateway status` show it."""

    current: bool  # every node runs kong.yml with the partners and keys of now
    revision: int  # of the partners and keys of now
    policy_error: str | None  # why kong.yml is not what is sent
    publisher: PublisherStatus | None  # None: no admin service runs
    nodes: list[NodeStatus]


def read_status(connection: Connection[TupleRow], settings: AdminSettings) -> GatewayStatus:
    """Return what the admin service last saw; asks no node."""
    revision = store.read_version(connection).revision
    publisher = store.read_publisher(connection)
    rows = store.read_nodes(connection, settings.nodes)
    if publisher is not None and publisher.age > SILENT:
        publisher = None
    nodes = [_node_status(url, rows.get(url), revision, publisher) for url in settings.nodes]
    policy_error = publisher.policy_error if publisher else None
    are_current = all(node.state == NodeState.CURRENT for node in nodes)
    return GatewayStatus(
        current=bool(nodes) and are_current and policy_error is None,
        revision=revision,
        policy_error=policy_error,
        publisher=publisher and _publisher_status(publisher),
        nodes=nodes,
    )


def _publisher_status(publisher: Publisher) -> PublisherStatus:
    return PublisherStatus(
        name=publisher.name,
        age_seconds=publisher.age,
        revision=publisher.revision,
        text_hash=publisher.text_hash,
        policy_hash=publisher.policy_hash,
    )


def _node_status(
    url: str, row: NodeRow | None, revision: int, publisher: Publisher | None
) -> NodeStatus:
    if row is None:
        return NodeStatus(url=url, state=UNKNOWN, error="no admin service has looked at it")
    is_behind = (row.revision or 0) < revision or (
        publisher is not None and row.hash != publisher.text_hash
    )
    is_outdated = row.state is NodeState.CURRENT and is_behind
    return NodeStatus(
        url=url,
        state=OUTDATED if is_outdated else str(row.state),
        hash=row.hash,
        revision=row.revision,
        error=row.error,
        since=row.since,
        seen_at=row.seen_at,
        age_seconds=row.age,
    )
