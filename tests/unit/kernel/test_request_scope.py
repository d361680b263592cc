"""What the outermost layer of a service counts and logs."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from litestar.types import Receive, Scope, Send
from structlog.testing import capture_logs

from services.core.http.metrics import OTHER, RequestMetrics
from services.core.http.request_scope import SAMPLED, SLOW, RequestScope, send_json
from services.core.logs import shown_path


class Metrics(RequestMetrics):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int, float]] = []
        self.observe = lambda *told: self.seen.append(told)  # type: ignore[method-assign]


class Service:
    """An app behind RequestScope that answers each request with one status, in the given time."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.now = 0.0
        self.status = 200
        self.takes = 0.01  # seconds
        self.failure: Exception | None = None
        self.template = ""  # what a router notes in the scope
        self.sent: list[Any] = []
        self._scope = RequestScope(self._app, self.metrics, clock=lambda: self.now)

    def ask(self) -> list[dict[str, Any]]:
        """Return the lines that one request leaves in the log."""
        scope: Any = {"type": "http", "method": "POST", "path": "/x", "headers": []}
        with capture_logs() as lines:
            asyncio.run(self._scope(scope, _receive, self._send))
        return [dict(line) for line in lines]

    async def _app(self, scope: Scope, _given: Receive, send: Send) -> None:
        scope["path_template"] = self.template
        self.now += self.takes
        if self.failure:
            raise self.failure
        await send_json(send, self.status, b"{}")

    async def _send(self, message: Any) -> None:  # noqa: ANN401 -- an ASGI message
        self.sent.append(message)


async def _receive() -> Any:  # noqa: ANN401
    return {"type": "http.request", "body": b"", "more_body": False}


@pytest.fixture
def service() -> Iterator[Service]:
    structlog.reset_defaults()
    yield Service()
    structlog.contextvars.clear_contextvars()


def test_every_answer_is_measured_by_its_status(service: Service) -> None:
    service.ask()
    service.status, service.takes = 404, 0.02
    service.ask()
    assert [status for _, status, _ in service.metrics.seen] == [200, 404]
    assert [seconds for *_, seconds in service.metrics.seen] == pytest.approx([0.01, 0.02])


def test_an_answer_is_measured_under_the_template_that_took_its_path(service: Service) -> None:
    service.ask()
    service.template = "/partners/{name}"
    service.ask()
    assert [route for route, *_ in service.metrics.seen] == [OTHER, "/partners/{name}"]


def test_an_ordinary_answer_leaves_a_line_once_in_a_thousand(service: Service) -> None:
    lines = [line for _ in range(2 * SAMPLED) for line in service.ask()]
    assert [line["event"] for line in lines] == ["request.answered"] * 2
    assert lines[0]["log_level"] == "info"


@pytest.mark.parametrize("status", [500, 503])
def test_a_failure_always_leaves_a_line(service: Service, status: int) -> None:
    service.status = status
    for _ in range(3):
        (line,) = service.ask()
        assert (line["event"], line["status"]) == ("request.answered", status)
        assert line["log_level"] == "warning"


def test_a_slow_answer_always_leaves_a_line(service: Service) -> None:
    service.takes = SLOW + 0.05
    (line,) = service.ask()
    assert (line["event"], line["milliseconds"]) == ("request.slow", 250)


def test_what_nobody_caught_is_a_500_with_its_trace_in_the_log(service: Service) -> None:
    service.failure = RuntimeError("surprise")
    lines = service.ask()
    assert [line["event"] for line in lines] == ["request.failed", "request.answered"]
    assert [status for _, status, _ in service.metrics.seen] == [500]
    assert service.sent[0]["status"] == 500


def test_half_an_answer_is_counted_and_broken_off(service: Service) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError

    metrics = Metrics()
    scope: Any = {"type": "http", "method": "POST", "path": "/x", "headers": []}
    broken = RequestScope(app, metrics, clock=lambda: 0.0)
    with capture_logs(), pytest.raises(RuntimeError):
        asyncio.run(broken(scope, _receive, service._send))
    assert metrics.seen == [(OTHER, 200, 0.0)]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/partner/v1/inventory", "/partner/v1/inventory"),
        ("/admin/v1/keys/pk_live_aB3d/rotate", "/admin/v1/keys/pk_live_aB3d/rotate"),
        (f"/admin/v1/keys/pk_live_{'aB3d' * 8}/rotate", "/admin/v1/keys/pk_live_aB3d.../rotate"),
        (f"/admin/v1/keys/pk_test_{'aB3d' * 8}", "/admin/v1/keys/pk_test_aB3d..."),
        (f"/admin/v1/tokens/padm_{'aB-_' * 10}", "/admin/v1/tokens/padm_aB-_..."),
        ("/x/whsec_C2FVsBQIhrscChlQ/MV+b5sSYspob7oD=", "/x/whsec_C2FV..."),
        ("/admin/v1/partners/some_name", "/admin/v1/partners/some_name"),
    ],
)
def test_a_secret_in_a_path_is_not_logged(path: str, told: str) -> None:
    assert shown_path(path) == told
