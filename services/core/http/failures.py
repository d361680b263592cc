"""Failures: any exception of a handler, Litestar's own included, becomes the envelope (A5)."""

from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from services.core.database_calls import DatabaseAwayError
from services.core.errors import STATUS_OF, ErrorCode, PartnerError, envelope
from services.core.external_text import ExternalTextError
from services.core.http.request_scope import UNEXPECTED, current_request_id

NO_STORE = {"Cache-Control": "no-store"}  # a cache would keep a 404 of its own accord
NOT_AVAILABLE = "The service is not available; try again"

log = structlog.get_logger()

# What Litestar itself refuses, in our words.
REFUSALS: dict[int, tuple[ErrorCode, str]] = {
    404: (ErrorCode.NOT_FOUND, "No such path"),
    405: (ErrorCode.METHOD_NOT_ALLOWED, "Method not allowed"),
    413: (ErrorCode.PAYLOAD_TOO_LARGE, "The request body is too large"),
    415: (ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Send the body with Content-Type: application/json"),
}


def answer_failure(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
    """Render an exception; the app's only exception handler."""
    return _respond(request, _as_partner_error(exc))


def _as_partner_error(exc: Exception) -> PartnerError:
    if isinstance(exc, PartnerError):
        return exc
    if isinstance(exc, ExternalTextError):
        return PartnerError(ErrorCode.INVALID_REQUEST, str(exc))
    if isinstance(exc, DatabaseAwayError):
        return PartnerError(
            ErrorCode.SERVICE_UNAVAILABLE, NOT_AVAILABLE, headers={"Retry-After": "1"}
        )
    if isinstance(exc, HTTPException) and exc.status_code < 500:
        invalid = (ErrorCode.INVALID_REQUEST, exc.detail or "The request is malformed")
        code, message = REFUSALS.get(exc.status_code, invalid)
        allow = (exc.headers or {}).get("allow")
        return PartnerError(code, message, headers={"Allow": allow} if allow else None)
    log.error("request.failed", exc_info=exc)
    return PartnerError(ErrorCode.INTERNAL_ERROR, UNEXPECTED)


def _respond(request: Request[Any, Any, Any], error: PartnerError) -> Response[bytes]:
    return Response(
        envelope(error.code, error.message, current_request_id(request.scope)),
        status_code=STATUS_OF[error.code],
        headers={**NO_STORE, **error.headers},
        media_type="application/json",
    )
