-- name: put_tenant!
INSERT INTO tenants (id, bucket, prefix, max_in_flight) VALUES (:id, :bucket, :prefix, :max_in_flight)
ON CONFLICT (id) DO UPDATE SET max_in_flight = excluded.max_in_flight;

-- name: tenant_inside$
-- Another tenant whose storage would lie inside this one's, or this one's inside it.
SELECT id FROM tenants WHERE id <> :id AND bucket = :bucket AND (starts_with(prefix, :prefix) OR starts_with(:prefix, prefix)) LIMIT 1;

-- name: lock_idempotency_key$
-- Held until the transaction ends; false: the same key is being worked on right now.
SELECT pg_try_advisory_xact_lock(hashtextextended(:tenant || '/' || :key, 0));

-- name: find_idempotency_key^
SELECT body_sha256, status, response FROM idempotency_keys WHERE tenant = :tenant AND key = :key;

-- name: put_idempotency_key!
INSERT INTO idempotency_keys (tenant, key, body_sha256, status, response) VALUES (:tenant, :key, :body_sha256, :status, :response);

-- name: database_time$
SELECT clock_timestamp();
