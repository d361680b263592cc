"""Raw paths: what a handler gets of a path, and which paths no handler sees."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID, uuid4

import pytest
from litestar import Litestar, Response, get
from litestar.params import FromPath
from litestar.types import ASGIApp

from services.core.http.assembly import make_app
from services.core.http.paths import path_segments

AN_ID = uuid4()


@get("/things/{name:str}/size", sync_to_thread=False)
def size(name: FromPath[str]) -> Response[str]:
    """Answer the name itself."""
    return Response(json.dumps(name), media_type="application/json")


@get("/ids/{number:uuid}", sync_to_thread=False)
def number(number: FromPath[UUID]) -> Response[str]:
    """Answer the id itself."""
    return Response(json.dumps(str(number)), media_type="application/json")


@pytest.fixture(scope="module")
def app() -> ASGIApp:
    @contextlib.asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncGenerator[None]:
        yield

    return make_app([size, number], {}, lifespan)


def ask(app: ASGIApp, raw_path: bytes) -> tuple[int, Any]:
    """Return the status and the body that a GET of a path gets."""
    sent: list[Any] = []
    scope: Any = {
        "type": "http",
        "method": "GET",
        "raw_path": raw_path,
        "path": "never looked at, for it is decoded" if b"%" in raw_path else raw_path.decode(),
        "query_string": b"",
        "headers": [],
    }

    async def receive() -> Any:  # noqa: ANN401 -- an ASGI message
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:  # noqa: ANN401
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(body)


@pytest.mark.parametrize(
    ("segment", "name"),
    [
        (b"A", "A"),
        (b"%41", "A"),
        (b"%2FA", "/A"),
        (b"A%2F", "A/"),
        (b"A%2fB", "A/B"),
        (b"%2F%2F", "//"),
        (b"%252F", "%2F"),
        (b"%25", "%"),
        (b"%2525", "%25"),
        (b"%2E%2E", ".."),
        (b"A+B", "A+B"),
        (b"%20A%20", " A "),
        (b"%C3%A4", "ä"),
        (b"a%CC%88", "a\u0308"),
        (b"%F0%9F%92%A1", "\U0001f4a1"),
    ],
)
def test_an_id_arrives_as_it_was_sent(app: ASGIApp, segment: bytes, name: str) -> None:
    assert ask(app, b"/things/" + segment + b"/size") == (200, name)


@pytest.mark.parametrize(
    "raw_path",
    [
        b"/", b"//", b"/things//size", b"//things/A/size", b"/things/A//size", b"/things/A/size/",
        b"/things/A/size//", b"/things/%2FA/size/", b"//things/%2FA/size", b"/things/A/B/size",
        b"/things/A%2Fsize", b"/things%2FA%2Fsize", b"/%2Fhealth/live", b"/health%2Flive",
    ],
)  # fmt: skip
def test_another_spelling_of_a_path_is_no_path(app: ASGIApp, raw_path: bytes) -> None:
    status, body = ask(app, raw_path)
    assert (status, body["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("segment", "words"),
    [
        (b"%", "percent sign"),
        (b"%4", "percent sign"),
        (b"%zz", "percent sign"),
        (b"%%41", "percent sign"),
        (b"%FF", "not UTF-8"),
        (b"%C3", "not UTF-8"),
        (b"%ED%A0%80", "not UTF-8"),  # half of a surrogate pair
        (b"%C0%AF", "not UTF-8"),  # a slash that takes two bytes
    ],
)
def test_a_path_that_is_no_text_is_refused_in_words(
    app: ASGIApp, segment: bytes, words: str
) -> None:
    status, body = ask(app, b"/things/" + segment + b"/size")
    assert (status, body["code"]) == (400, "INVALID_REQUEST")
    assert words in body["message"]


def test_letters_of_a_literal_segment_may_be_escaped(app: ASGIApp) -> None:
    assert ask(app, b"/%74hings/A/size") == (200, "A")
    escaped = b"".join(b"%%%02X" % byte for byte in str(AN_ID).encode())
    assert ask(app, b"/ids/" + escaped) == (200, str(AN_ID))


def test_the_same_path_twice_is_decoded_once(app: ASGIApp) -> None:
    for _ in range(2):  # Litestar keeps what it has found for a path
        assert ask(app, b"/things/%252525/size") == (200, "%2525")


def test_a_long_path_is_no_fault_of_its_own() -> None:
    assert path_segments(b"/x/" + b"%41" * 5_000) == ["", "x", "A" * 5_000]
