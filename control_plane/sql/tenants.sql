-- name: find_key^
SELECT k.tenant, k.role, k.key_prefix FROM api_keys k
WHERE k.key_hash = :key_hash AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp());

-- name: put_tenant!
INSERT INTO tenants (id, bucket, prefix, max_in_flight) VALUES (:id, :bucket, :prefix, :max_in_flight)
ON CONFLICT (id) DO UPDATE SET max_in_flight = excluded.max_in_flight;

-- name: tenant_inside$
-- Another tenant whose storage would lie inside this one's, or this one's inside it.
SELECT id FROM tenants WHERE id <> :id AND bucket = :bucket AND (starts_with(prefix, :prefix) OR starts_with(:prefix, prefix)) LIMIT 1;

-- name: put_key!
INSERT INTO api_keys (id, tenant, role, key_prefix, key_hash) VALUES (:id, :tenant, :role, :key_prefix, :key_hash)
ON CONFLICT (key_hash) DO NOTHING;

-- name: lock_idempotency_key$
-- Held until the transaction ends; false: the same key is being worked on right now.
SELECT pg_try_advisory_xact_lock(hashtextextended(:tenant || '/' || :key, 0));

-- name: find_idempotency_key^
SELECT body_sha256, status, response FROM idempotency_keys WHERE tenant = :tenant AND key = :key;

-- name: put_idempotency_key!
INSERT INTO idempotency_keys (tenant, key, body_sha256, status, response) VALUES (:tenant, :key, :body_sha256, :status, :response);

-- name: database_time$
SELECT clock_timestamp();
