"""Requests: a body or a query string becomes 1 to 100 product ids, or words for what is wrong.

Good input takes a typed decode in C. Only what that refuses is looked at again, to name the field.
"""

import re
from typing import Annotated, Any, NoReturn, cast
from urllib.parse import unquote_to_bytes

import msgspec

from services.kernel.errors import ErrorCode, PartnerError

BATCH_LIMIT = 100  # product ids in one request (Q1, Q4)
ID_LIMIT = 64  # characters of a product id
BODY_FIELD = "product_ids"
SHOWN = 64  # characters of a caller's own text that a message repeats

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

ProductId = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_LIMIT)]


class InventoryRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a query."""

    product_ids: Annotated[list[ProductId], msgspec.Meta(min_length=1, max_length=BATCH_LIMIT)]


_decode = msgspec.json.Decoder(InventoryRequest).decode


def ids_of_body(body: bytes) -> list[str]:
    """Return the product ids of a JSON body, each once. Raises PartnerError (400)."""
    try:
        product_ids = _decode(body).product_ids
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        _refuse_body(body)
    return _each_once(product_ids)


def ids_of_query(query_string: bytes) -> list[str]:
    """Return the product ids of `product_ids=A,B`, each once. Raises PartnerError (400)."""
    values = [value for name, value in _parameters(query_string) if name == BODY_FIELD]
    if not values:
        _refuse("`product_ids` is missing: send `?product_ids=A,B`")
    if len(values) > 1:
        _refuse("`product_ids` is sent more than once: send one, its ids separated by commas")
    if not values[0]:
        _refuse("`product_ids` is empty: send 1 to 100 product ids")
    product_ids = values[0].split(",")
    _check_list(product_ids)
    return _each_once(product_ids)


def check_product_id(product_id: str) -> None:
    """Raise PartnerError (400) unless this can be a product id."""
    _check_id("product_id", product_id)


def _each_once(product_ids: list[str]) -> list[str]:
    # isprintable runs in C over the whole text and is false for more than control characters.
    if not "".join(product_ids).isprintable():
        _check_list(product_ids)
    return list(dict.fromkeys(product_ids))


def _parameters(query_string: bytes) -> list[tuple[str, str]]:
    pairs = [pair.partition(b"=") for pair in query_string.split(b"&") if pair]
    parameters = [(_decoded("a parameter's name", name), value) for name, _, value in pairs]
    for name, _ in parameters:
        if name != BODY_FIELD:
            _refuse(f"{_shown(name)} is not a parameter of this request: send `product_ids` only")
    return [(name, _decoded(f"`{name}`", value)) for name, value in parameters]


def _decoded(what: str, text: bytes) -> str:
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        _refuse(f"{what} is not UTF-8")


def _refuse_body(body: bytes) -> NoReturn:
    """Raise the PartnerError that tells why the typed decode refused a body."""
    try:
        found = msgspec.json.decode(body)
    except RecursionError:
        _refuse("The body is nested too deeply: send an object with `product_ids`")
    except ValueError as exc:
        reason = "it is empty" if not body else "not UTF-8" if _not_utf8(body) else str(exc)
        _refuse(f"The body can't be read as JSON: {reason}")
    if not isinstance(found, dict):
        _refuse("The body must be a JSON object with `product_ids`")
    _check_object(cast("dict[str, Any]", found))
    _refuse("The body must be a JSON object with `product_ids`, 1 to 100 product ids")


def _not_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return True
    return False


def _check_object(found: dict[str, Any]) -> None:
    if BODY_FIELD not in found:
        _refuse("`product_ids` is missing")
    product_ids = found[BODY_FIELD]
    if not isinstance(product_ids, list):
        _refuse("`product_ids` must be a list of 1 to 100 product ids")
    _check_list(cast("list[object]", product_ids))
    for name in found:
        if name != BODY_FIELD:
            _refuse(f"{_shown(name)} is not a field of this request: send `product_ids` only")


def _check_list(product_ids: list[Any]) -> None:
    if not product_ids:
        _refuse("`product_ids` is empty: send 1 to 100 product ids")
    if len(product_ids) > BATCH_LIMIT:
        raise PartnerError(
            ErrorCode.BATCH_SIZE_EXCEEDED, f"Maximum {BATCH_LIMIT} products per request"
        )
    for place, product_id in enumerate(product_ids):
        _check_id(f"product_ids[{place}]", product_id)


def _check_id(field: str, product_id: object) -> None:
    if not isinstance(product_id, str):
        _refuse(f"`{field}` must be a string")
    if not 1 <= len(product_id) <= ID_LIMIT:
        _refuse(f"`{field}` must have 1 to {ID_LIMIT} characters")
    control = CONTROL.search(product_id)
    if control:
        _refuse(
            f"`{field}` must have no control characters:"
            f" U+{ord(control[0]):04X} at character {control.start() + 1}"
        )


def _shown(name: str) -> str:
    """Return a caller's text for a message: short, and without what could disturb a log."""
    return f"`{CONTROL.sub('?', name[:SHOWN])}`"


def _refuse(message: str) -> NoReturn:
    raise PartnerError(ErrorCode.INVALID_REQUEST, message)
