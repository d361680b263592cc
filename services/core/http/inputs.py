"""Inputs: what a caller sent, or words for what is wrong with it that name the field."""

import codecs
from collections.abc import Collection, Mapping
from typing import Any, NoReturn, cast
from urllib.parse import unquote_to_bytes

import msgspec

from services.core.errors import ErrorCode, PartnerError
from services.core.external_text import ExternalTextError, check_text, visible

PRODUCT_ID_LIMIT = 64  # characters of a product id
SHOWN = 64  # characters of a caller's own text that a message repeats


def refuse(message: str) -> NoReturn:
    """Raise the PartnerError (400) of a request that its sender must correct."""
    raise PartnerError(ErrorCode.INVALID_REQUEST, message)


def shown(text: str) -> str:
    """Return a caller's text for a message: short, and without what could disturb a log."""
    return f"`{visible(text[:SHOWN])}`"


def listed(names: Collection[str]) -> str:
    """Return names for a message: `a`, `b` and `c`."""
    *first, last = [f"`{name}`" for name in names]
    return f"{', '.join(first)} and {last}" if first else last


def json_object(body: bytes, fields: Collection[str]) -> dict[str, Any]:
    """Return the JSON object of a body; `fields` are its known ones, for the messages only.

    Raises PartnerError (400).
    """
    try:
        found = msgspec.json.decode(body)
    except RecursionError:
        refuse(f"The body is nested too deeply: send an object with {listed(fields)}")
    except ValueError as exc:
        refuse(f"The body can't be read as JSON: {_unreadable(body) or exc}")
    if not isinstance(found, dict):
        refuse(f"The body must be a JSON object with {listed(fields)}")
    return cast("dict[str, Any]", found)


def refuse_unknown_fields(found: Mapping[str, object], fields: Collection[str]) -> None:
    """Raise PartnerError (400) when an object has a field beside these."""
    for name in found:
        if name not in fields:
            refuse(f"{shown(name)} is not a field of this request: send {listed(fields)} only")


def query_parameters(query_string: bytes, known: Collection[str]) -> list[tuple[str, str]]:
    """Return the parameters of a query string in their order. Raises PartnerError (400)."""
    pairs = [pair.partition(b"=") for pair in query_string.split(b"&") if pair]
    parameters = [(_decoded("a parameter's name", name), value) for name, _, value in pairs]
    for name, _ in parameters:
        if name not in known:
            wanted = f"send {listed(known)} only" if known else "it has none"
            refuse(f"{shown(name)} is not a parameter of this request: {wanted}")
    return [(name, _decoded(f"`{name}`", value)) for name, value in parameters]


def single_parameters(query_string: bytes, known: Collection[str]) -> dict[str, str]:
    """Return parameters that may be sent once each. Raises PartnerError (400)."""
    found: dict[str, str] = {}
    for name, value in query_parameters(query_string, known):
        if name in found:
            refuse(f"`{name}` is sent more than once")
        found[name] = value
    return found


def check_product_id(field: str, product_id: object) -> None:
    """Raise PartnerError (400) unless this can be a product id."""
    if not isinstance(product_id, str):
        refuse(f"`{field}` must be a string")
    try:
        check_text(field, product_id, least=1, most=PRODUCT_ID_LIMIT)
    except ExternalTextError as exc:
        refuse(str(exc))


def _decoded(what: str, text: bytes) -> str:
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        refuse(f"{what} is not UTF-8")


def _unreadable(body: bytes) -> str:
    """Return why a body is no text, which the decoder does not say; nothing if it is text."""
    if not body:
        return "it is empty"
    if body.startswith(codecs.BOM_UTF8):
        return "it begins with a byte order mark: send it without"
    # JSON begins with two ASCII characters, which have a zero byte each in UTF-16 and UTF-32.
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in body[:2]:
        return "it is UTF-16 or UTF-32, not UTF-8"
    try:
        body.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    return ""
