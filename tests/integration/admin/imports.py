"""How tests run imports of the daily file, and what they look at afterwards."""

import io
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from services.admin.audit.rows import Actor
from services.admin.changes import Admin
from services.admin.settings import AdminSettings
from services.admin.stock.importing import Import, ImportOptions, ImportReport
from services.core.encryption import SecretBox
from services.core.environments import Environment
from services.core.settings import load_settings
from tests.admin_process import settings_for
from tests.conftest import Database

Owner = psycopg.Connection[Any]
CSV = {"Content-Type": "text/csv"}
OUTCOMES = ("changed", "unchanged", "added", "refused", "not_reached")


def present(owner: Owner) -> dict[str, int]:
    return dict(owner.execute("SELECT product_id, quantity FROM live.products").fetchall())


def changes(owner: Owner) -> list[tuple[Any, ...]]:
    return owner.execute(
        "SELECT product_id, old_quantity, new_quantity FROM live.stock_changes ORDER BY id"
    ).fetchall()


def noted(owner: Owner) -> list[dict[str, Any]]:
    """Return what the audit log says of imports that ended."""
    rows = owner.execute(
        "SELECT after FROM control.audit WHERE action = 'stock.imported' ORDER BY id"
    )
    return [row[0] for row in rows]


def begun(owner: Owner) -> dict[str, dict[str, Any]]:
    """Return what the audit log says of imports that began, by the entry's id."""
    rows = owner.execute(
        "SELECT id::text, after FROM control.audit WHERE action = 'stock.import_began'"
    )
    return dict(rows.fetchall())


def counts(report: Mapping[str, Any]) -> dict[str, int]:
    return {name: report[name] for name in OUTCOMES if report[name]}


def opened(database: Database, connection: psycopg.Connection[Any]) -> Admin:
    given_settings = load_settings(AdminSettings, settings_for(database))
    return Admin(given_settings, SecretBox(given_settings.master_keys), lambda: lent(connection))


class lent:  # noqa: N801 -- used as a function
    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def __enter__(self) -> psycopg.Connection[Any]:
        return self.connection

    def __exit__(self, *_: object) -> None:
        pass


def imported(
    database: Database,
    content: bytes,
    *,
    options: ImportOptions | None = None,
    **more: Any,  # noqa: ANN401 -- of Import
) -> ImportReport:
    options = options or ImportOptions()
    with psycopg.connect(database.url("admin"), autocommit=True) as connection:
        run = Import(
            opened(database, connection), Actor("cli:tests"), Environment.LIVE, options, **more
        )
        return run.run(io.BytesIO(content), "daily.csv")


def lines(rows: Iterable[tuple[str, int]]) -> bytes:
    return "".join(f"{product_id},{quantity}\n" for product_id, quantity in rows).encode()


def changes_to(owner: Owner, quantity: int) -> int:
    rows = owner.execute(
        "SELECT count(*) FROM live.stock_changes WHERE new_quantity = %s", [quantity]
    ).fetchall()
    return int(rows[0][0])
