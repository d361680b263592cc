"""A command never publishes: whatever happens to admin, nodes run admin's kong.yml or stay put."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.cli.main import WHOLE
from services.domain.key_form import is_well_formed
from tests.admin_process import AdminProcess, CommandLine, running_admin
from tests.integration.admin.gateway.conftest import Gateway
from tests.integration.admin.gateway.stub_nodes import StubNode
from tools.waiting import wait_for

AWAY = 4
NAMES = ("admin_database_url", "master_keys", "gateway_policy", "gateway_upstreams")
OURS = '"minute":1000'  # premium, as admin's kong.yml has it
THEIRS = '"minute":7'  # as the kong.yml beside the command has it


class Site:
    """An admin with one node, and a folder with another kong.yml, in which commands are typed."""

    def __init__(self, gateway: Gateway, node: StubNode, folder: Path, running: ExitStack) -> None:
        self.node = node
        self.folder = folder
        self._gateway = gateway
        self._running = running
        self._token = ""
        policy = gateway.policy_file.read_text("utf-8")
        (folder / "gateway").mkdir()
        other = policy.replace("minute: 1000", "minute: 7")
        assert other != policy
        (folder / "gateway" / "kong.yml").write_text(other, "utf-8")

    def start_admin(self) -> AdminProcess:
        settings = {name.upper(): str(getattr(self._gateway.settings, name)) for name in NAMES}
        settings["KONG_ADMIN_URLS"] = self.node.url
        admin = self._running.enter_context(running_admin(self.folder, settings))
        self._token = self._token or admin.operator
        return admin

    def keys(self) -> int:
        """Return how many keys PostgreSQL has."""
        with self._gateway.connect() as connection:
            return connection.execute("SELECT count(*) FROM control.api_keys").fetchall()[0][0]

    def command(self, admin: AdminProcess, *words: str) -> subprocess.Popen[str]:
        """Type a command of an operator who has another kong.yml."""
        environment = {name: value for name, value in os.environ.items() if name not in WHOLE}
        environment |= {"ADMIN_URL": admin.running.base_url, "ADMIN_TOKEN": self._token}
        environment["GATEWAY_POLICY"] = str(self.folder / "gateway" / "kong.yml")
        return subprocess.Popen(
            [sys.executable, "-m", "services.cli", *words],
            env=environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def create_key(self, admin: AdminProcess) -> tuple[int, str, str]:
        """Make a key; return exit code, standard output and standard error."""
        command = self.command(admin, "keys", "create", "techmart", "--env", "live")
        output, errors = command.communicate(timeout=40)
        return command.returncode, output.strip(), errors


@pytest.fixture
def site(gateway: Gateway, stub: StubNode, tmp_path: Path) -> Iterator[Site]:
    gateway.new_key("techmart", "premium")
    with ExitStack() as running:
        yield Site(gateway, stub, tmp_path, running)
    assert stub.posts, "the node was never sent anything"
    assert all(OURS in text and THEIRS not in text for text in stub.posts)


def stop(admin: AdminProcess) -> None:
    admin.running.process.send_signal(signal.SIGTERM)
    admin.running.process.wait(20)


def test_with_admin_down_nothing_changes_and_the_exit_code_is_4(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = site.start_admin()
    wait_for(lambda: site.node.text is not None, "a first publish")
    stop(admin)
    monkeypatch.chdir(site.folder)
    before = (site.keys(), site.node.hash, len(site.node.posts))
    run = CommandLine({**admin.run.environment, "GATEWAY_POLICY": "gateway/kong.yml"})
    for words in (
        "keys create techmart --env live",
        "partners suspend techmart --reason late",
        "gateway publish",
        "gateway diff gateway/kong.yml",
    ):
        result = run(words)
        assert (result.exit_code, result.stdout) == (AWAY, ""), result.output
        assert "can't be reached" in result.stderr
    # What uses the database itself, in admin's container, does not touch the gateway either.
    rendered = CommandLine(admin.settings)(f"gateway render --output {site.folder}/rendered")
    assert rendered.exit_code == 0, rendered.output
    assert (site.keys(), site.node.hash, len(site.node.posts)) == before


def test_a_command_beside_another_kong_yml_publishes_that_of_admin(site: Site) -> None:
    admin = site.start_admin()
    code, key, errors = site.create_key(admin)
    assert (code, is_well_formed(key)) == (0, True), errors
    assert site.node.has_key(key)
    assert OURS in (site.node.text or "")


def test_a_key_that_waits_for_its_publish_while_admin_ends_is_made_and_published(
    site: Site,
) -> None:
    admin = site.start_admin()
    wait_for(lambda: site.node.text is not None, "a first publish")
    posts, keys = len(site.node.posts), site.keys()
    released = threading.Event()
    site.node.refuses = lambda _text: not released.wait(30)  # it takes the text when released
    command = site.command(admin, "keys", "create", "techmart", "--env", "live")
    wait_for(lambda: len(site.node.posts) > posts, "the publish of the key")
    admin.running.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)  # it has begun to end
    released.set()
    output, errors = command.communicate(timeout=40)
    assert (command.returncode, is_well_formed(output.strip())) == (0, True), errors
    assert site.keys() == keys + 1
    assert site.node.has_key(output.strip())


@pytest.mark.long
def test_keys_made_while_one_admin_after_the_other_restarts_are_made_and_published_or_not(
    site: Site,
) -> None:
    made: set[str] = set()
    refused = 0
    first = site.keys()
    for _ in range(4):
        admin = site.start_admin()
        code, key, _ = site.create_key(admin)
        assert code == 0
        made.add(key)
        before = site.keys()
        commands = [
            site.command(admin, "keys", "create", "techmart", "--env", "live") for _ in range(3)
        ]
        wait_for(lambda before=before: site.keys() > before, "a key of the three")
        admin.running.process.send_signal(signal.SIGTERM)
        for command in commands:
            output, errors = command.communicate(timeout=40)
            if command.returncode == AWAY:
                assert "can't be reached" in errors or "no whole answer" in errors, errors
                assert output == ""
                refused += 1
            else:
                assert command.returncode in {0, 3}, errors
                assert is_well_formed(output.strip())
                made.add(output.strip())
        admin.running.process.wait(20)
    print(json.dumps({"made": len(made), "refused": refused}))
    assert site.keys() == first + len(made)
    site.start_admin()
    wait_for(lambda: all(site.node.has_key(key) for key in made), "all keys on the node")
