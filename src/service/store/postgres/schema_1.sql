CREATE TABLE {table:entities} (
    subject_type text NOT NULL,
    name text NOT NULL,
    version bigint NOT NULL,
    record text NOT NULL,
    PRIMARY KEY (subject_type, name)
);

CREATE TABLE {table:sessions} (
    key bytea NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    id text NOT NULL UNIQUE,
    customer_id text NOT NULL,
    organization_id text,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    record text NOT NULL
);
CREATE INDEX {prefix}sessions_by_age ON {table:sessions} (created_at, key);
CREATE INDEX {prefix}sessions_by_customer ON {table:sessions} (customer_id, created_at, key);
CREATE INDEX {prefix}sessions_by_organization
    ON {table:sessions} (organization_id, created_at, key) WHERE organization_id IS NOT NULL;
CREATE INDEX {prefix}sessions_by_end ON {table:sessions} (expires_at);

-- Numbers are given out before the commit, and transactions overtake one another. So a reader does
-- not remember a number but a snapshot, and reads what that could not see.
CREATE TABLE {table:revocations} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    until bigint NOT NULL,
    record text NOT NULL
);
CREATE INDEX {prefix}revocations_by_xid ON {table:revocations} (xid);
CREATE INDEX {prefix}revocations_by_end ON {table:revocations} (until);
