/**
 * Where the spending of a rate limit is kept: the port, and what stands behind it in memory and in Redis.
 *
 * A store decides: it takes out what has lapsed, asks every limit of a key whether the cost fits, and spends it on all of them
 * or on none, in one atomic step. Every store decides alike, whatever it is made of.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as memory from "./internal/rateLimitMemoryStore.js"
import { fromRedis } from "./internal/rateLimitRedisStore.js"
import { remote } from "./internal/rateLimitRemoteStore.js"
import * as ProblemDetails from "./ProblemDetails.js"
import * as Redis from "./Redis.js"

// ---------------------------------------------------------------------------------------------------------------------
// limits
// ---------------------------------------------------------------------------------------------------------------------

/**
 * One limit, as `RateLimit`'s constructors make it: checked, with every time in whole milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export type Limit =
  | FixedWindow
  | SlidingWindowLog
  | SlidingWindowCounter
  | TokenBucket
  | Gcra
  | Quota
  | BackOff

/**
 * @since 0.1.0
 * @category models
 */
export interface Named {
  /** What it is called in `RateLimit-Policy`, and among the limits of one key. */
  readonly name: string
  /** How much is admitted. */
  readonly limit: number
  /** In which time, in milliseconds. */
  readonly window: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface FixedWindow extends Named {
  readonly _tag: "FixedWindow"
}

/**
 * @since 0.1.0
 * @category models
 */
export interface SlidingWindowLog extends Named {
  readonly _tag: "SlidingWindowLog"
}

/**
 * @since 0.1.0
 * @category models
 */
export interface SlidingWindowCounter extends Named {
  readonly _tag: "SlidingWindowCounter"
}

/**
 * `limit` is the capacity, and `window` how long an empty one takes to be full.
 *
 * @since 0.1.0
 * @category models
 */
export interface TokenBucket extends Named {
  readonly _tag: "TokenBucket"
  /** How many tokens come `every` so many milliseconds, evenly. */
  readonly refill: number
  readonly every: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Gcra extends Named {
  readonly _tag: "Gcra"
  /** How many may come at once. */
  readonly burst: number
  /** Between two that come evenly, in microseconds: `window / limit`, rounded up. */
  readonly interval: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Quota extends Named {
  readonly _tag: "Quota"
  /** The calendar's period that a time is in. */
  readonly periodOf: (now: number) => Period
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Period {
  readonly start: number
  /** The next one's start. */
  readonly end: number
}

/**
 * From the `limit`th failure in a row on, the next try has to wait: for the first of `delays`, then for the second, ..., and for
 * the last again and again. After a `window` without a failure all are forgotten.
 *
 * @since 0.1.0
 * @category models
 */
export interface BackOff extends Named {
  readonly _tag: "BackOff"
  readonly delays: NonEmptyReadonlyArray<number>
}

/**
 * Who has been refused `limit` times within a `window` is refused for `duration`, whatever the limits say.
 *
 * @since 0.1.0
 * @category models
 */
export interface Ban extends Named {
  readonly _tag: "Ban"
  readonly duration: number
}

/**
 * What applies to a key, all or nothing. Make it once: a store remembers what it has made of the object.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limits {
  readonly all: NonEmptyReadonlyArray<Limit>
  readonly ban?: Ban | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// the port
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Whose spending it is. A key has the same spending under limits of the same algorithms and windows, however much they admit:
 * who is given another plan keeps what was spent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Bucket {
  /** The name of the limiter: two of them share nothing. */
  readonly limiter: string
  readonly key: string
  readonly limits: Limits
}

/**
 * Times are milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Decision {
  readonly allowed: boolean
  /** Whether it is the ban that refuses. */
  readonly banned: boolean
  /** When it was made, by the clock of the store. */
  readonly now: number
  /** How long until the same cost would be admitted, if nobody else comes: 0 if it is, `Infinity` if it never will be. */
  readonly retryAfter: number
  /** Of each limit, in order. */
  readonly limits: ReadonlyArray<Standing>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Standing {
  /** What would be admitted now. */
  readonly remaining: number
  /** How long until all of it is there again, if nobody comes. */
  readonly resetAfter: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Cost {
  /** A whole number from 0. */
  readonly cost: number
  /** The time, in milliseconds since the epoch. A store takes its own; this is for those who test one. */
  readonly now?: number | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Refund extends Cost {
  /** The `now` of the decision that spent it. What does not count any longer is not given back. */
  readonly since: number
}

/**
 * @since 0.1.0
 * @category services
 */
export interface Service {
  /** Spends the cost on every limit, or on none. */
  readonly consume: (bucket: Bucket, options: Cost) => Effect.Effect<Decision, RateLimitUnavailable>
  /** What `consume` would decide, without spending anything. */
  readonly peek: (bucket: Bucket, options: Cost) => Effect.Effect<Decision, RateLimitUnavailable>
  /** Gives back what a decision has spent. Failures in a row are over. */
  readonly refund: (bucket: Bucket, options: Refund) => Effect.Effect<void, RateLimitUnavailable>
  /** Forgets the key: its spending, and its ban. */
  readonly reset: (bucket: Bucket) => Effect.Effect<void, RateLimitUnavailable>
  /** The same in plain code, which only memory can offer: a refusal then needs no fiber. */
  readonly sync?: Sync | undefined
}

/**
 * @since 0.1.0
 * @category services
 */
export interface Sync {
  readonly consume: (bucket: Bucket, options: Cost & { readonly now: number }) => Decision
  readonly refund: (bucket: Bucket, options: Refund & { readonly now: number }) => void
}

/**
 * @since 0.1.0
 * @category services
 */
export class RateLimitStore extends Context.Tag("effect-middleware/RateLimitStore")<RateLimitStore, Service>() {}

// ---------------------------------------------------------------------------------------------------------------------
// failures
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The store cannot be reached, does not answer in time or answers what no store would: 503, with `Retry-After`. Whether the
 * cost was spent is not known.
 *
 * @since 0.1.0
 * @category errors
 */
export class RateLimitUnavailable
  extends Schema.TaggedError<RateLimitUnavailable>("effect-middleware/RateLimitStore/RateLimitUnavailable")(
    "RateLimitUnavailable",
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
    return `The rate limit store could not ${this.operation}`
  }
  [HttpServerRespondable.symbol]() {
    return unavailable
  }
}
const unavailable = ProblemDetails.toResponse(
  { status: 503, detail: "Requests cannot be counted at the moment" },
  { headers: { "retry-after": "5" } }
)

// ---------------------------------------------------------------------------------------------------------------------
// in memory
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface MemoryOptions {
  /** How many keys are kept at most, those of all limiters together. Default: 100,000. */
  readonly capacity?: number | undefined
}

/**
 * Spending in the memory of this process: it goes with it, and every process has its own.
 *
 * - A decision is plain code, so a refusal costs no fiber.
 * - What has lapsed makes room when others come. Where there are more keys than `capacity`, the one goes, of the oldest few,
 *   that would have been as new soonest: who is refused for long stays, and a flood of new keys takes each other's places.
 * - A key takes about 150 bytes, and its own text; each entry of a log 16 more.
 *
 * @example
 * ```ts
 * import { RateLimitStore } from "effect-middleware"
 *
 * const store = RateLimitStore.layerMemory({ capacity: 1_000_000 })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = ({ capacity = 100_000 }: MemoryOptions = {}): Layer.Layer<RateLimitStore> => {
  if (!Number.isSafeInteger(capacity) || capacity < 1 || capacity > mostKeys) {
    throw new RangeError(
      `RateLimitStore: capacity is ${capacity}: write how many keys to keep, 1 to ${mostKeys}`
    )
  }
  return Layer.sync(RateLimitStore, () => memory.make(capacity))
}

/** A Map of V8 takes 2 to the 24th. */
const mostKeys = 16_000_000

// ---------------------------------------------------------------------------------------------------------------------
// in Redis
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface RemoteOptions {
  /**
   * How many keys are remembered for which there is no room: until their time they are refused without asking. Each is asked
   * about again after 5 seconds, in case somebody has reset it elsewhere. `false`: every request is asked about. Default: 10,000.
   */
  readonly refuseLocally?: number | false | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface RedisOptions extends RemoteOptions {
  /** What every key begins with, without braces. Default: `"limit:"`. */
  readonly prefix?: string | undefined
  /** How long a decision may take. Default: 100 milliseconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Spending in Redis 6 or later, of a single server, Sentinel or a Cluster, shared by every process.
 *
 * - A decision is one script and one round trip, by the time of the server: it is atomic, and no clock of a process counts.
 * - Every key has an expiry: when it would be as new.
 * - What takes longer than `timeout` fails with `RateLimitUnavailable`. After five failures in a row a store is not asked for a
 *   second, then for two, ... up to thirty, and then by one request, until that is answered.
 * - A failover loses what was not yet replicated: a key may be admitted once more what was spent in the last moments before.
 *
 * @example
 * ```ts
 * import { RateLimitStore, Redis } from "effect-middleware"
 * import { Layer } from "effect"
 *
 * declare const redis: Layer.Layer<Redis.Redis>
 * const store = RateLimitStore.layerRedis({ prefix: "app:limit:" }).pipe(Layer.provide(redis))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerRedis = (
  { prefix = "limit:", refuseLocally, timeout = "100 millis" }: RedisOptions = {}
): Layer.Layer<RateLimitStore, never, Redis.Redis> => {
  if (/[{}]/.test(prefix)) {
    throw new TypeError(
      `RateLimitStore: prefix is "${prefix}", and by braces a Cluster would spread the keys otherwise: write one without`
    )
  }
  const guard = remote(refuseLocally)
  return Layer.effect(
    RateLimitStore,
    Effect.map(Redis.Redis, (redis) => guard(fromRedis(redis.within(timeout), prefix, unavailableTo), unavailableTo))
  )
}

const unavailableTo = (operation: string) => (cause: unknown) => new RateLimitUnavailable({ operation, cause })

/**
 * A store that decides where another cannot be asked: memory in the place of Redis, for one. It is said in the log, once in ten
 * seconds; the first is asked again by itself.
 *
 * What is spent in one is not known to the other, so a key may be admitted its limit once more when they change over. A refund
 * goes to the first, if that can be asked.
 *
 * @example
 * ```ts
 * import { RateLimitStore, Redis } from "effect-middleware"
 * import { Layer } from "effect"
 *
 * declare const redis: Layer.Layer<Redis.Redis>
 * const store = RateLimitStore.layerStoreFallback(
 *   RateLimitStore.layerRedis().pipe(Layer.provide(redis)),
 *   RateLimitStore.layerMemory()
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStoreFallback = <E, R, E2, R2>(
  primary: Layer.Layer<RateLimitStore, E, R>,
  fallback: Layer.Layer<RateLimitStore, E2, R2>
): Layer.Layer<RateLimitStore, E | E2, R | R2> =>
  Layer.effect(
    RateLimitStore,
    Effect.gen(function*() {
      const first = yield* RateLimitStore
      const second = yield* Fallback
      let quietUntil = -Infinity
      const tell = (error: RateLimitUnavailable) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          if (now < quietUntil) return Effect.void
          quietUntil = now + 10_000
          return Effect.logWarning("A rate limit store is unavailable, and another decides in its place", error)
        })
      const either = <A>(ask: (store: Service) => Effect.Effect<A, RateLimitUnavailable>) =>
        Effect.catchAll(ask(first), (error) => Effect.zipRight(tell(error), ask(second)))
      const service: Service = {
        consume: (bucket, options) => either((store) => store.consume(bucket, options)),
        peek: (bucket, options) => either((store) => store.peek(bucket, options)),
        refund: (bucket, options) => either((store) => store.refund(bucket, options)),
        reset: (bucket) => Effect.zipRight(second.reset(bucket), first.reset(bucket))
      }
      return service
    })
  ).pipe(Layer.provide([primary, Layer.project(fallback, RateLimitStore, Fallback, (store) => store)]))

class Fallback extends Context.Tag("effect-middleware/RateLimitStore/Fallback")<Fallback, Service>() {}
