"""The receivers of docs/partner/samples, called by a real stack and by somebody else."""

import base64
import json
import subprocess
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from services.local.demo_receiver import Receiver as RecordingReceiver
from tests.samples.languages import SAMPLES, WITHIN, Language, environment, in_each, receiving
from tests.samples.sandbox_address import SandboxAddress

pytestmark = pytest.mark.long

programs = in_each("java", "javascript")
ALL = ["inventory.updated", "inventory.low_stock", "inventory.out_of_stock"]
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@contextmanager
def registered(sandbox: SandboxAddress, url: str, secret: str, *events: str) -> Generator[str]:
    """Register a webhook for the length of a with block; return its id."""
    asked = {"url": url, "events": events or ALL, "secret": secret}
    webhook: str = sandbox.call("POST", "/webhooks", asked).json()["id"]
    try:
        yield webhook
    finally:
        sandbox.call("DELETE", f"/webhooks/{webhook}")


def new_product() -> str:
    return f"SAMPLE-{uuid.uuid4().hex[:8]}"


def event(product: str, version: int, quantity: int = 9) -> dict[str, Any]:
    now = "2026-11-22T09:30:41.070022Z"
    return {
        "event_id": str(uuid.uuid4()),
        "event_type": "inventory.low_stock",
        "timestamp": now,
        "data": {
            "product_id": product,
            "quantity": quantity,
            "status": "low_stock",
            "updated_at": now,
            "version": version,
        },
        "retry_count": 0,
    }


def sent(url: str, body: bytes, *, age: int = 0, tamper: bool = False) -> int:
    """Send a body, signed by a library that is not ours; return the status of the answer."""
    at = datetime.now(UTC) - timedelta(seconds=age)
    message_id = json.loads(body)["event_id"]
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(message_id, at, body.decode()),
    }
    content = body.replace(b'"quantity": 9', b'"quantity": 8') if tamper else body
    assert tamper == (content != body)
    return httpx.post(url, content=content, headers=headers, trust_env=False).status_code


@programs
@pytest.mark.parametrize("secret", [SECRET, "a text of our own: Grüße"], ids=["whsec", "text"])
def test_real_events_are_verified_and_taken(
    language: Language, sandbox: SandboxAddress, tmp_path: Path, secret: str
) -> None:
    product = new_product()
    with (
        receiving(language, tmp_path, secret) as receiver,
        registered(sandbox, receiver.url, secret) as webhook,
    ):
        sandbox.call("POST", f"/webhooks/{webhook}/ping")
        receiver.wait_for("webhook.ping")
        sandbox.set_stock(product, 50)
        receiver.wait_for(f"inventory.updated {product} 50")
        sandbox.set_stock(product, 9)
        receiver.wait_for(f"inventory.updated {product} 9")
        receiver.wait_for(f"inventory.low_stock {product} 9")
        assert not any(line.startswith("refused") for line in receiver.lines())


def encoded(length: int) -> str:
    return "whsec_" + base64.b64encode(bytes(length)).decode()


WEAK = (
    "whsec_",
    "whsec_%",
    "whsec_" + "A" * 40 + "%",
    encoded(23),
    encoded(65),
    "a" * 15,
    "a" * 129,
)


@programs
def test_a_receiver_does_not_start_with_a_secret_that_is_none(language: Language) -> None:
    for secret in ("", *WEAK):
        done = language.run(language.receiver, env={"PORT": "0", "WEBHOOK_SECRET": secret})
        assert done.returncode != 0
        rule = "base64 of 24 to 64 bytes" if secret else "set WEBHOOK_SECRET"
        assert rule in done.stderr
    both = {"PORT": "0", "WEBHOOK_SECRET": SECRET, "WEBHOOK_SECRET_NEXT": "whsec_"}
    assert "base64 of 24 to 64 bytes" in language.run(language.receiver, env=both).stderr


@programs
@pytest.mark.parametrize("secret", [encoded(24), encoded(64), "ä" * 16, "😀" * 128])
def test_a_receiver_starts_with_the_shortest_and_the_longest_secrets(
    language: Language, tmp_path: Path, secret: str
) -> None:
    with receiving(language, tmp_path, secret):
        pass


@pytest.mark.needs("openssl")
def test_the_shell_signs_with_no_secret_that_anybody_could_guess() -> None:
    for secret in ("", "whsec_", encoded(23), "a" * 15):
        done = subprocess.run(
            [str(SAMPLES / "curl" / "sign.sh"), "id", "1"],
            env=environment({"WEBHOOK_SECRET": secret}),
            input="",
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert "base64 of 24 to 64 bytes" in done.stderr


@programs
def test_the_old_secret_is_enough_while_a_new_one_is_introduced(
    language: Language, sandbox: SandboxAddress, tmp_path: Path
) -> None:
    with (
        receiving(language, tmp_path, SECRET) as receiver,
        registered(sandbox, receiver.url, SECRET) as webhook,
    ):
        sandbox.call("POST", f"/webhooks/{webhook}/secret/rotate")
        sandbox.call("POST", f"/webhooks/{webhook}/ping")
        receiver.wait_for("webhook.ping")


@programs
def test_what_comes_twice_is_taken_once(
    language: Language, sandbox: SandboxAddress, tmp_path: Path
) -> None:
    product = new_product()
    with (
        receiving(language, tmp_path, SECRET) as receiver,
        registered(sandbox, receiver.url, SECRET, "inventory.updated") as webhook,
    ):
        simulation = {"outcome": "duplicate", "attempts": 1}
        sandbox.call("PUT", f"/sandbox/webhooks/{webhook}/simulation", simulation)
        sandbox.set_stock(product, 50)
        receiver.wait_for(f"inventory.updated {product} 50")
        (delivery,) = sandbox.call("GET", f"/webhooks/{webhook}/deliveries").json()["items"]
        receiver.wait_for(f"duplicate: inventory.updated {delivery['event_id']}")


@programs
def test_an_older_version_is_ignored_and_an_equal_one_is_taken(
    language: Language, tmp_path: Path
) -> None:
    with receiving(language, tmp_path, SECRET) as receiver:
        statuses = [
            sent(receiver.url, json.dumps(event("SKU-1", version)).encode())
            for version in (2**40, 2**40 - 1, 2**40, 2**40 + 1)
        ]
        assert statuses == [204] * 4
        taken = "inventory.low_stock SKU-1 9"
        assert receiver.lines()[1:] == [taken, "older: inventory.low_stock SKU-1", taken, taken]


@programs
def test_a_changed_and_an_old_message_are_refused(language: Language, tmp_path: Path) -> None:
    body = json.dumps(event("SKU-1", 1)).encode()
    with receiving(language, tmp_path, SECRET) as receiver:
        assert sent(receiver.url, body, tamper=True) == 401
        assert sent(receiver.url, body, age=301) == 401
        assert sent(receiver.url, body, age=-310) == 401
        assert httpx.post(receiver.url, content=body, trust_env=False).status_code == 401
        large = httpx.post(receiver.url, content=b" " * 70_000, trust_env=False)
        assert large.status_code == 413
        assert sent(receiver.url, body) == 204  # none of them was noted as seen
        assert receiver.lines()[-1] == "inventory.low_stock SKU-1 9"


@programs
def test_a_type_and_a_field_that_are_newer_than_the_program_do_no_harm(
    language: Language, tmp_path: Path
) -> None:
    newer = event("SKU-1", 1) | {"event_type": "inventory.renamed", "why": {"new": [1.5, True]}}
    newer["data"] = {"anything": "else"}
    with receiving(language, tmp_path, SECRET) as receiver:
        assert sent(receiver.url, json.dumps(newer).encode()) == 204
        assert receiver.lines()[-1] == "inventory.renamed"


@programs
@pytest.mark.needs("curl", "openssl")
def test_the_shell_tries_a_receiver_that_nothing_can_reach_yet(
    language: Language, tmp_path: Path
) -> None:
    script = str(SAMPLES / "curl" / "send.sh")
    with receiving(language, tmp_path, SECRET) as receiver:
        answers = [
            subprocess.run(
                [script, receiver.url, *arguments],
                env=environment({"WEBHOOK_SECRET": SECRET}),
                capture_output=True,
                text=True,
                timeout=WITHIN,
                check=True,
            ).stdout
            for arguments in ([], ["600"], ["0", "tamper"])
        ]
    assert answers == ["204\n", "401\n", "401\n"]


@pytest.mark.needs("curl", "openssl")
def test_the_shell_registers_and_computes_a_real_events_signature(
    sandbox: SandboxAddress,
) -> None:
    recorded: list[tuple[dict[str, str], bytes]] = []

    class Recording(RecordingReceiver):
        def take(self, headers: Any, body: bytes) -> int:  # noqa: ANN401
            recorded.append((dict(headers), body))
            return super().take(headers, body)

    receiver = Recording()
    receiver.open()
    receiver.secret = SECRET
    known = {
        "INVENTORY_URL": sandbox.url,
        "INVENTORY_KEY": sandbox.key,
        "WEBHOOK_SECRET": SECRET,
    }
    registered = subprocess.run(
        [str(SAMPLES / "curl" / "register.sh"), receiver.url, "inventory.updated"],
        env=environment(known),
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=True,
    )
    webhook = json.loads(registered.stdout)
    assert webhook["secret"] == SECRET
    sandbox.set_stock(new_product(), 50)
    call = receiver.wait_for(lambda call: not call.fault, after=0, within=WITHIN)
    receiver.close()
    sandbox.call("DELETE", f"/webhooks/{webhook['id']}")
    assert call is not None
    headers, body = recorded[0]
    headers = {name.lower(): value for name, value in headers.items()}
    signed = subprocess.run(
        [
            str(SAMPLES / "curl" / "sign.sh"),
            headers["webhook-id"],
            headers["webhook-timestamp"],
        ],
        env=environment(known),
        input=body,
        capture_output=True,
        timeout=WITHIN,
        check=True,
    )
    assert signed.stdout.decode().strip() == headers["webhook-signature"]
