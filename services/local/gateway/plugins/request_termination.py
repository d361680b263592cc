"""request-termination: answer every request that reaches this plugin."""

from http.client import responses

from services.local.gateway.exchange import Exchange
from services.local.gateway.fields import Values
from services.local.gateway.plugins.base import Plugin, Surroundings
from services.local.gateway.responses import Answer
from services.policy.precedence import Scope


class RequestTermination(Plugin):
    """Answers with one status and message."""

    def __init__(self, config: Values, scope: Scope[str], surroundings: Surroundings) -> None:
        del scope, surroundings
        status: int = config["status_code"]
        self._answer = Answer(status, config["message"] or responses.get(status, ""))

    async def access(self, exchange: Exchange) -> Answer | None:
        del exchange
        return self._answer
