CREATE TABLE {table:entities} (
    subject_type TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (subject_type, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE {table:sessions} (
    key BLOB NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    customer_id TEXT NOT NULL,
    organization_id TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;
CREATE INDEX {prefix}sessions_by_age ON {table:sessions} (created_at, key);
CREATE INDEX {prefix}sessions_by_customer ON {table:sessions} (customer_id, created_at, key);
CREATE INDEX {prefix}sessions_by_organization
    ON {table:sessions} (organization_id, created_at, key) WHERE organization_id IS NOT NULL;
CREATE INDEX {prefix}sessions_by_end ON {table:sessions} (expires_at);

-- One writer at a time: numbers are given out in the order of the commits. AUTOINCREMENT gives none
-- out twice.
CREATE TABLE {table:revocations} (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    until INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;
CREATE INDEX {prefix}revocations_by_end ON {table:revocations} (until);
