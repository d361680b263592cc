"""Kernel: pools of connections to PostgreSQL."""

import logging
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]
ThreadPool = ConnectionPool[Connection[TupleRow]]

ACQUIRE_TIMEOUT = 2.0  # seconds a request may wait for a connection; the gateway gives up after 2
RECONNECT_TIMEOUT = 0.3  # seconds; the pool's 300 would double its pauses to a minute and more
STATEMENT_TIMEOUT_MS = 2_000  # no statement of a request is worth more time than the gateway gives

# libpq's settings: a server that is gone without a word is noticed after about 10 s.
KEEPALIVE: dict[str, Any] = {
    "keepalives_idle": 5,  # seconds
    "keepalives_interval": 2,  # seconds
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,  # milliseconds
}

# The pool warns at every attempt to connect; its users log once that the database is away.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def make_pool(url: str, *, name: str, size: int, statement_timeout_ms: int) -> Pool:
    """Return a closed pool of at most `size` connections; its owner opens and closes it."""
    options = _options(name, size, statement_timeout_ms)
    return AsyncConnectionPool(url, connection_class=AsyncConnection[TupleRow], **options)


def make_thread_pool(url: str, *, name: str, size: int, statement_timeout_ms: int) -> ThreadPool:
    """Return the same for threads."""
    options = _options(name, size, statement_timeout_ms)
    return ConnectionPool(url, connection_class=Connection[TupleRow], **options)


def _options(name: str, size: int, statement_timeout_ms: int) -> dict[str, Any]:
    return {
        "name": name,
        "min_size": 1,
        "max_size": size,
        "open": False,
        "timeout": ACQUIRE_TIMEOUT,
        # A connection that fails is given up soon; the next request makes the pool try again.
        "reconnect_timeout": RECONNECT_TIMEOUT,
        "kwargs": {
            "autocommit": True,
            "application_name": name,  # not among the options, where a space would end it
            "options": f"-c statement_timeout={statement_timeout_ms} -c timezone=UTC",
            "connect_timeout": 2,
            **KEEPALIVE,
        },
    }
