/**
 * Where stored responses are kept: the port, and what stands behind it in memory and in Redis.
 *
 * A store knows nothing of HTTP. It keeps, for each key, the fields that the responses vary by, and an entry for each variant;
 * it forgets a key or a tag; and it keeps nothing that was made before it was told to forget it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as memory from "./internal/responseCacheMemoryStore.js"
import { fromRedis } from "./internal/responseCacheRedisStore.js"
import { parseSize, type Size } from "./internal/size.js"
import * as Redis from "./Redis.js"

// ---------------------------------------------------------------------------------------------------------------------
// the port
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A stored response. Times are milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  readonly status: number
  /** Names in lower case. */
  readonly headers: { readonly [name: string]: string }
  readonly body: Uint8Array
  /** When, since the epoch, by the clock of the process that stored it. */
  readonly storedAt: number
  /** How old it was then. */
  readonly age: number
  /** At what age it becomes stale. */
  readonly freshFor: number
  /** For how long it may then be given while a new one is made, and while none can be made. */
  readonly staleWhileRevalidate: number
  readonly staleIfError: number
  /** Whether a stale one may be given to nobody else, whatever the client says. */
  readonly mustRevalidate: boolean
  /** Whether it is for requests with a `Cookie`, and with `Authorization`, too. */
  readonly forCookies: boolean
  readonly forAuthorized: boolean
}

/**
 * Names a variant: by the values that the request has of the fields.
 *
 * @since 0.1.0
 * @category models
 */
export type VariantOf = (vary: ReadonlyArray<string>) => string

/**
 * @since 0.1.0
 * @category models
 */
export interface Found {
  /** The fields by which the responses of the key vary. */
  readonly vary: ReadonlyArray<string>
  /** Do not change it: in memory it is the one that is kept. */
  readonly entry: Entry | undefined
  /** The time, as the store counts it: whoever makes a response gives it back when it is put. */
  readonly asOf: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Put {
  /** If these are others than those that are kept, all variants of the key go. */
  readonly vary: ReadonlyArray<string>
  readonly variant: string
  readonly entry: Entry
  readonly tags: ReadonlyArray<string>
  /** For how long it is kept, in milliseconds. */
  readonly ttl: number
  /** Of what was found before the response was made. */
  readonly asOf: number
}

/**
 * @since 0.1.0
 * @category services
 */
export interface Service {
  readonly get: (key: string, variantOf: VariantOf) => Effect.Effect<Found, ResponseCacheUnavailable>
  /** Whether it is kept: not if the key or one of the tags was purged since `asOf`, and not if there is no room. */
  readonly put: (key: string, entry: Put) => Effect.Effect<boolean, ResponseCacheUnavailable>
  /** Forgets every variant of a key. */
  readonly delete: (key: string) => Effect.Effect<void, ResponseCacheUnavailable>
  /** Forgets whatever has a tag. */
  readonly purge: (tag: string) => Effect.Effect<void, ResponseCacheUnavailable>
  /** The same in plain code, which only memory can offer: a hit then needs no fiber. */
  readonly sync?: Sync | undefined
}

/**
 * @since 0.1.0
 * @category services
 */
export interface Sync {
  readonly get: (key: string, variantOf: VariantOf, now: number) => Found
}

/**
 * @since 0.1.0
 * @category services
 */
export class ResponseCacheStore
  extends Context.Tag("effect-middleware/ResponseCacheStore")<ResponseCacheStore, Service>()
{}

/**
 * The store cannot be reached, does not answer in time or answers what no store would. To a client that is nothing: the app
 * answers.
 *
 * @since 0.1.0
 * @category errors
 */
export class ResponseCacheUnavailable
  extends Schema.TaggedError<ResponseCacheUnavailable>("effect-middleware/ResponseCacheStore/ResponseCacheUnavailable")(
    "ResponseCacheUnavailable",
    {
      /** What the store was asked to do: a name of its methods. */
      operation: Schema.String,
      cause: Schema.Defect
    }
  )
{
  override get message() {
    return `The response cache store could not ${this.operation}`
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// in memory
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface MemoryOptions {
  /** How much is kept at most: bodies, fields and what is around them. Default: `"64 MiB"`. */
  readonly maxSize?: Size | undefined
}

/**
 * Responses in the memory of this process: they go with it, and every process has its own. What has not been used for longest
 * makes room.
 *
 * @example
 * ```ts
 * import { ResponseCacheStore } from "effect-middleware"
 *
 * const store = ResponseCacheStore.layerMemory({ maxSize: "256 MiB" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = ({ maxSize = "64 MiB" }: MemoryOptions = {}): Layer.Layer<ResponseCacheStore> => {
  const bytes = parseSize("ResponseCacheStore", "maxSize", maxSize)
  return Layer.sync(ResponseCacheStore, () => memory.make(bytes))
}

// ---------------------------------------------------------------------------------------------------------------------
// in Redis
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface RedisOptions {
  /** What every key begins with. Default: `"cache:"`. */
  readonly prefix?: string | undefined
  /** How long an operation may take. Default: 100 milliseconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Responses in Redis 6 or later, of a single server, Sentinel or a Cluster, shared by every process.
 *
 * - What is read is one script on one key, or two of them where the responses vary. Every key has an expiry.
 * - A response is in the index of each of its tags before it is kept. A purge marks the tag, and then takes what is in its
 *   index, key by key: it is complete when it has ended, and not atomic in between.
 * - A response that took longer than a minute to make is not kept: for as long a purge is remembered.
 * - How much is kept is for Redis to say: give it a `maxmemory`, and a policy such as `allkeys-lru`.
 * - What takes longer than `timeout` fails. After five failures in a row a store is not asked for a second, then for two, ... up
 *   to thirty, and then by one request, until that is answered.
 *
 * @example
 * ```ts
 * import { Redis, ResponseCacheStore } from "effect-middleware"
 * import { Layer } from "effect"
 *
 * declare const redis: Layer.Layer<Redis.Redis>
 * const store = ResponseCacheStore.layerRedis({ prefix: "app:cache:" }).pipe(Layer.provide(redis))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerRedis = (
  { prefix = "cache:", timeout = "100 millis" }: RedisOptions = {}
): Layer.Layer<ResponseCacheStore, never, Redis.Redis> =>
  Layer.effect(
    ResponseCacheStore,
    Effect.map(Redis.Redis, (redis) => fromRedis(redis.within(timeout), prefix, unavailableTo))
  )

const unavailableTo = (operation: string) => (cause: unknown) => new ResponseCacheUnavailable({ operation, cause })
