"""acl: only consumers of certain groups pass."""

from services.local.gateway.exchange import Exchange
from services.local.gateway.fields import Values
from services.local.gateway.plugins.base import Plugin, Surroundings
from services.local.gateway.responses import Answer
from services.policy.precedence import Scope

_REFUSED = Answer(403, "You cannot consume this service")
_UNKNOWN = Answer(401, "Unauthorized")


class Acl(Plugin):
    """Refuses a consumer that is in none of the allowed groups."""

    def __init__(self, config: Values, scope: Scope[str], surroundings: Surroundings) -> None:
        del scope, surroundings
        self._allow = frozenset[str](config["allow"])
        self._hide: bool = config["hide_groups_header"]

    async def access(self, exchange: Exchange) -> Answer | None:
        consumer = exchange.consumer
        if consumer is None:
            return _UNKNOWN
        if self._allow.isdisjoint(consumer.groups):
            return _REFUSED
        if self._hide:
            exchange.remove_header(b"x-consumer-groups")
        else:
            groups = ", ".join(sorted(consumer.groups))
            exchange.set_header(b"x-consumer-groups", groups.encode())
        return None
