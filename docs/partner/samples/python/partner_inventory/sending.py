"""Sending: one request, tried again while that is safe and its time is not used up."""

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from partner_inventory.errors import (
    NO_ANSWER,
    UNKNOWN,
    NotFoundError,
    PartnerInventoryError,
    UnavailableError,
    class_of,
)
from partner_inventory.model import Limit

FIRST_PAUSE = 0.5  # seconds; each further one is twice as long
LONGEST_PAUSE = 30.0
PASSING = {429, 500, 502, 503, 504}  # worth another try
# The connection was not made, so nothing was done: safe to repeat, whatever it was.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Sender:
    """Sends requests with a key. Safe for several threads."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        patience: float,
        timeout: float,
        http: httpx.Client | None,
        headers: Mapping[str, str] | None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Take what `PartnerInventory` describes."""
        self._base_url = base_url.rstrip("/")
        self._headers = {**(headers or {}), "X-API-Key": api_key}
        self._patience = patience
        self._timeout = timeout
        self._own = http is None
        self._http = http or httpx.Client()
        self._sleep, self._clock, self._chance = sleep, clock, chance
        self.limit: Limit | None = None

    def close(self) -> None:
        """Close the connections, if they are this sender's own."""
        if self._own:
            self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: object = None,
        repeatable: bool = True,
    ) -> httpx.Response:
        """Return a good answer (2xx).

        What is not `repeatable` is only tried again when it is certain that nothing was done.
        Raises PartnerInventoryError.
        """
        give_up = self._clock() + self._patience
        attempt, unclear, timeout = 0, False, self._timeout
        while True:
            failure, certain = self._try(method, path, params, body, timeout)
            if isinstance(failure, httpx.Response):
                return failure
            if unclear and method == "DELETE" and isinstance(failure, NotFoundError):
                return httpx.Response(204)  # an earlier try, whose answer was lost, has done it
            pause = failure.retry_after
            if pause is None:
                pause = self._growing(attempt)
            again = is_passing(failure) and (repeatable or certain)
            if not again or self._clock() + pause >= give_up:
                raise failure
            self._sleep(pause)
            attempt, unclear = attempt + 1, unclear or not certain
            timeout = min(self._timeout, max(0.01, give_up - self._clock()))

    def _try(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        body: object,
        timeout: float,
    ) -> tuple[httpx.Response | PartnerInventoryError, bool]:
        """Return an answer or an error, and whether it is certain that nothing was done."""
        try:
            answer = self._http.request(
                method,
                self._base_url + path,
                params=params,
                json=body,
                headers=self._headers,
                timeout=timeout,
            )
        except httpx.TransportError as exc:
            told = f"{method} {path}: {exc or type(exc).__name__}"
            return UnavailableError(None, NO_ANSWER, told), isinstance(exc, NOT_SENT)
        self.limit = limit_of(answer.headers) or self.limit
        if answer.is_success:
            return answer, False
        return error_of(answer), answer.status_code < 500

    def _growing(self, attempt: int) -> float:
        """Return 0.5 s, 1 s, 2 s and so on; shorter by chance, so that not all come at once."""
        longest = min(FIRST_PAUSE * 2.0 ** min(attempt, 10), LONGEST_PAUSE)
        return longest * (0.5 + self._chance() / 2)


def is_passing(failure: PartnerInventoryError) -> bool:
    """Say whether another try can help."""
    return failure.status is None or failure.status in PASSING


def json_of(answer: httpx.Response) -> dict[str, Any]:
    """Return an answer's JSON object. Raises UnavailableError if it is something else."""
    try:
        found: object = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        request_id = answer.headers.get("X-Request-ID", "")
        raise UnavailableError(answer.status_code, UNKNOWN, "not an answer of the API", request_id)
    return found  # pyright: ignore[reportUnknownVariableType] -- the keys of JSON are texts


def error_of(answer: httpx.Response) -> PartnerInventoryError:
    """Return the error for an answer that is not 2xx."""
    retry_after = answer.headers.get("Retry-After", "")
    seconds = float(retry_after) if retry_after.isdecimal() else None  # never a date here
    try:
        found = json_of(answer)
    except UnavailableError:
        found = {}
    return class_of(answer.status_code)(
        answer.status_code,
        str(found.get("code", UNKNOWN)),
        str(found.get("message", "not an answer of the API")),
        answer.headers.get("X-Request-ID", ""),
        seconds,
    )


def limit_of(headers: httpx.Headers) -> Limit | None:
    """Return what an answer says of the limit; None if it was not counted."""
    found = [headers.get(f"RateLimit-{name}", "") for name in ("Limit", "Remaining", "Reset")]
    if not all(each.isdecimal() for each in found):
        return None
    return Limit(*map(int, found))
