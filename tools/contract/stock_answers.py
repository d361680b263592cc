"""Contract: hold a stock answer against the question that it answers."""

import json
from collections.abc import Iterator
from typing import Any

import httpx

from tools.contract.document import Json


def asked_of(request: httpx.Request) -> Json:
    """Return what a query asks for, a GET in the form of a POST's body."""
    if request.method == "GET":
        return {"product_ids": request.url.params["product_ids"].split(",")}
    return json.loads(request.content)


def stock_problems(asked: list[str], answer: dict[str, Any]) -> Iterator[str]:
    """Check that each asked id is answered once, in order, and that statuses fit quantities."""
    found = [item["product_id"] for item in answer["items"]]
    known = set(found)
    wanted = list(dict.fromkeys(asked))
    if found != [name for name in wanted if name in known]:
        yield f"items answers {found} to {asked}"
    if answer["not_found"] != [name for name in wanted if name not in known]:
        yield f"not_found answers {answer['not_found']} to {asked}"
    for item in answer["items"]:
        if item["status"] != status_of(item["quantity"]):
            yield f"{item['product_id']}: {item['quantity']} units are not {item['status']}"


def status_of(quantity: int) -> str:
    """Return the status that the document's StockStatus gives a quantity in units."""
    if quantity > 10:
        return "in_stock"
    return "low_stock" if quantity > 0 else "out_of_stock"
