"""Targets: which addresses of the network a webhook may go to, and which URLs (W12).

A URL is checked as text when it is registered and before each send; every address that its name
resolves to is checked at each connect, and the connection goes to the address that was checked.
"""

import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

import msgspec

from services.core.settings import SettingsError

MAX_URL = 2048  # characters
MAX_NAME = 253  # characters, of DNS
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

# The IANA special-purpose registries. Written out, because ipaddress.is_global differs between
# releases of Python (3.11 calls 64:ff9b:1::, 3fff::, 5f00:: and 6to4 global, and multicast too).
REFUSED_IPV4: Final = tuple(
    (IPv4Network(network), name)
    for network, name in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignment"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "AMT"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "AS112"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
# Only 2000::/3 is given out as global unicast, so that mapped (::ffff:0:0/96), compatible (::/96),
# NAT64 (64:ff9b::), discard-only, unique local, link-local, site-local, and multicast are outside.
GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
REFUSED_IPV6: Final = tuple(
    (IPv6Network(network), name)
    for network, name in (
        ("2001::/32", "Teredo"),
        ("2001:db8::/32", "documentation"),
        ("2001::/23", "protocol assignment"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "AS112"),
        ("3fff::/20", "documentation"),
        # Outside 2000::/3, for the message only.
        ("::1/128", "loopback"),
        ("::/128", "unspecified"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::/96", "IPv4-compatible"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("100::/64", "discard-only"),
        ("fc00::/7", "unique local"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
# Names that are never public; `localhost` is let through in development only.
PRIVATE_SUFFIXES: Final = ("localhost", "local", "internal", "home.arpa")

# Strict on purpose: each lenience of a URL parser is a chance for two parsers to disagree.
URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<authority>[^/?#]*)"
    r"(?P<rest>(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)"
)
AUTHORITY: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
NAME: Final = re.compile(rf"(?:{LABEL}\.)+{LABEL}")
# What inet_aton and browsers read as an IPv4 address: the last label is decimal, octal or hex.
ENDS_IN_A_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?")


class TargetRefusedError(Exception):
    """A webhook may not go there; the message tells the partner why, in one line."""


class TargetPolicy(msgspec.Struct, frozen=True):
    """Where webhooks may go: https to public addresses, at ports of an allow list.

    Development adds http, loopback and every port.
    """

    development: bool
    ports: frozenset[int]

    @classmethod
    def of(cls, development: bool, ports: str) -> "TargetPolicy":
        """Read the settings; `ports` are numbers separated by commas. Raises SettingsError."""
        numbers = [each.strip() for each in ports.split(",")]
        if not all(re.fullmatch(r"[0-9]{1,5}", each) for each in numbers):
            raise _settings_fault()
        allowed = frozenset(int(each) for each in numbers)
        if not all(1 <= port <= 65535 for port in allowed):
            raise _settings_fault()
        return cls(development, allowed)


def check_url(url: str, policy: TargetPolicy) -> str:
    """Return a URL as it is kept: scheme and host in small letters, a default port left out.

    Looks at the text alone, no name is resolved. Raises TargetRefusedError.
    """
    if len(url) > MAX_URL:
        msg = f"the URL is longer than {MAX_URL} characters"
        raise TargetRefusedError(msg)
    scheme, authority, rest = _split(url)
    _check_scheme(scheme, policy)
    host, port = _split_authority(authority)
    host = _check_ipv6(host, policy) if host.startswith("[") else _check_name(host, policy)
    shown = "" if port is None or port == DEFAULT_PORTS[scheme] else f":{port}"
    _check_port(DEFAULT_PORTS[scheme] if port is None else port, policy)
    return f"{scheme}://{host}{shown}{rest if rest.startswith('/') else '/' + rest}"


def check_address(address: IPv4Address | IPv6Address, policy: TargetPolicy) -> None:
    """Raise TargetRefusedError unless webhooks may go to an address.

    The message names the kind of address and not the address: what our own resolver says of a
    name is not for partners to read.
    """
    kind = _kind_of_ipv4(address) if isinstance(address, IPv4Address) else _kind_of_ipv6(address)
    if kind == "loopback" and policy.development:
        return
    if kind is not None:
        msg = f"{kind} addresses are not called, only public ones"
        raise TargetRefusedError(msg)


def _kind_of_ipv4(address: IPv4Address) -> str | None:
    for network, name in REFUSED_IPV4:
        if address in network:
            return name
    return None if address.is_global else "special-purpose"


def _kind_of_ipv6(address: IPv6Address) -> str | None:
    for network, name in REFUSED_IPV6:
        if address in network:
            return name
    public = address in GLOBAL_UNICAST and address.is_global and address.scope_id is None
    return None if public else "special-purpose"


def _split(url: str) -> tuple[str, str, str]:
    if "#" in url:
        msg = "a URL with a fragment (#) is not taken"
        raise TargetRefusedError(msg)
    found = URL.fullmatch(url)
    if found is None or not url.isascii():  # lower() makes an ASCII k of the Kelvin sign
        msg = (
            "this is not a URL of RFC 3986, such as https://shop.example/hooks; characters other"
            " than ASCII letters, digits and -._~!$&'()*+,;=:@/? are written as %XX"
        )
        raise TargetRefusedError(msg)
    return found["scheme"].lower(), found["authority"], found["rest"]


def _check_scheme(scheme: str, policy: TargetPolicy) -> None:
    if scheme != "https" and not (policy.development and scheme == "http"):
        msg = "the URL must begin with https://"
        raise TargetRefusedError(msg)


def _split_authority(authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        msg = "a URL with a user name or password is not taken"
        raise TargetRefusedError(msg)
    found = AUTHORITY.fullmatch(authority)
    if found is None or not found["host"]:
        msg = "the URL's host or port is malformed"
        raise TargetRefusedError(msg)
    return found["host"].lower(), int(found["port"]) if found["port"] else None


def _check_port(port: int, policy: TargetPolicy) -> None:
    if not 1 <= port <= 65535:
        msg = "a port is a number from 1 to 65535"
        raise TargetRefusedError(msg)
    if port not in policy.ports and not policy.development:
        allowed = ", ".join(str(each) for each in sorted(policy.ports))
        msg = f"the port is not allowed; allowed are {allowed}"
        raise TargetRefusedError(msg)


def _check_ipv6(host: str, policy: TargetPolicy) -> str:
    try:
        address = IPv6Address(host[1:-1])
    except ipaddress.AddressValueError as exc:
        msg = "the host is not an IPv6 address"
        raise TargetRefusedError(msg) from exc
    if address.scope_id is not None:
        msg = "an IPv6 address with a zone is not called"
        raise TargetRefusedError(msg)
    check_address(address, policy)
    return f"[{address}]"


def _check_name(host: str, policy: TargetPolicy) -> str:
    if ENDS_IN_A_NUMBER.fullmatch(host):
        return _check_ipv4(host, policy)
    if host == "localhost" and policy.development:
        return host
    if len(host) > MAX_NAME or NAME.fullmatch(host) is None:
        msg = (
            "the host is not a full public name in ASCII, such as shop.example"
            " (no last dot; names in other scripts in their xn-- form)"
        )
        raise TargetRefusedError(msg)
    for suffix in PRIVATE_SUFFIXES:
        if host.endswith(f".{suffix}") and not (suffix == "localhost" and policy.development):
            msg = f"names below {suffix} are not public"
            raise TargetRefusedError(msg)
    return host


def _check_ipv4(host: str, policy: TargetPolicy) -> str:
    try:
        address = IPv4Address(host)
    except ipaddress.AddressValueError as exc:
        msg = "a numeric host must be an IPv4 address of four decimal numbers"
        raise TargetRefusedError(msg) from exc
    check_address(address, policy)
    return str(address)


def _settings_fault() -> SettingsError:
    return SettingsError(
        "the environment does not fit:\nTARGET_PORTS: give ports from 1 to 65535, with commas"
    )
