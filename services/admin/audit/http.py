"""The audit log over HTTP: who changed what, and when."""

from datetime import datetime

from litestar import get

from services.admin.audit.rows import AuditEntry, AuditFilter, list_entries
from services.admin.changes import Admin
from services.admin.pages import LIMIT, Listing, page_of


@get("/audit", sync_to_thread=True, tags=["audit"])
def list_audit(
    *,
    admin: Admin,
    actor: str | None = None,
    action: str | None = None,
    target: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = LIMIT,
    cursor: str | None = None,
) -> Listing[AuditEntry]:
    """List changes, newest first. `action=key` and `target=partner` take all of their kind."""
    wanted = AuditFilter(actor=actor, action=action, target=target, since=since, until=until)
    page = page_of(limit, cursor)
    with admin.reading() as connection:
        return list_entries(connection, wanted, page)
