--[[
  Takes the lease when nobody has it, or when the one has it who is known to be no more.

  KEYS[1]  the lease
  KEYS[2]  the fence: how often the lease was acquired
  ARGV[1]  our token
  ARGV[2]  how long it holds from now on, milliseconds
  ARGV[3]  the token of a holder that has ended; empty: of none

  Output: the fence when it is ours now (integer), else its holder's token (string)
]]
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[3] then
  return holder
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('INCR', KEYS[2])
