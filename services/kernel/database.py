"""Kernel: pools of connections to PostgreSQL."""

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]

ACQUIRE_TIMEOUT = 2.0  # seconds a request may wait for a connection; the gateway gives up after 2
STATEMENT_TIMEOUT_MS = 2_000  # no statement of a request is worth more time than the gateway gives


def make_pool(url: str, *, name: str, size: int, statement_timeout_ms: int) -> Pool:
    """Return a closed pool of at most `size` connections; its owner opens and closes it."""
    options = f"-c statement_timeout={statement_timeout_ms} -c application_name={name}"
    return AsyncConnectionPool(
        url,
        connection_class=AsyncConnection[TupleRow],
        name=name,
        min_size=1,
        max_size=size,
        open=False,
        timeout=ACQUIRE_TIMEOUT,
        kwargs={"autocommit": True, "options": options, "connect_timeout": 2},
    )
