#!lua
-- Makes the caller the writer unless another instance holds the lease. Called by lease.py before
-- the first write and before each rewrite of the whole table.
--
-- KEYS[1] {active_calls}:meta    HASH    epoch, fence, flush, as_of, secret, cdr
-- KEYS[2] {active_calls}:writer  STRING  the instance that holds the lease; expires
-- ARGV[1] holder  the caller's new name; no instance has had it before
-- ARGV[2] fence   the highest that the caller has seen, for a Redis that was wiped
-- ARGV[3] lease   ms
-- ARGV[4..] names under which the caller may hold the lease now
--
-- Returns {1, the caller's new fence, its name, epoch, secret, flush} or {0, the fence in force, the
-- holder's name, epoch, secret, flush}. The last three are of the table in Redis.
local function number(text)  -- an edited fence that is no number counts as 0
  local n = text and string.match(text, '^%d+$') and tonumber(text)
  return n and n <= 2^52 and n or 0
end
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
if redis.call('TYPE', KEYS[2]).ok ~= 'string' then redis.call('DEL', KEYS[2]) end
local fence = math.max(number(redis.call('HGET', KEYS[1], 'fence')), number(ARGV[2]))
local epoch = redis.call('HGET', KEYS[1], 'epoch') or ''
local secret = redis.call('HGET', KEYS[1], 'secret') or ''
local flush = redis.call('HGET', KEYS[1], 'flush') or ''
local holder = redis.call('GET', KEYS[2])
-- A lease that never expires, or expires later than a real one could, was set by hand or restored
-- from a dump: it does not count. Instances of earlier versions have leases of 6 s.
if holder then
  local left = redis.call('PTTL', KEYS[2])
  local held = left > 0 and left <= 2 * math.max(tonumber(ARGV[3]), 6000)
  for i = 4, #ARGV do
    if holder == ARGV[i] then held = false end
  end
  if held then return {0, fence, holder, epoch, secret, flush} end
end
fence = fence % 2^52 + 1
redis.call('HSET', KEYS[1], 'fence', string.format('%.0f', fence))
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
return {1, fence, ARGV[1], epoch, secret, flush}
