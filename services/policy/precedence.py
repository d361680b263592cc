"""Precedence: which instance of a plugin runs for a request, as only one does."""

from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Scope(NamedTuple, Generic[T]):
    """Which requests an instance of a plugin is limited to, or what a request has; None: any."""

    service: T | None = None
    route: T | None = None
    consumer: T | None = None


def by_precedence(request: Scope[T]) -> tuple[Scope[T], ...]:
    """Return the scopes that fit a request; the first one with an instance wins."""
    service, route, consumer = request
    return (
        request,
        Scope(None, route, consumer),
        Scope(service, None, consumer),
        Scope(service, route, None),
        Scope(None, None, consumer),
        Scope(None, route, None),
        Scope(service, None, None),
        Scope(),
    )
