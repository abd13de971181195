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
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as ProblemDetails from "./ProblemDetails.js"

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
 * What is kept of a session. Times are milliseconds since the epoch, by the clock of whoever calls.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  /** What the session holds: a text that means nothing to a store. */
  readonly payload: string
  /** Whose it is, for `list` and `destroyAll`. */
  readonly owner: string | undefined
  /** When its absolute lifetime began. */
  readonly createdAt: number
  /** When it was last used, as far as anybody noted. */
  readonly touchedAt: number
  /** From then on there is no such session. */
  readonly expiresAt: number
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
  /** Then it expires so many milliseconds after `now`... */
  readonly idle: number
  /** ...and at most so many after `createdAt`. */
  readonly absolute: number
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
   * The session, and its use noted if that is due. One that is superseded is given as it was, and not touched.
   */
  readonly load: (
    id: string,
    options: { readonly now: number; readonly touch?: Touch | undefined }
  ) => Effect.Effect<Stored | undefined, SessionUnavailable>

  /** Adds one, as version 1. `false` if there is one by that identifier; then it stays as it is. */
  readonly create: (id: string, entry: Entry, now: number) => Effect.Effect<boolean, SessionUnavailable>

  /**
   * Replaces payload and times of the version that the caller has seen, and counts it up; owner and `createdAt` stay.
   * `"conflict"`: it has another version by now, or is superseded. `"missing"`: there is no such session.
   */
  readonly save: (
    id: string,
    version: number,
    changes: Pick<Entry, "payload" | "touchedAt" | "expiresAt">,
    now: number
  ) => Effect.Effect<Outcome, SessionUnavailable>

  /**
   * Puts another in the place of the version that the caller has seen. The old one can be read until `until`, and is
   * gone at once where that is not after `now`. Where this takes several steps, the new one is there before the old one
   * is superseded, and goes again if that fails.
   */
  readonly rotate: (
    from: { readonly id: string; readonly version: number },
    to: { readonly id: string; readonly entry: Entry },
    options: { readonly now: number; readonly until: number }
  ) => Effect.Effect<Outcome, SessionUnavailable>

  /** Removes one and, where it is superseded, the one in its place. Nothing to remove is no failure. */
  readonly destroy: (id: string, now: number) => Effect.Effect<void, SessionUnavailable>

  /** Those of an owner, the last used first; none that is superseded. */
  readonly list: (
    owner: string,
    now: number
  ) => Effect.Effect<ReadonlyArray<Stored & { readonly id: string }>, SessionUnavailable>

  /** Removes all of an owner but one; gives how many. */
  readonly destroyAll: (
    owner: string,
    options: { readonly now: number; readonly except?: string | undefined }
  ) => Effect.Effect<number, SessionUnavailable>

  /** The number of an owner's epoch: 0 until it is advanced, and again once the last advance has expired. */
  readonly epoch: (owner: string, now: number) => Effect.Effect<number, SessionUnavailable>

  /** Begins another epoch of an owner, kept until `expiresAt`. Two at the same time are two. */
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
