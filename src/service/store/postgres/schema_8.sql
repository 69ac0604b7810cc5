-- Whose entities they are, so that they are listed by it; in the order of the names' bytes, whatever the
-- database's collation.
SET LOCAL statement_timeout = 0;
ALTER TABLE {table:entities} ADD COLUMN organization_id text;
UPDATE {table:entities} SET organization_id = record::json ->> 'organization_id'
    WHERE record::json ->> 'organization_id' IS NOT NULL;
CREATE INDEX {prefix}entities_by_name ON {table:entities} (subject_type, name COLLATE "C");
CREATE INDEX {prefix}entities_by_organization
    ON {table:entities} (organization_id, subject_type, name COLLATE "C")
    WHERE organization_id IS NOT NULL;
