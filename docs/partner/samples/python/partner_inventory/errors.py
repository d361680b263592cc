"""Errors: one class for each way to react; `code` tells more."""

from collections.abc import Mapping

NO_ANSWER = "NO_ANSWER"  # a code of this client: nothing came, or not in time
UNKNOWN = "UNKNOWN"  # a code of this client: the answer is not one of the API's, as of a proxy


class PartnerInventoryError(Exception):
    """A request failed; each class below says what to do about it."""

    def __init__(
        self,
        status: int | None,
        code: str,
        message: str,
        request_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        """Take an error answer."""
        told = f"{'' if status is None else f'{status} '}{code}: {message}"
        super().__init__(f"{told} (request {request_id})" if request_id else told)
        self.status = status
        """The HTTP status; None when there was no answer."""
        self.code = code
        """One of the contract's codes, NO_ANSWER or UNKNOWN. New ones may come."""
        self.message = message
        """For people."""
        self.request_id = request_id
        """By which we find the request in our log; empty when there was no answer."""
        self.retry_after = retry_after
        """Seconds to wait before another try, if the answer says so."""


class InvalidRequestError(PartnerInventoryError):
    """The request is wrong and stays wrong (400, 405, 413, 414, 415): mend the program."""


class NotFoundError(InvalidRequestError):
    """The webhook or delivery is not there, or no longer; in production, the sandbox (404)."""


class NotAllowedError(PartnerInventoryError):
    """The key does not work here, or you are suspended (401, 403): stop, and wake somebody."""


class ConflictError(PartnerInventoryError):
    """Something else comes first (409); `code` says what, such as WEBHOOK_EXISTS."""


class CursorExpiredError(PartnerInventoryError):
    """The cursor is too old (410): start the delta sync anew. `Listing.sync` does it by itself."""


class RateLimitedError(PartnerInventoryError):
    """Over the limit (429), for longer than this client may wait: wait for `retry_after`."""


class UnavailableError(PartnerInventoryError):
    """No good answer (500 to 504, or none at all), for as long as this client may try: later."""


class NotGenuineError(Exception):
    """A webhook that is not ours, too old, or changed: answer 401, and keep the reason to you."""


_BY_STATUS: Mapping[int, type[PartnerInventoryError]] = {
    401: NotAllowedError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    410: CursorExpiredError,
    429: RateLimitedError,
}


def class_of(status: int) -> type[PartnerInventoryError]:
    """Return the class for a status that is not 2xx."""
    if 400 <= status < 500:
        return _BY_STATUS.get(status, InvalidRequestError)
    return UnavailableError
