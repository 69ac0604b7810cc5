-- A name is of one entity of a sort within its organization: behind it stands U+001F and that, but for a machine client.
-- A release before this finds nobody by it.
SET LOCAL statement_timeout = 0;
LOCK TABLE {table:entities} IN SHARE ROW EXCLUSIVE MODE;
-- The record says it: a release that does not know the column leaves that as it is.
UPDATE {table:entities} SET organization_id = record::json ->> 'organization_id'
    WHERE organization_id IS DISTINCT FROM record::json ->> 'organization_id';
UPDATE {table:entities}
    SET name = name || chr(31) || organization_id, distinct_name = distinct_name || chr(31) || organization_id
    WHERE organization_id IS NOT NULL AND subject_type <> 'entity' AND position(chr(31) in name) = 0;
