"""Core: every error a partner can see, and the one shape it comes in (A5)."""

from enum import StrEnum

import msgspec


class ErrorCode(StrEnum):
    """The codes of the public contract; gateway/plugins and the OpenAPI document list the same."""

    INVALID_REQUEST = "INVALID_REQUEST"
    BATCH_SIZE_EXCEEDED = "BATCH_SIZE_EXCEEDED"
    UNAUTHORIZED = "UNAUTHORIZED"
    FORBIDDEN = "FORBIDDEN"
    PARTNER_SUSPENDED = "PARTNER_SUSPENDED"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    WEBHOOK_EXISTS = "WEBHOOK_EXISTS"
    WEBHOOK_LIMIT_REACHED = "WEBHOOK_LIMIT_REACHED"
    WEBHOOK_DISABLED = "WEBHOOK_DISABLED"
    DELIVERY_IN_PROGRESS = "DELIVERY_IN_PROGRESS"
    CURSOR_EXPIRED = "CURSOR_EXPIRED"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    URI_TOO_LONG = "URI_TOO_LONG"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    RATE_LIMITED = "RATE_LIMITED"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    BAD_GATEWAY = "BAD_GATEWAY"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    GATEWAY_TIMEOUT = "GATEWAY_TIMEOUT"


STATUS_OF: dict[ErrorCode, int] = {
    ErrorCode.INVALID_REQUEST: 400,
    ErrorCode.BATCH_SIZE_EXCEEDED: 400,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.PARTNER_SUSPENDED: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.WEBHOOK_EXISTS: 409,
    ErrorCode.WEBHOOK_LIMIT_REACHED: 409,
    ErrorCode.WEBHOOK_DISABLED: 409,
    ErrorCode.DELIVERY_IN_PROGRESS: 409,
    ErrorCode.CURSOR_EXPIRED: 410,
    ErrorCode.PAYLOAD_TOO_LARGE: 413,
    ErrorCode.URI_TOO_LONG: 414,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.INTERNAL_ERROR: 500,
    ErrorCode.BAD_GATEWAY: 502,
    ErrorCode.SERVICE_UNAVAILABLE: 503,
    ErrorCode.GATEWAY_TIMEOUT: 504,
}

# What every path answers a suspended partner; error-envelope and the contract say the same.
SUSPENDED_MESSAGE = "This partner account is suspended: ask your contact at our company"


class PartnerError(Exception):
    """A request that ends in an error for its caller; one handler renders it.

    `message` is for the partner's developers: it names the field and says how to mend it.
    """

    def __init__(
        self, code: ErrorCode, message: str, *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.headers = headers or {}

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return STATUS_OF[self.code]


class Envelope(msgspec.Struct):
    """The body of every error (A5)."""

    code: str  # an ErrorCode, or one of a service that partners never see
    message: str
    request_id: str


_encode = msgspec.json.Encoder().encode


def envelope(code: str, message: str, request_id: str) -> bytes:
    """Return the body of an error as JSON bytes."""
    return _encode(Envelope(code=code, message=message, request_id=request_id))
