-- Removes a record that has ended, and answers when it will, where it is still to end.
-- KEYS: record. ARGV: id, now.
local version, id, ending = unpack(redis.call('HMGET', KEYS[1], 'version', 'id', 'end'))
if not version or id ~= ARGV[1] then
    return false
end
if (tonumber(ending) or 0) > tonumber(ARGV[2]) then
    return ending
end
redis.call('DEL', KEYS[1])
return false
