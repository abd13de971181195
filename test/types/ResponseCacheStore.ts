import type { Effect, Layer } from "effect"
import { type BodyLimit, type Redis, ResponseCacheStore } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Store = ResponseCacheStore.ResponseCacheStore

typeOf(ResponseCacheStore.layerMemory()).is<Layer.Layer<Store>>()
same<Parameters<typeof ResponseCacheStore.layerMemory>, [MemoryOptions?: ResponseCacheStore.MemoryOptions]>()
same<NonNullable<ResponseCacheStore.MemoryOptions["maxSize"]>, BodyLimit.Size>()
typeOf(ResponseCacheStore.layerRedis({ prefix: "app:", timeout: "50 millis" })).is<
  Layer.Layer<Store, never, Redis.Redis>
>()
same<Parameters<typeof ResponseCacheStore.layerRedis>, [RedisOptions?: ResponseCacheStore.RedisOptions]>()

// the port
declare const store: ResponseCacheStore.Service
declare const put: ResponseCacheStore.Put
type Asked<A> = Effect.Effect<A, ResponseCacheStore.ResponseCacheUnavailable>
typeOf(store.get("key", (vary) => vary.join())).is<Asked<ResponseCacheStore.Found>>()
typeOf(store.put("key", put)).is<Asked<boolean>>()
typeOf(store.delete("key")).is<Asked<void>>()
typeOf(store.purge("tag")).is<Asked<void>>()
same<typeof store.sync, ResponseCacheStore.Sync | undefined>()
same<ReturnType<ResponseCacheStore.Sync["get"]>, ResponseCacheStore.Found>()
same<Parameters<ResponseCacheStore.Service["get"]>[1], ResponseCacheStore.VariantOf>()
same<ResponseCacheStore.Found["entry"], ResponseCacheStore.Entry | undefined>()
// @ts-expect-error whoever puts has looked before
store.put("key", { vary: [], variant: "", entry: put.entry, tags: [], ttl: 1 })

export declare const unavailable: ResponseCacheStore.ResponseCacheUnavailable
same<typeof unavailable._tag, "ResponseCacheUnavailable">()
same<typeof unavailable.operation, string>()
