"""Rows that webhook tests begin with, and what they look at afterwards; written as the owner."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import Connection, sql

from services.core.environments import Environment
from services.domain.events import STOCK_EVENTS, EventType
from services.domain.states import DeliveryState


class WebhookRows:
    """One environment's tables, as their owner sees them."""

    def __init__(
        self, owner: Connection[Any], environment: Environment = Environment.SANDBOX
    ) -> None:
        """Take a connection in autocommit."""
        self.owner = owner
        self.environment = environment

    def run(self, statement: str, values: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement in which {env} stands for the schema; return its rows, if any."""
        env = sql.Identifier(self.environment)
        cursor = self.owner.execute(sql.SQL(statement).format(env=env), list(values))  # pyright: ignore
        return cursor.fetchall() if cursor.description else []

    def forget_the_seed(self) -> None:
        """Leave no products, and nothing to relay."""
        self.run("DELETE FROM {env}.products")
        self.run("DELETE FROM {env}.stock_changes")

    def partner(
        self,
        name: str = "techmart",
        *,
        state: str = "active",
        contact: str = "ops@techmart.example",
    ) -> UUID:
        """Insert a partner."""
        partner_id = uuid4()
        self.run(
            "INSERT INTO {env}.partners (id, name, contact, state) VALUES (%s, %s, %s, %s)",
            [partner_id, name, contact, state],
        )
        return partner_id

    def endpoint(
        self,
        partner_id: UUID,
        *,
        events: Iterable[EventType] = STOCK_EVENTS,
        url: str | None = None,
        state: str = "active",
    ) -> UUID:
        """Insert an endpoint; its sealed secret opens for nobody."""
        rows = self.run(
            "INSERT INTO {env}.endpoints (partner_id, url, events, state, secret)"
            " VALUES (%s, %s, %s, %s, %s) RETURNING id",
            [partner_id, url or f"https://{uuid4()}.example/", list(events), state, b"sealed"],
        )
        return rows[0][0]

    def event(self, event_type: EventType = EventType.INVENTORY_UPDATED, *, age: str = "0") -> UUID:
        """Insert an event that happened `age` ago (`8 days`)."""
        rows = self.run(
            "INSERT INTO {env}.events (event_type, product_id, version, occurred_at, data)"
            " VALUES (%s, 'A', 1, now() - %s::interval, '{{}}') RETURNING id",
            [event_type, age],
        )
        return rows[0][0]

    def delivery(
        self,
        endpoint_id: UUID,
        event_id: UUID | None = None,
        *,
        state: DeliveryState = DeliveryState.PENDING,
        attempts: int = 0,
        due_in: str = "0",
        lease_in: str | None = None,
    ) -> UUID:
        """Insert a delivery, of a new event unless one is given; return the event's id."""
        event_id = event_id or self.event()
        self.run(
            "INSERT INTO {env}.deliveries (endpoint_id, event_id, state, attempts,"
            " next_attempt_at, claimed_at, lease_until)"
            " VALUES (%s, %s, %s, %s, now() + %s::interval, now() - interval '45 s',"
            " now() + %s::interval)",
            [endpoint_id, event_id, state, attempts, due_in, lease_in],
        )
        return event_id

    def set_stock(self, product_id: str, quantity: int) -> None:
        """Insert a product or change its quantity."""
        self.run(
            "INSERT INTO {env}.products (product_id, quantity) VALUES (%s, %s)"
            " ON CONFLICT (product_id) DO UPDATE SET quantity = excluded.quantity",
            [product_id, quantity],
        )

    def one(self, statement: str, values: Iterable[object] = ()) -> Any:  # noqa: ANN401 -- any value
        """Return the only value of the only row."""
        rows = self.run(statement, values)
        assert len(rows) == 1, rows
        assert len(rows[0]) == 1, rows
        return rows[0][0]

    def endpoint_columns(self, endpoint_id: UUID, columns: str) -> tuple[Any, ...]:
        """Return columns of an endpoint."""
        rows = self.run(f"SELECT {columns} FROM {{env}}.endpoints WHERE id = %s", [endpoint_id])
        return rows[0]

    def states(self, endpoint_id: UUID) -> dict[UUID, str]:
        """Return the state of each delivery of an endpoint, by its event."""
        return dict(
            self.run(
                "SELECT event_id, state FROM {env}.deliveries WHERE endpoint_id = %s",
                [endpoint_id],
            )
        )


def connect_owner(owner_url: str) -> Connection[Any]:
    """Return an owner's connection in autocommit."""
    return psycopg.connect(owner_url, autocommit=True)
