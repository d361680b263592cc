"""Tokens, roles and the audit log, over HTTP and on the command line."""

import contextlib
import os
import pwd
import re
from collections.abc import Generator
from threading import Thread
from uuid import uuid4

import httpx
import psycopg
import pytest
from yoyo import get_backend, read_migrations  # pyright: ignore[reportUnknownVariableType]

from services.admin.audit.rows import Actor, record
from services.admin.changes import Change
from services.admin.refusals import ConflictError
from services.admin.tokens.rows import TAKE_TURNS, Role, create_token, list_tokens, revoke_token
from services.core.encryption import SecretBox, make_master_key
from services.core.external_text import ExternalTextError
from services.schema.migrate import MIGRATIONS, migrate
from tests.admin_process import POLICY, AdminProcess, CommandLine, settings_for
from tests.conftest import Database
from tests.control_rows import emptied
from tools.waiting import wait_for


@pytest.fixture
def admin(shared: Database, shared_admin: AdminProcess) -> Generator[AdminProcess]:
    """The shared one, of whose tokens only the operator's is left."""
    with emptied(shared):
        yield shared_admin


@pytest.fixture
def run(admin: AdminProcess) -> CommandLine:
    return admin.run


@pytest.fixture
def in_database(shared: Database) -> CommandLine:
    """The command line inside admin's container."""
    return CommandLine(settings_for(shared))


def test_who_may_do_what(admin: AdminProcess) -> None:
    operator, viewer = admin.client(), admin.client(admin.token("eye", Role.VIEWER))
    new = {"name": "bot", "role": "viewer"}
    assert viewer.get("/audit").status_code == 200
    diff = viewer.post("/gateway/diff", json={"policy": POLICY.read_text("utf-8")})
    assert (diff.status_code, diff.json()["nodes"]) == (200, [])
    assert viewer.post("/gateway/publish").status_code == 403
    refused = viewer.post("/tokens", json=new)
    assert refused.status_code == 403
    assert refused.json()["code"] == "FORBIDDEN"
    assert refused.json()["request_id"] == refused.headers["X-Request-ID"]
    made = operator.post("/tokens", json=new)
    assert made.status_code == 201
    bot = admin.client(made.json()["secret"])
    assert bot.get("/tokens").status_code == 200
    assert operator.delete("/tokens/bot").status_code == 204
    assert bot.get("/tokens").status_code == 401


@pytest.mark.parametrize("sent", [None, "Basic abc", "Bearer", "Bearer pk_live_x", "Bearer padm_x"])
def test_without_a_good_token_there_is_401_and_nothing_else(
    admin: AdminProcess, sent: str | None
) -> None:
    headers = {"Authorization": sent} if sent else {}
    for method, path in (("GET", "/tokens"), ("POST", "/tokens"), ("GET", "/audit")):
        url = f"{admin.running.base_url}/admin/v1{path}"
        answer = httpx.request(method, url, headers=headers, trust_env=False)
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_every_path_but_health_and_the_document_needs_a_token(admin: AdminProcess) -> None:
    base = admin.running.base_url
    document = httpx.get(f"{base}/admin/v1/docs/openapi.json", trust_env=False).json()
    tried = 0
    for path, methods in document["paths"].items():
        for method in methods.keys() - {"parameters"}:
            named = path.replace("{environment}", "live")
            url = base + re.sub(r"{\w+_id}", str(uuid4()), named)
            answer = httpx.request(method.upper(), url, trust_env=False, timeout=25)
            if path.startswith("/admin/"):
                assert answer.status_code == 401, (method, path, answer.text)
                tried += 1
    assert tried >= 4


def test_a_change_is_told_with_who_and_by_which_request(admin: AdminProcess) -> None:
    client = admin.client(admin.token("ops-bot"))
    headers = {"X-Request-ID": "ticket-4711"}
    client.post("/tokens", json={"name": "eye", "role": "viewer"}, headers=headers)
    entry = client.get("/audit", params={"target": "token:eye"}).json()["items"][0]
    assert (entry["actor"], entry["action"]) == ("token:ops-bot", "token.created")
    assert (entry["before"], entry["after"]) == (None, {"role": "viewer"})
    assert entry["request_id"] == "ticket-4711"


def test_pages_hold_every_entry_once_newest_first(admin: AdminProcess) -> None:
    client = admin.client()
    for number in range(7):
        client.post("/tokens", json={"name": f"bot-{number}", "role": "viewer"})
    seen: list[str] = []
    parameters = {"limit": "3", "target": "token"}
    while True:
        page = client.get("/audit", params=parameters).json()
        seen += [entry["target"] for entry in page["items"]]
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert seen == [f"token:bot-{number}" for number in reversed(range(7))]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limt=1", "`limt` is not a parameter"),
        ("limit=0", "`limit` must be a whole number from 1 to 200"),
        ("limit=x", "`limit`"),
        ("cursor=!!", "`cursor` is none of this list's"),
        ("cursor=YWJj", "`cursor` is none of this list's"),
        ("since=yesterday", "`since`"),
    ],
)
def test_a_wrong_question_is_told_by_its_field(admin: AdminProcess, query: str, words: str) -> None:
    answer = admin.client().get(f"/audit?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert words in answer.json()["message"]


def test_nobody_can_change_the_audit_log(shared: Database, run: CommandLine) -> None:
    run("tokens create ops --role operator")
    for statement in ("DELETE FROM control.audit", "UPDATE control.audit SET actor = 'x'"):
        with (
            psycopg.connect(shared.url("admin")) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement)


def test_a_token_is_shown_once_and_stored_by_its_fingerprint(
    shared: Database, run: CommandLine
) -> None:
    secret = run("tokens create ops --role operator").stdout.strip()
    assert secret.startswith("padm_")
    assert secret not in run("tokens list").output
    with psycopg.connect(shared.owner_url) as connection:
        rows = connection.execute("SELECT tokens::text FROM control.tokens").fetchall()
    assert secret not in str(rows)


def test_what_cannot_be_undone_is_asked_for_or_needs_yes(run: CommandLine) -> None:
    run("tokens create ops --role operator")
    refused = run("tokens revoke ops")
    assert (refused.exit_code, "say --yes" in refused.stderr) == (2, True)
    assert run("tokens revoke ops --yes").exit_code == 0
    again = run("tokens revoke ops --yes")
    assert (again.exit_code, "there is no token ops" in again.stderr) == (1, True)


def test_programs_read_the_same_json_from_both_faces(admin: AdminProcess, run: CommandLine) -> None:
    client = admin.client()
    assert run.json("audit list --target token") == client.get("/audit?target=token").json()
    assert run.json("tokens list") == client.get("/tokens").json()
    assert run("audit list --limit 0").exit_code == 2


def test_the_first_token_is_made_in_the_database_and_calls_admin(
    admin: AdminProcess, in_database: CommandLine
) -> None:
    secret = in_database("tokens create first --role operator --in-database").stdout.strip()
    listed = admin.client(secret).get("/tokens").json()["items"]
    assert [(each["name"], each["made_by"]) for each in listed if each["name"] != "tester"] == [
        ("first", None)
    ]


def test_the_page_of_the_document_asks_no_other_host(admin: AdminProcess) -> None:
    base = f"{admin.running.base_url}/admin/v1/docs"
    page = httpx.get(base, trust_env=False).text
    assert "https://" not in page
    assert "http://" not in page
    for name in re.findall(r"/admin/v1/docs/(assets/[a-z.-]+)", page):
        assert httpx.get(f"{base}/{name}", trust_env=False).status_code == 200, name
    document = httpx.get(f"{base}/openapi.json", trust_env=False).json()
    assert document["openapi"].startswith("3.1")
    described = document["paths"]["/admin/v1/partners/{name}"]["get"]["responses"]
    assert described.keys() >= {"200", "400", "401", "403", "404", "503"}


def test_the_actor_is_the_token_and_beside_it_the_systems_user_as_its_uid_says(
    run: CommandLine, in_database: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "alice\n2026-11-27 cli:bob")
    me = pwd.getpwuid(os.geteuid()).pw_name
    run("tokens create first --role viewer")
    in_database("tokens create second --role viewer --in-database")
    monkeypatch.setattr(os, "getuid", lambda: 4_294_967)  # no such user in /etc/passwd
    run("tokens create third --role viewer")
    entries = run.json("audit list --target token --limit 3")["items"]
    assert [(each["actor"], each["os_user"]) for each in entries] == [
        ("token:tester", "uid-4294967"),
        ("cli", me),
        ("token:tester", me),
    ]
    table = run("audit list --target token").stdout
    assert "OS USER (UNVERIFIED)" in table
    assert "uid-4294967" in table


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Zo%C3%AB", "Zo\u00eb"),
        ("a" * 100, "a" * 100),
        ("", None),
        ("a" * 101, 400),
        ("a%0Ab", 400),
        ("a%00", 400),
    ],
)
def test_the_systems_user_of_a_header_is_kept_or_refused_like_all_text(
    admin: AdminProcess, sent: str, kept: str | int | None
) -> None:
    client = admin.client()
    answer = client.post(
        "/tokens", json={"name": "eye", "role": "viewer"}, headers={"X-OS-User": sent}
    )
    entries = client.get("/audit?target=token:eye").json()["items"]
    if kept == 400:
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
        assert entries == []
    else:
        assert [each["os_user"] for each in entries] == [kept]


@pytest.mark.parametrize("name", ["cli:alice\nbob", "cli:a\0b", "cli:\udce9", "x" * 1001])
def test_an_actor_that_the_audit_log_cannot_keep_is_refused(name: str) -> None:
    with pytest.raises(ExternalTextError, match="`actor`"):
        Actor(name)


def test_over_http_the_actor_is_the_token_whatever_headers_say(admin: AdminProcess) -> None:
    client = admin.client(admin.token("ops-bot"))
    claimed = ("X-Actor", "X-User", "From", "X-Forwarded-User", "X-Consumer-Username", "Logname")
    headers = dict.fromkeys(claimed, "mallory")
    client.post("/tokens", json={"name": "eye", "role": "viewer"}, headers=headers)
    entry = client.get("/audit", params={"target": "token:eye"}).json()["items"][0]
    assert entry["actor"] == "token:ops-bot"
    assert "mallory" not in str(entry)


def test_a_token_ends_with_the_one_that_made_it(
    admin: AdminProcess, run: CommandLine, in_database: CommandLine
) -> None:
    operator = admin.client()
    child = admin.client(made(operator, "child", "operator"))
    grandchild = admin.client(made(child, "grandchild", "viewer"))
    in_database("tokens create bot --role viewer --in-database")
    listed = {each["name"]: each["made_by"] for each in operator.get("/tokens").json()["items"]}
    assert listed == {"tester": None, "child": "tester", "grandchild": "child", "bot": None}
    revoked = run("tokens revoke child --yes")
    assert revoked.stdout.splitlines() == [
        "revoked child (operator)",
        "revoked grandchild (viewer), made by child",
    ]
    for client in (child, grandchild):
        assert client.get("/tokens").status_code == 401
    left = {each["name"] for each in operator.get("/tokens").json()["items"]}
    assert left == {"tester", "bot"}
    entries = operator.get("/audit?action=token.revoked").json()["items"]
    assert {(each["target"], each["before"]["made_by"]) for each in entries} == {
        ("token:child", "tester"),
        ("token:grandchild", "child"),
    }


def made(client: httpx.Client, name: str, role: str) -> str:
    answer = client.post("/tokens", json={"name": name, "role": role})
    assert answer.status_code == 201, answer.text
    return answer.json()["secret"]


@contextlib.contextmanager
def changing(database: Database, actor: Actor) -> Generator[Change]:
    with (
        psycopg.connect(database.url("admin"), autocommit=True) as connection,
        connection.transaction(),
    ):
        yield Change(connection, actor, SecretBox(make_master_key()))


@pytest.mark.parametrize("first", ["the revocation", "the child"])
def test_no_token_is_left_by_one_that_is_just_being_revoked(database: Database, first: str) -> None:
    with changing(database, Actor("cli:tests")) as change:
        maker, _ = create_token(change, "maker", Role.OPERATOR)

    def revoke() -> None:
        with changing(database, Actor("cli:tests")) as change:
            revoke_token(change, "maker")

    def make() -> None:
        with (
            contextlib.suppress(ConflictError),
            changing(database, Actor("token:maker", None, maker.id)) as change,
        ):
            create_token(change, "child", Role.OPERATOR)

    in_turn = (revoke, make) if first == "the revocation" else (make, revoke)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    threads: list[Thread] = []
    with psycopg.connect(database.owner_url, autocommit=True) as looking:

        def all_wait() -> bool:
            return looking.execute(waiting).fetchall() == [(len(threads),)]

        with changing(database, Actor("cli:tests")) as holding:
            holding.connection.execute(TAKE_TURNS)  # both have begun before either ends
            for each in in_turn:
                threads.append(Thread(target=each))
                threads[-1].start()
                wait_for(all_wait, "it waits for its turn")
        for thread in threads:
            thread.join(10)
        assert list_tokens(looking) == []


def test_the_audit_log_says_who_made_the_tokens_that_are_there_already(
    database: Database,
) -> None:
    CommandLine(settings_for(database))("tokens create maker --role operator --in-database")
    backend = get_backend(database.owner_url.replace("postgresql:", "postgresql+psycopg:", 1))
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        this = [each for each in read_migrations(str(MIGRATIONS)) if each.id.startswith("0010.")]
        backend.rollback_migrations(this)
        backend.connection.close()
        for name, actor in (("child", "token:maker"), ("bot", "cli:maker")):
            with owner.transaction():
                owner.execute(
                    "INSERT INTO control.tokens (name, role, fingerprint)"
                    " VALUES (%(name)s, 'viewer', %(name)s)",
                    {"name": name},
                )
                record(owner, Actor(actor), "token.created", f"token:{name}")
        assert migrate(database.owner_url) == 1
        assert {each.name: each.made_by for each in list_tokens(owner)} == {
            "maker": None,
            "child": "maker",
            "bot": None,
        }


def test_no_literal_segment_hides_an_id(admin: AdminProcess) -> None:
    """A product called `import` is read and changed as any other, whatever else gets a path."""
    client = admin.client()
    paths = list(client.get("/docs/openapi.json").json()["paths"])
    hiding = [
        (literal, path)
        for path in paths
        for literal in paths
        if _is_preferred(literal.split("/"), path.split("/"))
    ]
    assert (
        "/admin/v1/{environment}/stock/import",
        "/admin/v1/{environment}/stock/{product_id}",
    ) in (hiding)
    for literal, path in hiding:
        assert _methods(client, path) <= _methods(client, literal), literal


def _is_preferred(literal: list[str], path: list[str]) -> bool:
    """Say whether the router takes `literal` where `path` would take the same request."""
    return (
        literal != path
        and len(literal) == len(path)
        and all(
            mine == theirs or (theirs.startswith("{") and theirs != "{environment}")
            for mine, theirs in zip(literal, path, strict=True)
        )
    )


def _methods(client: httpx.Client, path: str) -> set[str]:
    url = path.removeprefix("/admin/v1").replace("{environment}", "live")
    answer = client.options(re.sub(r"{\w+}", "an-id", url))
    return set(answer.headers["Allow"].split(", "))
