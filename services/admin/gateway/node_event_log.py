"""Node event log: logs each change of a node's state once, with keys masked."""

from collections.abc import Callable

import structlog

from services.admin.gateway.node_sync import Desired, NodeReport, NodeState

SETTLED = 1.0  # seconds; a file that is being saved is broken for a moment

log = structlog.get_logger()


class NodeEventLog:
    """Remembers what was logged of each node and of kong.yml."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with nothing logged; `clock` is monotonic seconds."""
        self._clock = clock
        self._nodes: dict[str, NodeReport] = {}
        self._logged_error: str | None = None
        self._error: str | None = None  # at the last look
        self._error_since = 0.0

    def node(self, report: NodeReport) -> None:
        """Log what changed at a node."""
        before = self._nodes.get(report.url)
        self._nodes[report.url] = report
        if report.state is NodeState.AWAY:
            if before is None or before.state is not NodeState.AWAY:
                log.warning("node.away", node=report.url, reason=report.error)
            return
        if before is not None and before.state is NodeState.AWAY:
            log.warning("node.back", node=report.url)
        if report.posted and report.revision is not None:
            log.info(
                "node.published",
                node=report.url,
                configuration_hash=report.hash,
                revision=report.revision,
                state=str(report.state),
            )
        is_news = before is None or (before.state, before.error) != (report.state, report.error)
        if report.error is not None and is_news:
            log.error("node.refused", node=report.url, state=str(report.state), reason=report.error)

    def policy(self, desired: Desired) -> None:
        """Log that the kong.yml on disk can't be sent, or can again."""
        error, now = desired.policy_error, self._clock()
        if error != self._error:
            self._error, self._error_since = error, now
        if error == self._logged_error or now - self._error_since < SETTLED:
            return
        self._logged_error = error
        if error is None:
            log.warning("policy.mended")
        else:
            log.error("policy.broken", faults=error.splitlines())
