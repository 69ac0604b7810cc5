-- The feed is read in parts, each from where the one before it ended. A role's time-out is for calls,
-- and not for this.
SET LOCAL statement_timeout = 0;
CREATE INDEX {prefix}revocations_in_order ON {table:revocations} (xid, id);
DROP INDEX {schema}{prefix}revocations_by_xid;
