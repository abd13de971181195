/** Limits as those have them who take `rate-limiter-flexible`. */
import { Redis } from "ioredis"
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible"
import { type Limited, limits, needsRedis, window } from "../work.js"
import { prefix, url } from "./redis.js"
import { seconds } from "./window.js"

/** Resolves to what `Retry-After` says, or to `undefined` where there is room for one more. */
export const limiter = (variant: Limited): (key: string) => Promise<string | undefined> => {
  const options = { points: limits[variant], duration: window / 1000, keyPrefix: prefix }
  const limiter = needsRedis(variant)
    ? new RateLimiterRedis({ ...options, storeClient: new Redis(url) })
    : new RateLimiterMemory(options)
  return async (key) => {
    try {
      await limiter.consume(key)
      return undefined
    } catch (refusal) {
      if (!(refusal instanceof RateLimiterRes)) throw refusal
      return seconds(refusal.msBeforeNext)
    }
  }
}
