"""Partners of operations: made, changed, suspended, deleted, over HTTP and on the command line."""

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from services.admin.audit.rows import Actor
from services.admin.changes import Change
from services.admin.partners.changes import create_partner
from services.admin.tokens.rows import Role
from services.core.encryption import SecretBox
from services.domain.key_form import is_well_formed
from services.local.children import free_port
from tests.admin_process import MASTER_KEY, AdminProcess, CommandLine, running_admin, settings_for
from tests.conftest import Database
from tests.control_rows import emptied
from tests.integration.admin.gateway.stub_nodes import StubNode
from tools.waiting import wait_for

TECHMART = {"name": "techmart", "tier": "premium", "contact": "api@techmart.example"}
TABLES = ("live.partners", "sandbox.partners")


@pytest.fixture
def owner(shared: Database) -> Generator[psycopg.Connection[Any]]:
    with emptied(shared) as connection:
        yield connection


@pytest.fixture
def http(shared_admin: AdminProcess, owner: psycopg.Connection[Any]) -> httpx.Client:
    return shared_admin.client()


@pytest.fixture
def run(shared_run: CommandLine, owner: psycopg.Connection[Any]) -> CommandLine:
    return shared_run


def created(http: httpx.Client, name: str = "techmart", **more: str) -> dict[str, Any]:
    answer = http.post("/partners", json={**TECHMART, "name": name, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def audited(http: httpx.Client, target: str = "partner:techmart") -> list[tuple[Any, ...]]:
    entries = http.get("/audit", params={"target": target}).json()["items"]
    return [(each["action"], each["before"], each["after"]) for each in reversed(entries)]


def copies(owner: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return [
        owner.execute(f"SELECT name, contact, state FROM {table}").fetchall()  # pyright: ignore
        for table in TABLES
    ]


def test_a_partner_is_made_with_its_copies_and_read_again(
    http: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    made = created(http)
    assert made == http.get("/partners/techmart").json()
    assert {
        **TECHMART,
        "state": "active",
        "keys": {"live": 0, "sandbox": 0},
    }.items() <= made.items()
    assert copies(owner) == [[("techmart", TECHMART["contact"], "active")]] * 2
    assert audited(http) == [("partner.created", None, {**TECHMART, "state": "active"})]


def test_working_keys_are_counted_by_environment(
    http: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    created(http)
    for environment in ("live", "live", "live", "sandbox"):
        http.post("/partners/techmart/keys", json={"environment": environment})
    newest = http.get("/keys?environment=live&limit=2").json()["items"]
    http.post(f"/keys/{newest[0]['id']}/revoke")
    owner.execute("UPDATE control.api_keys SET expires_at = now() WHERE id = %s", [newest[1]["id"]])
    assert http.get("/partners/techmart").json()["keys"] == {"live": 1, "sandbox": 1}
    assert http.get("/partners").json()["items"][0]["keys"] == {"live": 1, "sandbox": 1}


def test_tier_and_contact_change_with_the_copies(
    http: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    created(http)
    changed = http.patch("/partners/techmart", json={"contact": "new@techmart.example"}).json()
    assert (changed["partner"]["contact"], changed["gateway"]) == ("new@techmart.example", None)
    changed = http.patch("/partners/techmart", json={"tier": "basic"}).json()
    assert (changed["partner"]["tier"], changed["gateway"]) == ("basic", [])
    assert copies(owner) == [[("techmart", "new@techmart.example", "active")]] * 2
    assert audited(http)[1:] == [
        (
            "partner.changed",
            {"contact": TECHMART["contact"]},
            {"contact": "new@techmart.example"},
        ),
        ("partner.changed", {"tier": "premium"}, {"tier": "basic"}),
    ]


def test_a_change_to_what_is_there_already_is_no_change(http: httpx.Client) -> None:
    created(http)
    for _ in range(2):
        answer = http.patch("/partners/techmart", json={"tier": "premium"})
        assert answer.status_code == 200
    assert len(audited(http)) == 1


def test_a_suspended_partner_is_suspended_everywhere_until_it_is_resumed(
    http: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    created(http)
    answer = http.post("/partners/techmart/suspend", json={"reason": "invoice 4711"})
    assert (answer.status_code, answer.json()["partner"]["state"]) == (200, "suspended")
    assert [rows[0][2] for rows in copies(owner)] == ["suspended"] * 2
    again = http.post("/partners/techmart/suspend", json={"reason": "twice"})
    assert (again.status_code, again.json()["code"]) == (409, "CONFLICT")
    assert "techmart is suspended already" in again.json()["message"]
    assert http.post("/partners/techmart/resume").json()["partner"]["state"] == "active"
    assert [rows[0][2] for rows in copies(owner)] == ["active"] * 2
    told = [
        (
            "partner.suspended",
            {"state": "active"},
            {"state": "suspended", "reason": "invoice 4711"},
        ),
        ("partner.resumed", {"state": "suspended"}, {"state": "active"}),
    ]
    assert audited(http)[1:] == told


def test_a_deleted_partner_leaves_nothing_but_its_audit(
    http: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    partner, other = created(http), created(http, "other")
    keys = {
        name: http.post(f"/partners/{name}/keys", json={"environment": "live"}).json()["key"]
        for name in ("techmart", "other")
    }
    for key in keys.values():
        owner.execute("INSERT INTO live.key_uses VALUES (%s, now())", [key["id"]])
    add_endpoint = """
        INSERT INTO live.endpoints (partner_id, url, events, secret)
        VALUES (%s, 'https://a.example', '{inventory.updated}', '')
    """
    for each in (partner, other):
        owner.execute(add_endpoint, [each["id"]])
    answer = http.delete("/partners/techmart")
    assert (answer.status_code, answer.json()["gateway"]) == (200, [])
    for table, column in {
        "control.partners": "id",
        "control.api_keys": "partner_id",
        "live.partners": "id",
        "sandbox.partners": "id",
        "live.endpoints": "partner_id",
    }.items():
        rows = owner.execute(f"SELECT {column}::text FROM {table}").fetchall()  # pyright: ignore
        assert rows == [(other["id"],)], table
    uses = owner.execute("SELECT key_id::text FROM live.key_uses").fetchall()
    assert uses == [(keys["other"]["id"],)]
    shown = {**TECHMART, "state": "active", "keys": [keys["techmart"]["shown"]]}
    assert audited(http)[-1] == ("partner.deleted", shown, None)
    assert http.delete("/partners/techmart").status_code == 404
    assert created(http)["id"] != partner["id"]  # the name is free


def test_a_deletion_gives_way_to_a_worker_that_records_a_delivery(
    http: httpx.Client, owner: psycopg.Connection[Any], shared: Database
) -> None:
    # PostgreSQL ends who has waited for a second: the deletion, unless this test was held up so
    # long itself. Then the worker was in the way of nobody, and all is done again.
    assert any(deleted_in_the_way_of_a_worker(http, owner, shared) for _ in range(5))


def deleted_in_the_way_of_a_worker(
    http: httpx.Client, owner: psycopg.Connection[Any], shared: Database
) -> bool:
    """Delete a partner while each waits for the other; say whether the deletion lost."""
    partner = created(http)
    add = """
        WITH endpoint AS (
            INSERT INTO live.endpoints (partner_id, url, events, secret)
            VALUES (%s, 'https://a.example', '{inventory.updated}', '') RETURNING id
        ), event AS (
            INSERT INTO live.events (event_type, occurred_at, data)
            VALUES ('webhook.ping', now(), '{}') RETURNING id
        )
        SELECT endpoint.id, event.id FROM endpoint, event
    """
    ids = owner.execute(add, [partner["id"]]).fetchone()
    owner.execute("INSERT INTO live.deliveries (endpoint_id, event_id) VALUES (%s, %s)", ids)
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    with ThreadPoolExecutor(1) as thread, psycopg.connect(shared.owner_url) as worker:
        worker.execute("UPDATE live.deliveries SET attempts = 1")
        deletion = thread.submit(http.delete, "/partners/techmart")
        wait_for(
            lambda: owner.execute(waiting, [shared.name]).fetchone() is not None,
            "a deletion that waits for the worker",
        )
        try:
            worker.execute("UPDATE live.endpoints SET slow_until = now()")  # each waits for both
            worker.commit()
            worker_won = True
        except psycopg.errors.DeadlockDetected:
            worker.rollback()
            worker_won = False
        assert deletion.result(20).status_code == 200
    assert owner.execute("SELECT FROM live.endpoints").fetchall() == []
    owner.execute("DELETE FROM live.events")
    return worker_won


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"name": "Tech Mart"}, 400, "`name`: 2 to 40 characters"),
        ({"name": "tech:mart"}, 400, "`name`: 2 to 40 characters"),
        ({"name": "a\0b"}, 400, "`name`: must have no control characters"),
        ({"name": "anonymous"}, 400, "`name`: 2 to 40 characters"),
        ({"tier": "gold"}, 400, "`tier` gold is not in kong.yml, which has basic, standard"),
        ({"contact": "nobody"}, 400, "`contact`: an e-mail address"),
        ({"contact": "a@b\0"}, 400, "`contact`: must have no control characters"),
        ({"contact": "mailto:a@b.example"}, 400, "`contact`: an e-mail address alone"),
        ({"contact": "<a@b.example>"}, 400, "`contact`: an e-mail address alone"),
        ({"contact": "a@b.example."}, 400, "`contact`: an e-mail address alone"),
        ({"contact": "a" * 250 + "@b.example"}, 400, "`contact`: an e-mail address"),
        ({"contact": 7}, 400, "contact"),
        ({"colour": "red"}, 400, "colour"),
        ({"name": "taken"}, 409, "there is a partner taken already"),
    ],
)
def test_what_does_not_fit_is_refused_with_how_to_mend_it(
    http: httpx.Client, given: dict[str, Any], status: int, words: str
) -> None:
    created(http, "taken")
    answer = http.post("/partners", json={**TECHMART, **given})
    assert (answer.status_code, words in answer.json()["message"]) == (status, True), answer.text
    assert len(http.get("/partners").json()["items"]) == 1


def test_an_international_domain_is_kept_as_mails_are_sent_to_it(
    http: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    made = http.post("/partners", json={**TECHMART, "contact": "a@münchen.example"}).json()
    assert made["contact"] == "a@xn--mnchen-3ya.example"
    changed = http.patch("/partners/techmart", json={"contact": "b@köln.example"}).json()
    assert changed["partner"]["contact"] == "b@xn--kln-sna.example"
    assert copies(owner) == [[("techmart", "b@xn--kln-sna.example", "active")]] * 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("PATCH", "/partners/techmart", {}, 400, "send `tier`, `contact` or both"),
        ("PATCH", "/partners/techmart", {"contact": ""}, 400, "`contact`: an e-mail address"),
        ("PATCH", "/partners/techmart", {"contact": "nobody"}, 400, "`contact`: an e-mail"),
        ("PATCH", "/partners/techmart", {"contact": "<a@b.c>"}, 400, "`contact`: an e-mail"),
        ("PATCH", "/partners/techmart", {"tier": ""}, 400, "is not in kong.yml"),
        ("PATCH", "/partners/techmart", {"name": "other"}, 400, "name"),
        ("PATCH", "/partners/nobody", {"tier": "basic"}, 404, "there is no partner nobody"),
        ("POST", "/partners/techmart/suspend", {"reason": " "}, 400, "`reason`: say why"),
        ("POST", "/partners/techmart/suspend", {}, 400, "reason"),
        ("POST", "/partners/techmart/suspend", {"reason": "x" * 501}, 400, "<= 500"),
        ("POST", "/partners/techmart/suspend", {"reason": "a\nb"}, 400, "`reason`: must have no"),
        ("POST", "/partners/nobody/suspend", {"reason": "x"}, 404, "there is no partner nobody"),
        ("POST", "/partners/techmart/resume", {}, 409, "partner techmart is active already"),
        ("POST", "/partners/nobody/keys", {"environment": "live"}, 404, "no partner nobody"),
        ("DELETE", "/partners/nobody", None, 404, "there is no partner nobody"),
        ("GET", "/partners/a%00b", None, 400, "`name` must have no control characters"),
        ("GET", "/partners?search=%00", None, 400, "`search` must have no control"),
        ("GET", "/partners?state=asleep", None, 400, "state"),
        ("GET", "/partners?cursor=AA", None, 400, "`cursor` is none of this list's"),
    ],
)
def test_each_refusal_says_what_is_wrong(  # noqa: PLR0917
    http: httpx.Client, method: str, path: str, body: object, status: int, words: str
) -> None:
    created(http)
    answer = (
        http.request(method, path, json=body) if body is not None else http.request(method, path)
    )
    assert (answer.status_code, words in answer.json()["message"]) == (status, True), answer.text
    assert len(audited(http)) == 1  # refused: nothing was changed


def test_partners_are_found_by_a_part_of_name_or_contact_by_tier_and_state(
    http: httpx.Client, run: CommandLine
) -> None:
    created(http, "acme", tier="basic", contact="ops@shop.example")
    created(http, "shop-eu")
    created(http, "zeta", contact="a%b_c@zeta.example")
    http.post("/partners/acme/suspend", json={"reason": "test"})
    found = {
        "search=SHOP": ["acme", "shop-eu"],
        "search=%25b_": ["zeta"],  # no wildcards
        "search=nothing": [],
        "tier=premium": ["shop-eu", "zeta"],
        "state=suspended": ["acme"],
        "state=active&search=shop": ["shop-eu"],
    }
    for query, names in found.items():
        listed = http.get(f"/partners?{query}").json()
        assert [each["name"] for each in listed["items"]] == names, query
    assert run.json("partners list --search shop") == http.get("/partners?search=shop").json()


def test_pages_hold_every_partner_once_while_others_are_added(http: httpx.Client) -> None:
    before = [f"partner-{number:02}" for number in range(20)]
    for name in reversed(before):
        created(http, name)
    seen: list[str] = []
    parameters = {"limit": "3"}
    while True:
        page = http.get("/partners", params=parameters).json()
        seen += [each["name"] for each in page["items"]]
        created(http, f"partner-{len(seen):02}-new")
        created(http, f"added-{len(seen):02}")
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert [name for name in seen if name in before] == before
    assert seen == sorted(set(seen))


def test_a_viewer_looks_and_changes_nothing(shared_admin: AdminProcess, http: httpx.Client) -> None:
    created(http)
    viewer = shared_admin.client(shared_admin.token("eye", Role.VIEWER))
    assert viewer.get("/partners/techmart").status_code == 200
    assert viewer.delete("/partners/techmart").status_code == 403
    assert viewer.post("/partners/techmart/keys", json={"environment": "live"}).status_code == 403


def test_one_of_many_that_suspend_at_the_same_time_wins(http: httpx.Client) -> None:
    created(http)
    start = threading.Barrier(6)

    def suspend(number: int) -> int:
        start.wait(10)
        return http.post(
            "/partners/techmart/suspend", json={"reason": f"reason {number}"}
        ).status_code

    with ThreadPoolExecutor(6) as threads:
        statuses = sorted(threads.map(suspend, range(6)))
    assert statuses == [200, *[409] * 5]
    assert [entry[0] for entry in audited(http)] == ["partner.created", "partner.suspended"]


def test_keys_made_while_their_partner_is_deleted_are_made_before_or_not_at_all(
    http: httpx.Client, owner: psycopg.Connection[Any]
) -> None:
    start = threading.Barrier(5)

    def race(number: int) -> int:
        start.wait(10)
        if number == 0:
            return http.delete("/partners/techmart").status_code
        return http.post("/partners/techmart/keys", json={"environment": "live"}).status_code

    for _ in range(5):
        created(http)
        with ThreadPoolExecutor(5) as threads:
            deleted, *made = threads.map(race, range(5))
        assert deleted == 200
        assert set(made) <= {201, 404}
        assert owner.execute("SELECT count(*) FROM control.api_keys").fetchone() == (0,)


def test_a_broken_kong_yml_stops_no_suspension_and_no_key(
    database: Database, tmp_path: Path
) -> None:
    policy = tmp_path / "kong.yml"
    settings = settings_for(database, GATEWAY_POLICY=policy)
    policy.write_text((Path(__file__).parents[3] / "gateway" / "kong.yml").read_text())
    with running_admin(tmp_path, settings) as admin:
        http = admin.client()
        created(http)
        policy.write_text("_format_version: [")
        refused = http.post("/partners", json={**TECHMART, "name": "other"})
        assert (refused.status_code, "kong.yml line" in refused.json()["message"]) == (409, True)
        contact = http.patch("/partners/techmart", json={"contact": "b@b.example"})
        assert contact.status_code == 200
        made = http.post("/partners/techmart/keys", json={"environment": "live"})
        assert made.status_code == 201
        suspended = http.post("/partners/techmart/suspend", json={"reason": "test"})
        assert suspended.json()["partner"]["state"] == "suspended"


@pytest.mark.long
def test_with_a_broken_kong_yml_a_change_is_done_and_the_report_says_what_is_not(
    database: Database, tmp_path: Path
) -> None:
    policy = tmp_path / "broken.yml"
    policy.write_text("_format_version: [")
    with (
        StubNode() as node,
        running_admin(
            tmp_path, settings_for(database, GATEWAY_POLICY=policy, KONG_ADMIN_URLS=node.url)
        ) as admin,
    ):
        with psycopg.connect(database.url("admin")) as connection:
            change = Change(connection, Actor("cli"), SecretBox(MASTER_KEY))
            create_partner(change, "techmart", "premium", "a@b.example", tiers=["premium"])
        result = admin.run("partners", "suspend", "techmart", "--reason", "late", "--json")
        assert result.exit_code == 3
        answer = admin.client().post("/partners/techmart/resume").json()
    assert answer["partner"]["state"] == "active"
    assert [report["url"] for report in answer["gateway"]] == [node.url]
    assert (
        "kong.yml" in answer["gateway"][0]["error"] or "broken.yml" in answer["gateway"][0]["error"]
    )


def test_a_change_answers_with_what_each_node_runs_and_shows_its_key_all_the_same(
    database: Database, tmp_path: Path
) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    with StubNode() as node:
        settings = settings_for(database, KONG_ADMIN_URLS=f"{node.url},{away}")
        with running_admin(tmp_path, settings) as admin:
            http = admin.client()
            created(http)
            made = http.post("/partners/techmart/keys", json={"environment": "live"}).json()
            typed = admin.run("keys create techmart --env live")
            as_json = admin.run("keys create techmart --env live --json")
    by_url = {report["url"]: report for report in made["gateway"]}
    assert (by_url[node.url]["state"], by_url[node.url]["error"]) == ("current", None)
    assert by_url[away]["state"] == "away"
    assert by_url[away]["error"]
    assert (typed.exit_code, is_well_formed(typed.stdout.strip())) == (3, True)
    assert f"{away}  away: no answer" in typed.stderr
    assert as_json.exit_code == 3
    assert f'"url":"{away}"' in as_json.stdout


def test_the_command_line_does_the_same(http: httpx.Client, run: CommandLine) -> None:
    made = run.json("partners create techmart --tier premium --contact a@b.example")
    assert made == http.get("/partners/techmart").json()
    assert run.json("partners show techmart") == made
    table = run("partners list").stdout.splitlines()
    assert table[0].split()[:3] == ["NAME", "TIER", "STATE"]
    assert table[1].split()[:5] == ["techmart", "premium", "active", "0", "0"]
    assert "premium" in run("partners show techmart").stdout
    changed = run("partners change techmart --tier basic --contact c@b.example")
    # 3: done, and this admin has no node to run it
    assert (changed.exit_code, changed.stdout) == (3, "techmart: basic, c@b.example\n")
    assert run("partners change techmart --contact d@b.example").exit_code == 0
    assert run("partners suspend techmart --reason test").exit_code == 3
    assert "no node" in run("partners resume techmart").stderr  # done, and no gateway to run it
    assert http.get("/partners/techmart").json()["state"] == "active"
    refused = run("partners delete techmart")
    assert (refused.exit_code, "say --yes" in refused.stderr) == (2, True)
    assert run("partners delete techmart --yes").exit_code == 3
    gone = run("partners delete techmart --yes")
    assert (gone.exit_code, "there is no partner techmart" in gone.stderr) == (1, True)
    assert run("partners change techmart").exit_code == 2
    actions = [entry[0] for entry in audited(http)]
    assert actions == [
        "partner.created", "partner.changed", "partner.changed", "partner.suspended",
        "partner.resumed", "partner.deleted",
    ]  # fmt: skip
