"""Delta route: the delta sync as partners call it (Q13)."""

from collections.abc import Callable
from typing import cast

import msgspec
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from services.core.errors import ErrorCode, PartnerError
from services.core.http.failures import REFUSALS
from services.core.http.inputs import refuse, single_parameters
from services.core.http.request_scope import send_json
from services.core.timestamps import Stamps
from services.query.cursors import Cursor, NotACursorError, decode, encode
from services.query.delta import Delta, Page, StartAnewError

CHANGES_PATH = "/partner/v1/inventory/changes"
PAGE_MOST = 1_000  # products in one page, and as many if the request does not say
PARAMETERS = ("cursor", "limit")
START_ANEW = "The cursor is too old, or of another database: start anew without a cursor"

_encode = msgspec.json.Encoder().encode


def changes_handler(delta: Delta, clock: Callable[[], float]) -> ASGIApp:
    """Return the handler of the delta sync, for every method; `clock` as of inventory_handler."""
    stamps = Stamps()

    async def query_changes(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        asked = cast("HTTPScope", scope)
        if asked["method"] != "GET":
            raise PartnerError(*REFUSALS[405], headers={"Allow": "GET"})
        cursor, limit = _asked(asked["query_string"])
        page = await _next_page(delta, cursor, limit)
        await send_json(send, 200, _answer(page, stamps.stamp(clock())))

    return query_changes


async def _next_page(delta: Delta, cursor: Cursor | None, limit: int) -> Page:
    if cursor is None:
        return Page(b"", [], await delta.start(), has_more=False)
    try:
        return await delta.page(cursor, limit)
    except StartAnewError as exc:
        raise PartnerError(ErrorCode.CURSOR_EXPIRED, START_ANEW) from exc


def _asked(query_string: bytes) -> tuple[Cursor | None, int]:
    """Return the cursor, None to start, and the limit. Raises PartnerError (400)."""
    given = single_parameters(query_string, PARAMETERS)
    cursor = _cursor(given["cursor"]) if "cursor" in given else None
    return cursor, _limit(given.get("limit", str(PAGE_MOST)))


def _cursor(text: str) -> Cursor:
    try:
        return decode(text)
    except NotACursorError:
        refuse("`cursor` must be the `next_cursor` of an answer, as it was; to start, send none")


def _limit(text: str) -> int:
    # isdecimal alone takes digits of every script.
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        refuse(f"`limit` must be a number from 1 to {PAGE_MOST}")
    limit = int(text)
    if not 1 <= limit <= PAGE_MOST:
        refuse(f"`limit` must be from 1 to {PAGE_MOST}")
    return limit


def _answer(page: Page, now: bytes) -> bytes:
    """Return the body: items are finished JSON and stay as they are."""
    removed = [each._asdict() for each in page.removed]
    return b'{"items":[%s],"removed":%s,"next_cursor":"%s","has_more":%s,"timestamp":"%s"}' % (
        page.items,
        _encode(removed),
        encode(page.next_cursor).encode(),
        b"true" if page.has_more else b"false",
        now,
    )
