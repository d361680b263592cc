"""Plugins: the base class, and what a plugin may use."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from services.local.gateway.counters import CounterStores
from services.local.gateway.exchange import Exchange
from services.local.gateway.fields import Fault, Values
from services.local.gateway.metrics import GatewayMetrics
from services.local.gateway.responses import Answer, Response
from services.policy.precedence import Scope


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The environment, clock, stores and metrics that plugins use."""

    environment: Mapping[str, str]  # what {vault://env/...} reads
    clock: Callable[[], float]  # seconds since 1970
    stores: CounterStores
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)


class Took(NamedTuple):
    """How long a request took, in seconds."""

    whole: float
    service: float | None  # until its head came; None if it was not asked


@dataclass(frozen=True, slots=True)
class Known:
    """The consumers and variables that a plugin's config can refer to."""

    consumers: frozenset[str]  # ids and usernames
    environment: Mapping[str, str]


class Plugin:
    """One instance: a plugin with its config, for some scope; the schema has its priority."""

    def __init__(self, config: Values, scope: Scope[str], surroundings: Surroundings) -> None:
        """Take a config that the schema and `faults` found nothing wrong with."""

    @classmethod
    def faults(cls, config: Values, known: Known) -> Iterable[Fault]:
        """Return the faults of a config whose fields are right one by one."""
        del config, known
        return ()

    def rewrite(self, exchange: Exchange) -> None:
        """Change a request before it has a route; only global instances are asked."""

    async def access(self, exchange: Exchange) -> Answer | None:
        """Let a request go on (None), or answer it."""

    def header_filter(self, exchange: Exchange, response: Response) -> None:
        """Change an answer before it goes out; also one to a request without a route."""

    def log(self, exchange: Exchange, response: Response, took: Took) -> None:
        """Count or log a sent answer; requests without a route come here, too."""
