"""Callers: what the gateway knows of a partner in one environment, without its keys."""

import msgspec


class Caller(msgspec.Struct, frozen=True):
    """A partner as the gateway sees it; `keys` is how many work now, None when nobody asked."""

    tier: str
    state: str = "active"
    keys: int | None = None
