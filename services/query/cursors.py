"""Cursors: where a follower of changes is, as an opaque text (Q13).

Not signed: whoever makes up a cursor gets changes that anybody with a key may read, a page at a
time, or misses some of them. The checksum only tells a text that was cut or mistyped.
"""

import base64
import binascii
import hashlib
import struct
import zlib
from typing import NamedTuple

FORM = 1  # of what stands in a cursor; another release may need another
DATABASE_BYTES = 10

# Form, database, since, the walk (all 0: none), and a checksum of these.
_FIELDS = struct.Struct(f">B{DATABASE_BYTES}sQqqQqQqqQ")
_CHECKSUM = struct.Struct(">L")
SIZE = _FIELDS.size + _CHECKSUM.size  # 87 bytes: base64 needs no padding
LENGTH = SIZE // 3 * 4


class NotACursorError(Exception):
    """A text that we never gave out."""


class Mark(NamedTuple):
    """A snapshot: every transaction with a number below `xid` had ended by `at`.

    Times are PostgreSQL's, in microseconds since 1970.
    """

    xid: int
    at: int
    last_change: int  # when the last of those that changed stock did so; 0: none of them did


class Position(NamedTuple):
    """A row of stock_changes, in the order in which pages go through them."""

    xid: int
    change_id: int


class Walk(NamedTuple):
    """Pages that belong together; the first one's snapshot bounds them all."""

    after: Position
    first: Mark  # of that snapshot: where the next walk begins
    below: int  # its xmax: no transaction from this number on had ended


class Cursor(NamedTuple):
    """What the next page starts from."""

    database: bytes  # identity() of the one that gave it out
    since: Mark  # the walk tells what later transactions did
    walk: Walk | None = None  # under way; None: the next page begins one

    @property
    def after(self) -> Position:
        """The row behind which the next page begins."""
        return self.walk.after if self.walk else Position(self.since.xid, 0)  # ids begin at 1

    @property
    def newest(self) -> Mark:
        """The last snapshot that this knows of."""
        return self.walk.first if self.walk else self.since


def identity(told: str) -> bytes:
    """Return a cursor's form of what PostgreSQL tells about itself."""
    return hashlib.blake2b(told.encode(), digest_size=DATABASE_BYTES).digest()


def encode(cursor: Cursor) -> str:
    """Return the text that a partner sends back."""
    database, since, walk = cursor
    under_way = (*walk.after, *walk.first, walk.below) if walk else (0, 0, 0, 0, 0, 0)
    fields = _FIELDS.pack(FORM, database, *since, *under_way)
    return base64.urlsafe_b64encode(fields + _CHECKSUM.pack(zlib.crc32(fields))).decode()


def decode(text: str) -> Cursor:
    """Return what a partner has sent back. Raises NotACursorError."""
    if len(text) != LENGTH:
        raise NotACursorError
    try:
        read = base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise NotACursorError from exc
    fields = read[: _FIELDS.size]
    if read[_FIELDS.size :] != _CHECKSUM.pack(zlib.crc32(fields)) or fields[0] != FORM:
        raise NotACursorError
    values = _FIELDS.unpack(fields)
    database, since, after, first, below = (
        values[1], Mark(*values[2:5]), Position(*values[5:7]), Mark(*values[7:10]), values[10],
    )  # fmt: skip
    return Cursor(database, since, Walk(after, first, below) if below else None)
