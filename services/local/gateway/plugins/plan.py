"""Plan: which instance of each plugin runs for a request, in Kong's order and precedence."""

from collections.abc import Mapping, Sequence

from services.local.gateway.exchange import Exchange
from services.local.gateway.model import Consumer, Route
from services.local.gateway.plugins.base import Plugin, Took
from services.local.gateway.responses import Answer, Response
from services.policy.precedence import Scope, by_precedence
from services.policy.schema import PLUGINS


class Plan:
    """The instances that run for one route and one consumer."""

    __slots__ = ("access", "header_filter", "log")

    def __init__(self, instances: Sequence[Plugin | None]) -> None:
        # Places of plugins that don't run stay, so that plans can be changed halfway.
        self.access = tuple(p if p and _has(p, "access") else None for p in instances)
        self.header_filter = tuple(p for p in instances if p and _has(p, "header_filter"))
        self.log = tuple(p for p in instances if p and _has(p, "log"))


class Plans:
    """Every plan of a configuration, made when first needed."""

    def __init__(self, instances: Mapping[tuple[str, Scope[str]], Plugin]) -> None:
        self._instances = instances
        names = {name for name, _ in instances}
        self._names = sorted(names, key=lambda name: PLUGINS[name].priority, reverse=True)
        self._plans: dict[tuple[Route | None, Consumer | None], Plan] = {}
        everywhere = (instances.get((name, Scope())) for name in self._names)
        self._rewrite = tuple(p for p in everywhere if p and _has(p, "rewrite"))

    def plan(self, route: Route | None, consumer: Consumer | None) -> Plan:
        """Return the plan of a route and a consumer; None is a request that has none (yet)."""
        plan = self._plans.get((route, consumer))
        if plan is None:
            plan = Plan([self._instance(name, route, consumer) for name in self._names])
            self._plans[route, consumer] = plan
        return plan

    def _instance(self, name: str, route: Route | None, consumer: Consumer | None) -> Plugin | None:
        request = Scope(
            service=route.service.id if route else None,
            route=route.id if route else None,
            consumer=consumer.id if consumer else None,
        )
        found = (self._instances.get((name, scope)) for scope in by_precedence(request))
        return next((plugin for plugin in found if plugin), None)

    def rewrite(self, exchange: Exchange) -> None:
        """Run the phase before routing."""
        for plugin in self._rewrite:
            plugin.rewrite(exchange)

    async def access(self, exchange: Exchange) -> Answer | None:
        """Run the phase before the service; a plugin's answer ends it."""
        consumer = exchange.consumer
        access = self.plan(exchange.route, consumer).access
        for place in range(len(access)):
            plugin = access[place]
            if plugin is None:
                continue
            answer = await plugin.access(exchange)
            if answer is not None:
                return answer
            if exchange.consumer is not consumer:  # key-auth found out who asks
                consumer = exchange.consumer
                access = self.plan(exchange.route, consumer).access
        return None

    def header_filter(self, exchange: Exchange, response: Response) -> None:
        """Run the phase before the answer goes out."""
        for plugin in self.plan(exchange.route, exchange.consumer).header_filter:
            plugin.header_filter(exchange, response)

    def log(self, exchange: Exchange, response: Response, took: Took) -> None:
        """Run the phase after the answer went out."""
        for plugin in self.plan(exchange.route, exchange.consumer).log:
            plugin.log(exchange, response, took)


def _has(plugin: Plugin, phase: str) -> bool:
    return getattr(type(plugin), phase) is not getattr(Plugin, phase)
