"""Contract: hold every answer that a partner gets against specs/api/partner-inventory-api.yaml.

Tests talk to the gateway through `partner_client`, which checks each answer by itself; tests that
write to a socket hand theirs to `ContractChecker.check_raw`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import unquote

import httpx

from tools.contract.document import METHODS, Json, expand, load_document, schema_problems
from tools.contract.stock_answers import asked_of, stock_problems

PARTNER_PATHS = "/partner/v1/"

# What the gateway can answer to any request, known path or not, by the name of the response.
GATEWAY_RESPONSES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    413: "PayloadTooLarge",
    414: "UriTooLong",
    429: "RateLimited",
    500: "InternalError",
    502: "BadGateway",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}
UNKNOWN_PATH = {404: "NotFound"}
UNKNOWN_METHOD = {405: "MethodNotAllowed"}

LIMIT_HEADERS = (
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "X-RateLimit-Limit-Minute",
    "X-RateLimit-Remaining-Minute",
)
# Headers that carry one number: the second must equal the first wherever both are sent.
SAME_HEADERS = (
    ("RateLimit-Limit", "X-RateLimit-Limit-Minute"),
    ("RateLimit-Remaining", "X-RateLimit-Remaining-Minute"),
)
REQUEST_ID = "X-Request-ID"
GOOD_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Its message names a field of the request; every other code's message is one of the examples'.
FREE_MESSAGE = "INVALID_REQUEST"
EXCERPT = 500  # characters of a body shown with a failure

HeaderPairs = Mapping[str, str] | Sequence[tuple[str, str]]


class ContractChecker:
    """Holds answers against an OpenAPI 3.0.3 document.

    Stricter than a partner's client should be: a field that the document does not name is refused.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = expand(document, document)
        self._components = self._document["components"]
        self._paths: list[tuple[list[str], dict[str, Any]]] = [
            (path.split("/"), item) for path, item in self._document["paths"].items()
        ]

    def check(self, response: httpx.Response) -> None:
        """Raise AssertionError if the document does not allow this answer to its request.

        The answer must have been read. Answers to other than partner paths are not looked at.
        """
        request = response.request
        path = request.url.raw_path.decode("ascii")
        if not self._is_partner_path(path):
            return
        problems = [
            *self._problems(
                request.method, path, response.status_code, response.headers, response.content
            ),
            *request_id_problems(request.headers, response.headers),
        ]
        if not problems and response.status_code == 200:
            problems += self._answer_problems(request, response)
        fail(problems, request.method, path, response.status_code, response.content)

    def check_raw(
        self, method: str, path: str, status: int, headers: HeaderPairs, body: bytes
    ) -> None:
        """Do the same for an answer read from a socket; `body` without its chunk framing."""
        if self._is_partner_path(path):
            problems = [*self._problems(method, path, status, httpx.Headers(headers), body)]
            fail(problems, method, path, status, body)

    @staticmethod
    def _is_partner_path(path: str) -> bool:
        return unquote(path).startswith(PARTNER_PATHS)

    def _path_item(self, path: str) -> dict[str, Any] | None:
        # An encoded slash belongs to its segment.
        asked = [unquote(segment) for segment in path.partition("?")[0].split("/")]
        return next((item for known, item in self._paths if is_path_of(known, asked)), None)

    def _shared(self, names: dict[int, str]) -> dict[int, dict[str, Any]]:
        return {status: self._components["responses"][name] for status, name in names.items()}

    def _documented(self, method: str, path: str) -> dict[int, dict[str, Any]]:
        """Return the answers that a request may get, by status."""
        item = self._path_item(path)
        if item is None:
            return self._shared(GATEWAY_RESPONSES | UNKNOWN_PATH)
        operation = item.get(method.lower()) if method in METHODS else None
        if operation is None:
            return self._shared(GATEWAY_RESPONSES | UNKNOWN_METHOD)
        responses = {int(status): answer for status, answer in operation["responses"].items()}
        # The operations list 405 for the reader; a method that is there can't be refused.
        return {status: answer for status, answer in responses.items() if status != 405}

    def _problems(
        self, method: str, path: str, status: int, headers: httpx.Headers, body: bytes
    ) -> Iterator[str]:
        documented = self._documented(method, path)
        if status not in documented:
            yield f"status {status} is not documented here; documented: {sorted(documented)}"
            return
        answer = documented[status]
        yield from header_problems(headers, answer, self._components["headers"])
        yield from limit_problems(headers)
        if status == 405:
            yield from self._allow_problems(path, headers)
        yield from body_problems(method, headers, body, answer)

    def _allow_problems(self, path: str, headers: httpx.Headers) -> Iterator[str]:
        known = sorted(METHODS & {name.upper() for name in self._path_item(path) or {}})
        allowed = sorted(name.strip() for name in headers.get("Allow", "").split(","))
        if allowed != known:
            yield f"Allow lists {allowed}, the document {known}"

    def _answer_problems(self, request: httpx.Request, response: httpx.Response) -> Iterator[str]:
        """Check a 200 against its own request: was it to be served, and is each id answered?"""
        path = request.url.raw_path.decode("ascii")
        operation = (self._path_item(path) or {})[request.method.lower()]
        if operation["operationId"] not in {"queryInventory", "getInventory"}:
            return
        try:
            asked = asked_of(request)
        except httpx.RequestNotRead:
            return  # a streamed body is gone
        except (ValueError, KeyError):
            yield "served a request that can't be read"
            return
        refused = [*schema_problems(self._components["schemas"]["InventoryRequest"], asked)]
        yield from (f"served a request that the document refuses: {text}" for text in refused)
        if not refused:
            yield from stock_problems(asked["product_ids"], response.json())


def is_path_of(known: list[str], asked: list[str]) -> bool:
    """Say whether segments are those of a documented path; a `{name}` stands for any text."""
    return len(known) == len(asked) and all(
        given != "" if wanted.startswith("{") else given == wanted
        for wanted, given in zip(known, asked, strict=True)
    )


def partner_client(
    base_url: str,
    *,
    api_key: str | None = None,
    host: str | None = None,
    checker: ContractChecker | None = None,
    timeout: float = 5.0,
    transport: httpx.BaseTransport | None = None,
) -> httpx.Client:
    """Return a client that sends `api_key` and checks every answer against the document.

    `host` replaces the Host header: `sandbox-api.localhost` reaches the local stack's sandbox.
    `timeout` is in seconds.
    """
    held_to = checker or default_checker()

    def read_and_check(response: httpx.Response) -> None:
        response.read()
        held_to.check(response)

    headers = {"X-API-Key": api_key, "Host": host}
    return httpx.Client(
        base_url=base_url,
        headers={name: value for name, value in headers.items() if value is not None},
        timeout=timeout,
        transport=transport,
        trust_env=False,  # a developer's proxy has no place between a test and 127.0.0.1
        event_hooks={"response": [read_and_check]},
    )


@cache
def default_checker() -> ContractChecker:
    """Return the checker of the repository's document."""
    return ContractChecker(load_document())


def header_problems(
    headers: httpx.Headers, answer: dict[str, Any], known: dict[str, dict[str, Any]]
) -> Iterator[str]:
    """Check the answer's own headers, and any other header that the document describes."""
    own = answer.get("headers", {})
    for name, described in (known | own).items():
        if name in headers:
            value = header_value(headers[name], described["schema"])
            yield from (f"{name}: {text}" for text in schema_problems(described["schema"], value))
        elif name in own and described.get("required"):
            yield f"the header {name} is missing"


def header_value(text: str, schema: dict[str, Any]) -> str | int:
    """Return a header as what its schema speaks of; what is no number stays a text."""
    is_number = schema["type"] == "integer" and re.fullmatch(r"-?[0-9]+", text)
    return int(text) if is_number else text


def limit_problems(headers: httpx.Headers) -> Iterator[str]:
    """Check that the limit headers come together and agree."""
    missing = [name for name in LIMIT_HEADERS if name not in headers]
    if missing and len(missing) < len(LIMIT_HEADERS):
        yield f"some limit headers are there, but not {missing}"
    for one, other in SAME_HEADERS:
        if headers.get(one) != headers.get(other) and not missing:
            yield f"{other} is not the same as {one}"


def body_problems(
    method: str, headers: httpx.Headers, body: bytes, answer: dict[str, Any]
) -> Iterator[str]:
    """Check the content type and the body."""
    documented = answer.get("content", {})
    media_type, _, parameters = headers.get("Content-Type", "").partition(";")
    if documented and media_type not in documented:
        yield f"Content-Type {media_type!r} is not one of {sorted(documented)}"
        return
    if documented and parameters.strip().lower() not in {"", "charset=utf-8"}:
        yield f"Content-Type has the parameter {parameters.strip()!r}"
    if method == "HEAD" or not documented:
        if body:
            yield "the body must be empty"
        return
    if media_type == "application/json":
        yield from json_problems(headers, body, documented[media_type])


def json_problems(headers: httpx.Headers, body: bytes, documented: dict[str, Any]) -> Iterator[str]:
    """Check a JSON body against its schema, and an error against its examples."""
    try:
        value = json.loads(
            body.decode("utf-8"), object_pairs_hook=unique_fields, parse_constant=refuse_constant
        )
    except ValueError as error:
        yield f"the body is not JSON: {error}"
        return
    problems = [*schema_problems(documented["schema"], value)]
    yield from problems
    if not problems and {"code", "request_id"} <= set(documented["schema"]["properties"]):
        yield from error_problems(headers, value, documented["examples"])


def unique_fields(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """Build an object, and refuse one that has a field twice."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        message = "a field is there twice"
        raise ValueError(message)
    return fields


def refuse_constant(name: str) -> None:
    """Refuse NaN and the infinities, which Python reads and JSON does not have."""
    raise ValueError(name)


def error_problems(
    headers: httpx.Headers, error: dict[str, Any], examples: dict[str, Any]
) -> Iterator[str]:
    """Check that an error is one that the document shows for its status (A5)."""
    if error["request_id"] != headers.get(REQUEST_ID):
        yield f"request_id {error['request_id']!r} is not the header {REQUEST_ID}"
    shown = {
        (example["value"]["code"], example["value"]["message"]) for example in examples.values()
    }
    code, message = error["code"], error["message"]
    if code not in {known for known, _ in shown}:
        yield f"the document has no example of {code} for this status"
    elif code != FREE_MESSAGE and (code, message) not in shown:
        yield f"the document shows another message for {code} than {message!r}"


def request_id_problems(sent: httpx.Headers, received: httpx.Headers) -> Iterator[str]:
    """Check that a caller's request id is kept when it is good and replaced when it is not."""
    own = sent.get(REQUEST_ID)
    if own is None:
        return
    kept = received.get(REQUEST_ID) == own
    if kept != bool(GOOD_REQUEST_ID.fullmatch(own)):
        yield f"{REQUEST_ID} {own!r} was sent, and {'' if kept else 'not '}kept"


def fail(problems: list[str], method: str, path: str, status: int, body: bytes) -> None:
    """Raise AssertionError if there are problems, with all of them and the start of the body."""
    if problems:
        excerpt = body.decode("utf-8", "replace")[:EXCERPT]
        listed = "\n".join(f"  - {problem}" for problem in problems)
        answered = f"{method} {path[:200]} answered {status}, against the contract:"
        message = f"{answered}\n{listed}\n  body: {excerpt}"
        raise AssertionError(message)
