"""Health: do this process's loops run, and does what they need answer? For the listener.

Answers as the HTTP services do (core/http/health.py), without Litestar, which would take 30 MB.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import psycopg

from services.webhooks.monitoring.loops import Loops
from services.webhooks.queue import Lane, QueueAwayError, Wakeups

CONNECT_WITHIN = 2  # seconds; libpq takes no less
UP, DOWN = "up", "down"


class Health(NamedTuple):
    """What /health/ready answers."""

    status: int
    body: bytes


class ProcessHealth:
    """Looks when asked; every look is a new connection, about 5 ms."""

    def __init__(
        self,
        loops: Loops,
        *,
        database_url: str,
        wakeups: Wakeups,
        leaving: Callable[[], bool],
    ) -> None:
        """`leaving` says that the process is about to end."""
        self._loops = loops
        self._database_url = database_url
        self._wakeups = wakeups
        self._leaving = leaving

    def look(self) -> Health:
        """Return what can be done just now; without Valkey, deliveries are slower, no more."""
        loops = self._loops.running()
        postgresql, valkey = self._postgresql_answers(), self._valkey_answers()
        found = {"postgresql": postgresql, "valkey": valkey, **loops}
        if self._leaving():
            status = "leaving"
        elif not (postgresql and all(loops.values())):
            status = "unavailable"
        else:
            status = "ready" if valkey else "degraded"
        told = {name: UP if is_up else DOWN for name, is_up in found.items()}
        body = msgspec.json.encode({"status": status, "dependencies": told})
        return Health(200 if status in ("ready", "degraded") else 503, body)

    def _postgresql_answers(self) -> bool:
        try:
            with psycopg.connect(
                self._database_url,
                connect_timeout=CONNECT_WITHIN,
                application_name="webhooks health",
                tcp_user_timeout=CONNECT_WITHIN * 1000,
                options="-c statement_timeout=1000",
            ) as connection:
                connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def _valkey_answers(self) -> bool:
        try:
            self._wakeups.waiting(Lane.FAST)
        except QueueAwayError:
            return False
        return True
