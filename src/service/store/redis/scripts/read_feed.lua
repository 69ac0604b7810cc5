-- Reads a batch of the feed: what comes after a reader's last entry or, where that is of another history,
-- all. A history is known by the id of the replication, which a promotion changes; where this user may not
-- ask for that, by the reader's last entry, which is there as it was.
-- Only of a primary that takes writes: it rejects one that changes nothing where it is a replica, or has
-- fewer replicas than it was told to have, as where another one was promoted behind its back.
-- KEYS: feed. ARGV: history, id and nonce of the last entry that was read, most entries.
local probe = redis.pcall('XDEL', KEYS[1], '0-0')
if type(probe) == 'table' and
    (string.find(probe.err, 'READONLY') or string.find(probe.err, 'NOREPLICAS')) then
    return redis.error_reply('READONLY the server is no primary that takes writes')
end
local replication = redis.pcall('INFO', 'replication')
local history = type(replication) == 'string' and
    string.match(replication, 'master_replid:(%w+)') or ''
local after, nonce = ARGV[2], ARGV[3]

local function comes_before(one, other)
    local millis, count = string.match(one, '^(%d+)-(%d+)$')
    local other_millis, other_count = string.match(other, '^(%d+)-(%d+)$')
    millis, other_millis = tonumber(millis), tonumber(other_millis)
    return millis < other_millis or
        millis == other_millis and tonumber(count) < tonumber(other_count)
end

local function last_id()
    if redis.call('EXISTS', KEYS[1]) == 1 then
        local feed = redis.call('XINFO', 'STREAM', KEYS[1])
        for at = 1, #feed, 2 do
            if feed[at] == 'last-generated-id' then
                return feed[at + 1]
            end
        end
    end
    return '0-0'
end

local is_known = ARGV[1] == history
if is_known and history ~= '' then
    is_known = not comes_before(last_id(), after)
elseif is_known and after ~= '0-0' then
    local entry = redis.call('XRANGE', KEYS[1], after, after)[1]
    is_known = entry ~= nil and (entry[2][4] or '') == nonce
end
if not is_known then
    after, nonce = '0-0', ''
end

local records = {}
for at, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', ARGV[4])) do
    records[at] = {entry[1], entry[2][2] or ''}
    after, nonce = entry[1], entry[2][4] or ''
end
return {is_known and 1 or 0, history, after, nonce, records}
