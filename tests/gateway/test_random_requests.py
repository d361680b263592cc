"""Random requests: never a hang, never a fault of the gateway's own making, always the one shape.

GATEWAY_EXAMPLES sets how many there are of each kind; 5,000 take half a minute.
"""

import contextlib
import os
import socket
import string
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.envelope import assert_own_error
from tests.gateway.policy import INVENTORY, LIVE_KEY, WEBHOOKS
from tools.gateway_node import Node
from tools.wire import Answer, BrokenAnswerError, Wire, chunked

EXAMPLES = int(os.environ.get("GATEWAY_EXAMPLES", "300"))
PATIENCE = 0.2  # seconds given to a gateway that may rightly wait for more of a damaged request
LETS_GO_WITHIN = 5.0  # seconds; it takes milliseconds
EVERY = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
TOKEN = "".join(sorted(set(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")))

methods = st.sampled_from(
    ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "PURGE"]
)
paths = st.one_of(
    st.sampled_from(["/open", "/strip", INVENTORY, WEBHOOKS, "/groups", "/unknown", "/"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40).map(
        lambda rest: "/open/" + rest
    ),
)
names = st.one_of(
    st.text(TOKEN, min_size=1, max_size=20),
    st.sampled_from(
        ["X-Request-ID", "X-Consumer-ID", "Accept", "Via", "X-Forwarded-For", "Connection", "TE"]
    ),
).filter(
    # These change where a request ends; the cases for bodies are about them.
    lambda name: name.lower() not in {"content-length", "transfer-encoding", "host", "expect"}
)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map(str.strip)
headers = st.lists(st.tuples(names, values), max_size=12)
bodies = st.one_of(st.binary(max_size=300), st.integers(0, 140_000).map(lambda size: b"x" * size))


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a request that is right by the rules of HTTP/1.1, and its method."""
    method, path, body = draw(methods), draw(paths), draw(bodies)
    lines = [f"{method} {path} HTTP/1.1", "Host: gateway", "X-API-Key: " + LIVE_KEY]
    lines += [f"{name}: {value}" for name, value in draw(headers)]
    if draw(st.booleans()):
        lines.append("Transfer-Encoding: chunked")
        cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=5)))
        pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        body = chunked(*[piece for piece in pieces if piece])
    else:
        lines.append(f"Content-Length: {len(body)}")
    return method, "\r\n".join([*lines, "", ""]).encode() + body


def assert_fit(answer: Answer, method: str) -> None:
    """Assert that an answer is the service's, or a refusal in the one shape."""
    if answer.header("X-Kong-Upstream-Latency") is not None:
        return
    assert 400 <= answer.status < 500, (answer.status, answer.body)
    if method != "HEAD":
        assert_own_error(answer, answer.status, answer.json["code"])


@EVERY
@given(drawn=requests(), cuts=st.lists(st.integers(1, 2000), max_size=4))
def test_a_right_request_is_always_answered(
    node: Node, drawn: tuple[str, bytes], cuts: list[int]
) -> None:
    method, data = drawn
    with node.wire() as wire:
        start = 0
        for cut in [*sorted(cuts), len(data)]:
            _send(wire, data[start:cut])
            start = max(start, cut)
        assert_fit(wire.answer(method), method)


@EVERY
@given(drawn=requests(), place=st.integers(0, 400), junk=st.binary(min_size=1, max_size=8))
def test_a_damaged_request_harms_nobody(
    node: Node, drawn: tuple[str, bytes], place: int, junk: bytes
) -> None:
    method, data = drawn
    with node.wire() as wire:
        wire.patience = PATIENCE
        _send(wire, data[:place] + junk + data[place + len(junk) :])
        settle(wire, method)
    assert node.ask("GET", "/unknown").status == 404


def settle(wire: Wire, method: str) -> None:
    """Assert that a damaged request is answered fitly or let go of, and never hangs.

    A gateway may wait for the rest of what looks unfinished. Told that there is none, it must end
    the connection within LETS_GO_WITHIN; else TimeoutError.
    """
    with contextlib.suppress(BrokenAnswerError):  # closed without an answer: let go of
        try:
            assert_fit(wire.answer(method), method)
        except TimeoutError:
            wire.end()
            wire.patience = LETS_GO_WITHIN
            wire.rest()


def test_a_hang_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "LETS_GO_WITHIN", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, Wire(*silent.getsockname()) as wire:
        wire.patience = 0.05
        with pytest.raises(TimeoutError):
            settle(wire, "GET")


def _send(wire: Wire, data: bytes) -> None:
    try:
        wire.send(data)
    except (TimeoutError, ConnectionError):
        return  # refused before all of it was sent
