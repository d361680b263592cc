"""Pages: lists in pieces; a cursor says after which row the next piece begins."""

import base64
from collections.abc import Callable, Sequence
from typing import Generic, NoReturn, TypeVar
from uuid import UUID

import msgspec

from services.admin.refusals import InvalidError
from services.core.external_text import check_text

LIMIT = 50
LIMIT_MOST = 200

T = TypeVar("T")


class Page(msgspec.Struct, frozen=True):
    """Which piece: at most `limit` rows after the one whose key is `after`."""

    limit: int = LIMIT
    after: str | None = None


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """A piece of a list; `next_cursor` is null when nothing is left."""

    items: Sequence[T]
    next_cursor: str | None


def page_of(limit: int, cursor: str | None) -> Page:
    """Return the page that a caller asks for. Raises InvalidError."""
    if not 1 <= limit <= LIMIT_MOST:
        msg = f"`limit` must be a whole number from 1 to {LIMIT_MOST}"
        raise InvalidError(msg)
    return Page(limit, None if cursor is None else _key_of(cursor))


def listing(rows: Sequence[T], page: Page, key: Callable[[T], object]) -> Listing[T]:
    """Return a page of rows that were asked for with a limit of one more than the page's."""
    items = rows[: page.limit]
    more = len(rows) > page.limit
    return Listing(items, _cursor_of(str(key(items[-1]))) if more else None)


def cursor_id(page: Page) -> UUID | None:
    """Return the id that a page begins after, for lists in the order of ids."""
    if page.after is None:
        return None
    try:
        return UUID(page.after)
    except ValueError:
        _refuse_cursor()


def _cursor_of(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _key_of(cursor: str) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
        return check_text("cursor", key)
    except ValueError:  # those of base64, of UTF-8 and of external text
        _refuse_cursor()


def _refuse_cursor() -> NoReturn:
    msg = "`cursor` is none of this list's: send `next_cursor` of the page before"
    raise InvalidError(msg)
