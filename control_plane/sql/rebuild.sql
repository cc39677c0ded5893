-- name: registry_row^
SELECT d.manifest_sha256, r.retired_at IS NOT NULL AS is_retired FROM datasets d LEFT JOIN retirements r USING (tenant, entity_id, data_version, dataset)
WHERE d.tenant = :tenant AND d.entity_id = :entity_id AND d.data_version = :data_version AND d.dataset = :dataset;

-- name: registry_of
SELECT entity_id, data_version, dataset FROM datasets WHERE tenant = :tenant;

-- name: rebuild_process!
-- The process that a manifest names, if this database has never heard of it: ended, with one step and the one attempt that sealed.
-- Other work of the same digest is left alone: then the dataset has no row of its process, and its manifest alone names it.
WITH process AS (
    INSERT INTO processes (id, tenant, state, reason, entity_id, data_version, action, action_revision, parameters, input_dataset,
        output_data_version, output_dataset, work_digest, metrics, last_event, created_at, changed_at, ended_at)
    VALUES (:id, :tenant, 'succeeded', :reason, :entity_id, :data_version, :action, :action_revision, :parameters, :input_dataset,
        :output_data_version, :output_dataset, :work_digest, :metrics, 1, :sealed_at, clock_timestamp(), :sealed_at)
    ON CONFLICT DO NOTHING RETURNING id, tenant
), step AS (
    INSERT INTO steps (process_id, number, tenant, entity_id, action, action_revision, image, entry_point, parameters, inputs,
        output_data_version, output_dataset, rejected_dataset, limits)
    SELECT id, :step, tenant, :entity_id, :action, :action_revision, :image, '', :parameters, :inputs,
        :output_data_version, :output_dataset, :rejected_dataset, '{}' FROM process
), attempt AS (
    INSERT INTO attempts (process_id, step, number, tenant, state, rank, reason, message_id, run_id, created_at, ended_at)
    SELECT id, :step, :attempt, tenant, 'succeeded', 60, :reason, :message_id, :run_id, :sealed_at, :sealed_at FROM process
)
INSERT INTO events (process_id, sequence, tenant, type, data) SELECT id, 1, tenant, 'rebuilt', :event_data FROM process;

-- name: rebuild_upload!
INSERT INTO uploads (id, tenant, entity_id, data_version, dataset, files, state, created_at, expires_at)
VALUES (:id, :tenant, :entity_id, :data_version, :dataset, :files, 'sealed', :sealed_at, :sealed_at) ON CONFLICT DO NOTHING;

-- name: rebuild_dataset$
-- Process and upload are named where this database has their rows, of this tenant.
INSERT INTO datasets (tenant, entity_id, data_version, dataset, process_id, upload_id, run_id, location, manifest_key, manifest_sha256, manifest,
    rows, bytes, content_fingerprint, created_at, rebuilt_at)
VALUES (:tenant, :entity_id, :data_version, :dataset, (SELECT id FROM processes WHERE id = :process_id AND tenant = :tenant),
    (SELECT id FROM uploads WHERE id = :upload_id AND tenant = :tenant), :run_id, :location, :manifest_key, :manifest_sha256, :manifest,
    :rows, :bytes, :content_fingerprint, :created_at, clock_timestamp())
ON CONFLICT DO NOTHING RETURNING dataset;
