"""Hostile input: whatever a request holds, of any route of any service, is no fault of ours."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml

from services.local.valkey import RunningValkey
from tests.conftest import Database
from tests.every_service import CSV, JSON, EveryService, every_service
from tests.product_ids import as_json, segment
from tools.contract.document import DOCUMENT

pytestmark = pytest.mark.long  # 3,900 requests

TEXTS = [
    b"\0", b"a\0b", b"a\nb", b"\xff", b"\xed\xa0\x80", "\u2028\u202e".encode(), b"%", b"'; --",
    b"__proto__", b"import", b"1e2", b"9" * 400, b"x" * 2_000, b"../..", b"a/b", b"",
]  # fmt: skip
BODIES = [
    b"", b"\xff\xfe", b"\xef\xbb\xbf{}", b"null", b"[]", b'{"\\u0000":1}', b'{"\\ud800":1}',
    b"[" * 9_000, b"9" * 9_000, b'{"__proto__":{}}', b"\0", b'{"a":1e999}',
]  # fmt: skip
HEADERS = [
    {"Content-Encoding": "gzip"},
    {"Content-Type": "application/json; charset=\xff"},
    {"X-Request-ID": "\xff"},
    {"Host": "[::1"},
    {"Authorization": "Bearer padm_\xff"},
    {"Upgrade": "h2c", "Connection": "Upgrade"},
    {"Expect": "nonsense"},
    {"Accept": "\xff", "Cookie": "=;=", "Range": "bytes=9-1"},
]
AN_ID = str(uuid4())

# A body that is right but for the one field that is replaced.
GOOD: dict[str, dict[str, Any]] = {
    "/partner/v1/inventory": {"product_ids": ["A"]},
    "/partner/v1/webhooks": {"url": "https://shop.example/", "events": ["inventory.updated"],
                             "secret": "a secret of some length"},
    "/partner/v1/webhooks/{webhookId}": {"url": "https://shop.example/", "events": [],
                                         "state": "active"},
    "/partner/v1/webhooks/{webhookId}/secret/rotate": {"secret": "a secret of some length",
                                                       "overlap_hours": 1},
    "/partner/v1/webhooks/{webhookId}/replay": {"since": "2026-01-01T00:00:00Z",
                                                "include_delivered": True},
    "/partner/v1/sandbox/inventory/{productId}": {"quantity": 1},
    "/partner/v1/sandbox/webhooks/{webhookId}/simulation": {"outcome": "timeout", "attempts": 1},
    "/partners": {"name": "one", "tier": "basic", "contact": "a@shop.example"},
    "/partners/{name}": {"tier": "basic", "contact": "a@shop.example"},
    "/partners/{name}/suspend": {"reason": "late"},
    "/partners/{name}/resume": {"reason": "paid"},
    "/partners/{name}/keys": {"environment": "sandbox", "expires_at": "2030-01-01T00:00:00Z"},
    "/keys/{key}": {"expires_at": "2030-01-01T00:00:00Z"},
    "/keys/{key}/rotate": {"overlap_seconds": 1, "expires_at": "2030-01-01T00:00:00Z"},
    "/tokens": {"name": "bot", "role": "viewer"},
    "/{environment}/endpoints/{endpoint_id}/replay": {"since": "2026-01-01T00:00:00Z",
                                                      "include_delivered": True},
    "/{environment}/stock/{product_id}": {"quantity": 1},
}  # fmt: skip


@pytest.fixture
def services(database: Database, valkey: RunningValkey, tmp_path: Path) -> Generator[EveryService]:
    with every_service(database, valkey, tmp_path) as running:
        yield running


Route = tuple[httpx.Client, str, str, list[str]]  # method, path, names of query parameters


def routes(services: EveryService) -> Iterator[Route]:
    """Yield every route of every service."""
    yield services.internal, "GET", "/api/v1/products/{product_id}/stock", []
    contract = yaml.safe_load(DOCUMENT.read_text("utf-8"))
    for path, method, names in documented(contract):
        hooks = "webhooks" in path or "sandbox" in path
        yield services.webhooks if hooks else services.partner, method, path, names
    for path, method, names in documented(services.admin.get("/docs/openapi.json").json()):
        yield services.admin, method, path.removeprefix("/admin/v1"), names


def documented(document: dict[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield path, method and query parameters of each operation of an OpenAPI document."""
    for path, item in document["paths"].items():
        for method in item.keys() - {"parameters"}:
            given = [each for each in item[method].get("parameters", []) if "in" in each]
            yield path, method.upper(), [each["name"] for each in given if each["in"] == "query"]


def requests(method: str, path: str, names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a path with its query, and more arguments of httpx, for each hostile text."""
    places = [part for part in path.split("/") if part.startswith("{")]
    for text in TEXTS:
        for place in places:
            yield filled(path.replace(place, segment(text))), {}
        for name in [*names, segment(text)]:
            yield f"{filled(path)}?{name}={segment(text)}", {}
        for field in GOOD.get(path, ()) if method != "GET" else ():
            yield filled(path), {"content": body_with(GOOD[path], field, text), "headers": JSON}
    for body in BODIES if method != "GET" else ():
        yield filled(path), {"content": body, "headers": CSV if "import" in path else JSON}
    for headers in HEADERS:
        encoded = [(name, value.encode("latin-1")) for name, value in headers.items()]
        yield filled(path), {"headers": encoded}


def filled(path: str) -> str:
    """Return a path with something that fits in each place that is left."""
    segments = path.split("/")
    values = {"{environment}": "sandbox", "{name}": "techmart", "{product_id}": "A"}
    return "/".join(values.get(each, AN_ID) if each[:1] == "{" else each for each in segments)


def body_with(good: dict[str, Any], field: str, text: bytes) -> bytes:
    """Return a JSON body one field of which is a text, or a number out of it."""
    pairs = [
        b"%b:%b" % (as_json(name.encode()), as_json(text if name == field else str(value).encode()))
        if name == field or isinstance(value, str)
        else b"%b:%b" % (as_json(name.encode()), str(value).lower().replace("'", '"').encode())
        for name, value in good.items()
    ]
    return b"{%b}" % b",".join(pairs)


@pytest.mark.timeout(300)
def test_no_input_of_any_route_is_answered_with_a_500(services: EveryService) -> None:
    seen = 0
    for client, method, path, names in routes(services):
        client.event_hooks = {}  # the contract has no answer for what the gateway refuses
        for url, more in requests(method, path, names):
            answer = client.request(method, url, **more)
            seen += 1
            assert answer.status_code < 500, (method, url, more, answer.text)
    assert seen > 2_000
