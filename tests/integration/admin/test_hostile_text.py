"""Hostile text: what can't be stored is refused by name wherever it comes in, before a change."""

from collections.abc import Generator, Iterator
from inspect import signature
from typing import Any, get_args
from uuid import uuid4

import msgspec
import psycopg
import pytest
from litestar.handlers import HTTPRouteHandler

from services.admin.app import HANDLERS
from services.admin.gateway.http import TEXT
from services.core.external_text import FIT
from tests.admin_process import AdminProcess
from tests.conftest import Database
from tests.webhook_rows import connect_owner

CSV = {"Content-Type": "text/csv"}
UNFIT = {"%00": "U+0000", "a%0Ab": "U+000A", "%C2%85": "U+0085"}
OURS = ("admin", "request", "data")

Parameter = tuple[str, str, str]  # method, path with {} in the place of the text, its name


def _is_text(annotation: object) -> bool:
    return annotation is str or str in get_args(annotation)


def _filled(path: str) -> str:
    """Return a path with values that fit, but for the text parameters."""
    return (
        path.replace("{environment:str}", "live")
        .replace("{endpoint_id:uuid}", str(uuid4()))
        .replace("{event_id:uuid}", str(uuid4()))
        .replace("{product_id:str}", "A")
    )


def _text_parameters() -> Iterator[Parameter]:
    """Yield each text parameter of each handler, of its path and of its query."""
    for handler in HANDLERS:
        (path,), (method, *_) = handler.paths, sorted(handler.http_methods)
        for name, given in signature(handler.fn).parameters.items():
            if name in OURS or not _is_text(given.annotation):
                continue
            if f"{{{name}:str}}" in path:
                yield method, _filled(path.replace(f"{{{name}:str}}", "{}")), name
            else:
                yield method, f"{_filled(path)}?{name}={{}}", name


TEXTS = list(_text_parameters())


def test_every_text_parameter_is_found() -> None:
    """The cases below come from the signatures: these are the ones known when this was written."""
    found = {(method, path.partition("?")[0], name) for method, path, name in TEXTS}
    assert {
        ("GET", "/audit", "actor"),
        ("GET", "/audit", "target"),
        ("GET", "/audit", "cursor"),
        ("DELETE", "/tokens/{}", "name"),
        ("POST", "/live/stock/import", "file_name"),
        ("GET", "/live/deliveries", "product_id"),
        ("POST", "/keys/{}/rotate", "key"),
    } <= found
    assert len(found) >= 30


@pytest.mark.parametrize(("method", "path", "name"), TEXTS, ids=[f"{m} {p}" for m, p, _ in TEXTS])
@pytest.mark.usefixtures("shared_rows")
def test_text_that_postgresql_cannot_store_is_refused_by_its_parameter(
    shared_admin: AdminProcess, method: str, path: str, name: str
) -> None:
    client = shared_admin.client()
    for text, place in UNFIT.items():
        answer = client.request(method, path.format(text), headers=CSV, content=b"")
        told = answer.json()
        assert (answer.status_code, told["code"]) == (400, "INVALID_REQUEST"), told
        assert f"`{name}` must have no control characters: {place}" in told["message"]
    long = client.request(method, path.format("x" * 1001), headers=CSV, content=b"")
    assert (long.status_code, f"`{name}`" in long.json()["message"]) == (400, True), long.text


def _bodies() -> Iterator[tuple[HTTPRouteHandler, type[msgspec.Struct]]]:
    for handler in HANDLERS:
        given = signature(handler.fn).parameters.get("data")
        if given is not None:
            kinds = (given.annotation, *get_args(given.annotation))
            yield handler, next(each for each in kinds if isinstance(each, type))


def test_every_text_of_a_body_is_external_text() -> None:
    texts = 0
    for handler, body in _bodies():
        described: Any = msgspec.inspect.type_info(body)
        for field in described.fields:
            kinds = getattr(field.type, "types", [field.type])
            for kind in kinds:
                if isinstance(kind, msgspec.inspect.StrType):
                    texts += 1
                    where = f"{body.__name__}.{field.name} of {handler.paths}"
                    # A kong.yml is read and stored nowhere, and has several lines.
                    fit = TEXT if field.name == "policy" else FIT
                    assert (kind.pattern, kind.max_length is None) == (fit, False), where
    assert texts >= 8


@pytest.fixture
def owner(shared: Database) -> Generator[psycopg.Connection[Any]]:
    with connect_owner(shared.owner_url) as connection:
        yield connection


@pytest.mark.usefixtures("shared_rows")
def test_an_import_whose_name_cannot_be_kept_changes_nothing(
    shared_admin: AdminProcess, owner: psycopg.Connection[Any]
) -> None:
    owner.execute("DELETE FROM sandbox.products")
    owner.execute("INSERT INTO sandbox.products VALUES ('BUGS-9', 8)")
    path = "/sandbox/stock/import?file_name=%00"
    answer = shared_admin.client().post(path, content=b"BUGS-9,3\n", headers=CSV)
    assert (answer.status_code, "`file_name`" in answer.json()["message"]) == (400, True)
    assert owner.execute("SELECT quantity FROM sandbox.products").fetchall() == [(8,)]
    assert owner.execute("SELECT count(*) FROM control.audit").fetchall() == [(0,)]
