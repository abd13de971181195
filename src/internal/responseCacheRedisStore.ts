/** Responses in Redis: each step is one script about one key, or one tag, so a Cluster does as well as a server. */
import * as Effect from "effect/Effect"
import * as Redis from "../Redis.js"
import type { Found, Put, ResponseCacheUnavailable, Service, VariantOf } from "../ResponseCacheStore.js"
import { makeGuarded } from "./askStore.js"
import { decode, encode, fromText, toText, toVary } from "./cacheEntry.js"
import { digest } from "./digest.js"

// A key is a hash: y (the fields it varies by, as JSON), p (when it was purged), v:<variant> (an entry), e:<variant> (until
// when it is kept). A tag is a sorted set of keys by the end of their time, and beside it the time when it was purged. Times
// are microseconds, of the server.

/** For how long a purge is remembered, in seconds; what has taken longer to make is not kept. */
const memory = 60

/** More variants of a key than so many take each other's places, all at once. */
const mostVariants = 100

const prelude = `
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local function written(number)
  return string.format("%.0f", number)
end
local function isPurged(at, asOf)
  return now - asOf > ${memory * 1_000_000} or (at and tonumber(at) >= asOf)
end
`

const get = Redis.script(`${prelude}
local vary = redis.call("HGET", KEYS[1], "y") or "[]"
if vary ~= ARGV[1] then return { vary, false, written(now) } end
local found = redis.call("HMGET", KEYS[1], "v:" .. ARGV[2], "e:" .. ARGV[2])
local isLive = found[2] and tonumber(found[2]) > now
return { vary, isLive and found[1], written(now) }
`)

const put = Redis.script(`${prelude}
local vary, variant, value, ttl, asOf = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local purged = redis.call("HGET", KEYS[1], "p")
if isPurged(purged, asOf) then return 0 end
local left = redis.call("PTTL", KEYS[1])
if redis.call("HGET", KEYS[1], "y") ~= vary or redis.call("HLEN", KEYS[1]) > ${mostVariants * 2} then
  redis.call("DEL", KEYS[1])
  if purged then redis.call("HSET", KEYS[1], "p", purged) end
end
redis.call("HSET", KEYS[1], "y", vary, "v:" .. variant, value, "e:" .. variant, written(now + ttl * 1000))
redis.call("PEXPIRE", KEYS[1], written(math.max(left, ttl, ${memory * 1000})))
return 1
`)

const remove = Redis.script(`${prelude}
redis.call("DEL", KEYS[1])
redis.call("HSET", KEYS[1], "p", written(now))
redis.call("EXPIRE", KEYS[1], ${memory})
`)

/** Of a tag. */
const index = Redis.script(`${prelude}
local key, ttl, asOf = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if isPurged(redis.call("GET", KEYS[2]), asOf) then return 0 end
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", written(now))
local known = redis.call("ZSCORE", KEYS[1], key)
local at = now + ttl * 1000
if not known or tonumber(known) < at then redis.call("ZADD", KEYS[1], written(at), key) end
local last = tonumber(redis.call("ZRANGE", KEYS[1], -1, -1, "WITHSCORES")[2])
redis.call("PEXPIRE", KEYS[1], written(math.ceil((last - now) / 1000)))
return 1
`)

const purge = Redis.script(`${prelude}
redis.call("SET", KEYS[2], written(now), "EX", ${memory})
return redis.call("ZRANGE", KEYS[1], 0, -1)
`)

export const fromRedis = (
  redis: Redis.Service,
  prefix: string,
  unavailable: (operation: string) => (cause: unknown) => ResponseCacheUnavailable
): Service => {
  const guarded = makeGuarded(unavailable)

  const keyOf = (key: string) => `${prefix}${digest(key)}`
  // a digest has no colon
  const tagOf = (tag: string): readonly [string, string] => {
    const name = `${prefix}tag:{${digest(tag)}}`
    return [name, `${name}:purged`]
  }

  const read = (key: string, vary: ReadonlyArray<string>, variantOf: VariantOf): Effect.Effect<Found, unknown> =>
    Effect.flatMap(
      decoded(redis.eval(get, [key], [JSON.stringify(vary), digest(variantOf(vary))]), toFound),
      (found) =>
        // in between it may have come to vary by something else, and is then a miss
        vary.length > 0 || found.vary.length === 0 ? Effect.succeed(found) : read(key, found.vary, variantOf)
    )

  const put_ = (key: string, { asOf, entry, tags, ttl, variant, vary }: Put): Effect.Effect<boolean, unknown> => {
    const until = Math.ceil(ttl)
    return Effect.flatMap(
      Effect.forEach(tags, (tag) => redis.eval(index, tagOf(tag), [key, `${until}`, `${asOf}`]), { concurrency: 8 }),
      (replies) =>
        replies.some((reply) => reply !== 1) ? Effect.succeed(false) : Effect.map(
          redis.eval(put, [key], [
            JSON.stringify(vary),
            digest(variant),
            toText(encode(entry)),
            `${until}`,
            `${asOf}`
          ]),
          (reply) => reply === 1
        )
    )
  }

  const forget = (key: string) => redis.eval(remove, [key], [])

  return {
    get: (key, variantOf) => guarded("get", Effect.suspend(() => read(keyOf(key), [], variantOf))),
    put: (key, given) => guarded("put", put_(keyOf(key), given)),
    delete: (key) => guarded("delete", Effect.asVoid(forget(keyOf(key)))),
    purge: (tag) => {
      const names = tagOf(tag)
      return guarded(
        "purge",
        Effect.flatMap(decoded(redis.eval(purge, names, []), toTexts), (keys) =>
          Effect.zipRight(
            Effect.forEach(keys, forget, { concurrency: 64, discard: true }),
            Effect.forEach(chunks(keys), (keys) => redis.send(names[0], ["ZREM", names[0], ...keys]), { discard: true })
          ))
      )
    }
  }
}

// --- replies: what Redis, or whoever wrote to its keys, says that no store would, is a failure, or nothing ------------

const decoded = <A>(reply: Effect.Effect<unknown, unknown>, decode: (reply: unknown) => A): Effect.Effect<A, unknown> =>
  Effect.tryMap(reply, { try: decode, catch: (error) => error })

const malformed = () => new TypeError("Redis has at this key what no response cache has written")

const toTexts = (reply: unknown): ReadonlyArray<string> => {
  if (!Array.isArray(reply) || !reply.every((item) => typeof item === "string")) throw malformed()
  return reply
}

const toFound = (reply: unknown): Found => {
  if (!Array.isArray(reply)) throw malformed()
  const [vary, value, now]: ReadonlyArray<unknown> = reply
  if (typeof vary !== "string" || typeof now !== "string") throw malformed()
  return {
    vary: toVary(vary),
    entry: typeof value === "string" ? decode(fromText(value)) : undefined,
    asOf: Number(now)
  }
}

const chunks = (keys: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> =>
  Array.from({ length: Math.ceil(keys.length / 1000) }, (_, i) => keys.slice(i * 1000, (i + 1) * 1000))
