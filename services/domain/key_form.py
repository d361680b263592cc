"""Domain: the form of an API key, its checksum and its fingerprint (A2).

`pk_live_` or `pk_test_`, then 27 characters of random base62 (160 bits and more), then a checksum
of 6, so that a mistyped or cut key is told from an unknown one without asking anybody.
"""

import hashlib
import re
import secrets
import string
import zlib

from services.core.environments import KEY_PREFIXES, Environment

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH = 27  # 62 ** 27 is 2 ** 160.7
CHECKSUM_LENGTH = 6  # 62 ** 6 is above 2 ** 32
SHOWN_LENGTH = 12  # characters of a key that may be shown again: its prefix and four more

MASKED_MOST = 600  # characters of a text with masked keys: a few faults of a node

KEY_IN_TEXT = re.compile(rf"((?:{KEY_PREFIXES})[0-9A-Za-z]{{4}})[0-9A-Za-z]+")
PATTERN = re.compile(rf"({KEY_PREFIXES})([0-9A-Za-z]{{27}})([0-9A-Za-z]{{6}})")


def make_api_key(environment: Environment) -> str:
    """Return a new key in plain text; it is shown once and stored encrypted."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    prefixed = environment.key_prefix + body
    return prefixed + _checksum(prefixed)


def is_well_formed(key: str) -> bool:
    """Say whether a text has a key's form and the right checksum."""
    match = PATTERN.fullmatch(key)
    return match is not None and _checksum(match[1] + match[2]) == match[3]


def shown_part(key: str) -> str:
    """Return the first characters, by which people name a key."""
    return key[:SHOWN_LENGTH]


def mask_keys(text: str) -> str:
    """Return a text as it may be stored and shown: each API key masked, then cut."""
    text = KEY_IN_TEXT.sub(r"\1...", text)
    return text if len(text) <= MASKED_MOST else f"{text[:MASKED_MOST]}..."


def fingerprint(key: str) -> str:
    """Return what a key or token is looked up by: its SHA-256 in hex, unsalted as it is random."""
    return hashlib.sha256(key.encode()).hexdigest()


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode())
    digits: list[str] = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
