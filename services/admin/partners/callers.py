"""Callers: a partner's row as the gateway sees it, for `partnerapi gateway explain`."""

from psycopg import Connection
from psycopg.rows import TupleRow, class_row

from services.core.environments import Environment
from services.policy.callers import Caller

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
