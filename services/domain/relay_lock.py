"""Domain: the relay lock, which keeps a relay's batch apart from a change of its endpoints.

A relay's batch sees an endpoint as disabled, the partner enables it and asks for a replay, and only
then the batch commits: nobody would send its events. So a batch shares the lock with other batches.
Who enables an endpoint, or deletes a partner, takes it alone, after the batches before have
committed.
"""

from typing import LiteralString

from services.core.environments import Environment
from services.schema.locks import RELAYING

SHARE_RELAY_LOCK: LiteralString = "SELECT pg_advisory_xact_lock_shared(%(relaying)s)"
TAKE_RELAY_LOCK: LiteralString = "SELECT pg_advisory_xact_lock(%(relaying)s)"


def relay_lock(environment: Environment) -> dict[str, int]:
    """Return the parameters of both statements; the lock lasts until the transaction ends."""
    return {"relaying": RELAYING[environment]}
