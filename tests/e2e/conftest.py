"""Fixtures: real local stacks, each on its own ports and in its own folder."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from services.local.stack import free_port_base
from tools.contract.check import partner_client
from tools.processes import descendants

REPOSITORY = Path(__file__).parents[2]
PARTNERAPI = [sys.executable, "-m", "services.cli"]
COMMAND_TIMEOUT = 50  # seconds for one command; a start takes 4, the demo another 10
QUERY = "/partner/v1/inventory"
WEBHOOKS = "/partner/v1/webhooks"
SANDBOX_HOST = "sandbox-api.localhost"


@dataclass
class LocalStack:
    """A state folder and a port base, and the commands on them."""

    state_dir: Path
    base: int = field(default_factory=free_port_base)
    printed: str = ""  # by the last `up`

    def run(
        self, command: str, *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one command of `partnerapi` on this stack."""
        return subprocess.run(
            [*PARTNERAPI, command, *arguments],
            cwd=REPOSITORY,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of a command."""
        return {**os.environ, "PARTNERAPI_STATE_DIR": str(self.state_dir), **variables}

    def up(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Start it, detached."""
        base = ("--port-base", str(self.base))
        return self.run("up", "--detach", *base, *arguments, **variables)

    def started(self, *arguments: str, **variables: str) -> None:
        """Start it, detached."""
        done = self.up(*arguments, **variables)
        assert done.returncode == 0, done.stderr
        self.printed = done.stdout

    def status(self) -> dict[str, dict[str, Any]]:
        """Return the rows of `status`, by name."""
        rows = json.loads(self.run("status", "--json").stdout)["processes"]
        return {row["name"]: row for row in rows}

    def pid(self, name: str) -> int:
        """Return a process's id."""
        return int(self.status()[name]["pid"])

    def key(self, environment: str = "live", partner: str = "techmart") -> str:
        """Return a key that `up` made."""
        return json.loads((self.state_dir / "keys.json").read_text())[partner][environment]

    def log(self, name: str) -> str:
        """Return a child's log."""
        return (self.state_dir / "logs" / f"{name}.log").read_text()

    def query(self, key: str, *ids: str, host: str = "localhost") -> httpx.Response:
        """Ask for stock through the gateway; the answer is held against the contract."""
        with self.partner(key, host=host) as client:
            return client.get(QUERY, params={"product_ids": ",".join(ids or ("TV-1",))})

    def partner(self, key: str | None, host: str = "localhost") -> httpx.Client:
        """Return a partner's client, which holds every answer against the contract."""
        return partner_client(f"http://127.0.0.1:{self.base}", api_key=key, host=host)

    def end(self) -> None:
        """End it, whatever state it is in."""
        for each in descendants(os.getpid()):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()  # a test may have stopped it
        assert self.run("down").returncode == 0


def register(stack: LocalStack, key: str, url: str, host: str = "localhost") -> dict[str, Any]:
    """Register a webhook for every change of stock; return it with its secret."""
    with stack.partner(key, host=host) as client:
        answer = client.post(WEBHOOKS, json={"url": url, "events": ["inventory.updated"]})
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalStack]:
    """A stack for the session; whoever disturbs it waits until it is well again."""
    running = LocalStack(tmp_path_factory.mktemp("stack") / "state")
    running.started()
    yield running
    running.end()


@pytest.fixture
def own_stack(tmp_path: Path) -> Generator[LocalStack]:
    """A stack of one test, not started."""
    stack = LocalStack(tmp_path / "state")
    yield stack
    stack.end()
