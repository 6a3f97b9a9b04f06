#!lua
-- Replaces the whole table by one that was staged beside it, and renews the lease. Called by
-- projection.py when Redis held something unexpected.
--
-- KEYS[1..5]  as in flush.lua
-- KEYS[6]     {active_calls}:writer, as in flush.lua
-- KEYS[7..10] the staged ZSET and HASHes that replace KEYS[1..4]; a missing one leaves its target deleted
-- KEYS[11]    {active_calls}:flushes, as in flush.lua; only an engine gives this key
-- ARGV[1] epoch  ARGV[2] fence  ARGV[3] flush  ARGV[4] as_of  ARGV[5] secret  ARGV[6] cdr
-- ARGV[7] holder  ARGV[8] lease, all as in flush.lua; secret makes the keys of calls
--
-- Returns ok, or fenced if a newer writer exists; then nothing was written.
if redis.call('TYPE', KEYS[5]).ok == 'hash' then
  local text = redis.call('HGET', KEYS[5], 'fence')
  local fence = text and string.match(text, '^%d+$') and tonumber(text) or 0
  if fence > tonumber(ARGV[2]) and fence <= 2^52 then return 'fenced' end
end
for i = 1, 4 do
  redis.call('DEL', KEYS[i])
  if redis.call('EXISTS', KEYS[i + 6]) == 1 then
    redis.call('RENAME', KEYS[i + 6], KEYS[i])
    redis.call('PERSIST', KEYS[i])  -- staged keys expire in case the writer stops before the swap
  end
end
redis.call('DEL', KEYS[5])
redis.call('HSET', KEYS[5], 'epoch', ARGV[1], 'fence', ARGV[2], 'flush', ARGV[3], 'as_of', ARGV[4],
  'secret', ARGV[5], 'cdr', ARGV[6])
redis.call('SET', KEYS[6], ARGV[7], 'PX', ARGV[8])
if KEYS[11] then
  redis.call('DEL', KEYS[11])
  redis.call('XADD', KEYS[11], ARGV[2] .. '-' .. ARGV[3], 'keys', '')
end
return 'ok'
