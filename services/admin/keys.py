"""Keys: the rows of control.api_keys; a key is shown once and kept encrypted (A2)."""

from uuid import UUID, uuid4

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow, class_row

from services.admin.api_keys import fingerprint, is_well_formed, make_api_key, shown_part
from services.kernel.encryption import SecretBox
from services.kernel.environments import Environment


class NewKey(msgspec.Struct, frozen=True):
    """A key just made: the one time that its secret is seen."""

    id: UUID
    secret: str
    shown: str

    def __repr__(self) -> str:
        """Leave the secret out: representations end in logs and tracebacks."""
        return f"NewKey(id={self.id}, shown={self.shown!r})"


class StoredKey(msgspec.Struct, frozen=True):
    """A key as it may be shown."""

    id: UUID
    partner: str
    environment: str
    shown: str


class KeyChoiceError(Exception):
    """No key, or more than one, fits what was named."""


INSERT_KEY = """
INSERT INTO control.api_keys (id, partner_id, environment, shown, fingerprint, sealed)
VALUES (%(id)s, %(partner_id)s, %(environment)s, %(shown)s, %(fingerprint)s, %(sealed)s)
"""


def insert_key(
    connection: Connection[TupleRow], box: SecretBox, partner_id: UUID, environment: Environment
) -> NewKey:
    """Make a key for a partner in one environment."""
    secret = make_api_key(environment)
    key = NewKey(id=uuid4(), secret=secret, shown=shown_part(secret))
    values = {
        "id": key.id,
        "partner_id": partner_id,
        "environment": environment,
        "shown": key.shown,
        "fingerprint": fingerprint(secret),
        "sealed": box.seal(secret),
    }
    connection.execute(INSERT_KEY, values)
    return key


FIND_KEYS = """
SELECT api_keys.id, partners.name AS partner, environment, shown
FROM control.api_keys JOIN control.partners ON partners.id = partner_id
WHERE revoked_at IS NULL
    AND (api_keys.id::text = %(name)s OR fingerprint = %(fingerprint)s OR shown = %(name)s)
"""


def find_key(connection: Connection[TupleRow], name: str) -> StoredKey:
    """Return the one working key of this id, shown part or plain text. Raises KeyChoiceError."""
    cursor = connection.cursor(row_factory=class_row(StoredKey))
    values = {"name": name, "fingerprint": fingerprint(name)}
    found = cursor.execute(FIND_KEYS, values).fetchall()
    if len(found) == 1:
        return found[0]
    named = shown_part(name) + "..." if is_well_formed(name) else name
    if not found:
        msg = f"no working key {named}: name it by its first 12 characters or its id"
    else:
        ids = ", ".join(str(key.id) for key in found)
        msg = f"{len(found)} keys begin with {named}: name one by its id: {ids}"
    raise KeyChoiceError(msg)


REVOKE_KEY = "UPDATE control.api_keys SET revoked_at = now() WHERE id = %(id)s"


def revoke(connection: Connection[TupleRow], key: StoredKey) -> None:
    """Mark a key revoked; the gateway refuses it from the next publish on."""
    connection.execute(REVOKE_KEY, {"id": key.id})
