-- Keys have a name, and tell when they were last used. Those of before have no other name than how they came.
ALTER TABLE api_keys ADD COLUMN name text NOT NULL DEFAULT 'provisioned', ADD COLUMN last_used_at timestamptz;
ALTER TABLE api_keys ADD CONSTRAINT a_key_has_a_name CHECK (length(name) BETWEEN 1 AND 100);
-- How long the key was made for; a grace only shortens `expires_at`.
ALTER TABLE api_keys ADD COLUMN life interval;
UPDATE api_keys SET life = expires_at - created_at;
CREATE INDEX api_keys_newest ON api_keys (tenant, id DESC);
