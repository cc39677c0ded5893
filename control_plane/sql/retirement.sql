-- name: lock_dataset!
-- One retirement at a time, and none while a request that reads the dataset is being accepted: see `find_datasets`.
SELECT pg_advisory_xact_lock(hashtextextended(jsonb_build_array('dataset', :tenant::text, :entity_id::text, :data_version::text, :dataset::text)::text, 0));

-- name: dataset_to_retire^
SELECT d.manifest_sha256, d.bytes, d.location, t.bucket, t.prefix, clock_timestamp() AS now, r.retired_at, r.retired_by, r.reason, r.files_removed_at
FROM datasets d JOIN tenants t ON t.id = d.tenant
LEFT JOIN retirements r USING (tenant, entity_id, data_version, dataset)
WHERE d.tenant = :tenant AND d.entity_id = :entity_id AND d.data_version = :data_version AND d.dataset = :dataset;

-- name: retire!
INSERT INTO retirements (tenant, entity_id, data_version, dataset, retired_at, retired_by, reason)
VALUES (:tenant, :entity_id, :data_version, :dataset, :retired_at, :retired_by, :reason)
ON CONFLICT DO NOTHING;

-- name: retirement^
SELECT retired_at, retired_by, reason FROM retirements
WHERE tenant = :tenant AND entity_id = :entity_id AND data_version = :data_version AND dataset = :dataset;

-- name: retired_among^
-- The first of the datasets that is retired.
SELECT dataset, retired_at, retired_by, reason FROM retirements
WHERE tenant = :tenant AND entity_id = :entity_id AND data_version = :data_version AND dataset = ANY(:datasets::text[]) LIMIT 1;

-- name: active_readers
-- Processes that go on and read the dataset.
SELECT p.id FROM processes p JOIN steps s ON s.process_id = p.id
WHERE p.tenant = :tenant AND p.entity_id = :entity_id AND p.ended_at IS NULL
  AND s.inputs @> jsonb_build_array(jsonb_build_object('data_version', :data_version::text, 'dataset', :dataset::text))
ORDER BY p.id LIMIT 100;

-- name: made_from
-- Datasets that were made from it, and can no longer be reproduced once its files are gone.
SELECT d.data_version, d.dataset FROM datasets d
WHERE d.tenant = :tenant AND d.entity_id = :entity_id
  AND d.manifest->'inputs' @> jsonb_build_array(jsonb_build_object('data_version', :data_version::text, 'dataset', :dataset::text))
  AND NOT EXISTS (SELECT FROM retirements r WHERE r.tenant = d.tenant AND r.entity_id = d.entity_id AND r.data_version = d.data_version
      AND r.dataset = d.dataset)
ORDER BY d.data_version, d.dataset LIMIT 1000;

-- name: retired_to_remove
-- Retired datasets whose files may go now: the grace is over and no active process reads them; those after a given one, if any.
SELECT r.retired_at, r.tenant, r.entity_id, r.data_version, r.dataset, r.retired_by, r.reason, d.run_id, d.bytes, d.manifest_sha256, d.location,
    t.bucket, t.prefix
FROM retirements r JOIN datasets d USING (tenant, entity_id, data_version, dataset) JOIN tenants t ON t.id = r.tenant
WHERE r.files_removed_at IS NULL AND r.retired_at + make_interval(secs => :grace_seconds) < clock_timestamp()
  AND (:retired_at::timestamptz IS NULL OR (r.retired_at, r.tenant, r.entity_id, r.data_version, r.dataset)
    > (:retired_at::timestamptz, :tenant::text, :entity_id::text, :data_version::text, :dataset::text))
  AND NOT EXISTS (SELECT FROM processes p JOIN steps s ON s.process_id = p.id
    WHERE p.tenant = r.tenant AND p.entity_id = r.entity_id AND p.ended_at IS NULL
      AND s.inputs @> jsonb_build_array(jsonb_build_object('data_version', r.data_version, 'dataset', r.dataset)))
ORDER BY r.retired_at, r.tenant, r.entity_id, r.data_version, r.dataset LIMIT :limit;

-- name: retired_by_state
-- How many retired datasets still have their files, and how many bytes: `due`, the grace is over; `is_read`, and an active process reads them.
SELECT state.due, state.due AND EXISTS (SELECT FROM processes p JOIN steps s ON s.process_id = p.id
    WHERE p.tenant = r.tenant AND p.entity_id = r.entity_id AND p.ended_at IS NULL
      AND s.inputs @> jsonb_build_array(jsonb_build_object('data_version', r.data_version, 'dataset', r.dataset))) AS is_read,
    count(*) AS number, sum(d.bytes)::bigint AS bytes
FROM retirements r JOIN datasets d USING (tenant, entity_id, data_version, dataset),
    LATERAL (SELECT r.retired_at + make_interval(secs => :grace_seconds) < clock_timestamp() AS due) state
WHERE r.files_removed_at IS NULL GROUP BY 1, 2;

-- name: files_removed!
UPDATE retirements SET files_removed_at = clock_timestamp(), removed_objects = :objects, removed_bytes = :bytes
WHERE tenant = :tenant AND entity_id = :entity_id AND data_version = :data_version AND dataset = :dataset AND files_removed_at IS NULL;

-- name: retention_candidates
-- What a policy would let go: not among the newest versions of its entity that have it, or older than so many seconds.
WITH live AS (
    SELECT d.tenant, d.entity_id, d.data_version, d.dataset, d.bytes, d.created_at,
        row_number() OVER (PARTITION BY d.tenant, d.entity_id, d.dataset ORDER BY d.created_at DESC) AS place
    FROM datasets d WHERE NOT EXISTS (SELECT FROM retirements r WHERE r.tenant = d.tenant AND r.entity_id = d.entity_id
        AND r.data_version = d.data_version AND r.dataset = d.dataset)
)
SELECT * FROM live
WHERE (:tenant::text IS NULL OR tenant = :tenant)
  AND (:keep_last::integer IS NULL OR place > :keep_last)
  AND (:older_seconds::double precision IS NULL OR created_at + make_interval(secs => :older_seconds) < clock_timestamp())
ORDER BY tenant, entity_id, dataset, created_at;
