"""Locks: what the relay and an endpoint that is enabled again must not do at the same time.

A relay's batch sees an endpoint as disabled, the partner enables it and asks for a replay, and only
then the batch commits: its events would be in nobody's hands. So a batch holds the lock together
with other batches, and enabling holds it alone, after the batches before it have committed.
"""

from typing import LiteralString

HOLD_TOGETHER: LiteralString = "SELECT pg_advisory_xact_lock_shared(%(relaying)s)"
HOLD_ALONE: LiteralString = "SELECT pg_advisory_xact_lock(%(relaying)s)"
