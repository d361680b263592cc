"""Health: which paths answer 503 while a dependency is away, and which while a process leaves."""

import contextlib
from collections.abc import AsyncGenerator, Iterator

import anyio
import httpx
import pytest
from litestar import Litestar
from litestar.types import ASGIApp

from services.core.http.assembly import make_app
from services.core.http.health import LEAVING, Dependency


@contextlib.asynccontextmanager
async def nothing_runs(_: Litestar) -> AsyncGenerator[None]:
    yield


async def away() -> None:
    raise ConnectionRefusedError


@pytest.fixture
def without_postgresql() -> ASGIApp:
    return make_app([], {"postgresql": Dependency(away, essential=True)}, nothing_runs)


@pytest.fixture
def leaving() -> Iterator[None]:
    LEAVING.set()
    yield
    LEAVING.clear()


def get(app: ASGIApp, path: str) -> tuple[int, str]:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            return await client.get(path)

    answer = anyio.run(ask)
    return answer.status_code, answer.json()["status"]


def test_a_service_without_postgresql_accepts_requests_and_is_not_ready(
    without_postgresql: ASGIApp,
) -> None:
    assert get(without_postgresql, "/health/ready") == (503, "unavailable")
    assert get(without_postgresql, "/health/accepting") == (200, "accepting")


@pytest.mark.usefixtures("leaving")
def test_a_service_that_leaves_accepts_no_requests_and_is_alive(
    without_postgresql: ASGIApp,
) -> None:
    assert get(without_postgresql, "/health/accepting") == (503, "leaving")
    assert get(without_postgresql, "/health/live") == (200, "live")
