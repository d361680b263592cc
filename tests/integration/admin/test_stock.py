"""Stock of one product and lists of products, over HTTP and on the command line."""

import threading
from collections.abc import Generator
from typing import Any

import psycopg
import pytest

from services.admin.audit.rows import Actor
from services.admin.changes import Change
from services.admin.stock.rows import set_stock
from services.admin.tokens.rows import Role
from services.core.database import use_environment
from services.core.encryption import SecretBox
from services.core.environments import Environment
from services.core.http.bodies import BODY_LIMIT
from tests.admin_process import MASTER_KEY, AdminProcess, CommandLine
from tests.conftest import Database
from tools.waiting import wait_for


@pytest.fixture
def database(stocked: Database) -> Database:
    return stocked


@pytest.fixture
def admin(shared_admin: AdminProcess, database: Database) -> AdminProcess:
    return shared_admin


@pytest.fixture
def run(admin: AdminProcess) -> CommandLine:
    return admin.run


@pytest.fixture
def owner(database: Database) -> Generator[psycopg.Connection[Any]]:
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        yield connection


def audited(owner: psycopg.Connection[Any], action: str) -> list[tuple[Any, ...]]:
    return owner.execute(
        "SELECT target, before, after FROM control.audit WHERE action = %s ORDER BY id", [action]
    ).fetchall()


def test_what_is_set_is_answered_noted_and_told_to_partners(
    admin: AdminProcess, owner: psycopg.Connection[Any]
) -> None:
    client = admin.client()
    made = client.put("/live/stock/NEW-1", json={"quantity": 12})
    assert (made.status_code, made.json()["status"]) == (201, "in_stock")
    changed = client.put("/live/stock/NEW-1", json={"quantity": 3})
    assert (changed.status_code, changed.json()["quantity"]) == (200, 3)
    assert changed.json()["version"] > made.json()["version"]
    assert client.get("/live/stock/NEW-1").json() == changed.json()
    assert client.get("/sandbox/stock/NEW-1").status_code == 404
    assert audited(owner, "stock.set") == [
        ("stock:live/NEW-1", None, {"quantity": 12}),
        ("stock:live/NEW-1", {"quantity": 12}, {"quantity": 3}),
    ]
    changes = owner.execute(
        "SELECT old_quantity, new_quantity FROM live.stock_changes WHERE product_id = 'NEW-1'"
    )
    assert changes.fetchall() == [(None, 12), (12, 3)]


def test_no_cache_may_keep_what_admin_answers(admin: AdminProcess) -> None:
    client = admin.client()
    client.put("/live/stock/NEW-1", json={"quantity": 3})
    paths = {"/live/stock/NEW-1": 200, "/live/stock/none": 404, "/live/stock?limit=x": 400}
    for path, status in paths.items():
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (status, "no-store")


def test_the_same_quantity_again_is_no_change(
    admin: AdminProcess, owner: psycopg.Connection[Any]
) -> None:
    first = admin.client().put("/live/stock/NEW-1", json={"quantity": 3}).json()
    again = admin.client().put("/live/stock/NEW-1", json={"quantity": 3})
    assert (again.status_code, again.json()) == (200, first)
    assert len(audited(owner, "stock.set")) == 1


def test_a_removed_product_is_gone_and_noted(
    admin: AdminProcess, owner: psycopg.Connection[Any]
) -> None:
    client = admin.client()
    client.put("/live/stock/NEW-1", json={"quantity": 3})
    assert client.delete("/live/stock/NEW-1").status_code == 204
    gone = client.delete("/live/stock/NEW-1")
    assert (gone.status_code, gone.json()["code"]) == (404, "NOT_FOUND")
    assert "there is no product NEW-1 in live" in gone.json()["message"]
    assert audited(owner, "stock.removed") == [("stock:live/NEW-1", {"quantity": 3}, None)]


SPECIAL = {
    "A%2FB": "A/B",
    "%2FA%2F%2FB%2F": "/A//B/",
    "%2E%2E": "..",
    "caf%C3%A9%20%25%3F%23": "café %?#",
    "stock%2Fstock": "stock/stock",
    "A+B": "A+B",
    "import": "import",
    "%69mport": "import",
    "import%2F": "import/",
}


def test_a_product_id_with_special_characters_is_the_one_that_was_meant(
    admin: AdminProcess,
) -> None:
    client = admin.client()
    for path, product_id in SPECIAL.items():
        made = client.put(f"/live/stock/{path}", json={"quantity": 1})
        assert (made.status_code, made.json()["product_id"]) == (201, product_id)
        assert client.get(f"/live/stock/{path}").json()["product_id"] == product_id
        assert client.delete(f"/live/stock/{path}").status_code == 204


WRONG: list[tuple[str, dict[str, object], str]] = [
    ("/live/stock/A", {"quantity": -1}, "`quantity` must be a whole number from 0"),
    ("/live/stock/A", {"quantity": 2**31}, "`quantity` must be a whole number from 0"),
    ("/live/stock/A", {"quantity": 1.5}, "quantity"),
    ("/live/stock/A", {}, "quantity"),
    ("/live/stock/A", {"quantity": 1, "name": "x"}, "name"),
    ("/live/stock/A%00", {"quantity": 1}, "no control characters: U+0000"),
    ("/live/stock/%FF", {"quantity": 1}, "not UTF-8"),
    ("/live/stock/" + "A" * 65, {"quantity": 1}, "1 to 64 characters"),
    ("/production/stock/A", {"quantity": 1}, "`environment`"),
]


def test_a_wrong_quantity_or_id_is_told(admin: AdminProcess) -> None:
    client = admin.client()
    for path, body, words in WRONG:
        answer = client.put(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST"), answer.text
        assert words in answer.json()["message"]


BODIES: list[tuple[bytes, dict[str, str], int, str]] = [
    *(
        (b'{"quantity": %b}' % each, {}, 400, "`quantity`: must be a whole number, got")
        for each in (b'"1e2"', b'"100"', b"1e2", b"100.0", b"-0.0", b"1.5", b"true", b"null")
    ),
    (b"", {}, 400, "it is empty"),
    (b"\xef\xbb\xbf{}", {}, 400, "a byte order mark"),
    ('{"quantity":1}'.encode("utf-16-le"), {}, 400, "UTF-16"),
    (b"[1]", {}, 400, "a JSON object with `quantity`"),
    (b'{"quantity":1}', {"Content-Encoding": "gzip"}, 415, "`gzip` is not supported"),
    (b'{"quantity":1}', {"Content-Type": "text/plain"}, 415, "application/json"),
    (b'{"quantity":1}', {"Content-Type": ""}, 415, "application/json"),
    (b" " * BODY_LIMIT + b'{"quantity":1}', {}, 413, "too large"),
]


@pytest.mark.parametrize(("content", "headers", "status", "words"), BODIES)
def test_a_body_that_is_not_what_it_must_be_sets_nothing(
    shared_admin: AdminProcess, content: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    client = shared_admin.client()
    given = {"Content-Type": "application/json", **headers}
    answer = client.put("/live/stock/NONE", content=content, headers=given)
    assert (answer.status_code, words in answer.json()["message"]) == (status, True), answer.text
    assert client.get("/live/stock/NONE").status_code == 404


@pytest.mark.parametrize(
    ("query", "headers", "status", "words"),
    [
        ("dry_run=true&dry_run=false", {}, 400, "`dry_run` is sent more than once"),
        ("add=true&add=true", {}, 400, "`add` is sent more than once"),
        ("file_name=%FF", {}, 400, "`file_name` is not UTF-8"),
        ("dry_run=true", {"Content-Encoding": "gzip"}, 415, "`gzip` is not supported"),
    ],
)
def test_an_import_that_says_two_things_changes_nothing(
    shared_admin: AdminProcess, query: str, headers: dict[str, str], status: int, words: str
) -> None:
    client = shared_admin.client()
    given = {"Content-Type": "text/csv", **headers}
    path = (
        f"/live/stock/import?add=true&{query}"
        if "add" not in query
        else f"/live/stock/import?{query}"
    )
    answer = client.post(path, content=b"NONE,1\n", headers=given)
    assert (answer.status_code, words in answer.json()["message"]) == (status, True), answer.text
    assert client.get("/live/stock/NONE").status_code == 404


@pytest.mark.parametrize("query", ["limit=1e1", "limit=10.0", "limit=%D9%A5", "limit=", "limit=+5"])
def test_a_number_in_a_parameter_is_written_in_digits(
    shared_admin: AdminProcess, query: str
) -> None:
    answer = shared_admin.client().get(f"/live/stock?{query}")
    assert (answer.status_code, "`limit` must be a whole" in answer.json()["message"]) == (
        400,
        True,
    )


@pytest.mark.parametrize("path", ["A/B", "A/", "/A", "A//", "", "/"])
def test_a_slash_of_an_id_is_sent_as_2f(admin: AdminProcess, path: str) -> None:
    client = admin.client()
    url = f"/live/stock/{path}"
    assert client.put(url, json={"quantity": 1}).status_code in (404, 405)
    assert client.delete(url).status_code in (404, 405)


def test_a_viewer_looks_and_sets_nothing(admin: AdminProcess) -> None:
    viewer = admin.client(admin.token("eye", Role.VIEWER))
    assert viewer.get("/live/stock?limit=1").status_code == 200
    assert viewer.put("/live/stock/A", json={"quantity": 1}).status_code == 403
    assert viewer.delete("/live/stock/A").status_code == 403


def test_lists_hold_what_was_searched_for_once_and_in_order(
    admin: AdminProcess, owner: psycopg.Connection[Any], run: CommandLine
) -> None:
    client = admin.client()
    wanted = [
        row[0]
        for row in owner.execute(
            "SELECT product_id FROM live.products WHERE product_id LIKE '%TV-%'"
            " AND quantity BETWEEN 1 AND 10 ORDER BY product_id"
        )
    ]
    seen: list[str] = []
    parameters = {"search": "tv-", "status": "low_stock", "limit": "30"}
    while True:
        page = client.get("/live/stock", params=parameters).json()
        seen += [item["product_id"] for item in page["items"]]
        assert {item["status"] for item in page["items"]} == {"low_stock"}
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert (seen, len(seen) > 30) == (wanted, True)
    first = client.get("/live/stock?search=tv-&limit=2").json()
    assert run.json("stock list --env live --search tv- --limit 2") == first
    assert client.get("/live/stock?search=a%00").status_code == 400
    assert client.get("/live/stock?cursor=AA").status_code == 400


def test_the_command_line_sets_shows_and_removes(
    run: CommandLine, owner: psycopg.Connection[Any]
) -> None:
    made = run("stock set A/B 5 --env sandbox")
    assert (made.exit_code, "added A/B" in made.stderr) == (0, True)
    assert run("stock set A/B 7 --env sandbox").stderr == ""
    assert run("stock set A/B 7 --env sandbox").exit_code == 0
    assert run.json("stock get A/B --env sandbox")["quantity"] == 7
    assert "A/B" in run("stock get A/B --env sandbox").stdout
    asked = run("stock remove A/B --env sandbox")
    assert (asked.exit_code, "say --yes" in asked.stderr) == (2, True)
    assert run("stock remove A/B --env sandbox --yes").exit_code == 0
    gone = run("stock get A/B --env sandbox")
    assert (gone.exit_code, "there is no product A/B in sandbox" in gone.stderr) == (1, True)
    assert len(audited(owner, "stock.set")) == 2


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("stock set A -- -1 --env live", 2, "--env"),
        ("stock set A 2147483648 --env live", 1, "`quantity` must be a whole number"),
        ("stock set A five --env live", 2, "five"),
        (f"stock set {'A' * 65} 5 --env live", 1, "1 to 64 characters"),
        ("stock get none --env live", 1, "there is no product none in live"),
    ],
)
def test_a_mistake_on_the_command_line_is_told(
    run: CommandLine, line: str, code: int, words: str
) -> None:
    result = run(line)
    assert (result.exit_code, words in result.stderr) == (code, True), result.output


def test_setting_a_product_that_is_removed_at_the_same_time_adds_it_again(
    database: Database, owner: psycopg.Connection[Any]
) -> None:
    """The setter takes its version, then waits for a writer whose removal takes a later one."""
    owner.execute("INSERT INTO live.products (product_id, quantity) VALUES ('RACE', 1)")
    done: list[int | None] = []

    def set_it() -> None:
        with psycopg.connect(database.url("admin")) as connection:
            use_environment(connection, Environment.LIVE)
            change = Change(connection, Actor("cli:tests"), SecretBox(MASTER_KEY))
            done.append(set_stock(change, Environment.LIVE, "RACE", 9)[1])

    with psycopg.connect(database.owner_url) as remover:
        remover.execute("UPDATE live.products SET quantity = 2 WHERE product_id = 'RACE'")
        thread = threading.Thread(target=set_it)
        thread.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_for(lambda: owner.execute(waiting).fetchall()[0][0] == 1, "the setter waits")
        remover.execute("DELETE FROM live.products WHERE product_id = 'RACE'")
        remover.commit()
        thread.join(timeout=10)
    assert done == [None]
    rows = owner.execute("SELECT quantity FROM live.products WHERE product_id = 'RACE'")
    assert rows.fetchall() == [(9,)]
