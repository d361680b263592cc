"""Webhooks on a local stack: what its programs do together, and after one of them was killed."""

import os
import re
import signal
import uuid
from collections.abc import Generator
from contextlib import closing, contextmanager

import httpx
import pytest

from services.local.demo_receiver import Receiver
from tests.e2e.conftest import SANDBOX_HOST, WEBHOOKS, LocalStack, register
from tools.waiting import wait_for


@pytest.fixture
def receiver() -> Generator[Receiver]:
    """A partner's endpoint that listens."""
    with closing(Receiver()) as made:
        made.open()
        yield made


@contextmanager
def subscribed(stack: LocalStack, receiver: Receiver) -> Generator[None]:
    """Have a partner's sandbox endpoint called for the length of a with block."""
    key = stack.key("sandbox", partner="qa")
    made = register(stack, key, receiver.url, host=SANDBOX_HOST)
    receiver.secret = made["secret"]
    try:
        yield
    finally:
        with stack.partner(key, host=SANDBOX_HOST) as client:
            assert client.delete(f"{WEBHOOKS}/{made['id']}").status_code == 204


def set_stock(stack: LocalStack, product: str, quantity: int) -> None:
    """Set a product's stock as a partner does in the sandbox."""
    with stack.partner(stack.key("sandbox", partner="qa"), host=SANDBOX_HOST) as client:
        path = f"/partner/v1/sandbox/inventory/{product}"
        assert client.put(path, json={"quantity": quantity}).status_code == 200


def test_killed_deliveries_start_again_and_bring_what_changed_meanwhile(
    stack: LocalStack, receiver: Receiver
) -> None:
    product = f"E2E-{uuid.uuid4().hex[:8]}"
    with subscribed(stack, receiver):
        before = stack.pid("deliveries-sandbox")
        os.kill(before, signal.SIGKILL)
        set_stock(stack, product, 5)
        call = receiver.wait_for(
            lambda call: bool(call.fault) or call.body["data"]["product_id"] == product,
            after=0,
            within=20,
        )
        assert call is not None
        assert call.fault == ""
        assert call.body["data"]["quantity"] == 5
    wait_for(lambda: "deliveries-sandbox is back" in stack.log("supervisor"), "the line for people")
    assert stack.pid("deliveries-sandbox") != before
    said = stack.log("supervisor")
    assert re.search(r"deliveries-sandbox \(port \d+\) ended with SIGKILL; its log is", said)


def test_a_delivery_is_in_the_numbers_that_prometheus_reads(
    stack: LocalStack, receiver: Receiver
) -> None:
    def first_receipts() -> float:
        shown = httpx.get(f"http://127.0.0.1:{stack.base + 200}/metrics", trust_env=False).text
        counted = 'webhook_commit_to_receipt_seconds_count{attempt="first"} '
        (line,) = [line for line in shown.splitlines() if line.startswith(counted)]
        return float(line.removeprefix(counted))

    before = first_receipts()
    product = f"E2E-{uuid.uuid4().hex[:8]}"
    with subscribed(stack, receiver):
        set_stock(stack, product, 5)
        wait_for(lambda: first_receipts() > before, "a receipt in the numbers")
