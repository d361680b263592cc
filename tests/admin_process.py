"""Admin's service as a process of its own, and its command line, for tests from outside."""

import contextlib
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psycopg
from click.testing import CliRunner, Result

from services.admin.audit.rows import Actor
from services.admin.changes import Change
from services.admin.tokens.rows import Role, create_token
from services.cli.main import WHOLE, main
from services.core.encryption import SecretBox, make_master_key
from services.core.environments import Environment
from tests.conftest import Database
from tools.query_process import QueryProcess, running_program

POLICY = Path(__file__).parents[1] / "gateway" / "kong.yml"
MASTER_KEY = make_master_key()


def settings_for(database: Database, **more: object) -> dict[str, str]:
    """Return the environment variables of admin; without nodes unless they are given."""
    given = {
        "ADMIN_DATABASE_URL": database.url("admin"),
        "MASTER_KEYS": MASTER_KEY,
        "GATEWAY_POLICY": POLICY,
        **more,
    }
    return {name: str(value) for name, value in given.items()}


@dataclass(frozen=True)
class AdminProcess:
    """A running service."""

    running: QueryProcess
    settings: Mapping[str, str]
    closing: contextlib.ExitStack

    @cached_property
    def operator(self) -> str:
        """The token of an operator called tester."""
        return self.token()

    def token(self, name: str = "tester", role: Role = Role.OPERATOR) -> str:
        """Return the plain text of a new token."""
        box = SecretBox(self.settings["MASTER_KEYS"])
        with psycopg.connect(self.settings["ADMIN_DATABASE_URL"]) as connection:
            return create_token(Change(connection, Actor("cli:tests"), box), name, role)[1]

    @property
    def run(self) -> "CommandLine":
        """The command line of an operator, who knows nothing of the database."""
        called = {"ADMIN_URL": self.running.base_url, "ADMIN_TOKEN": self.operator}
        return CommandLine(called)

    def client(self, token: str | None = None, *, timeout: float = 20.0) -> httpx.Client:
        """Return a client of /admin/v1, closed at the end; by default an operator's."""
        client = httpx.Client(
            base_url=f"{self.running.base_url}/admin/v1",
            headers={"Authorization": f"Bearer {token or self.operator}"},
            trust_env=False,
            timeout=timeout,
        )
        return self.closing.enter_context(client)


@contextlib.contextmanager
def running_admin(folder: Path, settings: dict[str, str]) -> Generator[AdminProcess]:
    """Run the service for the length of a with block; `settings` as of settings_for."""
    given = {"PORT": "0", "ENVIRONMENT": Environment.LIVE, **settings}
    with running_program("admin", folder, given) as running, contextlib.ExitStack() as closing:
        yield AdminProcess(running, settings, closing)


class CommandLine:
    """`partnerapi` with a test's environment, in this process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)

    def __call__(self, *words: str) -> Result:
        """Run a command; one argument with spaces is split into words."""
        if len(words) == 1:
            words = tuple(words[0].split())
        given: dict[str, str | None] = dict.fromkeys(WHOLE)
        return CliRunner().invoke(main, words, env={**given, **self.environment})

    def json(self, *words: str) -> Any:  # noqa: ANN401 -- any JSON
        """Run a command that must succeed, with --json; return what it prints."""
        words = tuple(words[0].split()) if len(words) == 1 else words
        result = self(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)
