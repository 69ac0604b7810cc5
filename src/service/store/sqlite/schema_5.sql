-- What no other entity of a sort may have. Those that are there have none.
ALTER TABLE {table:entities} ADD COLUMN distinct_name TEXT;
CREATE UNIQUE INDEX {prefix}entities_by_distinct_name
    ON {table:entities} (subject_type, distinct_name) WHERE distinct_name IS NOT NULL;
