"""The two environments, alike to the letter: products, the outbox with its triggers, partners.

- A BEFORE ROW trigger sets version and updated_at. PostgreSQL has locked the row by then, so that
  for each product both follow the order of the changes (Q2).
- An AFTER ROW trigger writes the outbox, stock_changes, in the same transaction: whoever changes
  stock, by whatever statement, leaves a line there (W6, W9).
- A statement that touched products sends an empty NOTIFY, which only wakes (ARCHITECTURE.md).
- Trigger functions run as their owner with a fixed search_path: a writer needs no right on the
  outbox and can't put tables of its own in the way.
"""

from yoyo import step

__depends__ = {"0001.roles"}

ENVIRONMENT = """
CREATE SCHEMA {env};

-- CACHE 1: numbers are given out in order over all sessions.
CREATE SEQUENCE {env}.stock_version AS bigint CACHE 1;

CREATE TABLE {env}.products (
    product_id text PRIMARY KEY
        CONSTRAINT product_id_form CHECK (product_id ~ '^[^[:cntrl:]]{{1,64}}$'),
    quantity integer NOT NULL CONSTRAINT quantity_not_negative CHECK (quantity >= 0),
    version bigint NOT NULL,
    updated_at timestamptz NOT NULL
);

-- The last removal of each product, so that a late insert can't fall behind it.
CREATE TABLE {env}.removed_products (
    product_id text PRIMARY KEY,
    version bigint NOT NULL,
    removed_at timestamptz NOT NULL
);

-- The outbox. One row of one statement is one change; new_quantity is null when it was removed.
CREATE TABLE {env}.stock_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Ids become visible out of order; snapshots and this tell what a reader has not seen yet.
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    product_id text NOT NULL,
    old_quantity integer,
    new_quantity integer,
    version bigint NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE INDEX stock_changes_xid ON {env}.stock_changes (xid);

-- Admin's copy of what services of this environment may know about a partner.
CREATE TABLE {env}.partners (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    contact text NOT NULL,
    state text NOT NULL CONSTRAINT partner_state CHECK (state IN ('active', 'suspended'))
);

CREATE FUNCTION {env}.stamp_product() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.product_id <> OLD.product_id THEN
            RAISE EXCEPTION 'a product_id never changes: delete % and insert %',
                OLD.product_id, NEW.product_id USING ERRCODE = 'check_violation';
        ELSIF NEW.quantity = OLD.quantity THEN  -- no change: nothing for anybody to see
            NEW.version := OLD.version;
            NEW.updated_at := OLD.updated_at;
            RETURN NEW;
        END IF;
    END IF;
    NEW.version := nextval('{env}.stock_version');
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE FUNCTION {env}.record_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        -- An insert takes its version before it waits for the key; a removal may have passed it.
        PERFORM 1 FROM {env}.removed_products AS removed
            WHERE removed.product_id = NEW.product_id AND removed.version > NEW.version;
        IF FOUND THEN
            RAISE EXCEPTION 'product % was removed at the same time: insert it again',
                NEW.product_id USING ERRCODE = 'serialization_failure';
        END IF;
        INSERT INTO {env}.stock_changes
            (product_id, old_quantity, new_quantity, version, changed_at)
            VALUES (NEW.product_id, NULL, NEW.quantity, NEW.version, NEW.updated_at);
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO {env}.stock_changes
            (product_id, old_quantity, new_quantity, version, changed_at)
            VALUES (NEW.product_id, OLD.quantity, NEW.quantity, NEW.version, NEW.updated_at);
    ELSE
        INSERT INTO {env}.removed_products AS removed (product_id, version, removed_at)
            VALUES (OLD.product_id, nextval('{env}.stock_version'), clock_timestamp())
            ON CONFLICT (product_id) DO UPDATE
                SET version = excluded.version, removed_at = excluded.removed_at;
        INSERT INTO {env}.stock_changes
            (product_id, old_quantity, new_quantity, version, changed_at)
            SELECT OLD.product_id, OLD.quantity, NULL, removed.version, removed.removed_at
            FROM {env}.removed_products AS removed WHERE removed.product_id = OLD.product_id;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION {env}.wake_readers() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_notify('{env}_stock', '');
    RETURN NULL;
END
$$;

CREATE FUNCTION {env}.refuse_truncate() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'TRUNCATE would lose changes: use DELETE'
        USING ERRCODE = 'feature_not_supported';
END
$$;

CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON {env}.products
    FOR EACH ROW EXECUTE FUNCTION {env}.stamp_product();
CREATE TRIGGER record_added_or_removed AFTER INSERT OR DELETE ON {env}.products
    FOR EACH ROW EXECUTE FUNCTION {env}.record_change();
CREATE TRIGGER record_changed AFTER UPDATE ON {env}.products
    FOR EACH ROW WHEN (OLD.version <> NEW.version) EXECUTE FUNCTION {env}.record_change();
CREATE TRIGGER wake AFTER INSERT OR UPDATE OR DELETE ON {env}.products
    FOR EACH STATEMENT EXECUTE FUNCTION {env}.wake_readers();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {env}.products
    FOR EACH STATEMENT EXECUTE FUNCTION {env}.refuse_truncate();

GRANT USAGE ON SCHEMA {env} TO {env}_query, {env}_stock, {env}_webhooks, admin;
GRANT SELECT ON {env}.products, {env}.stock_changes, {env}.removed_products TO {env}_query;
GRANT SELECT ON {env}.products, {env}.stock_changes, {env}.partners TO {env}_webhooks;
GRANT SELECT, INSERT, UPDATE, DELETE ON {env}.products TO {env}_stock, admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON {env}.partners TO admin;
"""

steps = [
    step(ENVIRONMENT.format(env=env), f"DROP SCHEMA {env} CASCADE") for env in ("live", "sandbox")
]
