-- Frees a name whose holder was removed. One that was claimed anew since stays.
-- KEYS: name. ARGV: claim.
if redis.call('HGET', KEYS[1], 'claim') == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
return 1
