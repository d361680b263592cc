"""Balancer: the addresses of an upstream's targets, whose turn it is, and which get no requests.

Requests go round by weight, a retry goes to another address. Checks are Kong's in short: active
ones ask every address each interval, passive ones look at requests; failures are counted together.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Iterator
from typing import NamedTuple

import aiohttp
import structlog

from services.core.background import going_on
from services.local.gateway.model import Checks, Target, Upstream

LOOK_UP_EVERY = 1.0  # seconds between two lookups of names, where nothing is checked

Resolve = Callable[[str, int], Awaitable[Iterable[str]]]  # a name's addresses; raises OSError

_log = structlog.get_logger()


class NoTargetError(Exception):
    """No address of an upstream takes requests."""


class Health(NamedTuple):
    """The health of one address of a target."""

    upstream: str
    target: str
    address: str
    healthy: bool


class Address:
    """One process: an address of a target."""

    def __init__(self, target: Target, ip: str) -> None:
        self.target = target
        self.name = f"[{ip}]:{target.port}" if ":" in ip else f"{ip}:{target.port}"
        self.is_healthy = True
        self.turn = 0  # the highest is next
        self._failures = 0  # in a row
        self._successes = 0

    def failed(self, allowed: int) -> None:
        """Count a failure; so many of them (0: any number) take the address out."""
        self._failures += 1
        self._successes = 0
        if allowed and self._failures >= allowed:
            self.is_healthy = False

    def succeeded(self, needed: int) -> None:
        """Count a success; so many of them (0: none is enough) bring the address back."""
        self._successes += 1
        if needed and self._successes >= needed:
            self._failures = 0
            self.is_healthy = True


class Balancer:
    """The addresses of one upstream."""

    def __init__(self, upstream: Upstream, resolve: Resolve) -> None:
        self._upstream = upstream
        self._resolve = resolve
        self._addresses: dict[tuple[Target, str], Address] = {}

    async def pick(self, tried: Collection[Address]) -> Address:
        """Return whose turn it is, best one not tried yet. Raises NoTargetError, OSError."""
        if not self._addresses:
            await self._look_up()
        healthy = [each for each in self._addresses.values() if each.is_healthy]
        healthy = [each for each in healthy if each not in tried] or healthy
        weights = sum(each.target.weight for each in healthy)
        if not weights:
            raise NoTargetError(self._upstream.name)
        for each in healthy:
            each.turn += each.target.weight
        chosen = max(healthy, key=lambda each: each.turn)
        chosen.turn -= weights
        return chosen

    def failed(self, address: Address, *, timed_out: bool) -> None:
        """Take note of a request that an address did not answer."""
        checks = self._upstream.checks
        with self._noted(address):
            address.failed(checks.request_timeouts if timed_out else checks.request_tcp_failures)

    async def watch(self, session: aiohttp.ClientSession) -> None:
        """Look names up and check their addresses, until cancelled."""
        checks = self._upstream.checks
        while True:
            with going_on("targets.look_up_failed"), contextlib.suppress(OSError):
                await self._look_up()
            await asyncio.sleep(checks.interval or LOOK_UP_EVERY)
            if checks.interval:
                with going_on("targets.check_failed"):
                    await asyncio.gather(
                        *(self._check(each, checks, session) for each in self._addresses.values())
                    )

    def healths(self) -> Iterator[Health]:
        """Yield the health of each address."""
        for each in self._addresses.values():
            yield Health(self._upstream.name, each.target.name, each.name, each.is_healthy)

    async def _look_up(self) -> None:
        """Resolve all targets; one that fails keeps its addresses. Raises OSError if none is left.

        One name that cannot be resolved must not take the other targets away.
        """
        found: dict[tuple[Target, str], Address] = {}
        failure: OSError | None = None
        for target in self._upstream.targets:
            try:
                addresses = await self._resolve(target.host, target.port)
            except OSError as exc:
                failure = exc
                addresses = [ip for known, ip in self._addresses if known == target]
            for ip in addresses:
                found[target, ip] = self._addresses.get((target, ip)) or Address(target, ip)
        if failure is not None and not found:
            raise failure
        self._addresses = found

    async def _check(
        self, address: Address, checks: Checks, session: aiohttp.ClientSession
    ) -> None:
        failures = 0
        try:
            async with session.get(
                f"http://{address.name}{checks.path}",
                headers={"Host": address.target.name},
                timeout=aiohttp.ClientTimeout(total=checks.timeout),
            ) as answer:
                failures = checks.http_failures if answer.status >= 400 else -1
        except TimeoutError:
            failures = checks.timeouts
        except (aiohttp.ClientError, OSError):
            failures = checks.tcp_failures
        with self._noted(address):
            if failures < 0:
                address.succeeded(checks.successes)
            else:
                address.failed(failures)

    @contextlib.contextmanager
    def _noted(self, address: Address) -> Generator[None]:
        """Log it if an address goes out or comes back meanwhile."""
        before = address.is_healthy
        yield
        if address.is_healthy != before:
            event = "target.healthy" if address.is_healthy else "target.unhealthy"
            _log.info(event, target=address.target.name, address=address.name)


class Balancers:
    """The balancers of the running configuration; one that stays the same keeps what it knows."""

    def __init__(self, session: aiohttp.ClientSession, resolve: Resolve) -> None:
        self._session = session
        self._resolve = resolve
        self._running: dict[Upstream, tuple[Balancer, asyncio.Task[None]]] = {}

    def use(self, upstreams: Collection[Upstream]) -> None:
        """Watch these upstreams and no others; inside of a running event loop."""
        for gone in self._running.keys() - set(upstreams):
            self._running.pop(gone)[1].cancel()
        for upstream in upstreams:
            if upstream not in self._running:
                balancer = Balancer(upstream, self._resolve)
                task = asyncio.get_running_loop().create_task(balancer.watch(self._session))
                self._running[upstream] = balancer, task

    def of(self, upstream: Upstream) -> Balancer:
        """Return the balancer of an upstream; of one that is gone since, a new one for now."""
        found = self._running.get(upstream)
        return found[0] if found else Balancer(upstream, self._resolve)

    def healths(self) -> Iterator[Health]:
        """Yield the health of each address of all upstreams."""
        for balancer, _ in self._running.values():
            yield from balancer.healths()
