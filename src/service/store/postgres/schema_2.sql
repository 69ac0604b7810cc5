-- One record: all nodes have the same keys.
CREATE TABLE {table:signing_keys} (
    id integer NOT NULL PRIMARY KEY CHECK (id = 1),
    version bigint NOT NULL,
    record text NOT NULL
);
