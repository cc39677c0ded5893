-- Since when a manifest of the upload may lie in the store, whatever became of its PUT. For a while after it the upload is not given up.
ALTER TABLE uploads ADD COLUMN manifest_put_at timestamptz;

-- How many refused callbacks of an attempt are kept is bounded: counted before each one.
CREATE INDEX refused_callbacks_attempt ON refused_callbacks (process_id, step, attempt);

-- A tenant's own keys are looked after as the tenant. Their hashes stay with the owner, who looks credentials up.
GRANT SELECT (id, tenant, role, name, key_prefix, created_at, expires_at, last_used_at, revoked_at, life), INSERT, UPDATE (expires_at, revoked_at)
    ON api_keys TO stratum_tenant;

-- As in 0004, under a name that begins with its kind: no `Idempotency-Key` of anybody can name it.
CREATE OR REPLACE FUNCTION hold_acceptance(wanted text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(jsonb_build_array('held', wanted)::text, 0));
    RETURN (SELECT count(*) FROM processes WHERE tenant = wanted AND state = 'accepted');
END $$;
