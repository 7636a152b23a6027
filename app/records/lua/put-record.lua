--[[
  Writes a record if its generation is the one after the stored record's.

  KEYS[1]  the record
  KEYS[2]  set of the ids that are open
  KEYS[3]  sorted set of the finished ids, by the time they finished
  ARGV[1]  the id
  ARGV[2]  the record as JSON
  ARGV[3]  the generation that must be stored now; 0: none
  ARGV[4]  'open' or 'finished'
  ARGV[5]  now, milliseconds since 1970
  ARGV[6]  how long a finished record is kept, milliseconds

  Output: 1 written, 0 another writer was faster
]]
local stored = redis.call('GET', KEYS[1])
local generation = 0
if stored then
  generation = cjson.decode(stored).generation
end
if generation ~= tonumber(ARGV[3]) then
  return 0
end
if ARGV[4] == 'open' then
  redis.call('SET', KEYS[1], ARGV[2])
  redis.call('SADD', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[6])
  redis.call('SREM', KEYS[2], ARGV[1])
  redis.call('ZADD', KEYS[3], 'NX', ARGV[5], ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[5] - ARGV[6])
end
return 1
