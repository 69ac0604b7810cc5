-- A name is of one entity of a sort within its organization: behind it stands U+001F and that, but for a machine client.
-- A release before this finds nobody by it.
-- The record says it: a release that does not know the column leaves that as it is.
UPDATE {table:entities} SET organization_id = json_extract(record, '$.organization_id')
    WHERE organization_id IS NOT json_extract(record, '$.organization_id');
UPDATE {table:entities}
    SET name = name || char(31) || organization_id, distinct_name = distinct_name || char(31) || organization_id
    WHERE organization_id IS NOT NULL AND subject_type <> 'entity' AND instr(name, char(31)) = 0;
