-- Reads a record, of a primary alone: a replica, whose content may be old, rejects a write, also one that
-- changes nothing.
-- KEYS: record.
local probe = redis.pcall('HDEL', KEYS[1], '')
if type(probe) == 'table' and string.find(probe.err, 'READONLY') then
    return redis.error_reply('READONLY the server is no primary')
end
return redis.call('HGET', KEYS[1], 'record')
