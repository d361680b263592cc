"""Core: the two environments, which share programs and nothing else (A8)."""

from enum import StrEnum


class Environment(StrEnum):
    """Live stock, or the sandbox that partners try things in first."""

    LIVE = "live"
    SANDBOX = "sandbox"

    @property
    def key_prefix(self) -> str:
        """What every API key of this environment begins with."""
        return {Environment.LIVE: "pk_live_", Environment.SANDBOX: "pk_test_"}[self]

    def custom_id(self, partner: str) -> str:
        """The consumer's custom_id at the gateway: unique over all consumers (KONG.md)."""
        return f"{partner}:{self}"

    def username(self, partner: str) -> str:
        """The consumer's username at the gateway: `techmart`, `techmart.sandbox`."""
        return partner if self is Environment.LIVE else f"{partner}.{self}"


# As a part of a regular expression: what any API key begins with.
KEY_PREFIXES = "|".join(each.key_prefix for each in Environment)
