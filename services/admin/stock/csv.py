"""Stock, its daily file: `product_id,quantity` lines read one by one, the wrong ones with a reason.

Each line stands for itself: a quote that is left open spoils its own line and no other.
"""

import codecs
import hashlib
import re
from collections.abc import Iterator
from typing import IO, NamedTuple

from services.admin.refusals import InvalidError
from services.admin.stock.rows import check_id
from services.core.wording import counted
from services.domain.stock import QUANTITY_MOST

COLUMNS = ["product_id", "quantity"]
LINE_MOST = 4_096  # bytes; 64 four-byte characters, quoted, and a number are below 600
SHOWN = 40  # characters of a wrong value that a reason repeats
FAULTLESS_DIGITS = re.compile(r"[0-9]{1,20}", re.ASCII)

# A field and the comma or end behind it; possessive, so that no line takes more than one pass.
FIELD = re.compile(r'[ \t]*+(?:"((?:[^"]|"")*+)"[ \t]*+|((?!")[^,]*+))(,|$)')

# What people save by mistake, by its first bytes.
OTHER_FORMS = {
    codecs.BOM_UTF16_LE: "UTF-16: save it as UTF-8",
    codecs.BOM_UTF16_BE: "UTF-16: save it as UTF-8",
    b"PK\x03\x04": "a spreadsheet or an archive: save it as CSV",
    b"\xd0\xcf\x11\xe0": "a spreadsheet: save it as CSV",
    b"\x1f\x8b": "compressed: unpack it first",
}


class Good(NamedTuple):
    """A line that says which quantity a product has."""

    line: int
    product_id: str
    quantity: int


class Wrong(NamedTuple):
    """A line that can't be used, and why."""

    line: int
    reason: str


class Skipped(NamedTuple):
    """A blank line, or the header."""

    line: int


class StockFile:
    """Reads a file once, in bounded memory; its SHA-256 is complete at the end."""

    def __init__(self, source: IO[bytes]) -> None:
        """Take an open file, at its beginning."""
        self._source = source
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The SHA-256, in hex, of what was read so far."""
        return self._hash.hexdigest()

    def lines(self) -> Iterator[Good | Wrong | Skipped]:
        """Yield what each line says. Raises InvalidError when it is no such file at all."""
        may_be_header = True
        number = 0
        while raw := self._source.readline(LINE_MOST):
            number += 1
            self._hash.update(raw)
            if number == 1:
                refuse_other_forms(raw)
                raw = raw.removeprefix(codecs.BOM_UTF8)
            told = self._told(number, raw, may_be_header=may_be_header)
            may_be_header = may_be_header and isinstance(told, Skipped) and not raw.strip()
            yield told
        if number == 0:
            msg = "the file is empty"
            raise InvalidError(msg)

    def _told(self, number: int, raw: bytes, *, may_be_header: bool) -> Good | Wrong | Skipped:
        if len(raw) >= LINE_MOST and not raw.endswith(b"\n"):
            self._skip_rest()
            return Wrong(number, f"longer than {LINE_MOST} bytes")
        try:
            text = raw.decode().strip(" \t\r\n")
        except UnicodeDecodeError as exc:
            return Wrong(number, f"not UTF-8: byte {raw[exc.start]:#04x} at {exc.start + 1}")
        if not text or (may_be_header and is_header(number, text)):
            return Skipped(number)
        return read_line(number, text)

    def _skip_rest(self) -> None:
        """Read to the end of a line that is too long to be one."""
        while part := self._source.readline(LINE_MOST):
            self._hash.update(part)
            if part.endswith(b"\n"):
                return


def refuse_other_forms(beginning: bytes) -> None:
    """Raise InvalidError for a file that is no CSV in UTF-8."""
    for mark, words in OTHER_FORMS.items():
        if beginning.startswith(mark):
            msg = f"the file is {words}"
            raise InvalidError(msg)


def is_header(number: int, text: str) -> bool:
    """Say whether a line names the columns. Raises InvalidError when they are other ones."""
    names = [name.lower() for name in fields_of(text) or ()]
    if names == COLUMNS:
        return True
    if set(COLUMNS) <= set(names):  # other columns, or these the other way round
        msg = f"line {number}: the columns must be {','.join(COLUMNS)}, nothing else"
        raise InvalidError(msg)
    return False


def read_line(number: int, text: str) -> Good | Wrong:
    """Return what a line says that is not blank, spaces around it taken off."""
    fields = fields_of(text)
    if fields is None:
        return Wrong(number, "a quote is left open, or something follows a closing quote")
    if len(fields) != 2:
        return Wrong(number, f"{counted(len(fields), 'column')}: write product_id,quantity")
    product_id, digits = fields
    try:
        check_id(product_id)
    except InvalidError as exc:
        return Wrong(number, str(exc))
    if not FAULTLESS_DIGITS.fullmatch(digits) or int(digits) > QUANTITY_MOST:
        shown = f"{digits[:SHOWN]}..." if len(digits) > SHOWN else digits
        return Wrong(number, f"quantity {shown!r} is not a whole number from 0 to {QUANTITY_MOST}")
    return Good(number, product_id, int(digits))


def fields_of(text: str) -> list[str] | None:
    """Return a line's fields; None: quotes are wrong. Spaces count only within quotes."""
    if '"' not in text:
        return [field.strip(" \t") for field in text.split(",")]
    found: list[str] = []
    place = 0
    while match := FIELD.match(text, place):
        quoted, plain, behind = match.groups()
        found.append(plain.strip(" \t") if quoted is None else quoted.replace('""', '"'))
        if not behind:
            return found
        place = match.end()
    return None
