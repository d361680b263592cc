"""Configuration: what one accepted file says; a new one takes its place as a whole."""

from dataclasses import dataclass

from services.local.gateway.model import Callers, Route, Upstream
from services.local.gateway.plugins.plan import Plans
from services.policy.routing import Router

NO_CONFIGURATION_HASH = "0" * 32  # what Kong's status says while there is no configuration


@dataclass(frozen=True, slots=True, eq=False)
class Configuration:
    """What one declarative file says; it never changes."""

    hash: str  # the MD5 of its text, as Kong computes it
    router: Router[Route]
    plans: Plans
    callers: Callers
    upstreams: tuple[Upstream, ...] = ()


def no_configuration() -> Configuration:
    """Return what a node has before it was ever given a file: no route at all."""
    return Configuration(NO_CONFIGURATION_HASH, Router(()), Plans({}), Callers({}, {}))
