"""Store: the rows of control that say what the gateway should run, and what its nodes do."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow

from services.admin.gateway.node_sync import Desired, NodeReport, NodeState
from services.core.rows import struct_row
from services.schema.locks import PUBLISHING


class Version(msgspec.Struct, frozen=True):
    """What changes whenever the partners and keys of the gateway do."""

    revision: int  # of the last change
    expired_at: datetime | None  # of the key that expired last: nothing is written at that time


READ_VERSION = """
SELECT revision,
    (SELECT max(expires_at) FROM control.api_keys WHERE expires_at <= now()) AS expired_at
FROM control.gateway_revision
"""


def read_version(connection: Connection[TupleRow]) -> Version:
    """Return the version of the partners and keys of now."""
    cursor = connection.cursor(row_factory=struct_row(Version))
    found = cursor.execute(READ_VERSION).fetchone()
    assert found is not None  # noqa: S101 -- the migration's one row
    return found


def read_accepted(connection: Connection[TupleRow]) -> str | None:
    """Return the last kong.yml that every node took."""
    row = connection.execute("SELECT policy FROM control.gateway_policy").fetchone()
    return None if row is None else str(row[0])


WRITE_ACCEPTED = """
INSERT INTO control.gateway_policy (policy) VALUES (%(policy)s)
ON CONFLICT (only_row) DO UPDATE SET policy = excluded.policy, accepted_at = now()
    WHERE gateway_policy.policy <> excluded.policy
"""


def write_accepted(connection: Connection[TupleRow], policy: str) -> None:
    """Keep a kong.yml that every node took."""
    connection.execute(WRITE_ACCEPTED, {"policy": policy})


def try_lock(connection: Connection[TupleRow]) -> bool:
    """Become the publisher for the life of this connection, unless somebody is."""
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", [PUBLISHING]).fetchone()
    return bool(row and row[0])


def read_clock(connection: Connection[TupleRow]) -> datetime:
    """Return PostgreSQL's time."""
    (row,) = connection.execute("SELECT clock_timestamp()").fetchall()
    return row[0]


class NodeRow(msgspec.Struct, frozen=True):
    """A node as the publisher last saw it; `age` and `since` are by PostgreSQL's clock."""

    url: str
    state: NodeState
    hash: str | None
    revision: int | None
    error: str | None
    since: datetime
    seen_at: datetime
    age: float  # seconds since the last look


READ_NODES = """
SELECT url, state, hash, revision, error, since, seen_at,
    extract(epoch FROM clock_timestamp() - seen_at)::float8 AS age
FROM control.gateway_nodes WHERE url = ANY(%(urls)s)
"""


def read_nodes(connection: Connection[TupleRow], urls: Sequence[str]) -> dict[str, NodeRow]:
    """Return the rows of these nodes, as far as there are any."""
    cursor = connection.cursor(row_factory=struct_row(NodeRow))
    rows = cursor.execute(READ_NODES, {"urls": list(urls)}).fetchall()
    return {row.url: row for row in rows}


# `ago` is how many seconds ago the look was: one clock, PostgreSQL's, for all who compare.
WRITE_NODE = """
INSERT INTO control.gateway_nodes (url, state, hash, revision, error, since, seen_at)
SELECT %(url)s, %(state)s, %(hash)s, %(revision)s, %(error)s, at, at
FROM (SELECT clock_timestamp() - make_interval(secs => %(ago)s) AS at) AS look
ON CONFLICT (url) DO UPDATE SET
    state = excluded.state, hash = excluded.hash, revision = excluded.revision,
    error = excluded.error, seen_at = excluded.seen_at,
    since = CASE WHEN gateway_nodes.state = excluded.state
        THEN gateway_nodes.since ELSE excluded.since END
"""


def write_nodes(
    connection: Connection[TupleRow], reports: Iterable[tuple[NodeReport, float]]
) -> None:
    """Store what nodes do; each report comes with how many seconds ago it was made."""
    values: list[dict[str, Any]] = [
        {
            "url": report.url,
            "state": str(report.state),
            "hash": report.hash,
            "revision": report.revision,
            "error": report.error,
            "ago": ago,
        }
        for report, ago in reports
    ]
    if values:
        connection.cursor().executemany(WRITE_NODE, values)


def forget_other_nodes(connection: Connection[TupleRow], urls: Sequence[str]) -> None:
    """Remove the rows of nodes that are no longer configured."""
    statement = "DELETE FROM control.gateway_nodes WHERE url <> ALL(%(urls)s)"
    connection.execute(statement, {"urls": list(urls)})


class Publisher(msgspec.Struct, frozen=True):
    """The admin service that publishes."""

    name: str
    seen_at: datetime
    age: float  # seconds since it last said so
    revision: int
    text_hash: str | None
    policy_hash: str | None
    policy_error: str | None


READ_PUBLISHER = """
SELECT name, seen_at, extract(epoch FROM clock_timestamp() - seen_at)::float8 AS age,
    revision, text_hash, policy_hash, policy_error
FROM control.gateway_publisher
"""


def read_publisher(connection: Connection[TupleRow]) -> Publisher | None:
    """Return the admin service that last published, as it last said."""
    return connection.cursor(row_factory=struct_row(Publisher)).execute(READ_PUBLISHER).fetchone()


WRITE_PUBLISHER = """
INSERT INTO control.gateway_publisher
    (name, seen_at, revision, text_hash, policy_hash, policy_error)
VALUES (%(name)s, clock_timestamp(), %(revision)s, %(text_hash)s, %(policy_hash)s,
    %(policy_error)s)
ON CONFLICT (only_row) DO UPDATE SET
    name = excluded.name, seen_at = excluded.seen_at, revision = excluded.revision,
    text_hash = excluded.text_hash, policy_hash = excluded.policy_hash,
    policy_error = excluded.policy_error
"""


def write_publisher(connection: Connection[TupleRow], name: str, desired: Desired) -> None:
    """Say that this process publishes, and what."""
    wanted = desired.wanted
    values = {
        "name": name,
        "revision": desired.revision,
        "text_hash": wanted.hash if wanted else None,
        "policy_hash": wanted.policy_hash if wanted else None,
        "policy_error": desired.policy_error,
    }
    connection.execute(WRITE_PUBLISHER, values)


def forget_publisher(connection: Connection[TupleRow], name: str) -> None:
    """Say that this process publishes no longer."""
    connection.execute("DELETE FROM control.gateway_publisher WHERE name = %s", [name])
