"""Old rows: secrets go with what they belong to, and nothing repeated reads rows that are over.

- The secret of a deleted endpoint and of a revoked key is null. Endpoints that the release before
  deletes keep theirs until the scheduler looks at them, a minute later.
- endpoints.kept_until says when the scheduler looks again whether a deleted endpoint can go; null
  as long as something may wait for it.
- A row of removed_products goes with its change in the outbox. Those whose change is gone already
  go here.

Every table but removed_products is small, and its locks last milliseconds. That one comes first, in
both environments: a step's locks last until the last step has ended.
"""

from yoyo import step

__depends__ = {"0007.request_ids"}

REMOVED = "DELETE FROM {env}.removed_products WHERE removed_at < now() - interval '8 days'"

ENVIRONMENT = """
SET LOCAL lock_timeout = '2s';
GRANT SELECT, DELETE ON {env}.removed_products TO {env}_webhooks;

ALTER TABLE {env}.endpoints ALTER COLUMN secret DROP NOT NULL;
ALTER TABLE {env}.endpoints ADD CONSTRAINT endpoint_secret
    CHECK (state = 'deleted' OR secret IS NOT NULL) NOT VALID;
ALTER TABLE {env}.endpoints ADD COLUMN kept_until timestamptz;
CREATE INDEX endpoints_deleted ON {env}.endpoints ((coalesce(kept_until, changed_at)))
    WHERE state = 'deleted';
CREATE INDEX endpoints_in_use ON {env}.endpoints (id)
    WHERE state <> 'deleted' OR kept_until IS NULL;

CREATE INDEX mails_sent_at ON {env}.mails (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX mails_endpoint ON {env}.mails (endpoint_id);
"""

UNDO_ENVIRONMENT = """
DROP INDEX {env}.mails_endpoint, {env}.mails_sent_at, {env}.endpoints_in_use,
    {env}.endpoints_deleted;
ALTER TABLE {env}.endpoints DROP COLUMN kept_until;
ALTER TABLE {env}.endpoints DROP CONSTRAINT endpoint_secret;
UPDATE {env}.endpoints SET secret = '' WHERE secret IS NULL;
ALTER TABLE {env}.endpoints ALTER COLUMN secret SET NOT NULL;
REVOKE SELECT, DELETE ON {env}.removed_products FROM {env}_webhooks;
"""

KEYS = """
SET LOCAL lock_timeout = '2s';
ALTER TABLE control.api_keys ALTER COLUMN sealed DROP NOT NULL;
ALTER TABLE control.api_keys ADD CONSTRAINT api_keys_sealed
    CHECK (revoked_at IS NOT NULL OR sealed IS NOT NULL) NOT VALID;
UPDATE control.api_keys SET sealed = NULL WHERE revoked_at IS NOT NULL;
-- Those without an end are in it, too: as nulls.
CREATE INDEX api_keys_not_revoked ON control.api_keys (expires_at) WHERE revoked_at IS NULL;
-- A partner's deletion asks for each of its keys which one it has replaced.
CREATE INDEX api_keys_replaced_by ON control.api_keys (replaced_by) WHERE replaced_by IS NOT NULL;
"""

UNDO_KEYS = """
DROP INDEX control.api_keys_replaced_by, control.api_keys_not_revoked;
ALTER TABLE control.api_keys DROP CONSTRAINT api_keys_sealed;
UPDATE control.api_keys SET sealed = '' WHERE sealed IS NULL;
ALTER TABLE control.api_keys ALTER COLUMN sealed SET NOT NULL;
"""

ENVIRONMENTS = ("live", "sandbox")

steps = [
    *(step(REMOVED.format(env=env)) for env in ENVIRONMENTS),
    *(step(ENVIRONMENT.format(env=env), UNDO_ENVIRONMENT.format(env=env)) for env in ENVIRONMENTS),
    step(KEYS, UNDO_KEYS),
]
