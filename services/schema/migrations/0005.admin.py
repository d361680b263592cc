"""Admin: tokens, the audit log, what the gateway's nodes run, last uses of keys.

- control.gateway_revision counts every change that the gateway's configuration depends on. Its one
  row is locked by whoever changes something, so revisions become visible in their order.
- The audit log is only ever added to.
- Each environment's services note there which keys they have seen; only admin reads it.
"""

from yoyo import step

__depends__ = {"0004.webhooks"}

CONTROL = """
CREATE TABLE control.tokens (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    name text NOT NULL CONSTRAINT tokens_name_form CHECK (name ~ '^[a-z][a-z0-9-]{1,39}$'),
    role text NOT NULL CONSTRAINT token_role CHECK (role IN ('operator', 'viewer')),
    fingerprint text NOT NULL CONSTRAINT tokens_fingerprint_key UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
CREATE UNIQUE INDEX tokens_name_key ON control.tokens (name) WHERE revoked_at IS NULL;

CREATE TABLE control.audit (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,       -- `token:NAME` or `cli:USER`
    action text NOT NULL,      -- `partner.created`, `key.revoked`, ...
    target text NOT NULL,      -- `partner:techmart`, `key:<id>`, ...
    before jsonb,              -- of what changed; secrets masked
    after jsonb,
    request_id text
);
CREATE INDEX audit_target ON control.audit (target, id);

ALTER TABLE control.api_keys
    ADD COLUMN replaced_by uuid REFERENCES control.api_keys ON DELETE SET NULL;
CREATE INDEX api_keys_expires_at ON control.api_keys (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE control.gateway_revision (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision bigint NOT NULL
);
INSERT INTO control.gateway_revision (revision) VALUES (0);

-- The last kong.yml that every node took; partners and keys are never rolled back with it.
CREATE TABLE control.gateway_policy (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    policy text NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now()
);

-- What the admin that holds the lock is doing; its age tells whether there is one.
CREATE TABLE control.gateway_publisher (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    name text NOT NULL,            -- host and process id
    seen_at timestamptz NOT NULL,
    revision bigint NOT NULL,      -- of the partners and keys in what it sends
    text_hash text,                -- of what it sends; null: it has nothing to send
    policy_hash text,              -- of the kong.yml in it
    policy_error text              -- why the kong.yml on its disk is not in it
);

CREATE TABLE control.gateway_nodes (
    url text PRIMARY KEY,
    state text NOT NULL CONSTRAINT node_state CHECK (state IN (
        'current',     -- it runs what it should
        'fallback',    -- it refuses this kong.yml and runs the last good one, with keys of now
        'refusing',    -- it takes neither
        'away'         -- it does not answer
    )),
    hash text,                     -- what it runs, as far as it says
    revision bigint,               -- of the partners and keys that it runs
    error text,                    -- null when it is current
    since timestamptz NOT NULL,    -- in this state
    seen_at timestamptz NOT NULL   -- the last look at it
);

CREATE FUNCTION control.gateway_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE control.gateway_revision SET revision = revision + 1;
    PERFORM pg_notify('control_gateway', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER gateway_changed
    AFTER INSERT OR DELETE OR UPDATE OF name, tier, state ON control.partners
    FOR EACH STATEMENT EXECUTE FUNCTION control.gateway_changed();
CREATE TRIGGER gateway_changed
    AFTER INSERT OR DELETE OR UPDATE OF revoked_at, expires_at ON control.api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION control.gateway_changed();

GRANT SELECT, INSERT, UPDATE, DELETE ON control.tokens, control.gateway_policy,
    control.gateway_publisher, control.gateway_nodes TO admin;
GRANT SELECT ON control.gateway_revision TO admin;
GRANT SELECT, INSERT ON control.audit TO admin;
"""

UNDO_CONTROL = """
DROP TRIGGER gateway_changed ON control.partners;
DROP TRIGGER gateway_changed ON control.api_keys;
DROP FUNCTION control.gateway_changed();
DROP TABLE control.gateway_nodes, control.gateway_publisher, control.gateway_policy,
    control.gateway_revision, control.audit, control.tokens;
DROP INDEX control.api_keys_expires_at;
ALTER TABLE control.api_keys DROP COLUMN replaced_by;
"""

ENVIRONMENT = """
-- By credential id, which the gateway tells the services (X-Credential-Identifier).
CREATE TABLE {env}.key_uses (
    key_id uuid PRIMARY KEY,
    last_used_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON {env}.key_uses TO {env}_query, {env}_webhooks;
GRANT SELECT, DELETE ON {env}.key_uses TO admin;

ALTER TABLE {env}.endpoints DROP CONSTRAINT endpoint_disabled_reason;
ALTER TABLE {env}.endpoints ADD CONSTRAINT endpoint_disabled_reason
    CHECK (disabled_reason IN ('by_partner', 'by_operator', 'gone', 'failing'));

-- What went wrong over all endpoints, newest first, for operations.
CREATE INDEX deliveries_failed_anywhere ON {env}.deliveries (state, event_id)
    WHERE state IN ('exhausted', 'cancelled');

GRANT SELECT ON {env}.endpoints, {env}.events, {env}.deliveries, {env}.attempts, {env}.mails
    TO admin;
GRANT UPDATE ON {env}.endpoints TO admin;
GRANT INSERT, UPDATE ON {env}.deliveries TO admin;
"""

UNDO_ENVIRONMENT = """
REVOKE ALL ON {env}.endpoints, {env}.events, {env}.deliveries, {env}.attempts, {env}.mails
    FROM admin;
DROP INDEX {env}.deliveries_failed_anywhere;
UPDATE {env}.endpoints SET disabled_reason = 'by_partner' WHERE disabled_reason = 'by_operator';
ALTER TABLE {env}.endpoints DROP CONSTRAINT endpoint_disabled_reason;
ALTER TABLE {env}.endpoints ADD CONSTRAINT endpoint_disabled_reason
    CHECK (disabled_reason IN ('by_partner', 'gone', 'failing'));
DROP TABLE {env}.key_uses;
"""

steps = [
    step(CONTROL, UNDO_CONTROL),
    *(
        step(ENVIRONMENT.format(env=env), UNDO_ENVIRONMENT.format(env=env))
        for env in ("live", "sandbox")
    ),
]
