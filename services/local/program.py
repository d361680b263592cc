"""Program: one child of a stack as the plan describes it, and where its servers are."""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from services.core.environments import Environment

HOST = "127.0.0.1"
SANDBOX_HOST = "sandbox-api.localhost"  # of gateway/kong.yml; not every resolver knows it
HOST_OF = {Environment.LIVE: "localhost", Environment.SANDBOX: SANDBOX_HOST}


class Stage(StrEnum):
    """What is started together; ended in the opposite order of gateway, services, servers."""

    SERVERS = "servers"
    SERVICES = "services"
    GATEWAY = "gateway"


@dataclass(frozen=True)
class Program:
    """One child: how to start it and how to see that it is ready."""

    name: str
    stage: Stage
    command: Sequence[str]
    ports: tuple[int, ...]
    health: str = ""  # an address that answers 200 when it is ready
    ready_word: str = ""  # what its log says then; for a program without a port
    environment: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    stop_signal: signal.Signals = signal.SIGTERM
    unprivileged: bool = False  # becomes another user when root starts it
    folder: Path | None = None  # its own, made first, mode 0700


def valkey_url(ports: Mapping[str, int], database: int) -> str:
    """Return the address of a database of the stack's one Valkey."""
    return f"valkey://{HOST}:{ports['valkey']}/{database}"
