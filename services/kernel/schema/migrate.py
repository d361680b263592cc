"""Migrate: bring a database to the schema of this release; again is harmless."""

import os
import socket
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from yoyo import get_backend, read_migrations  # pyright: ignore[reportUnknownVariableType]
from yoyo.migrations import Migration

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
        backend.get_log_data = _log_row
        try:
            missing = backend.to_apply(read_migrations(str(MIGRATIONS)))
            backend.apply_migrations(missing)
            return len(missing)
        finally:
            backend.connection.close()


def _log_row(migration: Migration, operation: str) -> dict[str, Any]:
    """Return the row of yoyo's log for a migration, without a look-up of this host and this user.

    yoyo's own asks the resolver for the host's full name, which takes 10 s for each migration where
    no resolver answers, and fails for a user id without an entry in /etc/passwd.
    """
    return {
        "id": str(uuid.uuid4()),
        "migration_id": migration.id,
        "migration_hash": migration.hash,
        "username": str(os.geteuid()),
        "hostname": socket.gethostname(),
        "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
        "operation": operation,
    }


def set_role_password(owner_url: str, role: str, password: str) -> None:
    """Let a service's role log in with this password."""
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
        sql.Identifier(role), sql.Literal(password)
    )
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(statement)
