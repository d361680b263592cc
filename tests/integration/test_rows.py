"""Rows of PostgreSQL as Structs."""

from datetime import datetime
from uuid import UUID

import msgspec
import psycopg

from services.core.environments import Environment
from services.core.rows import struct_row
from services.domain.states import PartnerState
from tests.conftest import Database


class Row(msgspec.Struct):
    id: UUID
    state: PartnerState
    keys: dict[Environment, int]
    at: datetime
    secret: bytes


SELECT = """
SELECT gen_random_uuid() AS id, 'active' AS state, '{"live": 2}'::jsonb AS keys, now() AS at,
    'x'::bytea AS secret
"""


def test_texts_of_a_row_become_the_enums_of_its_struct(database: Database) -> None:
    with psycopg.connect(database.owner_url) as connection:
        row = connection.cursor(row_factory=struct_row(Row)).execute(SELECT).fetchone()
    assert row is not None
    assert row.state is PartnerState.ACTIVE
    assert next(iter(row.keys)) is Environment.LIVE
    assert (type(row.id), type(row.at), row.secret) == (UUID, datetime, b"x")
