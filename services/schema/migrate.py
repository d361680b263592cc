"""Migrate: bring a database to the schema of this release; again is harmless."""

import os
import socket
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from yoyo import read_migrations  # pyright: ignore[reportUnknownVariableType]
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import (
    default_migration_table,
    parse_uri,  # pyright: ignore[reportUnknownVariableType]
)

from services.schema.locks import MIGRATING

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


class _Backend(PostgresqlPsycopgBackend):
    """yoyo's, without its trials: statements that fail are errors in the server's log."""

    create_lock_table_sql = PostgresqlPsycopgBackend.create_lock_table_sql.replace(
        "CREATE TABLE", "CREATE TABLE IF NOT EXISTS"
    )

    def init_database(self) -> None:
        """Make the lock's table. Whether DDL is transactional need not be tried: it is."""
        self.create_lock_table()

    def get_log_data(self, migration: Any = None, operation: str = "apply") -> dict[str, Any]:  # noqa: ANN401 -- yoyo has no types
        """Return the row of the log for a migration, without asking who and where this is.

        yoyo's own asks the resolver for the host's full name, which takes 10 s for each migration
        where no resolver answers, and fails for a user id without an entry in /etc/passwd.
        """
        return {
            "id": str(uuid.uuid4()),
            "migration_id": migration.id if migration else None,
            "migration_hash": migration.hash if migration else None,
            "username": str(os.geteuid()),
            "hostname": socket.gethostname(),
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }


def migrate(owner_url: str) -> int:
    """Apply the missing migrations, as the database's owner; return how many those were."""
    with psycopg.connect(owner_url, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(%s)", [MIGRATING])
        backend: Any = _Backend(parse_uri(owner_url), default_migration_table)
        try:
            backend.init_database()
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
