-- Reads a part of the feed. The history tells one life of the data from another: a replica that took
-- over may have numbered anew what its cursors' owners have not seen.
-- KEYS: feed. ARGV: first number, most entries.
local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
    local feed = redis.call('XINFO', 'STREAM', KEYS[1])
    for at = 1, #feed, 2 do
        if feed[at] == 'last-generated-id' then
            last = feed[at + 1]
        end
    end
end
local numbers, records = {}, {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
    numbers[#numbers + 1] = entry[1]
    records[#records + 1] = entry[2][4]
end
return {history or '', last, numbers, records}
