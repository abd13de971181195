/**
 * Sessions: what a server remembers of a browser between requests, typed by a schema. In a cookie that is signed or
 * encrypted, or in a store.
 *
 * 1. Nothing is read until a handler asks, nothing is made until it writes, and nothing is written that has not changed.
 * 2. What is written is written before the response goes, and not if that is a 5xx. If it cannot be written, the response
 *    is replaced: by a 409 or a 503.
 * 3. An identifier that the server does not know is never taken over. Those it makes have 256 random bits, and a store
 *    is given their SHA-256 alone.
 * 4. Of two requests at once neither loses what it has written: `update` is applied again to what the other has left,
 *    and `set` is a conflict. In a cookie alone, where nobody can tell, the last response counts.
 * 5. A session ends when it has not been used for `idle`, at the latest after `absolute`, whatever the browser keeps.
 * 6. A response for which a session was read has `Vary: Cookie`; one that sets its cookie is `private`.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as Entropy from "./Entropy.js"
import type { CookieOptions } from "./internal/cookie.js"
import { cookiePolicy } from "./internal/cookie.js"
import { fromPhases } from "./internal/kernel.js"
import type { Codec, Handle, Seal, Spec } from "./internal/session.js"
import {
  codecOf,
  CookieHandle,
  day,
  isHandle,
  isIdentifier,
  longest,
  makeExclusive,
  ownerOf,
  revoke,
  StoredHandle,
  withStore
} from "./internal/session.js"
import type { SessionSent, WriteError } from "./internal/sessionErrors.js"
import * as Keyring from "./Keyring.js"
import * as Middleware from "./Middleware.js"
import type { ResponseDraft } from "./ResponseDraft.js"
import type { SessionUnavailable } from "./SessionStore.js"
import { SessionStore } from "./SessionStore.js"

export type {
  /**
   * @since 0.1.0
   * @category options
   */
  CookieOptions
} from "./internal/cookie.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  SessionConflict,
  /**
   * @since 0.1.0
   * @category errors
   */
  SessionSent,
  /**
   * @since 0.1.0
   * @category errors
   */
  SessionTooLarge,
  /**
   * @since 0.1.0
   * @category errors
   */
  type WriteError
} from "./internal/sessionErrors.js"

// ---------------------------------------------------------------------------------------------------------------------
// what handlers see
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A message for the next page that is shown.
 *
 * @since 0.1.0
 * @category models
 */
export interface Flash {
  /** Such as `"info"` or `"error"`. */
  readonly kind: string
  readonly text: string
}

/**
 * The session of one request. What is written is kept until the response is known, and written then; `save` does it at
 * once.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service<in out A> {
  /** What it holds; of a new one the initial value. */
  readonly get: Effect.Effect<A, SessionUnavailable>
  /**
   * Replaces what it holds. If another request has changed it by then, that is a `SessionConflict`: the response is
   * replaced by a 409, or `save` fails.
   */
  readonly set: (value: A) => Effect.Effect<void, WriteError>
  /** Applies a pure function, and applies it again to what another request may have left in the meantime. */
  readonly update: (f: (value: A) => A) => Effect.Effect<void, WriteError>
  /**
   * The same with a result. Applied again it must give an equal one (`Equal.equals`), since the handler has seen it;
   * else that is a conflict.
   */
  readonly modify: <B>(f: (value: A) => readonly [result: B, value: A]) => Effect.Effect<B, WriteError>
  /**
   * Gives the session another identifier: do so whenever its rights change. The old one is good for nothing but reading
   * what it held, for the time of `grace`.
   *
   * `principal` says whose session it is from then on, and begins its absolute lifetime anew; `null` says nobody's.
   * Without it that stays as it is. A new session has nothing to rotate, and is made if it is given a principal.
   */
  readonly rotate: (options?: { readonly principal?: string | null | undefined }) => Effect.Effect<void, WriteError>
  /** Ends it at once, in the store too, whatever the response will be. What is written afterwards is another session. */
  readonly destroy: Effect.Effect<void, SessionSent | SessionUnavailable>
  /** Notes that it is used, as reading it does once a tenth of `idle` has passed. */
  readonly touch: Effect.Effect<void, SessionSent | SessionUnavailable>
  /** Writes to the store what is to be written, now. What is in a cookie alone goes with the response. */
  readonly save: Effect.Effect<void, WriteError>
  /** Names it, by the hash of its identifier: it can be shown and logged. None for a new one. */
  readonly id: Effect.Effect<Option.Option<string>, SessionUnavailable>
  /** Whose it is. */
  readonly principal: Effect.Effect<Option.Option<string>, SessionUnavailable>
  /** When it was made or, later, given a principal: since then its absolute lifetime runs. None for a new one. */
  readonly createdAt: Effect.Effect<Option.Option<DateTime.Utc>, SessionUnavailable>
  /** When it ends if it is not used again. None for a new one. */
  readonly expiresAt: Effect.Effect<Option.Option<DateTime.Utc>, SessionUnavailable>
  /** Whether the request came without a session that is good. */
  readonly isNew: Effect.Effect<boolean, SessionUnavailable>
  /** Leaves a message for the next page. `kind` is `"info"` unless said otherwise. */
  readonly flash: (text: string, kind?: string) => Effect.Effect<void, WriteError>
  /** Takes the messages that are there, the oldest first: they are shown once. */
  readonly flashes: Effect.Effect<ReadonlyArray<Flash>, WriteError>
}

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Where a session is kept:
 *
 * - `"signed"`: in its cookie, where the browser can read it and not change it
 * - `"encrypted"`: in its cookie, where only the server can read it
 * - `"stored"`: in a `SessionStore`; its cookie has the identifier
 *
 * @since 0.1.0
 * @category options
 */
export type Kind = "signed" | "encrypted" | "stored"

/**
 * @since 0.1.0
 * @category options
 */
export interface Options<
  K extends Kind = Kind,
  Name extends string = string,
  Epochs extends boolean = boolean,
  Ring extends Keyring.Service | undefined = Keyring.Service | undefined
> {
  /** Where it is kept. There is no default. */
  readonly kind: K
  /** Name and attributes of the cookie. Default: `__Host-session`, `Secure`, `HttpOnly`, `SameSite=Lax`, `Path=/`. */
  readonly cookie?: CookieOptions | undefined
  /**
   * How long the browser keeps the cookie after the session was last used; `"session"`: until it is closed. Default: 14
   * days.
   */
  readonly maxAge?: Duration.DurationInput | "session" | undefined
  /** How long a session lives that is not used. Default: `maxAge`, and 14 days where that is `"session"`. */
  readonly idle?: Duration.DurationInput | undefined
  /** How long a session lives at all, at most 400 days. Default: 90 days, or `idle` where that is more. */
  readonly absolute?: Duration.DurationInput | undefined
  /** Whether it is written although the response is a 5xx. Default: `false`. */
  readonly saveOnError?: boolean | undefined
  /** Signs and seals cookies, in the place of the `Keyring` that a layer provides. */
  readonly keyring?: Ring | undefined
  /** Lets a cookie that is too large be several. Default: `false`, that is a `SessionTooLarge`. */
  readonly chunked?: boolean | undefined
  /**
   * Whether the epoch of its principal is looked up whenever a session is read, so that `revokeAll` also ends what is in
   * cookies alone, and what a store that fails has not deleted. It takes a `SessionStore`, and a round trip. Default:
   * `false`.
   */
  readonly epochs?: Epochs | undefined
  /** How long the identifier from before a rotation can be read by requests that are under way. Default: 10 seconds. */
  readonly grace?: Duration.DurationInput | undefined
  /**
   * What happens while the store is down. `"refuse"`: who reads or writes fails with `SessionUnavailable`, 503.
   * `"allow"`: the request has a new session of which nothing is kept, and the log says so. Default: `"refuse"`.
   */
  readonly onUnavailable?: "refuse" | "allow" | undefined
  /** In the stack. Default: the identifier of the tag. */
  readonly name?: Name | undefined
}

type Requires<K, Epochs, Ring> =
  | (K extends "stored" ? SessionStore : Ring extends Keyring.Service ? never : Keyring.Keyring)
  | (Epochs extends true ? SessionStore : never)

// ---------------------------------------------------------------------------------------------------------------------
// the tag
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface Versions {
  /** Of the schema; count it up when what is kept no longer fits. Default: 1. */
  readonly version?: number | undefined
  /** Makes of what was kept under an earlier version what the schema decodes now. Default: it is a new session. */
  readonly migrate?: ((value: unknown, version: number) => unknown) | undefined
}

/**
 * What a new session holds: need not be said where the schema has a default for everything.
 *
 * @since 0.1.0
 * @category models
 */
export type Initial<A, I> = {} extends I ? { readonly initial?: (() => A) | undefined } : { readonly initial: () => A }

/**
 * A session of a principal, as others see it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Listed<out A> {
  /** What `id` of the session is, and `revoke` takes. */
  readonly id: string
  /** None for what the schema no longer decodes. */
  readonly value: Option.Option<A>
  readonly createdAt: DateTime.Utc
  readonly lastUsedAt: DateTime.Utc
  readonly expiresAt: DateTime.Utc
}

/**
 * The tag of a session, and what goes with it.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionClass<in out Self, Id extends string, in out A>
  extends Middleware.ServiceClass<Self, Id, Service<A>>
{
  /**
   * Provides the session to what is inside. Throws on options that no cookie can have.
   */
  readonly middleware: <
    const K extends Kind,
    const Name extends string = Id,
    const Epochs extends boolean = false,
    const Ring extends Keyring.Service | undefined = undefined
  >(
    options: Options<K, Name, Epochs, Ring>
  ) => Middleware.Middleware<Self, never, Requires<K, Epochs, Ring>, never, Name, Middleware.Phases>

  /** The sessions of a principal that a store keeps, the last used first. */
  readonly list: (principal: string) => Effect.Effect<ReadonlyArray<Listed<A>>, SessionUnavailable, SessionStore>

  /** Ends one session of a principal; `false` if it has no such session. */
  readonly revoke: (principal: string, id: string) => Effect.Effect<boolean, SessionUnavailable, SessionStore>

  /**
   * Ends all sessions of a principal: those in the store, and with `epochs` those in cookies. Gives how many the store
   * had.
   */
  readonly revokeAll: (principal: string) => Effect.Effect<number, SessionUnavailable, SessionStore>

  /** The same for the principal of this session, which goes on. */
  readonly revokeOthers: Effect.Effect<number, WriteError, Self | SessionStore>
}

/**
 * A session, by a schema. Sessions of several tags live side by side; give each a cookie of its own.
 *
 * The schema has to decode without services and at once, to what JSON can hold.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Session, SessionStore, Stack } from "effect-middleware"
 * import { Effect, Layer, Schema } from "effect"
 *
 * class Cart extends Session.Tag("app/Cart")<Cart>()(Schema.Struct({
 *   items: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
 * })) {}
 *
 * const add = Effect.gen(function*() {
 *   const cart = yield* Cart
 *   yield* cart.update(({ items }) => ({ items: [...items, "tea"] }))
 *   return HttpServerResponse.unsafeJson(yield* cart.get)
 * })
 *
 * const server = HttpRouter.empty.pipe(
 *   HttpRouter.post("/cart", add),
 *   Stack.serve(Stack.make(Cart.middleware({ kind: "stored" }))),
 *   Layer.provide(SessionStore.layerMemory())
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const Tag = <const Id extends string>(id: Id) =>
<Self>() =>
<A, I>(
  schema: Schema.Schema<A, I>,
  ...[options]: {} extends I ? [options?: Versions & Initial<A, I>] : [options: Versions & Initial<A, I>]
): SessionClass<Self, Id, A> => {
  const codec = codecOf(id, schema, options)
  const tag = Middleware.Service(id)<Self, Service<A>>()
  return Object.assign(tag, {
    middleware: <K extends Kind, Name extends string, Epochs extends boolean, Ring>(
      options: Options<K, Name, Epochs, Ring & (Keyring.Service | undefined)>
    ) => middleware<Self, A, Requires<K, Epochs, Ring>, Name>(id, codec, options),
    list: (principal: string) =>
      withStore((store, now) =>
        Effect.map(store.list(ownerOf(id, principal), now), (entries) =>
          entries.map((entry) => ({
            id: entry.id,
            value: Option.map(Option.fromNullable(codec.read(entry.payload)), ({ value }) => value),
            createdAt: DateTime.unsafeMake(entry.createdAt),
            lastUsedAt: DateTime.unsafeMake(entry.touchedAt),
            expiresAt: DateTime.unsafeMake(entry.expiresAt)
          })))
      ),
    revoke: (principal: string, session: string) =>
      !isIdentifier(session) ?
        Effect.succeed(false) :
        withStore((store, now) =>
          Effect.flatMap(store.load(session, { now }), (entry) =>
            entry?.owner === ownerOf(id, principal)
              ? Effect.as(store.destroy(session, now), true)
              : Effect.succeed(false))
        ),
    revokeAll: (principal: string) => Effect.map(revoke(ownerOf(id, principal)), ({ count }) => count),
    revokeOthers: Effect.flatMap(tag, (session) => isHandle(session) ? session.revokeOthers : Effect.succeed(0))
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// middleware
// ---------------------------------------------------------------------------------------------------------------------

const compile = <A>(id: string, codec: Codec<A>, options: Options): Spec<A> => {
  const { chunked = false, epochs = false, kind, maxAge = 14 * day, onUnavailable = "refuse", saveOnError = false } =
    options
  const fail = (option: string, remedy: string): never => {
    throw new TypeError(`Session: ${option} of ${id}: ${remedy}`)
  }
  const time = (option: "absolute" | "grace" | "idle" | "maxAge", input: Duration.DurationInput): number => {
    const millis = Option.match(Duration.decodeUnknown(input), { onNone: () => Number.NaN, onSome: Duration.toMillis })
    const least = option === "grace" ? 0 : 1000
    return millis >= least && millis <= longest ? millis : fail(option, `write a duration from ${least} ms to 400 days`)
  }
  if (!["signed", "encrypted", "stored"].includes(kind)) fail("kind", `write "signed", "encrypted" or "stored"`)
  if (!["refuse", "allow"].includes(onUnavailable)) fail("onUnavailable", `write "refuse" or "allow"`)
  if (kind === "stored" && chunked) fail("chunked", `leave it out, a store has room enough`)
  if (kind === "stored" && options.keyring !== undefined) {
    fail("keyring", `leave it out, its cookie has nothing to sign`)
  }
  if (kind !== "stored" && options.grace !== undefined) {
    fail("grace", `leave it out, nothing can end what a cookie holds`)
  }
  const kept = maxAge === "session" ? undefined : time("maxAge", maxAge)
  const absolute = options.absolute === undefined ? undefined : time("absolute", options.absolute)
  const idle = options.idle === undefined
    ? Math.min(kept ?? 14 * day, absolute ?? longest)
    : time("idle", options.idle)
  if (absolute !== undefined && idle > absolute) fail("idle", `write no more than absolute, which ends it anyway`)
  return {
    id,
    codec,
    lifetimes: { idle, absolute: absolute ?? Math.max(90 * day, idle) },
    every: idle / 10,
    maxAge: kept,
    grace: options.grace === undefined ? 10_000 : time("grace", options.grace),
    saveOnError,
    epochs,
    allows: onUnavailable === "allow",
    chunked,
    exclusively: makeExclusive()
  }
}

const middleware = <Self, A, R, Name extends string>(
  id: string,
  codec: Codec<A>,
  options: Options
): Middleware.Middleware<Self, never, R, never, Name, Middleware.Phases> => {
  const { cookie, keyring, kind } = options
  const spec = compile(id, codec, options)
  const policy = cookiePolicy("Session", { ...cookie, name: cookie?.name ?? "session" })
  const purpose = `session/${id}`
  const handles = Middleware.local<Handle<A>>()
  const make = (exchange: Middleware.Exchange<Keyring.Keyring | SessionStore>): Handle<A> => {
    const variant = policy.forHost(exchange.request.headers["host"])
    if (kind === "stored") return new StoredHandle(spec, variant, exchange, exchange.get(SessionStore))
    const store = spec.epochs ? exchange.get(SessionStore) : undefined
    const keys = (keyring ?? exchange.get(Keyring.Keyring)).purpose(purpose)
    return new CookieHandle(spec, variant, exchange, store, sealOf(kind, keys, variant.name, exchange.entropy))
  }
  const name = (options.name ?? id) as Name
  return fromPhases(name, [{
    name,
    traits: ["session"],
    provides: id,
    request: (exchange: Middleware.Exchange<Keyring.Keyring | SessionStore>) => {
      const handle = make(exchange)
      handles.set(exchange, handle)
      return Middleware.Provide(handle)
    },
    response: (draft: ResponseDraft, exchange: Middleware.Exchange) => handles.get(exchange)?.respond(draft)
  }])
}

const sealOf = (
  kind: "signed" | "encrypted",
  keys: Keyring.Purpose,
  context: string,
  entropy: Entropy.Service
): Seal =>
  kind === "signed"
    ? { write: (text) => keys.sign(text, context), read: (text) => keys.verify(text, context) }
    : { write: (text) => keys.seal(text, context, entropy), read: (text) => keys.open(text, context) }
