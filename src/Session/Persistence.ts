/**
 * Sessions in the persistence of `@effect/experimental`, for one process.
 *
 * @since 0.1.0
 */
import * as Persistence from "@effect/experimental/Persistence"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { fromRecords } from "../internal/sessionRecordsStore.js"
import { fromTexts } from "../internal/sessionTextStore.js"
import { SessionStore, SessionUnavailable } from "../SessionStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Which store of the persistence is used. Default: `"session"`. */
  readonly storeId?: string | undefined
  /** How long one step may take, of which a method has one or several. Default: 1 second. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Sessions in a `BackingPersistence`: one of `@effect/experimental`, in memory, in a `KeyValueStore`, in Redis or in LMDB, or
 * your own. It knows of time, so what has expired goes by itself, if the backing sees to it. It cannot compare and set:
 *
 * - Within one process every obligation of a `SessionStore` is kept: what is done to a key waits for what was begun before.
 * - **Two processes on one backing lose updates**, whichever it is: both save over one version, and both count the same epoch.
 *   For several processes, use `SessionStore.layerRedis` or `Session/Sql`.
 *
 * @example
 * ```ts
 * import { Persistence as Backing } from "@effect/experimental"
 * import * as Persistence from "effect-middleware/Session/Persistence"
 * import { Layer } from "effect"
 *
 * const store = Persistence.layerStore().pipe(Layer.provide(Backing.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStore = (
  { storeId = "session", timeout = "1 second" }: Options = {}
): Layer.Layer<SessionStore, never, Persistence.BackingPersistence> =>
  Layer.scoped(
    SessionStore,
    Effect.map(
      Effect.flatMap(Persistence.BackingPersistence, (backing) => backing.make(storeId)),
      (store) =>
        fromRecords(
          fromTexts({
            get: (key) => Effect.map(store.get(key), Option.getOrUndefined),
            set: (key, text, ttl) => store.set(key, text, Option.some(Duration.millis(ttl))),
            remove: store.remove
          }, timeout),
          (operation, cause) => new SessionUnavailable({ operation, cause })
        )
    )
  )
