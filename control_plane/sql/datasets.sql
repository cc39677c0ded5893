-- name: find_datasets
-- Each is held, until the transaction ends, against being retired. Who had to wait for that asks `retired_among` afterwards.
SELECT data_version, dataset, manifest_sha256, rows, bytes,
    pg_advisory_xact_lock_shared(hashtextextended(jsonb_build_array('dataset', tenant, entity_id, data_version, dataset)::text, 0)) IS NULL AS held
FROM datasets
WHERE tenant = :tenant AND entity_id = :entity_id AND data_version = :data_version AND dataset = ANY(:datasets::text[]);

-- name: owner_of^
-- Who has a dataset name: the sealed dataset's maker, or the holder of the claim.
SELECT dataset, coalesce(process_id, (manifest->>'process_id')::uuid) AS process_id, upload_id, true AS sealed, NULL::timestamptz AS expires_at FROM datasets
WHERE tenant = :tenant AND entity_id = :entity_id AND data_version = :data_version AND dataset = ANY(:datasets::text[])
UNION ALL
SELECT c.dataset, c.process_id, c.upload_id, false, u.expires_at FROM claims c LEFT JOIN uploads u ON u.id = c.upload_id
WHERE c.tenant = :tenant AND c.entity_id = :entity_id AND c.data_version = :data_version AND c.dataset = ANY(:datasets::text[])
LIMIT 1;

-- name: is_sealed$
SELECT EXISTS (SELECT FROM datasets WHERE tenant = :tenant AND entity_id = :entity_id AND data_version = :data_version
    AND dataset = ANY(:datasets::text[]));

-- name: register_dataset!
INSERT INTO datasets (tenant, entity_id, data_version, dataset, process_id, upload_id, run_id, location, manifest_key, manifest_sha256, manifest,
    rows, bytes, content_fingerprint, created_at)
VALUES (:tenant, :entity_id, :data_version, :dataset, :process_id, :upload_id, :run_id, :location, :manifest_key, :manifest_sha256, :manifest,
    :rows, :bytes, :content_fingerprint, :created_at)
ON CONFLICT DO NOTHING;

-- name: find_dataset^
SELECT t.bucket, d.manifest_key, d.manifest_sha256, jsonb_array_length(d.manifest->'files') AS files
FROM datasets d JOIN tenants t ON t.id = d.tenant
WHERE d.tenant = :tenant AND d.entity_id = :entity_id AND d.data_version = :data_version AND d.dataset = :dataset;

-- name: read_manifest^
-- As text, and the keys of its files in their order: who only hands it on need not take it apart.
SELECT manifest::text AS text, ARRAY(
    SELECT file->>'key' FROM jsonb_array_elements(manifest->'files') WITH ORDINALITY AS listed (file, place) ORDER BY place) AS keys
FROM datasets WHERE tenant = :tenant AND entity_id = :entity_id AND data_version = :data_version AND dataset = :dataset;

-- name: list_entities
SELECT entity_id, count(DISTINCT data_version) AS versions, count(*) AS datasets, max(created_at) AS updated_at FROM datasets d
WHERE tenant = :tenant AND (:after::text IS NULL OR entity_id > :after)
  AND NOT EXISTS (SELECT FROM retirements r WHERE r.tenant = d.tenant AND r.entity_id = d.entity_id AND r.data_version = d.data_version
      AND r.dataset = d.dataset)
GROUP BY entity_id ORDER BY entity_id LIMIT :limit;

-- name: list_versions
-- One row a dataset, those of a version together. Without `after_dataset`, `after` is a version that was shown whole.
SELECT data_version, dataset, location, rows, bytes, content_fingerprint, coalesce(process_id, (manifest->>'process_id')::uuid) AS process_id, created_at
FROM datasets d WHERE tenant = :tenant AND entity_id = :entity_id
  AND (:after::text IS NULL OR data_version > :after OR (data_version = :after AND dataset > :after_dataset::text))
  AND NOT EXISTS (SELECT FROM retirements r WHERE r.tenant = d.tenant AND r.entity_id = d.entity_id AND r.data_version = d.data_version
      AND r.dataset = d.dataset)
ORDER BY data_version, dataset LIMIT :limit;

-- name: known_places^
SELECT EXISTS (SELECT FROM datasets WHERE tenant = :tenant AND entity_id = :entity_id) AS entity,
    EXISTS (SELECT FROM datasets WHERE tenant = :tenant AND entity_id = :entity_id AND data_version = :data_version) AS version;

-- name: near_entities
-- The names that share most with one that does not exist: by their pairs of letters, and by length. A rough choice, to be ranked by the caller.
SELECT name FROM (SELECT DISTINCT entity_id AS name FROM datasets WHERE tenant = :tenant LIMIT 10000) known
ORDER BY (SELECT count(*) FROM unnest(:pairs::text[]) AS pair WHERE strpos(name, pair) > 0)::float / (length(name) + :length::integer) DESC, name
LIMIT :most;

-- name: near_versions
-- See `near_entities`.
SELECT name FROM (SELECT DISTINCT data_version AS name FROM datasets WHERE tenant = :tenant AND entity_id = :entity_id LIMIT 10000) known
ORDER BY (SELECT count(*) FROM unnest(:pairs::text[]) AS pair WHERE strpos(name, pair) > 0)::float / (length(name) + :length::integer) DESC, name
LIMIT :most;

-- name: near_datasets
-- See `near_entities`.
SELECT name FROM (
    SELECT dataset AS name FROM datasets WHERE tenant = :tenant AND entity_id = :entity_id AND data_version = :data_version LIMIT 10000) known
ORDER BY (SELECT count(*) FROM unnest(:pairs::text[]) AS pair WHERE strpos(name, pair) > 0)::float / (length(name) + :length::integer) DESC, name
LIMIT :most;

-- name: tenant_storage^
SELECT bucket, prefix, clock_timestamp() AS now FROM tenants WHERE id = :tenant;

-- name: open_upload!
WITH upload AS (
    INSERT INTO uploads (id, tenant, entity_id, data_version, dataset, files, expires_at)
    VALUES (:id, :tenant, :entity_id, :data_version, :dataset, :files, :expires_at) RETURNING id, tenant
)
INSERT INTO claims (tenant, entity_id, data_version, dataset, upload_id)
SELECT tenant, :entity_id, :data_version, :dataset, id FROM upload;

-- name: resume_upload$
-- The open upload of the very same files, its time begun anew; no row: there is none.
UPDATE uploads SET expires_at = :expires_at
WHERE tenant = :tenant AND entity_id = :entity_id AND data_version = :data_version AND dataset = :dataset AND files = :files
  AND state = 'open' AND expires_at > clock_timestamp() RETURNING id;

-- name: lock_upload^
-- `is_being_sealed`: its manifest is being put. No try to put it lasts `put_seconds`.
SELECT u.id, u.entity_id, u.data_version, u.dataset, u.files, u.state, u.expires_at, u.manifest_put_at, t.bucket, t.prefix, clock_timestamp() AS now,
    u.state = 'open' AND coalesce(u.manifest_put_at > clock_timestamp() - make_interval(secs => :put_seconds), false) AS is_being_sealed
FROM uploads u JOIN tenants t ON t.id = u.tenant
WHERE u.tenant = :tenant AND u.id = :id AND u.entity_id = :entity_id AND u.data_version = :data_version AND u.dataset = :dataset FOR UPDATE OF u;

-- name: prolong_upload!
UPDATE uploads SET expires_at = greatest(expires_at, clock_timestamp() + make_interval(secs => :seconds)) WHERE id = :id AND state = 'open';

-- name: begin_upload_manifest!
-- From here on a manifest may lie in the store, whatever is heard of it.
UPDATE uploads SET manifest_put_at = clock_timestamp(), expires_at = greatest(expires_at, clock_timestamp() + make_interval(secs => :seconds))
WHERE id = :id AND state = 'open';

-- name: close_upload!
WITH closed AS (UPDATE uploads SET state = :state WHERE id = :id AND state = 'open' RETURNING id)
DELETE FROM claims WHERE upload_id IN (SELECT id FROM closed);
