"""Watch: one thread for each node, so that one that is away or hangs holds up no other."""

import threading
from collections.abc import Callable, Sequence

import structlog

from services.admin.gateway.node_sync import Desired, Memory, NodeReport, StoodDownError, settle
from services.admin.gateway.nodes import NodeClient
from services.core.background import note_failure

LOOK_EVERY = 1.0  # seconds between two looks at a node; it is to be right again within 5

log = structlog.get_logger()


class Watch:
    """Keeps nodes at what is desired, from `begin` to `end`: one term as the publisher."""

    def __init__(
        self,
        nodes: Sequence[str],
        on_report: Callable[[NodeReport], None],
        *,
        may_post: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        """`on_report` is called in the nodes' threads."""
        self._nodes = nodes
        self._on_report = on_report
        self._may_post = may_post
        self._clock = clock
        self._desired: Desired | None = None
        self._is_over = False
        self._changed = threading.Condition()

    def begin(self) -> None:
        """Start the threads; they wait for something to be desired."""
        for node in self._nodes:
            # A daemon: a node that hangs must not keep the process from ending.
            threading.Thread(
                target=self._run, args=(node,), name=f"gateway {node}", daemon=True
            ).start()

    def desire(self, desired: Desired) -> None:
        """Have every node looked at anew if this is another one than before."""
        with self._changed:
            if desired is not self._desired:
                self._desired = desired
                self._changed.notify_all()

    def end(self) -> None:
        """Post nothing any more. Threads end by themselves, those that hang at their timeout."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _run(self, url: str) -> None:
        memory = Memory()
        seen: Desired | None = None
        with NodeClient(url) as node:
            while (desired := self._next(seen)) is not None:
                seen = desired
                try:
                    report = settle(
                        node, desired, memory, clock=self._clock, may_post=self._may_post_now
                    )
                except StoodDownError:
                    continue
                except Exception:  # noqa: BLE001 -- a watch that ended would leave nobody to notice
                    note_failure("node.unexpected", node=url)
                    continue
                if not self._is_over:  # a later term has reports of its own
                    self._on_report(report)

    def _next(self, seen: Desired | None) -> Desired | None:
        """Return what is desired, when that changes or a second later; None: it is over."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_over or self._desired is not seen,
                timeout=LOOK_EVERY if seen is not None else None,
            )
            return None if self._is_over else self._desired

    def _may_post_now(self) -> bool:
        return not self._is_over and self._may_post()
