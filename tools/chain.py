"""Parts: every process of the chain from a stock change to a partner, to be killed and come back.

Ports and folders stay the same over restarts. PostgreSQL keeps its data, with fsync on, so that a
SIGKILL is honest; Valkey keeps nothing, which is the point. All in the sandbox environment, as live
refuses receivers on loopback. Call everything here from the main thread: the kernel ends children
when the thread that started them ends.
"""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import httpx
import psutil
import psycopg

from services.core import headers
from services.core.encryption import make_master_key
from services.core.environments import Environment
from services.local.children import free_port, last_line, start, stop, wait_until
from services.local.postgres import STOP_SIGNAL as END_POSTGRES
from services.local.postgres import start_postgres
from services.local.valkey import start_valkey
from services.schema.migrate import migrate, set_role_password
from tools.processes import descendants, is_alive
from tools.waiting import wait_for

ENVIRONMENT = Environment.SANDBOX
WEBHOOKS_ROLE, STOCK_ROLE = f"{ENVIRONMENT}_webhooks", f"{ENVIRONMENT}_stock"
ROLE_PASSWORD = "a-password-of-the-tests"
BACKEND_TOKEN = "backend-token-of-the-tests-0123456789"
READY_WITHIN = 30.0  # seconds; a start takes 1 on an idle machine
GONE_WITHIN = 10.0  # seconds after a SIGKILL
POSTGRES, VALKEY, API = "postgresql", "valkey", "api"
BACKGROUND = ("relay", "scheduler", "worker", "slow-worker")
PROGRAMS = (*BACKGROUND, API)
PARTS = (*PROGRAMS, VALKEY, POSTGRES)


class Part(Protocol):
    """One process, or PostgreSQL's family of them."""

    process: subprocess.Popen[bytes] | None

    def start(self) -> None:
        """Start it; return before it is ready."""
        ...

    def wait_ready(self) -> None:
        """Return when it does its work. Raises StackError."""
        ...

    def kill(self) -> None:
        """End it with SIGKILL; return when nothing of it is left."""
        ...

    def end(self) -> None:
        """End it as a supervisor does."""
        ...


class Program:
    """`python -m services.webhooks NAME`."""

    def __init__(self, name: str, folder: Path, settings: Mapping[str, str]) -> None:
        self._name = name
        self._folder = folder
        self._settings = settings
        self._log = folder / f"{name}.log"
        self._read_from = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._read_from = self._log.stat().st_size if self._log.exists() else 0
        command = [sys.executable, "-m", "services.webhooks", self._name]
        self.process = start(
            command, log=self._log, folder=self._folder, environment=self._settings
        )

    def wait_ready(self) -> None:
        assert self.process is not None
        ready = self._api_answers if self._name == API else self._says_started
        wait_until(ready, self.process, name=self._name, log=self._log, within=READY_WITHIN)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(GONE_WITHIN)

    def end(self) -> None:
        if self.process is not None:
            stop(self.process, signal.SIGTERM, within=12)

    def _says_started(self) -> bool:
        with self._log.open("rb") as log:
            log.seek(self._read_from)
            return b'"service.started"' in log.read()

    def _api_answers(self) -> bool:
        url = f"http://127.0.0.1:{self._settings['PORT']}/health/ready"
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(url, trust_env=False, timeout=5).is_success
        return False


class Valkey:
    """Valkey; it comes back empty."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"valkey://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        log = self._folder.parent / "valkey.log"
        self.process = start_valkey(self._folder, self.port, log).process

    def wait_ready(self) -> None:
        pass

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(GONE_WITHIN)

    def end(self) -> None:
        if self.process is not None:
            stop(self.process, signal.SIGTERM, within=5)


class Postgres:
    """PostgreSQL with its data on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._password = ""
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, role: str = "postgres") -> str:
        """The address of the one database, for its owner unless a role is named."""
        password = self._password if role == "postgres" else ROLE_PASSWORD
        return f"postgresql://{role}:{password}@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        server = start_postgres(self._folder, self._port, self._folder.parent / "postgresql.log")
        self._password, self.process = server.password, server.process

    def wait_ready(self) -> None:
        pass

    def kill(self) -> None:
        """Kill the postmaster and its children, as a loss of power does, at about one moment.

        A new postmaster refuses to start while one of them is left.
        """
        assert self.process is not None
        family = descendants(self.process.pid)
        self.process.kill()
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait(GONE_WITHIN)
        wait_for(lambda: not any(map(is_alive, family)), "PostgreSQL's children end", GONE_WITHIN)

    def end(self) -> None:
        if self.process is not None:
            stop(self.process, END_POSTGRES, within=10)


class Chain:
    """All parts; those that were not started take no part."""

    def __init__(self, folder: Path, **settings: object) -> None:
        """`settings` of the programs, in capitals, beside those that every chain needs."""
        self.postgres = Postgres(folder / "postgresql")
        self.valkey = Valkey(folder / "valkey")
        self.api_port = free_port()
        self._folder = folder
        self._given = settings
        self._given_to_all: dict[str, str] = {}
        self._parts: dict[str, Part] = {POSTGRES: self.postgres, VALKEY: self.valkey}

    def start_servers(self) -> None:
        """Start PostgreSQL and Valkey, with an empty environment ready for the programs."""
        self.postgres.start()
        self.valkey.start()
        owner = self.postgres.url()
        migrate(owner)
        for role in (WEBHOOKS_ROLE, STOCK_ROLE):
            set_role_password(owner, role, ROLE_PASSWORD)
        self._given_to_all = self._settings()
        for name in PROGRAMS:
            self._parts[name] = Program(name, self._folder, self._given_to_all)

    def add(self, name: str, *, like: str) -> None:
        """Add a second process of a program, under a name of its own."""
        folder = self._folder / name
        folder.mkdir()
        self._parts[name] = Program(like, folder, self._given_to_all)

    def start(self, names: Sequence[str] = PROGRAMS) -> None:
        """Start parts, all at once; return when all are ready. Servers come first."""
        for name in sorted(names, key=lambda name: name in PROGRAMS):
            self._parts[name].start()
        for name in names:
            self._parts[name].wait_ready()

    def kill(self, names: Sequence[str]) -> None:
        """Kill parts with SIGKILL."""
        for name in names:
            self._parts[name].kill()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a part."""
        process = self._parts[name].process
        assert process is not None
        process.send_signal(number)

    def wait_ended(self, name: str, within: float) -> int:
        """Return a part's exit code; it ends by itself within so many seconds."""
        process = self._parts[name].process
        assert process is not None
        return process.wait(within)

    def end(self, names: Sequence[str] = PARTS) -> None:
        """End parts, programs first, all of those at once."""
        running = [part for name, part in self._parts.items() if name in names or name not in PARTS]
        programs = [part for part in running if isinstance(part, Program)]
        for part in programs:
            if part.process is not None and part.process.poll() is None:
                part.process.send_signal(signal.SIGCONT)  # the test may have left it stopped
                part.process.terminate()
        for part in (*programs, *(part for part in running if part not in programs)):
            part.end()

    def check_alive(self) -> None:
        """Fail if a program has ended by itself."""
        for name, part in self._parts.items():
            if part.process is not None and part.process.poll() is not None:
                said = last_line(self._folder / f"{name}.log")
                msg = f"{name} ended by itself with {part.process.returncode}: {said}"
                raise AssertionError(msg)

    def count_in_log(self, name: str, words: bytes) -> int:
        """Return how many lines of a program's log, over all its lives, hold these words."""
        log = (self._folder / f"{name}.log").read_bytes()
        return sum(words in line for line in log.splitlines())

    def owner(self) -> psycopg.Connection[Any]:
        """Return a connection that may do anything, in autocommit."""
        return psycopg.connect(self.postgres.url(), autocommit=True)

    def partner(self, name: str) -> httpx.Client:
        """Return a client that the API takes for the gateway, with a request of this partner."""
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.api_port}/partner/v1",
            headers={
                headers.BACKEND_TOKEN: BACKEND_TOKEN,
                headers.CONSUMER_CUSTOM_ID: ENVIRONMENT.custom_id(name),
                headers.CREDENTIAL_IDENTIFIER: str(uuid4()),
            },
            trust_env=False,
            timeout=5,
        )

    def _settings(self) -> dict[str, str]:
        given = {
            "ENVIRONMENT": ENVIRONMENT,
            "DATABASE_URL": self.postgres.url(WEBHOOKS_ROLE),
            "QUEUE_URL": self.valkey.url,
            "MASTER_KEYS": make_master_key(),
            "BACKEND_TOKEN": BACKEND_TOKEN,
            "PORT": self.api_port,
            "DEVELOPMENT_TARGETS": "true",
            "SMTP_URL": f"smtp://127.0.0.1:{free_port()}",  # nobody is there: no mail is expected
            **self._given,
        }
        return {name: str(value) for name, value in given.items()}


@contextlib.contextmanager
def running_chain(folder: Path, **settings: object) -> Generator[Chain]:
    """Run the servers for the length of a with block, and end whatever was started in it."""
    chain = Chain(folder, **settings)
    try:
        chain.start_servers()
        yield chain
    finally:
        chain.end()
