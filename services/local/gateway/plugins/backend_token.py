"""backend-token: a secret header by which services know the gateway (A7); ours, not Kong's."""

import re
from collections.abc import Iterable, Mapping

from services.local.gateway.exchange import Exchange
from services.local.gateway.fields import Fault, Values
from services.local.gateway.plugins.base import Known, Plugin, Surroundings
from services.local.gateway.responses import Answer
from services.policy.precedence import Scope

_REFERENCE = re.compile(r"\{vault://env/([A-Za-z0-9_-]+)\}")


class BackendToken(Plugin):
    """Sets the header for the service, whatever the client sent."""

    def __init__(self, config: Values, scope: Scope[str], surroundings: Surroundings) -> None:
        del scope
        self._header: bytes = config["header"].lower().encode()
        self._hidden = [name.lower().encode() for name in config["hide"] or ()]
        self._token = _resolve(config["token"], surroundings.environment).encode()

    @classmethod
    def faults(cls, config: Values, known: Known) -> Iterable[Fault]:
        variable = _variable(config["token"])
        if variable is not None and not known.environment.get(variable):
            yield Fault("config.token", f"the gateway's environment has no variable {variable}")

    async def access(self, exchange: Exchange) -> Answer | None:
        exchange.set_header(self._header, self._token)
        for name in self._hidden:
            exchange.remove_header(name)
        return None


def _variable(token: str) -> str | None:
    """Return the environment variable that a reference means, as Kong derives its name."""
    reference = _REFERENCE.fullmatch(token)
    return reference[1].replace("-", "_").upper() if reference else None


def _resolve(token: str, environment: Mapping[str, str]) -> str:
    variable = _variable(token)
    return token if variable is None else environment[variable]
