"""What is done to a token in one step, as Lua on Redis.

A token's value, one string, so that it is lost as a whole or not at all:

    =<random>@<alias>:<map version>      entries with this stamp are valid
    ?<random>@<alias>:<map version>      quarantine: nobody knows yet who may be in flight
    ?<random>#<xid>@…                    … until every transaction below that number has ended
    !<writer>,<writer>,!<one of these>   writers that are about to commit: no entry is valid
"""

from hashlib import sha1

__all__ = ["MARK", "SETTLE", "SWAP", "Script"]


class Script:
    """Its text, and the digest by which Redis knows it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()


PARTS = """
local function parts(value)
    if string.sub(value, 1, 1) ~= '!' then return '', value end
    local stop = string.find(value, '!', 2, true)
    return string.sub(value, 2, stop - 1), string.sub(value, stop + 1)
end
"""

# KEYS: tokens. ARGV: writer, random, alias, map version, seconds to live.
MARK = Script(
    PARTS
    + """
local writer, fresh = ARGV[1], ARGV[2]
local alias, version = ARGV[3], tonumber(ARGV[4])
for _, key in ipairs(KEYS) do
    local value = redis.call('GET', key)
    local pending, base = '', '?' .. fresh .. '@' .. alias .. ':' .. version
    if value then
        local held
        pending, held = parts(value)
        local held_alias, held_version = string.match(held, '@(.*):(%d+)$')
        if held_alias == alias then
            base = held
        elseif tonumber(held_version) > version then
            base = '?' .. fresh .. '@' .. held_alias .. ':' .. held_version
        end
    end
    if not string.find(',' .. pending, ',' .. writer .. ',', 1, true) then
        pending = pending .. writer .. ','
    end
    redis.call('SET', key, '!' .. pending .. '!' .. base, 'EX', ARGV[5])
end
return 1
"""
)

# KEYS: tokens. ARGV: writer, random, seconds to live.
SETTLE = Script(
    PARTS
    + """
local writer, fresh = ARGV[1] .. ',', ARGV[2]
for _, key in ipairs(KEYS) do
    local value = redis.call('GET', key)
    if value then
        local pending, base = parts(value)
        local start, stop = string.find(',' .. pending, ',' .. writer, 1, true)
        if start then
            pending = string.sub(pending, 1, start - 1) .. string.sub(pending, stop)
            if pending ~= '' then
                base = '!' .. pending .. '!' .. base
            elseif string.sub(base, 1, 1) == '=' then
                base = '=' .. fresh .. string.match(base, '@.*$')
            end
            redis.call('SET', key, base, 'EX', ARGV[3])
        end
    end
end
return 1
"""
)

# KEYS: a token. ARGV: what it has to be ('' for none), what it becomes, seconds to live.
SWAP = Script(
    """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""
)
