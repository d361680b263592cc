"""After a change: have the gateway run it, and say what came of that, whatever it was.

The change is committed by then. A key that was just made is shown once, in the answer to the call
that made it, so nothing that goes wrong here may turn that answer into an error.
"""

import msgspec
import structlog

from services.admin.changes import Admin
from services.admin.gateway.publish import NodeReport, NodeState
from services.admin.gateway.publisher import Published
from services.admin.keys.rows import Key
from services.admin.partners.rows import Partner

log = structlog.get_logger()


class ChangedPartner(msgspec.Struct, frozen=True):
    """A partner after a change (a deleted one: before), and what the gateway's nodes run."""

    partner: Partner
    gateway: list[NodeReport] | None  # null: nothing changed for the gateway


class MadeKey(msgspec.Struct, frozen=True):
    """A key just made, with its plain text, and what the gateway's nodes run."""

    key: Key
    secret: str
    gateway: list[NodeReport] | None

    def __repr__(self) -> str:
        """Leave the secret out: representations end in logs and tracebacks."""
        return f"{type(self).__name__}(key={self.key!r})"


class RotatedKey(MadeKey, frozen=True, kw_only=True):
    """Likewise, with the key that it replaces."""

    replaced: Key

    def __repr__(self) -> str:
        """Leave the secret out."""
        return super().__repr__()


class ChangedKey(msgspec.Struct, frozen=True):
    """A key after a change, and what the gateway's nodes run."""

    key: Key
    gateway: list[NodeReport] | None


async def await_published(admin: Admin) -> Published:
    """Wait for the publish of a change; return what each node runs. Raises nothing."""
    try:
        published = await admin.await_publish()
    except Exception as exc:  # noqa: BLE001 -- it is logged
        return _failed(admin, exc)
    return _with_reasons(admin, published)


def publish_after(admin: Admin) -> Published:
    """Publish from a command; return what each node runs. Raises nothing."""
    try:
        published = admin.publish()
    except Exception as exc:  # noqa: BLE001 -- it is logged
        return _failed(admin, exc)
    return _with_reasons(admin, published)


def _failed(admin: Admin, exc: Exception) -> Published:
    log.error("gateway.publish_failed", exc_info=exc)
    return Published(nodes=_reports(admin, str(exc) or type(exc).__name__))


def _with_reasons(admin: Admin, published: Published) -> Published:
    """Say of every node why it was sent nothing, if it was."""
    if published.nothing_sent:
        words = published.policy_error or "there is nothing to send"
        return msgspec.structs.replace(published, nodes=_reports(admin, words))
    return published


def _reports(admin: Admin, words: str) -> list[NodeReport]:
    error = f"not published yet: {words}"
    return [
        NodeReport(url=url, state=NodeState.REFUSING, error=error) for url in admin.settings.nodes
    ]
