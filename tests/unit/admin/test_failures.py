"""Failures of PostgreSQL that admin answers: which of them say that it is away."""

from typing import Any

import psycopg
import pytest
from litestar import Request
from psycopg_pool import PoolTimeout
from structlog.testing import capture_logs

from services.admin.failures import exception_handlers
from services.core.availability import Availability
from services.core.encryption import MasterKeyError


def test_a_missing_master_key_is_a_conflict_with_its_sentence() -> None:
    handlers = exception_handlers(Availability("database", clock=lambda: 0.0))
    request = Request[Any, Any, Any]({"type": "http", "state": {"request_id": "an-id"}})  # pyright: ignore[reportArgumentType]
    failure = MasterKeyError("none of MASTER_KEYS opens it")
    answer = handlers[MasterKeyError](request, failure)
    assert answer.status_code == 409
    assert b"none of MASTER_KEYS opens it" in answer.content


@pytest.mark.parametrize(
    ("failure", "told"),
    [(psycopg.OperationalError("refused"), ["database.away"]), (PoolTimeout("all taken"), [])],
)
def test_a_pool_without_a_free_connection_is_not_a_database_that_is_away(
    failure: Exception, told: list[str]
) -> None:
    handlers = exception_handlers(Availability("database", clock=lambda: 0.0))
    request = Request[Any, Any, Any]({"type": "http", "state": {"request_id": "an-id"}})  # pyright: ignore[reportArgumentType]
    with capture_logs() as logs:
        answer = handlers[type(failure)](request, failure)
    assert answer.status_code == 503
    assert [each["event"] for each in logs] == told
