"""Children: start the programs of the local stack and end them again, by process id."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

POLL = 0.01  # seconds between two looks at a server that is starting
NOBODY = 65534  # the user that servers become when the stack is started by root


class StackError(Exception):
    """The local stack can't go on; the message is one line for the person who started it."""


def server_uid() -> int | None:
    """Return the user id that servers must change to, or None when this user may run them."""
    return NOBODY if os.geteuid() == 0 else None


def start(
    program: Sequence[str],
    *,
    log: Path,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
    uid: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that ends when this process does; its output is appended to `log`.

    The parent death signal follows the starting thread: call this from the main thread only.
    """
    command = [sys.executable, "-m", "services.local.launch"]
    command += ["--death-signal", death_signal.name, "--parent", str(os.getpid())]
    command += ["--uid", str(uid)] if uid is not None else []
    with log.open("ab") as output:
        return subprocess.Popen(
            [*command, "--", *program],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=_environment(environment),
            # Ctrl-C at the terminal reaches the supervisor only, which then ends things in order.
            start_new_session=True,
        )


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TZ") if key in os.environ}
    root = str(Path(__file__).resolve().parents[2])  # `-m services...` works from any folder
    # The safe path keeps folders of the working directory from passing for packages.
    python = {"PYTHONPATH": root, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    return {**kept, **python, **(extra or {})}


def stop(process: subprocess.Popen[bytes], how: signal.Signals, *, within: float) -> None:
    """End a child: `how` first, SIGKILL after `within` seconds."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def wait_until(
    ready: Callable[[], bool],
    process: subprocess.Popen[bytes],
    *,
    name: str,
    log: Path,
    within: float,
) -> None:
    """Return when `ready()` is true; StackError if the child ends or `within` seconds pass."""
    deadline = time.monotonic() + within
    while not ready():
        if process.poll() is not None:
            msg = f"{name} ended with {describe_exit(process.returncode)}: {last_line(log)}"
            raise StackError(msg)
        if time.monotonic() > deadline:
            msg = f"{name} was not ready after {within:.0f} s; its log is {log}"
            raise StackError(msg)
        time.sleep(POLL)


def describe_exit(code: int) -> str:
    """Return an exit code in words: `exit code 3`, `SIGKILL`."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def last_line(log: Path) -> str:
    """Return the last line of a log that says something, at most 300 characters of it."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    told = [line.strip() for line in lines if line.strip()]
    return (told[-1] if told else "it said nothing")[:300]


def port_is_free(port: int) -> bool:
    """Say whether a loopback port can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a loopback port that nobody listens on just now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts_connections(port: int) -> bool:
    """Say whether something answers on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
