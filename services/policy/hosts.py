"""Hosts: the names that requests and services carry, in the form in which Kong compares them."""

from urllib.parse import SplitResult


def split_host(host: bytes) -> tuple[bytes, bytes]:
    """Return the name and the port of a Host header in one spelling; no port is empty.

    error-envelope does so in Kong: lower case, and no dot at the end of the name.
    """
    host = host.lower()
    name, colon, port = host.rpartition(b":")
    if not (colon and port.isdigit()):
        name, port = host, b""
    return name.removesuffix(b"."), port


def written_host(url: SplitResult) -> str:
    """Return the host of a service's url in the case in which it was written.

    Kong compares it so with the names of upstreams; `hostname` would be in lower case. Of an IPv6
    address, which names no upstream, only the bracket is returned.
    """
    return url.netloc.rpartition("@")[2].partition(":")[0]
