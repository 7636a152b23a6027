--[[
  Prolongs the lease if it is still ours.

  KEYS[1]  the lease
  ARGV[1]  our token
  ARGV[2]  how long it holds from now on, milliseconds

  Output: 1 renewed, 0 no longer ours
]]
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
