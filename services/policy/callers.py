"""Callers: a partner in one environment as the gateway knows it, without its keys."""

import msgspec


class Caller(msgspec.Struct, frozen=True):
    """A partner as the gateway sees it; `keys` counts those that work, None: unknown."""

    tier: str
    state: str = "active"
    keys: int | None = None
