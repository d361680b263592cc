"""Request ids: a webhook's log line carries the id of the request that changed the stock (D4)."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from services.core import headers
from tests.chaos.partners import Partners
from tools.chain import Chain, running_chain
from tools.receiver import Behaviour
from tools.receiver_process import running_receiver
from tools.waiting import wait_for

REQUEST_ID = "a-request.of-a_partner-1"


@pytest.fixture
def chain(tmp_path: Path) -> Generator[Chain]:
    with running_chain(tmp_path) as found:
        yield found


@pytest.mark.long
def test_a_webhooks_line_carries_the_request_of_the_change(chain: Chain, tmp_path: Path) -> None:
    chain.start()
    with running_receiver(tmp_path) as receiver:
        partners = Partners(chain, receiver)
        partners.add_to_database()
        partners.register(0)
        partners.register(1)
        receiver.configure(1, partners.secrets_of(1), [Behaviour(500)])
        with chain.partner("techmart") as client:
            sent = {headers.REQUEST_ID: REQUEST_ID}
            path = "/sandbox/inventory/TABLET-1"
            answer = client.put(path, json={"quantity": 100}, headers=sent)
            assert answer.status_code == 200, answer.text
        wait_for(lambda: len(lines(tmp_path, "delivery.")) >= 2, "both attempts logged")
    found = {line["event"]: line["request_id"] for line in lines(tmp_path, "delivery.")}
    assert found == {"delivery.sent": REQUEST_ID, "delivery.failed": REQUEST_ID}
    with chain.owner() as owner:
        owner.execute("UPDATE sandbox.products SET quantity = 90")  # not by an API
        rows = owner.execute("SELECT request_id FROM sandbox.stock_changes ORDER BY id").fetchall()
    assert rows == [(REQUEST_ID,), (None,)]


def lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Return what the worker has logged of a kind."""
    told = (folder / "worker.log").read_text().splitlines()
    found = [json.loads(line) for line in told if line.startswith("{")]
    return [line for line in found if line["event"].startswith(kind)]
