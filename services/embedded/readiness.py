"""Readiness: does a child of the local stack answer yet?"""

import http.client
from urllib.parse import urlsplit

from services.embedded.children import accepts_connections

PROBE_TIMEOUT = 1.5  # seconds; a service takes 1 s to find out that its database is away


def is_ready(health: str, ports: tuple[int, ...]) -> bool:
    """Say whether a health address answers 200; without one, whether the ports accept."""
    if health:
        return http_status(health) == 200
    return all(accepts_connections(port) for port in ports)


def http_status(address: str, headers: dict[str, str] | None = None) -> int | None:
    """Return the status that a GET of a loopback address answers; None without an answer."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PROBE_TIMEOUT)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request("GET", target, headers=headers or {})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
