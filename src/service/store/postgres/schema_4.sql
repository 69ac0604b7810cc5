-- A session that was used up has ended, and is kept for a log-out to find what to revoke.
SET LOCAL statement_timeout = 0;
ALTER TABLE {table:sessions} ADD COLUMN kept_until bigint NOT NULL DEFAULT 0;
UPDATE {table:sessions} SET kept_until = expires_at;
DROP INDEX {schema}{prefix}sessions_by_end;
CREATE INDEX {prefix}sessions_by_end ON {table:sessions} (kept_until);
