"""Reconciler: keeps every node of the gateway at kong.yml with the partners and keys of now.

One admin at a time does this: whoever holds PostgreSQL's lock PUBLISHING. The others stand by.
"""

import contextlib
import queue
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import structlog
from psycopg import Connection

from services.admin.gateway import store
from services.admin.gateway.desired import DesiredReader
from services.admin.gateway.node_event_log import NodeEventLog
from services.admin.gateway.node_sync import Desired, NodeReport
from services.admin.gateway.watch import Watch
from services.admin.settings import AdminSettings
from services.core.availability import Availability
from services.core.background import note_failure
from services.core.database import KEEPALIVE
from services.core.encryption import SecretBox

LOOK_EVERY = 1.0  # seconds between two looks at the database and the file, unless woken
STAND_BY = 0.5  # seconds between two tries to become the publisher
AGAIN = 0.5  # seconds until the next try to reach PostgreSQL
# Seconds that this process goes on posting after PostgreSQL last answered: then another admin may
# hold the lock. Working out a text of 10,000 partners takes 2.
LEASE = 5.0
STATEMENT_TIMEOUT_MS = 5_000  # a look at 10,000 partners takes 0.1 s
STOP_WITHIN = 1.8  # seconds

log = structlog.get_logger()


class Reconciler:
    """A thread that holds the lock and looks, with one more for each node meanwhile."""

    def __init__(
        self,
        settings: AdminSettings,
        box: SecretBox,
        *,
        name: str,
        clock: Callable[[], float],
    ) -> None:
        """`name` is what people see, such as host and process id; `clock` is monotonic seconds."""
        self._settings = settings
        self._name = name
        self._clock = clock
        self._reader = DesiredReader(settings.gateway_policy, settings.addresses, box)
        self._events = NodeEventLog(clock)
        self._database = Availability("publisher.database", clock=clock)
        self._reports: queue.SimpleQueue[tuple[NodeReport, float]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._answered_at = float("-inf")  # when PostgreSQL last did while we hold the lock
        self._taken: dict[str, NodeReport] = {}  # the last report of each node
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    @property
    def is_leader(self) -> bool:
        """Whether this process is the one that publishes."""
        return self._clock() - self._answered_at < LEASE

    def start(self) -> None:
        """Begin, in threads."""
        self._thread.start()

    def stop(self) -> None:
        """End within 2 s, also while a node or PostgreSQL hangs."""
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(STOP_WITHIN)
        if not self._thread.is_alive():
            self._woken.close()
            self._waker.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._connect() as connection:
                    self._stand_by(connection)
                    self._publish(connection)
            except (psycopg.Error, OSError) as exc:
                self._database.failed(exc)
            except Exception:  # noqa: BLE001 -- a publisher that ended would leave nobody to notice
                note_failure("publisher.unexpected")
            finally:
                self._answered_at = float("-inf")
            self._stopping.wait(AGAIN)

    def _connect(self) -> Connection[Any]:
        return psycopg.connect(
            self._settings.admin_database_url,
            autocommit=True,
            connect_timeout=2,
            application_name="admin publisher",
            options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            **KEEPALIVE,
        )

    def _stand_by(self, connection: Connection[Any]) -> None:
        """Return when this is the publisher, or to stop."""
        while not self._stopping.is_set() and not store.try_lock(connection):
            self._database.succeeded()
            self._stopping.wait(STAND_BY)

    def _publish(self, connection: Connection[Any]) -> None:
        """Publish until told to stop."""
        if self._stopping.is_set():
            return
        connection.execute("LISTEN control_gateway")
        nodes = self._settings.nodes
        latest: dict[str, NodeReport] = {}
        log.info("publisher.began", name=self._name, nodes=nodes)
        watch = Watch(nodes, self._take, may_post=lambda: self.is_leader, clock=self._clock)
        watch.begin()
        try:
            store.forget_other_nodes(connection, nodes)
            while not self._stopping.is_set():
                self._look(connection, watch, latest)
                self._wait(connection)
            store.forget_publisher(connection, self._name)
        finally:
            watch.end()
            log.info("publisher.ended", name=self._name)

    def _look(
        self, connection: Connection[Any], watch: Watch, latest: dict[str, NodeReport]
    ) -> None:
        desired = self._reader.read(connection)
        store.write_publisher(connection, self._name, desired)
        self._answered_at = self._clock()
        self._database.succeeded()
        watch.desire(desired)
        self._events.policy(desired)
        self._store_reports(connection, latest)
        accepted = accepted_policy(desired, self._settings.nodes, latest)
        if accepted is not None:
            store.write_accepted(connection, accepted)

    def _store_reports(self, connection: Connection[Any], latest: dict[str, NodeReport]) -> None:
        fresh: dict[str, tuple[NodeReport, float]] = {}
        with contextlib.suppress(queue.Empty):
            while True:
                report, at = self._reports.get_nowait()
                self._events.node(report)
                fresh[report.url] = (report, self._clock() - at)
        latest.update({url: report for url, (report, _) in fresh.items()})
        store.write_nodes(connection, fresh.values())

    def _take(self, report: NodeReport) -> None:
        """Take a report, in a node's thread."""
        self._reports.put((report, self._clock()))
        if report != self._taken.get(report.url):  # what is as before is stored within a second
            self._taken[report.url] = report
            self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: a wake-up is there already; closed: it is over
            self._waker.send(b"!")

    def _wait(self, connection: Connection[Any]) -> None:
        """Return after a notification, a report, or a second."""
        # Notifications say nothing but that there is something. Some came along with answers.
        if not list(connection.notifies(timeout=0)):
            with selectors.DefaultSelector() as selector:
                selector.register(connection, selectors.EVENT_READ)
                selector.register(self._woken, selectors.EVENT_READ)
                selector.select(LOOK_EVERY)
            list(connection.notifies(timeout=0))
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)


def accepted_policy(
    desired: Desired, nodes: list[str], reports: dict[str, NodeReport]
) -> str | None:
    """Return the kong.yml that is wanted if every node runs it and that is news."""
    wanted = desired.wanted
    if wanted is None or not nodes or wanted.policy == desired.accepted:
        return None
    running = {reports[node].policy_hash if node in reports else None for node in nodes}
    return wanted.policy if running == {wanted.policy_hash} else None
