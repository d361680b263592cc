"""Random sequences of stock changes: each gives its events, and nothing else does (W3)."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from services.core.environments import Environment
from services.domain.events import STOCK_EVENTS, EventType
from services.webhooks.relay.relay import Relay
from services.webhooks.sessions import Session
from tests.recorded_wakeups import RecordedWakeups
from tests.webhook_rows import WebhookRows

UPDATED, LOW, OUT = STOCK_EVENTS
PRODUCTS = ("A", "B", "C")
SUBSCRIPTIONS = ([UPDATED], [LOW], [OUT], [LOW, OUT], [UPDATED, LOW, OUT])

# What a partner would be told, by product: how often, of which type, with which quantity.
Told = Counter[tuple[str, EventType, int]]
Step = tuple[str, dict[str, int]]

quantities = st.one_of(st.sampled_from([0, 1, 9, 10, 11, 12]), st.integers(0, 2**31 - 1))
# Each step is one statement: set, remove, or set many at once out of a staging table.
steps = st.one_of(
    st.tuples(st.just("set"), st.dictionaries(st.sampled_from(PRODUCTS), quantities, max_size=1)),
    st.tuples(st.just("remove"), st.dictionaries(st.sampled_from(PRODUCTS), st.just(0))),
    st.tuples(st.just("bulk"), st.dictionaries(st.sampled_from(PRODUCTS), quantities)),
    st.tuples(st.just("merge"), st.dictionaries(st.sampled_from(PRODUCTS), quantities)),
)
transactions = st.lists(
    st.tuples(st.lists(steps, max_size=4), st.sampled_from(["commit", "commit", "roll back"])),
    max_size=6,
)


class Partner:
    """What W3 says that a partner is told, in its own words: above 10, 1 to 10, 0."""

    def __init__(self) -> None:
        self.stock: dict[str, int] = {}
        self.told: Told = Counter()

    def sees(self, product: str, quantity: int | None) -> None:
        """Follow one committed change of one product."""
        if quantity is None:
            self.stock.pop(product, None)
            return
        before = self.stock.get(product)
        self.stock[product] = quantity
        if before == quantity:
            return
        self.told[product, UPDATED, quantity] += 1
        if before is not None and before > 0 and quantity == 0:
            self.told[product, OUT, quantity] += 1
        if before is not None and before > 10 and 1 <= quantity <= 10:
            self.told[product, LOW, quantity] += 1


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(done=transactions)
def test_every_change_is_one_update_and_every_fall_one_more_event(
    rows: WebhookRows, session: Session, done: list[tuple[list[Step], str]]
) -> None:
    start_again(rows)
    partner_id = rows.partner()
    endpoints = {rows.endpoint(partner_id, events=types): types for types in SUBSCRIPTIONS}
    partner = Partner()
    for statements, ending in done:
        run_transaction(rows, partner, statements, commit=ending == "commit")
    relay = Relay("", Environment.SANDBOX, RecordedWakeups(), poll_seconds=1, batch=2)
    while relay.relay_batch(session):
        pass
    for endpoint_id, types in endpoints.items():
        expected = Counter({k: n for k, n in partner.told.items() if k[1] in types})
        assert delivered_to(rows, endpoint_id) == expected
    assert rows.one("SELECT count(*) FROM {env}.events") == partner.told.total()
    latest = latest_told(rows)
    assert {k: latest[k] for k in partner.stock} == partner.stock


def start_again(rows: WebhookRows) -> None:
    rows.run("DELETE FROM {env}.partners")
    rows.run("DELETE FROM {env}.events")
    rows.forget_the_seed()


def run_transaction(
    rows: WebhookRows, partner: Partner, statements: Sequence[Step], *, commit: bool
) -> None:
    """Run statements in one transaction; the partner follows them if it is committed."""
    seen: list[tuple[str, int | None]] = []
    stock = dict(partner.stock)
    with rows.owner.transaction(force_rollback=not commit):
        for kind, quantities_by_product in statements:
            seen.extend(run_statement(rows, stock, kind, quantities_by_product))
    if commit:
        for product, quantity in seen:
            partner.sees(product, quantity)


def run_statement(
    rows: WebhookRows, stock: dict[str, int], kind: str, given: dict[str, int]
) -> list[tuple[str, int | None]]:
    """Run one statement and return what it sets; `stock` follows."""
    if kind == "set":
        for product, quantity in given.items():
            rows.set_stock(product, quantity)
    elif kind == "remove":
        rows.run("DELETE FROM {env}.products WHERE product_id = ANY (%s)", [list(given)])
        for product in given:
            stock.pop(product, None)
        return [(product, None) for product in given]
    elif kind == "bulk":
        given = {product: given[product] for product in given if product in stock}
        rows.run("CREATE TEMP TABLE staging (product_id text, quantity int) ON COMMIT DROP")
        with rows.owner.cursor().copy("COPY staging FROM STDIN") as copy:
            for row in given.items():
                copy.write_row(row)
        rows.run(
            "UPDATE {env}.products SET quantity = staging.quantity FROM staging"
            " WHERE products.product_id = staging.product_id"
        )
        rows.run("DROP TABLE staging")
    else:
        rows.run(
            "MERGE INTO {env}.products USING jsonb_each_text(%s) AS source ON product_id = key"
            " WHEN MATCHED THEN UPDATE SET quantity = value::int"
            " WHEN NOT MATCHED THEN INSERT (product_id, quantity) VALUES (key, value::int)",
            [Jsonb(given)],
        )
    stock.update(given)
    return list(given.items())


def delivered_to(rows: WebhookRows, endpoint_id: object) -> Told:
    found = rows.run(
        "SELECT product_id, event_type, (data::jsonb ->> 'quantity')::int"
        " FROM {env}.deliveries JOIN {env}.events ON events.id = event_id"
        " WHERE endpoint_id = %s",
        [endpoint_id],
    )
    return Counter((product, EventType(kind), quantity) for product, kind, quantity in found)


def latest_told(rows: WebhookRows) -> dict[str, int]:
    """Return the quantity of each product's highest version, as a receiver would keep it."""
    return dict(
        rows.run(
            "SELECT DISTINCT ON (product_id) product_id, (data::jsonb ->> 'quantity')::int"
            " FROM {env}.events ORDER BY product_id, version DESC"
        )
    )
