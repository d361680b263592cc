"""Operations: what the people of operations do, each in one call; the command line calls these."""

import contextlib
from collections.abc import Generator
from pathlib import Path

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from services.admin.gateway import render as rendering
from services.admin.gateway.callers import Caller, find_caller
from services.admin.gateway.check.checking import require_sound
from services.admin.gateway.consumers import read_consumers
from services.admin.gateway import publish as publishing
from services.admin.gateway.publish import NodeReport
from services.admin.keys import NewKey, StoredKey, find_key, insert_key, revoke
from services.admin.partners import Partner, PartnerError, find_partner, insert_partner
from services.admin.settings import AdminSettings
from services.kernel.encryption import SecretBox
from services.kernel.environments import Environment
from services.kernel.schema.locks import PUBLISHING


@contextlib.contextmanager
def open_admin(settings: AdminSettings) -> Generator["Operations"]:
    """Open the database for the length of a with block. Raises psycopg.OperationalError."""
    box = SecretBox(settings.master_keys)
    with psycopg.connect(
        settings.admin_database_url, autocommit=True, connect_timeout=5
    ) as connection:
        yield Operations(settings, connection, box)


class Operations:
    """Partners, keys and the gateway's configuration, on one connection."""

    def __init__(
        self, settings: AdminSettings, connection: Connection[TupleRow], box: SecretBox
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._box = box

    def create_partner(self, name: str, tier: str, contact: str) -> Partner:
        """Add a partner without keys. Raises PartnerError, PolicyError."""
        tiers = rendering.tiers_of(rendering.parse_policy(self._policy()))
        if tier not in tiers:
            msg = f"tier {tier} is not in kong.yml, which has {', '.join(tiers)}"
            raise PartnerError(msg)
        return insert_partner(self._connection, name=name, tier=tier, contact=contact)

    def ensure_partner(self, name: str, tier: str, contact: str) -> Partner:
        """Return the partner of this name, added first when there is none."""
        found = find_partner(self._connection, name)
        return found or self.create_partner(name, tier, contact)

    def create_key(self, partner: str, environment: Environment) -> NewKey:
        """Make a key; it works from the next publish on. Raises PartnerError."""
        found = find_partner(self._connection, partner)
        if found is None:
            msg = f"there is no partner {partner}"
            raise PartnerError(msg)
        return insert_key(self._connection, self._box, found.id, environment)

    def revoke_key(self, name: str) -> StoredKey:
        """Revoke the key of this id or first characters. Raises KeyChoiceError."""
        with self._connection.transaction():
            key = find_key(self._connection, name)
            revoke(self._connection, key)
        return key

    def caller(self, partner: str, environment: Environment) -> Caller:
        """Return what the gateway knows of a partner. Raises PartnerError."""
        found = find_caller(self._connection, partner, environment)
        if found is None:
            msg = f"there is no partner {partner}"
            raise PartnerError(msg)
        return found

    def render(self) -> str:
        """Return the text for the gateway, with keys in plain text. Raises PolicyError.

        A kong.yml that does not check is not rendered, and so never sent.
        """
        policy = self._policy()
        require_sound(policy, self._settings.gateway_policy)
        consumers = read_consumers(self._connection, self._box)
        return rendering.render(policy, consumers, self._settings.addresses)

    def publish(self) -> list[NodeReport]:
        """Send the configuration of now to every node. Raises PolicyError."""
        self._connection.execute("SELECT pg_advisory_lock(%s)", [PUBLISHING])
        try:
            return publishing.publish_to_nodes(self.render(), self._settings.nodes)
        finally:
            self._connection.execute("SELECT pg_advisory_unlock(%s)", [PUBLISHING])

    def _policy(self) -> str:
        path = Path(self._settings.gateway_policy)
        try:
            return path.read_text()
        except OSError as exc:
            msg = f"GATEWAY_POLICY: {path} can't be read: {exc.strerror}"
            raise rendering.PolicyError(msg) from exc
