"""Domain: the secrets of an environment's endpoints that somebody will decrypt again."""

from psycopg import Connection
from psycopg.rows import TupleRow

SELECT_IN_USE = """
SELECT secret FROM endpoints WHERE state <> 'deleted'
UNION ALL
SELECT previous_secret FROM endpoints
WHERE state <> 'deleted' AND previous_secret_until > now() AND previous_secret IS NOT NULL
"""


def endpoint_secrets_in_use(connection: Connection[TupleRow]) -> list[bytes]:
    """Return the encrypted secrets in use."""
    return [row[0] for row in connection.execute(SELECT_IN_USE).fetchall()]
