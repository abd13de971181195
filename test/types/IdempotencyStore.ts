import type { HttpServerRespondable } from "@effect/platform"
import type { Effect, Layer } from "effect"
import { type BodyLimit, IdempotencyStore, type Redis } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Store = IdempotencyStore.IdempotencyStore

typeOf(IdempotencyStore.layerMemory()).is<Layer.Layer<Store>>()
same<Parameters<typeof IdempotencyStore.layerMemory>, [MemoryOptions?: IdempotencyStore.MemoryOptions]>()
same<NonNullable<IdempotencyStore.MemoryOptions["maxSize"]>, BodyLimit.Size>()
typeOf(IdempotencyStore.layerRedis({ prefix: "app:", timeout: "50 millis" })).is<
  Layer.Layer<Store, never, Redis.Redis>
>()
same<Parameters<typeof IdempotencyStore.layerRedis>, [RedisOptions?: IdempotencyStore.RedisOptions]>()

// the port
declare const store: IdempotencyStore.Service
declare const claim: IdempotencyStore.Claim
declare const answer: IdempotencyStore.Answer
type Asked<A> = Effect.Effect<A, IdempotencyStore.IdempotencyUnavailable>
typeOf(store.claim("key", { fingerprint: "a", lease: 1, ttl: 1 })).is<Asked<IdempotencyStore.Outcome>>()
same<Parameters<IdempotencyStore.Service["claim"]>[1], IdempotencyStore.Terms>()
typeOf(store.renew(claim, 1)).is<Asked<boolean>>()
typeOf(store.complete(claim, answer, 1)).is<Asked<boolean>>()
typeOf(store.release(claim)).is<Asked<boolean>>()
// @ts-expect-error whoever answers has a claim
store.complete("key", answer, 1)

declare const unavailable: IdempotencyStore.IdempotencyUnavailable
same<typeof unavailable._tag, "IdempotencyUnavailable">()
same<typeof unavailable.operation, string>()
export const respondable: HttpServerRespondable.Respondable = unavailable
