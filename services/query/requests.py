"""Requests: a body or a query string becomes 1 to 100 product ids, or words for what is wrong.

Good input takes a typed decode in C. Only what that refuses is looked at again, to name the field.
"""

from typing import Annotated, Any, NoReturn, cast

import msgspec

from services.core.errors import ErrorCode, PartnerError
from services.core.http.inputs import (
    PRODUCT_ID_LIMIT,
    check_product_id,
    json_object,
    query_parameters,
    refuse,
    refuse_unknown_fields,
)

BATCH_LIMIT = 100  # product ids in one request (Q1, Q4)
FIELDS = ("product_ids",)

ProductId = Annotated[str, msgspec.Meta(min_length=1, max_length=PRODUCT_ID_LIMIT)]


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
    # JSON has control characters only as escapes, or as DEL or not ASCII: looked for in 0.2 us.
    if b"\\" in body or b"\x7f" in body or not body.isascii():
        _check_printable(product_ids)
    return _each_once(product_ids)


def ids_of_query(query_string: bytes) -> list[str]:
    """Return the product ids of `product_ids=A,B`, each once. Raises PartnerError (400)."""
    values = [value for _, value in query_parameters(query_string, FIELDS)]
    if not values:
        refuse("`product_ids` is missing: send `?product_ids=A,B`")
    if len(values) > 1:
        refuse("`product_ids` is sent more than once: send one, its ids separated by commas")
    if not values[0]:
        refuse("`product_ids` is empty: send 1 to 100 product ids")
    product_ids = values[0].split(",")
    _check_list(product_ids)
    return _each_once(product_ids)


def _each_once(product_ids: list[str]) -> list[str]:
    if len(set(product_ids)) == len(product_ids):  # 1.2 us less than the list anew, of 100 ids
        return product_ids
    return list(dict.fromkeys(product_ids))


def _check_printable(product_ids: list[str]) -> None:
    # isprintable runs in C over the whole text and is false for more than control characters.
    if not "".join(product_ids).isprintable():
        _check_list(product_ids)


def _refuse_body(body: bytes) -> NoReturn:
    """Raise the PartnerError that tells why the typed decode refused a body."""
    found = json_object(body, FIELDS)
    if "product_ids" not in found:
        refuse("`product_ids` is missing")
    product_ids = found["product_ids"]
    if not isinstance(product_ids, list):
        refuse("`product_ids` must be a list of 1 to 100 product ids")
    _check_list(cast("list[object]", product_ids))
    refuse_unknown_fields(found, FIELDS)
    refuse("The body must be a JSON object with `product_ids`, 1 to 100 product ids")


def _check_list(product_ids: list[Any]) -> None:
    if not product_ids:
        refuse("`product_ids` is empty: send 1 to 100 product ids")
    if len(product_ids) > BATCH_LIMIT:
        raise PartnerError(
            ErrorCode.BATCH_SIZE_EXCEEDED, f"Maximum {BATCH_LIMIT} products per request"
        )
    for place, product_id in enumerate(product_ids):
        check_product_id(f"product_ids[{place}]", product_id)
