/** Decisions in Redis, beside the same script sent by the same client without anything around it. */
import * as RateLimit from "effect-middleware/RateLimit"
import * as RateLimitStore from "effect-middleware/RateLimitStore"
import * as Redis from "effect-middleware/Redis"
import * as Ioredis from "effect-middleware/Redis/Ioredis"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Redis as Client } from "ioredis"
import * as assert from "node:assert/strict"

export interface Throughput {
  /** Decisions a second. */
  readonly store: number
  readonly bare: number
}

/** As many are under way at once. */
const concurrency = 64

const [url, decisions, rounds] = [process.argv[2]!, Number(process.argv[3]), Number(process.argv[4])]

/** On one connection each, in turns. */
const measure: Effect.Effect<ReadonlyArray<Throughput>, RateLimitStore.RateLimitUnavailable> = Effect.scoped(
  Effect.gen(function*() {
    const redis = yield* Effect.provide(Redis.Redis, yield* Layer.build(Ioredis.layer(url)))
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => new Client(url)),
      (client) => Effect.sync(() => client.disconnect())
    )
    const storeOf = (service: Redis.Service) =>
      Effect.provide(
        RateLimitStore.RateLimitStore,
        RateLimitStore.layerRedis({ timeout: "5 seconds" }).pipe(Layer.provide(Layer.succeed(Redis.Redis, service)))
      )

    const limits = RateLimit.limits(RateLimit.gcra({ limit: 1_000_000, window: "1 second" }))
    const buckets = Array.from(
      { length: 1000 },
      (_, i) => ({ limiter: "bench", key: `10.0.${i >> 8}.${i & 255}`, limits })
    )
    // what the store sends, the other sends as it is
    const sent: Array<ReadonlyArray<string>> = []
    const noting: Redis.Service = {
      ...redis,
      eval: (script, keys, args) => {
        sent.push([script.sha1, `${keys.length}`, ...keys, ...args])
        return redis.eval(script, keys, args)
      },
      within: () => noting
    }
    const noted = yield* storeOf(noting)
    for (const bucket of buckets) yield* noted.consume(bucket, { cost: 1 })
    const store = yield* storeOf(redis)

    const byStore = async (): Promise<number> => {
      const worker = (first: number) =>
        Effect.gen(function*() {
          for (let i = first; i < decisions; i += concurrency) {
            const { allowed } = yield* store.consume(buckets[i % buckets.length]!, { cost: 1 })
            assert.ok(allowed)
          }
        })
      const began = performance.now()
      await Effect.runPromise(Effect.forEach(
        Array.from({ length: concurrency }, (_, i) => i),
        worker,
        { concurrency: "unbounded", discard: true }
      ))
      return decisions / (performance.now() - began) * 1000
    }
    const bare = async (): Promise<number> => {
      const worker = async (first: number) => {
        for (let i = first; i < decisions; i += concurrency) {
          const reply = await client.call("EVALSHA", sent[i % sent.length]! as Array<string>)
          assert.equal((reply as ReadonlyArray<unknown>)[0], 1)
        }
      }
      const began = performance.now()
      await Promise.all(Array.from({ length: concurrency }, (_, i) => worker(i)))
      return decisions / (performance.now() - began) * 1000
    }

    const measured: Array<Throughput> = []
    yield* Effect.promise(byStore)
    yield* Effect.promise(bare)
    for (let i = 0; i < rounds; i++) {
      // whoever is first meets another machine than who comes after
      if (i % 2 === 0) {
        const first = yield* Effect.promise(byStore)
        measured.push({ store: first, bare: yield* Effect.promise(bare) })
      } else {
        const first = yield* Effect.promise(bare)
        measured.push({ bare: first, store: yield* Effect.promise(byStore) })
      }
    }
    return measured
  })
)
console.log(JSON.stringify(await Effect.runPromise(measure)))
