-- In front of the scripts that need the time. The present in microseconds by the server's clock; none where
-- this user may not ask for it.
local function time()
    local now = redis.pcall('TIME')
    if now.err then
        return nil
    end
    return now[1] * 1000000 + now[2]
end

-- For how many milliseconds to keep what is kept until an instant, by the earlier of the caller's time and the
-- server's: a caller whose clock is ahead shortens nothing.
local function time_left(kept_until, now)
    now = math.min(tonumber(now), time() or tonumber(now))
    return string.format('%.0f', math.max(1, math.ceil((tonumber(kept_until) - now) / 1000)))
end

