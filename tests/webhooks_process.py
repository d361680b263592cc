"""The partners' API of webhooks as a process of its own, for tests that look from outside."""

import contextlib
from collections.abc import Generator
from pathlib import Path

from services.core.encryption import make_master_key
from services.core.environments import Environment
from tools.query_process import BACKEND_TOKEN, QueryProcess, running_program

MASTER_KEY = make_master_key()


def settings_for(
    database_url: str, queue_url: str, environment: Environment = Environment.LIVE, **more: object
) -> dict[str, str]:
    """Return the environment variables of the api on a port that the system chooses."""
    given = {
        "ENVIRONMENT": environment,
        "DATABASE_URL": database_url,
        "QUEUE_URL": queue_url,
        "BACKEND_TOKEN": BACKEND_TOKEN,
        "MASTER_KEYS": MASTER_KEY,
        "PORT": 0,
        **more,
    }
    return {name: str(value) for name, value in given.items()}


@contextlib.contextmanager
def running_api(
    folder: Path, settings: dict[str, str], *, wait_ready: bool = True
) -> Generator[QueryProcess]:
    """Run the api for the length of a with block."""
    with running_program("webhooks", folder, settings, "api", wait_ready=wait_ready) as running:
        yield running
