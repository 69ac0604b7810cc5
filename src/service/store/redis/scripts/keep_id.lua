-- Keeps the key of a session under its id, or keeps what is there for as long as is given.
-- KEYS: id. ARGV: key of the session or '', instant to keep it until, now.
if ARGV[1] ~= '' then
    redis.call('SET', KEYS[1], ARGV[1])
end
return redis.call('PEXPIRE', KEYS[1], time_left(ARGV[2], ARGV[3]))
