"""A suspended partner in PostgreSQL, as the gateway and its explanation are told of it."""

from collections.abc import Generator
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from services.admin.audit.rows import Actor
from services.admin.changes import Change
from services.admin.gateway.consumers import read_consumers
from services.admin.partners.changes import create_partner
from services.core.encryption import SecretBox, make_master_key
from services.core.environments import Environment
from tests.conftest import Database

BOX = SecretBox(make_master_key())
INSERT_KEY = """
INSERT INTO control.api_keys (id, partner_id, environment, shown, fingerprint, sealed, revoked_at)
SELECT %(id)s, id, %(environment)s, 'pk', %(id)s::text, %(sealed)s,
    CASE WHEN %(revoked)s THEN now() END
FROM control.partners WHERE name = %(name)s
"""


@pytest.fixture
def admin(database: Database) -> Generator[Connection[TupleRow]]:
    with psycopg.connect(database.url("admin"), autocommit=True) as connection:
        yield connection


def add_key(
    admin: Connection[TupleRow], name: str, environment: Environment, *, revoked: bool = False
) -> str:
    secret = f"pk_{uuid4()}"
    values = {"id": uuid4(), "environment": environment, "name": name, "revoked": revoked}
    admin.execute(INSERT_KEY, {**values, "sealed": BOX.seal(secret)})
    return secret


def suspend(admin: Connection[TupleRow], name: str, state: str = "suspended") -> None:
    admin.execute("UPDATE control.partners SET state = %s WHERE name = %s", [state, name])


def test_a_suspended_partner_stays_at_the_gateway_with_its_working_keys(
    admin: Connection[TupleRow],
) -> None:
    with admin.transaction():
        for name in ("acme", "zeta"):
            change = Change(admin, Actor("cli:a-test"), BOX)
            create_partner(change, name, "basic", "ops@acme.example", tiers=["basic"])
    live = {add_key(admin, "acme", Environment.LIVE) for _ in range(2)}
    sandbox = add_key(admin, "acme", Environment.SANDBOX)
    other = add_key(admin, "zeta", Environment.LIVE)
    add_key(admin, "acme", Environment.LIVE, revoked=True)
    before = read_consumers(admin, BOX)
    suspend(admin, "acme")
    found = {
        (each.partner, str(each.environment)): (each.suspended, {key.secret for key in each.keys})
        for each in read_consumers(admin, BOX)
    }
    assert found == {
        ("acme", "live"): (True, live),
        ("acme", "sandbox"): (True, {sandbox}),
        ("zeta", "live"): (False, {other}),
    }
    suspend(admin, "acme", "active")
    assert read_consumers(admin, BOX) == before
