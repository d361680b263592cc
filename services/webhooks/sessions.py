"""Sessions: a program's own connection to PostgreSQL, opened again whenever it is lost."""

import time
from collections.abc import Callable
from threading import Event

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from services.core.availability import Availability
from services.core.background import note_failure
from services.core.database import connection_options
from services.core.environments import Environment

Session = Connection[TupleRow]

BACKOFF_FIRST, BACKOFF_MOST = 0.1, 2.0  # seconds between attempts to connect
STATEMENT_TIMEOUT = 30_000  # milliseconds; a batch takes 50
# Milliseconds; a program that was stopped in mid-transaction gives its rows free for others.
IDLE_TRANSACTION_TIMEOUT = 10_000


def connect(database_url: str, name: str, environment: Environment) -> Session:
    """Return a connection in autocommit; `name` is what pg_stat_activity shows."""
    options = connection_options(
        name,
        environment,
        statement_timeout=STATEMENT_TIMEOUT,
        idle_in_transaction_session_timeout=IDLE_TRANSACTION_TIMEOUT,
    )
    return psycopg.connect(database_url, **options)


def run_in_sessions(
    database_url: str,
    program: str,
    environment: Environment,
    *,
    stop: Event,
    step: Callable[[Session], None],
    begin: Callable[[Session], None] = lambda _session: None,
) -> None:
    """Call `step` again and again until `stop`; whatever fails, connect anew and go on.

    `begin` is called once for each connection. Neither may leave a transaction open.
    """
    name = f"{environment} {program}"
    database = Availability("database", clock=time.monotonic)
    backoff = BACKOFF_FIRST
    while not stop.is_set():
        try:
            with connect(database_url, name, environment) as session:
                begin(session)
                while not stop.is_set():
                    step(session)
                    database.succeeded()
                    backoff = BACKOFF_FIRST
        except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as exc:
            database.failed(exc)
        except Exception:  # noqa: BLE001 -- a program that ended would leave its work
            note_failure("program.failed", program=name)
        stop.wait(backoff)
        backoff = min(backoff * 2, BACKOFF_MOST)
