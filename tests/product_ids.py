"""Product ids that a careless way in takes for another product, and what can be no id at all."""

import json
from urllib.parse import quote

SLASHES = ["A", "/A", "A/", "A/B", "//", "A//B", "/", "B", "B/", "import", "import/", "changes"]
DOTS = [".", "..", "../A", "A/../B", "./A", "A.", ".A", "..%2F", "A;x=1", "stock", "health"]
ESCAPES = ["%", "%2F", "%2f", "%41", "%00", "%25", "%252F", "A%2FB", "%zz", "100%", "+", "A+B"]
SIGNS = ["A B", '"', '""', "'", "'; --", "\\", "A?b=c", "A#b", "A&b", "<A>", "{A}"]
LETTERS = [
    "caf\u00e9", "cafe\u0301", "\u00c5", "A\u030a", "\u212b", "\U0001f4a1",
]  # fmt: skip
NAMES = ["__proto__", "null", "\U0001f4a1" * 64, "x" * 64]

# Products by every way in but those of operations, who mistype them.
LOOK_ALIKES = [
    " A", "A ", " ", "\u2028", "\u00a0", "A\u00a0", "\u200bA", "\ufeffA", "A\u00adB", "A\u202e",
    "A\u3164",
]  # fmt: skip

IDS = [*SLASHES, *DOTS, *ESCAPES, *SIGNS, *LETTERS, *NAMES]

# As bytes: some of them are no text.
NO_IDS = [
    b"", b"\0", b"A\0", b"A\nB", b"A\rB", b"A\tB", b"\x7f", b"A\xc2\x85", b"\xff", b"A\xc3",
    b"\xc0\xaf", b"\xed\xa0\x80", b"x" * 65, "\U0001f4a1".encode() * 65,
]  # fmt: skip


def segment(product_id: bytes) -> str:
    """Return an id as a segment of a path, or a value of a query, every byte of it escaped."""
    return "".join(f"%{byte:02X}" for byte in product_id)


def as_json(product_id: bytes) -> bytes:
    """Return an id as a JSON string; what is no UTF-8 stays as it is."""
    try:
        return json.dumps(product_id.decode(), ensure_ascii=False).encode()
    except UnicodeDecodeError:
        return b'"' + product_id + b'"'


def as_csv(product_id: bytes) -> bytes:
    """Return an id as a quoted field of a CSV file."""
    return b'"' + product_id.replace(b'"', b'""') + b'"'


def lightly_escaped(product_id: str) -> str:
    """Return an id as a careful client writes it into a path."""
    return quote(product_id, safe="")
