-- Whose sessions they are and who started them, so that they are counted and found by it.
ALTER TABLE {table:sessions} ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE {table:sessions} ADD COLUMN started_by TEXT;
UPDATE {table:sessions} SET subject = json_array('customer', organization_id, customer_id);
CREATE INDEX {prefix}sessions_by_subject ON {table:sessions} (subject, expires_at);
CREATE INDEX {prefix}sessions_by_starter
    ON {table:sessions} (started_by, expires_at) WHERE started_by IS NOT NULL;
