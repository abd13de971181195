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
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as Crypto from "node:crypto"
import type * as Entropy from "./Entropy.js"
import type { CookieOptions, CookieVariant } from "./internal/cookie.js"
import { cookieLimit, cookiePolicy, mostChunks, readChunks, readCookie, splitChunks } from "./internal/cookie.js"
import { fromPhases } from "./internal/kernel.js"
import { isUpgraded } from "./internal/nodeResponse.js"
import type { Content } from "./internal/sessionPayload.js"
import { expiryOf, parse, parsePortable, print, printPortable } from "./internal/sessionPayload.js"
import * as Keyring from "./Keyring.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"
import type { ResponseDraft } from "./ResponseDraft.js"
import type { Outcome, Touch } from "./SessionStore.js"
import { SessionStore, SessionUnavailable } from "./SessionStore.js"

// ---------------------------------------------------------------------------------------------------------------------
// failures
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Another request has changed the session since this one read it: 409.
 *
 * - `changed`: it holds something else by now, and what was to be written depends on what it held.
 * - `superseded`: it has been rotated, and only its successor can be written.
 * - `ended`: it has been destroyed, or has expired.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionConflict extends Schema.TaggedError<SessionConflict>("effect-middleware/Session/SessionConflict")(
  "SessionConflict",
  { reason: Schema.Literal("changed", "superseded", "ended") },
  HttpApiSchema.annotations({ status: 409 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return `The session has been ${this.reason} by another request`
  }
  [HttpServerRespondable.symbol]() {
    return conflict
  }
}
const conflict = ProblemDetails.toResponse({
  status: 409,
  detail: "Another request has changed the session in the meantime"
})

/**
 * What was to be written does not fit into a cookie: 500, unless a handler says something better. Sizes are in bytes,
 * and of the whole cookie: name and value.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionTooLarge extends Schema.TaggedError<SessionTooLarge>("effect-middleware/Session/SessionTooLarge")(
  "SessionTooLarge",
  { size: Schema.Number, limit: Schema.Number },
  HttpApiSchema.annotations({ status: 500 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return `The session's cookie would have ${this.size} bytes, and browsers keep ${this.limit}`
  }
  [HttpServerRespondable.symbol]() {
    return failed
  }
}

/**
 * The response has been sent already, or is a WebSocket's 101: what is written now could reach nobody. 500.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionSent extends Schema.TaggedError<SessionSent>("effect-middleware/Session/SessionSent")(
  "SessionSent",
  {},
  HttpApiSchema.annotations({ status: 500 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return "The session cannot be written: its response has been sent. Write it before the body or the WebSocket begins"
  }
  [HttpServerRespondable.symbol]() {
    return failed
  }
}
const failed = ProblemDetails.toResponse({ status: 500 })

/**
 * What a write can fail with.
 *
 * @since 0.1.0
 * @category errors
 */
export type WriteError = SessionConflict | SessionSent | SessionTooLarge | SessionUnavailable

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
// what is kept, as text
// ---------------------------------------------------------------------------------------------------------------------

interface State<A> {
  readonly value: A
  readonly flashes: ReadonlyArray<Flash>
}

interface Codec<A> {
  readonly initial: () => A
  /** `undefined` for what the schema does not decode, of this version or of one before it. */
  readonly decode: (content: Content) => State<A> | undefined
  readonly read: (payload: string) => (State<A> & { readonly epoch: number }) | undefined
  /** Throws on what is no value of the schema. */
  readonly encode: (state: State<A>, epoch: number) => Content
}

const codecOf = <A, I>(
  id: string,
  schema: Schema.Schema<A, I>,
  { initial, migrate, version = 1 }: Versions & { readonly initial?: (() => A) | undefined } = {}
): Codec<A> => {
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new TypeError(`Session: version of ${id} is ${version}: count from 1`)
  }
  const toValue = ParseResult.decodeUnknownEither(schema)
  const fromValue = ParseResult.encodeSync(schema)
  const decode: Codec<A>["decode"] = (content) => {
    const { flashes } = content
    if (content.version > version || (content.version < version && migrate === undefined)) return undefined
    try {
      const data = content.version === version ? content.data : migrate?.(content.data, content.version)
      return Either.getOrUndefined(Either.map(toValue(data), (value) => ({ value, flashes })))
    } catch {
      // a migration that has not thought of it
      return undefined
    }
  }
  const encode: Codec<A>["encode"] = ({ flashes, value }, epoch) => ({
    version,
    data: fromValue(value),
    flashes,
    epoch
  })
  const first = initial ?? (() => Either.getOrThrow(toValue({})))
  const kept = parse(print(encode({ value: first(), flashes: [] }, 0)))
  if (kept === undefined || decode(kept) === undefined) {
    throw new TypeError(
      `Session: what a new ${id} holds does not come back from JSON: give its schema a form that does`
    )
  }
  const read: Codec<A>["read"] = (payload) => {
    const content = parse(payload)
    const state = content === undefined ? undefined : decode(content)
    return content === undefined || state === undefined ? undefined : { ...state, epoch: content.epoch }
  }
  return { initial: first, decode, encode, read }
}

const ownerOf = (id: string, principal: string): string => `${id}:${principal}`
const principalOf = (id: string, owner: string | undefined): string | undefined => owner?.slice(id.length + 1)

/** Of the tag's own: an identifier is good for no other. */
const hashOf = (id: string, identifier: string): string =>
  Crypto.createHash("sha256").update(`${id}\0${identifier}`).digest("base64url")

const isIdentifier = (text: string | undefined): text is string => text !== undefined && /^[\w-]{43}$/.test(text)

// ---------------------------------------------------------------------------------------------------------------------
// the session of a request
// ---------------------------------------------------------------------------------------------------------------------

/** A middleware's options, compiled. */
interface Spec<A> {
  readonly id: string
  readonly codec: Codec<A>
  /** In milliseconds, as all times are. */
  readonly lifetimes: { readonly idle: number; readonly absolute: number }
  readonly every: number
  /** `undefined`: until the browser is closed. */
  readonly maxAge: number | undefined
  readonly grace: number
  readonly saveOnError: boolean
  readonly epochs: boolean
  readonly allows: boolean
  readonly chunked: boolean
  readonly exclusively: ReturnType<typeof makeExclusive>
}

/** What there is before a request writes. */
interface Base<A> {
  /** Hashed; `undefined` for a new one. */
  readonly id: string | undefined
  readonly identifier: string | undefined
  /** As it was found. */
  readonly payload: string | undefined
  readonly version: number
  readonly superseded: boolean
  readonly createdAt: number
  readonly touchedAt: number
  readonly expiresAt: number
  readonly principal: string | undefined
  readonly epoch: number
  readonly state: State<A>
}

/** `undefined` where it depends on the state that it was made for. */
type Operation<A> = (state: State<A>) => State<A> | undefined

interface Loaded<A> {
  readonly base: Base<A>
  readonly state: State<A>
}

/** Of messages that nobody reads only the last are kept. */
const mostFlashes = 32

abstract class Handle<A> implements Service<A> {
  protected base: Base<A> | undefined
  protected state: State<A> | undefined
  /** What has led to the state, to be applied again to what another request has left. */
  protected operations: Array<Operation<A>> = []
  /** Whose it becomes, where that is said. */
  protected rotation:
    | { readonly bound?: { readonly principal: string | undefined; readonly epoch: number } | undefined }
    | undefined
  protected touching = false
  /** It has been destroyed: its cookie has to go. */
  protected cleared = false
  /** The store could not say what it is: what is written is dropped. */
  protected adrift = false
  private accessed = false
  private sent = false
  private loading: Effect.Semaphore | undefined

  constructor(
    protected readonly spec: Spec<A>,
    protected readonly cookie: CookieVariant,
    protected readonly exchange: Middleware.Exchange,
    protected readonly store: SessionStore["Type"] | undefined
  ) {}

  /** What the request came with; a new one where that is nothing good. */
  protected abstract find(): Base<A> | Effect.Effect<Base<A>, SessionUnavailable>
  /** Whether what is to be written fits. */
  protected abstract check(base: Base<A>): SessionTooLarge | undefined
  /** Ends it in the store. */
  protected abstract end(): Effect.Effect<void, SessionUnavailable>
  protected abstract commit(draft: ResponseDraft): void | Effect.Effect<void>
  abstract readonly save: Effect.Effect<void, WriteError>

  get get() {
    return Effect.map(this.load, ({ state }) => state.value)
  }
  set(value: A) {
    let applied = false
    return this.write((state) => {
      if (applied) return undefined
      applied = true
      return { ...state, value }
    })
  }
  update(f: (value: A) => A) {
    return this.write((state) => ({ ...state, value: f(state.value) }))
  }
  modify<B>(f: (value: A) => readonly [result: B, value: A]): Effect.Effect<B, WriteError> {
    return Effect.suspend(() => {
      let told: Option.Option<B> = Option.none()
      const written = this.write((state) => {
        const [result, value] = f(state.value)
        if (Option.isSome(told) && !Equal.equals(told.value, result)) return undefined
        told = Option.some(result)
        return { ...state, value }
      })
      return Effect.map(written, () => Option.getOrThrow(told))
    })
  }
  rotate({ principal }: { readonly principal?: string | null | undefined } = {}): Effect.Effect<void, WriteError> {
    if (principal === "") {
      return Effect.die(new TypeError("Session: rotate has an empty principal: write null for nobody"))
    }
    return Effect.flatMap(this.writable, ({ base }) => {
      if (principal === undefined) return this.turn(base, this.rotation?.bound)
      if (principal === null) return this.turn(base, { principal: undefined, epoch: 0 })
      return Effect.flatMap(this.epochOf(principal), (epoch) => this.turn(base, { principal, epoch }))
    })
  }
  get destroy() {
    return Effect.suspend((): Effect.Effect<void, SessionSent | SessionUnavailable> => {
      this.accessed = true
      if (this.isSent) return Effect.fail(new SessionSent())
      return Effect.map(this.end(), () => {
        this.cleared = true
        this.start(this.fresh)
      })
    })
  }
  get touch() {
    return Effect.flatMap(this.load, () => {
      if (this.isSent) return Effect.fail(new SessionSent())
      this.touching = true
      return Effect.void
    })
  }
  get id() {
    return Effect.map(this.load, ({ base }) => Option.fromNullable(base.id))
  }
  get principal() {
    return Effect.map(this.load, ({ base }) => Option.fromNullable(this.whose(base).principal))
  }
  get expiresAt() {
    return Effect.map(
      this.load,
      ({ base: { expiresAt, id } }) => id === undefined ? Option.none() : Option.some(DateTime.unsafeMake(expiresAt))
    )
  }
  get isNew() {
    return Effect.map(this.load, ({ base }) => base.id === undefined)
  }
  flash(text: string, kind = "info") {
    return this.write(({ flashes, value }) => ({ value, flashes: [...flashes, { kind, text }].slice(-mostFlashes) }))
  }
  get flashes() {
    return Effect.flatMap(this.load, ({ state: { flashes } }): Effect.Effect<ReadonlyArray<Flash>, WriteError> => {
      if (flashes.length === 0) return Effect.succeed(flashes)
      const isTaken = ({ kind, text }: Flash) => flashes.some((flash) => flash.kind === kind && flash.text === text)
      const taken = this.write((state) => ({ ...state, flashes: state.flashes.filter((flash) => !isTaken(flash)) }))
      return Effect.as(taken, flashes)
    })
  }
  get revokeOthers(): Effect.Effect<number, WriteError, SessionStore> {
    return Effect.flatMap(this.writable, ({ base }) => {
      const { principal } = this.whose(base)
      if (principal === undefined) return Effect.succeed(0)
      return Effect.flatMap(
        revoke(ownerOf(this.spec.id, principal), base.id),
        ({ count, epoch }) => Effect.as(this.spec.epochs ? this.turn(base, { principal, epoch }) : Effect.void, count)
      )
    })
  }

  /** On the way out, once. */
  respond(draft: ResponseDraft): void | Effect.Effect<void> {
    this.sent = true
    if (!this.accessed) return
    draft.vary("cookie")
    if (draft.status >= 500 && !this.spec.saveOnError) this.forget()
    return this.commit(draft)
  }

  protected get now() {
    return this.exchange.clock.unsafeCurrentTimeMillis()
  }
  protected get header() {
    return this.exchange.request.headers["cookie"]
  }
  protected get isUpgraded() {
    return isUpgraded(this.exchange.request)
  }
  protected get isSent() {
    return this.sent || this.isUpgraded
  }
  protected get fresh(): Base<A> {
    const { now } = this
    return {
      id: undefined,
      identifier: undefined,
      payload: undefined,
      version: 0,
      superseded: false,
      createdAt: now,
      touchedAt: now,
      expiresAt: now,
      principal: undefined,
      epoch: 0,
      state: { value: this.spec.codec.initial(), flashes: [] }
    }
  }
  protected makeIdentifier() {
    return Buffer.from(this.exchange.entropy.bytes(32)).toString("base64url")
  }

  /** What there is, and what it holds by now: found once, however many ask. */
  protected get load(): Effect.Effect<Loaded<A>, SessionUnavailable> {
    return Effect.suspend(() => {
      this.accessed = true
      const { loaded } = this
      if (loaded !== undefined) return Effect.succeed(loaded)
      const found = this.find()
      if (!Effect.isEffect(found)) return Effect.succeed(this.start(found))
      this.loading ??= Effect.unsafeMakeSemaphore(1)
      return this.loading.withPermits(1)(Effect.suspend(() => {
        const { loaded } = this
        return loaded === undefined
          ? Effect.map(this.settled(found), (base) => this.start(base))
          : Effect.succeed(loaded)
      }))
    })
  }
  private get loaded(): Loaded<A> | undefined {
    const { base, state } = this
    return base === undefined || state === undefined ? undefined : { base, state }
  }
  private settled(found: Effect.Effect<Base<A>, SessionUnavailable>) {
    return !this.spec.allows ? found : Effect.catchAll(found, (error) =>
      Effect.sync(() => {
        this.log("Warning", "The store of a session is down; the request has a new one, which is not kept", error)
        this.adrift = true
        return this.fresh
      }))
  }
  protected start(base: Base<A>): Loaded<A> {
    this.base = base
    this.state = base.state
    this.operations = []
    this.rotation = undefined
    this.touching = false
    return { base, state: base.state }
  }
  /** What was to be written is not. */
  protected forget() {
    if (this.base !== undefined) this.start(this.base)
  }

  private get writable(): Effect.Effect<Loaded<A>, WriteError> {
    return Effect.flatMap(this.load, (loaded): Effect.Effect<Loaded<A>, WriteError> => {
      if (this.isSent) return Effect.fail(new SessionSent())
      return loaded.base.superseded
        ? Effect.fail(new SessionConflict({ reason: "superseded" }))
        : Effect.succeed(loaded)
    })
  }
  private write(operation: Operation<A>): Effect.Effect<void, WriteError> {
    return Effect.flatMap(this.writable, ({ base, state }) => {
      this.state = operation(state)
      this.operations.push(operation)
      const tooLarge = this.check(base)
      if (tooLarge === undefined) return Effect.void
      this.operations.pop()
      this.state = state
      return Effect.fail(tooLarge)
    })
  }
  private turn(base: Base<A>, bound: { readonly principal: string | undefined; readonly epoch: number } | undefined) {
    const before = this.rotation
    this.rotation = { bound }
    const tooLarge = this.check(base)
    if (tooLarge === undefined) return Effect.void
    this.rotation = before
    return Effect.fail(tooLarge)
  }

  /** Whose it will be, and since when it is. */
  protected whose({ createdAt, epoch, principal }: Base<A>) {
    const bound = this.rotation?.bound
    return bound === undefined ? { principal, epoch, createdAt } : { ...bound, createdAt: this.now }
  }
  /** Whether there is anything to write. */
  protected isChanged(base: Base<A>): boolean {
    const { operations, rotation, spec, state = base.state } = this
    if (rotation !== undefined && (base.id !== undefined || rotation.bound?.principal !== undefined)) return true
    if (operations.length === 0) return false
    const payloadOf = (state: State<A>) => print(spec.codec.encode(state, base.epoch))
    return payloadOf(state) !== (base.payload ?? payloadOf(base.state))
  }
  private epochOf(principal: string): Effect.Effect<number, SessionUnavailable> {
    const { now, spec, store } = this
    return spec.epochs && store !== undefined ? call(store.epoch(ownerOf(spec.id, principal), now)) : Effect.succeed(0)
  }
  /** One of an epoch that is over is nothing good. */
  protected inEpoch(base: Base<A>): Base<A> | Effect.Effect<Base<A>, SessionUnavailable> {
    if (!this.spec.epochs || base.principal === undefined) return base
    return Effect.map(this.epochOf(base.principal), (epoch) => epoch === base.epoch ? base : this.fresh)
  }

  protected log(level: "Info" | "Warning" | "Error", message: string, error?: SessionUnavailable) {
    this.exchange.log(
      LogLevel.fromLiteral(level),
      message,
      { session: this.spec.id },
      error === undefined ? undefined : Cause.fail(error)
    )
  }
  protected undecodable() {
    this.log("Warning", "What a session holds cannot be decoded; it is a new one")
    return this.fresh
  }

  protected put(draft: ResponseDraft, value: string, expiresAt: number) {
    const { chunked, maxAge } = this.spec
    const { cookie, header } = this
    const seconds = maxAge === undefined ? undefined : Math.ceil(Math.min(maxAge, expiresAt - this.now) / 1000)
    const lifetime = seconds === undefined ? {} : { maxAge: Duration.seconds(seconds) }
    const chunks = chunked ? splitChunks(cookie, value, header) : undefined
    for (const [name, text] of chunks?.set ?? [[cookie.name, value]]) {
      if (Object.hasOwn(draft.cookies.cookies, name)) {
        throw new TypeError(
          `Session: ${this.spec.id} and something else set ${name}: give one of them another cookie.name`
        )
      }
      draft.setCookie(name, text, { ...cookie.options, ...lifetime })
    }
    this.expire(draft, chunks?.expire ?? [])
    draft.cacheControl("private")
  }
  protected clear(draft: ResponseDraft) {
    const { cookie, header } = this
    const names = splitChunks(cookie, "", header)?.expire ?? []
    this.expire(draft, names)
    if (names.length > 0) draft.cacheControl("private")
  }
  private expire(draft: ResponseDraft, names: ReadonlyArray<string>) {
    for (const name of names) draft.setCookie(name, "", this.cookie.expired)
  }
}

const isHandle = (session: unknown): session is Handle<unknown> => session instanceof Handle

/** Platform's servers interrupt nothing, and then a store's own limit of time would not either. */
const call = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> => Effect.interruptible(effect)

const lift = <A, E>(value: A | Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.isEffect(value) ? value : Effect.succeed(value)

// --- in a cookie -----------------------------------------------------------------------------------------------------

interface Seal {
  readonly write: (text: string) => string
  readonly read: (text: string) => Keyring.Opened | undefined
}

class CookieHandle<A> extends Handle<A> {
  /** By a key that is going. */
  private stale = false
  private identifier: string | undefined
  /** As it was checked. */
  private text: string | undefined

  constructor(
    spec: Spec<A>,
    cookie: CookieVariant,
    exchange: Middleware.Exchange,
    store: SessionStore["Type"] | undefined,
    private readonly seal: Seal
  ) {
    super(spec, cookie, exchange, store)
  }

  protected find() {
    const { cookie, header, spec } = this
    const text = spec.chunked ? readChunks(header, cookie.name) : readCookie(header, cookie.name)
    if (text === undefined || text === "") return this.fresh
    const opened = this.seal.read(text)
    if (opened === undefined) {
      this.log("Info", "The cookie of a session is not one of ours; it is a new one")
      return this.fresh
    }
    const found = parsePortable(opened.value)
    if (found === undefined) return this.undecodable()
    const expiresAt = expiryOf(spec.lifetimes, found)
    if (expiresAt <= this.now) return this.fresh
    const state = spec.codec.decode(found)
    if (state === undefined) return this.undecodable()
    this.stale = opened.stale
    return this.inEpoch({
      ...found,
      id: hashOf(spec.id, found.id),
      identifier: found.id,
      payload: print(found),
      version: 0,
      superseded: false,
      expiresAt,
      state
    })
  }

  protected end() {
    return Effect.void
  }

  protected check(base: Base<A>): SessionTooLarge | undefined {
    const { cookie, spec } = this
    const text = this.portable(base)
    const limit = spec.chunked ? cookieLimit * mostChunks : cookieLimit
    if (text.length <= limit) {
      this.text = this.seal.write(text)
      const fits = spec.chunked
        ? splitChunks(cookie, this.text, undefined) !== undefined
        : cookie.size(this.text) <= limit
      if (fits) return undefined
    }
    const size = cookie.size(this.text ?? text)
    this.text = undefined
    return new SessionTooLarge({ size, limit })
  }

  private portable(base: Base<A>): string {
    const { rotation, spec, state = base.state } = this
    const { createdAt, epoch, principal } = this.whose(base)
    const kept = rotation === undefined ? base.identifier : undefined
    const id = kept ?? (this.identifier ??= this.makeIdentifier())
    return printPortable({ ...spec.codec.encode(state, epoch), id, createdAt, touchedAt: this.now, principal })
  }

  /** It goes with the response. */
  readonly save = Effect.void

  protected commit(draft: ResponseDraft) {
    const { base, now, spec } = this
    const changed = base !== undefined && this.isChanged(base)
    if (changed && (this.adrift || this.isUpgraded)) {
      return this.log("Error", "What was written to a session is lost: no response can carry it")
    }
    const wears = base?.id !== undefined && (this.touching || this.stale || base.touchedAt + spec.every <= now)
    if (base === undefined || !(changed || wears) || this.isUpgraded) {
      return this.cleared
        ? this.clear(draft)
        : undefined
    }
    const { createdAt } = this.whose(base)
    this.put(
      draft,
      this.text ?? this.seal.write(this.portable(base)),
      expiryOf(spec.lifetimes, { createdAt, touchedAt: now })
    )
  }

  protected override start(base: Base<A>) {
    this.text = this.identifier = undefined
    return super.start(base)
  }
}

// --- in a store ------------------------------------------------------------------------------------------------------

/** As many processes can be at one session at once before one of them has to give up. */
const mostAttempts = 32

class StoredHandle<A> extends Handle<A> {
  /** To be sent: of one that is new or rotated, or that the browser has to keep for longer. */
  private identifier: string | undefined

  constructor(
    spec: Spec<A>,
    cookie: CookieVariant,
    exchange: Middleware.Exchange,
    protected override readonly store: SessionStore["Type"]
  ) {
    super(spec, cookie, exchange, store)
  }

  protected find() {
    const identifier = readCookie(this.header, this.cookie.name)
    if (!isIdentifier(identifier)) return this.fresh
    return Effect.flatMap(
      this.read(identifier, { every: this.spec.every, idle: this.spec.lifetimes.idle }),
      (base) => lift(base === undefined ? this.fresh : this.inEpoch(base))
    )
  }

  private read(identifier: string, touch?: Touch): Effect.Effect<Base<A> | undefined, SessionUnavailable> {
    const { now, spec, store } = this
    const id = hashOf(spec.id, identifier)
    return Effect.map(call(store.load(id, { now, touch })), (entry) => {
      if (entry === undefined || expiryOf(spec.lifetimes, entry) <= now) return undefined
      const state = spec.codec.read(entry.payload)
      if (state === undefined) return this.undecodable()
      const touched = touch !== undefined && entry.touchedAt === now && !entry.superseded
      if (touched && spec.maxAge !== undefined) this.identifier = identifier
      return { ...entry, id, identifier, principal: principalOf(spec.id, entry.owner), epoch: state.epoch, state }
    })
  }

  protected check(): undefined {
    return undefined
  }

  protected end() {
    const identifier = this.base?.identifier ?? readCookie(this.header, this.cookie.name)
    this.identifier = undefined
    return isIdentifier(identifier) ? call(this.store.destroy(hashOf(this.spec.id, identifier), this.now)) : Effect.void
  }

  get save(): Effect.Effect<void, WriteError> {
    return Effect.suspend(() => {
      if (this.isSent) return Effect.fail(new SessionSent())
      return this.base !== undefined && this.isPending(this.base) ? this.persist(this.base) : Effect.void
    })
  }

  protected commit(draft: ResponseDraft) {
    const { base, isUpgraded } = this
    if (base === undefined || !this.isPending(base)) return this.send(draft)
    if (isUpgraded && (base.id === undefined || this.rotation !== undefined)) {
      return this.log("Error", "What was written to a session is lost: no response can carry its cookie")
    }
    return Effect.match(this.persist(base), {
      onSuccess: () => this.send(draft),
      onFailure: (error) => {
        if (error._tag === "SessionUnavailable" && (this.spec.allows || isUpgraded)) {
          this.log("Error", "What was written to a session is lost: its store is down", error)
        } else draft.refuse(error)
      }
    })
  }

  private send(draft: ResponseDraft) {
    if (this.isUpgraded) return
    if (this.identifier !== undefined && this.base !== undefined) this.put(draft, this.identifier, this.base.expiresAt)
    else if (this.cleared) this.clear(draft)
  }

  private isPending(base: Base<A>) {
    return this.isChanged(base) || (this.touching && base.id !== undefined)
  }

  private persist(base: Base<A>): Effect.Effect<void, WriteError> {
    if (this.adrift) {
      this.log("Error", "What was written to a session is lost: its store is down")
      return Effect.sync(() => this.forget())
    }
    if (base.id === undefined) return this.attempt(base, mostAttempts)
    return this.spec.exclusively(
      base.id,
      (waited) => waited ? this.again(base, mostAttempts) : this.attempt(base, mostAttempts)
    )
  }

  private attempt(base: Base<A>, attempts: number): Effect.Effect<void, WriteError> {
    const { now, spec, state = base.state, store } = this
    const { id, touchedAt, version } = base
    const { createdAt, epoch, principal } = this.whose(base)
    const payload = print(spec.codec.encode(state, epoch))
    const settle = (changes: Partial<Base<A>>) => (outcome: Outcome): Effect.Effect<void, WriteError> => {
      if (outcome === "conflict" && attempts > 0) return this.again(base, attempts - 1)
      if (outcome !== "saved") {
        return Effect.fail(new SessionConflict({ reason: outcome === "missing" ? "ended" : "changed" }))
      }
      this.identifier = changes.identifier ?? this.identifier
      this.start({ ...base, payload, state, principal, epoch, createdAt, ...changes })
      return Effect.void
    }
    if (id === undefined || this.rotation !== undefined) {
      const identifier = this.makeIdentifier()
      const to = hashOf(spec.id, identifier)
      const owner = principal === undefined ? undefined : ownerOf(spec.id, principal)
      const expiresAt = expiryOf(spec.lifetimes, { createdAt, touchedAt: now })
      const entry = {
        payload,
        owner,
        createdAt,
        touchedAt: now,
        expiresAt,
        endsAt: createdAt + spec.lifetimes.absolute
      }
      const made: Effect.Effect<Outcome, SessionUnavailable> = id === undefined
        ? Effect.map(call(store.create(to, entry, now)), (created) => created ? "saved" : "missing")
        : call(store.rotate({ id, version }, { id: to, entry }, { now, until: now + spec.grace }))
      return Effect.flatMap(made, settle({ id: to, identifier, version: 1, touchedAt: now, expiresAt }))
    }
    if (payload !== base.payload) {
      const changes = { payload, touchedAt, expiresAt: base.expiresAt }
      return Effect.flatMap(call(store.save(id, version, changes, now)), settle({ version: version + 1 }))
    }
    // touched alone
    return Effect.flatMap(
      this.found(base, { every: 0, idle: spec.lifetimes.idle }),
      (base) => Effect.sync(() => void this.start(base))
    )
  }

  /** Applies what has led here to what is there by now. */
  private again(before: Base<A>, attempts: number): Effect.Effect<void, WriteError> {
    return Effect.flatMap(this.found(before), (base) => {
      const state = this.operations.reduce<State<A> | undefined>(
        (state, operation) => state === undefined ? undefined : operation(state),
        base.state
      )
      if (state === undefined) return Effect.fail(new SessionConflict({ reason: "changed" }))
      this.base = base
      this.state = state
      return this.attempt(base, attempts)
    })
  }

  private found({ identifier = "" }: Base<A>, touch?: Touch): Effect.Effect<Base<A>, WriteError> {
    return Effect.flatMap(this.read(identifier, touch), (base) => {
      if (base?.id === undefined) return Effect.fail(new SessionConflict({ reason: "ended" }))
      return base.superseded ? Effect.fail(new SessionConflict({ reason: "superseded" })) : Effect.succeed(base)
    })
  }
}

interface Turns {
  readonly semaphore: Effect.Semaphore
  users: number
  /** Whoever waits for a store that is down need not find out by itself. */
  failure: SessionUnavailable | undefined
}

/** The requests of this process that write one session do so one after the other, or each would have the others repeat. */
const makeExclusive = () => {
  const all = new Map<string, Turns>()
  return <A>(
    id: string,
    effect: (waited: boolean) => Effect.Effect<A, WriteError>
  ): Effect.Effect<A, WriteError> =>
    Effect.suspend(() => {
      const turns: Turns = all.get(id) ?? { semaphore: Effect.unsafeMakeSemaphore(1), users: 0, failure: undefined }
      all.set(id, turns)
      const waited = turns.users++ > 0
      const run = turns.semaphore.withPermits(1)(
        Effect.suspend(() => turns.failure === undefined ? effect(waited) : Effect.fail(turns.failure))
      )
      const told = Effect.tapError(run, (error) =>
        Effect.sync(() => {
          if (error._tag === "SessionUnavailable") turns.failure = error
        }))
      const limited = !waited ? told : Effect.timeoutFail(call(told), {
        duration: longestTurn,
        onTimeout: () =>
          new SessionUnavailable({ operation: "save", cause: new Error("Too many requests write it at once") })
      })
      return Effect.ensuring(
        limited,
        Effect.sync(() => {
          if (--turns.users === 0) all.delete(id)
        })
      )
    })
}
const longestTurn = Duration.seconds(5)

// ---------------------------------------------------------------------------------------------------------------------
// of a principal
// ---------------------------------------------------------------------------------------------------------------------

const day = 86_400_000
/** No browser keeps a cookie for longer (RFC 6265bis section 5.6.2), so no session lives longer, nor has an epoch to. */
const longest = 400 * day

const withStore = <A>(
  f: (store: SessionStore["Type"], now: number) => Effect.Effect<A, SessionUnavailable>
): Effect.Effect<A, SessionUnavailable, SessionStore> =>
  Effect.flatMap(SessionStore, (store) => Effect.flatMap(Clock.currentTimeMillis, (now) => call(f(store, now))))

/** The epoch first: a session that is made in between is of the old one. */
const revoke = (owner: string, except?: string) =>
  withStore((store, now) =>
    Effect.flatMap(
      store.advanceEpoch(owner, { now, expiresAt: now + longest }),
      (epoch) => Effect.map(store.destroyAll(owner, { now, except }), (count) => ({ count, epoch }))
    )
  )

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
    const millis = Duration.toMillis(input)
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
