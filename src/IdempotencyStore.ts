/**
 * Where idempotency keys and the answers to them are kept: the port, and what stands behind it in memory and in Redis.
 *
 * A store knows nothing of HTTP. For each key it keeps the fingerprint of the request that came first, who works on it, and then
 * the answer. Rules, for all of them:
 *
 * 1. A key is claimed in one atomic step: of those that come together one has it.
 * 2. A claim has a token, greater than every one that the key had before: microseconds since the epoch, or one more than the last.
 *    Whoever has an older one can neither answer, nor prolong, nor release.
 * 3. A claim ends with its lease. The key, its fingerprint and its last token stay.
 * 4. An answered key stays answered until its time is over.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as memory from "./internal/idempotencyMemoryStore.js"
import { fromRedis } from "./internal/idempotencyRedisStore.js"
import { parseSize, type Size } from "./internal/size.js"
import * as ProblemDetails from "./ProblemDetails.js"
import * as Redis from "./Redis.js"

// ---------------------------------------------------------------------------------------------------------------------
// the port
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What a handler has answered.
 *
 * @since 0.1.0
 * @category models
 */
export interface Answer {
  readonly status: number
  /** Names in lower case, without `set-cookie`. */
  readonly headers: { readonly [name: string]: string }
  /** Values of `Set-Cookie`. */
  readonly cookies: ReadonlyArray<string>
  readonly body: Uint8Array
  /** Whether the body is there: one that was too large is not kept. */
  readonly whole: boolean
}

/**
 * Who works on a key.
 *
 * @since 0.1.0
 * @category models
 */
export interface Claim {
  readonly key: string
  /** Of the request, as a text that every other one differs from. */
  readonly fingerprint: string
  readonly token: number
}

/**
 * Times are milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Terms {
  readonly fingerprint: string
  /** For how long a claim is good, unless it is renewed. */
  readonly lease: number
  /** For how long the key is kept, from now on. */
  readonly ttl: number
}

/**
 * What has become of a claim:
 *
 * - `Claimed`: it is one's own.
 * - `Reused`: the key belongs to a request with another fingerprint.
 * - `InProgress`: somebody works on it.
 * - `Answered`: it is done.
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome =
  | { readonly _tag: "Claimed"; readonly token: number }
  | { readonly _tag: "Reused" }
  | { readonly _tag: "InProgress" }
  | {
    readonly _tag: "Answered"
    /** Do not change it: in memory it is the one that is kept. */
    readonly answer: Answer
  }

/**
 * @since 0.1.0
 * @category services
 */
export interface Service {
  readonly claim: (key: string, terms: Terms) => Effect.Effect<Outcome, IdempotencyUnavailable>
  /** Makes the lease of a claim begin anew. `false` if somebody else has the key, or nobody. */
  readonly renew: (claim: Claim, lease: number) => Effect.Effect<boolean, IdempotencyUnavailable>
  /**
   * Keeps the answer for `ttl` milliseconds. `false` if somebody else has the key; twice the same is once. Where the store has lost the
   * key, it has it again.
   */
  readonly complete: (claim: Claim, answer: Answer, ttl: number) => Effect.Effect<boolean, IdempotencyUnavailable>
  /** Ends a claim without an answer, so that the next one need not wait for the lease. `false` if somebody else has the key, or nobody. */
  readonly release: (claim: Claim) => Effect.Effect<boolean, IdempotencyUnavailable>
}

/**
 * @since 0.1.0
 * @category services
 */
export class IdempotencyStore extends Context.Tag("effect-middleware/IdempotencyStore")<IdempotencyStore, Service>() {}

/**
 * The store cannot be reached, does not answer in time, has no room or answers what no store would: 503, with `Retry-After`.
 * Whether it has done what it was asked is not known.
 *
 * @since 0.1.0
 * @category errors
 */
export class IdempotencyUnavailable
  extends Schema.TaggedError<IdempotencyUnavailable>("effect-middleware/IdempotencyStore/IdempotencyUnavailable")(
    "IdempotencyUnavailable",
    {
      /** What the store was asked to do: a name of its methods. */
      operation: Schema.String,
      cause: Schema.Defect
    },
    HttpApiSchema.annotations({ status: 503 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return `The idempotency store could not ${this.operation}`
  }
  [HttpServerRespondable.symbol]() {
    return unavailable
  }
}
const unavailable = ProblemDetails.toResponse(
  { status: 503, detail: "Whether the request has been carried out before cannot be told at the moment" },
  { headers: { "retry-after": "5" } }
)

const unavailableTo = (operation: string) => (cause: unknown) => new IdempotencyUnavailable({ operation, cause })

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
 * Keys in the memory of this process: they go with it, and every process has its own. For tests, and for one process whose
 * clients may be told twice after a restart.
 *
 * Where there is no room, what was answered longest ago is forgotten **before its time**; a claim that somebody works on never is.
 *
 * @example
 * ```ts
 * import { IdempotencyStore } from "effect-middleware"
 *
 * const store = IdempotencyStore.layerMemory({ maxSize: "256 MiB" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = ({ maxSize = "64 MiB" }: MemoryOptions = {}): Layer.Layer<IdempotencyStore> => {
  const bytes = parseSize("IdempotencyStore", "maxSize", maxSize)
  return Layer.sync(IdempotencyStore, () => memory.make(bytes, unavailableTo))
}

// ---------------------------------------------------------------------------------------------------------------------
// in Redis
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface RedisOptions {
  /** What every key begins with. Default: `"idempotency:"`. */
  readonly prefix?: string | undefined
  /** How long an operation may take. Default: 100 milliseconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Keys in Redis 6 or later, of a single server, Sentinel or a Cluster, shared by every process.
 *
 * - Every operation is one script on one key, by the time of the server. Every key has an expiry.
 * - Give it `maxmemory-policy noeviction`: a key that is evicted is claimed again, and the work done twice.
 * - A failover loses what was not yet replicated: then too. What must not happen twice is kept in SQL.
 * - What takes longer than `timeout` fails. After five failures in a row a store is not asked for a second, then for two, ... up
 *   to thirty, and then by one request, until that is answered.
 *
 * @example
 * ```ts
 * import { IdempotencyStore, Redis } from "effect-middleware"
 * import { Layer } from "effect"
 *
 * declare const redis: Layer.Layer<Redis.Redis>
 * const store = IdempotencyStore.layerRedis({ prefix: "app:idempotency:" }).pipe(Layer.provide(redis))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerRedis = (
  { prefix = "idempotency:", timeout = "100 millis" }: RedisOptions = {}
): Layer.Layer<IdempotencyStore, never, Redis.Redis> =>
  Layer.effect(
    IdempotencyStore,
    Effect.map(Redis.Redis, (redis) => fromRedis(redis.within(timeout), prefix, unavailableTo))
  )
