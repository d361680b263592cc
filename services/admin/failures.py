"""Failures: what a handler raises, in the one shape of all our errors (A5)."""

from typing import Any, cast

import psycopg
from litestar import Request, Response
from litestar.exceptions import ValidationException
from psycopg_pool import PoolTimeout

from services.admin.refusals import ConflictError, InvalidError, NotFoundError, RefusedError
from services.core.availability import Availability
from services.core.encryption import MasterKeyError
from services.core.errors import ErrorCode, envelope
from services.core.external_text import explained
from services.core.http.assembly import FailureHandlers
from services.core.http.failures import NO_STORE, NOT_AVAILABLE, answer_failure
from services.core.http.request_scope import current_request_id
from services.policy.render import PolicyError

AnyRequest = Request[Any, Any, Any]

CONFLICT = "CONFLICT"  # partners never see it, so it is none of the contract's codes

ANSWERS: dict[type[RefusedError], tuple[int, str]] = {
    InvalidError: (400, ErrorCode.INVALID_REQUEST),
    NotFoundError: (404, ErrorCode.NOT_FOUND),
    ConflictError: (409, CONFLICT),
    RefusedError: (400, ErrorCode.INVALID_REQUEST),
}


def exception_handlers(availability: Availability) -> FailureHandlers:
    """Return a handler for each kind of failure; `availability` is the database's."""

    def answer_away(request: AnyRequest, exc: Exception) -> Response[bytes]:
        availability.failed(exc)
        return _answer(request, 503, ErrorCode.SERVICE_UNAVAILABLE, NOT_AVAILABLE)

    def answer_busy(request: AnyRequest, exc: Exception) -> Response[bytes]:
        """All connections are taken for a while; DatabaseCheck tells whether PostgreSQL is away."""
        del exc
        return _answer(request, 503, ErrorCode.SERVICE_UNAVAILABLE, NOT_AVAILABLE)

    return {
        RefusedError: _answer_refusal,
        PolicyError: _answer_policy,
        MasterKeyError: _answer_policy,
        ValidationException: _answer_validation,
        psycopg.OperationalError: answer_away,
        PoolTimeout: answer_busy,
        Exception: answer_failure,
    }


def _answer_refusal(request: AnyRequest, exc: RefusedError) -> Response[bytes]:
    status, code = next(ANSWERS[kind] for kind in type(exc).__mro__ if kind in ANSWERS)
    return _answer(request, status, code, str(exc))


def _answer_policy(request: AnyRequest, exc: Exception) -> Response[bytes]:
    """A broken kong.yml or a missing master key is no fault of the call; what it changed stays."""
    return _answer(request, 409, CONFLICT, str(exc))


def _answer_validation(request: AnyRequest, exc: ValidationException) -> Response[bytes]:
    """Name each field that has not the right form."""
    faults = cast("list[dict[str, str]]", exc.extra or [])  # pyright: ignore[reportUnknownMemberType]
    told = "; ".join(_fault(each.get("key", ""), each["message"]) for each in faults)
    return _answer(request, 400, ErrorCode.INVALID_REQUEST, told or exc.detail)


def _fault(field: str, message: str) -> str:
    # A parameter called `state` is `in_state` in its handler: Litestar keeps `state` for itself.
    words = explained(message)
    return f"`{field.removeprefix('in_')}`: {words}" if field else words


def _answer(request: AnyRequest, status: int, code: str, message: str) -> Response[bytes]:
    body = envelope(code, message, current_request_id(request.scope))
    return Response(body, status_code=status, headers=NO_STORE, media_type="application/json")
