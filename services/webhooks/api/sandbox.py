"""Sandbox: partners cause things themselves; stock changes, and attempts that fail (A9).

These paths are there in the sandbox alone.
"""

from uuid import UUID

import structlog
from psycopg import errors

from services.core.database_calls import Calls, DatabaseAwayError
from services.core.errors import PartnerError
from services.core.http.inputs import check_product_id, refuse
from services.core.http.request_scope import current_request_id
from services.domain.stock import (
    PRODUCT_ID_RULE,
    SET_STOCK,
    SET_TRIES,
    SetRow,
    set_stock_values,
)
from services.webhooks.api.answers import encode
from services.webhooks.api.refusals import NO_WEBHOOK
from services.webhooks.api.requests import Simulated, quantity_of, simulation_of
from services.webhooks.api.resources import Answer, Call, Methods
from services.webhooks.api.statements import (
    TIME_LIMIT,
    Connection,
    one_row,
    own,
)

SANDBOX = "/partner/v1/sandbox"
INVENTORY = f"{SANDBOX}/inventory/{{product_id}}"
SIMULATION = f"{SANDBOX}/webhooks/{{webhook_id}}/simulation"

PRODUCT_ID_FORM = "product_id_form"  # the schema's constraint

log = structlog.get_logger()


SET_SIMULATION = """
UPDATE endpoints SET simulation = %(outcome)s, simulations_left = %(attempts)s
WHERE id = %(webhook_id)s AND partner_id = %(partner_id)s AND state <> 'deleted'
"""


class SandboxStore:
    """What partners set in the sandbox; every method may raise DatabaseAwayError."""

    def __init__(self, calls: Calls) -> None:
        """Take the calls of a pool that its owner opens and closes."""
        self._calls = calls

    async def set_quantity(self, product_id: str, quantity: int, request_id: str) -> SetRow:
        """Set a product's stock, which makes the product if there is none."""
        values = set_stock_values(product_id, quantity, request_id)

        async def upsert(connection: Connection) -> SetRow | None:
            try:
                return await one_row(connection, SET_STOCK, values, SetRow)
            except errors.CheckViolation as exc:
                if exc.diag.constraint_name != PRODUCT_ID_FORM:
                    raise
                refuse(PRODUCT_ID_RULE)
            except errors.SerializationFailure:
                return None

        for _ in range(SET_TRIES):
            row = await self._calls.change(upsert, within=TIME_LIMIT)
            if row is not None:
                return row
        raise DatabaseAwayError

    async def simulate(
        self, partner_id: UUID, webhook_id: UUID, simulated: Simulated | None
    ) -> None:
        """Set what the next attempts look like, None: as they are. Raises PartnerError (404)."""
        values = {
            **own(partner_id, webhook_id),
            "outcome": simulated.outcome if simulated else None,
            "attempts": simulated.attempts if simulated else 0,
        }

        async def update(connection: Connection) -> int:
            return (await connection.execute(SET_SIMULATION, values)).rowcount

        if await self._calls.change(update, within=TIME_LIMIT) == 0:
            raise PartnerError(*NO_WEBHOOK)


class Sandbox:
    """Handlers; what they raise is rendered by the app."""

    def __init__(self, store: SandboxStore) -> None:
        """Take the store of the sandbox environment."""
        self._store = store

    @property
    def paths(self) -> dict[str, Methods]:
        """The paths of these handlers."""
        return {
            INVENTORY: {"PUT": self.set_quantity},
            SIMULATION: {"DELETE": self.end_simulation, "PUT": self.simulate},
        }

    async def set_quantity(self, call: Call) -> Answer:
        """Set a product's stock."""
        product_id = call.parameters["product_id"]
        check_product_id("product_id", product_id)
        quantity = quantity_of(await call.body())
        request_id = current_request_id(call.scope)
        row = await self._store.set_quantity(product_id, quantity, request_id)
        return Answer(200, encode(row.item))

    async def simulate(self, call: Call) -> Answer:
        """Set what the next attempts look like."""
        webhook_id = call.webhook_id
        simulated = simulation_of(await call.body())
        await self._store.simulate(call.partner_id, webhook_id, simulated)
        log.info("webhook.simulated", webhook_id=str(webhook_id), outcome=simulated.outcome)
        return Answer(200, encode(simulated))

    async def end_simulation(self, call: Call) -> Answer:
        """Let attempts be what they are."""
        await self._store.simulate(call.partner_id, call.webhook_id, None)
        return Answer(204)
