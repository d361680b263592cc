"""Partners and keys in PostgreSQL, and their way to the gateway's nodes."""

import http.server
import json
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Self

import msgspec
import psycopg
import pytest

from services.admin.gateway.publish import publish_to_nodes, text_hash
from services.admin.keys import KeyChoiceError
from services.admin.operations import Operations, open_admin
from services.admin.partners import PartnerError
from services.admin.settings import AdminSettings
from services.embedded.children import free_port
from services.kernel.encryption import make_master_key
from services.kernel.environments import Environment
from tests.conftest import Database

POLICY = Path(__file__).parents[3] / "gateway" / "kong.yml"
CONTACT = "integration@techmart.example"


@pytest.fixture
def settings(database: Database) -> AdminSettings:
    return AdminSettings(
        admin_database_url=database.url("admin"),
        master_keys=make_master_key(),
        gateway_policy=str(POLICY),
    )


@pytest.fixture
def admin(settings: AdminSettings) -> Generator[Operations]:
    with open_admin(settings) as operations:
        yield operations


def keys_in(text: str) -> set[str]:
    consumers = json.loads(text)["consumers"]
    return {key["key"] for c in consumers for key in c.get("keyauth_credentials", [])}


def test_a_key_is_rendered_from_its_creation_to_its_revocation(admin: Operations) -> None:
    admin.create_partner("techmart", "premium", CONTACT)
    first = admin.create_key("techmart", Environment.LIVE)
    second = admin.create_key("techmart", Environment.LIVE)
    assert keys_in(admin.render()) == {first.secret, second.secret}
    admin.revoke_key(first.shown if first.shown != second.shown else str(first.id))
    assert keys_in(admin.render()) == {second.secret}


def test_two_renders_of_the_same_partners_are_the_same_bytes(admin: Operations) -> None:
    for name in ("zeta", "acme"):
        admin.create_partner(name, "basic", CONTACT)
        for environment in Environment:
            admin.create_key(name, environment)
    assert admin.render() == admin.render()


def test_keys_are_encrypted_at_rest(admin: Operations, database: Database) -> None:
    admin.create_partner("techmart", "premium", CONTACT)
    key = admin.create_key("techmart", Environment.LIVE)
    with psycopg.connect(database.owner_url) as connection:
        rows = connection.execute("SELECT api_keys::text, sealed FROM control.api_keys").fetchall()
    (stored, sealed) = rows[0]
    assert key.secret not in stored
    assert key.secret.encode() not in sealed


def test_each_environment_gets_its_copy_of_a_partner(admin: Operations, database: Database) -> None:
    partner = admin.create_partner("techmart", "premium", CONTACT)
    with psycopg.connect(database.owner_url) as connection:
        for table in ("live.partners", "sandbox.partners"):
            rows = connection.execute(f"SELECT id, name, contact, state FROM {table}").fetchall()  # pyright: ignore
            assert rows == [(partner.id, "techmart", CONTACT, "active")]


@pytest.mark.parametrize(
    ("name", "tier", "contact", "words"),
    [
        ("Tech Mart", "premium", CONTACT, "name: 2 to 40 characters"),
        ("tech:mart", "premium", CONTACT, "name: 2 to 40 characters"),
        ("anonymous", "premium", CONTACT, "name: 2 to 40 characters"),
        ("techmart", "gold", CONTACT, "tier gold is not in kong.yml, which has basic, standard"),
        ("techmart", "premium", "nobody", "contact: an e-mail address"),
        ("taken", "premium", CONTACT, "there is a partner taken already"),
    ],
)
def test_what_does_not_fit_is_refused_with_how_to_mend_it(
    admin: Operations, name: str, tier: str, contact: str, words: str
) -> None:
    admin.create_partner("taken", "basic", CONTACT)
    with pytest.raises(PartnerError, match=words):
        admin.create_partner(name, tier, contact)


def test_a_key_for_nobody_is_refused(admin: Operations) -> None:
    with pytest.raises(PartnerError, match="there is no partner nobody"):
        admin.create_key("nobody", Environment.LIVE)


def test_a_key_can_be_named_in_full_by_its_first_characters_or_by_id(admin: Operations) -> None:
    admin.create_partner("techmart", "premium", CONTACT)
    for name_of in (lambda k: k.secret, lambda k: k.shown, lambda k: str(k.id)):
        key = admin.create_key("techmart", Environment.LIVE)
        assert admin.revoke_key(name_of(key)).id == key.id
        with pytest.raises(KeyChoiceError, match="no working key") as told:
            admin.revoke_key(name_of(key))
        assert key.secret not in str(told.value)


class Node:
    """A node of the gateway that answers as it is told."""

    def __init__(self, *, refuse: bool = False, pause: float = 0) -> None:
        self.hash: str | None = None
        node = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(pause)
                if not refuse:
                    node.hash = text_hash(json.loads(body)["config"])
                self.answer(400 if refuse else 201, {"message": "declarative config is invalid"})

            def do_GET(self) -> None:
                self.answer(200, {"configuration_hash": node.hash})

            def answer(self, status: int, body: dict[str, Any]) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_each_node_is_sent_the_text_and_reported_on_by_itself() -> None:
    with Node() as good, Node(refuse=True) as refusing:
        away = f"http://127.0.0.1:{free_port()}"
        reports = publish_to_nodes("text", [away, refusing.url, good.url])
    assert [r.url for r in reports] == [away, refusing.url, good.url]
    assert (reports[0].error or "").startswith("no answer")
    assert "refused with 400: " in (reports[1].error or "")
    assert reports[2].error is None
    assert reports[2].hash == good.hash == text_hash("text")


def test_a_slow_node_holds_up_no_other() -> None:
    with Node(pause=0.5) as slow, Node() as quick:
        publishing = threading.Thread(target=publish_to_nodes, args=("t", [slow.url, quick.url]))
        publishing.start()
        deadline = time.monotonic() + 5
        while quick.hash is None and time.monotonic() < deadline:
            time.sleep(0.005)
        assert quick.hash is not None
        assert slow.hash is None
        publishing.join()


def test_publishing_sends_what_is_rendered_now(settings: AdminSettings) -> None:
    with (
        Node() as node,
        open_admin(msgspec.structs.replace(settings, kong_admin_urls=node.url)) as admin,
    ):
        admin.create_partner("techmart", "premium", CONTACT)
        admin.create_key("techmart", Environment.LIVE)
        (report,) = admin.publish()
        assert report.hash == text_hash(admin.render())
