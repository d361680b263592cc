"""Delivery faults: how often we failed to make the attempt that a delivery has before it (W9).

The pause before the next try grows with it, whichever worker tries; no attempt is counted. An
expansion: programs of the release before name their columns and see nothing of it.
"""

from yoyo import step

__depends__ = {"0007.request_ids"}

# A constant default does not rewrite the table: the lock lasts a millisecond.
COLUMN = """
SET LOCAL lock_timeout = '2s';
ALTER TABLE {env}.deliveries ADD COLUMN faults integer NOT NULL DEFAULT 0;
"""

UNDO = "ALTER TABLE {env}.deliveries DROP COLUMN faults"

steps = [step(COLUMN.format(env=env), UNDO.format(env=env)) for env in ("live", "sandbox")]
