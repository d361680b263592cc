-- After a database was restored from a backup, before any service starts. As its owner, once:
--   psql --single-transaction -v ON_ERROR_STOP=1 -f after_restore.sql "$OWNER_DATABASE_URL"
--
-- What partners saw after the backup was made must not pass for newer than what is there now. And
-- transaction numbers of the old server mean nothing to the new one: its readers go by them.
DO $$
DECLARE
    env text;
BEGIN
    FOREACH env IN ARRAY ARRAY['live', 'sandbox'] LOOP
        -- Ahead of all that was given out since the backup: 1,000 changes a second for 11 days.
        EXECUTE format('SELECT setval(%L, nextval(%L) + 1000000000)',
            env || '.stock_version', env || '.stock_version');
        -- Every product anew, without events: a partner may hold a newer version of any of them.
        EXECUTE format('ALTER TABLE %I.products DISABLE TRIGGER USER', env);
        EXECUTE format('UPDATE %I.products SET version = nextval(%L),
            updated_at = clock_timestamp()', env, env || '.stock_version');
        EXECUTE format('ALTER TABLE %I.products ENABLE TRIGGER USER', env);
        -- Cursors of the delta sync are refused by another database (410), so nobody reads these.
        EXECUTE format('DELETE FROM %I.removed_products', env);
        EXECUTE format('DELETE FROM %I.stock_changes WHERE relayed', env);
        EXECUTE format('UPDATE %I.stock_changes SET xid = pg_current_xact_id()', env);
    END LOOP;
END
$$;
