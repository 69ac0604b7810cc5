-- What tells whether the sealing keys open what is stored.
CREATE TABLE {table:sealing_check} (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    record TEXT NOT NULL
) STRICT;
