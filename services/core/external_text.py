"""External text: the one rule for text from outside that is stored, searched for or logged.

PostgreSQL stores no NUL, UTF-8 has no halves of surrogate pairs, and a control character breaks a
line of a log or of a terminal. Whatever takes text from a request, a file or a command line
builds on this rule.
"""

import re
from typing import Annotated

import msgspec

TEXT_LIMIT = 1_000  # characters, where a field has no limit of its own

# The control characters, as the contract and the schema have them for product ids, and the halves
# of surrogate pairs.
_UNFIT = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
UNFIT = re.compile(f"[{_UNFIT}]")
FIT = f"^(?!.*[{_UNFIT}])"  # a dot stops only at a line feed, which is unfit itself

# For the fields of msgspec's Structs. A field with a limit of its own annotates `FitText`.
FitText = Annotated[str, msgspec.Meta(pattern=FIT)]
ExternalText = Annotated[FitText, msgspec.Meta(max_length=TEXT_LIMIT)]


class ExternalTextError(ValueError):
    """Text that its sender must correct: 400 over HTTP, a usage error on the command line."""


def check_text(field: str, text: str, *, least: int = 0, most: int = TEXT_LIMIT) -> str:
    """Return a text of `least` to `most` characters that can be stored and fits a line.

    Raises ExternalTextError, whose sentence names the field.
    """
    if not least <= len(text) <= most:
        bounds = f"{least} to {most}" if least else f"at most {most}"
        msg = f"`{field}` must have {bounds} characters"
        raise ExternalTextError(msg)
    unfit = UNFIT.search(text)
    if unfit is None:
        return text
    place = f"U+{ord(unfit[0]):04X} at character {unfit.start() + 1}"
    if "\ud800" <= unfit[0] <= "\udfff":
        msg = f"`{field}` must be UTF-8, which has no half of a surrogate pair: {place}"
    else:
        msg = f"`{field}` must have no control characters: {place}"
    raise ExternalTextError(msg)


def visible(text: str) -> str:
    """Return a text with a question mark for each character that would disturb a log."""
    return UNFIT.sub("?", text)


def explained(message: str) -> str:
    """Return msgspec's message about a field, in words where it quotes the pattern."""
    return "must have no control characters" if "matching regex" in message else message
