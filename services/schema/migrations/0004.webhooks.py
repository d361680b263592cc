"""Webhooks: endpoints, events, deliveries with their attempts, mails; alike in both environments.

- stock_changes.relayed says whether the relay has made a change into events; changes from before
  this migration are not told to anybody.
- An endpoint's row is also the lock that claims of its deliveries take turns on.
- A delivery is one event for one endpoint. Its row is the truth; messages in Valkey only wake.
"""

from yoyo import step

__depends__ = {"0003.control"}

WEBHOOKS = """
-- A constant default does not rewrite the table; changes from now on start as false.
ALTER TABLE {env}.stock_changes ADD COLUMN relayed boolean NOT NULL DEFAULT true;
ALTER TABLE {env}.stock_changes ALTER COLUMN relayed SET DEFAULT false;
CREATE INDEX stock_changes_to_relay ON {env}.stock_changes (id) WHERE NOT relayed;

CREATE TABLE {env}.endpoints (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    partner_id uuid NOT NULL REFERENCES {env}.partners ON DELETE CASCADE,
    url text NOT NULL,
    events text[] NOT NULL CONSTRAINT endpoint_events CHECK (
        cardinality(events) > 0 AND events <@ ARRAY[
            'inventory.updated', 'inventory.low_stock', 'inventory.out_of_stock'
        ]
    ),
    state text NOT NULL DEFAULT 'active'
        CONSTRAINT endpoint_state CHECK (state IN ('active', 'disabled', 'deleted')),
    disabled_reason text
        CONSTRAINT endpoint_disabled_reason
            CHECK (disabled_reason IN ('by_partner', 'gone', 'failing')),
    -- Sealed with the master key; the previous secret is valid until its time has come (W11).
    secret bytea NOT NULL,
    previous_secret bytea,
    previous_secret_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    slow_until timestamptz,      -- it timed out: its deliveries go through the slow lane till then
    failing_since timestamptz,   -- the first failed attempt after its last success
    incident_since timestamptz,  -- its first exhausted delivery after its last success (W8)
    -- What its next attempts shall look like; only the sandbox sets it (A9).
    simulation text CONSTRAINT endpoint_simulation
        CHECK (simulation IN ('timeout', 'server_error', 'duplicate', 'out_of_order')),
    simulations_left integer NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX endpoints_partner_url_key ON {env}.endpoints (partner_id, url)
    WHERE state <> 'deleted';

CREATE TABLE {env}.events (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    event_type text NOT NULL CONSTRAINT event_type CHECK (event_type IN (
        'inventory.updated', 'inventory.low_stock', 'inventory.out_of_stock', 'webhook.ping'
    )),
    product_id text,  -- null, as version is, for a ping
    version bigint,
    occurred_at timestamptz NOT NULL,
    data text NOT NULL  -- the payload's `data`, finished JSON
);
CREATE INDEX events_occurred_at ON {env}.events (occurred_at);

CREATE TABLE {env}.deliveries (
    endpoint_id uuid NOT NULL REFERENCES {env}.endpoints ON DELETE CASCADE,
    event_id uuid NOT NULL REFERENCES {env}.events ON DELETE CASCADE,
    state text NOT NULL DEFAULT 'pending' CONSTRAINT delivery_state CHECK (
        state IN ('pending', 'sending', 'delivered', 'retrying', 'exhausted', 'cancelled')
    ),
    series integer NOT NULL DEFAULT 1,    -- a retry by hand and a replay start a new one
    attempts integer NOT NULL DEFAULT 0,  -- in this series, counted when claimed
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    claimed_at timestamptz,
    lease_until timestamptz,              -- while sending; afterwards the outcome is unknown
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (endpoint_id, event_id)
);
CREATE INDEX deliveries_due ON {env}.deliveries (endpoint_id, state, next_attempt_at, event_id)
    WHERE state IN ('pending', 'retrying');
CREATE INDEX deliveries_sending ON {env}.deliveries (endpoint_id, lease_until)
    WHERE state = 'sending';
-- The delivery log asked for what went wrong, newest first.
CREATE INDEX deliveries_failed ON {env}.deliveries (endpoint_id, state, event_id)
    WHERE state IN ('exhausted', 'cancelled');
CREATE INDEX deliveries_event ON {env}.deliveries (event_id);

CREATE TABLE {env}.attempts (
    endpoint_id uuid NOT NULL,
    event_id uuid NOT NULL,
    series integer NOT NULL,
    number integer NOT NULL,  -- 1 for the first of its series; retry_count is one less
    outcome text NOT NULL CONSTRAINT attempt_outcome CHECK (outcome IN (
        'delivered', 'http_error', 'timeout', 'connection_failed', 'tls_failed',
        'bad_answer', 'name_not_resolved', 'refused_target', 'unknown'
    )),
    status integer,           -- the HTTP status, when there was one
    detail text NOT NULL DEFAULT '',
    started_at timestamptz NOT NULL,
    milliseconds integer NOT NULL,
    PRIMARY KEY (endpoint_id, event_id, series, number),
    FOREIGN KEY (endpoint_id, event_id) REFERENCES {env}.deliveries ON DELETE CASCADE
);

-- Mails to technical contacts, kept until they were sent (W8).
CREATE TABLE {env}.mails (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    kind text NOT NULL CONSTRAINT mail_kind CHECK (kind IN (
        'incident_opened', 'incident_closed', 'endpoint_gone', 'endpoint_disabled'
    )),
    partner_id uuid NOT NULL REFERENCES {env}.partners ON DELETE CASCADE,
    endpoint_id uuid NOT NULL REFERENCES {env}.endpoints ON DELETE CASCADE,
    since timestamptz NOT NULL,      -- the first failed attempt after the last success
    reason text NOT NULL,            -- of the last failed attempt: `HTTP 500`, `timeout: ...`
    created_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error text NOT NULL DEFAULT '',
    sent_at timestamptz
);
CREATE INDEX mails_due ON {env}.mails (next_attempt_at) WHERE sent_at IS NULL;

GRANT UPDATE (relayed), DELETE ON {env}.stock_changes TO {env}_webhooks;
GRANT SELECT, INSERT, UPDATE, DELETE
    ON {env}.endpoints, {env}.events, {env}.deliveries, {env}.attempts, {env}.mails
    TO {env}_webhooks;
"""

# Partners set stock in the sandbox through the webhooks api (A9); in live nobody but the shop does.
SANDBOX_STOCK = "GRANT INSERT, UPDATE ON sandbox.products TO sandbox_webhooks"

TABLES = "{env}.mails, {env}.attempts, {env}.deliveries, {env}.events, {env}.endpoints"
UNDO = f"""
DROP TABLE {TABLES};
ALTER TABLE {{env}}.stock_changes DROP COLUMN relayed;
"""

steps = [
    *(step(WEBHOOKS.format(env=env), UNDO.format(env=env)) for env in ("live", "sandbox")),
    step(SANDBOX_STOCK, "REVOKE INSERT, UPDATE ON sandbox.products FROM sandbox_webhooks"),
]
