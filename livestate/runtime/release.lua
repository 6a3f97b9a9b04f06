#!lua
-- Gives the lease back, so that a standby need not wait until it expires.
--
-- KEYS[1] {active_calls}:writer  STRING  who holds the lease
-- ARGV[1] holder
if redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
