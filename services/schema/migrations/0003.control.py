"""Control: partners and their API keys; only admin reads it."""

from yoyo import step

__depends__ = {"0002.environments"}

CONTROL = """
CREATE SCHEMA control;

CREATE TABLE control.partners (
    id uuid PRIMARY KEY,
    name text NOT NULL
        CONSTRAINT partners_name_key UNIQUE
        -- A dot or colon would make gateway usernames and custom ids of two partners the same.
        CONSTRAINT partners_name_form
            CHECK (name ~ '^[a-z][a-z0-9-]{1,39}$' AND name <> 'anonymous'),
    tier text NOT NULL,
    contact text NOT NULL
        CONSTRAINT partners_contact_form CHECK (contact ~ '^[^@[:space:]]+@[^@[:space:]]+$'),
    state text NOT NULL DEFAULT 'active'
        CONSTRAINT partner_state CHECK (state IN ('active', 'suspended')),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE control.api_keys (
    id uuid PRIMARY KEY,
    partner_id uuid NOT NULL REFERENCES control.partners ON DELETE CASCADE,
    environment text NOT NULL CONSTRAINT key_environment CHECK (environment IN ('live', 'sandbox')),
    shown text NOT NULL,
    fingerprint text NOT NULL CONSTRAINT api_keys_fingerprint_key UNIQUE,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_keys_partner ON control.api_keys (partner_id);

GRANT USAGE ON SCHEMA control TO admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA control TO admin;
"""

steps = [step(CONTROL, "DROP SCHEMA control CASCADE")]
