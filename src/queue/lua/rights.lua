#!lua
-- Tells which commands the user of this connection may not use, as such or on their keys.
-- Transition: none
-- KEYS[1] P
-- ARGV[1] now: not used
-- ARGV[2..] items of 1: a command as it is sent, its words separated by blanks
-- Returns: the places of those that are refused, counted from 1
local ITEM, FIRST = 1, 2

-- checks
local refused = {}
for at = FIRST, #ARGV, ITEM do
  local words = {}
  for word in ARGV[at]:gmatch('%S+') do words[#words + 1] = word end
  if not redis.acl_check_cmd(unpack(words)) then refused[#refused + 1] = at - FIRST + 1 end
end
return refused
