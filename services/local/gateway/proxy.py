"""Proxy: the ASGI app; rewrite -> route -> access -> service -> header filter -> caller."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import structlog

from services.core.logs import shown_path
from services.local.gateway.body import ClientGoneError, Receive, RequestBody
from services.local.gateway.configuration import Configuration
from services.local.gateway.exchange import Exchange
from services.local.gateway.model import Route
from services.local.gateway.plugins.base import Took
from services.local.gateway.responses import (
    MALFORMED,
    NO_ROUTE,
    UNEXPECTED,
    VERSION,
    Answer,
    HeaderList,
    Response,
    own_response,
)
from services.local.gateway.upstream import ServiceClient, UpstreamError
from services.policy.routing import Match, normalise

FAULT = "gateway.fault"  # the scope's key for the status of a request that can't be understood

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]

# Of one connection only; Date is set by our own server.
_NOT_RETURNED = frozenset(
    b"connection date keep-alive proxy-authenticate proxy-connection te trailer transfer-encoding "
    b"upgrade".split()
)

_log = structlog.get_logger()


class _Turn(Exchange):
    """One request with the configuration of its beginning, also if another one is posted."""

    __slots__ = ("configuration",)

    configuration: Configuration


class Proxy:
    """One node; `configuration` may be replaced at any time."""

    def __init__(self, configuration: Configuration, upstream: ServiceClient) -> None:
        self._upstream = upstream
        self.configuration = configuration

    @property
    def configuration(self) -> Configuration:
        """The configuration for new requests."""
        return self._configuration

    @configuration.setter
    def configuration(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._upstream.balancers.use(configuration.upstreams)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; a connection that breaks in the middle ends without a word."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        exchange = _exchange(self.configuration, scope, receive)
        reason = ""
        try:
            answer = await self._decide(exchange, scope.get(FAULT))
            if answer is None:
                sent = loop.time()
                service_answer = await self._ask(exchange)
                answered = loop.time()
                response = await _relay(exchange, service_answer, send, (began, sent, answered))
                _log_phase(exchange, response, Took(loop.time() - began, answered - sent))
                return
        except UpstreamError as exc:
            answer, reason = exc.answer, str(exc)
        except ClientGoneError:
            return
        except Exception:  # noqa: BLE001 -- the caller gets a 500, whatever it was
            answer = UNEXPECTED
            _log.exception("request.failed", path=_shown(exchange))
        response = await _say(exchange, answer, send, reason=reason)
        _log_phase(exchange, response, Took(loop.time() - began, None))

    async def _decide(self, exchange: _Turn, fault: int | None) -> Answer | None:
        """Return the gateway's own answer, or None when the service is to be asked."""
        plans = exchange.configuration.plans
        plans.rewrite(exchange)
        if fault is not None:
            return MALFORMED[fault]
        exchange.path = normalise(exchange.raw_path)
        match = exchange.configuration.router.match(
            exchange.method, exchange.single.get(b"host", b""), exchange.path.decode("latin-1")
        )
        if match is None:
            return NO_ROUTE
        exchange.route = match.route
        exchange.path = _upstream_path(exchange.path, match)
        return await plans.access(exchange)

    async def _ask(self, exchange: _Turn) -> aiohttp.ClientResponse:
        body = exchange.body
        if not body.is_held:
            await body.hold()
        route = exchange.route
        assert route is not None, "only routed requests get here"  # noqa: S101
        return await self._upstream.ask(exchange, route.service, exchange.path)


def _exchange(configuration: Configuration, scope: Scope, receive: Receive) -> _Turn:
    headers: HeaderList = scope["headers"]
    exchange = _Turn(
        configuration.callers,
        method=scope["method"],
        raw_path=scope["raw_path"],
        query=scope["query_string"],
        headers=headers,
        client_host=scope["client"][0],
        server_port=scope["server"][1],
        kong_request_id=secrets.token_hex(16),
    )
    exchange.configuration = configuration
    declared = exchange.single.get(b"content-length")
    exchange.body = RequestBody(
        receive,
        int(declared) if declared else None,
        chunked=b"transfer-encoding" in exchange.single,
    )
    return exchange


def _upstream_path(path: bytes, match: Match[Route]) -> bytes:
    """Return the path that the service sees."""
    route = match.route
    if route.strip_path:
        path = b"/" + path[match.length :].lstrip(b"/")
    return route.service.path + path


async def _relay(
    exchange: _Turn,
    answer: aiohttp.ClientResponse,
    send: Send,
    times: tuple[float, float, float],
) -> Response:
    """Send the service's answer on, piece by piece."""
    headers = [
        (lower, value)
        for name, value in answer.raw_headers
        if (lower := name.lower()) not in _NOT_RETURNED
    ]
    response = Response(answer.status, headers, from_service=True)
    _sign(exchange, response, times)
    exchange.configuration.plans.header_filter(exchange, response)
    try:
        await _stream(answer, response, send)
    except (aiohttp.ClientError, TimeoutError) as exc:
        # The head is out: all that is left is to break the connection off.
        _note(exchange, "upstream.broke_off", response, repr(exc))
    finally:
        answer.close()
    return response


def _log_phase(exchange: _Turn, response: Response, took: Took) -> None:
    exchange.configuration.plans.log(exchange, response, took)


async def _stream(answer: aiohttp.ClientResponse, response: Response, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": response.final_headers(),
        }
    )
    content = answer.content
    piece = content.read_nowait()  # mostly all of it
    more = not content.at_eof()
    await send({"type": "http.response.body", "body": piece, "more_body": more})
    while more:
        piece = await content.readany()
        more = not content.at_eof()
        await send({"type": "http.response.body", "body": piece, "more_body": more})


async def _say(exchange: _Turn, answer: Answer, send: Send, *, reason: str) -> Response:
    """Send an answer of the gateway's own, and log it: no service has seen this request."""
    response = own_response(answer, exchange.kong_request_id)
    exchange.configuration.plans.header_filter(exchange, response)
    response.set_header(b"content-length", b"%d" % len(response.body))
    headers = response.final_headers()
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": False})
    _note(exchange, "request.refused", response, reason)
    return response


def _sign(exchange: _Turn, response: Response, times: tuple[float, float, float]) -> None:
    began, sent, answered = times
    response.set_header(b"via", _via(response))
    response.set_header(b"x-kong-upstream-latency", b"%d" % ((answered - sent) * 1000))
    response.set_header(b"x-kong-proxy-latency", b"%d" % ((sent - began) * 1000))
    response.set_header(b"x-kong-request-id", exchange.kong_request_id.encode())


def _via(response: Response) -> bytes:
    before = [value for name, value in response.headers if name == b"via"]
    return b", ".join([*before, b"1.1 " + VERSION])


def _shown(exchange: _Turn) -> str:
    return shown_path(exchange.raw_path.decode("latin-1"))


def _note(exchange: _Turn, event: str, response: Response, reason: str) -> None:
    """Log an answer by its request id; `reason` names the fault of a service."""
    request_id = response.header(b"x-request-id") or exchange.kong_request_id.encode()
    log = _log.warning if reason else _log.info
    log(
        event,
        status=response.status,
        method=exchange.method,
        path=_shown(exchange),
        request_id=request_id.decode("latin-1"),
        **({"reason": reason} if reason else {}),
    )
