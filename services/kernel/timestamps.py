"""Kernel: times as partners read them (RFC 3339)."""

from datetime import UTC, datetime


def rfc3339(when: datetime) -> str:
    """Return an aware time in UTC with microseconds: `2026-11-22T09:14:03.512804Z`."""
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
