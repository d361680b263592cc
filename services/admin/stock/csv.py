"""Stock, its daily file: `product_id,quantity` lines read one by one, the wrong ones with a reason.

Each line stands for itself. A quote that is left open spoils its own line and no other, unless a
line behind it closes the quote: then all of them are one value with a line break, which is no id.
"""

import codecs
import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import IO, NamedTuple

from services.admin.refusals import InvalidError
from services.admin.stock.rows import check_id
from services.core.wording import counted
from services.domain.stock import QUANTITY_MOST

COLUMNS = ["product_id", "quantity"]
LINE_MOST = 4_096  # bytes; 64 four-byte characters, quoted, and a number are below 600
SHOWN = 40  # characters of a wrong value that a reason repeats
FAULTLESS_DIGITS = re.compile(r"[0-9]{1,20}", re.ASCII)

# What most ids are, and what passes the check below: 0.2 us for a line in the place of 0.4.
PLAIN_ID = re.compile(r"[!-~](?:[ -~]{0,62}[!-~])?")

# A field and the comma or end behind it; possessive, so that no line takes more than one pass.
FIELD = re.compile(r'[ \t]*+(?:"((?:[^"]|"")*+)"[ \t]*+|((?!")[^,]*+))(,|$)')

# The rest of a value in quotes that an earlier line has begun.
CLOSING = re.compile(r'(?:[^"]|"")*+"[ \t]*+(?:,|$)')

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


Outcome = Good | Wrong | Skipped
# A line's text without spaces around it, and its outcome if it stands for itself.
Line = tuple[str, Outcome]


class StockFile:
    """Reads a file once, in bounded memory; its SHA-256 is complete at the end."""

    def __init__(self, source: IO[bytes]) -> None:
        """Take an open file, at its beginning."""
        self._source = source
        self._hash = hashlib.sha256()
        self._last = b""

    @property
    def sha256(self) -> str:
        """The SHA-256, in hex, of what was read so far."""
        return self._hash.hexdigest()

    @property
    def is_terminated(self) -> bool:
        """Whether the line read last has a line end; a file that was cut has none."""
        return self._last.endswith(b"\n")

    def lines(self) -> Iterator[Outcome]:
        """Return the outcome of each line. Raises InvalidError when this is no such file at all."""
        return refuse_line_breaks(self._lines())

    def _lines(self) -> Iterator[Line]:
        may_be_header = True
        number = 0
        while raw := self._read():
            number += 1
            if number == 1:
                refuse_other_forms(raw)
                raw = raw.removeprefix(codecs.BOM_UTF8)
            text, outcome = self._line(number, raw, may_be_header=may_be_header)
            may_be_header = may_be_header and isinstance(outcome, Skipped) and not text
            yield text, outcome
        if number == 0:
            msg = "the file is empty"
            raise InvalidError(msg)

    def _line(self, number: int, raw: bytes, *, may_be_header: bool) -> Line:
        if len(raw) >= LINE_MOST and not raw.endswith(b"\n"):
            self._skip_rest()
            return "", Wrong(number, f"longer than {LINE_MOST} bytes")
        try:
            text = raw.decode().strip(" \t\r\n")
        except UnicodeDecodeError as exc:
            reason = f"not UTF-8: byte {raw[exc.start]:#04x} at {exc.start + 1}"
            return "", Wrong(number, reason)
        if not text or (may_be_header and is_header(number, text)):
            return text, Skipped(number)
        return text, read_line(number, text)

    def _read(self) -> bytes:
        """Return a line of at most LINE_MOST bytes; none at the end of the file."""
        if raw := self._source.readline(LINE_MOST):
            self._hash.update(raw)
            self._last = raw
        return raw

    def _skip_rest(self) -> None:
        """Read to the end of a line that is too long to be one."""
        while not self.is_terminated and self._read():
            pass


def refuse_line_breaks(lines: Iterable[Line]) -> Iterator[Outcome]:
    """Yield outcomes, a refusal for each line of a value in quotes that has a line break.

    Lines behind a quote that is left open wait for one that closes it, within LINE_MOST characters.
    """
    opened = 0  # the number of the line that leaves a quote open
    room = 0  # characters that the value may still have
    waiting: list[Outcome] = []
    for text, outcome in lines:
        leaves_open = isinstance(outcome, Wrong) and has_odd_quotes(text)
        if not opened and not leaves_open:
            yield outcome
            continue
        room -= len(text) + 1
        if opened and CLOSING.match(text):
            for each in (*waiting, outcome):
                yield Wrong(each.line, f"within the quotes that line {opened} opens")
            waiting.clear()
            opened = 0 if has_odd_quotes(text) else opened
        elif leaves_open or room < 0:
            yield from (*waiting, outcome)
            waiting.clear()
            opened = outcome.line if leaves_open else 0
            room = LINE_MOST
        else:
            waiting.append(outcome)
    yield from waiting


def has_odd_quotes(text: str) -> bool:
    """Say whether a line opens a value in quotes that it does not close, or the other way round."""
    return text.count('"') % 2 == 1


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
    """Return the outcome of a line that is not blank, spaces around it taken off."""
    fields = fields_of(text)
    if fields is None:
        return Wrong(number, "a quote is left open, or something follows a closing quote")
    if len(fields) != 2:
        return Wrong(number, f"{counted(len(fields), 'column')}: write product_id,quantity")
    product_id, digits = fields
    if not PLAIN_ID.fullmatch(product_id):
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
