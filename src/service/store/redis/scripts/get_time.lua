-- Answers the server's time in microseconds; nothing, where this user may not ask for it.
-- KEYS: any, which decides on the server.
local now = time()
return now and string.format('%.0f', now) or false
