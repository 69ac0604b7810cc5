-- What tells whether the sealing keys open what is stored.
CREATE TABLE {table:sealing_check} (
    id smallint NOT NULL PRIMARY KEY CHECK (id = 1),
    record text NOT NULL
);
