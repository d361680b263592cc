"""Client: admin's HTTP API, as `partnerapi` uses it; answers become Structs, errors exceptions."""

import ssl
import uuid
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Annotated, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from services.admin.pages import LIMIT_MOST, Listing
from services.core.errors import Envelope, ErrorCode
from services.core.headers import OS_USER, REQUEST_ID

ROOT = "/admin/v1"
# Seconds. A change waits up to 6 for the gateway's nodes, and deleting a partner with many
# deliveries takes longer than anything else.
ANSWERED_WITHIN = 120.0
CONNECTED_WITHIN = 5.0  # for each address of the name
JSON = "application/json"
URL_PATTERN = r"^https?://([^/\s@:\[\]]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?/?$"
TOKEN_PATTERN = "^[!-~]+$"  # noqa: S105 -- the form of a token

T = TypeVar("T")


class ClientSettings(msgspec.Struct, kw_only=True):
    """How to call admin; each field is a variable of its name in capitals."""

    # Where admin answers. Without it and ADMIN_TOKEN commands call the admin of the local stack.
    admin_url: Annotated[str, msgspec.Meta(pattern=URL_PATTERN)]
    admin_token: Annotated[str, msgspec.Meta(pattern=TOKEN_PATTERN)]  # of its user. Secret.


class AdminError(Exception):
    """Admin did not do what was asked; an error of A5."""

    def __init__(self, code: str, message: str, request_id: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.request_id = request_id


class RefusedByAdminError(AdminError):
    """Admin refuses: what was asked has to change."""


class AdminAwayError(AdminError):
    """Admin can't be reached, or is not ready: try again later."""


class Client:
    """Calls one admin. A name with two addresses: the second is tried when the first refuses."""

    def __init__(self, settings: ClientSettings, os_user: str) -> None:
        """`os_user` is the operating-system user, whom the audit log notes as unverified."""
        self._url = settings.admin_url.rstrip("/")
        self._client = httpx.Client(
            base_url=self._url + ROOT,
            headers={
                "Authorization": f"Bearer {settings.admin_token}",
                OS_USER: quote(os_user),
            },
            timeout=httpx.Timeout(ANSWERED_WITHIN, connect=CONNECTED_WITHIN),
            trust_env=False,  # the token is for admin, and for no proxy
            # The system's certificates (SSL_CERT_FILE); loading them takes 30 ms that http saves.
            verify=ssl.create_default_context() if self._url.startswith("https") else False,
        )

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

    def get(self, answer: type[T], *path: object, **parameters: object) -> T:
        """Return what a path answers; parameters that are None are left out. Raises AdminError."""
        return self.call("GET", answer, *path, parameters=parameters)

    def post(self, answer: type[T], *path: object, body: object = None) -> T:
        """Post a JSON body, if there is one; return the answer. Raises AdminError."""
        return self.call("POST", answer, *path, body=body)

    def call(
        self,
        method: str,
        answer: type[T],
        *path: object,
        parameters: Mapping[str, object] | None = None,
        body: object = None,
    ) -> T:
        """Return the answer to a call, None for `type(None)`. Raises AdminError."""
        content = None if body is None else msgspec.json.encode(body)
        with self.stream(method, *path, parameters=parameters, content=content) as response:
            received = response.read()
        if answer is type(None):
            return None  # pyright: ignore[reportReturnType]
        return decoded(response, received, answer)

    def listing(self, item: type[T], *path: object, limit: int, **parameters: object) -> Listing[T]:
        """Return the first `limit` items of a list, page by page. Raises AdminError."""
        items: list[T] = []
        cursor: str | None = None
        while True:
            page_limit = min(limit - len(items), LIMIT_MOST)
            more = {**parameters, "limit": page_limit, "cursor": cursor}
            page: Listing[T] = self.get(Listing[item], *path, **more)
            items += page.items
            cursor = page.next_cursor
            if cursor is None or len(items) >= limit:
                return Listing(items, cursor)

    @contextmanager
    def stream(
        self,
        method: str,
        *path: object,
        parameters: Mapping[str, object] | None = None,
        content: bytes | Iterable[bytes] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Generator[httpx.Response]:
        """Lend the answer to a call while it is still arriving. Raises AdminError.

        `content` may be a file that is sent as it is read; `lines` reads an answer line by line.
        """
        request_id = str(uuid.uuid4())
        headers = {REQUEST_ID: request_id, "Accept": accept}
        if content is not None:
            headers["Content-Type"] = content_type
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        sent = {name: _text(value) for name, value in given.items()}
        try:
            with self._client.stream(
                method, _path(path), params=sent, content=content, headers=headers
            ) as response:
                if not response.is_success:
                    raise _error_of(response, request_id)
                yield response
        except httpx.HTTPError as exc:
            msg = f"admin ({self._url}): {_reason(exc)}"
            raise AdminAwayError(ErrorCode.SERVICE_UNAVAILABLE, msg, request_id) from exc


def decoded(response: httpx.Response, received: bytes, kind: type[T]) -> T:
    """Return an answer, or a line of it, as a Struct. Raises RefusedByAdminError."""
    try:
        return msgspec.json.decode(received, type=kind)
    except msgspec.DecodeError as exc:
        url = response.request.url.copy_with(path="", query=None)
        msg = f"{url} answers something else than this command expects: {exc}"
        raise RefusedByAdminError(ErrorCode.BAD_GATEWAY, msg, request_id_of(response)) from exc


def request_id_of(response: httpx.Response) -> str:
    """Return the id that a call was sent with."""
    return response.request.headers[REQUEST_ID]


def lines(response: httpx.Response) -> Iterator[bytes]:
    """Yield the lines of an answer (application/x-ndjson) as they arrive, without empty ones."""
    rest = b""
    for chunk in response.iter_bytes():
        *whole, rest = (rest + chunk).split(b"\n")
        yield from filter(None, whole)
    if rest:
        yield rest


def _path(segments: tuple[object, ...]) -> str:
    return "".join(f"/{_segment(str(each))}" for each in segments)


def _segment(text: str) -> str:
    """Return a path segment; one of dots only is escaped, as it would be a step to a folder."""
    quoted = quote(text, safe="")
    return quoted.replace(".", "%2E") if not text.strip(".") else quoted


def _text(value: object) -> str:
    """Return a query parameter as admin reads it."""
    text = str(msgspec.to_builtins(value))
    return text.lower() if isinstance(value, bool) else text


def _error_of(response: httpx.Response, request_id: str) -> AdminError:
    """Return the exception of an answer that is an error, be it admin's or of something between."""
    try:
        found = msgspec.json.decode(response.read(), type=Envelope)
    except msgspec.DecodeError:
        message = f"{response.request.url.host} answers {response.status_code} and does not say why"
        found = Envelope(ErrorCode.BAD_GATEWAY, message, request_id)
    away = response.status_code in {502, 503, 504}
    kind = AdminAwayError if away else RefusedByAdminError
    return kind(found.code, found.message, found.request_id)


def _reason(exc: httpx.HTTPError) -> str:
    if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout):
        return f"can't be reached: {exc or type(exc).__name__}"
    return (
        f"no whole answer, so it may be done: look in the audit log ({exc or type(exc).__name__})"
    )
