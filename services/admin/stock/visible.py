"""Visible ids: what operations add as a product shows every one of its characters.

An id with a no-break space behind it looks like the id without, and is another product. Only new
products are checked: one that SQL or the sandbox has made can be read, set and removed.
"""

import re
import unicodedata

from services.admin.refusals import InvalidError

# Format characters, and every separator but the space between two words.
INVISIBLE = {"Cf", "Zl", "Zp", "Zs"}
# What Unicode counts among letters, marks or symbols, and fonts draw as nothing: grapheme joiner,
# fillers, vowels of no sound, selectors of a variant, the empty Braille pattern.
BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def check_visible(product_id: str) -> None:
    """Raise InvalidError for the id of a new product that does not show all it has."""
    fault = invisible_fault(product_id)
    if fault is not None:
        raise InvalidError(fault)


def invisible_fault(product_id: str) -> str | None:
    """Return a sentence that names an invisible character of an id, None if there is none."""
    if product_id.isascii() and product_id == product_id.strip(" "):
        return None
    for place, character in enumerate(product_id, start=1):
        if _is_invisible(character, inside=1 < place < len(product_id)):
            name = f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
            return (
                "`product_id` of a new product must have no invisible characters:"
                f" {name} at character {place}"
            )
    return None


def _is_invisible(character: str, *, inside: bool) -> bool:
    if character == " ":
        return not inside
    return unicodedata.category(character) in INVISIBLE or BLANK.match(character) is not None
