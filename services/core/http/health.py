"""Health: is the process alive, and can it serve? Answers for load balancers and people (D4)."""

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

# Of the process, as the signal that sets it is: it is about to end, and wants no more requests.
LEAVING = threading.Event()
# What gateways and load balancers check: 503 only while the process leaves (while it starts, nobody
# answers). Not /health/ready: when PostgreSQL is away all processes are unready at once, and those
# in front would stop sending requests that the caches can answer.
ACCEPTING_PATH = "/health/accepting"
CHECK_INTERVAL = 1.0  # seconds between two checks of that path, as gateway/kong.yml has it
CHECK_WITHIN = 1.0  # seconds; a dependency that takes longer counts as away


class Checks:
    """When somebody last checked whether this process accepts requests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a clock in seconds."""
        self._clock = clock
        self._last = -math.inf

    def note(self) -> None:
        """Take note of a check."""
        self._last = self._clock()

    def go_on(self) -> bool:
        """Say whether the next check is still to be expected."""
        return self._clock() - self._last < 3 * CHECK_INTERVAL


CHECKS = Checks()  # of the process, as LEAVING is


class Readiness(StrEnum):
    """What a service can do just now."""

    READY = "ready"
    DEGRADED = "degraded"  # it serves, without something that it can do without for a while
    UNAVAILABLE = "unavailable"
    LEAVING = "leaving"  # it serves what still comes, and ends within seconds


REFUSED = (Readiness.UNAVAILABLE, Readiness.LEAVING)


class DependencyState(StrEnum):
    """Whether a dependency answers."""

    UP = "up"
    DOWN = "down"


class Dependency(msgspec.Struct, frozen=True):
    """Something that the service needs; `check` raises when it is away."""

    check: Callable[[], Awaitable[object]]
    essential: bool  # whether the service can't serve without it


class Health(msgspec.Struct):
    """The body of /health/ready."""

    status: Readiness
    dependencies: dict[str, DependencyState]


def health_routes(dependencies: Mapping[str, Dependency]) -> list[HTTPRouteHandler]:
    """Return the handlers of /health/live, /health/accepting and /health/ready."""

    @get("/health/live", sync_to_thread=False)
    def live() -> Response[bytes]:
        return Response(b'{"status":"live"}', media_type="application/json")

    @get(ACCEPTING_PATH, sync_to_thread=False)
    def accepting() -> Response[bytes]:
        CHECKS.note()
        leaving = LEAVING.is_set()
        body = b'{"status":"leaving"}' if leaving else b'{"status":"accepting"}'
        return Response(body, status_code=503 if leaving else 200, media_type="application/json")

    @get("/health/ready")
    async def ready() -> Response[bytes]:
        health = await check_health(dependencies)
        if LEAVING.is_set():
            health.status = Readiness.LEAVING
        status = 503 if health.status in REFUSED else 200
        body = msgspec.json.encode(health)
        return Response(body, status_code=status, media_type="application/json")

    return [live, accepting, ready]


async def check_health(dependencies: Mapping[str, Dependency]) -> Health:
    """Ask every dependency at the same time."""
    states = await asyncio.gather(*(_state(each) for each in dependencies.values()))
    found = dict(zip(dependencies, states, strict=True))
    down = [dependencies[name] for name, state in found.items() if state is DependencyState.DOWN]
    status = Readiness.DEGRADED if down else Readiness.READY
    if any(dependency.essential for dependency in down):
        status = Readiness.UNAVAILABLE
    return Health(status=status, dependencies=found)


async def _state(dependency: Dependency) -> DependencyState:
    checking = asyncio.ensure_future(_checked(dependency))
    # Not wait_for: a driver may take seconds to let go of a call to a server that hangs.
    done, _ = await asyncio.wait({checking}, timeout=CHECK_WITHIN)
    if not done:
        checking.cancel()
        return DependencyState.DOWN
    return checking.result()


async def _checked(dependency: Dependency) -> DependencyState:
    try:
        await dependency.check()
    except Exception:  # noqa: BLE001 -- whatever it is, the dependency can't be used
        return DependencyState.DOWN
    return DependencyState.UP
