"""The recipes of README and docs/, typed as they stand on a fresh local stack."""

import os
import shutil
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from services.local.state import stack_environment
from tests.e2e.conftest import REPOSITORY, LocalStack
from tests.recipes.console import commands_of, run, told

# With the least number of commands.
DOCUMENTS = {"README.md": 6, "docs/operations.md": 25, "docs/gateway.md": 10}
WITHIN = 150.0  # seconds for all commands of a document


@pytest.fixture
def stack(tmp_path: Path) -> Generator[LocalStack]:
    running = LocalStack(tmp_path / "state")
    shutil.copytree(REPOSITORY / "gateway", tmp_path / "work" / "gateway")
    running.started("--policy", str(tmp_path / "work" / "gateway" / "kong.yml"))
    yield running
    running.end()


def calling_admin(stack: LocalStack) -> dict[str, str]:
    """Return the environment of a person who may call admin and knows no database.

    With it the local stack's settings are not looked at, but for the commands of INSIDE_ADMIN.
    """
    inside = stack_environment(stack.state_dir)
    assert inside is not None
    called = {name: inside.pop(name) for name in ("ADMIN_URL", "ADMIN_TOKEN")}
    assert "ADMIN_DATABASE_URL" in inside
    return {**called, "INSIDE_ADMIN": " ".join(f"{name}={value}" for name, value in inside.items())}


@pytest.mark.recipes
@pytest.mark.needs("curl")
@pytest.mark.timeout(WITHIN + 60)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_says_is_what_happens(stack: LocalStack, name: str) -> None:
    document = REPOSITORY / name
    commands = commands_of(document)
    assert len(commands) >= DOCUMENTS[name]
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    known = {
        "PATH": programs,
        "PARTNERAPI_STATE_DIR": str(stack.state_dir),
        **calling_admin(stack),
        "GATEWAY": f"http://127.0.0.1:{stack.base}",
        "ADMIN": f"http://127.0.0.1:{stack.base + 100}",
        "NO_PROXY": "*",
    }
    run(commands, stack.state_dir.parent / "work", known, WITHIN)
    assert not any(command.fault for command in commands), told(commands, document)
