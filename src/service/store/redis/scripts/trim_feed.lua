-- Removes entries of the feed that have ended.
-- KEYS: feed, ends of its entries. ARGV: now, most entries.
local ended = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
if #ended > 0 then
    redis.call('XDEL', KEYS[1], unpack(ended))
    redis.call('ZREM', KEYS[2], unpack(ended))
end
return #ended
