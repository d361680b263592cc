"""Resources: the way to a handler; which partner asks for which path and ids, by which method.

Litestar's own routes would answer OPTIONS.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import cast
from uuid import UUID

import msgspec
from litestar.types import HTTPScope, Receive, Scope, Send

from services.core import headers
from services.core.environments import Environment
from services.core.errors import PartnerError
from services.core.http.bodies import ClientGoneError, has_body, read_json_body
from services.core.http.failures import REFUSALS
from services.core.http.paths import path_segments
from services.core.http.request_scope import request_headers, send_json
from services.webhooks.api.refusals import NO_DELIVERY, NO_WEBHOOK, Refusal

PartnerFinder = Callable[[str], Awaitable[UUID]]

_CUSTOM_ID = headers.CONSUMER_CUSTOM_ID.lower().encode()


@dataclass(frozen=True)
class Call:
    """One request of a partner that the gateway vouched for."""

    partner_id: UUID
    scope: HTTPScope
    receive: Receive
    parameters: Mapping[str, str]  # of the path, decoded

    @property
    def webhook_id(self) -> UUID:
        """The path's webhook. Raises PartnerError (404)."""
        return self._id("webhook_id", NO_WEBHOOK)

    @property
    def event_id(self) -> UUID:
        """The path's event, by which partners name a delivery. Raises PartnerError (404)."""
        return self._id("event_id", NO_DELIVERY)

    async def body(self) -> bytes:
        """Return the body, not yet decoded. Raises PartnerError (413, 415)."""
        return await read_json_body(self.scope, self.receive)

    @property
    def has_body(self) -> bool:
        """Whether a body was sent, be it of no JSON."""
        return has_body(self.scope)

    def _id(self, name: str, refusal: Refusal) -> UUID:
        given = self.parameters[name]
        try:
            found = UUID(given)
        except ValueError:
            raise PartnerError(*refusal) from None
        if str(found) != given.lower():  # UUID() takes braces and more
            raise PartnerError(*refusal)
        return found


class Answer(msgspec.Struct, frozen=True):
    """What a partner gets; no body goes with 204 only."""

    status: int
    body: bytes = b""


Handler = Callable[[Call], Awaitable[Answer]]
Methods = Mapping[str, Handler]


class Resources:
    """All paths of this API, as an ASGI app; their templates are those of the contract."""

    def __init__(
        self, environment: Environment, find_partner: PartnerFinder, paths: Mapping[str, Methods]
    ) -> None:
        """`find_partner` gives the id of a partner by its name, or raises PartnerError."""
        self._suffix = environment.custom_id("")
        self._find_partner = find_partner
        self._templates = [(path, path.split("/"), paths[path]) for path in paths]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises PartnerError."""
        asked = cast("HTTPScope", scope)
        methods, parameters = self._find(asked)
        handler = methods.get(str(asked["method"]))
        if handler is None:
            raise PartnerError(*REFUSALS[405], headers={"Allow": ", ".join(methods)})
        partner_id = await self._partner(asked)
        try:
            answer = await handler(Call(partner_id, asked, receive, parameters))
        except ClientGoneError:
            return
        await _send_answer(send, answer)

    def _find(self, scope: HTTPScope) -> tuple[Methods, Mapping[str, str]]:
        segments = path_segments(scope["raw_path"])
        for path, template, methods in self._templates:
            parameters = _matched(template, segments)
            if parameters is not None:
                scope["path_template"] = path  # as Litestar's router does, for the metrics
                return methods, parameters
        raise PartnerError(*REFUSALS[404])

    async def _partner(self, scope: HTTPScope) -> UUID:
        custom_id = request_headers(scope)[_CUSTOM_ID].decode(
            "latin-1"
        )  # GatewayOnly has looked at its end
        return await self._find_partner(custom_id.removesuffix(self._suffix))


def _matched(template: list[str], segments: list[str]) -> dict[str, str] | None:
    """Return what stands in the places of a template's names, None for another path."""
    if len(template) != len(segments):
        return None
    parameters: dict[str, str] = {}
    for wanted, given in zip(template, segments, strict=True):
        if wanted.startswith("{") and given:
            parameters[wanted[1:-1]] = given
        elif wanted != given:
            return None
    return parameters


async def _send_answer(send: Send, answer: Answer) -> None:
    if answer.status != 204:
        await send_json(send, answer.status, answer.body)
        return
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
