-- Claims a name for a holder, where nobody has claimed it or the claim is the one that is to be taken over.
-- Told twice by one claim, it was made once.
-- KEYS: name. ARGV: claim, holder, claim to take over or '', its state or ''.
-- Answers '' where it is claimed; the holder, claim and state otherwise.
local claim, holder, state = unpack(redis.call('HMGET', KEYS[1], 'claim', 'holder', 'state'))
if claim == ARGV[1] then
    -- Written again, so that replicas are waited for again.
    redis.call('HSET', KEYS[1], 'claim', claim)
    return {'', '', ''}
end
if claim and (claim ~= ARGV[3] or state ~= ARGV[4]) then
    return {holder, claim, state}
end
redis.call('HSET', KEYS[1], 'claim', ARGV[1], 'holder', ARGV[2], 'state', 'claimed')
return {'', '', ''}
