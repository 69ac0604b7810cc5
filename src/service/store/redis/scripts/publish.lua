-- Adds an entry to the feed, and notes when it ends.
-- KEYS: feed, ends of its entries. ARGV: end, record.
local id = redis.call('XADD', KEYS[1], '*', 'record', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[1], id)
return id
