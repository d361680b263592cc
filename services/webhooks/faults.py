"""Faults: what fails on our own side, by step; no partner is charged for it (W9)."""

from collections.abc import Callable
from enum import StrEnum


class FaultStep(StrEnum):
    """Where we failed; docs/runbook.md says what to do about each."""

    # Before the first byte of a call: the receiver knows nothing of it.
    DECRYPT = "decrypt"  # none of this process's master keys opens the endpoint's secret
    RENDER = "render"
    SIGN = "sign"
    CONNECT = "connect"  # our resolver, our sockets, our TLS settings
    # After it: nobody knows whether the webhook arrived.
    SEND = "send"
    RECORD = "record"
    LEASE = "lease"  # the worker ended in mid-call, or was without its database for long
    # Beside the calls.
    RELAY = "relay"
    SCHEDULE = "schedule"
    MAIL = "mail"


OnFault = Callable[[FaultStep], None]


def ignore_fault(_step: FaultStep) -> None:
    """Count nothing: the default of programs that show no metrics."""
