-- Jobs that a complete list shows alive and whose attempt is not in this database: it was restored from an older copy, perhaps. What a Job
-- says of itself is all that is known of it, so nothing here refers to other tables.
CREATE TABLE stray_jobs (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster       text NOT NULL,
    tenant        text NOT NULL,
    process_id    uuid NOT NULL,
    step          integer NOT NULL,
    attempt       integer NOT NULL,
    message_id    uuid NOT NULL DEFAULT gen_random_uuid(),
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at       timestamptz NOT NULL,
    end_asked_at  timestamptz,
    published_at  timestamptz,
    UNIQUE (cluster, tenant, process_id, step, attempt)
);
CREATE INDEX stray_jobs_ready ON stray_jobs (id) WHERE end_asked_at IS NOT NULL AND published_at IS NULL;
SELECT confine('stray_jobs', '');
