"""Forms: the fault of a UUID, a name, a host, a path or an address as words; "" is none."""

import re
from urllib.parse import urlsplit

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NAME = re.compile(r"[\w.~-]+")
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?(:\d{1,5})?")
_UPSTREAM_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_TARGET = re.compile(r"(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:]+\])(:(?P<port>\d+))?")
_OF_A_PATTERN = re.compile(r"[\\*^$|?()\[\]]")
_MAX_PORT = 65535


def uuid_form(text: str) -> str:
    """Return the fault of an id."""
    example = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
    return "" if _UUID.fullmatch(text) else f"must be a UUID, such as {example}"


def name_form(text: str) -> str:
    """Return the fault of the name of a service or a route."""
    words = "may hold letters, digits and `.-_~` only, no spaces"
    return "" if _NAME.fullmatch(text) else words


def host_form(text: str) -> str:
    """Return the fault of a host of a route."""
    return "" if _HOST.fullmatch(text) else "it is no host name: write it without http:// and /"


def path_form(text: str) -> str:
    """Return the fault of a path of a route."""
    if not text.startswith(("/", "~/")):
        return "a path must begin with / (or ~/ for a regular expression)"
    if text.startswith("~"):
        try:
            re.compile(text[1:])
        except re.error as exc:
            return f"it is no regular expression: {exc}"
        return ""
    if _OF_A_PATTERN.search(text):
        return "it is taken as it stands: begin it with ~/ for a regular expression"
    return "Kong takes // for /: write one" if "//" in text else ""


def url_form(text: str) -> str:
    """Return the fault of the url of a service."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, usable = urlsplit(""), False
    if not usable:
        return "must be http:// or https:// with a host, such as http://query"
    if parts.username is not None:
        return "holds a user or password, which Kong does not send: take it out"
    if parts.query or parts.fragment:
        return "must end with its path, without ? and #"
    return ""


def upstream_name_form(text: str) -> str:
    """Return the fault of the name of an upstream."""
    return "" if _UPSTREAM_NAME.fullmatch(text) else "must be a host name, without a port"


def target_form(text: str) -> str:
    """Return the fault of the address of a target."""
    found = _TARGET.fullmatch(text)
    if not found:
        return "must be host:port, such as query:8101, without http:// and a path"
    if found["port"] is None:
        return "has no port, and Kong would take 8000: write host:port, such as query:8101"
    if not 0 < int(found["port"]) <= _MAX_PORT:
        return f"must have a port from 1 to {_MAX_PORT:,}"
    return ""
