"""Partners: the rows of control.partners and each environment's copy of them."""

import contextlib
from collections.abc import Generator
from typing import LiteralString
from uuid import UUID, uuid4

import msgspec
from psycopg import Connection, errors, sql
from psycopg.rows import TupleRow, class_row

from services.kernel.environments import Environment

NAME_TAKEN = "partners_name_key"
RULES: dict[str, LiteralString] = {
    "partners_name_form": (
        "name: 2 to 40 characters, lower-case letters, digits and hyphens, first a letter"
        " (and not `anonymous`)"
    ),
    "partners_contact_form": "contact: an e-mail address",
}


class PartnerError(Exception):
    """What was asked does not fit the partners there are; the message says how to mend it."""


class Partner(msgspec.Struct, frozen=True):
    """A partner of both environments."""

    id: UUID
    name: str
    tier: str
    contact: str
    state: str


INSERT_PARTNER = """
INSERT INTO control.partners (id, name, tier, contact)
VALUES (%(id)s, %(name)s, %(tier)s, %(contact)s)
RETURNING id, name, tier, contact, state
"""


def insert_partner(
    connection: Connection[TupleRow], *, name: str, tier: str, contact: str
) -> Partner:
    """Add a partner, in one transaction with the environments' copies. Raises PartnerError."""
    values = {"id": uuid4(), "name": name, "tier": tier, "contact": contact}
    with connection.transaction(), _rules_in_words(name):
        cursor = connection.cursor(row_factory=class_row(Partner))
        partner = cursor.execute(INSERT_PARTNER, values).fetchone()
        assert partner is not None  # noqa: S101 -- RETURNING of one inserted row
        for environment in Environment:
            copy_partner(connection, partner, environment)
    return partner


@contextlib.contextmanager
def _rules_in_words(name: str) -> Generator[None]:
    try:
        yield
    except errors.UniqueViolation as exc:
        msg = f"there is a partner {name} already"
        raise PartnerError(msg) from exc
    except errors.CheckViolation as exc:
        raise PartnerError(RULES.get(exc.diag.constraint_name or "", str(exc))) from exc


COPY_PARTNER = """
INSERT INTO {} (id, name, contact, state)
VALUES (%(id)s, %(name)s, %(contact)s, %(state)s)
ON CONFLICT (id) DO UPDATE
    SET name = excluded.name, contact = excluded.contact, state = excluded.state
"""


def copy_partner(
    connection: Connection[TupleRow], partner: Partner, environment: Environment
) -> None:
    """Write what an environment's services may know about a partner."""
    statement = sql.SQL(COPY_PARTNER).format(sql.Identifier(environment, "partners"))
    connection.execute(statement, msgspec.to_builtins(partner, builtin_types=(UUID,)))


SELECT_PARTNER = """
SELECT id, name, tier, contact, state FROM control.partners WHERE name = %(name)s
"""


def find_partner(connection: Connection[TupleRow], name: str) -> Partner | None:
    """Return the partner of this name, if there is one."""
    cursor = connection.cursor(row_factory=class_row(Partner))
    return cursor.execute(SELECT_PARTNER, {"name": name}).fetchone()
