"""Request ids: which request made a change, from the outbox to the log lines of webhooks (D4).

A service says `set_config('partnerapi.request_id', ..., true)` in the transaction of its change,
and the outbox's default takes it from there: the trigger is as it was, and whoever says nothing
leaves null. An expansion: programs of the release before name their columns and see nothing of it.
"""

from yoyo import step

__depends__ = {"0006.delta_sync"}

# Without a default in the same breath no row is looked at: the locks last a millisecond.
COLUMNS = """
SET LOCAL lock_timeout = '2s';
ALTER TABLE {env}.stock_changes ADD COLUMN request_id text;
ALTER TABLE {env}.stock_changes ALTER COLUMN request_id
    SET DEFAULT nullif(left(current_setting('partnerapi.request_id', true), 64), '');
ALTER TABLE {env}.events ADD COLUMN request_id text;
"""

UNDO = """
ALTER TABLE {env}.events DROP COLUMN request_id;
ALTER TABLE {env}.stock_changes DROP COLUMN request_id;
"""

steps = [step(COLUMNS.format(env=env), UNDO.format(env=env)) for env in ("live", "sandbox")]
