"""Hooks: webhooks of the run's own, their recording receiver, and what arrived of what happened."""

import secrets
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from loadtests.changing import Change
from loadtests.plan import CouldNotRunError, Target
from tools.receiver import NO_ANSWER, Behaviour, Receipt
from tools.receiver_process import Receiver

ENDPOINTS = 3  # healthy ones; each is sent every sandbox change
HANGING = ENDPOINTS  # the number of the one that hangs when that fault comes
COMING_AND_GOING = ENDPOINTS + 1
WEBHOOKS = "/partner/v1/webhooks"
EVENT = "inventory.updated"


@dataclass(frozen=True)
class Delivered:
    """What became of the changes; latencies in seconds from the change's request."""

    expected: int
    missing: list[str]  # in words, the first ones
    missed: int
    latencies: list[tuple[float, float]]  # (seconds since 1970 of the change, seconds)
    bad: list[str]


class Hooks:
    """The webhooks that a run registers, and removes again."""

    def __init__(self, client: httpx.Client, target: Target, receiver: Receiver) -> None:
        """`client` is for the gateway."""
        self._client = client
        self._target = target
        self.receiver = receiver
        self._made: list[str] = []

    def _ask(self, method: str, path: str, key: str, body: object = None) -> httpx.Response:
        headers = {"X-API-Key": key}
        if self._target.sandbox_host:
            headers["Host"] = self._target.sandbox_host
        url = f"{self._target.sandbox_url}{WEBHOOKS}{path}"
        try:
            answer = self._client.request(method, url, headers=headers, json=body)
        except httpx.HTTPError as exc:
            msg = f"{self._target.sandbox_url} does not answer: {exc}"
            raise CouldNotRunError(msg) from exc
        if answer.is_error:
            msg = f"{method} {WEBHOOKS}{path}: {answer.status_code} {answer.text[:200]}"
            raise CouldNotRunError(msg)
        return answer

    def register(self, *, hanging: bool) -> None:
        """Register the endpoints; the one that will hang, too, if it is asked for."""
        for number in range(ENDPOINTS + hanging):
            secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
            self.receiver.configure(number, [secret])
            body = {"url": self.receiver.url(number), "events": [EVENT], "secret": secret}
            answer = self._ask("POST", "", self._target.sandbox_api_key, body)
            self._made.append(str(answer.json()["id"]))

    def remove(self) -> None:
        """Delete what was registered."""
        for each in self._made:
            self._ask("DELETE", f"/{each}", self._target.sandbox_api_key)

    def hang(self) -> None:
        """Have the endpoint for that not answer any more."""
        self.receiver.configure(HANGING, [], [Behaviour(NO_ANSWER)])

    def listed(self) -> dict[str, list[str]]:
        """Return which webhooks each key has."""
        keys = (self._target.sandbox_api_key, self._target.second_sandbox_api_key)
        return {
            key: [each["id"] for each in self._ask("GET", "", key).json()["items"]]
            for key in keys
            if key
        }

    def wait(self, changes: Sequence[Change], within: float) -> Delivered:
        """Return what arrived, as soon as all has, or after `within` seconds."""
        deadline = time.monotonic() + within
        while True:
            found = compare(changes, self.receiver.receipts())
            if not found.missed or time.monotonic() > deadline:
                return found
            time.sleep(0.5)


def compare(changes: Sequence[Change], receipts: Sequence[Receipt]) -> Delivered:
    """Return what became of every change at every healthy endpoint."""
    first: dict[tuple[int, str, int], float] = {}
    bad: list[str] = []
    for each in receipts:
        if each.endpoint >= ENDPOINTS:
            continue
        if why := _fault(each):
            bad.append(f"event {each.event_id or '?'}: {why}")
        place = (each.endpoint, each.product_id, each.version)
        first[place] = min(first.get(place, each.received_at), each.received_at)
    missing: list[str] = []
    latencies: list[tuple[float, float]] = []
    for change in changes:
        for endpoint in range(ENDPOINTS):
            at = first.get((endpoint, change.product_id, change.version))
            if at is None:
                missing.append(f"{change.product_id} version {change.version}, webhook {endpoint}")
            else:
                latencies.append((change.sent_at, max(0.0, at - change.sent_at)))
    return Delivered(len(changes) * ENDPOINTS, missing[:10], len(missing), latencies, bad)


def _fault(receipt: Receipt) -> str:
    if receipt.x_signature < 0:
        return "X-Signature does not verify"
    if not receipt.standard or min(receipt.standard) < 0:
        return "webhook-signature does not verify"
    return receipt.fault
