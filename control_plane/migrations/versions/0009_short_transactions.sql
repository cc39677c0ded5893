-- Since when a manifest of the upload may lie in the store, whatever became of its PUT. For a while after it the upload is not given up.
ALTER TABLE uploads ADD COLUMN manifest_put_at timestamptz;

-- How many refused callbacks of an attempt are kept is bounded: counted before each one.
CREATE INDEX refused_callbacks_attempt ON refused_callbacks (process_id, step, attempt);
