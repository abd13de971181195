/**
 * Where sessions are kept: the port, and what stands behind it in memory.
 *
 * A store knows nothing of cookies, schemas or principals. It keeps texts by hashed identifiers, and its one duty beyond
 * that is to be exact about who wrote first.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as memory from "./internal/sessionMemoryStore.js"
import { fromRecords } from "./internal/sessionRecordsStore.js"
import { fromRedis } from "./internal/sessionRedisStore.js"
import { fromTexts } from "./internal/sessionTextStore.js"
import * as ProblemDetails from "./ProblemDetails.js"
import * as Redis from "./Redis.js"

// ---------------------------------------------------------------------------------------------------------------------
// failures
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The store cannot be reached, does not answer in time or answers what no store would: 503, with `Retry-After`. Whether a
 * write that ended so has been made is not known.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionUnavailable
  extends Schema.TaggedError<SessionUnavailable>("effect-middleware/SessionStore/SessionUnavailable")(
    "SessionUnavailable",
    {
      /** What the store was asked to do: a name of `SessionStore`'s methods. */
      operation: Schema.String,
      cause: Schema.Defect
    },
    HttpApiSchema.annotations({ status: 503 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return `The session store could not ${this.operation}`
  }
  [HttpServerRespondable.symbol]() {
    return unavailable
  }
}
const unavailable = ProblemDetails.toResponse(
  { status: 503, detail: "Sessions cannot be reached at the moment" },
  { headers: { "retry-after": "5" } }
)

// ---------------------------------------------------------------------------------------------------------------------
// the port
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What is kept of a session. Times are whole milliseconds since the epoch, by the clock of whoever calls.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  /** What the session holds: a text that means nothing to a store. */
  readonly payload: string
  /** Whose it is, for `list` and `destroyAll`. */
  readonly owner: string | undefined
  /** When it began. */
  readonly createdAt: number
  /** When it was last used, as far as anybody noted. */
  readonly touchedAt: number
  /** From then on there is no such session. */
  readonly expiresAt: number
  /** When its absolute lifetime ends: `expiresAt` is never set to later than that, so an index need be kept no longer. */
  readonly endsAt: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Stored extends Entry {
  /** How often it has been saved, from 1. */
  readonly version: number
  /** Another has taken its place, and this one is kept for a moment: it can be read, and no longer written. */
  readonly superseded: boolean
}

/**
 * When the use of a session is noted, and how long that lets it live.
 *
 * @since 0.1.0
 * @category models
 */
export interface Touch {
  /** Noted once so many milliseconds have passed since `touchedAt`. */
  readonly every: number
  /** Then it expires so many milliseconds after `now`, and at its `endsAt` if that is sooner. */
  readonly idle: number
}

/**
 * Keeps sessions. What every store owes, and `test/contracts/SessionStoreContract.ts` holds them to:
 *
 * - What has expired at `now` is not there: it is not loaded, listed, saved, rotated or counted. Every entry goes by
 *   itself some time after it has expired.
 * - Of two writers that have loaded the same version one saves. Nothing that is gone comes back by a `save` or a touch.
 * - A write that succeeded is seen by whatever begins after it, in every process.
 * - Any text can be a payload or an owner; identifiers are of the base64url alphabet.
 * - One call is one round trip, unless its page says otherwise.
 * - It fails with `SessionUnavailable` within its time limit, and waits for nothing without bound.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * The session, and its use noted if that is due, which is no new version. One that is superseded is given as it was,
   * but for when it expires, and not touched.
   */
  readonly load: (
    id: string,
    options: { readonly now: number; readonly touch?: Touch | undefined }
  ) => Effect.Effect<Stored | undefined, SessionUnavailable>

  /** Adds one, as version 1. `false` if there is one by that identifier; then it stays as it is. */
  readonly create: (id: string, entry: Entry, now: number) => Effect.Effect<boolean, SessionUnavailable>

  /**
   * Replaces payload and times of the version that the caller has seen, and counts it up; all else stays.
   * `"conflict"`: it has another version by now, or is superseded. `"missing"`: there is no such session.
   */
  readonly save: (
    id: string,
    version: number,
    changes: Pick<Entry, "payload" | "touchedAt" | "expiresAt">,
    now: number
  ) => Effect.Effect<Outcome, SessionUnavailable>

  /**
   * Puts another in the place of the version that the caller has seen. The old one expires at `until`, if it would not
   * have sooner, and is gone at once where that is not after `now`. `"conflict"` also if there is one by the new
   * identifier; then that stays as it is. Where this takes several steps, the new one is there before the old one is
   * superseded, and goes again if that fails.
   */
  readonly rotate: (
    from: { readonly id: string; readonly version: number },
    to: { readonly id: string; readonly entry: Entry },
    options: { readonly now: number; readonly until: number }
  ) => Effect.Effect<Outcome, SessionUnavailable>

  /** Removes one and, where it is superseded, the one in its place, and so on. Nothing to remove is no failure. */
  readonly destroy: (id: string, now: number) => Effect.Effect<void, SessionUnavailable>

  /** Those of an owner, the last used first; none that is superseded. */
  readonly list: (
    owner: string,
    now: number
  ) => Effect.Effect<ReadonlyArray<Stored & { readonly id: string }>, SessionUnavailable>

  /** Removes all of an owner but one; gives how many of those that `list` has. What is superseded goes, uncounted. */
  readonly destroyAll: (
    owner: string,
    options: { readonly now: number; readonly except?: string | undefined }
  ) => Effect.Effect<number, SessionUnavailable>

  /** The number of an owner's epoch: 0 until it is advanced, and again once every advance has expired. */
  readonly epoch: (owner: string, now: number) => Effect.Effect<number, SessionUnavailable>

  /** Begins another epoch of an owner, kept until `expiresAt` at least; gives its number. Two at the same time are two. */
  readonly advanceEpoch: (
    owner: string,
    options: { readonly now: number; readonly expiresAt: number }
  ) => Effect.Effect<number, SessionUnavailable>
}

/**
 * @since 0.1.0
 * @category models
 */
export type Outcome = "saved" | "conflict" | "missing"

/**
 * @since 0.1.0
 * @category services
 */
export class SessionStore extends Context.Tag("effect-middleware/SessionStore")<SessionStore, Service>() {}

// ---------------------------------------------------------------------------------------------------------------------
// in memory
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface MemoryOptions {
  /** How many sessions are kept at most, and how many epochs. Default: 100,000. */
  readonly capacity?: number | undefined
}

/**
 * Sessions in the memory of this process: they go with it, and no other process sees them.
 *
 * - It keeps every obligation, in one synchronous step.
 * - Where there are more than `capacity`, the one goes that has not been used for longest. Payloads count as one, whatever
 *   their size.
 * - What has expired goes when somebody asks for it, and when others come; the memory for it is bounded by `capacity`.
 *
 * @example
 * ```ts
 * import { SessionStore } from "effect-middleware"
 *
 * const store = SessionStore.layerMemory({ capacity: 10_000 })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = ({ capacity = 100_000 }: MemoryOptions = {}): Layer.Layer<SessionStore> => {
  if (!Number.isSafeInteger(capacity) || capacity < 1) {
    throw new RangeError(
      `SessionStore: capacity is ${capacity}: write how many sessions to keep, a whole number from 1`
    )
  }
  return Layer.sync(SessionStore, () => memory.make(capacity))
}

// ---------------------------------------------------------------------------------------------------------------------
// in a KeyValueStore
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface KeyValueOptions {
  /** What every key begins with. Default: `"session:"`. */
  readonly prefix?: string | undefined
  /** How long one step may take, of which a method has one or several. Default: 1 second. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Sessions in platform's `KeyValueStore`, for one process: a store of that kind cannot compare and set, and has no expiry.
 *
 * - Within one process it keeps every obligation: what is done to a key waits for what was begun before.
 * - **Two processes on one store lose updates**: both save over one version, and both count the same epoch.
 * - What has expired is removed when somebody asks for it, and not otherwise: a session that nobody asks for stays.
 *
 * @example
 * ```ts
 * import { KeyValueStore } from "@effect/platform"
 * import { NodeContext } from "@effect/platform-node"
 * import { SessionStore } from "effect-middleware"
 * import { Layer } from "effect"
 *
 * const store = SessionStore.layerKeyValue().pipe(
 *   Layer.provide(KeyValueStore.layerFileSystem("sessions")),
 *   Layer.provide(NodeContext.layer)
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerKeyValue = (
  { prefix = "session:", timeout = "1 second" }: KeyValueOptions = {}
): Layer.Layer<SessionStore, never, KeyValueStore.KeyValueStore> =>
  Layer.effect(
    SessionStore,
    Effect.map(KeyValueStore.KeyValueStore, (store) =>
      fromRecords(
        fromTexts({
          get: (key) => Effect.map(store.get(prefix + key), Option.getOrUndefined),
          set: (key, text) => store.set(prefix + key, text),
          // a file that is not there cannot be removed
          remove: (key) =>
            Effect.catchIf(
              store.remove(prefix + key),
              (error) => error._tag === "SystemError" && error.reason === "NotFound",
              () => Effect.void
            )
        }, timeout),
        unavailableTo
      ))
  )

const unavailableTo = (operation: string, cause: unknown) => new SessionUnavailable({ operation, cause })

// ---------------------------------------------------------------------------------------------------------------------
// in Redis
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface RedisOptions {
  /** What every key begins with. Default: `"session:"`. */
  readonly prefix?: string | undefined
}

/**
 * Sessions in Redis 6 or later, of a single server, Sentinel or a Cluster, shared by every process.
 *
 * - What is done to one session is one script about one key, so it is atomic. `load`, with the touch, and `save` are one round
 *   trip; `create` is two where there is an owner, whose index is written first.
 * - `rotate` creates the new session and then supersedes the old one, or removes the new one again; `destroy` of one that is
 *   superseded removes first what is in its place. A process that ends between two steps leaves at most a session
 *   whose identifier nobody knows.
 * - `list` and `destroyAll` read the index and then each session, several at a time.
 * - Every key has an expiry. What has expired is gone at once by the clock of the callers, and from memory by that of Redis.
 * - A session is as durable as Redis is: a failover loses writes that were acknowledged and not yet replicated. A session that
 *   was destroyed then may be there again.
 *
 * @example
 * ```ts
 * import { Redis, SessionStore } from "effect-middleware"
 * import { Layer } from "effect"
 *
 * declare const redis: Layer.Layer<Redis.Redis>
 * const store = SessionStore.layerRedis({ prefix: "app:session:" }).pipe(Layer.provide(redis))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerRedis = ({ prefix = "session:" }: RedisOptions = {}): Layer.Layer<SessionStore, never, Redis.Redis> =>
  Layer.effect(
    SessionStore,
    Effect.map(Redis.Redis, (redis) => fromRecords(fromRedis(redis, prefix), unavailableTo))
  )
