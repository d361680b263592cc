"""Changes: one transaction of one actor, with its lines in the audit log."""

import asyncio
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from services.admin.audit import rows as audit
from services.admin.audit.rows import Actor
from services.admin.gateway.consumers import read_consumers
from services.admin.gateway.desired import read_policy
from services.admin.gateway.node_sync import NodeReport
from services.admin.gateway.publish_wait import (
    Published,
    await_publish,
    reports_after_change,
)
from services.admin.settings import AdminSettings
from services.core.database import Connect, use_environment
from services.core.encryption import SecretBox
from services.core.environments import Environment
from services.policy.check.checking import require_sound
from services.policy.render import parse_policy, render, tiers_of

# The outbox takes it from there to the log lines of the change's webhooks, until the commit.
NAME_REQUEST = "SELECT set_config('partnerapi.request_id', %s, true)"

T = TypeVar("T")


@dataclass(frozen=True)
class Change:
    """What a use case changes things with; its caller commits."""

    connection: Connection[TupleRow]
    actor: Actor
    box: SecretBox

    def record(
        self, action: str, target: str, *, before: object = None, after: object = None
    ) -> UUID:
        """Note the change in the audit log; return the entry's id."""
        return audit.record(self.connection, self.actor, action, target, before=before, after=after)


class Admin:
    """Opens the database for use cases; the service has a pool, a command one connection."""

    def __init__(self, settings: AdminSettings, box: SecretBox, connect: Connect) -> None:
        """`connect` lends a connection in autocommit mode for the length of a with block."""
        self.settings = settings
        self.box = box
        self._connect = connect

    @contextmanager
    def reading(self, environment: Environment | None = None) -> Generator[Connection[TupleRow]]:
        """Lend a connection to look with, at an environment's tables in one transaction.

        Without an environment there are the tables of control alone, in autocommit mode.
        """
        with self._connect() as connection:
            if environment is None:
                yield connection
                return
            with connection.transaction():
                use_environment(connection, environment)
                yield connection

    @contextmanager
    def changing(self, actor: Actor, environment: Environment | None = None) -> Generator[Change]:
        """Lend a change, committed at the end of the with block unless that raises."""
        with self._connect() as connection, connection.transaction():
            if environment is not None:
                use_environment(connection, environment)
            if actor.request_id:
                connection.execute(NAME_REQUEST, [actor.request_id])
            yield Change(connection, actor, self.box)

    async def change(self, actor: Actor, work: Callable[[Change], T]) -> T:
        """Do `work` as one change, in a thread; return its result once that is committed."""

        def run() -> T:
            with self.changing(actor) as change:
                return work(change)

        return await asyncio.to_thread(run)

    async def await_publish(self) -> Published:
        """Wait until the reconciler has tried every node; return what each runs."""
        return await await_publish(self._connect, self.settings)

    async def reports_after_change(self) -> list[NodeReport]:
        """Wait likewise after a change; return what each node runs. Raises nothing."""
        return await reports_after_change(self._connect, self.settings)

    def render(self) -> str:
        """Return the text for the gateway, with keys in plain text. Raises PolicyError."""
        policy = read_policy(self.settings.gateway_policy)
        require_sound(policy, self.settings.gateway_policy)
        with self._connect() as connection:
            consumers = read_consumers(connection, self.box)
        return render(policy, consumers, self.settings.addresses)

    def tiers(self) -> Collection[str]:
        """Return the names of kong.yml's tiers. Raises PolicyError."""
        return tiers_of(parse_policy(read_policy(self.settings.gateway_policy))).keys()
