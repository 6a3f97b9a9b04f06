#!lua
-- Writes what changed, all or nothing. Redis does not roll back a script, so everything is checked
-- first and written last; "#!lua" without allow-oom makes Redis refuse the whole when it is full.
--
-- KEYS[1] active_calls            ZSET  key -> setup time (ms), live calls
-- KEYS[2] {active_calls}:calls    HASH  key -> record, live calls
-- KEYS[3] {active_calls}:ended    HASH  key -> record, ended calls that late events may still name
-- KEYS[4] {active_calls}:scopes   HASH  "version:<company>" / "floor:<company>" -> number
-- KEYS[5] {active_calls}:meta     HASH  epoch, fence, flush, as_of, secret, cdr
-- KEYS[6] {active_calls}:writer   STRING  who holds the lease; renewed here
-- ARGV[1] epoch   of the writer's start
-- ARGV[2] fence   the writer's own; a higher one in meta belongs to a newer writer
-- ARGV[3] flush   number of this flush: one more than the last one that was written
-- ARGV[4] as_of   ms
-- ARGV[5] cdr     position in cdr.raw up to which CDRs are in what is written; empty leaves it
-- ARGV[6] holder  of the lease
-- ARGV[7] lease   ms
-- ARGV[8] how many live calls follow, each as key, score, record
-- then    how many ended calls follow, each as key, record
-- then    how many forgotten keys follow
-- then    how many fields of scopes follow, each as field, value
--
-- Returns {status, live in ZSET, live in HASH, ended}; status is one of ok, already (this number
-- was written, its reply was lost), fenced, epoch (another start wrote, or it was wiped), behind
-- (an old dump came back), type (a key is not what it should be).
local types = {'zset', 'hash', 'hash', 'hash', 'hash'}
for i = 1, 5 do
  local t = redis.call('TYPE', KEYS[i]).ok
  if t ~= 'none' and t ~= types[i] then return {'type', 0, 0, 0} end
end
local meta = redis.call('HMGET', KEYS[5], 'epoch', 'fence', 'flush')
if meta[1] ~= ARGV[1] then
  if meta[2] and tonumber(meta[2]) and tonumber(meta[2]) > tonumber(ARGV[2]) then
    return {'fenced', 0, 0, 0}
  end
  return {'epoch', 0, 0, 0}
end
if (tonumber(meta[2]) or 0) > tonumber(ARGV[2]) then return {'fenced', 0, 0, 0} end
local flush = tonumber(meta[3]) or -1
local status = 'ok'
if flush == tonumber(ARGV[3]) then
  status = 'already'
elseif flush ~= tonumber(ARGV[3]) - 1 then
  return {'behind', 0, 0, 0}
end
if status == 'ok' then
  local at = 8
  local function count()
    local n = tonumber(ARGV[at])
    at = at + 1
    return n
  end
  for _ = 1, count() do
    redis.call('ZADD', KEYS[1], ARGV[at + 1], ARGV[at])
    redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 2])
    redis.call('HDEL', KEYS[3], ARGV[at])
    at = at + 3
  end
  for _ = 1, count() do
    redis.call('ZREM', KEYS[1], ARGV[at])
    redis.call('HDEL', KEYS[2], ARGV[at])
    redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 1])
    at = at + 2
  end
  for _ = 1, count() do
    redis.call('ZREM', KEYS[1], ARGV[at])
    redis.call('HDEL', KEYS[2], ARGV[at])
    redis.call('HDEL', KEYS[3], ARGV[at])
    at = at + 1
  end
  for _ = 1, count() do
    redis.call('HSET', KEYS[4], ARGV[at], ARGV[at + 1])
    at = at + 2
  end
  redis.call('HSET', KEYS[5], 'flush', ARGV[3], 'as_of', ARGV[4])
  if ARGV[5] ~= '' then redis.call('HSET', KEYS[5], 'cdr', ARGV[5]) end
end
redis.call('SET', KEYS[6], ARGV[6], 'PX', ARGV[7])
return {status, redis.call('ZCARD', KEYS[1]), redis.call('HLEN', KEYS[2]), redis.call('HLEN', KEYS[3])}
