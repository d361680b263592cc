"""One product by every way: hostile ids, as raw bytes, are the same product or the same refusal."""

from collections.abc import Generator
from pathlib import Path

import httpx
import psycopg
import pytest

from services.local.valkey import RunningValkey
from tests.conftest import Database
from tests.every_service import EveryService, every_service
from tests.product_ids import IDS, LOOK_ALIKES, NO_IDS, lightly_escaped, segment


@pytest.fixture
def ways(database: Database, valkey: RunningValkey, tmp_path: Path) -> Generator[EveryService]:
    with every_service(database, valkey, tmp_path) as running:
        yield running


def item_of(answer: httpx.Response) -> tuple[str, int]:
    """Return the product and the quantity that an answer tells."""
    assert answer.status_code in (200, 201), answer.text
    found = answer.json()
    item = found["items"][0] if "items" in found else found
    return item["product_id"], item["quantity"]


def test_a_hostile_id_is_the_same_product_by_every_way(ways: EveryService) -> None:
    assert len(set(IDS)) == len(IDS) >= 50
    expected = {product_id: 10 + number for number, product_id in enumerate(IDS)}
    with ways.owner.cursor() as cursor:
        cursor.executemany("INSERT INTO sandbox.products VALUES (%s, %s)", [*expected.items()])
    for product_id, quantity in expected.items():
        for name, read in ways.reading.items():
            assert item_of(read(product_id.encode())) == (product_id, quantity), name
        path = f"/api/v1/products/{lightly_escaped(product_id)}/stock"
        # httpx resolves dots in a path, as a browser does
        if set(product_id) != {"."}:
            assert item_of(ways.internal.get(path)) == (product_id, quantity)
    for more, (name, write) in enumerate(ways.writing.items(), start=1):
        expected = {product_id: quantity + 1_000 for product_id, quantity in expected.items()}
        for product_id, quantity in expected.items():
            answer = write(product_id.encode(), quantity)
            if name == "import":
                assert (answer.json()["changed"], answer.json()["refused"]) == (1, 0), answer.text
            else:
                assert item_of(answer) == (product_id, quantity), name
        assert ways.stored() == expected, (name, more)


def test_operations_read_set_and_remove_a_look_alike_and_add_none(ways: EveryService) -> None:
    for product_id in LOOK_ALIKES:
        raw = product_id.encode()
        refused = [ways.writing["admin PUT"](raw, 7), ways.writing["import"](raw, 7)]
        assert [answer.status_code for answer in refused] == [400, 200], raw
        assert refused[1].json()["refused"] == 1
        assert ways.stored() == {}
        reasons = [refused[0].json()["message"], refused[1].json()["refused_lines"][0]["reason"]]
        assert all("no invisible characters: U+" in reason for reason in reasons), reasons
        assert item_of(ways.writing["sandbox PUT"](raw, 5)) == (product_id, 5)
        for name, read in ways.reading.items():
            assert item_of(read(raw)) == (product_id, 5), name
        assert item_of(ways.writing["admin PUT"](raw, 6)) == (product_id, 6)
        assert ways.writing["import"](raw, 7).json()["changed"] == 1
        assert ways.stored() == {product_id: 7}
        assert ways.admin.delete(f"/sandbox/stock/{segment(raw)}").status_code == 204


def test_what_can_be_no_id_is_refused_by_every_way_and_nothing_is_stored(
    ways: EveryService,
) -> None:
    for raw in NO_IDS:
        for name, read in ways.reading.items():
            assert read(raw).status_code == (400 if raw else empty(name)), (name, raw)
        for name, write in ways.writing.items():
            if name == "import" and b"\n" in raw:
                continue  # a line break ends a line of the file, within quotes too
            answer = write(raw, 5)
            if name == "import":
                report = answer.json()
                assert (report["added"], report["refused"]) == (0, 1), (raw, answer.text)
            else:
                assert answer.status_code == (400 if raw else empty(name)), (name, raw)
        with pytest.raises((psycopg.DataError, psycopg.IntegrityError)):
            ways.owner.execute(
                "INSERT INTO sandbox.products VALUES (convert_from(%s, 'UTF8'), 5)", [raw]
            )
    assert ways.stored() == {}


def empty(way: str) -> int:
    """Return the status for an id without a character: where it is in a path, there is no path."""
    return 400 if way.startswith("partner") else 404
