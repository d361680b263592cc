"""Migrate: bring a database to the schema of this release; again is harmless."""

from pathlib import Path

import psycopg
from psycopg import sql
from yoyo import get_backend, read_migrations  # pyright: ignore[reportUnknownVariableType]

from services.kernel.schema.locks import MIGRATING

MIGRATIONS = Path(__file__).parent / "migrations"

ROLES = (
    "admin",
    "live_query",
    "live_stock",
    "live_webhooks",
    "sandbox_query",
    "sandbox_stock",
    "sandbox_webhooks",
)


def migrate(owner_url: str) -> int:
    """Apply what is missing, as the database's owner; return how many migrations that were."""
    with psycopg.connect(owner_url, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(%s)", [MIGRATING])
        backend = get_backend(owner_url.replace("postgresql://", "postgresql+psycopg://", 1))
        try:
            missing = backend.to_apply(read_migrations(str(MIGRATIONS)))
            backend.apply_migrations(missing)
            return len(missing)
        finally:
            backend.connection.close()


def set_role_password(owner_url: str, role: str, password: str) -> None:
    """Let a service's role log in with this password."""
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
        sql.Identifier(role), sql.Literal(password)
    )
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(statement)
