"""Asking: one request of a simulated user, judged and noted."""

import contextlib
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, ClassVar

import gevent
from locust import FastHttpUser, between
from locust.runners import Runner

from loadtests import answers
from loadtests.answers import Item, WrongAnswerError
from loadtests.plan import Plan
from loadtests.records import Outcome, Recorder, Request, Seen

INVENTORY = "/partner/v1/inventory"
WEBHOOKS = "/partner/v1/webhooks"
LIVE, SANDBOX = "live", "sandbox"
UNANSWERED_AFTER = 4.0  # seconds; users are given 5 to end what they have begun

# Takes an answer's body; raises WrongAnswerError.
Check = Callable[[bytes], object]
# Takes the whole answer; returns what is to be noted of it. May raise WrongAnswerError, too.
Note = Callable[[Any], str]


class Running:
    """What all users of this process share; set once before they come."""

    plan: Plan
    recorder: Recorder
    runner: Runner
    watched: Mapping[str, frozenset[str]]
    under_way: ClassVar[dict[object, tuple[float, str]]] = {}


def nothing(body: bytes) -> None:
    """Check nothing."""


def limited(body: bytes) -> None:
    """Check a 429."""
    answers.refusal(body, "RATE_LIMITED")


def unauthorized(body: bytes) -> None:
    """Check a 401."""
    answers.refusal(body, "UNAUTHORIZED")


def not_found(body: bytes) -> None:
    """Check a 404."""
    answers.refusal(body, "NOT_FOUND")


OUTCOMES = {401: Outcome.REFUSED, 404: Outcome.REFUSED, 429: Outcome.LIMITED}


class Asking(FastHttpUser):
    """A user that asks and notes; scenarios derive from it."""

    abstract = True
    scenario = ""
    insecure = False
    connection_timeout = 5.0  # seconds
    network_timeout = 15.0  # the gateway's own longest is 10
    max_retries = 0

    def __init__(self, environment: Any) -> None:  # noqa: ANN401 -- locust's, untyped
        """Wait between requests as the profile says."""
        think = Running.plan.profile.think_s
        # Locust binds wait_time to the user when it is set on its class.
        type(self).wait_time = between(think * 0.5, think * 1.5)
        super().__init__(environment)

    def live(self, key: str) -> dict[str, str]:
        """Return the headers of a partner's live request."""
        return {"X-API-Key": key, "Content-Type": "application/json"}

    def sandbox(self, key: str) -> dict[str, str]:
        """Return the headers of a partner's sandbox request."""
        host = Running.plan.target.sandbox_host
        return self.live(key) | ({"Host": host} if host else {})

    def ask(
        self,
        method: str,
        url: str,
        checks: Mapping[int, Check],
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        due: float | None = None,
        name: str = "",
        note: Note = lambda _: "",
    ) -> tuple[int, bytes]:
        """Send a request; a status that has no check is an error. Return status and body.

        `due` is when an arrival on a schedule was to be sent: its latency counts from there.
        """
        sent, clock = time.time(), time.perf_counter()
        name = name or self.scenario
        with under_way(sent, name):
            client: Any = self.client  # locust's types stop half way
            answer = client.request(
                method, url, name=name, data=body, headers=dict(headers), catch_response=True
            )
        seconds = time.perf_counter() - clock
        status, content = int(answer.status_code), bytes(answer.content or b"")
        outcome, detail = _judge(status, content, checks, answer, note)
        with answer:  # tells locust, too
            if outcome in (Outcome.ERROR, Outcome.WRONG):
                answer.failure(detail)
            else:
                answer.success()
        late = 0.0 if due is None else max(0.0, sent - due)
        noted = Request(sent - late, seconds + late, name, status, outcome, detail)
        Running.recorder.note(noted)
        return status, content

    def seen(self, environment: str, sent: float, items: list[Item]) -> None:
        """Note versions of products that are being changed."""
        watched = Running.watched[environment]
        versions = [(each.product_id, each.version) for each in items if each.product_id in watched]
        if versions:
            Running.recorder.note(Seen(sent, environment, versions))

    def query(
        self, ids: list[str], key: str, environment: str = LIVE, due: float | None = None
    ) -> None:
        """Ask for stock, and check and note the answer."""
        plan = Running.plan
        base = plan.target.sandbox_url if environment == SANDBOX else ""
        headers = self.sandbox(key) if environment == SANDBOX else self.live(key)
        all_known = plan.all_known or environment == SANDBOX
        sent = time.time()

        def check(body: bytes) -> None:
            self.seen(environment, sent, answers.stock(body, ids, all_known=all_known))

        if len(ids) <= 5:
            url = f"{base}{INVENTORY}?product_ids={','.join(ids)}"
            self.ask("GET", url, {200: check}, headers=headers, due=due)
        else:
            body = answers.query_body(ids)
            self.ask("POST", base + INVENTORY, {200: check}, headers=headers, body=body)


@contextlib.contextmanager
def under_way(sent: float, name: str) -> Generator[None]:
    """Keep a request where the end of the run finds it, should it never be answered."""
    place = object()
    Running.under_way[place] = (sent, name)
    try:
        yield
    except gevent.GreenletExit:
        # Its user was ended. Locust ends one that waits, and may do so just as it sends again: that
        # request was not given its time and says nothing.
        del Running.under_way[place]
        _note_unanswered(sent, name)
        raise
    except BaseException:
        del Running.under_way[place]
        raise
    else:
        del Running.under_way[place]


def note_unanswered() -> None:
    """Note what was never answered until the end of the run."""
    for sent, name in Running.under_way.values():
        _note_unanswered(sent, name)


def _note_unanswered(sent: float, name: str) -> None:
    """Note a request that is given up; one that was just sent says nothing."""
    seconds = time.time() - sent
    if seconds >= UNANSWERED_AFTER:
        told = "no answer: it was under way when its user ended"
        Running.recorder.note(Request(sent, seconds, name, 0, Outcome.ERROR, told))


def _judge(
    status: int,
    body: bytes,
    checks: Mapping[int, Check],
    answer: Any,  # noqa: ANN401 -- locust's, untyped
    note: Note,
) -> tuple[Outcome, str]:
    if status not in checks:
        return Outcome.ERROR, _told(status, body, answer)
    try:
        checks[status](body)
        detail = note(answer)
    except WrongAnswerError as exc:
        return Outcome.WRONG, str(exc)
    return OUTCOMES.get(status, Outcome.OK), detail


def _told(status: int, body: bytes, answer: Any) -> str:  # noqa: ANN401 -- locust's, untyped
    """Return an error in words without ids, so that the same ones can be counted."""
    if status:
        return f"{status} {answers.told(body)}"
    error = getattr(answer, "error", None)
    return f"no answer: {type(getattr(error, 'original', None) or error).__name__}"
