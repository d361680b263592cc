"""Core: the rule of a mail address, where one is entered and where a mail is sent to it (W8)."""

import re

import idna

LONGEST = 254  # characters of an address that SMTP carries
LONGEST_NAME = 64  # characters before the @

# A dot-atom of ASCII (RFC 5321). A name with other characters needs SMTPUTF8 on each server of the
# way, and quoted names are read in several ways: both are refused. An alias in ASCII works.
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
NAME = re.compile(rf"{ATOM}(?:\.{ATOM})*")
DOMAIN = re.compile(r"[a-z0-9.-]+\.[a-z][a-z0-9-]*")  # no name without a dot, no address of a host

RULE = (
    "an e-mail address alone, such as dev@acme.example: no `mailto:`, brackets, blanks or dot at"
    f" the end, ASCII before the @, a full domain behind it, at most {LONGEST} characters"
)


class MailAddressError(ValueError):
    """A text is no mail address that every server can reach; the message says the rule."""


def mail_address(given: str) -> str:
    """Return `name@domain` as SMTP carries it: ASCII, with an international domain as xn--.

    Raises MailAddressError.
    """
    name, _, domain = given.rpartition("@")
    address = f"{name}@{_ascii_domain(domain)}"
    if NAME.fullmatch(name) is None or len(name) > LONGEST_NAME or len(address) > LONGEST:
        raise MailAddressError(RULE)
    return address


def _ascii_domain(domain: str) -> str:
    # The mapping drops what can't be seen, which nobody has typed.
    if not domain.isprintable():
        raise MailAddressError(RULE)
    try:
        encoded = idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
    except idna.IDNAError as exc:
        raise MailAddressError(RULE) from exc
    if DOMAIN.fullmatch(encoded) is None:
        raise MailAddressError(RULE)
    return encoded
