-- Notes that the holder of a name is registered, by the claim of that registration. Answers 0 where the
-- name was taken over for another holder.
-- KEYS: name. ARGV: claim, holder.
local holder = redis.call('HGET', KEYS[1], 'holder')
if holder and holder ~= ARGV[2] then
    return 0
end
redis.call('HSET', KEYS[1], 'claim', ARGV[1], 'holder', ARGV[2], 'state', 'registered')
return 1
