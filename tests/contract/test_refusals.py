"""Contract: each operation of the webhooks shows the conflicts and unknown ids that it can end in.

Which ones those are is read out of the code: from a handler through the store's methods and the
functions that they call, to the names of services/webhooks/api/refusals.py.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from types import FunctionType
from typing import Any
from unittest.mock import MagicMock

from services.core.errors import STATUS_OF
from services.webhooks.api import refusals
from services.webhooks.api.deliveries import Deliveries
from services.webhooks.api.delivery_store import DeliveryStore
from services.webhooks.api.sandbox import Sandbox, SandboxStore
from services.webhooks.api.statements import OwnWebhooks
from services.webhooks.api.store import Store
from services.webhooks.api.webhooks import Webhooks
from tests.contract.surface import plain
from tools.contract.document import expand, load_document

KNOWN = {name: each for name, each in vars(refusals).items() if isinstance(each, tuple)}
STATUSES = {404, 409}
NO_PATH = "No such path"  # of the sandbox's paths in production: the router's answer
FACES: list[tuple[Any, type]] = [
    (Webhooks(MagicMock(), MagicMock()), Store),
    (Deliveries(MagicMock(), MagicMock()), DeliveryStore),
    (Sandbox(MagicMock()), SandboxStore),
]

Document = dict[str, Any]
Refusals = dict[str, set[str]]  # by `METHOD path`


def named_in(function: Callable[..., object], owner: type, seen: set[str]) -> Iterator[str]:
    """Yield the refusals that a function or what it calls of ours names."""
    name = function.__qualname__
    if name in seen:
        return
    seen.add(name)
    source = inspect.getsource(function)
    yield from (each for each in KNOWN if re.search(rf"\b{each}\b", source))
    for called in re.findall(r"self\.(?:_own_webhooks\.)?(\w+)\(", source):
        method = getattr(owner, called, None) or getattr(OwnWebhooks, called, None)
        if isinstance(method, FunctionType):
            yield from named_in(method, owner, seen)
    for called in re.findall(r"(?<![.\w])(\w+)\(", source):
        other = function.__globals__.get(called) if isinstance(function, FunctionType) else None
        if isinstance(other, FunctionType) and other.__module__.startswith("services.webhooks.api"):
            yield from named_in(other, owner, seen)


def of_handler(handler: Callable[..., object], store: type) -> Iterator[str]:
    """Yield the refusals of a handler: those of its path's ids and of the store's methods."""
    source = inspect.getsource(handler)
    if "call.webhook_id" in source:
        yield "NO_WEBHOOK"
    if "call.event_id" in source:
        yield "NO_DELIVERY"
    for called in re.findall(r"self\._store\.(\w+)\(", source):
        yield from named_in(getattr(store, called), store, set())


def in_code() -> Refusals:
    """Return the messages that each operation of the code can end in."""
    return {
        f"{method} {plain(path)}": {
            KNOWN[name][1]
            for name in of_handler(handler, store)
            if STATUS_OF[KNOWN[name][0]] in STATUSES
        }
        for face, store in FACES
        for path, methods in face.paths.items()
        for method, handler in methods.items()
    }


def in_document(document: Document) -> Refusals:
    """Return the messages that the document shows for the same statuses."""
    found: Refusals = {}
    for path, item in expand(document["paths"], document).items():
        for method, operation in item.items():
            found[f"{method.upper()} {plain(path)}"] = {
                example["value"]["message"]
                for status in STATUSES & {int(each) for each in operation["responses"]}
                for example in operation["responses"][str(status)]["content"]["application/json"][
                    "examples"
                ].values()
            } - {NO_PATH}
    return found


def test_each_operation_shows_what_it_can_end_in_and_nothing_else() -> None:
    shown = in_document(load_document())
    for operation, told in in_code().items():
        assert shown[operation] == told, operation


def test_a_conflict_on_one_side_only_is_found() -> None:
    spoiled = deepcopy(load_document())
    answers = spoiled["paths"]["/partner/v1/webhooks/{webhookId}/ping"]["post"]["responses"]
    del answers["409"]
    assert in_document(spoiled) != in_document(load_document())
    operation = "POST /partner/v1/webhooks/{}/ping"
    assert in_document(spoiled)[operation] != in_code()[operation]
