"""Secrets are shown once, sealed at rest, and rotated with an overlap (W1, W11)."""

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest

from services.core.encryption import SecretBox, make_master_key
from tests.integration.webhooks.api.conftest import WEBHOOKS, PartnerClient
from tests.webhook_rows import WebhookRows
from tests.webhooks_process import MASTER_KEY
from tools.query_process import QueryProcess

WHSEC = "whsec_" + base64.b64encode(b"k" * 24).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 24).decode()


def sealed(rows: WebhookRows, webhook_id: str) -> tuple[str, str | None]:
    """Return the secret and the previous one, opened."""
    box = SecretBox(MASTER_KEY)
    secret, previous = rows.endpoint_columns(webhook_id, "secret, previous_secret")
    return box.open(secret), previous and box.open(previous)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (WHSEC, WHSEC),
        ("a text of the partner", "whsec_" + base64.b64encode(b"a text of the partner").decode()),
        ("ü" * 16, "whsec_" + base64.b64encode("ü".encode() * 16).decode()),
    ],
)
def test_a_partners_own_secret_is_shown_in_its_whsec_form(
    partner: PartnerClient, rows: WebhookRows, given: str, kept: str
) -> None:
    registered = partner.register(secret=given)
    assert registered["secret"] == kept
    assert sealed(rows, registered["id"]) == (kept, None)


def test_a_secret_that_we_make_is_32_random_bytes(partner: PartnerClient) -> None:
    made = [partner.register(f"https://shop.example/{number}")["secret"] for number in range(3)]
    assert len(set(made)) == 3
    keys = [base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in made]
    assert {len(key) for key in keys} == {32}


def test_a_rotation_keeps_the_old_secret_for_24_hours(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register(secret=WHSEC)
    path = f"{WEBHOOKS}/{webhook['id']}"
    answer = partner.http.post(f"{path}/secret/rotate")  # no body: the defaults
    assert answer.status_code == 200
    rotated = answer.json()
    until = datetime.fromisoformat(rotated["previous_secret_until"])
    assert abs(until - datetime.now(UTC) - timedelta(hours=24)) < timedelta(minutes=1)
    assert (
        partner.http.get(path).json()["previous_secret_until"] == (rotated["previous_secret_until"])
    )
    assert sealed(rows, webhook["id"]) == (rotated["secret"], WHSEC)


def test_a_second_rotation_replaces_the_previous_secret(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register()
    path = f"{WEBHOOKS}/{webhook['id']}/secret/rotate"
    first = partner.http.post(path, json={"secret": WHSEC, "overlap_hours": 0.5}).json()
    second = partner.http.post(path, json={"secret": OTHER, "overlap_hours": 168}).json()
    assert sealed(rows, webhook["id"]) == (OTHER, WHSEC)
    assert first["previous_secret_until"] < second["previous_secret_until"]


def test_an_overlap_of_0_makes_the_old_secret_invalid_at_once(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register()
    path = f"{WEBHOOKS}/{webhook['id']}/secret/rotate"
    partner.http.post(path, json={})
    rotated = partner.http.post(path, json={"overlap_hours": 0}).json()
    assert rotated["previous_secret_until"] is None
    assert sealed(rows, webhook["id"]) == (rotated["secret"], None)


def test_an_overlap_is_ended_early_and_ending_it_twice_is_no_fault(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register()
    path = f"{WEBHOOKS}/{webhook['id']}"
    secret = partner.http.post(f"{path}/secret/rotate").json()["secret"]
    for _ in range(2):
        assert partner.http.delete(f"{path}/secret/previous").status_code == 204
        assert partner.http.get(path).json()["previous_secret_until"] is None
        assert sealed(rows, webhook["id"]) == (secret, None)


def test_an_overlap_that_has_run_out_is_not_shown(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register()
    path = f"{WEBHOOKS}/{webhook['id']}"
    partner.http.post(f"{path}/secret/rotate")
    rows.run("UPDATE {env}.endpoints SET previous_secret_until = now()")
    assert partner.http.get(path).json()["previous_secret_until"] is None


def test_a_rotation_to_the_secret_that_it_has_is_refused_and_changes_nothing(
    partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register()
    path = f"{WEBHOOKS}/{webhook['id']}/secret/rotate"
    partner.http.post(path, json={"secret": WHSEC})
    before = sealed(rows, webhook["id"])
    answer = partner.http.post(path, json={"secret": WHSEC})
    assert answer.status_code == 400
    assert "`secret`" in answer.json()["message"]
    assert sealed(rows, webhook["id"]) == before


def test_secrets_are_in_no_later_answer_and_in_no_log(
    api: QueryProcess, partner: PartnerClient, rows: WebhookRows
) -> None:
    webhook = partner.register(secret=WHSEC)
    path = f"{WEBHOOKS}/{webhook['id']}"
    rotated = partner.http.post(f"{path}/secret/rotate").json()["secret"]
    refused = "a secret that we refuse " * 10
    answers = [
        partner.http.post(f"{path}/secret/rotate", json={"secret": refused}),
        partner.http.post(f"{path}/secret/rotate", json={"secret": rotated}),
        partner.http.post(WEBHOOKS, json={"url": webhook["url"], "events": [], "secret": WHSEC}),
        partner.http.get(path),
        partner.http.get(WEBHOOKS),
        partner.http.patch(path, json={"state": "disabled"}),
    ]
    log = api.log.read_text()
    for secret in (WHSEC, rotated, refused):
        key = secret.removeprefix("whsec_")
        assert key not in log
        assert all(key not in answer.text for answer in answers)
    assert not re.search("whsec_", log)
    stored = rows.run("SELECT endpoints::text FROM {env}.endpoints")
    assert WHSEC.encode().hex() not in stored[0][0]


@pytest.mark.parametrize("body", [{}, {"secret": OTHER}])
def test_a_secret_that_we_cannot_decrypt_is_answered_as_our_fault_and_kept(
    partner: PartnerClient, rows: WebhookRows, body: dict[str, str]
) -> None:
    webhook = partner.register(secret=WHSEC)
    foreign = SecretBox(make_master_key()).seal(WHSEC)
    rows.run("UPDATE {env}.endpoints SET secret = %s", [foreign])
    answer = partner.http.post(f"{WEBHOOKS}/{webhook['id']}/secret/rotate", json=body)
    assert answer.status_code == 503
    assert answer.json()["code"] == "SERVICE_UNAVAILABLE"
    assert int(answer.headers["Retry-After"]) > 0
    assert rows.endpoint_columns(webhook["id"], "secret, previous_secret") == (foreign, None)
