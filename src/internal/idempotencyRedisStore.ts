/** Idempotency keys in Redis: each operation is one script about one key, so a Cluster does as well as a server. */
import * as Effect from "effect/Effect"
import type { IdempotencyUnavailable, Outcome, Service } from "../IdempotencyStore.js"
import * as Redis from "../Redis.js"
import { makeGuarded } from "./askStore.js"
import { decodeAnswer, encodeAnswer, fromText, toText } from "./cacheEntry.js"
import { digest } from "./digest.js"

// A key is a hash: f (fingerprint), t (token), l (until when it is leased), a (the answer). Times and tokens are
// microseconds, of the server; a number of Lua is exact up to 2^53 of them, the year 2255.

const prelude = `
local key = KEYS[1]
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local function written(number)
  return string.format("%.0f", number)
end
`

const claim = Redis.script(`${prelude}
local fingerprint, lease, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local found = redis.call("HMGET", key, "f", "t", "l", "a")
if found[1] then
  if found[1] ~= fingerprint then return { "reused" } end
  if found[4] then return { "answered", found[4] } end
  if tonumber(found[3]) > now then return { "inProgress" } end
end
local token = written(math.max(tonumber(found[2] or "0") + 1, now))
redis.call("HSET", key, "f", fingerprint, "t", token, "l", written(now + lease * 1000))
redis.call("PEXPIRE", key, written(math.max(ttl, lease)))
return { "claimed", token }
`)

/** Of a claim that is one's own, and not answered. */
const own = `${prelude}
local found = redis.call("HMGET", key, "t", "a")
if found[1] ~= ARGV[1] or found[2] then return 0 end
`

const renew = Redis.script(`${own}
local lease = tonumber(ARGV[2])
redis.call("HSET", key, "l", written(now + lease * 1000))
redis.call("PEXPIRE", key, written(math.max(lease, redis.call("PTTL", key))))
return 1
`)

const release = Redis.script(`${own}
redis.call("HSET", key, "l", "0")
return 1
`)

const complete = Redis.script(`
local key, token, fingerprint, answer, ttl = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local found = redis.call("HGET", key, "t")
if found and found ~= token then return 0 end
redis.call("HSET", key, "f", fingerprint, "t", token, "l", "0", "a", answer)
redis.call("PEXPIRE", key, ttl)
return 1
`)

export const fromRedis = (
  redis: Redis.Service,
  prefix: string,
  unavailable: (operation: string) => (cause: unknown) => IdempotencyUnavailable
): Service => {
  const guarded = makeGuarded(unavailable)
  const run = <A>(
    operation: keyof Service,
    script: Redis.Script,
    key: string,
    args: ReadonlyArray<string>,
    decode: (reply: unknown) => A
  ): Effect.Effect<A, IdempotencyUnavailable> =>
    guarded(
      operation,
      Effect.tryMap(redis.eval(script, [`${prefix}${digest(key)}`], args), {
        try: decode,
        catch: (error) => error
      })
    )
  const millis = (time: number) => `${Math.ceil(time)}`

  return {
    claim: (key, { fingerprint, lease, ttl }) =>
      run("claim", claim, key, [fingerprint, millis(lease), millis(ttl)], toOutcome),
    renew: ({ key, token }, lease) => run("renew", renew, key, [`${token}`, millis(lease)], isOne),
    complete: ({ fingerprint, key, token }, answer, ttl) =>
      run("complete", complete, key, [`${token}`, fingerprint, toText(encodeAnswer(answer)), millis(ttl)], isOne),
    release: ({ key, token }) => run("release", release, key, [`${token}`], isOne)
  }
}

// --- replies: what Redis, or whoever wrote to its keys, says that no store would, is a failure ------------------------

const isOne = (reply: unknown): boolean => reply === 1

const toOutcome = (reply: unknown): Outcome => {
  const [tag, value]: ReadonlyArray<unknown> = Array.isArray(reply) ? reply : []
  if (tag === "reused") return { _tag: "Reused" }
  if (tag === "inProgress") return { _tag: "InProgress" }
  if (tag === "claimed" && Number.isSafeInteger(Number(value))) return { _tag: "Claimed", token: Number(value) }
  const answer = tag === "answered" && typeof value === "string" ? decodeAnswer(fromText(value)) : undefined
  if (answer === undefined) throw new TypeError("Redis has at this key what no idempotency store has written")
  return { _tag: "Answered", answer }
}
