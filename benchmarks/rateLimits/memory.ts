/**
 * The process of one size: a store of as many keys, and decisions about random ones of them. Prints one line of JSON.
 *
 *     node --expose-gc memory.js <size> <decisions>
 */
import * as RateLimit from "effect-middleware/RateLimit"
import * as RateLimitStore from "effect-middleware/RateLimitStore"
import * as Effect from "effect/Effect"
import * as assert from "node:assert/strict"
import { besideMap } from "../besideMap.js"

const [size, times] = process.argv.slice(2, 4).map(Number) as [number, number]

const keyOf = (i: number) => `10.${i >>> 16 & 255}.${i >>> 8 & 255}.${i & 255}${i >>> 24 === 0 ? "" : `.${i >>> 24}`}`
const limits = RateLimit.limits(RateLimit.gcra({ limit: 1_000_000, window: "1 second" }))
const now = 1_700_000_000_000
const bucketOf = (key: string) => ({ limiter: "bench", key, limits })

const measured = besideMap({
  size,
  times,
  keyOf,
  fill: () => {
    const store = Effect.runSync(
      RateLimitStore.RateLimitStore.pipe(Effect.provide(RateLimitStore.layerMemory({ capacity: size })))
    ).sync!
    // spent to the last, or a key would lapse while others come
    const spent = { cost: 900_000, now }
    for (let i = 0; i < size; i++) assert.ok(store.consume(bucketOf(keyOf(i)), spent).allowed)
    const options = { cost: 1, now }
    return (keys) => {
      let found = 0
      for (const key of keys) if (store.consume(bucketOf(key), options).limits[0]!.remaining <= 100_000) found++
      return found
    }
  }
})
console.log(JSON.stringify(measured))
