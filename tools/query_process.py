"""A query program of its own process, as production runs it, for tests that look from outside."""

import contextlib
import json
import signal
import sys
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx

from services.core import headers
from services.core.environments import Environment
from services.local.children import last_line, start, stop
from tools.contract.check import default_checker
from tools.waiting import wait_for

BACKEND_TOKEN = "backend-token-of-the-tests-0123456789"
CREDENTIAL_ID = "5e0c7d52-3a44-4b0e-8d0f-9c1a2b3d4e5f"  # of a key that no table has
READY_WITHIN = 20.0  # seconds


@dataclass(frozen=True)
class QueryProcess:
    """A running program; what it logs is one JSON object a line."""

    process: Popen[bytes]
    port: int
    log: Path
    environment: Environment

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(
        self,
        *,
        consumer: str | None = "techmart",
        token: str | None = BACKEND_TOKEN,
        credential: str | None = CREDENTIAL_ID,
        extra: dict[str, str] | None = None,
        check: bool = True,
        timeout: float = 5.0,
    ) -> httpx.Client:
        """Return a client that looks like the gateway; answers are held against the contract."""
        sent = dict(extra or {})
        if token is not None:
            sent[headers.BACKEND_TOKEN] = token
        if consumer is not None:
            sent[headers.CONSUMER_CUSTOM_ID] = self.environment.custom_id(consumer)
        if credential is not None:
            sent[headers.CREDENTIAL_IDENTIFIER] = credential

        def read_and_check(response: httpx.Response) -> None:
            response.read()
            default_checker().check(response)

        hooks = {"response": [read_and_check]} if check else {}
        return httpx.Client(
            base_url=self.base_url,
            headers=sent,
            trust_env=False,
            event_hooks=hooks,
            timeout=timeout,
        )

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return what it has logged before now, all or one kind.

        A thread writes its log: what stands before the line of a request that is sent now is all.
        """
        mark = str(uuid.uuid4())
        with contextlib.suppress(httpx.TransportError):  # it has ended, or stands still
            httpx.get(f"{self.base_url}/health/live", headers={headers.REQUEST_ID: mark})
            wait_for(lambda: mark in self.log.read_text(), "the line of a request in the log")
        *lines, _half = self.log.read_text().split(
            "\n"
        )  # a path may hold what splitlines splits at
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in found if name in (None, event["event"])]


def settings_for(
    database_url: str, cache_url: str, environment: Environment = Environment.LIVE, **more: object
) -> dict[str, str]:
    """Return the environment variables of a query process on a port that the system chooses."""
    given = {
        "ENVIRONMENT": environment,
        "DATABASE_URL": database_url,
        "CACHE_URL": cache_url,
        "BACKEND_TOKEN": BACKEND_TOKEN,
        "PORT": 0,
        **more,
    }
    return {name: str(value) for name, value in given.items()}


@contextlib.contextmanager
def running_query(
    folder: Path, settings: dict[str, str], program: str = "partner", *, wait_ready: bool = True
) -> Generator[QueryProcess]:
    """Run a query program for the length of a with block."""
    with running_program("query", folder, settings, program, wait_ready=wait_ready) as running:
        yield running


@contextlib.contextmanager
def running_program(
    service: str,
    folder: Path,
    settings: dict[str, str],
    program: str | None = None,
    *,
    wait_ready: bool = True,
) -> Generator[QueryProcess]:
    """Run a program that serves HTTP, of any service, for the length of a with block."""
    log = folder / f"{service}-{program}-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", f"services.{service}", *(program or "").split()]
    process = start(command, log=log, folder=folder, environment=settings)
    try:
        port = _port(process, log)
        running = QueryProcess(process, port, log, Environment(settings["ENVIRONMENT"]))
        if wait_ready:
            wait_for_status(running, 200)
        yield running
    finally:
        stop(process, signal.SIGTERM, within=12)


def wait_for_status(running: QueryProcess, status: int, within: float = READY_WITHIN) -> None:
    """Return when /health/ready answers with this status."""
    deadline = time.monotonic() + within
    answer: object = None
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            response = httpx.get(f"{running.base_url}/health/ready", trust_env=False)
            answer = f"{response.status_code} {response.text}"
            if response.status_code == status:
                return
        time.sleep(0.02)
    msg = f"/health/ready never said {status}: {answer}; {last_line(running.log)}"
    raise AssertionError(msg)


def _port(process: Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if '"service.listening"' in line:
                return int(json.loads(line)["port"])
        assert process.poll() is None, f"it ended with {process.returncode}: {log.read_text()}"
        time.sleep(0.01)
    msg = f"it never listened: {log.read_text()}"
    raise AssertionError(msg)
