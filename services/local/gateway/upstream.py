"""Upstream: ask the service, with Kong's headers, timeouts and retries; its answer is streamed."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

from services.local.gateway.balancer import Address, Balancer, Balancers, NoTargetError
from services.local.gateway.body import RequestBody
from services.local.gateway.exchange import Exchange
from services.local.gateway.model import Service
from services.local.gateway.responses import (
    INVALID_UPSTREAM,
    NO_SUCH_NAME,
    NO_TARGET,
    UPSTREAM_TIMEOUT,
    VERSION,
    Answer,
)

# Shorter than uvicorn's 5 s, so that a kept connection is seldom closed just as it is used again.
KEEP_ALIVE = 2.0
RESOLVE_WITHIN = 2.0  # seconds
# A body up to this many bytes fits into the socket's buffers, so that writing it can't take long.
SMALL = 64 * 1024
# nginx asks again, after it may have been understood, only for methods that do no harm twice.
_IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS"))
_VIA = b"1.1 " + VERSION
# Of one connection only, or set anew below.
_NOT_FORWARDED = frozenset(
    b"connection content-length expect host http2-settings keep-alive proxy proxy-authenticate "
    b"proxy-connection te trailer transfer-encoding upgrade via x-forwarded-for x-forwarded-host "
    b"x-forwarded-path x-forwarded-port x-forwarded-prefix x-forwarded-proto x-kong-request-id "
    b"x-real-ip".split()
)
_PLAIN_CONNECTION = frozenset((b"", b"keep-alive", b"close"))
_NOT_IN_A_QUERY = re.compile(rb"[^\x21-\x7e]|#")


class UpstreamError(Exception):
    """The service gave no usable answer; `answer` is what the caller gets."""

    def __init__(self, answer: Answer, cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.answer = answer


Hosts = Mapping[str, Sequence[str]]  # names and their addresses, instead of a name server's


class _Resolver(aiohttp.ThreadedResolver):
    """The system's resolver, but a name server that does not answer is not waited for."""

    def __init__(self, hosts: Hosts) -> None:
        super().__init__()
        self._hosts = hosts

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name, or the address that it is. Raises OSError."""
        return [each["host"] for each in await self.resolve(host, port)]

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host in self._hosts:
            return [_address(host, port, address) for address in self._hosts[host]]
        try:
            async with asyncio.timeout(RESOLVE_WITHIN):
                return await super().resolve(host, port, family)
        except TimeoutError as exc:
            msg = f"no address for {host} within {RESOLVE_WITHIN} s"
            raise OSError(msg) from exc


def _address(host: str, port: int, address: str) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST,
    )


class ServiceClient:
    """All services; connections to them are kept and shared by all configurations.

    Of a name with several addresses the next one is tried when one refuses a connection, as Kong
    does; whose turn it is goes round. A service with an upstream has a balancer for that.
    """

    def __init__(self, hosts: Hosts) -> None:
        """Open the client; inside of a running event loop."""
        resolver = _Resolver(hosts)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEEP_ALIVE, resolver=resolver
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )
        # Retries are counted below, as Kong counts them; aiohttp would add its own.
        self._session._retry_connection = False  # pyright: ignore[reportPrivateUsage]
        self._timeouts: dict[Service, aiohttp.ClientTimeout] = {}
        # Checks have connections of their own: a service closes one after each check, and a request
        # must not find it among those that are kept.
        self._checks = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True)
        )
        self.balancers = Balancers(self._checks, resolver.addresses)

    async def close(self) -> None:
        """Stop all checks and close all connections."""
        self.balancers.use(())
        await self._checks.close()
        await self._session.close()

    async def ask(
        self, exchange: Exchange, service: Service, path: bytes
    ) -> aiohttp.ClientResponse:
        """Return the service's answer as soon as its head is there. Raises UpstreamError."""
        headers = request_headers(exchange)
        target = path + b"?" + exchange.query if exchange.query else path
        rest = _NOT_IN_A_QUERY.sub(_escape, target).decode()
        balancer = self.balancers.of(service.upstream) if service.upstream else None
        tried: list[Address] = []
        for left in range(service.retries if exchange.body.is_held else 0, -1, -1):
            try:
                origin, own = await _origin(service, balancer, tried)
                url = URL(origin + rest, encoded=True)
                return await self._send(exchange, service, url, [*headers, *own])
            except (aiohttp.ClientError, TimeoutError, OSError, NoTargetError) as exc:
                is_last = left == 0 or not _is_worth_repeating(exc, exchange.method)
                timed_out = isinstance(exc, TimeoutError)
                if balancer and tried and (timed_out or not is_last):  # Kong counts no others
                    balancer.failed(tried[-1], timed_out=timed_out)
                if is_last:
                    raise UpstreamError(_answer_to(exc), exc) from exc
        raise AssertionError  # the last attempt returned or raised

    async def _send(
        self, exchange: Exchange, service: Service, url: URL, headers: list[tuple[str, str]]
    ) -> aiohttp.ClientResponse:
        body = exchange.body
        if body.is_held and len(body.held) <= SMALL:
            return await self._request(exchange.method, service, url, headers, body.held or None)
        # aiohttp has no timeout for writing.
        async with asyncio.timeout(None) as deadline:
            if body.is_held:
                slack = service.connect_timeout + service.write_timeout + service.read_timeout
                deadline.reschedule(asyncio.get_running_loop().time() + slack)
                return await self._request(exchange.method, service, url, headers, body.held)
            if body.declared is not None:
                headers = [*headers, ("Content-Length", str(body.declared))]
            pieces = _timed(body, deadline, service.write_timeout)
            return await self._request(exchange.method, service, url, headers, pieces)

    async def _request(
        self,
        method: str,
        service: Service,
        url: URL,
        headers: list[tuple[str, str]],
        data: bytes | AsyncIterator[bytes] | None,
    ) -> aiohttp.ClientResponse:
        timeout = self._timeouts.get(service)
        if timeout is None:
            timeout = self._timeouts[service] = aiohttp.ClientTimeout(
                total=None, sock_connect=service.connect_timeout, sock_read=service.read_timeout
            )
        return await self._session.request(
            method, url, headers=headers, data=data, allow_redirects=False, timeout=timeout
        )


async def _origin(
    service: Service, balancer: Balancer | None, tried: list[Address]
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return where to send a request, and its Host header if that is not the address."""
    if balancer is None:
        return service.origin, ()
    address = await balancer.pick(tried)
    tried.append(address)
    return f"http://{address.name}", (("Host", address.target.name),)


async def _timed(
    body: RequestBody, deadline: asyncio.Timeout, write_timeout: float
) -> AsyncIterator[bytes]:
    """Yield a body; the service must take each piece in time, the client may take its time."""
    loop = asyncio.get_running_loop()
    async for piece in body.stream():
        # A service may answer before it has all of the body; the deadline is over then.
        with contextlib.suppress(RuntimeError):
            deadline.reschedule(loop.time() + write_timeout)
        yield piece
        with contextlib.suppress(RuntimeError):
            deadline.reschedule(None)


def _is_worth_repeating(exc: Exception, method: str) -> bool:
    """Say whether another try can help and can't do harm; nginx's `error timeout`."""
    final = (aiohttp.ClientConnectorDNSError, aiohttp.ClientResponseError, NoTargetError)
    if isinstance(exc, final):
        return False
    not_sent = isinstance(exc, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    return not_sent or method in _IDEMPOTENT


def _answer_to(exc: Exception) -> Answer:
    if isinstance(exc, NoTargetError):
        return NO_TARGET
    if isinstance(exc, aiohttp.ClientConnectorDNSError | socket.gaierror):
        return NO_SUCH_NAME
    return UPSTREAM_TIMEOUT if isinstance(exc, TimeoutError) else INVALID_UPSTREAM


def request_headers(exchange: Exchange) -> list[tuple[str, str]]:
    """Return the headers for the service."""
    removed, forwarded = exchange.removed, exchange.forwarded
    for connection in exchange.values(b"connection"):
        if connection not in _PLAIN_CONNECTION:
            removed.update(name.strip() for name in connection.lower().split(b","))
    kept = [
        (_text(name), _text(value))
        for name, value in exchange.headers
        if name not in _NOT_FORWARDED and name not in removed and name not in forwarded
    ]
    kept.extend((_text(name), _text(value)) for name, value in forwarded.items())
    kept.extend(_proxy_headers(exchange))
    return kept


def _proxy_headers(exchange: Exchange) -> Iterator[tuple[str, str]]:
    chain = [value.decode("latin-1") for value in exchange.values(b"x-forwarded-for")]
    yield "X-Forwarded-For", ", ".join([*chain, exchange.client_host])
    yield "X-Forwarded-Proto", "http"
    yield "X-Forwarded-Host", exchange.host.decode("latin-1")
    yield "X-Forwarded-Port", str(exchange.server_port)
    yield "X-Forwarded-Path", exchange.raw_path.decode("latin-1")
    yield "X-Real-IP", exchange.client_host
    yield "Via", ", ".join(_text(value) for value in (*exchange.values(b"via"), _VIA))
    yield "X-Kong-Request-Id", exchange.kong_request_id


def _text(value: bytes) -> str:
    # aiohttp writes UTF-8; bytes that are not UTF-8 it leaves out.
    return value.decode("utf-8", "surrogateescape")


def _escape(character: re.Match[bytes]) -> bytes:
    return b"%%%02X" % ord(character[0])
