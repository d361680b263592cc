"""Visible ids: what operations write as a product id shows every one of its characters.

An id with a no-break space behind it looks like the id without, and is another product. Only what
operations write is checked: such a product, made by SQL or in the sandbox, can be read and removed.
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
    """Raise InvalidError, which names the character, for an id that does not show all it has."""
    if product_id.isascii() and product_id == product_id.strip(" "):
        return
    for place, character in enumerate(product_id, start=1):
        if _is_invisible(character, inside=1 < place < len(product_id)):
            name = f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
            msg = f"`product_id` must have no invisible characters: {name} at character {place}"
            raise InvalidError(msg)


def _is_invisible(character: str, *, inside: bool) -> bool:
    if character == " ":
        return not inside
    return unicodedata.category(character) in INVISIBLE or BLANK.match(character) is not None
