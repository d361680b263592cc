"""The clients of docs/partner/samples, run against a real stack: query, limits, the delta sync."""

import json
import time
import uuid
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import quote

import psycopg
import pytest

from services.local.state import StateFolder, database_url
from tests.e2e.conftest import LocalStack
from tests.samples.languages import Language, in_each
from tests.samples.sandbox_address import SandboxAddress, Scripted
from tools.waiting import wait_for

pytestmark = pytest.mark.long

every = in_each("java", "javascript", "curl")
programs = in_each("java", "javascript")
AWKWARD = 'Ü "quoted" \\ 日本, 1'


def asked(language: Language, sandbox: SandboxAddress, *ids: str) -> CompletedProcess[str]:
    env = {"INVENTORY_URL": sandbox.url, "INVENTORY_KEY": sandbox.key}
    return language.run(language.query, *ids, env=env)


def synced(
    language: Language, sandbox: SandboxAddress, file: Path, *ids: str
) -> CompletedProcess[str]:
    """Run a sync; only the first one waits for what answers can be old, so it need not here."""
    env = {"INVENTORY_URL": sandbox.url, "INVENTORY_KEY": sandbox.key, "OLDEST_SECONDS": "0"}
    done = language.run(language.sync, str(file), *ids, env=env)
    assert done.returncode == 0, done.stderr
    return done


def new_product() -> str:
    return f"SAMPLE-{uuid.uuid4().hex[:8]}"


def remove(stack: LocalStack, product: str) -> None:
    """Remove a product as the warehouse does."""
    state = StateFolder(stack.state_dir)
    record, secrets = state.running(), state.secrets()
    assert record is not None
    assert secrets is not None
    url = database_url(record.ports["postgres"], "sandbox_stock", secrets)
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM sandbox.products WHERE product_id = %s", [product])


@programs
def test_any_number_of_products_is_asked_for_in_batches_of_100(
    language: Language, sandbox: SandboxAddress
) -> None:
    ids = [f"NONE-{number}" for number in range(203)]
    sandbox.set_stock(product := new_product(), 7)
    done = asked(language, sandbox, product, *ids, product)
    assert done.stdout.splitlines() == [
        f"{product} 7 low_stock",
        *(f"{each} is not known" for each in ids),
    ]
    sizes = [len(json.loads(body)["product_ids"]) for _, _, body in sandbox.asked]
    assert sizes == [100, 100, 4]


@programs
def test_an_id_of_any_characters_comes_back_as_it_was(
    language: Language, sandbox: SandboxAddress
) -> None:
    sandbox.set_stock(quote(AWKWARD, safe=""), 3)
    assert asked(language, sandbox, AWKWARD).stdout == f"{AWKWARD} 3 low_stock\n"


@every
def test_a_429_is_waited_for_and_a_503_is_tried_again(
    language: Language, sandbox: SandboxAddress
) -> None:
    sandbox.script = [
        Scripted(429, "RATE_LIMITED", {"Retry-After": "1"}),
        Scripted(503, "SERVICE_UNAVAILABLE"),
    ]
    sandbox.set_stock(product := new_product(), 7)
    began = time.monotonic()
    done = asked(language, sandbox, product)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began > 1
    assert product in done.stdout
    assert len(sandbox.asked) == 3


@every
def test_an_error_that_will_not_pass_is_told_and_not_tried_again(
    language: Language, sandbox: SandboxAddress
) -> None:
    sandbox.key = "pk_test_" + "x" * 33
    done = asked(language, sandbox, "SKU-1")
    assert done.returncode != 0
    assert "UNAUTHORIZED" in done.stdout + done.stderr
    assert len(sandbox.asked) == 1


@programs
def test_the_delta_sync_keeps_a_table_up_to_date(
    language: Language, sandbox: SandboxAddress, stack: LocalStack, tmp_path: Path
) -> None:
    file = tmp_path / "stock"
    listed, other = [new_product() for _ in range(3)], new_product()
    for product in listed[:2]:
        sandbox.set_stock(product, 50)
    assert synced(language, sandbox, file, *listed).stdout == "products changed: 2\n"
    assert synced(language, sandbox, file, *listed).stdout == "products changed: 0\n"

    for product in (listed[0], listed[2], other):
        sandbox.set_stock(product, 9)
    remove(stack, listed[1])
    assert synced(language, sandbox, file, *listed).stdout == "products changed: 3\n"
    assert other not in file.read_text()


@programs
def test_a_product_may_be_called_as_a_part_of_the_program_is(
    language: Language, sandbox: SandboxAddress, tmp_path: Path
) -> None:
    file = tmp_path / "stock"
    odd = ["__proto__", "constructor", "toString", "#cursor"]
    for quantity in (50, 9):
        for product in odd:
            sandbox.set_stock(quote(product), quantity)
        assert synced(language, sandbox, file, *odd).stdout == "products changed: 4\n"
        assert synced(language, sandbox, file, *odd).stdout == "products changed: 0\n"
    assert [each for each in odd if each not in file.read_text()] == []


@programs
def test_what_changes_during_the_first_sync_is_taken_once_and_not_lost(
    language: Language, sandbox: SandboxAddress, tmp_path: Path
) -> None:
    before, after = new_product(), new_product()
    for product in (before, after):
        sandbox.set_stock(product, 50)

    def change_and_see() -> None:
        sandbox.set_stock(before, 8)
        wait_for(lambda: sandbox.stock(before) == 8, "the change in an answer")

    sandbox.before_post = change_and_see
    sandbox.after_post = lambda: sandbox.set_stock(after, 7)
    done = synced(language, sandbox, tmp_path / "stock", before, after)
    # Both were read, and the second changed; the first is told again as it was read.
    assert done.stdout == "products changed: 3\n"


@programs
def test_an_expired_cursor_starts_the_sync_anew(
    language: Language, sandbox: SandboxAddress, tmp_path: Path
) -> None:
    sandbox.set_stock(product := new_product(), 50)
    synced(language, sandbox, tmp_path / "stock", product)
    sandbox.script = [Scripted(410, "CURSOR_EXPIRED")]
    assert synced(language, sandbox, tmp_path / "stock", product).stdout == "products changed: 1\n"


@in_each("curl")
def test_the_shell_follows_the_delta(
    language: Language, sandbox: SandboxAddress, stack: LocalStack, tmp_path: Path
) -> None:
    cursor = tmp_path / "cursor"
    sandbox.set_stock(kept := new_product(), 50)
    sandbox.set_stock(removed := new_product(), 50)
    assert synced(language, sandbox, cursor).stdout == ""
    sandbox.set_stock(kept, 9)
    remove(stack, removed)
    lines = synced(language, sandbox, cursor).stdout.splitlines()
    told = {product: quantity for product, _, quantity in (line.split(" ") for line in lines)}
    assert told == {kept: "9", removed: ""}
    assert synced(language, sandbox, cursor).stdout == ""
