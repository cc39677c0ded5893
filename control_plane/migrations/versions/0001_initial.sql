-- Every row has its tenant. States and ranks are those of contracts/states.py; the CHECKs make illegal rows impossible.

CREATE TABLE tenants (
    id            text PRIMARY KEY CHECK (id ~ '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$'),
    bucket        text NOT NULL,
    prefix        text NOT NULL DEFAULT '' CHECK (prefix = '' OR prefix ~ '^[^/].*/$'),
    max_in_flight integer NOT NULL DEFAULT 1000 CHECK (max_in_flight > 0),
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    tenant       text NOT NULL REFERENCES tenants,
    role         text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    key_prefix   text NOT NULL,
    key_hash     bytea NOT NULL UNIQUE CHECK (length(key_hash) = 32),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz
);

CREATE TABLE processes (
    id                  uuid PRIMARY KEY,
    tenant              text NOT NULL REFERENCES tenants,
    state               text NOT NULL DEFAULT 'accepted' CHECK (state IN
        ('accepted', 'queued', 'submitted', 'running', 'sealing', 'cancelling', 'succeeded', 'failed', 'cancelled')),
    reason              text NOT NULL,
    entity_id           text NOT NULL,
    data_version        text NOT NULL,
    action              text NOT NULL,
    action_revision     text NOT NULL,
    parameters          jsonb NOT NULL,
    input_dataset       text NOT NULL,
    output_data_version text NOT NULL,
    output_dataset      text NOT NULL,
    resource_profile    jsonb,
    priority            smallint NOT NULL DEFAULT 0,
    callback_url        text,
    labels              jsonb NOT NULL DEFAULT '{}',
    work_digest         text NOT NULL,
    retry_of            uuid REFERENCES processes,
    metrics             jsonb,
    traceparent         text,
    last_event          integer NOT NULL DEFAULT 0,
    created_at          timestamptz NOT NULL DEFAULT now(),
    changed_at          timestamptz NOT NULL DEFAULT now(),
    ended_at            timestamptz,
    CONSTRAINT final_processes_have_ended CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (ended_at IS NOT NULL))
);
-- the same work, while active or succeeded, is one process
CREATE UNIQUE INDEX processes_work ON processes (tenant, work_digest) WHERE state NOT IN ('failed', 'cancelled');
CREATE INDEX processes_newest ON processes (tenant, id DESC);
CREATE INDEX processes_accepted ON processes (tenant, priority DESC, id) WHERE state = 'accepted';
CREATE INDEX processes_in_flight ON processes (tenant) WHERE state IN ('queued', 'submitted', 'running', 'sealing', 'cancelling');

CREATE TABLE steps (
    process_id          uuid NOT NULL REFERENCES processes ON DELETE CASCADE,
    number              smallint NOT NULL CHECK (number >= 0),
    tenant              text NOT NULL REFERENCES tenants,
    entity_id           text NOT NULL,
    action              text NOT NULL,
    action_revision     text NOT NULL,
    image               text NOT NULL,
    entry_point         text NOT NULL,
    parameters          jsonb NOT NULL,
    inputs              jsonb NOT NULL,
    output_data_version text NOT NULL,
    output_dataset      text NOT NULL,
    rejected_dataset    text,
    limits              jsonb NOT NULL,
    PRIMARY KEY (process_id, number)
);

CREATE TABLE attempts (
    process_id       uuid NOT NULL,
    step             smallint NOT NULL,
    number           smallint NOT NULL CHECK (number >= 1),
    tenant           text NOT NULL REFERENCES tenants,
    state            text NOT NULL DEFAULT 'created',
    rank             smallint NOT NULL DEFAULT 0,
    reason           text NOT NULL DEFAULT '',
    message_id       uuid NOT NULL,
    not_before       timestamptz NOT NULL DEFAULT now(),
    start_before     timestamptz,
    job_name         text,
    cluster          text,
    run_id           text,
    last_sequence    integer NOT NULL DEFAULT 0,
    progress         jsonb,
    resource_profile jsonb,
    lease_until      timestamptz,
    silent_since     timestamptz,
    deadline         timestamptz,
    seal_lease_until timestamptz,
    proposal_sha256  text,
    error_class      text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    released_at      timestamptz,
    submitted_at     timestamptz,
    started_at       timestamptz,
    ended_at         timestamptz,
    swept_at         timestamptz,
    PRIMARY KEY (process_id, step, number),
    FOREIGN KEY (process_id, step) REFERENCES steps (process_id, number) ON DELETE CASCADE,
    CONSTRAINT rank_is_of_state CHECK ((state, rank) IN (('created', 0), ('released', 10), ('published', 20), ('submitted', 30),
        ('started', 40), ('sealing', 50), ('succeeded', 60), ('failed', 60), ('lost', 60), ('cancelled', 60))),
    CONSTRAINT final_attempts_have_ended CHECK ((rank = 60) = (ended_at IS NOT NULL)),
    CONSTRAINT only_a_granted_run_writes CHECK (run_id IS NOT NULL OR state NOT IN ('started', 'sealing', 'succeeded')),
    CONSTRAINT a_running_attempt_has_a_lease CHECK (state <> 'started' OR (lease_until IS NOT NULL AND deadline IS NOT NULL)),
    CONSTRAINT a_released_attempt_has_a_deadline CHECK (state NOT IN ('released', 'published', 'submitted') OR start_before IS NOT NULL)
);
CREATE UNIQUE INDEX attempts_one_open ON attempts (process_id) WHERE rank < 60;
CREATE INDEX attempts_open ON attempts (state) WHERE rank < 60;
CREATE INDEX attempts_unswept ON attempts (ended_at) WHERE swept_at IS NULL AND run_id IS NOT NULL AND state IN ('failed', 'lost', 'cancelled');

CREATE TABLE uploads (
    id           uuid PRIMARY KEY,
    tenant       text NOT NULL REFERENCES tenants,
    entity_id    text NOT NULL,
    data_version text NOT NULL,
    dataset      text NOT NULL,
    files        jsonb NOT NULL,
    state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'sealed', 'expired')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    swept_at     timestamptz
);
CREATE INDEX uploads_open ON uploads (expires_at) WHERE state = 'open';

-- The right of one active process (or open upload) to produce one dataset name.
CREATE TABLE claims (
    tenant       text NOT NULL REFERENCES tenants,
    entity_id    text NOT NULL,
    data_version text NOT NULL,
    dataset      text NOT NULL,
    process_id   uuid REFERENCES processes ON DELETE CASCADE,
    upload_id    uuid REFERENCES uploads ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT claims_name PRIMARY KEY (tenant, entity_id, data_version, dataset),
    CONSTRAINT one_owner CHECK (num_nonnulls(process_id, upload_id) = 1)
);
CREATE INDEX claims_process ON claims (process_id);

CREATE TABLE datasets (
    tenant              text NOT NULL REFERENCES tenants,
    entity_id           text NOT NULL,
    data_version        text NOT NULL,
    dataset             text NOT NULL,
    process_id          uuid REFERENCES processes,
    upload_id           uuid REFERENCES uploads,
    run_id              text NOT NULL,
    location            text NOT NULL,
    manifest_key        text NOT NULL,
    manifest_sha256     text NOT NULL,
    manifest            jsonb NOT NULL,
    rows                bigint NOT NULL,
    bytes               bigint NOT NULL,
    content_fingerprint text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, entity_id, data_version, dataset)
);
CREATE INDEX datasets_process ON datasets (process_id);

-- The audit trail and the live feed: append-only, numbered per process under its row lock.
CREATE TABLE events (
    process_id uuid NOT NULL REFERENCES processes ON DELETE CASCADE,
    sequence   integer NOT NULL CHECK (sequence >= 1),
    tenant     text NOT NULL REFERENCES tenants,
    type       text NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    data       jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (process_id, sequence)
);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: this never changes', TG_TABLE_NAME;
END $$;
CREATE TRIGGER events_are_append_only BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER datasets_never_change BEFORE UPDATE ON datasets FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER final_is_final BEFORE UPDATE ON processes FOR EACH ROW
    WHEN (OLD.ended_at IS NOT NULL AND NEW.state <> OLD.state) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER final_is_final BEFORE UPDATE ON attempts FOR EACH ROW
    WHEN (OLD.ended_at IS NOT NULL AND NEW.state <> OLD.state) EXECUTE FUNCTION refuse_change();

-- Messages to be published. A run command waits here, unreleased, until admission has room for it.
CREATE TABLE outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant       text NOT NULL REFERENCES tenants,
    kind         text NOT NULL CHECK (kind IN ('run', 'cancel')),
    process_id   uuid NOT NULL REFERENCES processes ON DELETE CASCADE,
    step         smallint NOT NULL,
    attempt      smallint NOT NULL,
    message_id   uuid NOT NULL,
    released_at  timestamptz,
    published_at timestamptz,
    UNIQUE (kind, process_id, step, attempt)
);
CREATE INDEX outbox_ready ON outbox (id) WHERE released_at IS NOT NULL AND published_at IS NULL;

CREATE TABLE idempotency_keys (
    tenant      text NOT NULL REFERENCES tenants,
    key         text NOT NULL,
    body_sha256 text NOT NULL,
    status      smallint NOT NULL,
    response    text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, key)
);

-- The latest complete relist of each cluster; `began_at` is database time.
CREATE TABLE observations (
    cluster     text PRIMARY KEY,
    began_at    timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);

-- Callbacks that were refused, for the audit.
CREATE TABLE refused_callbacks (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant     text NOT NULL REFERENCES tenants,
    process_id uuid NOT NULL REFERENCES processes ON DELETE CASCADE,
    step       smallint NOT NULL,
    attempt    smallint NOT NULL,
    run_id     text NOT NULL,
    type       text NOT NULL,
    reason     text NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);

-- Who goes next: those that are due, priority first, then fair between tenants (whoever has less in flight), then the older one.
-- Admission and `queue.place` both read this, so they cannot disagree.
CREATE VIEW admission_queue AS
WITH in_flight AS (
    SELECT tenant, count(*) AS running FROM processes
    WHERE state IN ('queued', 'submitted', 'running', 'sealing', 'cancelling') GROUP BY tenant
), waiting AS (
    SELECT p.id, p.tenant, p.priority, a.not_before, a.not_before <= now() AS due, coalesce(f.running, 0) AS running, t.max_in_flight,
           row_number() OVER (PARTITION BY p.tenant, a.not_before <= now(), p.priority ORDER BY p.id) AS turn,
           row_number() OVER (PARTITION BY p.tenant ORDER BY a.not_before <= now() DESC, p.priority DESC, p.id) AS place_in_tenant
    FROM processes p JOIN attempts a ON a.process_id = p.id AND a.rank = 0
    JOIN tenants t ON t.id = p.tenant LEFT JOIN in_flight f ON f.tenant = p.tenant
    WHERE p.state = 'accepted'
)
SELECT id AS process_id, tenant, due, not_before, running, max_in_flight, running + place_in_tenant <= max_in_flight AS within_tenant_cap,
       row_number() OVER (ORDER BY due DESC, priority DESC, running + turn, id) AS place
FROM waiting;

-- A process as the API shows it.
CREATE VIEW process_view AS
SELECT p.*, q.place, q.due, q.not_before, q.within_tenant_cap, q.running AS tenant_in_flight, q.max_in_flight,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('number', a.number, 'state', a.state, 'reason', a.reason, 'run_id', a.run_id,
         'error_class', a.error_class, 'started_at', a.started_at, 'ended_at', a.ended_at, 'progress', a.progress, 'resource_profile', a.resource_profile)
         ORDER BY a.step, a.number), '[]') FROM attempts a WHERE a.process_id = p.id) AS attempts,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('dataset', d.dataset, 'data_version', d.data_version, 'location', d.location,
         'manifest', 's3://' || t.bucket || '/' || d.manifest_key, 'rows', d.rows, 'bytes', d.bytes,
         'content_fingerprint', d.content_fingerprint) ORDER BY d.dataset <> p.output_dataset, d.dataset), '[]')
       FROM datasets d JOIN tenants t ON t.id = d.tenant WHERE d.process_id = p.id) AS artifacts
FROM processes p LEFT JOIN admission_queue q ON q.process_id = p.id;
