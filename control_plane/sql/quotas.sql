-- name: limits_and_stored^
-- What a new process or upload is judged by, in one cheap look.
SELECT t.max_held, t.max_executor_cores, t.max_stored_bytes, coalesce(s.bytes, 0) AS stored_bytes, t.bucket, t.prefix
FROM tenants t LEFT JOIN stored s ON s.tenant = t.id WHERE t.id = :tenant;

-- name: hold_storage!
-- Until this transaction ends, no other upload of the tenant is judged by what it would store.
SELECT pg_advisory_xact_lock(hashtextextended(jsonb_build_array('stored', :tenant::text)::text, 0));

-- name: limit_and_marked^
-- What is stored, and what other uploads will have stored whose manifest may lie in the store already. In one look: none is missed on its
-- way from the one to the other.
SELECT t.max_stored_bytes, coalesce(s.bytes, 0) + (
    SELECT coalesce(sum((file->>'bytes')::bigint), 0)::bigint FROM uploads u, jsonb_array_elements(u.files) AS file
    WHERE u.tenant = t.id AND u.state = 'open' AND u.manifest_put_at IS NOT NULL AND u.id <> :upload_id
) AS stored_bytes
FROM tenants t LEFT JOIN stored s ON s.tenant = t.id WHERE t.id = :tenant;

-- name: hold_acceptance$
-- How many are held; until this transaction ends, no other one of the tenant is accepted.
SELECT hold_acceptance(:tenant);

-- name: quota_use^
SELECT t.max_in_flight, t.max_held, t.max_executor_cores, t.max_stored_bytes, coalesce(s.bytes, 0) AS stored_bytes,
    count(p.id) FILTER (WHERE p.state = 'accepted') AS held,
    count(p.id) FILTER (WHERE p.state <> 'accepted') AS in_flight,
    coalesce(sum(n.executor_cores) FILTER (WHERE p.state <> 'accepted'), 0) AS executor_cores
FROM tenants t LEFT JOIN stored s ON s.tenant = t.id
LEFT JOIN processes p ON p.tenant = t.id AND p.state IN ('accepted', 'queued', 'submitted', 'running', 'sealing', 'cancelling')
LEFT JOIN LATERAL (
    SELECT a.step FROM attempts a WHERE a.process_id = p.id ORDER BY a.step DESC, a.number DESC LIMIT 1
) a ON p.state <> 'accepted'
LEFT JOIN steps n ON n.process_id = p.id AND n.number = a.step
WHERE t.id = :tenant GROUP BY t.id, s.bytes;
