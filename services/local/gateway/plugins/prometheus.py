"""prometheus: counts and times the requests of a node; ../metrics.py holds the numbers."""

from services.local.gateway.exchange import Exchange
from services.local.gateway.fields import Values
from services.local.gateway.plugins.base import Plugin, Surroundings, Took
from services.local.gateway.responses import Response
from services.policy.precedence import Scope


class Prometheus(Plugin):
    """Counts and times each sent answer."""

    def __init__(self, config: Values, scope: Scope[str], surroundings: Surroundings) -> None:
        del scope
        self._metrics = surroundings.metrics
        self._counts: bool = config["status_code_metrics"]
        self._times: bool = config["latency_metrics"]
        self._metrics.ask_for_targets(are_asked_for=config["upstream_health_metrics"])

    def log(self, exchange: Exchange, response: Response, took: Took) -> None:
        route = exchange.route
        if route is None:  # no service either: nothing to count it under
            return
        names = route.service.name, route.name
        if self._counts:
            self._metrics.count(*names, response.status, from_service=response.from_service)
        if self._times:
            self._metrics.time(*names, took.whole, took.service)
