"""`partnerapi gateway check` and `explain`: output, exit codes, and no need of anything else."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from services.cli.gateway import gateway
from tests.unit.policy.broken import POLICY, line_of

STANDARD = line_of("minute: 300")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "kong.yml"
    path.write_text(POLICY)
    return path


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(gateway, arguments, obj=lambda: environment)


def test_a_sound_file_is_told_with_what_was_checked(file: Path) -> None:
    result = run("check", str(file))
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{file}: no fault; checked services 5, routes 5")
    assert "tiers 4" in result.stdout


def test_faults_are_lines_that_editors_jump_to_and_exit_code_1(file: Path) -> None:
    file.write_text(POLICY.replace("minute: 300", "minute: many").replace("live]", "life]", 1))
    result = run("check", str(file))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{file}:{STANDARD}: `minute` of tier standard must be an integer")
    assert all(line.startswith(f"{file}:") for line in lines)
    assert result.stderr == f"{len(lines)} faults in {file}\n"


def test_a_program_reads_faults_as_json(file: Path) -> None:
    file.write_text(POLICY.replace("minute: 300", "minute: many"))
    result = run("check", str(file), "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["file"] == str(file)
    assert [fault["line"] for fault in document["faults"]] == [STANDARD]
    file.write_text(POLICY)
    assert json.loads(run("check", str(file), "--json").stdout)["checked"]["tiers"] == 4


def test_without_a_file_it_takes_the_one_that_is_published(file: Path) -> None:
    assert str(file) in run("check", GATEWAY_POLICY=str(file)).stdout


@pytest.mark.parametrize("name", ["not-there.yml", "."])
def test_a_file_that_cannot_be_read_is_exit_code_2(name: str) -> None:
    result = run("check", name)
    assert result.exit_code == 2
    assert f"{name} can't be read" in result.stderr


def explained(file: Path, *arguments: str) -> str:
    result = run("explain", *arguments, GATEWAY_POLICY=str(file))
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_a_tier_is_explained_without_a_database(file: Path) -> None:
    text = explained(file, "--tier", "premium", "--env", "live", "/partner/v1/inventory?a=b")
    assert "GET /partner/v1/inventory, host" in text
    assert f"inventory-live (line {line_of('- name: inventory-live')})" in text
    upstream = line_of("- name: query\n")
    assert f"service  query-live at query:8101 by upstream query (line {upstream}) (con" in text
    assert "1000 a minute by consumer" in text
    assert "60 a minute by ip" in text
    assert "answer   401 Unauthorized (429 above the limit)" in text


def test_plugins_are_told_in_the_order_in_which_kong_runs_them(file: Path) -> None:
    arguments = ("--tier", "basic", "--env", "sandbox", "/partner/v1/sandbox/stock", "--json")
    document = json.loads(explained(file, *arguments))
    assert [(step["plugin"], step["scope"]) for step in document["steps"]] == [
        ("correlation-id", "global"),
        ("error-envelope", "global"),
        ("key-auth", "service webhooks-sandbox"),
        ("request-size-limiting", "service webhooks-sandbox"),
        ("acl", "service webhooks-sandbox"),
        ("rate-limiting", "consumer (tier basic)"),
        ("backend-token", "global"),
        ("prometheus", "global"),
    ]
    assert document["anonymous_steps"][-1]["ends"] == "401 Unauthorized"


def test_a_key_of_the_other_environment_ends_at_acl(file: Path) -> None:
    host = ("--host", "sandbox-api.localhost")
    text = explained(file, "--tier", "basic", "--env", "live", "/partner/v1/inventory", *host)
    assert "inventory-sandbox" in text
    assert "answer   403 FORBIDDEN" in text


def test_a_public_path_is_the_same_for_everybody(file: Path) -> None:
    text = explained(file, "--tier", "premium", "--env", "live", "/partner/v1/docs")
    assert "120 a minute by ip" in text
    assert "the same: the service answers" in text


def test_a_path_that_no_route_takes_is_404(file: Path) -> None:
    text = explained(file, "--tier", "premium", "--env", "live", "/partner/v1/sandbox/stock")
    assert "answer   404 NOT_FOUND" in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("/partner/v1/docs", "--env", "live"), 2, "one of --partner and --tier"),
        (("docs", "--env", "live", "--tier", "basic"), 2, "PATH begins with /"),
        (("/x", "--env", "live", "--tier", "gold"), 1, "has only basic, standard, premium, qa"),
    ],
)
def test_what_cannot_be_explained_is_told(
    file: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    result = run("explain", *arguments, GATEWAY_POLICY=str(file))
    assert (result.exit_code, words in result.stderr) == (code, True)


@pytest.mark.parametrize(
    "command", [("check",), ("explain", "/x", "--env", "live", "--tier", "qa")]
)
def test_a_file_that_is_no_utf_8_is_a_fault_for_each_command(
    file: Path, command: tuple[str, ...]
) -> None:
    file.write_bytes(POLICY.encode().replace(b"minute: 60", b"minute: \xff", 1))
    result = run(*command, GATEWAY_POLICY=str(file))
    line = f"{file}:{line_of('minute: 60')}: this is not UTF-8: save the file as UTF-8\n"
    assert (result.exit_code, line in result.output) == (1, True)


def test_a_faulty_file_is_not_explained_but_told(file: Path) -> None:
    file.write_text(POLICY.replace("minute: 300", "minute: many"))
    arguments = ("explain", "/x", "--env", "live", "--tier", "basic")
    result = run(*arguments, GATEWAY_POLICY=str(file))
    assert result.exit_code == 1
    assert f"{file}:{STANDARD}: `minute` of tier standard" in result.stderr
