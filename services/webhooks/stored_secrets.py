"""Stored secrets: those that the api and the workers of an environment have to decrypt."""

from psycopg import sql

from services.core.encryption import SecretBox
from services.core.environments import Environment
from services.core.stored_secrets import StoredSecrets

IN_USE = """
SELECT secret FROM {env}.endpoints WHERE state <> 'deleted'
UNION ALL
SELECT previous_secret FROM {env}.endpoints
WHERE state <> 'deleted' AND previous_secret_until > now() AND previous_secret IS NOT NULL
"""


def endpoint_secrets(database_url: str, environment: Environment, box: SecretBox) -> StoredSecrets:
    """Return what looks at the secrets of an environment's endpoints, not yet started."""
    query = sql.SQL(IN_USE).format(env=sql.Identifier(environment))
    return StoredSecrets(database_url, box, [query])
