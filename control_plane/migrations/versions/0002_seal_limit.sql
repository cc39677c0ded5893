-- Since when a seal waits, and whether its manifest may already lie in the store. Older code leaves both empty.
ALTER TABLE attempts ADD COLUMN sealing_at timestamptz, ADD COLUMN manifest_put_at timestamptz;
UPDATE attempts SET sealing_at = clock_timestamp(), manifest_put_at = clock_timestamp() WHERE state = 'sealing';
