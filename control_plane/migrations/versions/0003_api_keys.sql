-- Keys have a name, and tell when they were last used. Those of before have no other name than how they came.
ALTER TABLE api_keys ADD COLUMN name text NOT NULL DEFAULT 'provisioned', ADD COLUMN last_used_at timestamptz;
ALTER TABLE api_keys ADD CONSTRAINT a_key_has_a_name CHECK (length(name) BETWEEN 1 AND 100);
CREATE INDEX api_keys_newest ON api_keys (tenant, id DESC);
