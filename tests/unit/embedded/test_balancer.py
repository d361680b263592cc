"""The embedded gateway's balancer: names that cannot be resolved, and failures while it watches."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import cast

import aiohttp
import pytest
from structlog.testing import capture_logs

from services.local.gateway import balancer
from services.local.gateway.balancer import Balancer
from services.local.gateway.model import Checks, Target, Upstream

CHECKS = Checks("/", 0, 1, 1, 1, 1, 1, 1, 1)
UPSTREAM = Upstream("u", (Target("here", 80, 100), Target("gone", 80, 100)), CHECKS)


class Names:
    """Names and their addresses; one that is left out cannot be resolved."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.known = dict(known)
        self.asked = 0
        self.broken: Exception | None = None

    async def resolve(self, host: str, port: int) -> Iterable[str]:
        """Return the addresses of a name. Raises OSError."""
        del port
        self.asked += 1
        if self.broken is not None:
            raise self.broken
        if host not in self.known:
            raise OSError(host)
        return [self.known[host]]


async def watched(watching: Balancer, names: Names) -> None:
    """Let it look names up some times more."""
    task = asyncio.create_task(watching.watch(cast("aiohttp.ClientSession", None)))
    until = names.asked + 10
    while names.asked < until:
        assert not task.done()
        await asyncio.sleep(0)
    task.cancel()


def found(watching: Balancer) -> set[str]:
    return {each.address for each in watching.healths()}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balancer, "LOOK_UP_EVERY", 0)


def test_a_target_that_cannot_be_resolved_leaves_the_others_their_requests() -> None:
    names = Names({"here": "10.0.0.1"})
    watching = Balancer(UPSTREAM, names.resolve)
    picked = asyncio.run(watching.pick(()))
    assert picked.name == "10.0.0.1:80"


def test_a_target_that_cannot_be_resolved_any_more_keeps_its_addresses() -> None:
    names = Names({"here": "10.0.0.1", "gone": "10.0.0.2"})
    watching = Balancer(UPSTREAM, names.resolve)
    asyncio.run(watched(watching, names))
    names.known = {"here": "10.0.0.3"}
    asyncio.run(watched(watching, names))
    assert found(watching) == {"10.0.0.3:80", "10.0.0.2:80"}


def test_an_upstream_without_an_address_says_why() -> None:
    with pytest.raises(OSError, match="gone"):
        asyncio.run(Balancer(UPSTREAM, Names({}).resolve).pick(()))


def test_watching_goes_on_after_an_unexpected_failure() -> None:
    names = Names({"here": "10.0.0.1"})
    names.broken = RuntimeError("unexpected")
    watching = Balancer(UPSTREAM, names.resolve)
    with capture_logs() as logs:
        asyncio.run(watched(watching, names))
    assert {each["event"] for each in logs} == {"targets.look_up_failed"}
    names.broken = None
    asyncio.run(watched(watching, names))
    assert found(watching) == {"10.0.0.1:80"}
