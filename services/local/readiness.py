"""Readiness: does a child of the local stack answer yet?"""

import http.client
from pathlib import Path
from urllib.parse import urlsplit

from services.local.children import accepts_connections
from services.local.state import ChildRecord

PROBE_TIMEOUT = 1.5  # seconds; a service takes 1 s to find out that its database is away
LOOK_THROUGH = 64 * 1024  # bytes of a log; a program says early that it has started


def is_ready(child: ChildRecord, log: Path) -> bool:
    """Say whether a running child works.

    Its health address answers 200; without one, its ports accept connections; without ports, its
    log has the word for it.
    """
    if child.health:
        return http_status(child.health) == 200
    if child.ready_word:
        return _says(log, child.ready_word, child.log_start)
    return all(accepts_connections(port) for port in child.ports)


def _says(log: Path, word: str, start: int) -> bool:
    """Say whether a word is in a log, after what an earlier process wrote there."""
    if not log.exists():
        return False
    with log.open("rb") as lines:
        lines.seek(start)
        return word.encode() in lines.read(LOOK_THROUGH)


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
