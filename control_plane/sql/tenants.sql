-- name: put_tenant!
INSERT INTO tenants (id, bucket, prefix, max_in_flight) VALUES (:id, :bucket, :prefix, :max_in_flight)
ON CONFLICT (id) DO UPDATE SET max_in_flight = excluded.max_in_flight;

-- name: tenant_inside$
-- Another tenant whose storage would lie inside this one's, or this one's inside it.
SELECT id FROM tenants WHERE id <> :id AND bucket = :bucket AND (starts_with(prefix, :prefix) OR starts_with(:prefix, prefix)) LIMIT 1;

-- name: get_tenant^
SELECT bucket, prefix FROM tenants WHERE id = :id;

-- name: lock_idempotency_key$
-- Held until the transaction ends; false: the same key is being worked on right now.
-- The names of advisory locks begin with their kind, in a list: no text that a caller chooses can make one kind's name of another's.
SELECT pg_try_advisory_xact_lock(hashtextextended(jsonb_build_array('idempotency key', :tenant::text, :key::text)::text, 0));

-- name: find_idempotency_key^
SELECT body_sha256, status, response FROM idempotency_keys WHERE tenant = :tenant AND key = :key;

-- name: put_idempotency_key!
INSERT INTO idempotency_keys (tenant, key, body_sha256, status, response) VALUES (:tenant, :key, :body_sha256, :status, :response);

-- name: database_time$
SELECT clock_timestamp();

-- name: enter_tenant$
-- From here to the end of the transaction only rows of the tenant exist: the role has no others.
SELECT set_config('stratum.tenant', :tenant, true), set_config('role', 'stratum_tenant', true);

-- name: set_limits!
-- Those that are named; null takes a limit away.
UPDATE tenants SET
    max_held = CASE WHEN :limits::jsonb ? 'max_held' THEN (:limits->>'max_held')::integer ELSE max_held END,
    max_executor_cores = CASE WHEN :limits ? 'max_executor_cores' THEN (:limits->>'max_executor_cores')::integer ELSE max_executor_cores END,
    max_stored_bytes = CASE WHEN :limits ? 'max_stored_bytes' THEN (:limits->>'max_stored_bytes')::bigint ELSE max_stored_bytes END
WHERE id = :id;

-- name: unfinished$
-- Processes of a tenant that have not ended: held ones too, since they would be released.
SELECT count(*) FROM processes WHERE tenant = :tenant AND state NOT IN ('succeeded', 'failed', 'cancelled');
