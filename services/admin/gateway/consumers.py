"""Consumers: the partners and working keys of now, as the renderer takes them."""

from typing import Protocol
from uuid import UUID, uuid5

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow

from services.core.environments import Environment
from services.core.rows import struct_row
from services.domain.states import PartnerState
from services.policy.render import Consumer, Key


class Opener(Protocol):
    """What opens sealed secrets: a SecretBox, or one that remembers."""

    def open(self, sealed: bytes) -> str: ...


class _Row(msgspec.Struct):
    partner_id: UUID
    partner: str
    tier: str
    state: str
    environment: str
    key_id: UUID
    sealed: bytes


# Expiry is a publish without the key: Kong's own `ttl` refuses a key from its first request on
# in DB-less mode (KONG.md).
SELECT_WORKING_KEYS = """
SELECT partners.id AS partner_id, partners.name AS partner, tier, state, environment,
    api_keys.id AS key_id, sealed
FROM control.partners JOIN control.api_keys ON partner_id = partners.id
WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
ORDER BY partners.name, environment, api_keys.id
"""


def read_consumers(connection: Connection[TupleRow], box: Opener) -> list[Consumer]:
    """Return one consumer for each partner and environment with a working key."""
    rows = connection.cursor(row_factory=struct_row(_Row)).execute(SELECT_WORKING_KEYS).fetchall()
    keys: dict[tuple[str, str], list[Key]] = {}
    first: dict[tuple[str, str], _Row] = {}
    for row in rows:
        owner = (row.partner, row.environment)
        first.setdefault(owner, row)
        keys.setdefault(owner, []).append(Key(id=row.key_id, secret=box.open(row.sealed)))
    return [
        Consumer(
            id=consumer_id(row.partner_id, Environment(row.environment)),
            partner=row.partner,
            environment=Environment(row.environment),
            tier=row.tier,
            keys=tuple(keys[owner]),
            suspended=row.state == PartnerState.SUSPENDED,
        )
        for owner, row in first.items()
    ]


def consumer_id(partner_id: UUID, environment: Environment) -> UUID:
    """Return the consumer's id at the gateway: ours, and the same in every render."""
    return uuid5(partner_id, environment)
