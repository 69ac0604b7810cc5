-- One record: all nodes have the same keys.
CREATE TABLE {table:signing_keys} (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;
