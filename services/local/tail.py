"""Tail: the last lines of some logs, and the next ones as they come."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

POLL = 0.2  # seconds


def lines(logs: Mapping[str, Path], *, last: int, follow: bool) -> Iterator[str]:
    """Yield the last lines of each log, then new ones if `follow`; named when there are several."""
    prefix = {name: f"{name:<{max(map(len, logs))}} | " if len(logs) > 1 else "" for name in logs}
    seen: dict[str, int] = {}
    for name, path in logs.items():
        text, seen[name] = _read(path, 0)
        for line in deque(text.splitlines(), maxlen=last):
            yield prefix[name] + line
    while follow:
        time.sleep(POLL)
        for name, path in logs.items():
            text, seen[name] = _read(path, seen[name])
            for line in text.splitlines():
                yield prefix[name] + line


def _read(path: Path, position: int) -> tuple[str, int]:
    """Return the whole lines after a position, and where they end; from 0 in a new, shorter log."""
    if not path.exists():
        return "", 0
    with path.open("rb") as log:
        if log.seek(0, 2) < position:
            position = 0
        log.seek(position)
        whole = log.read().rpartition(b"\n")
    content = whole[0] + whole[1]
    return content.decode(errors="replace"), position + len(content)
