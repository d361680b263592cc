"""Sender: one POST to a partner's endpoint, within its limits, to allowed addresses only."""

import functools
import logging
import ssl
from collections.abc import Mapping

import httpcore
import httpx

from services.webhooks.delivery.call import (
    BODY_LIMIT,
    Call,
    CallFailedError,
    ConnectionLostError,
    OurFaultError,
)
from services.webhooks.delivery.network import GuardedBackend
from services.webhooks.delivery.outcome import Answer, AttemptOutcome, NoAnswer
from services.webhooks.delivery.resolver import Resolver
from services.webhooks.delivery.transport import Transport
from services.webhooks.targets import TargetPolicy, TargetRefusedError, check_url

USER_AGENT = "partner-inventory-webhooks/1"
URLS_KEPT = 1024  # parsed; a sender's endpoints come back again and again
MAX_DETAIL = 200  # characters
STALE_RETRIES = 1  # an idle connection that the receiver closed is found out by using it

# Below WARNING they tell whole URLs and headers, and URLs may carry tokens.
for library in ("httpx", "httpcore"):
    logging.getLogger(library).setLevel(logging.WARNING)

STANDING_HEADERS = {
    "User-Agent": USER_AGENT,
    "Content-Type": "application/json",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
}


@functools.cache
def default_tls() -> ssl.SSLContext:
    """Return the context that verifies receivers against certifi's roots; one for the process."""
    return tls_context(httpx.create_ssl_context(trust_env=False))


def tls_context(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make a context speak HTTP/1.1 only, before threads share it."""
    context.set_alpn_protocols(["http/1.1"])
    return context


@functools.cache
def process_resolver() -> Resolver:
    """Return the resolver that all senders of this process share."""
    return Resolver()


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep nothing: receivers must not fill our memory; a fifth of a send's CPU is saved."""


class _Client(httpx.Client):
    @property
    def cookies(self) -> httpx.Cookies:
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        raise NotImplementedError


_NO_COOKIES = _NoCookies()


class NotSentError(Exception):
    """We failed before the first byte went out; the cause is with it."""


class Sender:
    """Sends webhooks for one thread; connections stay open between sends."""

    def __init__(
        self,
        policy: TargetPolicy,
        *,
        connect_seconds: float,
        call_seconds: float,
        tls: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        """Take the limits: to connect (lookup and TLS included), and of a call in all.

        `tls` and `resolver` default to those that the whole process shares.
        """
        self._call = Call(connect_seconds=connect_seconds, call_seconds=call_seconds)
        self._client = _Client(
            transport=Transport(
                GuardedBackend(
                    self._call, policy, resolver or process_resolver(), tls or default_tls()
                )
            ),
            follow_redirects=False,
            trust_env=False,  # no proxy, no .netrc
        )
        self._policy = policy
        self._parse = functools.lru_cache(URLS_KEPT)(self._parse_allowed)

    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer | NoAnswer:
        """Post a body; whatever the network and the receiver do, this returns in time.

        A fault of ours is raised: as NotSentError before the first byte went out. After any
        other exception nobody knows whether the webhook arrived.
        """
        self._call.begin()
        try:
            return self._answer(self._request(url, body, headers))
        except TargetRefusedError as exc:
            return NoAnswer(AttemptOutcome.REFUSED_TARGET, one_line(str(exc)))
        except CallFailedError as exc:
            return NoAnswer(exc.outcome, one_line(exc.detail))
        except httpcore.RemoteProtocolError:
            # Without the words of the answer: they could be another service's.
            return NoAnswer(AttemptOutcome.BAD_ANSWER, "the answer is not HTTP/1.1")
        except httpx.InvalidURL:
            return NoAnswer(AttemptOutcome.REFUSED_TARGET, "the URL cannot be called")
        except Exception as exc:
            if self._call.sent:
                raise
            raise NotSentError(str(exc)) from exc

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _request(self, url: str, body: bytes, headers: Mapping[str, str]) -> httpx.Request:
        # Pairs of bytes take httpx 26 us less than a mapping of text.
        pairs = [
            (name.encode("ascii"), value.encode("ascii"))
            for name, value in {**STANDING_HEADERS, **headers}.items()
        ]
        return httpx.Request("POST", self._parse(url), headers=pairs, content=body)

    def _parse_allowed(self, url: str) -> httpx.URL:
        return httpx.URL(check_url(url, self._policy))

    def _answer(self, request: httpx.Request) -> Answer:
        response = self._status(request)
        try:
            self._finish(response)
        finally:
            response.close()
        return Answer(response.status_code, response.headers.get("retry-after"))

    def _status(self, request: httpx.Request) -> httpx.Response:
        for _ in range(STALE_RETRIES):
            try:
                return self._client.send(request, stream=True)
            except ConnectionLostError:
                if self._call.connects:  # a fresh connection: no misunderstanding
                    raise
        return self._client.send(request, stream=True)

    def _finish(self, response: httpx.Response) -> None:
        """Read a short body, so that the connection can be used again; drop a long one."""
        self._call.begin_body()
        size = 0
        try:
            for chunk in response.iter_raw():
                size += len(chunk)
                if size > BODY_LIMIT:
                    return
        except (CallFailedError, OurFaultError, httpcore.RemoteProtocolError):
            return  # the status has decided


def one_line(text: str) -> str:
    """Return a text fit for a line of the delivery log."""
    return "".join(each if each.isprintable() else " " for each in text)[:MAX_DETAIL]
