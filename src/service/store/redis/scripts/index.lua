-- Adds an entry to an index, or changes the score of one that is there.
-- KEYS: index. ARGV: the arguments of ZADD behind the key.
-- A command that only removes is first, and removes nothing: after it, a server whose memory is full lets a script write.
redis.call('ZREM', KEYS[1], '')
return redis.call('ZADD', KEYS[1], unpack(ARGV))
