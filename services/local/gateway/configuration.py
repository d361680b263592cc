"""Configuration: router, plugins, callers and upstreams of one accepted file."""

from dataclasses import dataclass

from services.local.gateway.model import Callers, Route, Upstream
from services.local.gateway.plugins.plan import Plans
from services.policy.routing import Router

NO_CONFIGURATION_HASH = "0" * 32  # what Kong's status says while there is no configuration


@dataclass(frozen=True, slots=True, eq=False)
class Configuration:
    """One accepted file; it never changes, and a new one replaces it as a whole."""

    hash: str  # the MD5 of its text, as Kong computes it
    router: Router[Route]
    plans: Plans
    callers: Callers
    upstreams: tuple[Upstream, ...] = ()


def no_configuration() -> Configuration:
    """Return the configuration of a node that never got a file: no route at all."""
    return Configuration(NO_CONFIGURATION_HASH, Router(()), Plans({}), Callers({}, {}))
