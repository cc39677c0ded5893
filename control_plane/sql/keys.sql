-- name: find_key^
-- `used_lately`: its use was noted so short a time ago that it need not be noted again.
SELECT k.id, k.tenant, k.role, coalesce(k.last_used_at > clock_timestamp() - make_interval(secs => :note_seconds), false) AS used_lately
FROM api_keys k
WHERE k.key_hash = :key_hash AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp());

-- name: note_key_use!
-- Whoever changes the key right now is not waited for.
UPDATE api_keys SET last_used_at = clock_timestamp()
WHERE id = (SELECT id FROM api_keys WHERE id = :id FOR NO KEY UPDATE SKIP LOCKED);

-- name: put_key!
INSERT INTO api_keys (id, tenant, role, key_prefix, key_hash) VALUES (:id, :tenant, :role, :key_prefix, :key_hash)
ON CONFLICT (key_hash) DO NOTHING;

-- name: tenant_exists$
SELECT EXISTS (SELECT FROM tenants WHERE id = :tenant);

-- name: list_keys
SELECT id, name, role, key_prefix AS prefix, created_at, expires_at, last_used_at, revoked_at,
       CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= clock_timestamp() THEN 'expired' ELSE 'active' END AS state
FROM api_keys WHERE tenant = :tenant AND (:before::uuid IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit;

-- name: lock_keys!
-- One change of a tenant's keys at a time: only so is the last admin key known to be the last.
SELECT pg_advisory_xact_lock(hashtextextended(jsonb_build_array('keys', :tenant::text)::text, 0));

-- name: get_key^
SELECT id, name, role, key_prefix AS prefix, created_at, expires_at, last_used_at, revoked_at, life,
       CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= clock_timestamp() THEN 'expired' ELSE 'active' END AS state
FROM api_keys WHERE tenant = :tenant AND id = :id;

-- name: issue_key!
INSERT INTO api_keys (id, tenant, name, role, key_prefix, key_hash, life, expires_at)
VALUES (:id, :tenant, :name, :role, :key_prefix, :key_hash, :life::interval, clock_timestamp() + :life::interval);

-- name: other_admin_key$
-- Whether another admin key of the tenant is good.
SELECT EXISTS (SELECT FROM api_keys WHERE tenant = :tenant AND id <> :id AND role = 'admin'
    AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp()));

-- name: end_key!
-- At the end of `grace`, or earlier if it would have ended earlier.
UPDATE api_keys SET expires_at = least(expires_at, clock_timestamp() + :grace::interval) WHERE tenant = :tenant AND id = :id;

-- name: revoke_key!
UPDATE api_keys SET revoked_at = clock_timestamp() WHERE tenant = :tenant AND id = :id AND revoked_at IS NULL;

-- name: revoke_all_keys$
-- How many were good until now.
WITH ended AS (UPDATE api_keys SET revoked_at = clock_timestamp() WHERE tenant = :tenant AND revoked_at IS NULL RETURNING 1)
SELECT count(*) FROM ended;
