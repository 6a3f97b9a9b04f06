#!lua
-- Makes the caller the one writer, unless another holds the lease.
--
-- KEYS[1] {active_calls}:meta    HASH    epoch, fence, flush, as_of, secret, cdr
-- KEYS[2] {active_calls}:writer  STRING  who holds the lease; expires
-- ARGV[1] holder  the caller's name: who has its name and its address is its successor
-- ARGV[2] fence   the highest the caller has ever seen: a wiped Redis has forgotten
-- ARGV[3] lease   ms
--
-- Returns {1, the caller's fence: higher than any before}, or {0, the fence that is in force}.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
if redis.call('TYPE', KEYS[2]).ok ~= 'string' then redis.call('DEL', KEYS[2]) end
local fence = math.max(tonumber(redis.call('HGET', KEYS[1], 'fence') or '0') or 0, tonumber(ARGV[2]))
local holder = redis.call('GET', KEYS[2])
-- A lease that never expires is none of ours: somebody put it there, or brought an old one back.
if holder and holder ~= ARGV[1] and redis.call('PTTL', KEYS[2]) > 0 then return {0, fence} end
redis.call('HSET', KEYS[1], 'fence', fence + 1)
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
return {1, fence + 1}
