"""The daily file: what is taken, what is refused, and what others see meanwhile."""

import hashlib
import io
import json
import os
import random
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.admin.audit.rows import Actor
from services.admin.changes import Admin
from services.admin.refusals import ConflictError, InvalidError
from services.admin.settings import AdminSettings
from services.admin.stock.importing import BrokenOffError, Import, ImportOptions, ImportReport
from services.admin.tokens.rows import Role
from services.cli.stock import stock
from services.core.encryption import SecretBox
from services.core.environments import Environment
from services.core.settings import load_settings
from tests.admin_process import AdminProcess, CommandLine, settings_for
from tests.conftest import Database
from tests.integration.admin.imports import (
    CSV,
    OUTCOMES,
    Owner,
    begun,
    changes,
    changes_to,
    counts,
    imported,
    lent,
    lines,
    noted,
    present,
)
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
def owner(database: Database) -> Generator[Owner]:
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def three(owner: Owner) -> None:
    """Live has A, B and C, 5 of each, and nothing else."""
    owner.execute("DELETE FROM live.products")
    owner.execute("INSERT INTO live.products VALUES ('A', 5), ('B', 5), ('C', 5)")
    owner.execute("DELETE FROM live.stock_changes")


@pytest.mark.usefixtures("three")
def test_a_file_is_taken_with_a_reason_for_each_refused_line(
    admin: AdminProcess, owner: Owner
) -> None:
    file = b"product_id,quantity\r\nA,9\r\nB,5\r\n\r\nC,many\r\nD,1\r\nE\r\n"
    answer = admin.client().post(
        "/live/stock/import", params={"file_name": "daily.csv"}, content=file, headers=CSV
    )
    report = answer.json()
    assert (answer.status_code, report["written"]) == (200, True)
    assert (report["read"], report["skipped"]) == (5, 2)
    assert counts(report) == {"changed": 1, "unchanged": 1, "refused": 3}
    assert [(each["line"], each["reason"][:30]) for each in report["refused_lines"]] == [
        (5, "quantity 'many' is not a whole"),
        (6, "there is no product D in live:"),
        (7, "1 column: write product_id,qua"),
    ]
    assert present(owner) == {"A": 9, "B": 5, "C": 5}
    assert changes(owner) == [("A", 5, 9)]
    entry = noted(owner)[0]
    assert (entry["file"], entry["sha256"]) == ("daily.csv", hashlib.sha256(file).hexdigest())
    assert counts(entry) == counts(report)


@pytest.mark.usefixtures("three")
def test_the_audit_log_has_a_line_of_the_beginning_and_one_of_the_end(
    owner: Owner, database: Database
) -> None:
    seen: list[dict[str, dict[str, Any]]] = []

    def look() -> bool:
        seen.append(begun(owner))
        return False

    imported(database, b"A,9\nB,x\n", stopping=look)
    assert seen == [begun(owner)], "it was there before the first batch"
    [(entry_id, beginning)] = begun(owner).items()
    [end] = noted(owner)
    assert end["began"] == entry_id
    for field in ("file", "sha256", "read", "options"):
        assert beginning[field] == end[field], field
    assert (beginning["file"], beginning["read"], end["changed"]) == ("daily.csv", 2, 1)


@pytest.mark.usefixtures("three")
def test_a_file_whose_name_is_not_utf8_is_refused_before_anything_is_changed(
    run: CommandLine, owner: Owner, tmp_path: Path
) -> None:
    file = tmp_path / os.fsdecode(b"Stand J\xe4nner.csv")
    file.write_bytes(b"A,1\n")
    result = run("stock", "import", str(file), "--env", "live")
    assert (result.exit_code, "is not UTF-8: b'" in result.stderr) == (2, True)
    assert (present(owner)["A"], begun(owner), noted(owner)) == (5, {}, [])


def test_imports_leave_connections_for_others_while_they_wait(database: Database) -> None:
    """A run that sleeps between two batches has given its connection back."""
    out: list[bool] = []

    class Lending(lent):
        def __enter__(self) -> psycopg.Connection[Any]:
            out.append(True)
            return super().__enter__()

        def __exit__(self, *_: object) -> None:
            out.pop()

    given = load_settings(AdminSettings, settings_for(database))
    with psycopg.connect(database.url("admin"), autocommit=True) as connection:
        admin = Admin(given, SecretBox(given.master_keys), lambda: Lending(connection))
        held: list[int] = []
        run = Import(
            admin,
            Actor("cli:tests"),
            Environment.LIVE,
            ImportOptions(add=True),
            stopping=lambda: held.append(len(out)) or False,
            sleep=lambda _seconds: held.append(len(out)),
        )
        run.run(io.BytesIO(lines((f"NEW-{number}", 1) for number in range(1_200))), "daily.csv")
    assert held == [0] * 6


@pytest.mark.usefixtures("three")
def test_unknown_products_are_added_on_demand(owner: Owner, database: Database) -> None:
    report = imported(database, b"D,1\nA,5\nD,1\n", options=ImportOptions(add=True))
    assert (report.added, report.unchanged, report.refused) == (1, 2, 0)
    assert changes(owner) == [("D", None, 1)]


@pytest.mark.parametrize("add", [True, False])
def test_a_product_that_partners_have_is_set_whatever_its_id_looks_like(
    owner: Owner, database: Database, *, add: bool
) -> None:
    ids = ("A\ufe0f", "B\u200cB", "C\u3000C")
    owner.execute("DELETE FROM live.products")
    for product_id in ids:
        owner.execute("INSERT INTO live.products VALUES (%s, 1)", [product_id])
    file = lines([*((product_id, 5) for product_id in ids), ("D\ufe0f", 5)])
    for dry_run in (True, False):
        report = imported(database, file, options=ImportOptions(add=add, dry_run=dry_run))
        assert (report.changed, report.added, report.refused) == (3, 0, 1)
        assert "U+FE0F VARIATION SELECTOR-16" in report.refused_lines[0].reason
    assert present(owner) == dict.fromkeys(ids, 5)


@pytest.mark.usefixtures("three")
def test_a_product_with_two_quantities_keeps_the_one_it_has(
    owner: Owner, database: Database
) -> None:
    report = imported(database, b"A,1\nB,7\nA,2\nB,7\nA,1\n")
    assert [(each.line, each.reason[:33]) for each in report.refused_lines] == [
        (1, "A is 1 here and 2 in line 3: nobo"),
        (3, "A is 2 here and 1 in line 1: nobo"),
        (5, "A is 1 here and 2 in line 3: nobo"),
    ]
    assert (report.changed, report.unchanged) == (1, 1)
    assert present(owner) == {"A": 5, "B": 7, "C": 5}


@pytest.mark.usefixtures("three")
def test_a_dry_run_tells_the_same_and_writes_nothing(owner: Owner, database: Database) -> None:
    file = b"A,1\nB,5\nD,1\nC,x\n"
    for add in (False, True):
        dry = imported(database, file, options=ImportOptions(add=add, dry_run=True))
        assert not dry.written
        assert (present(owner)["A"], noted(owner)) == (5, [])
        real = imported(database, file, options=ImportOptions(add=add))
        for name in (*OUTCOMES, "refused_lines", "sha256", "read", "skipped"):
            assert getattr(dry, name) == getattr(real, name), name
        owner.execute("UPDATE live.products SET quantity = 5")
        owner.execute("TRUNCATE control.audit")


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("wrong", [b"C,x\n", b"D,1\n", b"A,2\n"])
def test_all_or_nothing_writes_nothing_when_a_line_is_refused(
    run: CommandLine, owner: Owner, tmp_path: Path, wrong: bytes
) -> None:
    (tmp_path / "f.csv").write_bytes(b"A,1\nB,6\n" + wrong)
    result = run(f"stock import {tmp_path}/f.csv --env live --all-or-nothing")
    assert (result.exit_code, "nothing was written" in result.stderr) == (1, True)
    assert (changes(owner), noted(owner)) == ([], [])
    (tmp_path / "f.csv").write_bytes(b"A,1\nB,6\n")
    assert run(f"stock import {tmp_path}/f.csv --env live --all-or-nothing").exit_code == 0
    assert present(owner) == {"A": 1, "B": 6, "C": 5}


# Each with one sentence when it is not 0.
EXITS = [
    (b"A,1\n", "", 0),
    (b"A,2\nB,x\n", "", 3),
    (b"A,2\nB\xff,3\n", "", 3),
    (b"A,2\nB\xe2\x80\x8b,3\n", "--add", 3),
    (b"B,x\n", "", 1),
    (b"", "", 1),
    (b"product_id,quantity\n", "", 1),
    (b"A,3\nB,1", "", 1),
    (b"A,3\nB,1", "--allow-unterminated", 0),
    (b"A,0\nB,0\n", "", 1),
    (b"A,0\nB,0\n", "--yes", 0),
]


@pytest.mark.usefixtures("three")
def test_exit_codes_tell_scripts_how_it_went(
    run: CommandLine, owner: Owner, tmp_path: Path
) -> None:
    for content, options, code in EXITS:
        (tmp_path / "f.csv").write_bytes(content)
        result = run(f"stock import {tmp_path}/f.csv --env live {options}")
        assert result.exit_code == code, (content, options, result.output)
        assert len(result.stderr.splitlines()) == (code > 0), result.stderr
    assert run("stock import no-such-file --env live").exit_code == 2
    assert present(owner) == {"A": 0, "B": 0, "C": 5}


@pytest.mark.usefixtures("three")
def test_standard_input_is_a_file_too(run: CommandLine, owner: Owner) -> None:
    result = CliRunner().invoke(
        stock,
        ["import", "-", "--env", "live", "--json"],
        b"A,1\nB,x\n",
        obj=lambda: run.environment,
    )
    assert result.exit_code == 3
    assert counts(json.loads(result.stdout)) == {"changed": 1, "refused": 1}
    assert noted(owner)[0]["file"] == "-"


UNREADABLE: list[tuple[bytes, dict[str, str], int, str]] = [
    (b"", CSV, 400, "the file is empty"),
    (b"product_id,quantity\n", CSV, 400, "the file has no line with a product"),
    (b"\xef\xbb\xbf\n\n", CSV, 400, "the file has no line with a product"),
    (b"A,9\nA,1", CSV, 400, "line 2, the last one, has no line end"),
    (b"PK\x03\x04", CSV, 400, "a spreadsheet"),
    (b"A,1", {"Content-Type": "application/json"}, 415, "Content-Type: text/csv"),
    (b"A,1", {"Content-Type": "text/csv; charset=latin-1"}, 415, "Content-Type: text/csv"),
    (b"A,1\n" * (9 * 1024 * 1024), CSV, 413, "too large"),
]


def test_a_body_that_cannot_be_read_is_refused_as_a_whole(
    admin: AdminProcess, owner: Owner
) -> None:
    client = admin.client()
    for content, headers, status, words in UNREADABLE:
        answer = client.post("/live/stock/import", content=content, headers=headers)
        assert (answer.status_code, words in answer.json()["message"]) == (status, True)
    viewer = admin.client(admin.token("eye", Role.VIEWER))
    refused = viewer.post("/live/stock/import?dry_run=true", content=b"A,1", headers=CSV)
    assert refused.status_code == 403
    assert noted(owner) == []


def streamed(admin: AdminProcess, path: str, content: bytes) -> list[dict[str, Any]]:
    """Return the JSON lines of an import."""
    headers = {**CSV, "Accept": "application/x-ndjson"}
    with admin.client().stream("POST", path, content=content, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        assert answer.headers["Cache-Control"] == "no-store"
        return [json.loads(line) for line in answer.iter_lines()]


def test_a_long_import_says_how_far_it_is_and_ends_with_the_report(
    admin: AdminProcess, owner: Owner
) -> None:
    content = lines((f"NEW-{number:04}", 9_999) for number in range(2_000))
    *progress, last = streamed(admin, "/live/stock/import?add=true&rate=1500", content)
    assert progress
    assert {each["total"] for each in progress} == {2_000}
    done = [each["done"] for each in progress]
    assert done == sorted(set(done))
    assert list(last) == ["report"]
    assert counts(last["report"]) == {"added": 2_000}
    assert counts(noted(owner)[0]) == {"added": 2_000}


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"A,1", "INVALID_REQUEST", "has no line end"),
        (b"A,0\nB,0\n", "CONFLICT", "would set 2 of the 3 products"),
    ],
)
def test_the_last_line_of_an_import_that_is_refused_is_the_error(
    admin: AdminProcess, owner: Owner, content: bytes, code: str, words: str
) -> None:
    [last] = streamed(admin, "/live/stock/import", content)
    error = last["error"]
    assert (error["code"], words in error["message"], bool(error["request_id"])) == (
        code,
        True,
        True,
    )
    assert (changes(owner), begun(owner)) == ([], {})


def test_an_import_goes_on_when_its_client_goes_away(admin: AdminProcess, owner: Owner) -> None:
    content = lines((f"NEW-{number:04}", 9_999) for number in range(3_000))
    headers = {**CSV, "Accept": "application/x-ndjson"}
    path = "/live/stock/import?add=true&rate=3000"
    with admin.client().stream("POST", path, content=content, headers=headers) as answer:
        wait_for(lambda: changes_to(owner, 9_999) > 0, "the import has begun")
        answer.close()
    wait_for(lambda: len(noted(owner)) == 1, "the import has ended")
    assert counts(noted(owner)[0]) == {"added": 3_000}


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("content", [b"A,9\nB,1", b"A,9\nB,1\n ", b"A,9\r\nB,1\r"])
def test_a_file_that_may_be_cut_changes_nothing_unless_it_is_said_to_be_whole(
    database: Database, owner: Owner, content: bytes
) -> None:
    for options in (ImportOptions(), ImportOptions(dry_run=True), ImportOptions(add=True)):
        with pytest.raises(InvalidError, match="has no line end, so the file may be cut"):
            imported(database, content, options=options)
    assert (changes(owner), begun(owner)) == ([], {})
    assert imported(database, content, options=ImportOptions(allow_unterminated=True)).changed == 2
    assert noted(owner)[0]["options"]["allow_unterminated"] is True


# Of A, B and C, 5 of each, and Z, 0 of it.
ZEROING = [
    (b"A,0\nB,0\n", "2 of the 3 products"),
    (b"A,0\nB,0\nC,0\nZ,0\n", "3 of the 3 products"),
    (b"A,0\nA,0\nB,0\nC,7\n", "2 of the 3 products"),
    (b"A,0\nNONE-1,0\nNONE-2,0\nZ,0\n", None),  # one of what is in stock
    (b"A,0\nB,0\nB,1\n", None),  # nobody knows of B
    (b"A,0\nB,7\nC,7\n", None),
]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(("content", "words"), ZEROING)
def test_a_file_that_sets_more_than_half_of_the_stock_to_0_must_be_confirmed(
    database: Database, owner: Owner, content: bytes, words: str | None
) -> None:
    owner.execute("INSERT INTO live.products VALUES ('Z', 0)")
    owner.execute("DELETE FROM live.stock_changes")
    if words is not None:
        for options in (ImportOptions(), ImportOptions(dry_run=True), ImportOptions(add=True)):
            with pytest.raises(ConflictError, match=words):
                imported(database, content, options=options)
        assert (changes(owner), begun(owner)) == ([], {})
    options = ImportOptions(confirm_zeroing=words is not None)
    assert imported(database, content, options=options).changed > 0
    assert present(owner)["A"] == 0


def test_many_products_set_to_0_are_counted_to_the_last(database: Database, owner: Owner) -> None:
    ids = [f"P-{number}" for number in range(12_000)]
    owner.execute("DELETE FROM live.products")
    owner.execute("INSERT INTO live.products SELECT unnest(%s::text[]), 5", [ids])
    with pytest.raises(ConflictError, match=r"set 6,001 of the 12,000 products that live has"):
        imported(database, lines((product_id, 0) for product_id in ids[:6_001]))
    dry_run = ImportOptions(dry_run=True)
    assert imported(database, lines((i, 0) for i in ids[:6_000]), options=dry_run).changed == 6_000


def test_where_nothing_is_in_stock_nothing_has_to_be_confirmed(
    database: Database, owner: Owner
) -> None:
    owner.execute("DELETE FROM live.products")
    report = imported(database, b"A,0\nB,0\n", options=ImportOptions(add=True))
    assert report.added == 2


@pytest.mark.parametrize("rate", ["0", "1000001"])
def test_a_rate_that_is_none_is_refused(shared_admin: AdminProcess, rate: str) -> None:
    answer = shared_admin.client().post(
        f"/live/stock/import?rate={rate}", content=b"A,1\n", headers=CSV
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert "`rate` must be a whole number from 1" in answer.json()["message"]


@pytest.mark.usefixtures("three")
def test_a_refused_import_with_json_is_an_error_of_the_one_shape(
    run: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "f.csv").write_bytes(b"A,0\nB,0\n")
    result = run(f"stock import {tmp_path}/f.csv --env live --json")
    error = json.loads(result.stderr)
    assert (result.exit_code, result.stdout, error["code"]) == (1, "", "CONFLICT")
    assert "would set 2 of the 3 products that live has in stock to 0" in error["message"]
    assert "--yes" in error["message"]
    assert error["request_id"]


def test_progress_is_lines_of_json_where_nobody_looks(
    run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.cli.progress.LINES_EVERY", 0.0)
    (tmp_path / "f.csv").write_bytes(lines((f"NEW-{number:04}", 9_999) for number in range(2_000)))
    result = run(f"stock import {tmp_path}/f.csv --env live --add --rate 1500 --json")
    assert counts(json.loads(result.stdout)) == {"added": 2_000}
    progress = [json.loads(line) for line in result.stderr.splitlines()]
    assert progress
    assert {(each["total"], each["of"]) for each in progress} == {(2_000, "lines")}


def test_a_report_names_the_first_thousand_refused_lines(database: Database) -> None:
    report = imported(database, lines((f"NONE-{number % 7}{number}", 1) for number in range(2500)))
    assert (report.refused, report.refused_lines_left_out) == (2500, 1500)
    assert [each.line for each in report.refused_lines] == list(range(1, 1001))


PIECES = st.sampled_from(["A", "B", "D", ",", ",", ",1", ",2", "\n", "\n", '"', " ", "x"])


@given(content=st.lists(PIECES, min_size=1).map("".join), add=st.booleans())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.usefixtures("three")
def test_every_line_is_accounted_for(database: Database, content: str, add: bool) -> None:
    options = ImportOptions(add=add, rate=1_000_000, allow_unterminated=True)
    if not content.strip():
        with pytest.raises(InvalidError, match="no line with a product"):
            imported(database, content.encode(), options=options)
        return
    report = imported(database, content.encode(), options=options)
    taken = report.changed + report.unchanged + report.added
    assert report.read == taken + report.refused
    assert report.read + report.skipped == len(content.removesuffix("\n").split("\n"))
    assert len(report.refused_lines) == report.refused
    again = imported(database, content.encode(), options=options)
    assert (again.changed, again.added, again.unchanged) == (0, 0, taken)


def test_two_imports_at_the_same_time_both_end_and_one_of_them_won_each_product(
    database: Database, owner: Owner
) -> None:
    ids = sorted(present(owner))[:3_000]
    ids += [f"NEW-{number}" for number in range(500)]
    options = ImportOptions(add=True, rate=1_000_000)
    reports: list[ImportReport] = []

    def take(quantity: int) -> None:
        shuffled = random.Random(quantity).sample(ids, len(ids))
        content = lines((product_id, quantity) for product_id in shuffled)
        reports.append(imported(database, content, options=options))

    threads = [threading.Thread(target=take, args=[quantity]) for quantity in (7_001, 7_002, 7_003)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(reports) == 3
    assert {report.refused for report in reports} == {0}
    assert sum(report.added for report in reports) == 500
    now = present(owner)
    assert {now[product_id] for product_id in ids} <= {7_001, 7_002, 7_003}
    told = owner.execute(
        "SELECT count(*) FROM live.stock_changes WHERE new_quantity BETWEEN 7001 AND 7003"
    ).fetchall()
    assert told == [(sum(report.changed + report.added for report in reports),)]


def test_writers_of_the_same_products_are_neither_stopped_nor_undone(
    database: Database, owner: Owner
) -> None:
    """A writer sets, removes and adds products of the file; each of its changes is in the feed."""
    ids = sorted(present(owner))[:2_000]
    ended = threading.Event()
    written: list[float] = []

    def write() -> None:
        chance = random.Random(1)
        with psycopg.connect(database.url("live_stock"), autocommit=True) as writer:
            while not ended.is_set():
                product_id = chance.choice(ids)
                began = time.monotonic()
                writer.execute("DELETE FROM live.products WHERE product_id = %s", [product_id])
                writer.execute(
                    "INSERT INTO live.products VALUES (%s, 1) ON CONFLICT (product_id)"
                    " DO UPDATE SET quantity = 1", [product_id],
                )  # fmt: skip
                written.append(time.monotonic() - began)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for quantity in (8_001, 8_002, 8_003):
            report = imported(
                database,
                lines((product_id, quantity) for product_id in ids),
                options=ImportOptions(add=quantity != 8_001, rate=20_000),
            )
            assert report.read == report.changed + report.unchanged + report.added + report.refused
    finally:
        ended.set()
        thread.join(timeout=20)
    assert written
    assert max(written) < 2.0
    last = owner.execute(
        "SELECT DISTINCT ON (product_id) product_id, new_quantity FROM live.stock_changes"
        " WHERE product_id = ANY(%s) ORDER BY product_id, version DESC", [ids],
    ).fetchall()  # fmt: skip
    now = present(owner)
    assert dict(last) == {product_id: now[product_id] for product_id in ids}


def test_a_run_that_breaks_off_says_how_far_it_came_and_can_be_run_again(
    database: Database, owner: Owner
) -> None:
    ids = sorted(present(owner))[:1_200]
    content = lines((product_id, 9_000) for product_id in ids)
    batches = iter([False, True])
    with pytest.raises(BrokenOffError, match="700 not reached") as told:
        imported(database, content, stopping=lambda: next(batches))
    assert told.value.report.changed == 500
    entry = noted(owner)[0]
    assert list(begun(owner)) == [entry["began"]]
    assert (entry["broken_off"], counts(entry)) == (
        "the program is ending",
        {"changed": 500, "not_reached": 700},
    )
    again = imported(database, content)
    assert (again.changed, again.unchanged) == (700, 500)


def test_changes_are_spread_over_time_so_that_others_do_not_wait_behind_them(
    database: Database, owner: Owner
) -> None:
    ids = sorted(present(owner))[:1_500]
    content = lines((product_id, 9_000) for product_id in ids)
    slept: list[float] = []
    imported(database, content, options=ImportOptions(rate=100), sleep=slept.append)
    assert len(slept) == 3
    assert all(4.0 < seconds <= 5.0 for seconds in slept)
    slept.clear()
    imported(database, content, options=ImportOptions(rate=100), sleep=slept.append)
    assert slept == [0.0, 0.0, 0.0]
