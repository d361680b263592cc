"""Plain: the query as one would first write it with Litestar and valkey-py; to compare with.

`python -m benchmarks.plain PORT CACHE_URL`. It is kinder than most: values are finished JSON, which
it joins; to decode and encode each item would cost it half as much again. It checks no token, keeps
no versions or ages, and neither logs nor counts.
"""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import Litestar, Response, post
from valkey.asyncio import Valkey

from services.core.http.serving import listen, serve

PREFIX = "plain:"


class Query(msgspec.Struct):
    """The body of a query."""

    product_ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=100)]


def plain_app(cache_url: str) -> Litestar:
    """Return the app."""
    cache = Valkey.from_url(cache_url)

    @post("/partner/v1/inventory", status_code=200)
    async def query_inventory(data: Query) -> Response[bytes]:
        values = await cache.mget([PREFIX + each for each in data.product_ids])
        answer = {
            "items": [msgspec.Raw(value) for value in values if value],
            "not_found": [
                each for each, value in zip(data.product_ids, values, strict=True) if not value
            ],
            "timestamp": datetime.now(UTC),
        }
        return Response(msgspec.json.encode(answer), media_type="application/json")

    @asynccontextmanager
    async def connected(_app: Litestar) -> AsyncGenerator[None]:
        yield
        await cache.aclose()

    return Litestar(
        [query_inventory], lifespan=[connected], openapi_config=None, logging_config=None
    )


if __name__ == "__main__":
    serve(plain_app(sys.argv[2]), listen("127.0.0.1", int(sys.argv[1])))  # type: ignore[arg-type]
