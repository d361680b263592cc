"""The webhook story against a gateway that answers as it is told: whatever fails is said."""

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.local import demo_webhooks
from services.local.demo_mail import Mailbox
from services.local.demo_steps import Scene, StepFailedError
from services.local.demo_webhooks import PRODUCT, WebhookStory

WEBHOOKS = "/partner/v1/webhooks"
KEYS = {"techmart": {"live": "pk_live_t", "sandbox": "pk_test_t"}}
MAIL = "To: integration@techmart.example\nSubject: Webhook failing\n\nour calls to {} fail\n"


AT = "2026-11-22T09:14:03Z"
ITEM = {"product_id": PRODUCT, "status": "low_stock", "updated_at": AT, "version": 1}


def webhook(webhook_id: str, url: str) -> dict[str, Any]:
    never = dict.fromkeys(("disabled_reason", "failing_since", "previous_secret_until"))
    rest = {"events": [], "state": "active", "created_at": AT}
    return {"id": webhook_id, "url": url, **rest, **never}


class Platform:
    """Answers a story's requests; calls nobody."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.url = ""
        self.deliveries: list[dict[str, Any]] = []
        self.left: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["Host"] == "sandbox-api.localhost"
        method, path = request.method, request.url.path
        self.asked.append((method, path))
        body = json.loads(request.content) if request.content else {}
        if method == "PUT":
            return httpx.Response(200, json=ITEM | body)
        if method == "DELETE":
            return httpx.Response(204)
        if method == "POST" and path == WEBHOOKS:
            self.url = body["url"]
            return httpx.Response(
                201,
                json=webhook("w-1", self.url)
                | {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
            )
        if path.endswith("/replay"):
            return httpx.Response(202, json={"scheduled": 1, "next_since": None})
        if path.endswith("/deliveries"):
            return httpx.Response(200, json={"items": self.deliveries, "next_cursor": None})
        items = [webhook(url[-1], url) for url in self.left]
        return httpx.Response(200, json={"items": items})


class Stage:
    """A story with its platform, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.platform = Platform()
        self.folder = folder
        self.said: list[str] = []
        client = httpx.Client(
            base_url="http://gateway", transport=httpx.MockTransport(self.platform)
        )
        self.scene = Scene(client, KEYS, "", say=self.said.append)
        self.story = WebhookStory(self.scene, folder)

    def fails(self, step: Callable[[Scene], None], words: str) -> None:
        with pytest.raises(StepFailedError, match=words):
            step(self.scene)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Stage]:
    for limit in ("CALLED_WITHIN", "MAILED_WITHIN", "GIVEN_UP_WITHIN"):
        monkeypatch.setattr(demo_webhooks, limit, 0.01)
    made = Stage(tmp_path)
    yield made
    made.story.close()


def attempt(number: int, second: float, outcome: str = "connection_failed") -> dict[str, Any]:
    started = f"2026-11-22T09:14:{second:09.6f}Z"
    rest = {"series": 1, "status": None, "detail": "", "duration_ms": 1}
    return {"number": number, "outcome": outcome, "started_at": started, **rest}


def delivery(state: str, *attempts: dict[str, Any]) -> list[dict[str, Any]]:
    never = dict.fromkeys(("product_id", "version", "next_attempt_at", "finished_at"))
    rest = {"event_type": "inventory.low_stock", "series": 1, "occurred_at": AT, "created_at": AT}
    return [{"event_id": "e-1", "state": state, "attempts": list(attempts), **rest, **never}]


def test_a_call_that_does_not_come_fails_and_the_webhook_is_removed_at_the_end(
    stage: Stage,
) -> None:
    stage.fails(stage.story.be_called, "stock is 9, but inventory.low_stock did not come within")
    stage.story.close()
    assert stage.platform.asked[-1] == ("DELETE", f"{WEBHOOKS}/w-1")


def test_a_call_that_does_not_verify_fails(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Platform.__call__

    def calls_badly(platform: Platform, request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            headers = {"X-Signature": "sha256=00"}
            httpx.post(platform.url, content=b"{}", headers=headers, trust_env=False)
        return put(platform, request)

    monkeypatch.setattr(Platform, "__call__", calls_badly)
    stage.fails(stage.story.be_called, "X-Signature does not verify")


def test_what_a_killed_demo_has_left_is_removed_and_nothing_else(stage: Stage) -> None:
    stage.platform.left = ["http://127.0.0.1:1/partnerapi-demo", "http://127.0.0.1:1/own"]
    stage.fails(stage.story.be_called, "did not come")
    removed = [path for method, path in stage.platform.asked if method == "DELETE"]
    assert removed == [f"{WEBHOOKS}/o"]


def test_attempts_are_told_with_their_delays_and_a_missing_mail_fails(stage: Stage) -> None:
    stage.fails(stage.story.be_called, "did not come")
    stage.platform.deliveries = delivery("exhausted", attempt(1, 3), attempt(2, 3.6))
    stage.fails(stage.story.be_away, "no mail came within 0.01 s of the end of the retries")
    assert stage.said[-3:] == [
        "attempt 1: connection_failed",
        "attempt 2, 0.6 s later: connection_failed",
        "given up after 2 attempts: exhausted",
    ]


def test_a_retry_that_comes_too_soon_fails(stage: Stage) -> None:
    stage.fails(stage.story.be_called, "did not come")
    stage.platform.deliveries = delivery("exhausted", attempt(1, 3), attempt(2, 3.2))
    stage.fails(stage.story.be_away, "attempt 2 came 0.20 s after the one before, not about 0.5 s")


def test_a_delivery_that_is_never_given_up_fails(stage: Stage) -> None:
    stage.fails(stage.story.be_called, "did not come")
    stage.platform.deliveries = delivery("retrying", attempt(1, 3))
    stage.fails(stage.story.be_away, "and 1 attempts it is retrying")


def test_a_step_that_builds_on_one_that_failed_says_so(stage: Stage) -> None:
    stage.fails(stage.story.be_away, "the step before it failed")
    stage.fails(stage.story.catch_up, "the step before it failed")


def test_a_replay_that_brings_nothing_fails(stage: Stage) -> None:
    stage.fails(stage.story.be_called, "did not come")
    stage.platform.deliveries = delivery("exhausted", attempt(1, 3))
    (stage.folder / "one.eml").write_text(MAIL.format(stage.platform.url))
    stage.story.be_away(stage.scene)
    assert "integration@techmart.example has a mail: 'Webhook failing'" in stage.said[-2]
    assert stage.said[-1] == f"  {stage.folder / 'one.eml'}"
    stage.fails(stage.story.catch_up, "scheduled 1 event; that of the same event_id did not come")


def test_only_mails_that_come_later_and_are_about_the_endpoint_are_found(tmp_path: Path) -> None:
    (tmp_path / "old.eml").write_text(MAIL.format("http://here"))
    mailbox = Mailbox(tmp_path)
    (tmp_path / "other.eml").write_text(MAIL.format("http://elsewhere"))
    assert mailbox.wait_for("http://here", within=0) is None
    (tmp_path / "new.eml").write_text(MAIL.format("http://here"))
    found = mailbox.wait_for("http://here", within=0)
    assert found is not None
    assert found.path.name == "new.eml"
    assert mailbox.wait_for("http://here", within=0) is None
