"""Precedence: which one of several instances of a plugin runs for a request."""

from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Scope(NamedTuple, Generic[T]):
    """The service, route and consumer of a request, or of a plugin's instance; None: any."""

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
