"""Nodes: one gateway node over its Admin API: what it runs, and a text for it to run."""

import socket
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from services.domain.key_form import mask_keys

# Seconds. A healthy node answers in milliseconds, but Kong with one worker answers nothing while
# it takes a large text.
LOOK = httpx.Timeout(3.0, connect=1.0)
POST = httpx.Timeout(30.0, connect=1.0)  # Kong took 4.3 s for 10,000 consumers
# A machine that vanishes while it has our text is noticed after 4 s, not after POST's 30.
KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 2))
        if hasattr(socket, name)
    ),
]
TOLD_FAULTS = 5


class AwayError(Exception):
    """The node does not answer, or not as a node; ask again later."""


class RefusedTextError(Exception):
    """The node does not take this text; the message has its words, without keys."""

    def __init__(self, status: int, words: str) -> None:
        """Take the answer's HTTP status and what it says."""
        self.status = status
        super().__init__(f"refused with {status}: {words}")


class NodeClient:
    """Talks to one node; for one thread."""

    def __init__(self, url: str) -> None:
        """Take the address of its Admin API."""
        self.url = url
        self._base = url.rstrip("/")
        transport = httpx.HTTPTransport(socket_options=KEEPALIVE)
        # trust_env off: the configuration holds keys, and no proxy has a part in this.
        self._client = httpx.Client(transport=transport, timeout=LOOK, trust_env=False)

    def __enter__(self) -> Self:
        """Use it for the length of a with block."""
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Close its connections."""
        self._client.close()

    def running_hash(self) -> str | None:
        """Return the configuration_hash of what it runs. Raises AwayError."""
        answer = self._send("GET", "/status")
        if answer.status_code != 200:
            msg = f"GET /status answers {answer.status_code}"
            raise AwayError(msg)
        return _hash(answer.content)

    def running_text(self) -> str:
        """Return what it runs, keys and all, as Kong's GET /config tells it. Raises AwayError."""
        answer = self._send("GET", "/config", timeout=POST)
        try:
            found = msgspec.json.decode(answer.content, type=dict[str, Any]).get("config")
        except msgspec.DecodeError:
            found = None
        if answer.status_code != 200 or not isinstance(found, str):
            msg = f"GET /config answers {answer.status_code}"
            raise AwayError(msg)
        return found

    def post(self, text: str) -> None:
        """Have it run a text. Raises RefusedTextError, AwayError."""
        # The text itself, so that configuration_hash is its MD5 (KONG.md).
        body = msgspec.json.encode({"config": text})
        answer = self._send(
            "POST", "/config?check_hash=1&flatten_errors=1", content=body, timeout=POST
        )
        if answer.status_code not in {201, 304}:
            raise RefusedTextError(answer.status_code, refusal_words(answer.content))

    def _send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        timeout: httpx.Timeout = LOOK,
    ) -> httpx.Response:
        headers = {"content-type": "application/json"} if content is not None else {}
        try:
            return self._client.request(
                method, self._base + path, content=content, headers=headers, timeout=timeout
            )
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            msg = f"no answer: {exc or type(exc).__name__}"
            raise AwayError(msg) from exc


def refusal_words(body: bytes) -> str:
    """Return why a node refuses, from its JSON or text: short, and no key in it."""
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return mask_keys(body.decode("utf-8", "replace"))
    flattened: Any = document.get("flattened_errors")
    told = [_entity_words(e) for e in flattened or [] if isinstance(e, dict)]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if not told:
        return mask_keys(str(document.get("message") or document.get("error") or document))
    more = [f"and {len(told) - TOLD_FAULTS} more"] if len(told) > TOLD_FAULTS else []
    return mask_keys("; ".join(told[:TOLD_FAULTS] + more))


def _entity_words(entity: dict[str, Any]) -> str:
    # Never the entity itself, which Kong sends along: it may be a credential.
    name = entity.get("entity_name") or entity.get("entity_id") or ""
    errors: list[dict[str, Any]] = entity.get("errors") or []
    faults = [
        ": ".join(str(error[part]) for part in ("field", "message") if error.get(part))
        for error in errors
    ]
    return f"{entity.get('entity_type', 'entity')} {name}: {', '.join(faults)}"


def _hash(body: bytes) -> str | None:
    try:
        found = msgspec.json.decode(body, type=dict[str, Any]).get("configuration_hash")
    except msgspec.DecodeError as exc:
        msg = "GET /status answers something that is not JSON"
        raise AwayError(msg) from exc
    return found if isinstance(found, str) else None
