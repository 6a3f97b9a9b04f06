#!lua
-- Writes what changed, all or nothing, and renews the lease. Redis does not roll back a script, so it
-- checks everything before the first write. "#!lua" without the flag allow-oom makes Redis refuse the
-- whole script when its memory is full. Called by projection.py.
--
-- KEYS[1] active_calls            ZSET  key -> setup time (ms), live calls
-- KEYS[2] {active_calls}:calls    HASH  key -> record, live calls
-- KEYS[3] {active_calls}:ended    HASH  key -> record, ended calls that are remembered for late events
-- KEYS[4] {active_calls}:scopes   HASH  "version:<company>" / "floor:<company>" -> number
-- KEYS[5] {active_calls}:meta     HASH  epoch, fence, flush, as_of, secret, cdr
-- KEYS[6] {active_calls}:writer   STRING  the instance that holds the lease; renewed here
-- KEYS[7] {active_calls}:flushes  STREAM  <fence>-<flush> -> "keys" of the calls that it wrote, by blanks,
--         and its fields of "scopes" as a JSON list of field, value, …; for engines that are warm
--         (stored_table.py). Only an engine gives this key.
-- ARGV[1] epoch   of the writer's start
-- ARGV[2] fence   the writer's own; a higher fence in meta is a newer writer's
-- ARGV[3] flush   number of this flush: one more than the last that was written
-- ARGV[4] as_of   ms
-- ARGV[5] cdr     position in cdr.raw up to which CDRs are included; empty: unchanged
-- ARGV[6] holder  of the lease
-- ARGV[7] lease   ms
-- ARGV[8] how many live calls follow, each as key, score, record
-- then    how many ended calls follow, each as key, record
-- then    how many forgotten keys follow
-- then    how many fields of scopes follow, each as field, value (empty: the field is removed)
--
-- Returns {status, live in ZSET, live in HASH, ended}. Status:
--   ok       written
--   already  this number was written before and its reply was lost; nothing was written now
--   fenced   a newer writer exists
--   epoch    another start of the service wrote, or Redis was wiped
--   behind   the flush number is too low: an old dump was restored
--   fence    the fence is not the caller's and no newer writer's: it was edited
--   type     a key has another type
local types = {'zset', 'hash', 'hash', 'hash', 'hash'}
for i = 1, 5 do
  local t = redis.call('TYPE', KEYS[i]).ok
  if t ~= 'none' and t ~= types[i] then return {'type', 0, 0, 0} end
end
local meta = redis.call('HMGET', KEYS[5], 'epoch', 'fence', 'flush')
-- A fence that is no number, or lower than the caller's, was edited.
local fence = meta[2] and string.match(meta[2], '^%d+$') and tonumber(meta[2]) or 0
if fence > tonumber(ARGV[2]) and fence <= 2^52 then return {'fenced', 0, 0, 0} end
if meta[1] ~= ARGV[1] then return {'epoch', 0, 0, 0} end
if meta[2] ~= ARGV[2] then return {'fence', 0, 0, 0} end
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
  local live, scores, not_ended, ended, not_live, gone = {}, {}, {}, {}, {}, {}
  for i = 1, count() do
    local key = ARGV[at]
    live[2 * i - 1], live[2 * i] = key, ARGV[at + 2]
    scores[2 * i - 1], scores[2 * i] = ARGV[at + 1], key
    not_ended[i] = key
    at = at + 3
  end
  for i = 1, count() do
    ended[2 * i - 1], ended[2 * i] = ARGV[at], ARGV[at + 1]
    not_live[i] = ARGV[at]
    at = at + 2
  end
  for i = 1, count() do
    gone[i] = ARGV[at]
    at = at + 1
  end
  -- To call a command costs Redis as much as what the command does for a call, so one command takes
  -- many calls. Lua's stack holds 8,000 values (LUAI_MAXCSTACK); no pair is cut in two.
  local function each(command, key, values)
    for from = 1, #values, 1000 do
      redis.call(command, key, unpack(values, from, math.min(from + 999, #values)))
    end
  end
  each('ZADD', KEYS[1], scores)
  each('HSET', KEYS[2], live)
  each('HDEL', KEYS[3], not_ended)
  each('ZREM', KEYS[1], not_live)
  each('HDEL', KEYS[2], not_live)
  each('HSET', KEYS[3], ended)
  for i = 1, 3 do
    each(i == 1 and 'ZREM' or 'HDEL', KEYS[i], gone)
  end
  local fields = {}
  for i = 1, count() do
    fields[2 * i - 1], fields[2 * i] = ARGV[at], ARGV[at + 1]
    if ARGV[at + 1] == '' then
      redis.call('HDEL', KEYS[4], ARGV[at])
    else
      redis.call('HSET', KEYS[4], ARGV[at], ARGV[at + 1])
    end
    at = at + 2
  end
  redis.call('HSET', KEYS[5], 'flush', ARGV[3], 'as_of', ARGV[4])
  if ARGV[5] ~= '' then redis.call('HSET', KEYS[5], 'cdr', ARGV[5]) end
  if KEYS[7] then
    -- 600 flushes are half a minute or more. A reader that has missed one reads the whole table.
    local keys = {}
    for _, names in ipairs({not_ended, not_live, gone}) do
      for i = 1, #names do keys[#keys + 1] = names[i] end
    end
    local entry = redis.pcall('XADD', KEYS[7], 'MAXLEN', '600', ARGV[2] .. '-' .. ARGV[3],
      'keys', table.concat(keys, ' '), 'scopes', cjson.encode(fields))
    if type(entry) == 'table' then redis.call('DEL', KEYS[7]) end  -- it was edited
  end
end
redis.call('SET', KEYS[6], ARGV[6], 'PX', ARGV[7])
return {status, redis.call('ZCARD', KEYS[1]), redis.call('HLEN', KEYS[2]), redis.call('HLEN', KEYS[3])}
