"""rate-limiting: so many requests a calendar minute, counted in Valkey by all gateways."""

from collections.abc import Iterable

from services.local.gateway.counters import Address, CounterStore, StoreAwayError
from services.local.gateway.exchange import Exchange
from services.local.gateway.fields import Fault, Values
from services.local.gateway.plugins.base import Known, Plugin, Surroundings
from services.local.gateway.responses import UNEXPECTED, Answer, Response
from services.policy.precedence import Scope

WINDOW = 60  # seconds; windows begin with the minutes of UTC

_REFUSAL = "API rate limit exceeded"


class RateLimiting(Plugin):
    """Counts every request, refused ones too."""

    def __init__(self, config: Values, scope: Scope[str], surroundings: Surroundings) -> None:
        redis: Values = config["redis"]
        address = Address(redis["host"], redis["port"], redis["database"])
        self._store: CounterStore = surroundings.stores.at(address)
        self._clock = surroundings.clock
        self._timeout: float = redis["timeout"] / 1000  # ms -> s
        self._limit: int = config["minute"]
        self._by: str = config["limit_by"]
        self._tolerant: bool = config["fault_tolerant"]
        # Kong's own form. A consumer's instance names no route, so all routes share its counter.
        self._key = f"ratelimit:{scope.route or ''}:{scope.service or ''}:"

    @classmethod
    def faults(cls, config: Values, known: Known) -> Iterable[Fault]:
        """Refuse a timeout of 0, in which no count could be done; Kong takes it."""
        del known
        if config["redis"]["timeout"] == 0:
            yield Fault("config.redis.timeout", "must be above 0 in the embedded gateway")

    async def access(self, exchange: Exchange) -> Answer | None:
        now = self._clock()
        second = int(now) % WINDOW
        key = f"{self._key}{self._identifier(exchange)}:{int(now) - second}:minute"
        try:
            count = await self._store.increment(key, WINDOW, self._timeout)
        except StoreAwayError:
            return None if self._tolerant else UNEXPECTED
        reset = b"%d" % (WINDOW - second)
        remaining = b"%d" % max(0, self._limit - count)
        limit = b"%d" % self._limit
        exchange.limit_headers = (
            (b"ratelimit-limit", limit),
            (b"ratelimit-remaining", remaining),
            (b"ratelimit-reset", reset),
            (b"x-ratelimit-limit-minute", limit),
            (b"x-ratelimit-remaining-minute", remaining),
        )
        if count <= self._limit:
            return None
        return Answer(429, _REFUSAL, ((b"retry-after", reset),))

    def _identifier(self, exchange: Exchange) -> str:
        if self._by == "consumer" and exchange.consumer is not None:
            return exchange.consumer.id
        if self._by == "credential" and exchange.credential is not None:
            return exchange.credential.id
        return exchange.client_host

    def header_filter(self, exchange: Exchange, response: Response) -> None:
        response.replaced.update(exchange.limit_headers)
