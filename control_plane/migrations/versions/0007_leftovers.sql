-- Whose folder is this? Asked for folders that are found by listing.
CREATE INDEX attempts_run ON attempts (run_id) WHERE run_id IS NOT NULL;

-- Folders that a sweeper removes, or removed. Written before anything is deleted: from then on no seal of that run goes through.
CREATE TABLE swept_folders (
    tenant       text NOT NULL REFERENCES tenants,
    entity_id    text NOT NULL,
    data_version text NOT NULL,
    dataset      text NOT NULL,
    run_id       text NOT NULL,
    marked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until  timestamptz NOT NULL,
    removed_at   timestamptz,
    PRIMARY KEY (tenant, run_id, entity_id, data_version, dataset)
);

-- What each sweep found, removed and kept: the operator's answer to "who removed this, and when?".
CREATE TABLE sweeps (
    id         uuid PRIMARY KEY,
    scope      text NOT NULL CHECK (scope IN ('ended', 'full')),
    started_by text NOT NULL CHECK (started_by IN ('reconcile', 'command')),
    began_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at   timestamptz,
    report     jsonb NOT NULL DEFAULT '{}',
    error      text
);
CREATE INDEX sweeps_latest ON sweeps (scope, began_at DESC);

-- Datasets that an admin retired. The row of `datasets` stays, and with it the name is taken for ever.
CREATE TABLE retirements (
    tenant           text NOT NULL,
    entity_id        text NOT NULL,
    data_version     text NOT NULL,
    dataset          text NOT NULL,
    retired_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_by       text NOT NULL CHECK (retired_by <> ''),
    reason           text NOT NULL CHECK (reason <> ''),
    files_removed_at timestamptz,
    removed_objects  integer,
    removed_bytes    bigint,
    PRIMARY KEY (tenant, entity_id, data_version, dataset),
    FOREIGN KEY (tenant, entity_id, data_version, dataset) REFERENCES datasets
);
CREATE INDEX retirements_with_files ON retirements (retired_at) WHERE files_removed_at IS NULL;
CREATE TRIGGER retirements_are_for_good BEFORE DELETE ON retirements FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER retirements_never_change BEFORE UPDATE ON retirements FOR EACH ROW
    WHEN ((OLD.tenant, OLD.entity_id, OLD.data_version, OLD.dataset, OLD.retired_at, OLD.retired_by, OLD.reason)
          IS DISTINCT FROM (NEW.tenant, NEW.entity_id, NEW.data_version, NEW.dataset, NEW.retired_at, NEW.retired_by, NEW.reason)
          OR OLD.files_removed_at IS NOT NULL)
    EXECUTE FUNCTION refuse_change();

-- When a row was restored from its manifest; null where the seal itself wrote it.
ALTER TABLE datasets ADD COLUMN rebuilt_at timestamptz;

-- The audit trails stay append-only, with one way out: the retention job names a moment for its own transaction, and then only rows
-- of processes that ended before that moment may go, and the moment must lie a day back at least.
CREATE FUNCTION refuse_but_retention() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended_before timestamptz := nullif(current_setting('stratum.retention_before', true), '');
BEGIN
    IF TG_OP = 'DELETE' AND ended_before < now() - interval '1 day'
       AND EXISTS (SELECT FROM processes WHERE id = OLD.process_id AND ended_at < ended_before) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '%: this never changes', TG_TABLE_NAME;
END $$;
DROP TRIGGER events_are_append_only ON events;
CREATE TRIGGER events_are_append_only BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse_but_retention();
CREATE TRIGGER refused_callbacks_are_append_only BEFORE UPDATE OR DELETE ON refused_callbacks
    FOR EACH ROW EXECUTE FUNCTION refuse_but_retention();

SELECT confine('retirements', 'SELECT, INSERT');
SELECT confine('swept_folders', 'SELECT');

-- What is gone from the store is no longer counted.
CREATE FUNCTION count_no_longer() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE stored SET bytes = bytes - (SELECT d.bytes FROM datasets d
        WHERE (d.tenant, d.entity_id, d.data_version, d.dataset) = (NEW.tenant, NEW.entity_id, NEW.data_version, NEW.dataset))
    WHERE tenant = NEW.tenant;
    RETURN NULL;
END $$;
CREATE TRIGGER stored_bytes_are_kept AFTER UPDATE OF files_removed_at ON retirements FOR EACH ROW
    WHEN (OLD.files_removed_at IS NULL AND NEW.files_removed_at IS NOT NULL) EXECUTE FUNCTION count_no_longer();
