"""Partners: three of them with six endpoints, registered through the API as partners do it."""

import base64
import secrets
import time
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx

from tests.chaos.comparison import Subscription
from tools.chain import Chain
from tools.receiver import NO_ANSWER, Behaviour
from tools.receiver_process import Receiver

UPDATED, LOW, OUT = "inventory.updated", "inventory.low_stock", "inventory.out_of_stock"
NAMES = ("techmart", "buyall", "shopeasy")


class Plan(NamedTuple):
    """An endpoint as its partner wants it; what goes wrong there does so for early attempts only.

    Otherwise kills and failures together could use up the five attempts of a delivery.
    """

    partner: str
    events: tuple[str, ...]
    behaviours: tuple[Behaviour, ...] = ()


ENDPOINTS = (
    Plan("techmart", (UPDATED, LOW, OUT)),  # its secret is rotated
    Plan("techmart", (UPDATED,), (Behaviour(500, share=0.03, attempts=1),)),
    Plan("buyall", (LOW, OUT), (Behaviour(after=0.05, share=0.2),)),
    Plan("buyall", (UPDATED, OUT), (Behaviour(NO_ANSWER, share=0.002, attempts=1),)),
    Plan("shopeasy", (OUT,), (Behaviour(503, share=0.2, attempts=2),)),
    Plan("shopeasy", (LOW, OUT)),  # registered in the middle
)
ROTATED, LATE = 0, 5


class Partners:
    """What the partners do at the API, and what they know."""

    def __init__(self, chain: Chain, receiver: Receiver) -> None:
        self._chain = chain
        self._receiver = receiver
        self._ids: dict[int, str] = {}
        self._secrets: dict[int, list[str]] = {}
        self.subscriptions: list[Subscription] = []

    def add_to_database(self) -> None:
        """Make the partners known, as admin does."""
        statement = "INSERT INTO sandbox.partners VALUES (%s, %s, %s, 'active')"
        with self._chain.owner() as owner:
            for name in NAMES:
                owner.execute(statement, [uuid4(), name, f"ops@{name}.example"])

    def register(self, number: int, *, from_the_first: bool = True) -> None:
        """Register an endpoint; later ones hear for certain of what comes after the answer."""
        plan = ENDPOINTS[number]
        secret = _new_secret()  # a partner's own, so that the receiver knows it before the first
        self._secrets[number] = [secret]
        self._receiver.configure(number, [secret], plan.behaviours)
        url = self._receiver.url(number)
        body = {"url": url, "events": list(plan.events), "secret": secret}
        answer = self._ask(plan.partner, "POST", "/webhooks", json=body)
        assert answer["secret"] == secret
        self._ids[number] = str(UUID(answer["id"]))
        since = 0.0 if from_the_first else time.time()
        self.subscriptions.append(Subscription(number, frozenset(plan.events), since))

    def secrets_of(self, number: int) -> list[str]:
        """Return an endpoint's secrets, oldest first."""
        return self._secrets[number]

    def rotate(self, number: int) -> None:
        """Change an endpoint's secret, with the overlap that is the default."""
        plan = ENDPOINTS[number]
        secret = _new_secret()
        self._secrets[number].append(secret)
        self._receiver.configure(number, self._secrets[number], plan.behaviours)
        path = f"/webhooks/{self._ids[number]}/secret/rotate"
        answer = self._ask(plan.partner, "POST", path, json={"secret": secret})
        assert answer["previous_secret_until"] is not None

    def end_overlap(self, number: int) -> None:
        """End the overlap early."""
        path = f"/webhooks/{self._ids[number]}/secret/previous"
        self._ask(ENDPOINTS[number].partner, "DELETE", path)

    def _ask(self, partner: str, method: str, path: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 -- httpx's own
        with self._chain.partner(partner) as client:
            answer: httpx.Response = client.request(method, path, **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else {}


def _new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
