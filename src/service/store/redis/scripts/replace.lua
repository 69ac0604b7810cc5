-- Writes a record over one of the version that is expected, and answers when that would have ended.
-- Told twice by the same writer, it was written once, and when it would have ended is not known.
-- KEYS: record. ARGV: writer, version, record, id or '', end, instant to keep it until or '', now,
-- expected.
-- A command that only removes is first, and removes nothing: after it, a server whose memory is full lets a script write.
redis.call('HDEL', KEYS[1], '')
local version, writer, ending = unpack(redis.call('HMGET', KEYS[1], 'version', 'writer', 'end'))
if version and writer == ARGV[1] then
    -- Written again, so that replicas are waited for again.
    redis.call('HSET', KEYS[1], 'writer', writer)
    return {1, ''}
end
if version ~= ARGV[8] then
    return {0, ''}
end
redis.call('HSET', KEYS[1], 'writer', ARGV[1], 'version', ARGV[2], 'record', ARGV[3], 'end', ARGV[5])
if ARGV[4] ~= '' then
    redis.call('HSET', KEYS[1], 'id', ARGV[4])
end
if ARGV[6] ~= '' then
    redis.call('PEXPIRE', KEYS[1], time_left(ARGV[6], ARGV[7]))
end
return {1, ending}
