-- name: sweep_tenants
SELECT id AS tenant, bucket, prefix FROM tenants ORDER BY id;

-- name: longest_time_limit$
SELECT coalesce(max((limits->>'time_limit_seconds')::integer), 0) FROM steps;

-- name: folder_makers
-- Whose folders these are: attempts that were granted to a run of that id, and uploads. `over_since` is empty while one goes on.
SELECT a.run_id, CASE WHEN a.rank = 60
        THEN a.ended_at + make_interval(secs => coalesce((s.limits->>'time_limit_seconds')::integer, 0)) END AS over_since,
    false AS is_upload
FROM attempts a JOIN steps s ON s.process_id = a.process_id AND s.number = a.step
WHERE a.tenant = :tenant AND a.run_id = ANY(:run_ids::text[])
UNION ALL
SELECT u.id::text, CASE WHEN u.state <> 'open' THEN u.expires_at END, true FROM uploads u
WHERE u.tenant = :tenant AND u.id = ANY(:upload_ids::uuid[]);

-- name: registered_runs
-- The runs whose folders the registry says are sealed, whatever the store holds.
SELECT dataset, run_id FROM datasets
WHERE tenant = :tenant AND entity_id = :entity_id AND data_version = :data_version AND dataset = :dataset;

-- name: lock_folder_owners
-- Everything that could still seal the folder, until the transaction ends. Locks alone: `claim_folder` reads what is true after the wait.
WITH process AS (
    SELECT p.id FROM processes p WHERE p.id IN (SELECT a.process_id FROM attempts a WHERE a.tenant = :tenant AND a.run_id = :run_id)
    ORDER BY p.id FOR UPDATE
), upload AS (
    SELECT u.id FROM uploads u WHERE u.tenant = :tenant AND u.id = :upload_id FOR UPDATE
)
SELECT id FROM process UNION ALL SELECT id FROM upload;

-- name: claim_folder$
-- Marks a folder as being removed. No row: something may yet seal it, or has; or another sweeper is at it.
INSERT INTO swept_folders AS f (tenant, entity_id, data_version, dataset, run_id, lease_until)
SELECT :tenant, :entity_id, :data_version, :dataset, :run_id, clock_timestamp() + make_interval(secs => :lease_seconds)
WHERE NOT EXISTS (SELECT FROM attempts WHERE tenant = :tenant AND run_id = :run_id AND rank < 60)
  AND NOT EXISTS (SELECT FROM uploads WHERE tenant = :tenant AND id = :upload_id AND state = 'open')
  AND NOT EXISTS (SELECT FROM datasets WHERE tenant = :tenant AND entity_id = :entity_id AND data_version = :data_version
      AND dataset = :dataset AND run_id = :run_id)
ON CONFLICT (tenant, run_id, entity_id, data_version, dataset) DO UPDATE
    SET lease_until = excluded.lease_until, removed_at = NULL WHERE f.lease_until < clock_timestamp()
RETURNING run_id;

-- name: free_folder!
-- Nothing was removed: whoever may seal it, may.
DELETE FROM swept_folders WHERE tenant = :tenant AND entity_id = :entity_id AND data_version = :data_version AND dataset = :dataset
    AND run_id = :run_id;

-- name: folder_removed!
UPDATE swept_folders SET removed_at = clock_timestamp(), lease_until = clock_timestamp()
WHERE tenant = :tenant AND entity_id = :entity_id AND data_version = :data_version AND dataset = :dataset AND run_id = :run_id;

-- name: is_being_swept$
SELECT EXISTS (SELECT FROM swept_folders f JOIN attempts a ON a.tenant = f.tenant AND a.run_id = f.run_id
    WHERE a.process_id = :process_id AND a.step = :step AND a.number = :attempt);

-- name: runs_to_sweep
-- Folders of runs that ended without a manifest, long enough ago that none of their writers can be alive; those after a given one, if any.
SELECT a.ended_at, a.tenant, a.process_id, a.step, a.number AS attempt, a.run_id, s.entity_id, s.output_data_version, s.output_dataset, s.rejected_dataset,
       t.bucket, t.prefix
FROM attempts a JOIN steps s ON s.process_id = a.process_id AND s.number = a.step JOIN tenants t ON t.id = a.tenant
WHERE a.swept_at IS NULL AND a.run_id IS NOT NULL AND a.state IN ('failed', 'lost', 'cancelled')
  AND a.ended_at + make_interval(secs => :grace_seconds + coalesce((s.limits->>'time_limit_seconds')::integer, 0)) < clock_timestamp()
  AND (:ended_at::timestamptz IS NULL
    OR (a.ended_at, a.process_id, a.step, a.number) > (:ended_at::timestamptz, :process_id::uuid, :step::integer, :attempt::integer))
ORDER BY a.ended_at, a.process_id, a.step, a.number LIMIT :limit;

-- name: mark_swept!
UPDATE attempts SET swept_at = now() WHERE process_id = :process_id AND step = :step AND number = :attempt;

-- name: expired_uploads
SELECT expires_at, tenant, id, entity_id, data_version, dataset, manifest_put_at FROM uploads
WHERE state = 'open' AND expires_at < clock_timestamp()
  AND (:expires_at::timestamptz IS NULL OR (expires_at, id) > (:expires_at::timestamptz, :id::uuid))
ORDER BY expires_at, id LIMIT :limit;

-- name: uploads_to_sweep
SELECT u.expires_at, u.tenant, u.id, u.entity_id, u.data_version, u.dataset, t.bucket, t.prefix FROM uploads u JOIN tenants t ON t.id = u.tenant
WHERE u.state = 'expired' AND u.swept_at IS NULL AND u.expires_at + make_interval(secs => :grace_seconds) < clock_timestamp()
  AND (:expires_at::timestamptz IS NULL OR (u.expires_at, u.id) > (:expires_at::timestamptz, :id::uuid))
ORDER BY u.expires_at, u.id LIMIT :limit;

-- name: mark_upload_swept!
UPDATE uploads SET swept_at = now() WHERE id = :id;

-- name: log_owners
SELECT id, ended_at FROM processes WHERE tenant = :tenant AND id = ANY(:ids::uuid[]);

-- name: begin_full_sweep$
-- One full look in so many seconds, whoever takes it. A look that failed, or whose sweeper died, is taken again.
WITH turn AS (SELECT pg_try_advisory_xact_lock(x'5357454550'::bigint) AS mine)
INSERT INTO sweeps (id, scope, started_by) SELECT :id, 'full', 'reconcile' FROM turn
WHERE mine AND NOT EXISTS (SELECT FROM sweeps WHERE scope = 'full' AND started_by = 'reconcile' AND error IS NULL
    AND began_at + make_interval(secs => :seconds) > clock_timestamp()
    AND (ended_at IS NOT NULL OR began_at > clock_timestamp() - interval '1 hour'))
RETURNING id;

-- name: record_sweep!
INSERT INTO sweeps (id, scope, started_by, began_at, ended_at, report, error)
VALUES (:id, :scope, :started_by, :began_at, clock_timestamp(), :report, :error)
ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, report = excluded.report, error = excluded.error;

-- name: list_sweeps
SELECT id, scope, started_by, began_at, ended_at, report, error FROM sweeps ORDER BY began_at DESC LIMIT :limit;

-- name: end_zombies$
WITH zombie AS (
    SELECT a.tenant, a.process_id, a.step, a.number
    FROM unnest(:process_ids::uuid[], :steps::integer[], :attempts::integer[]) AS live (process_id, step, attempt)
    JOIN attempts a ON a.process_id = live.process_id AND a.step = live.step AND a.number = live.attempt
    WHERE a.rank = 60 AND a.ended_at < :began_at::timestamptz - interval '10 minutes'
    UNION
    SELECT a.tenant, a.process_id, a.step, a.number FROM processes p JOIN attempts a ON a.process_id = p.id
    WHERE p.state = 'cancelling' AND a.state = 'cancelled' AND a.ended_at < :began_at::timestamptz - interval '10 minutes'
), told AS (
    INSERT INTO outbox AS o (tenant, kind, process_id, step, attempt, message_id, released_at)
    SELECT tenant, 'cancel', process_id, step, number, gen_random_uuid(), clock_timestamp() FROM zombie
    ON CONFLICT (kind, process_id, step, attempt) DO UPDATE
        SET released_at = excluded.released_at, published_at = NULL WHERE o.published_at < clock_timestamp() - interval '10 minutes'
    RETURNING 1
)
SELECT count(*) FROM told;
