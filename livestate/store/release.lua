#!lua
-- Gives the lease back, so that a standby takes over at once. Called by lease.py at a stop.
--
-- KEYS[1] {active_calls}:writer  STRING  the instance that holds the lease
-- ARGV[1] holder  the caller's name
--
-- Returns 1. Does nothing if another instance holds the lease.
if redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
