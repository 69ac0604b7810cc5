-- Tells an entry of the feed from another one that got its number after the file was put back in place.
ALTER TABLE {table:revocations} ADD COLUMN nonce BLOB;
