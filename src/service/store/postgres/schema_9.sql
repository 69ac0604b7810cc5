-- Names the history that cursors of the feed belong to. The server empties it in a crash and at a promotion,
-- after which it may give numbers of transactions out again; a restored dump makes another table of it.
CREATE UNLOGGED TABLE {table:feed_history} (
    id smallint NOT NULL PRIMARY KEY CHECK (id = 1),
    name uuid NOT NULL
);
