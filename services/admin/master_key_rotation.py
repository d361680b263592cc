"""Master key rotation: every stored secret is encrypted with the newest master key.

Safe while services run: a row is written only if it still holds what was read, so that a partner's
own rotation is never undone. Nothing of the gateway's configuration changes.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow

from services.admin.audit.rows import Actor
from services.admin.changes import Admin, Change
from services.core.database import use_environment
from services.core.encryption import MasterKeyError, SecretBox
from services.core.environments import Environment
from services.core.rows import struct_row
from services.domain.endpoint_secrets import endpoint_secrets_in_use

BATCH = 500  # secrets read at once; encrypting one again and writing it takes about 0.7 ms
NAMED_MOST = 100  # secrets that no key opens, which a report names

Progress = Callable[[int, int], None]  # takes secrets done, and secrets in all
NO_ID = UUID(int=0)


class Place(NamedTuple):
    """A column of encrypted secrets, with the statements that rotate it."""

    name: str  # as a report says it
    environment: Environment | None  # whose table it is; None: control's
    count_all: LiteralString
    select_batch: LiteralString
    update: LiteralString


COUNT_KEYS: LiteralString = "SELECT count(*) FROM control.api_keys WHERE sealed IS NOT NULL"

SELECT_KEYS: LiteralString = """
SELECT stored.id, partners.name AS partner, sealed, revoked_at IS NULL AS in_use
FROM (
    SELECT * FROM control.api_keys WHERE id > %(after)s AND sealed IS NOT NULL
    ORDER BY id LIMIT %(batch)s
) AS stored JOIN control.partners ON partners.id = stored.partner_id
ORDER BY stored.id
"""

UPDATE_KEY: LiteralString = """
UPDATE control.api_keys SET sealed = %(new)s WHERE id = %(id)s AND sealed = %(old)s
"""

COUNT_CURRENT: LiteralString = "SELECT count(*) FROM endpoints WHERE secret IS NOT NULL"

SELECT_CURRENT: LiteralString = """
SELECT stored.id, partners.name AS partner, secret AS sealed, stored.state <> 'deleted' AS in_use
FROM (
    SELECT * FROM endpoints WHERE id > %(after)s AND secret IS NOT NULL
    ORDER BY id LIMIT %(batch)s
) AS stored JOIN partners ON partners.id = stored.partner_id
ORDER BY stored.id
"""

UPDATE_CURRENT: LiteralString = """
UPDATE endpoints SET secret = %(new)s WHERE id = %(id)s AND secret = %(old)s
"""

COUNT_PREVIOUS: LiteralString = "SELECT count(*) FROM endpoints WHERE previous_secret IS NOT NULL"

SELECT_PREVIOUS: LiteralString = """
SELECT stored.id, partners.name AS partner, previous_secret AS sealed,
    stored.state <> 'deleted' AND previous_secret_until > now() AS in_use
FROM (
    SELECT * FROM endpoints WHERE id > %(after)s AND previous_secret IS NOT NULL
    ORDER BY id LIMIT %(batch)s
) AS stored JOIN partners ON partners.id = stored.partner_id
ORDER BY stored.id
"""

UPDATE_PREVIOUS: LiteralString = """
UPDATE endpoints SET previous_secret = %(new)s WHERE id = %(id)s AND previous_secret = %(old)s
"""


def _places() -> Iterator[Place]:
    yield Place("api key", None, COUNT_KEYS, SELECT_KEYS, UPDATE_KEY)
    for each in Environment:
        secret, previous = f"{each} webhook secret", f"{each} previous webhook secret"
        yield Place(secret, each, COUNT_CURRENT, SELECT_CURRENT, UPDATE_CURRENT)
        yield Place(previous, each, COUNT_PREVIOUS, SELECT_PREVIOUS, UPDATE_PREVIOUS)


PLACES = tuple(_places())


class Unopened(msgspec.Struct, frozen=True):
    """A secret that none of the master keys opens."""

    place: str
    id: UUID  # of the key or endpoint
    partner: str
    in_use: bool  # false: revoked, deleted or past its overlap, and so never opened again


class RotationReport(msgspec.Struct, kw_only=True):
    """What was found and done: total = newest + resealed + older + unopened."""

    total: int = 0
    newest: int = 0  # encrypted with the newest key already
    resealed: int = 0
    older: int = 0  # encrypted with an older key, still
    unopened: int = 0
    unopened_in_use: int = 0
    unopened_named: list[Unopened] = msgspec.field(default_factory=list[Unopened])

    @property
    def needs_older_keys(self) -> bool:
        """Whether anything would be lost, or is, with the newest key alone."""
        return bool(self.older or self.unopened_in_use)


class _Row(msgspec.Struct):
    id: UUID
    partner: str
    sealed: bytes
    in_use: bool


class MasterKeyRotation:
    """One run over every stored secret."""

    def __init__(self, admin: Admin, *, progress: Progress = lambda _done, _total: None) -> None:
        """`progress` takes how many secrets are done, and how many there are."""
        self._admin = admin
        self._progress = progress

    def check(self) -> RotationReport:
        """Return how many secrets are encrypted with which key, and change nothing."""
        with self._admin.reading() as connection:
            return self._go_through(connection, RotationReport(), lambda _place, _row: False)

    def rotate(self, actor: Actor) -> RotationReport:
        """Encrypt anew what has an older key; the audit log has also a run that breaks off.

        `older` counts secrets that changed meanwhile, and so may need another run.
        """
        report = RotationReport()
        began: UUID | None = None  # the line in the audit log, before the first change
        with self._admin.reading() as connection:

            def encrypt(place: Place, row: _Row) -> bool:
                nonlocal began
                began = began or self._note(connection, actor, "secrets.reseal_began", {})
                return write(connection, place, row, self._admin.box)

            try:
                self._go_through(connection, report, encrypt)
            finally:
                if began and not connection.broken:
                    counts: dict[str, Any] = msgspec.to_builtins(report)
                    del counts["unopened_named"]
                    counts["began"] = began
                    self._note(connection, actor, "secrets.resealed", counts)
        return report

    def _go_through(
        self,
        connection: Connection[TupleRow],
        report: RotationReport,
        encrypt: Callable[[Place, _Row], bool],
    ) -> RotationReport:
        total = sum(count(connection, place) for place in PLACES)
        for place in PLACES:
            for batch in batches(connection, place):
                for row in batch:
                    self._take(place, row, report, encrypt)
                self._progress(report.total, max(total, report.total))
        return report

    def _take(
        self,
        place: Place,
        row: _Row,
        report: RotationReport,
        encrypt: Callable[[Place, _Row], bool],
    ) -> None:
        report.total += 1
        if self._admin.box.is_newest(row.sealed):
            report.newest += 1
            return
        try:
            self._admin.box.open(row.sealed)
        except MasterKeyError:
            report.unopened += 1
            report.unopened_in_use += row.in_use
            if len(report.unopened_named) < NAMED_MOST:
                report.unopened_named.append(Unopened(place.name, row.id, row.partner, row.in_use))
            return
        if encrypt(place, row):
            report.resealed += 1
        else:
            report.older += 1

    def _note(
        self, connection: Connection[TupleRow], actor: Actor, action: str, after: dict[str, Any]
    ) -> UUID:
        with connection.transaction():
            change = Change(connection, actor, self._admin.box)
            return change.record(action, "secrets", after=after)


@contextmanager
def _at(connection: Connection[TupleRow], place: Place) -> Generator[None]:
    """Use the tables of a place, in a transaction."""
    with connection.transaction():
        use_environment(connection, place.environment)
        yield


def count(connection: Connection[TupleRow], place: Place) -> int:
    """Return how many secrets a place has."""
    with _at(connection, place):
        found = connection.execute(place.count_all).fetchone()
    return 0 if found is None else int(found[0])


def batches(connection: Connection[TupleRow], place: Place) -> Iterator[Sequence[_Row]]:
    """Yield the secrets of a place, by id."""
    after = NO_ID
    while True:
        values = {"after": after, "batch": BATCH}
        with _at(connection, place):
            cursor = connection.cursor(row_factory=struct_row(_Row))
            rows = cursor.execute(place.select_batch, values).fetchall()
        if not rows:
            return
        yield rows
        after = rows[-1].id


def write(connection: Connection[TupleRow], place: Place, row: _Row, box: SecretBox) -> bool:
    """Encrypt one secret anew, unless it changed since it was read; in a transaction of its own.

    Several rows in a transaction could deadlock with claims of deliveries, which lock endpoints.
    """
    values = {"id": row.id, "old": row.sealed, "new": box.seal(box.open(row.sealed))}
    with _at(connection, place):
        return connection.execute(place.update, values).rowcount == 1


KEYS_IN_USE = "SELECT sealed FROM control.api_keys WHERE revoked_at IS NULL"


def secrets_in_use(connection: Connection[TupleRow]) -> Iterator[bytes]:
    """Yield the secrets in use: keys, and those of endpoints."""
    yield from (row[0] for row in connection.execute(KEYS_IN_USE).fetchall())
    for environment in Environment:
        with connection.transaction():
            use_environment(connection, environment)
            yield from endpoint_secrets_in_use(connection)
