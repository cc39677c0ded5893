-- What a tenant may use; NULL: without limit.
ALTER TABLE tenants
    ADD COLUMN max_held integer CHECK (max_held > 0),
    ADD COLUMN max_executor_cores integer CHECK (max_executor_cores > 0),
    ADD COLUMN max_stored_bytes bigint CHECK (max_stored_bytes > 0);

-- What the step's executors take together. Steps from before have no size, and count as none.
ALTER TABLE steps ADD COLUMN executor_cores integer NOT NULL DEFAULT 0 CHECK (executor_cores >= 0);

-- Bytes of a tenant's sealed datasets: kept, so that asking costs one row.
CREATE TABLE stored (
    tenant text PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    bytes  bigint NOT NULL
);
SELECT confine('stored', 'SELECT');

CREATE FUNCTION keep_stored() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO stored AS s (tenant, bytes) VALUES (NEW.tenant, NEW.bytes)
        ON CONFLICT (tenant) DO UPDATE SET bytes = s.bytes + excluded.bytes;
    ELSE
        UPDATE stored SET bytes = bytes - OLD.bytes WHERE tenant = OLD.tenant;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER stored_bytes_are_kept AFTER INSERT OR DELETE ON datasets FOR EACH ROW EXECUTE FUNCTION keep_stored();
INSERT INTO stored (tenant, bytes) SELECT tenant, sum(bytes) FROM datasets GROUP BY tenant;

-- How many processes of the tenant are held. Until the transaction ends no other one is accepted: those at once would each see room.
CREATE FUNCTION hold_acceptance(wanted text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('held/' || wanted, 0));
    RETURN (SELECT count(*) FROM processes WHERE tenant = wanted AND state = 'accepted');
END $$;
