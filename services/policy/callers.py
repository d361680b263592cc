"""Callers: what the gateway knows of a partner in one environment, without its keys."""

import msgspec
from psycopg import Connection
from psycopg.rows import TupleRow, class_row

from services.core.environments import Environment


class Caller(msgspec.Struct, frozen=True):
    """A partner as the gateway sees it; `keys` is how many work now, None when nobody asked."""

    tier: str
    state: str = "active"
    keys: int | None = None


SELECT_CALLER = """
SELECT tier, state, count(api_keys.id) AS keys
FROM control.partners LEFT JOIN control.api_keys
    ON partner_id = partners.id AND environment = %(environment)s AND revoked_at IS NULL
    AND (expires_at IS NULL OR expires_at > now())
WHERE partners.name = %(name)s
GROUP BY partners.id
"""


def find_caller(
    connection: Connection[TupleRow], name: str, environment: Environment
) -> Caller | None:
    """Return the partner of this name in an environment, if there is one."""
    cursor = connection.cursor(row_factory=class_row(Caller))
    values = {"name": name, "environment": environment}
    return cursor.execute(SELECT_CALLER, values).fetchone()
