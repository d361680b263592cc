"""Secrets: what webhooks are signed with, in the `whsec_` form of Standard Webhooks (W1)."""

import base64
import binascii
import secrets

from services.core.wording import counted

PREFIX = "whsec_"
NEW_KEY_BYTES = 32  # as long as the SHA-256 that the key is for
KEY_BYTES = range(24, 65)  # what Standard Webhooks allows
TEXT_CHARACTERS = range(16, 129)


class SecretFormError(ValueError):
    """A secret that a partner sent has not the right form; the message says how to mend it."""


def new_secret() -> str:
    """Return a new secret in its whsec_ form."""
    return _whsec(secrets.token_bytes(NEW_KEY_BYTES))


def whsec_form(given: str) -> str:
    """Return the whsec_ form of what a partner sent, written in the one canonical way.

    `whsec_` and base64 of 24 to 64 bytes stands for those bytes; other text of 16 to 128 characters
    stands for its UTF-8. Raises SecretFormError.
    """
    return _whsec(_key_of_whsec(given) if given.startswith(PREFIX) else _key_of_text(given))


def hmac_key(whsec: str) -> bytes:
    """Return the HMAC key that a whsec_ form stands for."""
    return base64.b64decode(whsec.removeprefix(PREFIX))


def _whsec(key: bytes) -> str:
    return PREFIX + base64.b64encode(key).decode("ascii")


def _key_of_whsec(given: str) -> bytes:
    encoded = given.removeprefix(PREFIX)
    try:
        # The reference libraries take a missing padding too.
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError) as exc:
        msg = "what follows whsec_ is not base64 (A-Z a-z 0-9 + / and = at the end)"
        raise SecretFormError(msg) from exc
    if len(key) not in KEY_BYTES:
        msg = f"whsec_ holds {counted(len(key), 'byte')}; send base64 of 24 to 64 bytes"
        raise SecretFormError(msg)
    return key


def _key_of_text(given: str) -> bytes:
    if len(given) not in TEXT_CHARACTERS:
        msg = "send whsec_ and base64 of 24 to 64 bytes, or other text of 16 to 128 characters"
        raise SecretFormError(msg)
    try:
        return given.encode()
    except UnicodeEncodeError as exc:
        msg = "the text holds half of a surrogate pair, which UTF-8 does not have"
        raise SecretFormError(msg) from exc
