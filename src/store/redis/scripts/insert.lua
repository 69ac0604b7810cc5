-- Writes a record where there is none. Told twice by the same writer, it was written once.
-- KEYS: record. ARGV: writer, version, record, id, end, milliseconds to keep it or ''.
local version, writer = unpack(redis.call('HMGET', KEYS[1], 'version', 'writer'))
if version then
    return writer == ARGV[1] and 1 or 0
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'writer', ARGV[1], 'version', ARGV[2], 'record', ARGV[3],
    'id', ARGV[4], 'end', ARGV[5])
if ARGV[6] ~= '' then
    redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
return 1
