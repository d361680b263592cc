"""Deliveries of any partner: found, read, sent again by operations."""

import itertools
import json
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import sql

from services.admin.deliveries.redelivery import Retried
from services.admin.tokens.rows import Role
from services.cli.client import AdminAwayError, Client
from services.core.encryption import SecretBox
from services.core.environments import Environment
from services.core.errors import ErrorCode
from services.domain.events import EventType
from services.domain.redelivery import REPLAY_MOST
from services.domain.states import DeliveryState
from services.local.children import free_port
from services.local.valkey import RunningValkey
from services.webhooks.secrets import new_secret
from tests.admin_process import (
    MASTER_KEY,
    AdminProcess,
    CommandLine,
)
from tests.conftest import Database
from tests.integration.webhooks.sending.receivers import keeping_open, receiving
from tests.webhook_rows import WebhookRows
from tools.chain import Program
from tools.waiting import wait_for

SOME_ID = "0190b6a0-0000-7000-8000-000000000001"
PATH = "/sandbox/deliveries"
UNDER = "--env sandbox"
FINISHED = [state for state in DeliveryState if state.finished]
UNDER_WAY = [state for state in DeliveryState if not state.finished]
LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture
def admin(shared_admin: AdminProcess) -> AdminProcess:
    return shared_admin


@pytest.fixture
def run(shared_run: CommandLine) -> CommandLine:
    return shared_run


@pytest.fixture
def rows(shared_rows: WebhookRows) -> WebhookRows:
    return shared_rows


def found(run: CommandLine, options: str) -> list[tuple[str, str]]:
    items = run.json(f"deliveries list {UNDER} {options}")["items"]
    return [(item["event_id"], item["endpoint_id"]) for item in items]


def key(event_id: UUID, endpoint_id: UUID) -> tuple[str, str]:
    return (str(event_id), str(endpoint_id))


def attempt(
    rows: WebhookRows, endpoint_id: UUID, event_id: UUID, *, series: int, number: int, status: int
) -> None:
    rows.run(
        "INSERT INTO {env}.attempts (endpoint_id, event_id, series, number, outcome, status,"
        " detail, started_at, milliseconds)"
        " VALUES (%s, %s, %s, %s, 'http_error', %s, 'said so', '2026-11-22T09:14:03Z', 30)",
        [endpoint_id, event_id, series, number, status],
    )


def standing(rows: WebhookRows, endpoint_id: UUID, event_id: UUID) -> tuple[Any, ...]:
    return rows.run(
        "SELECT state, series, attempts, next_attempt_at <= now() FROM {env}.deliveries"
        " WHERE endpoint_id = %s AND event_id = %s",
        [endpoint_id, event_id],
    )[0]


def test_each_filter_and_all_together_find_what_they_say(
    run: CommandLine, rows: WebhookRows
) -> None:
    techmart, rival = rows.partner("techmart"), rows.partner("rival")
    one, two = rows.endpoint(techmart), rows.endpoint(techmart)
    theirs = rows.endpoint(rival)
    old = rows.event(age="3 days")
    low = rows.event(EventType.INVENTORY_LOW_STOCK, age="1 hour")
    new = rows.event()
    rows.run("UPDATE {env}.events SET product_id = 'B' WHERE id = %s", [low])
    rows.delivery(one, old, state=DeliveryState.EXHAUSTED)
    rows.delivery(two, old, state=DeliveryState.CANCELLED)
    rows.delivery(one, low, state=DeliveryState.RETRYING)
    rows.delivery(theirs, low, state=DeliveryState.DELIVERED)
    rows.delivery(theirs, new, state=DeliveryState.PENDING)
    everything = [
        key(new, theirs), *sorted([key(low, one), key(low, theirs)], reverse=True),
        *sorted([key(old, one), key(old, two)], reverse=True),
    ]  # fmt: skip
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def only(*wanted: tuple[str, str]) -> list[tuple[str, str]]:
        return [each for each in everything if each in wanted]

    expected = {
        "": everything,
        "--partner techmart": only(key(low, one), key(old, one), key(old, two)),
        f"--endpoint {theirs}": only(key(new, theirs), key(low, theirs)),
        "--state exhausted": only(key(old, one)),
        "--state cancelled": only(key(old, two)),
        "--state retrying": only(key(low, one)),
        "--state pending": only(key(new, theirs)),
        "--event-type inventory.low_stock": only(key(low, one), key(low, theirs)),
        "--product B": only(key(low, one), key(low, theirs)),
        "--product B --partner rival": only(key(low, theirs)),
        f"--since {yesterday}": only(key(new, theirs), key(low, one), key(low, theirs)),
        f"--until {yesterday}": only(key(old, one), key(old, two)),
        f"--since {yesterday} --until {yesterday}": [],
        f"--partner techmart --endpoint {one} --state retrying --product B"
        f" --event-type inventory.low_stock --since {yesterday}": only(key(low, one)),
        f"--partner techmart --state exhausted --until {yesterday}": only(key(old, one)),
    }
    for options, wanted in expected.items():
        assert found(run, options) == wanted, options


@pytest.mark.parametrize("search", ["", "partner=techmart", "state=exhausted", "product_id=A"])
def test_pages_hold_every_delivery_once_though_endpoints_share_events(
    admin: AdminProcess, rows: WebhookRows, search: str
) -> None:
    partner = rows.partner("techmart")
    endpoints = [rows.endpoint(partner) for _ in range(3)]
    events = [rows.event() for _ in range(4)]
    for event in events:
        for endpoint in endpoints:
            rows.delivery(endpoint, event, state=DeliveryState.EXHAUSTED)
    expected = sorted((key(event, each) for event in events for each in endpoints), reverse=True)
    client = admin.client()
    for size in (1, 2, 4, 5, 7, 200):
        seen, cursor = list[tuple[str, str]](), ""
        while True:
            page = client.get(f"{PATH}?limit={size}&{search}{cursor}").json()
            seen += [(item["event_id"], item["endpoint_id"]) for item in page["items"]]
            assert len(seen) <= len(expected), "it repeats itself"
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == expected, size


def test_one_shows_its_attempts_on_both_faces(
    admin: AdminProcess, run: CommandLine, rows: WebhookRows
) -> None:
    endpoint = rows.endpoint(rows.partner(), url="https://shop.example/hooks")
    event = rows.delivery(endpoint, state=DeliveryState.RETRYING, attempts=2, due_in="1 hour")
    attempt(rows, endpoint, event, series=2, number=1, status=503)
    attempt(rows, endpoint, event, series=1, number=5, status=500)
    one = admin.client().get(f"{PATH}/{endpoint}/{event}").json()
    assert [(each["series"], each["number"]) for each in one["attempts"]] == [(1, 5), (2, 1)]
    assert one["last_attempt"] == {
        "series": 2,
        "number": 1,
        "outcome": "http_error",
        "status": 503,
        "detail": "said so",
        "started_at": "2026-11-22T09:14:03Z",
        "duration_ms": 30,
    }
    assert (one["url"], one["state"], one["attempt_count"]) == (
        "https://shop.example/hooks",
        "retrying",
        2,
    )
    assert one["next_attempt_at"] is not None
    assert run.json(f"deliveries show {endpoint} {event} {UNDER}") == one
    listed = admin.client().get(PATH).json()
    assert listed == run.json(f"deliveries list {UNDER}")
    assert listed["items"] == [{name: one[name] for name in listed["items"][0]}]
    shown = run(f"deliveries show {endpoint} {event} {UNDER}").stdout
    assert "http_error" in shown
    assert "said so" in shown
    table = run(f"deliveries list {UNDER}").stdout
    assert f"{endpoint}  {event}  techmart" in table
    assert "http_error 503" in table


@pytest.mark.parametrize("state", FINISHED)
def test_a_finished_delivery_is_sent_again_in_a_new_series(
    admin: AdminProcess, rows: WebhookRows, state: DeliveryState
) -> None:
    endpoint = rows.endpoint(rows.partner())
    event, client = rows.delivery(endpoint, state=state, attempts=5), admin.client()
    answer = client.post(f"{PATH}/{endpoint}/{event}/retry")
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    assert standing(rows, endpoint, event) == ("pending", 2, 0, True)
    target = f"delivery:sandbox/{endpoint}/{event}"
    entries = client.get("/audit", params={"target": target}).json()["items"]
    assert [(each["actor"], each["action"], each["before"]) for each in entries] == [
        ("token:tester", "delivery.retried", {"state": state})
    ]


@pytest.mark.parametrize("state", UNDER_WAY)
def test_a_delivery_under_way_is_not_retried(
    run: CommandLine, rows: WebhookRows, state: DeliveryState
) -> None:
    endpoint = rows.endpoint(rows.partner())
    event = rows.delivery(endpoint, state=state, attempts=3, due_in="1 hour")
    refused = run(f"deliveries retry {endpoint} {event} {UNDER}")
    assert (refused.exit_code, "this delivery is under way" in refused.stderr) == (1, True)
    assert standing(rows, endpoint, event) == (state, 1, 3, False)
    assert run.json("audit list --target delivery")["items"] == []


def test_what_can_be_sent_to_nobody_is_refused_with_the_reason(
    admin: AdminProcess, rows: WebhookRows
) -> None:
    partner, client = rows.partner(), admin.client()
    disabled, deleted = (rows.endpoint(partner, state=each) for each in ("disabled", "deleted"))
    suspended = rows.endpoint(rows.partner("rival", state="suspended"))
    for endpoint, words in (
        (disabled, "this webhook is disabled: enable it first"),
        (deleted, "deleted by its partner"),
        (suspended, "partner rival is suspended: resume it first"),
    ):
        event = rows.delivery(endpoint, state=DeliveryState.EXHAUSTED)
        retried = client.post(f"{PATH}/{endpoint}/{event}/retry")
        replayed = client.post(f"/sandbox/endpoints/{endpoint}/replay", json={"since": LONG_AGO})
        for answer in (retried, replayed):
            assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
            assert words in answer.json()["message"]
        assert standing(rows, endpoint, event)[0] == "exhausted"
    assert client.get("/audit", params={"action": "delivery"}).json()["items"] == []


def test_what_there_is_not_is_told(
    admin: AdminProcess, run: CommandLine, rows: WebhookRows
) -> None:
    endpoint, client = rows.endpoint(rows.partner()), admin.client()
    live = rows.delivery(endpoint)
    for path in (f"{PATH}/{endpoint}/{uuid4()}", f"/live/deliveries/{endpoint}/{live}"):
        assert client.get(path).status_code == 404
        assert client.post(f"{path}/retry").status_code == 404
    replayed = client.post(f"/sandbox/endpoints/{uuid4()}/replay", json={"since": LONG_AGO})
    assert replayed.status_code == 404
    rows.partner("rival")
    for search in ("partner=nobody", f"endpoint={uuid4()}", f"partner=rival&endpoint={endpoint}"):
        assert client.get(f"{PATH}?{search}").status_code == 404
    wrong = ("state=lost", "cursor=YWJj", "endpoint=7", "event_type=x", "product=A")
    for search in (*wrong, "product_id=%00", "partner=%00", "since=0000-01-01T00:00:00Z"):
        answer = client.get(f"{PATH}?{search}")
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST"), search
    for search in ("since=0001-01-01T00:00:00Z", "until=9999-12-31T23:59:59Z"):
        assert len(client.get(f"{PATH}?{search}").json()["items"]) == 1, search
    assert client.get(f"{PATH}?since=9999-12-31T23:59:59Z").json()["items"] == []
    assert run(f"deliveries show {endpoint} {uuid4()} {UNDER}").exit_code == 1
    assert run(f"deliveries show {endpoint} 7 {UNDER}").exit_code == 2


@pytest.mark.parametrize("body", [{}, {"since": "today"}, {"since": "2026-11-22T09:14:03"}])
def test_a_replay_needs_a_time_with_its_offset(
    admin: AdminProcess, rows: WebhookRows, body: dict[str, str]
) -> None:
    endpoint = rows.endpoint(rows.partner())
    answer = admin.client().post(f"/sandbox/endpoints/{endpoint}/replay", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert "since" in answer.json()["message"]


def test_a_viewer_retries_nothing(admin: AdminProcess, rows: WebhookRows) -> None:
    endpoint, viewer = rows.endpoint(rows.partner()), admin.client(admin.token("eye", Role.VIEWER))
    event = rows.delivery(endpoint, state=DeliveryState.EXHAUSTED)
    assert viewer.get(f"{PATH}/{endpoint}/{event}").status_code == 200
    assert viewer.post(f"{PATH}/{endpoint}/{event}/retry").status_code == 403
    assert standing(rows, endpoint, event)[0] == "exhausted"


def test_all_that_a_search_finds_is_sent_again_and_the_rest_is_told(
    run: CommandLine, rows: WebhookRows
) -> None:
    techmart, rival = rows.partner("techmart"), rows.partner("rival")
    good, disabled = rows.endpoint(techmart), rows.endpoint(techmart, state="disabled")
    theirs = rows.endpoint(rival)
    wanted = [rows.delivery(good, state=DeliveryState.EXHAUSTED) for _ in range(3)]
    cancelled = rows.delivery(good, state=DeliveryState.CANCELLED)
    unsendable = rows.delivery(disabled, state=DeliveryState.EXHAUSTED)
    other = rows.delivery(theirs, state=DeliveryState.EXHAUSTED)
    bulk = f"deliveries retry {UNDER} --partner techmart"
    asked = run(bulk)
    assert (asked.exit_code, "4 deliveries to 2 endpoints again" in asked.stderr) == (2, True)
    assert standing(rows, good, wanted[0])[0] == "exhausted"
    done = run(f"{bulk} --yes --json")
    assert (done.exit_code, done.stdout.strip()) == (3, '{"retried":3,"left":1}')
    assert "1 can't be" in done.stderr
    assert {standing(rows, good, event)[:2] for event in wanted} == {("pending", 2)}
    assert standing(rows, good, cancelled)[0] == "cancelled"
    assert standing(rows, disabled, unsendable)[0] == "exhausted"
    assert standing(rows, theirs, other)[0] == "exhausted"
    entries = run.json("audit list --action delivery.retried")["items"]
    assert {each["target"] for each in entries} == {
        f"delivery:sandbox/{good}/{event}" for event in wanted
    }
    nothing = run(f"{bulk} --endpoint {good}")
    assert (nothing.exit_code, nothing.stdout) == (0, "0 deliveries are sent again\n")
    assert run(f"{bulk} --state cancelled --endpoint {good} --yes").exit_code == 0
    assert standing(rows, good, cancelled)[0] == "pending"


def test_many_are_sent_again_in_several_requests_oldest_first(
    run: CommandLine, rows: WebhookRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.cli.deliveries.RETRIED_MOST", 2)
    endpoint = rows.endpoint(rows.partner())
    wanted = [rows.delivery(endpoint, state=DeliveryState.EXHAUSTED) for _ in range(5)]
    found = run.json(f"deliveries retry {UNDER} --endpoint {endpoint} --yes")
    assert found == {"retried": 5, "left": 0}
    entries = run.json("audit list --action delivery.retried")["items"]
    retried = [UUID(each["target"].rpartition("/")[2]) for each in reversed(entries)]
    assert retried == wanted
    assert len({each["request_id"] for each in entries}) == 3


def test_deliveries_of_one_request_are_locked_in_one_order_and_count_once(
    admin: AdminProcess, run: CommandLine, rows: WebhookRows
) -> None:
    endpoint = rows.endpoint(rows.partner())
    events = [rows.delivery(endpoint, state=DeliveryState.EXHAUSTED) for _ in range(3)]
    under_way = rows.delivery(endpoint)
    wanted = [
        {"endpoint_id": str(endpoint), "event_id": str(event)}
        for event in (*reversed(events), under_way, *events)
    ]
    answer = admin.client().post(f"{PATH}/retry", json={"deliveries": wanted})
    assert (answer.status_code, answer.json()) == (202, {"retried": 3, "left": 1})
    entries = run.json("audit list --action delivery.retried")["items"]
    retried = [UUID(each["target"].rpartition("/")[2]) for each in reversed(entries)]
    assert retried == sorted(events)


def test_a_search_that_finds_too_many_sends_none(
    run: CommandLine, rows: WebhookRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.cli.deliveries.FOUND_MOST", 2)
    endpoint = rows.endpoint(rows.partner())
    for _ in range(3):
        rows.delivery(endpoint, state=DeliveryState.EXHAUSTED)
    result = run(f"deliveries retry {UNDER} --endpoint {endpoint} --yes")
    assert (result.exit_code, "more than 2: narrow the search" in result.stderr) == (2, True)
    assert set(rows.states(endpoint).values()) == {"exhausted"}


def test_a_retry_that_breaks_off_says_how_many_are_sent_again(
    run: CommandLine, rows: WebhookRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.cli.deliveries.RETRIED_MOST", 2)
    endpoint = rows.endpoint(rows.partner())
    for _ in range(4):
        rows.delivery(endpoint, state=DeliveryState.EXHAUSTED)
    post, calls = Client.post, itertools.count()

    def breaking_off(client: Client, answer: type[Retried], *path: str, body: object) -> Retried:
        if next(calls) == 1:
            raise AdminAwayError(ErrorCode.SERVICE_UNAVAILABLE, "it is away", "r-1")
        return post(client, answer, *path, body=body)

    monkeypatch.setattr(Client, "post", breaking_off)
    result = run(f"deliveries retry {UNDER} --endpoint {endpoint} --yes")
    assert result.exit_code == 4
    assert "it is away; 2 deliveries are sent again already" in result.stderr


@pytest.mark.parametrize("body", [{}, {"deliveries": []}, {"deliveries": [{}] * 501}])
def test_a_request_names_the_deliveries_that_it_sends_again(
    admin: AdminProcess, rows: WebhookRows, body: dict[str, object]
) -> None:
    answer = admin.client().post(f"{PATH}/retry", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")


def test_a_partner_whose_name_is_empty_is_not_all_partners(
    run: CommandLine, rows: WebhookRows
) -> None:
    endpoint = rows.endpoint(rows.partner())
    event = rows.delivery(endpoint, state=DeliveryState.EXHAUSTED)
    retry = ("deliveries", "retry", "--env", "sandbox", "--partner", "", "--yes")
    assert run(*retry).exit_code == 1
    assert run("endpoints", "list", "--env", "sandbox", "--partner", "").exit_code == 1
    assert standing(rows, endpoint, event)[0] == "exhausted"


@pytest.mark.parametrize(
    "words", ["", SOME_ID, f"{SOME_ID} {SOME_ID} --partner techmart", "--state pending"]
)
def test_a_retry_names_one_delivery_or_a_search(run: CommandLine, words: str) -> None:
    assert run(f"deliveries retry {UNDER} {words} --yes").exit_code == 2


def test_a_replay_takes_what_did_not_arrive_and_says_where_to_go_on(
    admin: AdminProcess, rows: WebhookRows
) -> None:
    endpoint = rows.endpoint(rows.partner(), events=[EventType.INVENTORY_UPDATED])
    missed = rows.event(age="1 hour")
    failed = rows.delivery(endpoint, state=DeliveryState.EXHAUSTED)
    arrived = rows.delivery(endpoint, state=DeliveryState.DELIVERED)
    rows.event(EventType.INVENTORY_LOW_STOCK)
    client, path = admin.client(), f"/sandbox/endpoints/{endpoint}/replay"
    answer = client.post(path, json={"since": LONG_AGO})
    assert (answer.status_code, answer.json()) == (202, {"scheduled": 2, "next_since": None})
    assert rows.states(endpoint) == {missed: "pending", failed: "pending", arrived: "delivered"}
    again = client.post(path, json={"since": LONG_AGO, "include_delivered": True})
    assert again.json()["scheduled"] == 1
    entries = client.get("/audit", params={"target": f"endpoint:sandbox/{endpoint}"}).json()
    assert [(each["action"], each["after"]) for each in entries["items"]] == [
        (
            "endpoint.replayed",
            {
                "since": LONG_AGO,
                "include_delivered": include_delivered,
                "scheduled": scheduled,
                "next_since": None,
            },
        )
        for include_delivered, scheduled in ((True, 1), (False, 2))
    ]


def test_the_command_line_replays_until_nothing_is_left(
    run: CommandLine, rows: WebhookRows
) -> None:
    endpoint = rows.endpoint(rows.partner())
    many = sql.SQL(
        "INSERT INTO sandbox.events (event_type, occurred_at, data)"
        " SELECT 'inventory.updated', '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 s',"
        " '{{}}' FROM generate_series(1, {}) AS n"
    ).format(REPLAY_MOST + 7)
    rows.owner.execute(many)
    result = run(f"deliveries replay {endpoint} {UNDER} --since 2026-01-01")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{REPLAY_MOST + 7:,} events are sent\n"
    progress = json.loads(result.stderr)
    assert progress == {"done": REPLAY_MOST, "up_to": "2026-01-01T02:46:41Z"}
    assert rows.one("SELECT count(*) FROM {env}.deliveries") == REPLAY_MOST + 7
    again = run.json(f"deliveries replay {endpoint} {UNDER} --since 2026-01-01")
    assert again == {"scheduled": 0, "next_since": None}


def test_a_retry_leads_to_a_real_delivery_though_nobody_is_woken(
    shared: Database, valkey: RunningValkey, tmp_path: Path, run: CommandLine, rows: WebhookRows
) -> None:
    settings = {
        "ENVIRONMENT": Environment.SANDBOX,
        "DATABASE_URL": shared.url("sandbox_webhooks"),
        "QUEUE_URL": valkey.url,
        "MASTER_KEYS": MASTER_KEY,
        "DEVELOPMENT_TARGETS": "true",
        "SMTP_URL": f"smtp://127.0.0.1:{free_port()}",  # nobody is there: no mail is expected
    }
    with ExitStack() as stack, receiving(keeping_open()) as receiver:
        endpoint = rows.endpoint(rows.partner(), url=receiver.url)
        secret = SecretBox(MASTER_KEY).seal(new_secret())
        rows.run("UPDATE {env}.endpoints SET secret = %s", [secret])
        event = rows.delivery(endpoint, state=DeliveryState.EXHAUSTED, attempts=5)
        programs = [Program(name, tmp_path, settings) for name in ("scheduler", "worker")]
        for program in programs:
            stack.callback(program.end)
            program.start()
        for program in programs:
            program.wait_ready()
        assert receiver.connections == 0
        assert run(f"deliveries retry {endpoint} {event} {UNDER}").exit_code == 0
        wait_for(lambda: rows.states(endpoint)[event] == "delivered", "a delivery", within=5)
        assert receiver.connections == 1
    one = run.json(f"deliveries show {endpoint} {event} {UNDER}")
    assert [(each["series"], each["outcome"]) for each in one["attempts"]] == [(2, "delivered")]
