#!lua
-- Extends the lease of the writer, between two flushes. Called by lease.py.
--
-- KEYS[1] {active_calls}:meta    HASH    fence
-- KEYS[2] {active_calls}:writer  STRING  the instance that holds the lease; expires
-- ARGV[1] holder  the caller's name
-- ARGV[2] fence   the caller's
-- ARGV[3] lease   ms
--
-- Returns 1, or 0 if another instance has claimed the lease. A lease that has expired, and that no
-- other instance has claimed, is the caller's again.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return 1 end  -- the next flush mends it
-- A fence that is no number, or lower than the caller's, was edited: the next flush mends it.
local text = redis.call('HGET', KEYS[1], 'fence')
local fence = text and string.match(text, '^%d+$') and tonumber(text) or 0
if fence > tonumber(ARGV[2]) and fence <= 2^52 then return 0 end
if redis.call('TYPE', KEYS[2]).ok == 'string' and redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
return 1
