"""Audit log: the operating-system user of a command, as their machine names it, beside the actor.

Nobody verifies it: the actor is the token's name. An expansion: programs of the release before name
their columns and write no user.
"""

from yoyo import step

__depends__ = {"0010.token_makers"}

COLUMN = """
SET LOCAL lock_timeout = '2s';
ALTER TABLE control.audit ADD COLUMN os_user text;
"""

UNDO = "ALTER TABLE control.audit DROP COLUMN os_user"

steps = [step(COLUMN, UNDO)]
