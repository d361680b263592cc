"""Core: a look at the stored secrets at a program's start: do its master keys open them all?

A Fernet token does not name its key, so that every secret in use is decrypted, in a thread, once. A
program that lacks a key starts all the same, because it serves everything else; it
logs `master_keys.missing` and shows how many secrets it cannot decrypt.
"""

import threading
from collections.abc import Callable, Iterable

import psycopg
import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from psycopg import Connection
from psycopg.rows import TupleRow

from services.core.background import note_failure
from services.core.database import connection_options
from services.core.encryption import MasterKeyError, SecretBox
from services.core.environments import Environment

AGAIN = 5.0  # seconds until the next try

Read = Callable[[Connection[TupleRow]], Iterable[bytes]]  # returns the encrypted secrets in use

log = structlog.get_logger()


class StoredSecrets(Collector):
    """Counts the stored secrets that none of this process's master keys opens."""

    def __init__(
        self, database_url: str, environment: Environment | None, box: SecretBox, read: Read
    ) -> None:
        """Take what reads the secrets, in a connection of its own to `environment`."""
        self._database_url = database_url
        self._environment = environment
        self._box = box
        self._read_secrets = read
        self._undecryptable: int | None = None

    def start(self) -> None:
        """Look in a thread, as soon as the database answers."""
        threading.Thread(target=self._look, name="stored secrets", daemon=True).start()

    def collect(self) -> Iterable[Metric]:
        """Return how many there were at the start; nothing before the look."""
        found = GaugeMetricFamily(
            "stored_secrets_undecryptable",
            "Stored secrets in use that none of MASTER_KEYS opened when the program started.",
        )
        if self._undecryptable is not None:
            found.add_metric([], self._undecryptable)
        yield found

    def _look(self) -> None:
        pause = threading.Event()
        while self._undecryptable is None:
            try:
                self._count()
            except psycopg.OperationalError:  # the program says itself that its database is away
                pause.wait(AGAIN)
            except Exception:  # noqa: BLE001 -- a thread that ended would leave nobody to notice
                note_failure("stored_secrets.look_failed")
                pause.wait(AGAIN)

    def _count(self) -> None:
        secrets = self._read()
        self._undecryptable = sum(not self._opens(each) for each in secrets)
        if self._undecryptable:
            log.error(
                "master_keys.missing",
                undecryptable=self._undecryptable,
                secrets=len(secrets),
                hint="MASTER_KEYS lacks a key that stored secrets are encrypted with",
            )

    def _read(self) -> list[bytes]:
        options = connection_options("stored secrets", self._environment)
        with psycopg.connect(self._database_url, **options) as connection:
            return list(self._read_secrets(connection))

    def _opens(self, sealed: bytes) -> bool:
        try:
            self._box.open(sealed)
        except MasterKeyError:
            return False
        return True
