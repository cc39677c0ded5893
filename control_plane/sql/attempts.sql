-- name: submit_attempt$
UPDATE attempts SET state = 'submitted', rank = 30, job_name = :job_name, cluster = :cluster, resource_profile = :resource_profile,
    submitted_at = clock_timestamp(), lease_until = clock_timestamp() + make_interval(secs => :lease_seconds), reason = 'the job exists',
    pending_since = clock_timestamp()
WHERE process_id = :process_id AND step = :step AND number = :attempt AND rank < 30 RETURNING number;

-- name: note_job!
-- Where the job is and what it was given, when the run or the observer was faster than the launcher's news of it.
UPDATE attempts SET job_name = coalesce(job_name, :job_name), cluster = coalesce(cluster, :cluster),
    resource_profile = coalesce(resource_profile, :resource_profile), submitted_at = coalesce(submitted_at, clock_timestamp())
WHERE process_id = :process_id AND step = :step AND number = :attempt AND (job_name IS NULL OR resource_profile IS NULL);

-- name: note_pending$
UPDATE attempts SET reason = :cause, pending_since = CASE WHEN NOT :queued::boolean THEN coalesce(pending_since, clock_timestamp()) END
WHERE process_id = :process_id AND step = :step AND number = :attempt AND state = 'submitted'
  AND (reason <> :cause OR (pending_since IS NULL) <> :queued::boolean) RETURNING number;

-- name: start_attempt$
UPDATE attempts SET state = 'started', rank = 40, run_id = :run_id, last_sequence = :sequence, reason = 'granted', started_at = clock_timestamp(),
    lease_until = clock_timestamp() + make_interval(secs => :lease_seconds),
    deadline = clock_timestamp() + make_interval(secs => :time_limit_seconds)
WHERE process_id = :process_id AND step = :step AND number = :attempt AND rank BETWEEN 10 AND 30 RETURNING number;

-- name: renew_lease!
UPDATE attempts SET last_sequence = greatest(last_sequence, :sequence), silent_since = NULL,
    progress = CASE WHEN :sequence > last_sequence THEN coalesce(:progress, progress) ELSE progress END,
    lease_until = clock_timestamp() + make_interval(secs => :lease_seconds)
WHERE process_id = :process_id AND step = :step AND number = :attempt AND state = 'started' AND run_id = :run_id;

-- name: start_sealing$
UPDATE attempts SET state = 'sealing', rank = 50, reason = 'the files are complete', proposal_sha256 = :proposal_sha256,
    last_sequence = greatest(last_sequence, :sequence), sealing_at = clock_timestamp()
WHERE process_id = :process_id AND step = :step AND number = :attempt AND state = 'started' RETURNING number;

-- name: end_attempt$
-- Out of `sealing` only the seal's own outcomes lead.
UPDATE attempts SET state = :state, rank = 60, reason = :reason, error_class = :error_class, ended_at = clock_timestamp()
WHERE process_id = :process_id AND step = :step AND number = :attempt AND rank < 60
  AND (state <> 'sealing' OR :state IN ('succeeded', 'failed')) AND (:state <> 'succeeded' OR state = 'sealing') RETURNING number;

-- name: next_attempt$
WITH following AS (
    INSERT INTO attempts (process_id, step, number, tenant, message_id, not_before, reason, failures, waits, waiting_since)
    SELECT process_id, step, number + 1, tenant, :message_id, clock_timestamp() + make_interval(secs => :delay_seconds), 'waits for its turn',
        :failures, :waits::smallint, CASE WHEN :waits::smallint > 0 THEN coalesce(waiting_since, clock_timestamp()) END
    FROM attempts WHERE process_id = :process_id AND step = :step AND number = :attempt
    RETURNING tenant, process_id, step, number, message_id
)
INSERT INTO outbox (tenant, kind, process_id, step, attempt, message_id)
SELECT tenant, 'run', process_id, step, number, message_id FROM following RETURNING attempt;

-- name: refuse_callback$
-- Kept for the audit: so many of one reason, and so many of one attempt. No row: there are enough of it.
INSERT INTO refused_callbacks (tenant, process_id, step, attempt, run_id, type, reason)
SELECT tenant, id, :step, :attempt, :run_id, :type, :reason FROM processes WHERE tenant = :tenant AND id = :process_id
  AND (SELECT count(*) < :most AND count(*) FILTER (WHERE r.reason = :reason) < :most_of_reason FROM refused_callbacks r
       WHERE r.process_id = :process_id AND r.step = :step AND r.attempt = :attempt)
RETURNING id;

-- name: take_seal^
-- One attempt whose files are complete and that nobody else is sealing right now. `served`: tenants in the order of their last turns. Who
-- is not among them goes first, then whose turn was the longest ago; of equals, and of one tenant, what was not tried yet, then what waits longest.
UPDATE attempts SET seal_lease_until = clock_timestamp() + make_interval(secs => :seconds)
WHERE (process_id, step, number) IN (
    SELECT process_id, step, number FROM attempts
    WHERE state = 'sealing' AND rank = 50 AND (seal_lease_until IS NULL OR seal_lease_until < clock_timestamp())
    ORDER BY array_position(:served::text[], tenant) NULLS FIRST, seal_lease_until NULLS FIRST, sealing_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING process_id, tenant;

-- name: put_off_seal!
-- Each wait is as long as all before it together, within bounds.
UPDATE attempts SET seal_lease_until = clock_timestamp()
    + least(greatest(clock_timestamp() - sealing_at, interval '10 seconds'), interval '10 minutes')
WHERE process_id = :process_id AND state = 'sealing';

-- name: begin_manifest$
-- From here on a manifest may lie in the store, whatever is heard of it, and this proposal, which was judged, is the one that is sealed.
-- No row: the attempt has ended meanwhile, another proposal was judged before, or the folder is being swept.
UPDATE attempts a SET manifest_put_at = clock_timestamp(), proposal_sha256 = :proposal_sha256
WHERE process_id = :process_id AND step = :step AND number = :attempt AND state = 'sealing'
  AND coalesce(proposal_sha256, :proposal_sha256) = :proposal_sha256
  AND NOT EXISTS (SELECT FROM swept_folders f WHERE f.tenant = a.tenant AND f.run_id = a.run_id) RETURNING number;

-- name: overdue_attempts
-- Open attempts that are past a deadline: never started in time, waiting for their driver too long by a look that began after that, or
-- still running long after their time limit.
SELECT * FROM (
    SELECT a.tenant, a.process_id, a.step, a.number AS attempt, a.state, a.pending_since, CASE
        WHEN a.state IN ('released', 'published', 'submitted') AND a.start_before < clock_timestamp() THEN 'start'
        WHEN a.state = 'submitted' AND a.pending_since
            + make_interval(secs => coalesce((s.limits->>'pending_limit_seconds')::integer, :pending_limit_seconds)) < o.began_at THEN 'pending'
        WHEN a.state = 'started' AND a.deadline + make_interval(secs => :grace_seconds) < clock_timestamp() THEN 'time'
        END AS deadline
    FROM attempts a JOIN steps s ON s.process_id = a.process_id AND s.number = a.step
    LEFT JOIN observations o ON o.cluster = a.cluster AND a.tenant <> ALL (o.unseen) AND o.began_at <= clock_timestamp()
    WHERE a.state IN ('released', 'published', 'submitted', 'started')
) open WHERE deadline IS NOT NULL;

-- name: long_on_the_way
-- Released attempts of whose job nothing is known after `seconds`, whose process does not say so yet.
SELECT a.process_id, a.step, a.number AS attempt, a.state FROM attempts a JOIN processes p ON p.id = a.process_id
WHERE a.released_at + make_interval(secs => :seconds) < clock_timestamp() AND p.state = 'queued'
  AND ((a.state = 'released' AND p.reason <> :released) OR (a.state = 'published' AND p.reason <> :published));

-- name: observe$
-- When the list was begun, by this database's clock: a little ahead counts as now. No row: it claims to come from the future, and is not used.
-- Such a claim that was stored once gives way to any later list, or it would outlast them all.
INSERT INTO observations AS o (cluster, began_at, unseen)
SELECT :cluster, least(:began_at::timestamptz, clock_timestamp()), :unseen::text[]
WHERE :began_at::timestamptz <= clock_timestamp() + make_interval(secs => :ahead_seconds)
ON CONFLICT (cluster) DO UPDATE SET received_at = now(),
    began_at = CASE WHEN o.began_at > clock_timestamp() THEN excluded.began_at ELSE greatest(o.began_at, excluded.began_at) END,
    unseen = CASE WHEN o.began_at > clock_timestamp() OR excluded.began_at >= o.began_at THEN excluded.unseen ELSE o.unseen END
RETURNING least(:began_at::timestamptz, clock_timestamp());

-- name: attempts_of_cluster
-- Attempts that a relist says something about: their lease is over, or they are being cancelled.
SELECT a.tenant, a.process_id, a.step, a.number AS attempt, a.state, a.silent_since
FROM attempts a JOIN processes p ON p.id = a.process_id
WHERE a.cluster = :cluster AND a.tenant <> ALL (:unseen::text[]) AND (
    (a.state IN ('submitted', 'started') AND a.lease_until < :began_at)
    OR (p.state = 'cancelling' AND a.state = 'cancelled' AND a.ended_at < :began_at));

-- name: unwatched_attempts
-- Attempts of which nothing was heard for two leases, while their cluster was not looked at either.
SELECT a.process_id, a.step, a.number AS attempt, a.state FROM attempts a JOIN processes p ON p.id = a.process_id
WHERE a.state IN ('submitted', 'started') AND a.lease_until + make_interval(secs => :lease_seconds) < clock_timestamp() AND p.reason <> :reason
  AND NOT EXISTS (SELECT FROM observations o WHERE o.cluster = a.cluster AND o.began_at > a.lease_until AND o.began_at <= clock_timestamp()
      AND a.tenant <> ALL (o.unseen));

-- name: note_silence!
UPDATE attempts SET silent_since = coalesce(silent_since, clock_timestamp())
WHERE process_id = :process_id AND step = :step AND number = :attempt AND state = 'started';
