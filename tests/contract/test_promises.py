"""Contract: the delivery schedule and the worked signatures are what the code does."""

import base64
import hmac
import json
import re
from datetime import UTC, datetime

import pytest
from msgspec.structs import fields
from standardwebhooks import Webhook

from services.webhooks.delivery.schedule import JITTER
from services.webhooks.delivery.signatures import signature_headers
from services.webhooks.secrets import whsec_form
from services.webhooks.settings import WorkerSettings
from tools.contract.document import expand, load_document

document = load_document()
operations = {
    operation["operationId"]: operation
    for item in document["paths"].values()
    for operation in item.values()
}


def test_the_delivery_schedule_is_that_of_the_settings() -> None:
    """Each row is a bound of the delay before an attempt, after the one before has failed."""
    told = " ".join(document["info"]["description"].split())
    delays = [
        float(each)
        for each in {field.name: field.default for field in fields(WorkerSettings)}[
            "retry_delays_seconds"
        ].split(",")
    ]
    bounds = [(delay * (1 - JITTER), delay * (1 + JITTER)) for delay in delays]
    rows = re.findall(r"\| \w+ \| [1-4] \| ([\d]+) to ([\d]+) (s|min) after", told)
    unit = {"s": 1, "min": 60}
    shown = [(int(low) * unit[each], int(high) * unit[each]) for low, high, each in rows]
    assert shown == [pytest.approx(each) for each in bounds]


def worked_examples() -> list[dict[str, str]]:
    """Return the blocks that show a signature, the second with what it has in common filled in."""
    blocks = re.findall(r"```\n(secret .*?)```", document["info"]["description"], re.DOTALL)
    read = [dict(line.split(None, 1) for line in block.strip().split("\n")) for block in blocks]
    return [{**read[0], **each} for each in read]


@pytest.mark.parametrize("example", worked_examples(), ids=["whsec", "text"])
def test_the_worked_signature_verifies(example: dict[str, str]) -> None:
    """Computed from the document's own words, then by the reference library, then by our code."""
    secret, body = example["secret"], example["body"].encode()
    is_whsec = secret.startswith("whsec_")
    key = base64.b64decode(secret.removeprefix("whsec_")) if is_whsec else secret.encode()
    signed = f"{example['webhook-id']}.{example['webhook-timestamp']}.".encode() + body
    digest = hmac.new(key, signed, "sha256").digest()
    assert example["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert example["X-Signature"] == f"sha256={hmac.new(key, body, 'sha256').hexdigest()}"

    whsec = "whsec_" + base64.b64encode(key).decode()
    sent_at = datetime.fromtimestamp(int(example["webhook-timestamp"]), UTC)
    library = Webhook(whsec)  # its verify() would find the example's timestamp too old
    assert (
        library.sign(example["webhook-id"], sent_at, body.decode())
        == (example["webhook-signature"])
    )
    ours = signature_headers(
        [whsec_form(secret)],
        message_id=example["webhook-id"],
        timestamp=int(example["webhook-timestamp"]),
        body=body,
    )
    assert ours == {name: example[name] for name in ours}


def test_the_worked_signature_is_of_the_example_event_and_of_the_example_headers() -> None:
    first, second = worked_examples()
    sent = operations["registerWebhook"]["callbacks"]["event"]["{$request.body#/url}"]["post"]
    media = sent["requestBody"]["content"]["application/json"]
    assert json.loads(first["body"]) == media["examples"]["low_stock"]["value"]
    for parameter in expand(sent["parameters"], document):
        assert str(parameter["example"]) == first[parameter["name"]]
    assert second["body"] == first["body"]
