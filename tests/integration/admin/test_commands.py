"""The command line of operations: what it prints, writes and exits with."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from services.cli.main import WHOLE, main
from services.domain.key_form import is_well_formed
from services.local.children import free_port
from tests.admin_process import AdminProcess, CommandLine, settings_for
from tests.conftest import Database
from tests.control_rows import emptied

PARTNER = "--tier premium --contact a@techmart.example"


@pytest.fixture
def run(shared: Database, shared_run: CommandLine) -> Iterator[CommandLine]:
    """An operator's, on a database without partners."""
    with emptied(shared):
        assert shared_run(f"partners create techmart {PARTNER}").exit_code == 0
        yield shared_run


@pytest.fixture
def in_database(shared: Database) -> CommandLine:
    """The command line inside admin's container."""
    return CommandLine(settings_for(shared))


def commands(group: click.Group = main, *names: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from commands(found, *names, name)
        else:
            yield (*names, name)


ALL = sorted(commands())


def test_a_key_is_alone_on_standard_output(run: CommandLine) -> None:
    result = run("keys create techmart --env live")
    assert result.exit_code == 3
    assert is_well_formed(result.stdout.strip())
    assert "names no node" in result.stderr


def test_render_masks_keys_and_a_file_holds_them_for_its_owner_only(
    run: CommandLine, in_database: CommandLine, tmp_path: Path
) -> None:
    key = run("keys create techmart --env live").stdout.strip()
    shown = run("gateway render").stdout
    assert key not in shown
    assert key[:12] in shown
    assert json.loads(shown)["_format_version"] == "3.0"
    target = tmp_path / "config.json"
    target.write_text("an older one, open to all")
    target.chmod(0o644)
    assert run(f"gateway render --output {target}").exit_code == 1  # it has no database
    assert in_database(f"gateway render --output {target}").exit_code == 0
    assert key in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "partners create acme --tier gold --contact a@b.example",
            "`tier` gold is not in kong.yml",
        ),
        ("partners create Tech --tier basic --contact a@b.example", "`name`: 2 to 40 characters"),
        ("keys create nobody --env live", "there is no partner nobody"),
        ("keys revoke pk_live_none --yes", "there is no key pk_live_none"),
        ("tokens revoke nobody --yes", "there is no token nobody"),
    ],
)
def test_a_refusal_is_one_sentence_with_its_request_and_exit_code_1(
    run: CommandLine, line: str, words: str
) -> None:
    result = run(line)
    assert result.exit_code == 1
    assert words in result.stderr
    assert "(request " in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "exit_code", "code"),
    [
        ("partners show nobody", 1, "NOT_FOUND"),
        ("partners create techmart --tier basic --contact a@b.example", 1, "CONFLICT"),
        ("partners list --limit x", 2, "INVALID_REQUEST"),
        ("partners frobnicate", 2, "INVALID_REQUEST"),
        ("partners show", 2, "INVALID_REQUEST"),
        ("keys create techmart --env x", 2, "INVALID_REQUEST"),
    ],
)
def test_with_json_an_error_is_the_object_of_a5(
    run: CommandLine, line: str, exit_code: int, code: str
) -> None:
    result = run(f"{line} --json")
    error = json.loads(result.stderr)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert error.keys() == {"code", "message", "request_id"}
    assert error["code"] == code
    assert bool(error["request_id"]) == (exit_code == 1)
    plain = run(line).stderr.strip().splitlines()[-1]
    assert error["message"] == plain.removeprefix("Error: ").partition(" (request ")[0]


def test_a_broken_state_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{")
    result = CommandLine({"PARTNERAPI_STATE_DIR": str(tmp_path)})("partners list")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "secrets.json can't be read" in result.stderr


def test_json_is_the_document_that_http_answers(
    run: CommandLine, shared_admin: AdminProcess
) -> None:
    run("keys create techmart --env sandbox")
    client = shared_admin.client()
    for line, path in (
        ("partners list", "/partners"),
        ("partners show techmart", "/partners/techmart"),
        ("keys list", "/keys"),
        ("endpoints list --env sandbox", "/sandbox/endpoints"),
        ("deliveries list --env sandbox", "/sandbox/deliveries"),
        ("audit list", "/audit"),
        ("tokens list", "/tokens"),
    ):
        assert run.json(line) == client.get(path).json(), line


@pytest.mark.parametrize(
    "line",
    [
        "partners list",
        "keys create techmart --env live",
        "endpoints list --env live",
        "deliveries list --env live",
        "audit list",
        "tokens list",
        "gateway status",
        "gateway diff",
        "gateway publish",
        "gateway render",
        "gateway explain /partner/v1/inventory --env live --partner techmart",
    ],
)
def test_admin_that_is_away_is_exit_code_4_and_one_sentence(line: str) -> None:
    away = {"ADMIN_URL": f"http://127.0.0.1:{free_port()}", "ADMIN_TOKEN": "padm_x"}
    result = CommandLine(away)(line)
    assert result.exit_code == 4, result.output
    assert "can't be reached" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_token_that_does_not_work_is_exit_code_1(run: CommandLine) -> None:
    wrong = CommandLine({**run.environment, "ADMIN_TOKEN": "padm_wrong"})
    result = wrong("partners list")
    assert (result.exit_code, "unknown or was revoked" in result.stderr) == (1, True)


def test_the_token_may_be_in_a_file(run: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{run.environment['ADMIN_TOKEN']}\n")
    given = {"ADMIN_URL": run.environment["ADMIN_URL"], "ADMIN_TOKEN_FILE": str(file)}
    assert CommandLine(given)("partners list").exit_code == 0


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"ADMIN_URL": "http://127.0.0.1:1"}, "ADMIN_TOKEN: required"),
        ({"ADMIN_TOKEN": "padm_x"}, "ADMIN_URL: required"),
        ({"ADMIN_DATABASE_URL": "postgresql://x"}, "ADMIN_URL: required"),
        ({"ADMIN_URL": "admin:8100", "ADMIN_TOKEN": "padm_x"}, "ADMIN_URL: "),
        ({"ADMIN_URL": "http://a", "ADMIN_TOKEN": "pa\ndm"}, "ADMIN_TOKEN: "),
    ],
)
def test_the_environment_says_all_or_nothing(environment: dict[str, str], words: str) -> None:
    result = CommandLine(environment)("partners list")
    assert (result.exit_code, words in result.stderr) == (1, True), result.output


@pytest.mark.parametrize(
    ("name", "value", "words", "exit_code"),
    [
        (
            "ADMIN_DATABASE_URL",
            "postgresql://admin@127.0.0.1:1/x",
            "PostgreSQL (ADMIN_DATABASE_URL)",
            4,
        ),
        ("MASTER_KEYS", "short", "MASTER_KEYS: each must be 32 bytes", 1),
        ("GATEWAY_POLICY", "no.yml", "GATEWAY_POLICY: no.yml can't be read", 1),
        ("GATEWAY_UPSTREAMS", "query-life=h:1", "kong.yml has no upstream named query-life", 1),
        ("GATEWAY_UPSTREAMS", "query=http://h:1", "GATEWAY_UPSTREAMS: ", 1),
        ("GATEWAY_UPSTREAMS", "query=h", "GATEWAY_UPSTREAMS: ", 1),
        ("GATEWAY_UPSTREAMS", "query=h:0", "GATEWAY_UPSTREAMS: the port of query=h:0 must be", 1),
        ("GATEWAY_UPSTREAMS", "query=h:65536", "must be from 1 to 65,535", 1),
        ("GATEWAY_UPSTREAMS", "query=h:1, query=H:1", "GATEWAY_UPSTREAMS: query=H:1 is there", 1),
    ],
)
def test_a_wrong_setting_is_named(  # noqa: PLR0917 -- four of them are one case
    in_database: CommandLine, name: str, value: str, words: str, exit_code: int, tmp_path: Path
) -> None:
    in_database.environment[name] = value
    result = in_database("gateway", "render", "--output", str(tmp_path / "rendered"))
    assert result.exit_code == exit_code
    assert words in result.stderr


def test_every_missing_setting_is_named_at_once(tmp_path: Path) -> None:
    nothing = CommandLine({"PARTNERAPI_STATE_DIR": str(tmp_path)})
    result = nothing("partners list")
    assert result.exit_code == 1
    assert "ADMIN_URL: required" in result.stderr
    assert "ADMIN_TOKEN: required" in result.stderr


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_bytes_that_are_not_utf_8_are_one_sentence_in_every_command(words: tuple[str, ...]) -> None:
    result = CommandLine({})(*words, "a\udcff")
    assert result.exit_code == 2
    assert f"argument {len(words) + 1} is not UTF-8: b'a\\xff'" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...]) -> None:
    result = CommandLine({})(*words, "--help")
    assert result.exit_code == 0
    assert "For programs." not in result.output
    assert "Of lines." not in result.output


def test_bytes_of_a_real_command_line_end_in_one_sentence() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in WHOLE}
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", b"partners", b"show", b"caf\xe9", b"--json"],
        env=environment,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert json.loads(done.stderr)["message"] == "argument 3 is not UTF-8: b'caf\\xe9'"
