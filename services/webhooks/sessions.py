"""Sessions: a program's own connection to PostgreSQL, opened again whenever it is lost."""

import time
from collections.abc import Callable
from threading import Event

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from services.core.availability import Availability
from services.core.background import note_failure
from services.core.database import KEEPALIVE

Session = Connection[TupleRow]

BACKOFF_FIRST, BACKOFF_MOST = 0.1, 2.0  # seconds between attempts to connect
STATEMENT_TIMEOUT = 30_000  # milliseconds; a batch takes 50
# Milliseconds; a program that was stopped in mid-transaction gives its rows free for others.
IDLE_TRANSACTION_TIMEOUT = 10_000

OPTIONS = (
    f"-c statement_timeout={STATEMENT_TIMEOUT}"
    f" -c idle_in_transaction_session_timeout={IDLE_TRANSACTION_TIMEOUT}"
)


def connect(database_url: str, name: str) -> Session:
    """Return a connection in autocommit, named for whoever looks at pg_stat_activity."""
    return psycopg.connect(
        database_url,
        autocommit=True,
        connect_timeout=2,
        application_name=name,
        options=OPTIONS,
        **KEEPALIVE,
    )


def run_in_sessions(
    database_url: str,
    name: str,
    *,
    stop: Event,
    step: Callable[[Session], None],
    begin: Callable[[Session], None] = lambda _session: None,
) -> None:
    """Call `step` again and again until `stop`; whatever fails, connect anew and go on.

    `begin` is called once for each connection. Neither may leave a transaction open.
    """
    database = Availability("database", clock=time.monotonic)
    backoff = BACKOFF_FIRST
    while not stop.is_set():
        try:
            with connect(database_url, name) as session:
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
