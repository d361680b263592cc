"""Keys of operations: made, rotated, given an end, revoked, over HTTP and on the command line."""

import json
import os
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pwd import getpwuid
from typing import Any

import httpx
import psycopg
import pytest

from services.admin.keys.changes import OVERLAP
from services.admin.keys.rows import NewKey
from services.domain.key_form import is_well_formed
from tests.admin_process import AdminProcess, CommandLine
from tests.conftest import Database
from tests.control_rows import emptied

PARTNER = {"name": "techmart", "tier": "premium", "contact": "api@techmart.example"}
CLOSE = timedelta(seconds=30)  # between this process's clock and PostgreSQL's, and a slow request


@pytest.fixture
def owner(shared: Database) -> Generator[psycopg.Connection[Any]]:
    with emptied(shared) as connection:
        yield connection


@pytest.fixture
def http(shared_admin: AdminProcess, owner: psycopg.Connection[Any]) -> httpx.Client:
    client = shared_admin.client()
    assert client.post("/partners", json=PARTNER).status_code == 201
    return client


@pytest.fixture
def run(shared_run: CommandLine, http: httpx.Client) -> CommandLine:
    return CommandLine(dict(shared_run.environment))


def made(http: httpx.Client, environment: str = "live", **more: str) -> dict[str, Any]:
    body = {"environment": environment, **more}
    answer = http.post("/partners/techmart/keys", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def moment(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    assert when.utcoffset() == timedelta()
    return when


def after(span: timedelta) -> str:
    return (datetime.now(UTC) + span).isoformat()


def audited(http: httpx.Client, key_id: str) -> list[dict[str, Any]]:
    items = http.get("/audit", params={"target": f"key:{key_id}"}).json()["items"]
    return list(reversed(items))


def expire(owner: psycopg.Connection[Any], key_id: str) -> None:
    owner.execute("UPDATE control.api_keys SET expires_at = now() WHERE id = %s", [key_id])


def test_a_key_is_seen_in_the_answer_that_makes_it_and_nowhere_else(
    http: httpx.Client, owner: psycopg.Connection[Any], run: CommandLine
) -> None:
    first = made(http)
    second = http.post(f"/keys/{first['key']['id']}/rotate").json()
    third = run("keys create techmart --env sandbox").stdout.strip()
    secrets = [first["secret"], second["secret"], third]
    assert all(is_well_formed(secret) for secret in secrets)
    assert [secret[:8] for secret in secrets] == ["pk_live_", "pk_live_", "pk_test_"]
    http.post(f"/keys/{second['key']['id']}/revoke")
    seen = [
        http.get(path).text
        for path in ("/keys", f"/keys/{second['key']['id']}", "/audit", "/partners/techmart")
    ]
    seen += [run(f"{words} list").output for words in ("keys", "audit", "partners")]
    seen += [run("keys list --json").output, run(f"keys show {second['key']['id']}").output]
    for table in ("control.api_keys", "control.audit"):
        rows = owner.execute(f"SELECT t::text FROM {table} AS t").fetchall()  # pyright: ignore
        seen.append(str(rows))
    for secret in secrets:
        assert not [text for text in seen if secret[12:] in text]
        assert [text for text in seen if secret[:12] in text]


def test_a_made_key_is_shown_as_it_is(http: httpx.Client) -> None:
    until = after(timedelta(days=90))
    answer = made(http, expires_at=until)
    key = answer["key"]
    assert key["shown"] == answer["secret"][:12]
    assert abs(moment(key["created_at"]) - datetime.now(UTC)) < CLOSE
    assert moment(key["expires_at"]) == datetime.fromisoformat(until)
    assert {
        "partner": "techmart",
        "environment": "live",
        "revoked_at": None,
        "replaced_by": None,
        "last_used_at": None,
        "state": "working",
    }.items() <= key.items()
    assert answer["gateway"] == []  # this admin has no nodes
    assert http.get(f"/keys/{key['id']}").json() == key
    assert http.get(f"/keys/{key['shown']}").json() == key
    (entry,) = audited(http, key["id"])
    assert (entry["action"], entry["actor"]) == ("key.created", "token:tester")
    assert (entry["before"], entry["after"]["shown"]) == (None, key["shown"])


def test_the_last_use_is_the_one_that_its_own_environment_noted(
    http: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    times = {"live": "2026-11-22T09:14:03Z", "sandbox": "2026-11-21T09:14:03Z"}
    for environment, at in times.items():
        key = made(http, environment)["key"]
        insert = f"INSERT INTO {environment}.key_uses VALUES (%s, %s)"
        owner.execute(insert, [key["id"], at])  # pyright: ignore
    listed = {key["environment"]: key for key in http.get("/keys").json()["items"]}
    for environment, at in times.items():
        assert moment(listed[environment]["last_used_at"]) == datetime.fromisoformat(at)


def test_a_rotated_key_and_its_successor_both_work_for_the_overlap(http: httpx.Client) -> None:
    old = made(http)["key"]
    answer = http.post(f"/keys/{old['id']}/rotate", json={"overlap_seconds": 3600})
    assert answer.status_code == 201
    key, replaced = answer.json()["key"], answer.json()["replaced"]
    assert (replaced["id"], replaced["replaced_by"]) == (old["id"], key["id"])
    assert (key["state"], key["environment"], key["expires_at"]) == ("working", "live", None)
    assert replaced["state"] == "working"
    ends = datetime.now(UTC) + timedelta(hours=1)
    assert abs(moment(replaced["expires_at"]) - ends) < CLOSE
    rotated = audited(http, old["id"])[-1]
    assert rotated["action"] == "key.rotated"
    assert rotated["before"]["replaced_by"] is None
    assert rotated["after"]["replaced_by"] == key["id"]
    assert [entry["action"] for entry in audited(http, key["id"])] == ["key.created"]


def test_without_a_word_the_overlap_is_a_day_and_0_ends_the_old_key_at_once(
    http: httpx.Client,
) -> None:
    first = made(http)["key"]
    second = http.post(f"/keys/{first['id']}/rotate").json()
    ends = datetime.now(UTC) + OVERLAP
    assert abs(moment(second["replaced"]["expires_at"]) - ends) < CLOSE
    until = after(timedelta(days=365))
    body = {"overlap_seconds": 0, "expires_at": until}
    third = http.post(f"/keys/{second['key']['id']}/rotate", json=body).json()
    assert third["replaced"]["state"] == "expired"
    assert moment(third["key"]["expires_at"]) == datetime.fromisoformat(until)


def test_an_overlap_never_lets_a_key_work_longer_than_it_would_have(http: httpx.Client) -> None:
    until = after(timedelta(hours=1))
    old = made(http, expires_at=until)["key"]
    replaced = http.post(f"/keys/{old['id']}/rotate").json()["replaced"]
    assert moment(replaced["expires_at"]) == datetime.fromisoformat(until)


def test_an_end_is_set_moved_and_taken_away(
    http: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    key = made(http)["key"]
    until = after(timedelta(days=1))
    for _ in range(2):  # the second time it is no change
        changed = http.patch(f"/keys/{key['id']}", json={"expires_at": until}).json()
        assert moment(changed["key"]["expires_at"]) == datetime.fromisoformat(until)
    expire(owner, key["id"])
    assert http.get(f"/keys/{key['id']}").json()["state"] == "expired"
    changed = http.patch(f"/keys/{key['shown']}", json={"expires_at": None}).json()
    assert (changed["key"]["expires_at"], changed["key"]["state"]) == (None, "working")
    actions = [entry["action"] for entry in audited(http, key["id"])]
    assert actions == ["key.created", "key.expiry_set", "key.expiry_set"]


def test_a_revoked_key_stays_revoked_and_is_stored_no_more(
    http: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    key = made(http)["key"]
    revoked = http.post(f"/keys/{key['id']}/revoke")
    assert (revoked.status_code, revoked.json()["key"]["state"]) == (200, "revoked")
    assert abs(moment(revoked.json()["key"]["revoked_at"]) - datetime.now(UTC)) < CLOSE
    one = f"/keys/{key['id']}"
    for answer in (
        http.post(f"{one}/revoke"),
        http.post(f"{one}/rotate"),
        http.patch(one, json={"expires_at": after(timedelta(days=1))}),
        http.patch(one, json={"expires_at": None}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
        assert f"key {key['shown']} of techmart is revoked, for good" in answer.json()["message"]
    assert [entry["action"] for entry in audited(http, key["id"])] == ["key.created", "key.revoked"]
    assert owner.execute("SELECT sealed FROM control.api_keys").fetchall() == [(None,)]
    assert http.get(f"/keys/{key['shown']}").json()["state"] == "revoked"


def test_a_key_is_rotated_once_and_not_when_it_has_expired(
    http: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    key = made(http)["key"]
    successor = http.post(f"/keys/{key['id']}/rotate").json()["key"]
    again = http.post(f"/keys/{key['id']}/rotate")
    assert (again.status_code, successor["id"] in again.json()["message"]) == (409, True)
    expire(owner, successor["id"])
    late = http.post(f"/keys/{successor['id']}/rotate")
    assert (late.status_code, "has expired: create a new one" in late.json()["message"]) == (
        409,
        True,
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"environment": "staging"}, "environment"),
        ({}, "environment"),
        ({"environment": "live", "expires_at": "2020-01-01T00:00:00Z"}, "`expires_at` is in the"),
        (
            {"environment": "live", "expires_at": "9999-12-31T23:59:59-10:00"},
            "a hundred years away",
        ),
        ({"environment": "live", "expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"environment": "live", "expires_at": "tomorrow"}, "expires_at"),
        ({"environment": "live", "note": "x"}, "note"),
    ],
)
def test_a_wrong_wish_for_a_key_is_told_by_its_field(
    http: httpx.Client, body: dict[str, Any], words: str
) -> None:
    answer = http.post("/partners/techmart/keys", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert words in answer.json()["message"]
    assert http.get("/keys").json()["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("PATCH", "/keys/{id}", {"expires_at": "2020-01-01T00:00:00Z"}, 400, "in the past"),
        ("PATCH", "/keys/{id}", {}, 400, "expires_at"),
        ("POST", "/keys/{id}/rotate", {"overlap_seconds": -1}, 400, "overlap_seconds"),
        ("POST", "/keys/{id}/rotate", {"overlap_seconds": 2592001}, 400, "overlap_seconds"),
        ("POST", "/keys/{id}/rotate", {"expires_at": "2020-01-01T00:00:00Z"}, 400, "in the past"),
        ("POST", "/keys/pk_live_none/revoke", None, 404, "there is no key pk_live_none"),
        ("GET", "/keys/01234567-89ab-cdef-0123-456789abcdef", None, 404, "there is no key 0123"),
        ("GET", "/keys/a%00b", None, 400, "`key` must have no control characters"),
        ("GET", "/keys?partner=nobody", None, 404, "there is no partner nobody"),
        ("GET", "/keys?state=new", None, 400, "state"),
        ("GET", "/keys?environment=prod", None, 400, "environment"),
        ("GET", "/keys?cursor=YWJj", None, 400, "`cursor` is none of this list's"),
        ("GET", "/keys?prefix=%00", None, 400, "`prefix` must have no control characters"),
    ],
)
def test_each_refusal_says_what_is_wrong(  # noqa: PLR0917
    http: httpx.Client, method: str, path: str, body: object, status: int, words: str
) -> None:
    key = made(http)["key"]
    path = path.replace("{id}", key["id"])
    answer = (
        http.request(method, path, json=body) if body is not None else http.request(method, path)
    )
    assert (answer.status_code, words in answer.json()["message"]) == (status, True), answer.text
    assert len(audited(http, key["id"])) == 1


def test_a_whole_key_in_an_address_is_refused_and_never_repeated(
    http: httpx.Client, run: CommandLine
) -> None:
    secret = made(http)["secret"]
    for answer in (
        http.get(f"/keys/{secret}"),
        http.post(f"/keys/{secret}/revoke"),
        http.get("/keys", params={"prefix": secret}),
    ):
        assert answer.status_code == 400
        assert secret[12:] not in answer.text
    unknown = f"{secret[:-1]}{'a' if secret[-1] != 'a' else 'b'}"
    told = run("keys", "revoke", unknown, "--yes").output
    assert "there is no key with the fingerprint " in told
    assert secret[12:30] not in told


def test_a_key_is_named_in_full_by_its_first_characters_or_by_its_id(run: CommandLine) -> None:
    def by_id(key: dict[str, Any]) -> str:
        return key["key"]["id"]

    names: list[Callable[[dict[str, Any]], str]] = [
        lambda key: key["secret"], lambda key: key["key"]["shown"], by_id,
    ]  # fmt: skip
    for name_of in names:
        key = json.loads(run("keys create techmart --env live --json").stdout)
        revoked = json.loads(run("keys", "revoke", name_of(key), "--yes", "--json").stdout)
        assert (revoked["key"]["id"], revoked["key"]["state"]) == (by_id(key), "revoked")


def test_first_characters_of_several_keys_mean_the_one_that_is_left_or_none(
    http: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    first, second = made(http)["key"], made(http)["key"]
    owner.execute("UPDATE control.api_keys SET shown = 'pk_live_SAME'")
    answer = http.post("/keys/pk_live_SAME/revoke")
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    assert {first["id"], second["id"]} <= set(answer.json()["message"].replace(",", "").split())
    http.post(f"/keys/{first['id']}/revoke")
    assert http.get("/keys/pk_live_SAME").json()["id"] == second["id"]


def test_keys_are_found_by_partner_environment_state_and_first_characters(
    http: httpx.Client, owner: psycopg.Connection[Any], run: CommandLine
) -> None:
    http.post("/partners", json={**PARTNER, "name": "acme"})
    keys = {
        "expired": made(http)["key"],
        "revoked": made(http)["key"],
        "sandbox": made(http, "sandbox")["key"],
        "acme": http.post("/partners/acme/keys", json={"environment": "live"}).json()["key"],
    }
    expire(owner, keys["expired"]["id"])
    http.post(f"/keys/{keys['revoked']['id']}/revoke")
    found = {
        "": ["acme", "sandbox", "revoked", "expired"],  # newest first
        "partner=techmart": ["sandbox", "revoked", "expired"],
        "environment=live": ["acme", "revoked", "expired"],
        "state=working": ["acme", "sandbox"],
        "state=expired": ["expired"],
        "state=revoked&partner=techmart": ["revoked"],
        "prefix=pk_test_": ["sandbox"],
        f"prefix={keys['acme']['shown']}": ["acme"],
        "prefix=pk_live_%25": [],
    }
    for query, names in found.items():
        listed = http.get(f"/keys?{query}").json()["items"]
        assert [key["id"] for key in listed] == [keys[name]["id"] for name in names], query
    assert (
        run.json("keys list --env live --limit 1")
        == http.get("/keys?environment=live&limit=1").json()
    )


def test_pages_hold_every_key_once_while_others_are_added(http: httpx.Client) -> None:
    before = [made(http)["key"]["id"] for _ in range(10)]
    seen: list[str] = []
    parameters = {"limit": "3"}
    while True:
        page = http.get("/keys", params=parameters).json()
        seen += [key["id"] for key in page["items"]]
        made(http)
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert seen == list(reversed(before))


def test_pages_part_keys_of_the_same_moment(
    http: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    ids = {made(http)["key"]["id"] for _ in range(7)}
    owner.execute("UPDATE control.api_keys SET created_at = '2026-11-22T09:14:03.000001Z'")
    seen: list[str] = []
    parameters = {"limit": "2"}
    while True:
        page = http.get("/keys", params=parameters).json()
        seen += [key["id"] for key in page["items"]]
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert (len(seen), set(seen)) == (7, ids)


@pytest.mark.parametrize("action", ["rotate", "revoke"])
def test_one_of_many_that_end_a_key_at_the_same_time_wins(
    http: httpx.Client, owner: psycopg.Connection[Any], action: str
) -> None:
    for _ in range(3):
        key = made(http)["key"]
        start = threading.Barrier(6)

        def act(_: int, start: threading.Barrier = start, key: dict[str, Any] = key) -> int:
            start.wait(10)
            return http.post(f"/keys/{key['id']}/{action}").status_code

        with ThreadPoolExecutor(6) as threads:
            statuses = sorted(threads.map(act, range(6)))
        assert statuses == [201 if action == "rotate" else 200, *[409] * 5]
        actions = [entry["action"] for entry in audited(http, key["id"])]
        assert actions == ["key.created", f"key.{action}d".replace("eed", "ed")]
    count = owner.execute("SELECT count(*) FROM control.api_keys").fetchone()
    assert count == ((6,) if action == "rotate" else (3,))


def test_a_key_that_is_rotated_and_revoked_at_the_same_time_is_revoked(
    http: httpx.Client,
) -> None:
    for _ in range(5):
        key = made(http)["key"]
        start = threading.Barrier(2)

        def act(action: str, start: threading.Barrier = start, key: dict[str, Any] = key) -> int:
            start.wait(10)
            return http.post(f"/keys/{key['id']}/{action}").status_code

        with ThreadPoolExecutor(2) as threads:
            rotated, revoked = threads.map(act, ("rotate", "revoke"))
        assert revoked == 200
        assert rotated in {201, 409}
        assert http.get(f"/keys/{key['id']}").json()["state"] == "revoked"


def test_what_is_refused_leaves_nothing_behind(
    http: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    before = http.get("/audit").json()
    body = {"environment": "live", "expires_at": "2020-01-01T00:00:00Z"}
    assert http.post("/partners/techmart/keys", json=body).status_code == 400
    assert http.get("/audit").json() == before
    assert owner.execute("SELECT count(*) FROM control.api_keys").fetchone() == (0,)


def test_the_command_line_does_the_same(http: httpx.Client, run: CommandLine) -> None:
    created = run("keys create techmart --env live --expires 2035-01-01")
    # 3: done, and this admin has no node to run it
    assert (created.exit_code, is_well_formed(created.stdout.strip())) == (3, True)
    key = run.json("keys list")["items"][0]
    assert moment(key["expires_at"]) == datetime(2035, 1, 1, tzinfo=UTC)
    assert run.json("keys", "show", key["id"]) == http.get(f"/keys/{key['id']}").json() == key
    assert key["shown"] in run("keys list").stdout
    rotated = run(f"keys rotate {key['shown']} --overlap 7d")
    assert (rotated.exit_code, is_well_formed(rotated.stdout.strip())) == (3, True)
    assert f"{key['shown']}... works until" in rotated.stderr
    expired = run(f"keys expire {key['id']} --never")
    assert expired.stdout == f"{key['shown']}... of techmart (live) works without end\n"
    asked = run(f"keys revoke {key['id']}")
    assert (asked.exit_code, "say --yes" in asked.stderr) == (2, True)
    revoked = run(f"keys revoke {key['id']} --yes")
    assert revoked.stdout == f"revoked {key['shown']}... of techmart (live)\n"
    actions = [entry["action"] for entry in audited(http, key["id"])]
    assert actions == ["key.created", "key.rotated", "key.expiry_set", "key.revoked"]
    entry = audited(http, key["id"])[-1]
    assert (entry["actor"], entry["os_user"]) == ("token:tester", getpwuid(os.getuid()).pw_name)


@pytest.mark.parametrize(
    ("line", "exit_code", "words"),
    [
        ("keys rotate KEY --overlap soon", 2, "soon is not like 0, 30m, 24h or 7d"),
        ("keys rotate KEY --overlap 31d", 2, "31d is more than 30d"),
        ("keys rotate KEY --expires 2020-01-01", 1, "`expires_at` is in the past"),
        ("keys expire KEY", 2, "say one of --at and --never"),
        ("keys expire KEY --never --at 2030-01-01", 2, "say one of --at and --never"),
        ("keys expire KEY --at 2020-01-01", 1, "to end a key at once, revoke it"),
        ("keys create nobody --env live", 1, "there is no partner nobody"),
        ("keys revoke pk_live_none --yes", 1, "there is no key pk_live_none"),
        ("keys list --partner nobody", 1, "there is no partner nobody"),
    ],
)
def test_the_command_line_refuses_in_words_and_by_exit_code(
    http: httpx.Client, run: CommandLine, line: str, exit_code: int, words: str
) -> None:
    result = run(line.replace("KEY", made(http)["key"]["id"]))
    assert (result.exit_code, words in result.stderr) == (exit_code, True), result.output


def test_a_new_key_is_not_told_by_its_representation() -> None:
    made_key = NewKey(key=None, secret="pk_live_secret")  # pyright: ignore
    assert "pk_live_secret" not in repr(made_key)
