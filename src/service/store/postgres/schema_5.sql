-- Whose sessions they are and who started them, so that they are counted and found by it.
SET LOCAL statement_timeout = 0;
ALTER TABLE {table:sessions} ADD COLUMN subject text NOT NULL DEFAULT '';
ALTER TABLE {table:sessions} ADD COLUMN started_by text;
UPDATE {table:sessions} SET subject = '["customer",'
    || coalesce(to_json(organization_id)::text, 'null') || ',' || to_json(customer_id)::text || ']';
CREATE INDEX {prefix}sessions_by_subject ON {table:sessions} (subject, expires_at);
CREATE INDEX {prefix}sessions_by_starter
    ON {table:sessions} (started_by, expires_at) WHERE started_by IS NOT NULL;
