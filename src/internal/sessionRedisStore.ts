/** Sessions in Redis: each step is one script about one key, so a Cluster does as well as a server. */
import * as Effect from "effect/Effect"
import * as Redis from "../Redis.js"
import type { Outcome, Stored } from "../SessionStore.js"
import { digest } from "./digest.js"
import type { Member, Records, Removed } from "./sessionRecordsStore.js"

// A record is a hash: p(ayload), o(wner), c(reatedAt), t(ouchedAt), e(xpiresAt), l(imit, endsAt), v(ersion), b(y which it is
// superseded). What Redis expires by its own clock is gone some time after; `now` decides.

const prelude = `
local key, now = KEYS[1], tonumber(ARGV[1])
local function field(name)
  return redis.call("HGET", key, name)
end
local function time(text)
  return tonumber(text) or error("no time")
end
local function written(number)
  return string.format("%.0f", number)
end
local function expire(at)
  if at > now then redis.call("PEXPIRE", key, written(at - now)) else redis.call("DEL", key) end
end
local function live()
  return redis.call("EXISTS", key) == 1 and time(field("e")) > now
end
`

const load = Redis.script(`${prelude}
if not live() then return false end
local f = redis.call("HMGET", key, "p", "o", "c", "t", "e", "l", "v", "b")
if ARGV[2] and not f[8] and now - time(f[4]) >= tonumber(ARGV[2]) then
  local at = math.min(now + tonumber(ARGV[3]), time(f[6]))
  f[4], f[5] = ARGV[1], written(at)
  redis.call("HSET", key, "t", f[4], "e", f[5])
  expire(at)
end
return f
`)

const create = Redis.script(`${prelude}
if live() then return 0 end
redis.call("DEL", key)
redis.call("HSET", key, "v", "1", "p", ARGV[2], "c", ARGV[3], "t", ARGV[4], "e", ARGV[5], "l", ARGV[6])
if ARGV[7] then redis.call("HSET", key, "o", ARGV[7]) end
expire(tonumber(ARGV[5]))
return 1
`)

const outcomes: ReadonlyArray<Outcome> = ["missing", "conflict", "saved"]

const write = `${prelude}
if not live() then return 0 end
if field("b") or field("v") ~= ARGV[2] then return 1 end
`

const save = Redis.script(`${write}
redis.call("HSET", key, "v", ARGV[3], "p", ARGV[4], "t", ARGV[5], "e", ARGV[6])
expire(tonumber(ARGV[6]))
return 2
`)

const supersede = Redis.script(`${write}
local at = math.min(tonumber(ARGV[4]), time(field("e")))
redis.call("HSET", key, "b", ARGV[3], "e", written(at))
expire(at)
return 2
`)

const remove = Redis.script(`${prelude}
if not live() then return 0 end
if ARGV[3] and field("o") ~= ARGV[3] then return 0 end
local by = field("b")
if not by or ARGV[2] == "all" then redis.call("DEL", key) end
return by or 1
`)

const own = Redis.script(`${prelude}
redis.call("ZREMRANGEBYSCORE", key, "-inf", ARGV[1])
redis.call("ZADD", key, ARGV[2], ARGV[3])
expire(tonumber(redis.call("ZRANGE", key, -1, -1, "WITHSCORES")[2]))
`)

const epoch = Redis.script(`${prelude}
if not live() then return 0 end
return field("n")
`)

const advanceEpoch = Redis.script(`${prelude}
local number, at = 1, tonumber(ARGV[2])
if live() then
  number = time(field("n")) + 1
  at = math.max(at, time(field("e")))
end
redis.call("HSET", key, "n", written(number), "e", written(at))
expire(at)
return number
`)

export const fromRedis = (redis: Redis.Service, prefix: string): Records => {
  const keyOf = (id: string) => `${prefix}${id}`
  // identifiers have no colon
  const indexOf = (owner: string) => `${prefix}owner:${digest(owner)}`
  const epochOf = (owner: string) => `${prefix}epoch:${digest(owner)}`

  const run = <A>(
    script: Redis.Script,
    key: string,
    args: ReadonlyArray<string | number>,
    decode: (reply: unknown) => A
  ): Effect.Effect<A, unknown> => decoded(redis.eval(script, [key], args.map(String)), decode)

  return {
    load: (id, { now, touch }) =>
      run(load, keyOf(id), touch === undefined ? [now] : [now, touch.every, touch.idle], toStored),
    create: (id, { createdAt, endsAt, expiresAt, owner, payload, touchedAt }, now) =>
      run(
        create,
        keyOf(id),
        [
          now,
          write8(payload),
          createdAt,
          touchedAt,
          expiresAt,
          endsAt,
          ...(owner === undefined ? [] : [write8(owner)])
        ],
        (reply) => toOne(reply, [false, true])
      ),
    save: (id, version, { expiresAt, payload, touchedAt }, now) =>
      run(
        save,
        keyOf(id),
        [now, version, version + 1, write8(payload), touchedAt, expiresAt],
        (reply) => toOne(reply, outcomes)
      ),
    supersede: (from, by, { now, until }) =>
      run(supersede, keyOf(from.id), [now, from.version, by, until], (reply) => toOne(reply, outcomes)),
    remove: (id, { following, now, owner }) =>
      run(
        remove,
        keyOf(id),
        [now, following === true ? "live" : "all", ...(owner === undefined ? [] : [write8(owner)])],
        (reply): Removed =>
          typeof reply === "string"
            ? { _tag: "Superseded", by: reply }
            : toOne<Removed>(reply, [{ _tag: "Nothing" }, { _tag: "Live" }])
      ),
    own: (owner, member, now) => run(own, indexOf(owner), [now, member.endsAt, fromMember(member)], () => undefined),
    members: (owner, now) => {
      const key = indexOf(owner)
      return decoded(
        redis.send(key, ["ZRANGEBYSCORE", key, `(${now}`, "+inf"]),
        (reply) => toArray(reply).map(toMember)
      )
    },
    disown: (owner, members) => {
      const key = indexOf(owner)
      return Effect.asVoid(redis.send(key, ["ZREM", key, ...members.map(fromMember)]))
    },
    epoch: (owner, now) => run(epoch, epochOf(owner), [now], toNumber),
    advanceEpoch: (owner, { expiresAt, now }) => run(advanceEpoch, epochOf(owner), [now, expiresAt], toNumber)
  }
}

// --- texts -----------------------------------------------------------------------------------------------------------

/** What UTF-8 cannot say is kept as JSON, which is marked. */
const write8 = (text: string): string => /^\0|\p{Surrogate}/u.test(text) ? `\0${JSON.stringify(text)}` : text

const read8 = (text: string): string => text.startsWith("\0") ? toText(JSON.parse(text.slice(1))) : text

const fromMember = ({ addedAt, id }: Member): string => `${id}:${addedAt}`

// --- replies: what Redis, or whoever wrote to its keys, says that no store would, is a failure ------------------------

const decoded = <A>(reply: Effect.Effect<unknown, unknown>, decode: (reply: unknown) => A): Effect.Effect<A, unknown> =>
  Effect.flatMap(reply, (reply) => Effect.try({ try: () => decode(reply), catch: (error) => error }))

const malformed = () => new TypeError("Redis has at this key what no session store has written")

const toText = (reply: unknown): string => {
  if (typeof reply !== "string") throw malformed()
  return reply
}

const toNumber = (reply: unknown): number => {
  const number = typeof reply === "string" && /^\d{1,16}$/.test(reply) ? Number(reply) : reply
  if (typeof number !== "number" || !Number.isSafeInteger(number) || number < 0) throw malformed()
  return number
}

const toArray = (reply: unknown): ReadonlyArray<unknown> => {
  if (!Array.isArray(reply)) throw malformed()
  return reply
}

const toOne = <A>(reply: unknown, all: ReadonlyArray<A>): A => {
  const one = all[toNumber(reply)]
  if (one === undefined) throw malformed()
  return one
}

const toStored = (reply: unknown): Stored | undefined => {
  if (reply === null) return undefined
  const [payload, owner, createdAt, touchedAt, expiresAt, endsAt, version, by] = toArray(reply)
  return {
    payload: read8(toText(payload)),
    owner: owner === null ? undefined : read8(toText(owner)),
    createdAt: toNumber(createdAt),
    touchedAt: toNumber(touchedAt),
    expiresAt: toNumber(expiresAt),
    endsAt: toNumber(endsAt),
    version: toNumber(version),
    superseded: by !== null
  }
}

const toMember = (reply: unknown): Member => {
  const [id, addedAt, ...rest] = toText(reply).split(":")
  if (id === undefined || rest.length > 0) throw malformed()
  return { id, addedAt: toNumber(addedAt) }
}
