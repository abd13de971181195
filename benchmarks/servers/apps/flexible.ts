/** Limits as those have them who take `rate-limiter-flexible`. */
import { Redis } from "ioredis"
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible"
import { type Limited, limits, needsRedis, window } from "../work.js"
import { prefix, url } from "./redis.js"
import { seconds, standing } from "./window.js"

/** Whether there is no room for one more, and what is known of the window. */
interface Consumed {
  readonly refused: boolean
  readonly result: RateLimiterRes
}

export const consumer = (variant: Limited): (key: string) => Promise<Consumed> => {
  const options = { points: limits[variant], duration: window / 1000, keyPrefix: prefix }
  const limiter = needsRedis(variant)
    ? new RateLimiterRedis({ ...options, storeClient: new Redis(url) })
    : new RateLimiterMemory(options)
  return async (key) => {
    try {
      return { refused: false, result: await limiter.consume(key) }
    } catch (result) {
      if (!(result instanceof RateLimiterRes)) throw result
      return { refused: true, result }
    }
  }
}

/** Resolves to what `Retry-After` says, or to `undefined` where there is room for one more. */
export const limiter = (variant: Limited): (key: string) => Promise<string | undefined> => {
  const consume = consumer(variant)
  return async (key) => {
    const { refused, result } = await consume(key)
    return refused ? seconds(result.msBeforeNext) : undefined
  }
}

/** The fields that say where a client stands. */
export const standingOf = (variant: Limited, { msBeforeNext, remainingPoints }: RateLimiterRes) =>
  standing(limits[variant], remainingPoints, msBeforeNext)
