"""correlation-id: a request id for the service and the caller; the caller's own if it sent one."""

import uuid

from services.local.gateway.exchange import Exchange
from services.local.gateway.fields import Values
from services.local.gateway.plugins.base import Plugin, Surroundings
from services.local.gateway.responses import Answer, Response
from services.policy.precedence import Scope


class CorrelationId(Plugin):
    """Sets one header in both directions."""

    def __init__(self, config: Values, scope: Scope[str], surroundings: Surroundings) -> None:
        del scope, surroundings
        self._header: bytes = config["header_name"].lower().encode()
        self._echo: bool = config["echo_downstream"]

    async def access(self, exchange: Exchange) -> Answer | None:
        exchange.set_header(self._header, self._id(exchange))
        return None

    def header_filter(self, exchange: Exchange, response: Response) -> None:
        if self._echo:
            response.set_header(self._header, self._id(exchange))

    def _id(self, exchange: Exchange) -> bytes:
        # A request without a route never sees access, so the answer's header may be the first use.
        return exchange.header(self._header) or self._make(exchange)

    def _make(self, exchange: Exchange) -> bytes:
        made = str(uuid.uuid4()).encode()
        exchange.set_header(self._header, made)
        return made
