"""Publish: send the rendered text to every Kong node, then see that each runs it."""

import hashlib
import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import msgspec

TIMEOUT = httpx.Timeout(30.0, connect=2.0)  # seconds; Kong took 4.3 s for 10,000 consumers
VERIFY_WITHIN = 5.0  # seconds from a node's 201 to its new configuration_hash
VERIFY_POLL = 0.02  # seconds


class NodeReport(msgspec.Struct, frozen=True):
    """What one node runs after a publish; `error` is None when it is what was sent."""

    url: str
    hash: str | None
    error: str | None


def text_hash(text: str) -> str:
    """Return Kong's configuration_hash of a text that was posted as text (KONG.md)."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def publish_to_nodes(text: str, nodes: Sequence[str]) -> list[NodeReport]:
    """Post the text to all nodes at once, so that one that is away holds up no other."""
    if not nodes:
        return []
    with ThreadPoolExecutor(max_workers=len(nodes)) as threads:
        return list(threads.map(_publish, nodes, itertools.repeat(text)))


def _publish(node: str, text: str) -> NodeReport:
    try:
        # trust_env off: the configuration holds keys, and no proxy has a part in this.
        with httpx.Client(timeout=TIMEOUT, trust_env=False) as client:
            return _post_and_verify(client, node.rstrip("/"), text)
    except httpx.HTTPError as exc:
        return NodeReport(node, None, f"no answer: {exc or type(exc).__name__}")


def _post_and_verify(client: httpx.Client, node: str, text: str) -> NodeReport:
    answer = client.post(f"{node}/config?check_hash=1&flatten_errors=1", json={"config": text})
    if answer.status_code not in {201, 304}:
        return NodeReport(node, None, _refusal(answer))
    return _verify(client, node, text_hash(text))


def _verify(client: httpx.Client, node: str, wanted: str) -> NodeReport:
    deadline = time.monotonic() + VERIFY_WITHIN
    while True:
        running = _running_hash(client.get(f"{node}/status"))
        if running == wanted:
            return NodeReport(node, running, None)
        if time.monotonic() > deadline:
            return NodeReport(node, running, f"took the text but runs {running}")
        time.sleep(VERIFY_POLL)


def _running_hash(status: httpx.Response) -> str | None:
    try:
        return msgspec.json.decode(status.content, type=dict[str, object]).get("configuration_hash")  # pyright: ignore[reportReturnType]
    except msgspec.DecodeError:
        return None


def _refusal(answer: httpx.Response) -> str:
    """Return a refusal in words, shortened; it may quote the file but Kong quotes no key."""
    return f"refused with {answer.status_code}: {answer.text[:2000]}"
