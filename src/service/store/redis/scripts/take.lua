-- Removes a record and hands it to one taker. That one may ask again, where the answer got lost: what
-- was taken is kept aside for it for a little while, and is gone for everybody else.
-- KEYS: record. ARGV: taker, version or '', id or '', milliseconds to keep it aside.
-- Answers 1, the record and its id; 0 where there is none; -1 where it is of another version.
-- A command that only removes is first, and removes nothing: after it, a server whose memory is full lets a script write.
redis.call('HDEL', KEYS[1], '')
local version, record, id, writer, taker, taken = unpack(redis.call('HMGET', KEYS[1],
    'version', 'record', 'id', 'writer', 'taker', 'taken'))
if taker == ARGV[1] then
    -- Written again, so that replicas are waited for again.
    redis.call('HSET', KEYS[1], 'taker', taker)
    return {1, taken or '', id or ''}
end
if not version or (ARGV[3] ~= '' and id ~= ARGV[3]) then
    return {0, '', ''}
end
if ARGV[2] ~= '' and version ~= ARGV[2] then
    return {-1, '', ''}
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'writer', writer, 'taker', ARGV[1], 'taken', record, 'id', id or '')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {1, record, id or ''}
