/** A fixed window for servers that bring nothing of their own. */
import { Redis, type Result } from "ioredis"
import { window } from "../work.js"
import { prefix, url } from "./redis.js"

export interface Count {
  /** How many have come in the window, this one included. */
  readonly count: number
  /** Milliseconds until it ends. */
  readonly left: number
}

/** In a `Map`. */
export const inMemory = (): (key: string) => Count => {
  const windows = new Map<string, { count: number; readonly end: number }>()
  return (key) => {
    const now = Date.now()
    const known = windows.get(key)
    if (known !== undefined && known.end > now) return { count: ++known.count, left: known.end - now }
    if (windows.size >= 100_000) windows.clear()
    windows.set(key, { count: 1, end: now + window })
    return { count: 1, left: window }
  }
}

const script = `
local count = redis.call("INCR", KEYS[1])
if count == 1 then redis.call("PEXPIRE", KEYS[1], ARGV[1]) end
return { count, redis.call("PTTL", KEYS[1]) }
`

declare module "ioredis" {
  interface RedisCommander<Context> {
    // as `defineCommand` makes it
    readonly countIn: (key: string, window: number) => Result<[number, number], Context>
  }
}

/** In Redis, by a script. */
export const inRedis = (): (key: string) => Promise<Count> => {
  const redis = new Redis(url)
  redis.defineCommand("countIn", { numberOfKeys: 1, lua: script })
  return async (key) => {
    const [count, left] = await redis.countIn(prefix + key, window)
    return { count, left }
  }
}

/** For `Retry-After`. */
export const seconds = (millis: number): string => `${Math.ceil(millis / 1000)}`

/** What tells a client where it stands. */
export const standing = (limit: number, remaining: number, left: number) => ({
  "x-ratelimit-limit": `${limit}`,
  "x-ratelimit-remaining": `${remaining}`,
  "x-ratelimit-reset": seconds(Date.now() + left)
})
