-- Adds an entry to the feed, and notes when it ends.
-- KEYS: feed, ends of its entries. ARGV: end, record, nonce, which tells it from another one that gets its
-- id in another history.
local id = redis.call('XADD', KEYS[1], '*', 'record', ARGV[2], 'nonce', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[1], id)
return id
