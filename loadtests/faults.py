"""Faults: what can be made to happen in the middle of a run, on the local stack."""

from enum import StrEnum


class Fault(StrEnum):
    """One flag each; thresholds.toml says what applies then."""

    VALKEY_KILLED = "valkey-killed"
    GATEWAY_RESTARTED = "gateway-restarted"
    HANGING_WEBHOOK = "hanging-webhook"
