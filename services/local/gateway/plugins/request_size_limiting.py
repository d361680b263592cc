"""request-size-limiting: no body over a size, declared or in chunks."""

from services.local.gateway.exchange import Exchange
from services.local.gateway.fields import Values
from services.local.gateway.plugins.base import Plugin, Surroundings
from services.local.gateway.responses import Answer
from services.policy.precedence import Scope

_UNITS = {"bytes": 1, "kilobytes": 2**10, "megabytes": 2**20}
_MESSAGE = "Request size limit exceeded"


class RequestSizeLimiting(Plugin):
    """Refuses a body over the limit without reading all of it."""

    def __init__(self, config: Values, scope: Scope[str], surroundings: Surroundings) -> None:
        del scope, surroundings
        self._limit: int = config["allowed_payload_size"] * _UNITS[config["size_unit"]]

    async def access(self, exchange: Exchange) -> Answer | None:
        body = exchange.body
        if body.declared is not None:
            fits = body.declared <= self._limit
        else:
            fits = await body.hold(self._limit)
        if fits:
            return None
        waits = (exchange.header(b"expect") or b"").strip().lower() == b"100-continue"
        return Answer(417 if waits else 413, _MESSAGE)
