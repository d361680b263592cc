"""key-auth: find the consumer by the key in a header; without a good key `anonymous`, or 401."""

from collections.abc import Iterable

from services.local.gateway.exchange import Exchange
from services.local.gateway.fields import Fault, Values
from services.local.gateway.model import Credential
from services.local.gateway.plugins.base import Known, Plugin, Surroundings
from services.local.gateway.responses import Answer
from services.policy.precedence import Scope

NO_KEY = "No API key found in request"
WRONG_KEY = "Unauthorized"
DUPLICATE_KEY = "Duplicate API key found"
_CHALLENGE = ((b"www-authenticate", b"Key"),)

CONSUMER_HEADERS = (b"x-consumer-id", b"x-consumer-custom-id", b"x-consumer-username")


class KeyAuth(Plugin):
    """Looks a key up in the configuration."""

    def __init__(self, config: Values, scope: Scope[str], surroundings: Surroundings) -> None:
        del scope, surroundings
        self._names = tuple(name.lower().encode() for name in config["key_names"])
        self._hide: bool = config["hide_credentials"]
        self._anonymous: str | None = config["anonymous"]

    @classmethod
    def faults(cls, config: Values, known: Known) -> Iterable[Fault]:
        anonymous = config["anonymous"]
        if anonymous is not None and anonymous not in known.consumers:
            yield Fault("config.anonymous", f"no consumer is called '{anonymous}'")

    async def access(self, exchange: Exchange) -> Answer | None:
        credential, refusal = self._look_up(exchange)
        if self._hide:
            for name in self._names:
                exchange.remove_header(name)
        if credential is not None:
            self._tell(exchange, credential)
            return None
        if self._anonymous is None:
            return Answer(401, refusal, _CHALLENGE)
        self._be_anonymous(exchange, self._anonymous)
        return None

    def _look_up(self, exchange: Exchange) -> tuple[Credential | None, str]:
        for name in self._names:
            keys = exchange.values(name)
            if len(keys) > 1:
                return None, DUPLICATE_KEY
            if keys and keys[0]:
                return exchange.callers.credentials.get(keys[0]), WRONG_KEY
        return None, NO_KEY

    def _tell(self, exchange: Exchange, credential: Credential) -> None:
        exchange.credential = credential
        exchange.consumer = credential.consumer
        exchange.removed.update(CONSUMER_HEADERS)
        exchange.removed.add(b"x-anonymous-consumer")
        exchange.forwarded.update(credential.consumer.headers)
        exchange.set_header(b"x-credential-identifier", credential.id.encode())

    def _be_anonymous(self, exchange: Exchange, name: str) -> None:
        consumer = exchange.callers.consumers[name]
        exchange.consumer = consumer
        exchange.removed.update(CONSUMER_HEADERS)
        exchange.removed.add(b"x-credential-identifier")
        exchange.forwarded.update(consumer.headers)
        exchange.set_header(b"x-anonymous-consumer", b"true")
