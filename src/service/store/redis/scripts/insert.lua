-- Writes a record where there is none. Told twice by the same writer, it was written once, also where
-- somebody took the record meanwhile.
-- KEYS: record. ARGV: writer, version, record, id, end, instant to keep it until or '',
-- now.
local version, writer = unpack(redis.call('HMGET', KEYS[1], 'version', 'writer'))
if writer == ARGV[1] then
    -- Written again, so that replicas are waited for again.
    redis.call('HSET', KEYS[1], 'writer', writer)
    return 1
end
if version then
    return 0
end
redis.call('HDEL', KEYS[1], 'taken')
redis.call('HSET', KEYS[1], 'writer', ARGV[1], 'version', ARGV[2], 'record', ARGV[3],
    'id', ARGV[4], 'end', ARGV[5])
if ARGV[6] ~= '' then
    redis.call('PEXPIRE', KEYS[1], time_left(ARGV[6], ARGV[7]))
else
    redis.call('PERSIST', KEYS[1])
end
return 1
