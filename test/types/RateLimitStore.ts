import type { HttpServerRespondable } from "@effect/platform"
import type { Effect, Layer } from "effect"
import { RateLimit, RateLimitStore, type Redis } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Store = RateLimitStore.RateLimitStore

typeOf(RateLimitStore.layerMemory()).is<Layer.Layer<Store>>()
same<Parameters<typeof RateLimitStore.layerMemory>, [MemoryOptions?: RateLimitStore.MemoryOptions]>()
typeOf(RateLimitStore.layerRedis({ prefix: "app:", timeout: "50 millis", refuseLocally: false })).is<
  Layer.Layer<Store, never, Redis.Redis>
>()
same<Parameters<typeof RateLimitStore.layerRedis>, [RedisOptions?: RateLimitStore.RedisOptions]>()
same<RateLimitStore.RemoteOptions["refuseLocally"], number | false | undefined>()

// what either needs and fails with, both do
class Broken extends Error {
  readonly _tag = "Broken"
}
declare const broken: Layer.Layer<Store, Broken>
typeOf(RateLimitStore.layerStoreFallback(RateLimitStore.layerRedis(), broken)).is<
  Layer.Layer<Store, Broken, Redis.Redis>
>()
typeOf(RateLimit.layerStoreFallback).is<typeof RateLimitStore.layerStoreFallback>()
// @ts-expect-error a layer of something else
RateLimitStore.layerStoreFallback(RateLimitStore.layerMemory(), {} as Layer.Layer<Redis.Redis>)

// the port
declare const store: RateLimitStore.Service
declare const bucket: RateLimitStore.Bucket
same<RateLimitStore.Bucket["limits"], RateLimitStore.Limits>()
type Asked<A> = Effect.Effect<A, RateLimitStore.RateLimitUnavailable>
typeOf(store.consume(bucket, { cost: 1 })).is<Asked<RateLimitStore.Decision>>()
typeOf(store.peek(bucket, { cost: 1 })).is<Asked<RateLimitStore.Decision>>()
typeOf(store.refund(bucket, { cost: 1, since: 0 })).is<Asked<void>>()
typeOf(store.reset(bucket)).is<Asked<void>>()
// @ts-expect-error what is given back was spent at some time
store.refund(bucket, { cost: 1 })
same<typeof store.sync, RateLimitStore.Sync | undefined>()
same<RateLimitStore.Decision["limits"], ReadonlyArray<RateLimitStore.Standing>>()
same<keyof RateLimitStore.Refund, "cost" | "now" | "since">()
same<keyof RateLimitStore.Cost, "cost" | "now">()

// limits, as the constructors make them
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
same<RateLimitStore.Limit["name"], RateLimitStore.Named["name"]>()
same<RateLimitStore.Limits["ban"], RateLimitStore.Ban | undefined>()
same<ReturnType<RateLimitStore.Quota["periodOf"]>, RateLimitStore.Period>()

// the failure knows its response
declare const unavailable: RateLimitStore.RateLimitUnavailable
same<typeof unavailable._tag, "RateLimitUnavailable">()
export const respondable: HttpServerRespondable.Respondable = unavailable
