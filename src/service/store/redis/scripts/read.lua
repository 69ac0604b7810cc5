-- Reads by a command of one key, of a primary alone: a replica, whose content may be old, rejects a write, also
-- one that changes nothing.
-- KEYS: any. ARGV: the command, what follows the key in it.
local probes = {Z = {'ZREM', ''}, G = {'SETRANGE', 0, ''}, H = {'HDEL', ''}}
local probe = probes[string.sub(ARGV[1], 1, 1)]
local answer = redis.pcall(probe[1], KEYS[1], unpack(probe, 2))
if type(answer) == 'table' and string.find(answer.err, 'READONLY') then
    return redis.error_reply('READONLY the server is no primary')
end
return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))
