"""The client and its samples against real services, through the gateway."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from partner_inventory import (
    ConflictError,
    Delivery,
    InvalidRequestError,
    Listing,
    NotAllowedError,
    NotFoundError,
    PartnerInventory,
)
from services.local.state import StateFolder, database_url
from tests.e2e.conftest import REPOSITORY, SANDBOX_HOST, LocalStack
from tests.samples.sandbox_address import SandboxAddress
from tools.contract.check import partner_client
from tools.waiting import wait_for

pytestmark = pytest.mark.long

PARTNER_SAMPLES = REPOSITORY / "docs" / "partner" / "samples" / "python"
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD1kXH6bXzBhs="
ALL = ["inventory.updated", "inventory.low_stock", "inventory.out_of_stock"]
OLDEST = 2.0  # seconds; 30 by the contract, but nothing fails here, and then it is less than 1
WITHIN = 30.0  # seconds for one run of a sample
LISTENING = "listening on port "


class Recording(PartnerInventory):
    """Notes which public names were used."""

    used: set[str]

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 -- of any attribute
        if not name.startswith("_") and name != "used":
            self.__dict__.setdefault("used", set()).add(name)
        return super().__getattribute__(name)


@pytest.fixture
def sandbox(stack: LocalStack) -> Generator[Recording]:
    """The sandbox; every answer is held against the contract."""
    gateway = f"http://127.0.0.1:{stack.base}"
    with (
        partner_client(gateway, host=SANDBOX_HOST) as http,
        Recording(gateway, stack.key("sandbox", partner="qa"), http=http) as made,
    ):
        yield made


@contextmanager
def stock_table(stack: LocalStack) -> Generator[psycopg.Connection[Any]]:
    """Open the sandbox's stock as the warehouse does."""
    state = StateFolder(stack.state_dir)
    record, secrets = state.running(), state.secrets()
    assert record is not None
    assert secrets is not None
    url = database_url(record.ports["postgres"], "sandbox_stock", secrets)
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


class Receiver:
    """The sample receiver, running; what it prints is in a file."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "receiver.log"
        self.database = folder / "received.db"
        given = {**os.environ, "WEBHOOK_SECRET": SECRET, "PORT": "0"}
        command = [sys.executable, str(PARTNER_SAMPLES / "receive_webhooks.py"), self.database]
        with self.log.open("w") as output:
            self.process = subprocess.Popen(command, env=given, stdout=output, stderr=output)
        self.wait_for(LISTENING)
        port = self.log.read_text().partition(LISTENING)[2].split()[0]
        self.url = f"http://127.0.0.1:{port}/hooks/stock"

    def wait_for(self, line: str, times: int = 1) -> None:
        """Wait until it has printed a line so often."""
        wait_for(lambda: self.log.read_text().count(line) >= times, f"{line!r} of the receiver")

    def received(self, product: str) -> tuple[int, int]:
        """Return the quantity and version that it stored."""
        query = "SELECT quantity, version FROM received_stock WHERE product_id = ?"
        with closing(sqlite3.connect(self.database)) as database:
            return database.execute(query, [product]).fetchone()

    def close(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(WITHIN)


@pytest.fixture
def receiver(tmp_path: Path) -> Generator[Receiver]:
    with closing(Receiver(tmp_path)) as running:
        yield running


def new_product() -> str:
    return f"PYTHON-{uuid.uuid4().hex[:8]}"


def test_every_method_does_what_it_says(sandbox: Recording, receiver: Receiver) -> None:
    _query(sandbox)
    made = sandbox.register_webhook(receiver.url, ALL, secret=SECRET)
    assert made.secret == SECRET
    webhook = made.webhook.id
    try:
        _deliver(sandbox, receiver, webhook)
        _send_again(sandbox, receiver, webhook)
        _rotate(sandbox, receiver, webhook)
        _change(sandbox, webhook)
    finally:
        sandbox.delete_webhook(webhook)
    with pytest.raises(NotFoundError):
        sandbox.webhook(webhook)
    assert webhook not in [each.id for each in sandbox.webhooks()]
    assert "refused" not in receiver.log.read_text()
    sandbox.close()
    public = {name for name in vars(PartnerInventory) if not name.startswith("_")}
    assert sandbox.used == public


def _query(sandbox: PartnerInventory) -> None:
    """Stock by both ways, ids of any characters, changes and their pages, the documents."""
    cursor = sandbox.changes().next_cursor
    products = [new_product() + '/,ä " \\%2F' for _ in range(3)]
    for product in products:
        assert sandbox.set_stock(product, 9).status == "low_stock"
    unknown = [f"NONE-{number}" for number in range(150)]
    stock = sandbox.stock([*unknown, *products])
    assert [each.product_id for each in stock.items] == products
    assert stock.not_found == unknown
    plain = new_product()
    item = sandbox.set_stock(plain, 12)
    assert sandbox.stock_by_get([plain, "NONE-1"]).items == [item]
    told = [each for page in sandbox.follow(cursor, limit=2) for each in page.items]
    assert {plain, *products} <= {each.product_id for each in told}
    assert sandbox.limit is not None
    assert sandbox.limit.remaining < sandbox.limit.requests
    assert sandbox.contract().startswith("openapi: 3.0.3")
    assert "<html" in sandbox.contract_page()


def _deliver(sandbox: PartnerInventory, receiver: Receiver, webhook: str) -> None:
    """A ping, a change, and one that comes twice arrive verified, and are taken once."""
    ping = sandbox.ping(webhook)
    receiver.wait_for("webhook.ping\n")
    wait_for(lambda: sandbox.delivery(webhook, ping).state == "delivered", "the ping's log")
    assert [each.outcome for each in sandbox.delivery(webhook, ping).attempts] == ["delivered"]

    product = new_product()
    sandbox.set_stock(product, 50)
    receiver.wait_for(f"inventory.updated {product} 50\n")
    item = sandbox.set_stock(product, 9)
    receiver.wait_for(f"inventory.updated {product} 9\n")
    receiver.wait_for(f"inventory.low_stock {product} 9\n")
    assert receiver.received(product) == (9, item.version)

    assert sandbox.simulate(webhook, "duplicate", 1).attempts == 1
    twice = sandbox.ping(webhook)
    receiver.wait_for(f"duplicate: webhook.ping {twice}")


def _send_again(sandbox: PartnerInventory, receiver: Receiver, webhook: str) -> None:
    """A delivery that fails is in the log; a retry and a replay bring it."""
    since = datetime.now(UTC) - timedelta(seconds=1)
    assert sandbox.simulate(webhook, "server_error", 100).outcome == "server_error"
    product = new_product()
    sandbox.set_stock(product, 9)

    def first() -> Delivery | None:
        found = sandbox.delivery_page(webhook, limit=100).items
        return next((each for each in found if each.product_id == product), None)

    def failed() -> bool:
        seen = first()
        return seen is not None and bool(seen.attempts)

    wait_for(failed, "a failed attempt")
    event = first()
    assert event is not None
    assert event.attempts[0].status == 500
    with pytest.raises(ConflictError) as told:
        sandbox.retry_delivery(webhook, event.event_id)
    assert told.value.code == "DELIVERY_IN_PROGRESS"
    sandbox.end_simulation(webhook)
    receiver.wait_for(f"inventory.updated {product} 9\n")
    wait_for(lambda: sandbox.delivery(webhook, event.event_id).state == "delivered", "its state")

    assert sandbox.retry_delivery(webhook, event.event_id).series == 2
    receiver.wait_for(f"duplicate: inventory.updated {event.event_id}")
    wait_for(lambda: sandbox.delivery(webhook, event.event_id).state == "delivered", "its state")
    assert sandbox.replay(webhook, datetime.now(UTC)).scheduled == 0
    assert sandbox.replay_everything(webhook, since, include_delivered=True) > 0
    receiver.wait_for(f"duplicate: inventory.updated {event.event_id}", times=2)
    every = list(sandbox.deliveries(webhook))
    assert event.event_id in [each.event_id for each in every]
    assert len({each.event_id for each in every}) == len(every)


def _rotate(sandbox: PartnerInventory, receiver: Receiver, webhook: str) -> None:
    """During the overlap the receiver goes on with the secret that it has."""
    rotated = sandbox.rotate_secret(webhook, overlap_hours=1)
    assert rotated.secret != SECRET
    assert sandbox.webhook(webhook).previous_secret_until == rotated.previous_secret_until
    before = receiver.log.read_text().count("webhook.ping\n")
    sandbox.ping(webhook)
    receiver.wait_for("webhook.ping\n", times=before + 1)
    sandbox.drop_previous_secret(webhook)
    assert sandbox.webhook(webhook).previous_secret_until is None


def _change(sandbox: PartnerInventory, webhook: str) -> None:
    assert sandbox.change_webhook(webhook, events=ALL[:1]).events == ALL[:1]
    assert sandbox.change_webhook(webhook, state="disabled").disabled_reason == "by_partner"
    with pytest.raises(ConflictError) as told:
        sandbox.ping(webhook)
    assert told.value.code == "WEBHOOK_DISABLED"


def test_refusals_are_named_by_what_to_do(stack: LocalStack) -> None:
    gateway = f"http://127.0.0.1:{stack.base}"
    with partner_client(gateway) as http:
        live = PartnerInventory(gateway, stack.key(partner="qa"), http=http)
        wrong = PartnerInventory(gateway, "pk_live_" + "x" * 33, http=http)
        of_sandbox = PartnerInventory(gateway, stack.key("sandbox", partner="qa"), http=http)
        with pytest.raises(NotAllowedError, match="401 UNAUTHORIZED"):
            wrong.stock(["SKU-1"])
        with pytest.raises(NotAllowedError, match="403 FORBIDDEN"):
            of_sandbox.stock(["SKU-1"])
        with pytest.raises(InvalidRequestError, match="400 INVALID_REQUEST") as told:
            live.stock([""])
        assert told.value.request_id
        with pytest.raises(InvalidRequestError, match="BATCH_SIZE_EXCEEDED"):
            live.stock_by_get([str(number) for number in range(101)])
        with pytest.raises(NotFoundError):
            live.set_stock("SKU-1", 1)


def test_a_table_that_is_kept_by_the_delta_is_equal_after_changes_of_all_kinds_at_once(
    stack: LocalStack, sandbox: Recording, tmp_path: Path
) -> None:
    prefix = new_product()
    products = [f"{prefix}-{number}" for number in range(120)]
    with (
        stock_table(stack) as warehouse,
        closing(sqlite3.connect(tmp_path / "stock.db")) as database,
        changing(stack, sandbox, products) as changed,
    ):
        listing = Listing(sandbox, database, products, oldest=OLDEST)
        for _ in range(8):  # while stock changes
            listing.sync()
            time.sleep(0.1)
        wait_for(lambda: changed() > 100, "a hundred changes")
        listing.sync()
    # Nobody changes anything now: a walk that tells nothing has told all.
    with (
        stock_table(stack) as warehouse,
        closing(sqlite3.connect(tmp_path / "stock.db")) as database,
    ):
        listing = Listing(sandbox, database, products, oldest=OLDEST)
        listing.sync()
        rows = warehouse.execute(
            "SELECT product_id, quantity, version FROM sandbox.products"
            " WHERE starts_with(product_id, %s)",
            [prefix],
        ).fetchall()
        assert sorted((each.product_id, each.quantity, each.version) for each in listing) == sorted(
            rows
        )
    assert 0 < len(rows) < len(products)  # some were removed at the end


@contextmanager
def changing(
    stack: LocalStack, sandbox: PartnerInventory, products: list[str]
) -> Generator[Callable[[], int]]:
    """Change and remove products from two sides for the length of a with block; give the count."""
    stop = threading.Event()
    done = [0, 0]

    def set_stock() -> None:
        chance = random.Random(1)
        while not stop.is_set():
            sandbox.set_stock(chance.choice(products), chance.randint(0, 30))
            done[0] += 1

    def remove() -> None:
        chance = random.Random(2)
        with stock_table(stack) as warehouse:
            while not stop.wait(0.01):
                warehouse.execute(
                    "DELETE FROM sandbox.products WHERE product_id = %s", [chance.choice(products)]
                )
                done[1] += 1

    threads = [threading.Thread(target=each, daemon=True) for each in (set_stock, remove)]
    for each in threads:
        each.start()
    try:
        yield lambda: min(done)
    finally:
        stop.set()
        for each in threads:
            each.join(WITHIN)


@pytest.fixture
def address(stack: LocalStack) -> Generator[SandboxAddress]:
    """The sandbox under an address that Python resolves on any machine."""
    gateway = f"http://127.0.0.1:{stack.base}"
    with closing(SandboxAddress(gateway, stack.key("sandbox", partner="qa"))) as made:
        yield made


def run_sample(name: str, address: SandboxAddress, *arguments: str, **variables: str) -> str:
    """Run a sample as a partner does; return what it printed."""
    known = {"INVENTORY_URL": address.url, "INVENTORY_KEY": address.key, "OLDEST_SECONDS": "1"}
    done = subprocess.run(
        [sys.executable, PARTNER_SAMPLES / name, *arguments],
        env={**os.environ, **known, **variables},
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_samples_query_and_sync(address: SandboxAddress, tmp_path: Path) -> None:
    file = str(tmp_path / "stock.db")
    address.set_stock(product := new_product(), 9)
    assert run_sample("query_stock.py", address, product, "NONE") == (
        f"{product} 9 low_stock\nNONE is not known\n"
    )
    assert run_sample("sync_listing.py", address, file, product) == "products changed: 1\n"
    address.set_stock(product, 8)
    assert run_sample("sync_listing.py", address, file, product) == "products changed: 1\n"
    assert run_sample("sync_listing.py", address, file, product) == "products changed: 0\n"


def test_the_sample_registers_and_shows_what_became_of_a_ping(
    address: SandboxAddress, receiver: Receiver
) -> None:
    printed = run_sample("register_webhook.py", address, receiver.url, WEBHOOK_SECRET=SECRET)
    registered, pinged = printed.splitlines()
    try:
        assert pinged == "ping: delivered 204"
        receiver.wait_for("webhook.ping\n")
    finally:
        address.call("DELETE", f"/webhooks/{registered.removeprefix('registered ')}")
