"""Requests: a JSON body becomes the Struct that its handler takes, or words for what is wrong."""

from typing import Any, get_args

import msgspec
from litestar import Request
from litestar.types import Empty

from services.admin.audit.rows import Actor
from services.admin.tokens.rows import Token
from services.core.external_text import explained
from services.core.http.bodies import has_body, read_json_body
from services.core.http.inputs import json_object, refuse


class StrictRequest(Request[Actor, Token, Any]):
    """Reads bodies as all services do, and takes no value for one of another type.

    Litestar's own request takes `"1e2"` for 100 and calls an empty body `data`.
    """

    async def body(self) -> bytes:
        """Return the body; it is empty only if the handler needs none. Raises PartnerError."""
        if self._body is Empty:
            needed = not self._wanted.has_default
            sent = needed or has_body(self.scope)
            self._body = await read_json_body(self.scope, self.receive) if sent else b""
            if needed and not self._body:
                json_object(self._body, self._fields)  # says that it is empty
        return self._body

    async def json(self) -> Any:  # noqa: ANN401 -- as Litestar has it
        """Return the Struct that the handler takes. Raises PartnerError."""
        found = json_object(await self.body(), self._fields)
        try:
            return msgspec.convert(found, self._wanted.annotation)
        except msgspec.ValidationError as exc:
            refuse(_in_words(exc))

    @property
    def _wanted(self) -> Any:  # noqa: ANN401 -- Litestar's description of a parameter
        return self.route_handler.parsed_fn_signature.parameters["data"]

    @property
    def _fields(self) -> tuple[str, ...]:
        annotation = self._wanted.annotation
        struct, *_ = get_args(annotation) or (annotation,)
        return struct.__struct_fields__


def _in_words(exc: msgspec.ValidationError) -> str:
    """Return msgspec's message with its field in front: `... - at `$.field`` in the original."""
    message, _, place = str(exc).partition(" - at `$.")
    if message.startswith("Expected `int`"):
        message = f"must be a whole number{message.removeprefix('Expected `int`')}"
    return f"`{place}: {explained(message)}" if place else message
