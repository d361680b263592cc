"""The command line of operations: what it prints, writes and exits with."""

import json
import stat
from pathlib import Path

import pytest

from services.domain.key_form import is_well_formed
from services.local.children import free_port
from tests.admin_process import CommandLine, settings_for
from tests.conftest import Database


@pytest.fixture
def run(database: Database) -> CommandLine:
    return CommandLine(settings_for(database, KONG_ADMIN_URLS=f"http://127.0.0.1:{free_port()}"))


CREATE = "partners create techmart --tier premium --contact a@techmart.example"


def test_a_key_is_alone_on_standard_output(run: CommandLine) -> None:
    assert run(CREATE).exit_code == 0
    result = run("keys create techmart --env live --no-publish")
    assert result.exit_code == 0
    assert is_well_formed(result.stdout.strip())
    assert "run `partnerapi gateway publish`" in result.stderr


def test_a_node_that_is_away_is_named_and_the_exit_code_says_so(run: CommandLine) -> None:
    run(CREATE)
    result = run("keys create techmart --env live")
    assert result.exit_code == 3
    assert is_well_formed(result.stdout.strip())  # made all the same, and shown
    assert f"{run.environment['KONG_ADMIN_URLS']}  away: no answer" in result.stderr


def test_publishing_without_a_node_is_told_not_taken_for_success(run: CommandLine) -> None:
    run.environment["KONG_ADMIN_URLS"] = ""
    result = run("gateway publish")
    assert result.exit_code == 3
    assert "KONG_ADMIN_URLS names no node" in result.stderr


def test_render_masks_keys_and_a_file_holds_them_for_its_owner_only(
    run: CommandLine, tmp_path: Path
) -> None:
    run(CREATE)
    key = run("keys create techmart --env live --no-publish").stdout.strip()
    shown = run("gateway render").stdout
    assert key not in shown
    assert json.loads(shown)["_format_version"] == "3.0"
    target = tmp_path / "config.json"
    target.write_text("an older one, open to all")
    target.chmod(0o644)
    assert run(f"gateway render --output {target}").exit_code == 0
    assert key in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "partners create techmart --tier gold --contact a@b.example",
            "`tier` gold is not in kong.yml",
        ),
        ("partners create Tech --tier basic --contact a@b.example", "`name`: 2 to 40 characters"),
        ("keys create nobody --env live", "there is no partner nobody"),
        ("keys revoke pk_live_none --yes", "there is no key pk_live_none"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(run: CommandLine, line: str, words: str) -> None:
    result = run(line)
    assert result.exit_code == 1
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


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
def test_a_wrong_setting_is_named(
    run: CommandLine, name: str, value: str, words: str, exit_code: int
) -> None:
    run.environment[name] = value
    result = run("gateway render")
    assert result.exit_code == exit_code
    assert words in result.stderr


def test_every_missing_setting_is_named_at_once(run: CommandLine) -> None:
    run.environment.clear()
    result = run("gateway render")
    assert result.exit_code == 1
    assert "ADMIN_DATABASE_URL: required" in result.stderr
    assert "MASTER_KEYS: required" in result.stderr
