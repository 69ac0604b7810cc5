-- Whose entities they are, so that they are listed by it. By name, the primary key lists them.
ALTER TABLE {table:entities} ADD COLUMN organization_id TEXT;
UPDATE {table:entities} SET organization_id = json_extract(record, '$.organization_id');
CREATE INDEX {prefix}entities_by_organization
    ON {table:entities} (organization_id, subject_type, name) WHERE organization_id IS NOT NULL;
