-- Removes what has ended from the beginning of the feed, up to the first entry that has not.
-- KEYS: feed. ARGV: now, most entries.
local ended = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[2])) do
    if tonumber(entry[2][2]) > tonumber(ARGV[1]) then
        break
    end
    ended[#ended + 1] = entry[1]
end
if #ended > 0 then
    redis.call('XDEL', KEYS[1], unpack(ended))
end
return #ended
