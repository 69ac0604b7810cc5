-- Reads a batch of the feed. The history tells one life of the data from another: a replica that took
-- over may give ids anew to entries that its cursors' owners have not seen. It is empty where this
-- user may not ask for it.
-- KEYS: feed. ARGV: first id, most entries.
local known = redis.pcall('INFO', 'replication')
local history = type(known) == 'string' and string.match(known, 'master_replid:(%w+)') or ''
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
    local feed = redis.call('XINFO', 'STREAM', KEYS[1])
    for at = 1, #feed, 2 do
        if feed[at] == 'last-generated-id' then
            last = feed[at + 1]
        end
    end
end
local ids, records = {}, {}
for at, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
    ids[at], records[at] = entry[1], entry[2][2] or ''
end
return {history, last, ids, records}
