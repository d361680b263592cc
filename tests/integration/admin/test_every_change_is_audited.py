"""Any change over HTTP, with any text, has its lines in the audit log or changes nothing."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.admin.app import HANDLERS
from services.core.external_text import UNFIT
from services.domain.states import DeliveryState
from tests.admin_process import AdminProcess
from tests.conftest import Database
from tests.webhook_rows import WebhookRows, connect_owner

HOSTILE = st.one_of(
    st.just("\0"),
    st.sampled_from(
        ["", "a\nb", "a\r\ntoken:root", "\x1b[2J", "\x85", "\ud800", "\udcff", "\u2028", "é"]
    ),
    st.sampled_from(
        ["'; --", "%00", "..", ".", "a/b", "%", "{}", "x" * 501, "x" * 1001, "😀" * 64]
    ),
    st.text(st.characters(), max_size=6),
)
TIMES = st.sampled_from(
    ["2030-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "soon", None]
)
NUMBERS = st.sampled_from([0, 7, -1, 2**31, 10**30, 1.5, "7", True, None])
NAMES = ("acme", "techmart", "zeta")

# What a change leaves in the audit log, where that is not one line.
LINES = {"POST /keys/{}/rotate": 2, "POST /sandbox/stock/import": 2}

CHANGED = """
SELECT md5(concat_ws('|',
    (SELECT string_agg(t::text, ',' ORDER BY id) FROM control.partners AS t),
    (SELECT string_agg(t::text, ',' ORDER BY id) FROM control.api_keys AS t),
    (SELECT string_agg(t::text, ',' ORDER BY id) FROM control.tokens AS t),
    (SELECT string_agg(t::text, ',' ORDER BY id) FROM live.partners AS t),
    (SELECT string_agg(t::text, ',' ORDER BY id) FROM sandbox.partners AS t),
    (SELECT string_agg(t::text, ',' ORDER BY id) FROM sandbox.endpoints AS t),
    (SELECT string_agg(t::text, ',' ORDER BY event_id) FROM sandbox.deliveries AS t),
    (SELECT string_agg(t::text, ',' ORDER BY product_id) FROM sandbox.products AS t)
))
"""
NEW_LINES = "SELECT id, actor, action, target, request_id FROM control.audit ORDER BY id"


@dataclass
class World:
    """An admin, and what its database holds."""

    http: httpx.Client
    owner: psycopg.Connection[Any]
    endpoint: UUID
    event: UUID

    def value(self, statement: str) -> Any:  # noqa: ANN401 -- any value
        return self.owner.execute(statement).fetchall()[0][0]  # type: ignore[arg-type]

    def any_key(self) -> str:
        rows = self.owner.execute(
            "SELECT id::text FROM control.api_keys WHERE revoked_at IS NULL AND replaced_by IS NULL"
            " ORDER BY created_at DESC LIMIT 1"
        ).fetchall()
        return rows[0][0] if rows else "pk_test_none"


@pytest.fixture
def world(shared_admin: AdminProcess, stocked: Database) -> Iterator[World]:
    with connect_owner(stocked.owner_url) as owner:
        rows = WebhookRows(owner)
        rows.forget_the_seed()
        rows.set_stock("A", 5)
        endpoint = rows.endpoint(rows.partner("hooked"))
        event = rows.delivery(endpoint, state=DeliveryState.EXHAUSTED)
        http = shared_admin.client()
        for name in NAMES:
            partner = {"name": name, "tier": "basic", "contact": f"a@{name}.example"}
            assert http.post("/partners", json=partner).status_code == 201
        yield World(http, owner, endpoint, event)
        rows.run("DELETE FROM {env}.events")


@dataclass(frozen=True)
class Asked:
    """A request of one change route."""

    route: str  # such as `POST /partners/{}/suspend`
    segment: str | None = None  # the text in the place of {}; None: one that is there
    body: object = None
    query: tuple[tuple[str, str], ...] = ()
    file: str | None = None


def mostly(good: st.SearchStrategy[Any], bad: st.SearchStrategy[Any] = HOSTILE) -> Any:  # noqa: ANN401
    return st.one_of(good, good, bad)


def body(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(fields)


NAME = mostly(st.sampled_from(NAMES))
TIER = mostly(st.sampled_from(["basic", "standard"]))
CONTACT = mostly(st.sampled_from(["a@techmart.example", "b@techmart.example"]))
REASON = mostly(st.sampled_from(["unpaid", "paid", "Straße 日本"]))
PRODUCT = mostly(st.sampled_from(["A", "B"]))
PRESENT = mostly(st.none())  # a key, an endpoint or a delivery that is there
LINE = st.builds("{},{}\n".format, PRODUCT, st.sampled_from(["1", "2", "x", "-1"]))
FLAG = mostly(st.sampled_from(["true", "false"]))
FILE_NAME = mostly(st.sampled_from(["daily.csv", "Täglich 1.csv"]))
IMPORT = st.tuples(
    *(st.tuples(st.just(name), given) for name, given in [("add", FLAG), ("file_name", FILE_NAME)])
)

# Each change route with its texts. A case below compares them with the app's.
ROUTES: dict[str, st.SearchStrategy[Asked]] = {
    "POST /partners": st.builds(
        Asked, st.just("POST /partners"), body=body(name=NAME, tier=TIER, contact=CONTACT)
    ),
    "PATCH /partners/{}": st.builds(
        Asked,
        st.just("PATCH /partners/{}"),
        NAME,
        st.one_of(body(tier=TIER), body(contact=CONTACT)),
    ),
    "POST /partners/{}/suspend": st.builds(
        Asked, st.just("POST /partners/{}/suspend"), NAME, body(reason=REASON)
    ),
    "POST /partners/{}/resume": st.builds(
        Asked, st.just("POST /partners/{}/resume"), NAME, st.one_of(st.none(), body(reason=REASON))
    ),
    "DELETE /partners/{}": st.builds(Asked, st.just("DELETE /partners/{}"), NAME),
    "POST /partners/{}/keys": st.builds(
        Asked,
        st.just("POST /partners/{}/keys"),
        NAME,
        body(environment=mostly(st.just("sandbox")), expires_at=mostly(TIMES)),
    ),
    "POST /keys/{}/rotate": st.builds(
        Asked,
        st.just("POST /keys/{}/rotate"),
        PRESENT,
        st.one_of(st.none(), body(expires_at=TIMES)),
    ),
    "PATCH /keys/{}": st.builds(
        Asked, st.just("PATCH /keys/{}"), PRESENT, body(expires_at=mostly(TIMES))
    ),
    "POST /keys/{}/revoke": st.builds(Asked, st.just("POST /keys/{}/revoke"), PRESENT),
    "POST /tokens": st.builds(
        Asked, st.just("POST /tokens"), body=body(name=NAME, role=mostly(st.just("viewer")))
    ),
    "DELETE /tokens/{}": st.builds(Asked, st.just("DELETE /tokens/{}"), NAME),
    "POST /sandbox/endpoints/{}/disable": st.builds(
        Asked, st.just("POST /sandbox/endpoints/{}/disable"), PRESENT
    ),
    "POST /sandbox/endpoints/{}/enable": st.builds(
        Asked, st.just("POST /sandbox/endpoints/{}/enable"), PRESENT
    ),
    "POST /sandbox/endpoints/{}/replay": st.builds(
        Asked, st.just("POST /sandbox/endpoints/{}/replay"), PRESENT, body(since=mostly(TIMES))
    ),
    "POST /sandbox/deliveries/{}/retry": st.builds(
        Asked, st.just("POST /sandbox/deliveries/{}/retry"), PRESENT
    ),
    "POST /sandbox/deliveries/retry": st.builds(
        Asked,
        st.just("POST /sandbox/deliveries/retry"),
        body=st.just({"deliveries": [{"endpoint_id": "ENDPOINT", "event_id": "EVENT"}]}),
    ),
    "PUT /sandbox/stock/{}": st.builds(
        Asked, st.just("PUT /sandbox/stock/{}"), PRODUCT, body(quantity=mostly(NUMBERS))
    ),
    "DELETE /sandbox/stock/{}": st.builds(Asked, st.just("DELETE /sandbox/stock/{}"), PRODUCT),
    "POST /sandbox/stock/import": st.builds(
        Asked,
        st.just("POST /sandbox/stock/import"),
        query=IMPORT,
        file=st.lists(LINE, max_size=3).map("".join),
    ),
}
NO_CHANGES = {
    "POST /gateway/publish",  # of the nodes, not of what is stored
    "POST /gateway/diff",
}


def test_every_change_route_is_tried() -> None:
    ours = {route.replace("sandbox", "*") for route in ROUTES}
    for handler in HANDLERS:
        (path,), (method, *_) = handler.paths, sorted(handler.http_methods)
        if method == "GET":
            continue
        path = path.replace("{environment:str}", "*").replace("/{event_id:uuid}", "")
        if method in ("PUT", "DELETE"):  # of a product that is called `import`
            path = path.replace("/import", "/{}")
        segments = ["{}" if part.startswith("{") else part for part in path.split("/")]
        route = f"{method} {'/'.join(segments)}"
        assert route in ours | NO_CHANGES, route


def encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def send(world: World, asked: Asked) -> httpx.Response:
    method, path = asked.route.split(" ")
    segment = asked.segment
    if segment is None:
        there = {"keys": world.any_key(), "endpoints": str(world.endpoint)}
        there["deliveries"] = f"{world.endpoint}/{world.event}"
        segment = next((text for kind, text in there.items() if f"/{kind}/" in path), "")
        path = path.replace("{}", segment)
    else:
        path = path.replace("{}", encoded(segment))
    query = "&".join(f"{name}={encoded(text)}" for name, text in asked.query)
    url = f"{path}?{query}" if query else path
    if asked.file is not None:
        content = asked.file.encode("utf-8", "surrogatepass")
        return world.http.request(
            method, url, content=content, headers={"Content-Type": "text/csv"}
        )
    if asked.body is None:
        return world.http.request(method, url)
    # Half of a surrogate pair is sent as its escape, as some JSON writers do.
    headers = {"Content-Type": "application/json"}
    content = json.dumps(asked.body)
    content = content.replace("ENDPOINT", str(world.endpoint)).replace("EVENT", str(world.event))
    return world.http.request(method, url, content=content, headers=headers)


# What answered 503 and had set the stock, and what was a 500.
KNOWN = [
    Asked("POST /sandbox/stock/import", query=(("file_name", "\0"),), file="A,3\n"),
    Asked("DELETE /tokens/{}", "\0"),
]


@given(st.tuples(*ROUTES.values()))
@example(KNOWN)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_change_has_its_lines_in_the_audit_log_or_changes_nothing(
    world: World, several: Sequence[Asked]
) -> None:
    for asked in several:
        world.owner.execute("UPDATE sandbox.deliveries SET state = 'exhausted'")
        before = world.value(CHANGED)
        last = world.value("SELECT coalesce(max(id::text), '') FROM control.audit")
        answer = send(world, asked)
        assert answer.status_code < 500, (asked, answer.text)
        rows = world.owner.execute(NEW_LINES).fetchall()
        lines = [row for row in rows if str(row[0]) > last]
        expected = LINES.get(asked.route, 1)
        if world.value(CHANGED) != before:
            assert (len(lines), answer.is_success) == (expected, True), (asked, answer.text)
        assert len(lines) in {0, expected}, (asked, lines)
        for _, actor, *texts in lines:
            assert actor == "token:tester"
            assert not any(UNFIT.search(text) for text in texts if text)


def test_without_hostile_text_each_change_is_made_and_has_its_lines(world: World) -> None:
    """The case above would hold of an admin that refuses everything."""
    in_order = [
        Asked("POST /partners", body={"name": "new", "tier": "basic", "contact": "a@b.example"}),
        Asked("PATCH /partners/{}", "new", {"tier": "standard"}),
        Asked("POST /partners/{}/suspend", "new", {"reason": "unpaid"}),
        Asked("POST /partners/{}/resume", "new"),
        Asked("POST /partners/{}/keys", "new", {"environment": "live"}),
        Asked("POST /keys/{}/rotate"),
        Asked("PATCH /keys/{}", body={"expires_at": "2050-01-01T00:00:00Z"}),
        Asked("POST /keys/{}/revoke"),
        Asked("DELETE /partners/{}", "new"),
        Asked("POST /tokens", body={"name": "bot", "role": "viewer"}),
        Asked("DELETE /tokens/{}", "bot"),
        Asked("POST /sandbox/endpoints/{}/disable"),
        Asked("POST /sandbox/endpoints/{}/enable"),
        Asked("POST /sandbox/deliveries/{}/retry"),
        Asked("PUT /sandbox/stock/{}", "B", {"quantity": 7}),
        Asked("POST /sandbox/stock/import", query=(("file_name", "d.csv"),), file="B,8\n"),
        Asked("DELETE /sandbox/stock/{}", "B"),
    ]
    for asked in in_order:
        before = world.value("SELECT count(*) FROM control.audit")
        was = world.value(CHANGED)
        answer = send(world, asked)
        assert answer.is_success, (asked, answer.text)
        assert world.value(CHANGED) != was, asked
        assert world.value("SELECT count(*) FROM control.audit") - before == LINES.get(
            asked.route, 1
        )
    not_here = {"POST /sandbox/endpoints/{}/replay", "POST /sandbox/deliveries/retry"}
    assert {each.route for each in in_order} | not_here == {*ROUTES}
