"""What a stack keeps in its folder, and what is found there after a crash."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from services.local import tail
from services.local.children import StackError
from services.local.leftovers import end_leftovers
from services.local.plan import GatewayKind, make_plan
from services.local.postgres import prepare
from services.local.provision import ensure_secrets
from services.local.state import (
    ChildRecord,
    Phase,
    ProcessIdentity,
    StackRecord,
    StateFolder,
    identify,
    is_alive,
    stack_environment,
)
from services.schema.migrate import ROLES

BASE = 18_000


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    made = StateFolder(tmp_path / "state")
    made.make()
    return made


def record_of(folder: StateFolder, supervisor: ProcessIdentity) -> StackRecord:
    plan = make_plan(folder.path, BASE, GatewayKind.EMBEDDED, ensure_secrets(folder))
    return StackRecord(Phase.UP, supervisor, plan.ports, plan.urls, plan.admin, {})


def this_process() -> ProcessIdentity:
    found = identify(os.getpid())
    assert found is not None
    return found


def test_secrets_are_made_once_and_for_their_owner_only(folder: StateFolder) -> None:
    made = ensure_secrets(folder)
    assert ensure_secrets(folder) == made
    assert set(made.passwords) == set(ROLES)
    assert stat.S_IMODE((folder.path / "secrets.json").stat().st_mode) == 0o600
    assert made.master_key not in repr(made)


def test_a_role_that_a_new_release_adds_gets_its_password(folder: StateFolder) -> None:
    made = ensure_secrets(folder)
    fewer = {role: made.passwords[role] for role in ROLES[1:]}
    folder.write_secrets(msgspec.structs.replace(made, passwords=fewer))
    again = ensure_secrets(folder)
    assert set(again.passwords) == set(ROLES)
    assert again.master_key == made.master_key


def test_data_without_its_secrets_is_one_line_that_says_what_to_do(folder: StateFolder) -> None:
    version = folder.path / "postgres" / "data" / "PG_VERSION"
    version.parent.mkdir(parents=True)
    version.touch()
    with pytest.raises(StackError, match=r"secrets\.json is missing.*remove .* to start afresh"):
        ensure_secrets(folder)


def test_a_damaged_file_is_one_line_that_says_what_to_do(folder: StateFolder) -> None:
    (folder.path / "secrets.json").write_text('{"master_key"')
    with pytest.raises(StackError, match=r"secrets\.json can't be read .*to start afresh"):
        ensure_secrets(folder)


def test_a_recycled_process_id_is_not_taken_for_the_supervisor(folder: StateFolder) -> None:
    ours = this_process()
    recycled = ProcessIdentity(ours.pid, ours.started - 1)
    assert is_alive(ours)
    assert not is_alive(recycled)
    folder.write_record(record_of(folder, recycled))
    assert folder.running() is None
    assert stack_environment(folder.path) is None


def test_a_record_of_another_release_is_no_running_stack(folder: StateFolder) -> None:
    (folder.path / "stack.json").write_text('{"version": 0}')
    assert folder.running() is None


def test_commands_find_admin_and_its_settings_in_a_running_stack(folder: StateFolder) -> None:
    folder.write_record(record_of(folder, this_process()))
    folder.write_token("padm_a-token")
    assert stat.S_IMODE((folder.path / "admin-token").stat().st_mode) == 0o600
    environment = stack_environment(folder.path)
    assert environment is not None
    assert environment["ADMIN_URL"] == f"http://127.0.0.1:{BASE + 100}"
    assert environment["ADMIN_TOKEN"] == "padm_a-token"
    password = ensure_secrets(folder).passwords["admin"]
    assert environment["ADMIN_DATABASE_URL"] == (
        f"postgresql://admin:{password}@127.0.0.1:{BASE + 54}/postgres"
    )
    assert environment["KONG_ADMIN_URLS"] == f"http://127.0.0.1:{BASE + 1}"
    assert environment["GATEWAY_UPSTREAMS"] == (
        f"query=127.0.0.1:{BASE + 101},sandbox-query=127.0.0.1:{BASE + 201}"
        f",webhooks=127.0.0.1:{BASE + 102},sandbox-webhooks=127.0.0.1:{BASE + 202}"
    )
    assert environment["GATEWAY_COUNTERS_URL"] == f"valkey://127.0.0.1:{BASE + 63}/1"
    assert Path(environment["GATEWAY_POLICY"]).is_file()
    assert ensure_secrets(folder).master_key == environment["MASTER_KEYS"]
    record = (folder.path / "stack.json").read_text()
    assert password not in record
    assert "padm_" not in record


def test_two_supervisors_never_hold_one_folder(folder: StateFolder) -> None:
    with (
        folder.locked(),
        pytest.raises(StackError, match="a stack runs already in"),
        StateFolder(folder.path).locked(),
    ):
        pass


def test_children_of_a_killed_supervisor_are_ended(folder: StateFolder) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as left:
        process = identify(left.pid)
        assert process is not None
        gone = ProcessIdentity(this_process().pid, 1)
        record = record_of(folder, gone)
        record.children = {"query-live": ChildRecord(process, (1,), "")}
        folder.write_record(record)
        said: list[str] = []
        assert end_leftovers(folder, said.append) == ["query-live"]
        assert not is_alive(process)
    assert said == ["Waiting for the rest of a stack that was killed: query-live"]
    assert folder.record() is None


def test_a_half_finished_first_start_of_postgresql_is_mended(tmp_path: Path) -> None:
    postgres = tmp_path / "postgres"
    (postgres / "data.new" / "base").mkdir(parents=True)
    (postgres / "superuser-password").write_text("of the start that was killed")
    password = prepare(postgres, tmp_path / "log")
    assert password != "of the start that was killed"
    assert (postgres / "data" / "PG_VERSION").exists()
    assert not (postgres / "data.new").exists()
    # A killed server's lock whose process id another program has got since.
    lock = postgres / "data" / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n")
    assert prepare(postgres, tmp_path / "log") == password
    assert not lock.exists()


def test_a_log_that_began_anew_is_followed_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    log.write_text("first\nsecond\nthi")
    lines = tail.lines({"one": log}, last=1, follow=True)
    assert next(lines) == "second"
    log.write_text("new\n")
    assert next(lines) == "new"
