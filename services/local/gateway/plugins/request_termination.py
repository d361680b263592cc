"""request-termination: ends every request that gets this far."""

from http.client import responses
from typing import ClassVar

from services.local.gateway.exchange import Exchange
from services.local.gateway.fields import Field, Fields, Values
from services.local.gateway.plugins.base import Plugin, Scope, Surroundings
from services.local.gateway.responses import Answer


class RequestTermination(Plugin):
    """Answers with one status and message."""

    NAME = "request-termination"
    PRIORITY = 2
    FIELDS: ClassVar[Fields] = {
        "status_code": Field(int, 503, between=(100, 599)),
        "message": Field(str),
    }

    def __init__(self, config: Values, scope: Scope, surroundings: Surroundings) -> None:
        del scope, surroundings
        status: int = config["status_code"]
        self._answer = Answer(status, config["message"] or responses.get(status, ""))

    async def access(self, exchange: Exchange) -> Answer | None:
        del exchange
        return self._answer
