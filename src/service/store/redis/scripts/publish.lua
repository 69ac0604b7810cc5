-- Adds an entry to the feed, and notes when it ends.
-- KEYS: feed, ends of its entries. ARGV: end, record, nonce, which tells it from another one that gets its
-- id in another history.
-- A command that only removes is first, and removes nothing: after it, a server whose memory is full lets a script write.
redis.call('XDEL', KEYS[1], '0-0')
local id = redis.call('XADD', KEYS[1], '*', 'record', ARGV[2], 'nonce', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[1], id)
return id
