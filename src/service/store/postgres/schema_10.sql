-- The lists of live sessions: each in its order, without those that were used up, and with what tells whether a
-- session has expired. The indexes that they replace are dropped last, which nobody reads behind a lock for long.
CREATE INDEX {prefix}sessions_listed ON {table:sessions} (created_at, id COLLATE "C")
    INCLUDE (expires_at) WHERE expires_at > 0;
CREATE INDEX {prefix}sessions_listed_by_customer ON {table:sessions} (customer_id, created_at, id COLLATE "C")
    INCLUDE (expires_at) WHERE expires_at > 0;
CREATE INDEX {prefix}sessions_listed_by_organization
    ON {table:sessions} (organization_id, created_at, id COLLATE "C")
    INCLUDE (expires_at) WHERE expires_at > 0 AND organization_id IS NOT NULL;
CREATE INDEX {prefix}sessions_listed_by_both
    ON {table:sessions} (organization_id, customer_id, created_at, id COLLATE "C")
    INCLUDE (expires_at) WHERE expires_at > 0 AND organization_id IS NOT NULL;
DROP INDEX {schema}{prefix}sessions_by_age;
DROP INDEX {schema}{prefix}sessions_by_customer;
DROP INDEX {schema}{prefix}sessions_by_organization;
