import type { HttpServerRespondable } from "@effect/platform"
import { Effect, Layer } from "effect"
import { RateLimit, RateLimitStore, type Redis } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

// the layers
typeOf(RateLimitStore.layerMemory()).is<Layer.Layer<RateLimitStore.RateLimitStore>>()
typeOf(RateLimitStore.layerRedis()).is<Layer.Layer<RateLimitStore.RateLimitStore, never, Redis.Redis>>()
export const options: readonly [
  RateLimitStore.MemoryOptions,
  RateLimitStore.RedisOptions,
  RateLimitStore.RedisOptions,
  RateLimitStore.RemoteOptions
] = [
  { capacity: 1 },
  { prefix: "app:", timeout: "50 millis", refuseLocally: 1000 },
  { prefix: undefined, timeout: undefined, refuseLocally: undefined },
  { refuseLocally: false }
]
// @ts-expect-error it is a number of keys, or false
RateLimitStore.layerRedis({ refuseLocally: true })
// @ts-expect-error memory has no time limit
RateLimitStore.layerMemory({ timeout: "50 millis" })

// one in the place of another requires and fails with what both do
declare const other: Layer.Layer<RateLimitStore.RateLimitStore, Error>
typeOf(RateLimitStore.layerStoreFallback(RateLimitStore.layerRedis(), other)).is<
  Layer.Layer<RateLimitStore.RateLimitStore, Error, Redis.Redis>
>()
// @ts-expect-error a store is a layer
RateLimitStore.layerStoreFallback(RateLimitStore.layerRedis(), RateLimitStore.RateLimitStore)

// what a limit is
same<
  RateLimitStore.Limit,
  | RateLimitStore.FixedWindow
  | RateLimitStore.SlidingWindowLog
  | RateLimitStore.SlidingWindowCounter
  | RateLimitStore.TokenBucket
  | RateLimitStore.Gcra
  | RateLimitStore.Quota
  | RateLimitStore.BackOff
>()
declare const limit: RateLimitStore.Limit
export const named: RateLimitStore.Named = limit
const limits: RateLimitStore.Limits = RateLimit.limits([RateLimit.quota({ limit: 1, per: "day" })], {
  ban: { after: 1, duration: "1 hour" }
})
typeOf(limits.ban).is<RateLimitStore.Ban | undefined>()
declare const quota: RateLimitStore.Quota
typeOf(quota.periodOf(0)).is<RateLimitStore.Period>()
// @ts-expect-error a ban is no limit by itself
export const banned: RateLimitStore.Limits = { all: [limits.ban] }
// @ts-expect-error at least one
export const none: RateLimitStore.Limits = { all: [] }

// the port
declare const store: RateLimitStore.Service
const bucket: RateLimitStore.Bucket = { limiter: "Api", key: "a", limits }
type Of<A> = Effect.Effect<A, RateLimitStore.RateLimitUnavailable>
typeOf(Effect.flatMap(RateLimitStore.RateLimitStore, (store) => store.peek(bucket, { cost: 1 }))).is<
  Effect.Effect<RateLimitStore.Decision, RateLimitStore.RateLimitUnavailable, RateLimitStore.RateLimitStore>
>()
const cost: RateLimitStore.Cost = { cost: 1, now: undefined }
const refund: RateLimitStore.Refund = { cost: 1, since: 0 }
typeOf(store.consume(bucket, cost)).is<Of<RateLimitStore.Decision>>()
typeOf(store.refund(bucket, refund)).is<Of<void>>()
typeOf(store.reset(bucket)).is<Of<void>>()
declare const decision: RateLimitStore.Decision
typeOf(decision.limits).is<ReadonlyArray<RateLimitStore.Standing>>()
// @ts-expect-error what is given back was spent at a time
store.refund(bucket, { cost: 1 })
// @ts-expect-error a key has limits
store.consume({ limiter: "Api", key: "a" }, cost)
// @ts-expect-error what was decided is nobody's to change
decision.allowed = true

// and in plain code, where there is no waiting
declare const sync: RateLimitStore.Sync
same<typeof store.sync, RateLimitStore.Sync | undefined>()
typeOf(sync.consume(bucket, { cost: 1, now: 0 })).is<RateLimitStore.Decision>()
// @ts-expect-error without a clock
sync.consume(bucket, { cost: 1 })

// the failure knows its response
declare const failure: RateLimitStore.RateLimitUnavailable
same<typeof failure._tag, "RateLimitUnavailable">()
export const respondable: HttpServerRespondable.Respondable = failure

// a store of one's own
export const own = Layer.succeed(RateLimitStore.RateLimitStore, store)
