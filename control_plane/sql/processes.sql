-- name: accept_process!
-- One statement, one round trip: process, step, attempt, claims, outbox row and first event.
WITH process AS (
    INSERT INTO processes (id, tenant, reason, entity_id, data_version, action, action_revision, parameters, input_dataset,
        output_data_version, output_dataset, resource_profile, priority, callback_url, labels, work_digest, retry_of, traceparent, last_event)
    VALUES (:id, :tenant, :reason, :entity_id, :data_version, :action, :action_revision, :parameters, :input_dataset,
        :output_data_version, :output_dataset, :resource_profile, :priority, :callback_url, :labels, :work_digest, :retry_of, :traceparent, 1)
    RETURNING id, tenant
), claim AS (
    INSERT INTO claims (tenant, entity_id, data_version, dataset, process_id)
    SELECT tenant, :entity_id, :output_data_version, unnest(:claimed_datasets::text[]), id FROM process
), step AS (
    INSERT INTO steps (process_id, number, tenant, entity_id, action, action_revision, image, entry_point, parameters, inputs,
        output_data_version, output_dataset, rejected_dataset, limits, executor_cores)
    SELECT id, 0, tenant, :entity_id, :action, :action_revision, :image, :entry_point, :parameters, :inputs,
        :output_data_version, :output_dataset, :rejected_dataset, :limits, :executor_cores FROM process
), attempt AS (
    INSERT INTO attempts (process_id, step, number, tenant, message_id) SELECT id, 0, 1, tenant, :message_id FROM process
), message AS (
    INSERT INTO outbox (tenant, kind, process_id, step, attempt, message_id) SELECT tenant, 'run', id, 0, 1, :message_id FROM process
)
INSERT INTO events (process_id, sequence, tenant, type, data) SELECT id, 1, tenant, 'accepted', :event_data FROM process;

-- name: same_work$
-- The process that already does, or did, this very work.
SELECT id FROM processes WHERE tenant = :tenant AND work_digest = :work_digest AND state NOT IN ('failed', 'cancelled');

-- name: lock_process$
-- Locks alone: what is read beside a row while waiting for its lock would be from before the wait.
SELECT id FROM processes WHERE id = :id AND (:tenant::text IS NULL OR tenant = :tenant) FOR UPDATE;

-- name: read_process^
-- A process with its latest attempt and that attempt's step. Database time as `now`.
SELECT p.id, p.tenant, p.state AS process_state, p.reason, p.entity_id, s.number AS step, s.action, s.action_revision, s.image, s.parameters,
       s.inputs, s.output_data_version, s.output_dataset, s.rejected_dataset, s.limits,
       a.number AS attempt, a.state AS attempt_state, a.reason AS attempt_reason, a.failures, a.waits, a.waiting_since, a.pending_since, a.run_id, a.last_sequence, a.start_before, a.proposal_sha256, a.lease_until,
       a.deadline, a.silent_since, a.sealing_at, a.manifest_put_at,
       t.bucket, t.prefix, clock_timestamp() AS now
FROM processes p
JOIN LATERAL (SELECT * FROM attempts WHERE process_id = p.id ORDER BY step DESC, number DESC LIMIT 1) a ON true
JOIN steps s ON s.process_id = p.id AND s.number = a.step
JOIN tenants t ON t.id = p.tenant
WHERE p.id = :id;

-- name: move_process$
-- A change of state and its event, guarded by the states that may lead there. No row: the arrow does not exist.
WITH moved AS (
    UPDATE processes SET state = :state, reason = :reason, changed_at = clock_timestamp(), last_event = last_event + 1,
        ended_at = CASE WHEN :final::boolean THEN clock_timestamp() END
    WHERE id = :id AND state = ANY(:allowed::text[])
    RETURNING id, tenant, last_event
)
INSERT INTO events (process_id, sequence, tenant, type, data) SELECT id, last_event, tenant, :type, :data FROM moved RETURNING sequence;

-- name: note_event$
-- A new reason, and its event, without a change of state. No row: the reason is not new.
WITH noted AS (
    UPDATE processes SET reason = :reason, changed_at = clock_timestamp(), last_event = last_event + 1
    WHERE id = :id AND reason <> :reason RETURNING id, tenant, last_event
)
INSERT INTO events (process_id, sequence, tenant, type, data) SELECT id, last_event, tenant, :type, :data FROM noted RETURNING sequence;

-- name: set_reason!
UPDATE processes SET reason = :reason WHERE id = :id;

-- name: set_metrics!
UPDATE processes SET metrics = :metrics WHERE id = :id;

-- name: release_claims!
DELETE FROM claims WHERE process_id = :process_id;

-- name: get_process^
-- Without its place in the queue where more than `counted` wait: finding it means to count them. NULL: it is found in any case.
SELECT p.*, q.* FROM process_view p
LEFT JOIN LATERAL queue_place(CASE WHEN p.state = 'accepted' AND more_wait_than(:counted) IS NOT TRUE THEN p.id END) q ON true
WHERE p.tenant = :tenant AND p.id = :id;

-- name: list_processes
-- Without places in the queue where more than `counted` wait: finding them means to sort all of them.
WITH page AS MATERIALIZED (
    SELECT * FROM process_view
    WHERE tenant = :tenant AND (:state::text IS NULL OR state = :state) AND (:entity_id::text IS NULL OR entity_id = :entity_id)
      AND (:action::text IS NULL OR action = :action) AND (:before::uuid IS NULL OR id < :before)
    ORDER BY id DESC LIMIT :limit
)
SELECT p.*, q.* FROM page p LEFT JOIN queue_places(ARRAY(SELECT id FROM page WHERE state = 'accepted' AND NOT (SELECT more_wait_than(:counted)))) q ON q.process_id = p.id
ORDER BY p.id DESC;

-- name: list_events
SELECT e.sequence, e.type, e.at, e.data FROM events e JOIN processes p ON p.id = e.process_id
WHERE p.tenant = :tenant AND e.process_id = :process_id AND e.sequence > :after ORDER BY e.sequence LIMIT :limit;

-- name: retry_source^
SELECT entity_id, data_version, action, parameters, input_dataset, output_dataset, output_data_version, resource_profile, priority,
       callback_url, labels, state
FROM processes WHERE tenant = :tenant AND id = :id;

-- name: log_sources
-- Where the logs of a process lie, oldest attempt first. Nothing is waited for of an attempt that never had a job, or ended long ago.
SELECT a.process_id, a.step, a.number AS attempt, t.bucket, t.prefix, p.ended_at IS NOT NULL AS ended,
    a.ended_at IS NOT NULL AND (coalesce(a.submitted_at, a.started_at) IS NULL OR a.ended_at < now() - make_interval(secs => :patience))
        AS given_up
FROM processes p JOIN attempts a ON a.process_id = p.id JOIN tenants t ON t.id = p.tenant
WHERE p.tenant = :tenant AND p.id = :process_id ORDER BY a.step, a.number;

-- name: count_by_state
SELECT state, count(*) AS processes FROM processes GROUP BY state;
