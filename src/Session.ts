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
import type * as Cookies from "@effect/platform/Cookies"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as Crypto from "node:crypto"
import type { CookieOptions, CookieVariant } from "./internal/cookie.js"
import { cookiePolicy, readChunks, splitChunks } from "./internal/cookie.js"
import { fromPhases } from "./internal/kernel.js"
import { isUpgraded } from "./internal/nodeResponse.js"
import type { Content, Flash as FlashMessage, Portable } from "./internal/sessionPayload.js"
import { expiryOf, parse, parsePortable, print, printPortable } from "./internal/sessionPayload.js"
import * as Keyring from "./Keyring.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"
import type { ResponseDraft } from "./ResponseDraft.js"
import type { SessionUnavailable, Stored } from "./SessionStore.js"
import { SessionStore } from "./SessionStore.js"

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
export const Tag =
  <const Id extends string>(id: Id) =>
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
              value: Option.map(Option.fromNullable(codec.read(entry.payload)), ({ value }) =>
                value),
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
      revokeAll: (principal: string) => revokeAll(ownerOf(id, principal)),
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
  /** `undefined` for what cannot be decoded, of no version. */
  readonly decode: (content: Content) => State<A> | undefined
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
  const decode = ParseResult.decodeUnknownEither(schema)
  const encode = ParseResult.encodeSync(schema)
  const read = (value: unknown): A | undefined => Either.getOrUndefined(decode(value))
  const codec: Codec<A> = {
    initial: initial ?? (() => Either.getOrThrow(decode({}))),
    decode: (content) => {
      const { data, flashes } = content
      const value = content.version === version
        ? read(data)
        : content.version < version && migrate !== undefined
        ? read(migrate(data, content.version))
        : undefined
      return value === undefined ? undefined : { value, flashes }
    },
    encode: ({ flashes, value }, epoch) => ({ version, data: encode(value), flashes, epoch })
  }
  // what cannot be kept is found where the tag is made
  const first = codec.encode({ value: codec.initial(), flashes: [] }, 0)
  const again = parse(print(first))
  if (again === undefined || codec.decode(again) === undefined) {
    throw new TypeError(`Session: what a new ${id} holds does not come back from JSON: give the schema an encoded form that does`)
  }
  return codec
}

const ownerOf = (id: string, principal: string): string => `${id}:${principal}`

/** Bound to its tag: an identifier is good for no other. */
const hashOf = (id: string, identifier: string): string =>
  Crypto.createHash("sha256").update(`${id}\0${identifier}`).digest("base64url")

const isIdentifier = (text: string): boolean => /^[\w-]{43}$/.test(text)

// ---------------------------------------------------------------------------------------------------------------------
// the session of a request
// ---------------------------------------------------------------------------------------------------------------------

/** A middleware's options, compiled. */
interface Spec<A> {
  readonly id: string
  readonly codec: Codec<A>
  readonly lifetimes: { readonly idle: number; readonly absolute: number }
  readonly every: number
  /** `undefined`: until the browser is closed. */
  readonly maxAge: number | undefined
  readonly grace: number
  readonly saveOnError: boolean
  readonly epochs: boolean
  readonly allows: boolean
  readonly chunked: boolean
  readonly exclusively: Exclusively
}

/** What the request came with. */
interface Base<A> {
  /** `undefined` for a new one. */
  readonly id: string | undefined
  /** As it was found; of a new one it is made when it is asked for. */
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

/** `undefined` where it cannot be applied to another state than the one it was made for. */
type Operation<A> = (state: State<A>) => State<A> | undefined

/** Whose it becomes. */
interface Rotation {
  readonly bound: { readonly principal: string | undefined; readonly epoch: number } | undefined
}

/** The last of them: who reads none has them pile up otherwise. */
const mostFlashes = 32

abstract class Handle<A> implements Service<A> {
  protected base: Base<A> | undefined
  protected state: State<A> | undefined
  protected operations: Array<Operation<A>> = []
  protected rotation: Rotation | undefined
  protected accessed = false
  protected touching = false
  /** It has been destroyed, so its cookie has to go. */
  protected cleared = false
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
  protected abstract end(): Effect.Effect<void, SessionUnavailable>
  protected abstract commit(draft: ResponseDraft): void | Effect.Effect<void>
  abstract readonly save: Effect.Effect<void, WriteError>

  protected get now() {
    return this.exchange.clock.unsafeCurrentTimeMillis()
  }
  protected get header() {
    return this.exchange.request.headers["cookie"]
  }

  get get() {
    return Effect.map(this.load, ({ state }) => state.value)
  }
  set(value: A) {
    return this.write(once((state) => ({ ...state, value })))
  }
  update(f: (value: A) => A) {
    return this.write((state) => ({ ...state, value: f(state.value) }))
  }
  modify<B>(f: (value: A) => readonly [result: B, value: A]): Effect.Effect<B, WriteError> {
    return Effect.suspend(() => {
      let told: Option.Option<B> = Option.none()
      const operation: Operation<A> = (state) => {
        const [result, value] = f(state.value)
        if (Option.isSome(told) && !Equal.equals(told.value, result)) return undefined
        told = Option.some(result)
        return { ...state, value }
      }
      return Effect.map(this.write(operation), () => Option.getOrThrow(told))
    })
  }
  flash(text: string, kind = "info") {
    return this.write(({ flashes, value }) => ({ value, flashes: [...flashes, { kind, text }].slice(-mostFlashes) }))
  }
  get flashes() {
    return Effect.flatMap(this.load, ({ state: { flashes } }): Effect.Effect<ReadonlyArray<Flash>, WriteError> => {
      if (flashes.length === 0) return Effect.succeed(flashes)
      const isTaken = (flash: Flash) => flashes.some(({ kind, text }) => kind === flash.kind && text === flash.text)
      return Effect.as(
        this.write((state) => ({ ...state, flashes: state.flashes.filter((flash) => !isTaken(flash)) })),
        flashes
      )
    })
  }
  rotate({ principal }: { readonly principal?: string | null | undefined } = {}): Effect.Effect<void, WriteError> {
    if (principal === "") return Effect.die(new TypeError("Session: rotate has an empty principal: write null for nobody"))
    return Effect.flatMap(this.writable, (base) => {
      if (principal === undefined) {
        if (base.id !== undefined) this.rotation ??= { bound: undefined }
        return this.checked(base)
      }
      if (principal === null) return this.bind(base, undefined, 0)
      return Effect.flatMap(this.epochOf(principal), (epoch) => this.bind(base, principal, epoch))
    })
  }
  get destroy() {
    return Effect.suspend(() => {
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
    return Effect.map(this.load, ({ base }) =>
      base.id === undefined ? Option.none() : Option.some(DateTime.unsafeMake(base.expiresAt)))
  }
  get isNew() {
    return Effect.map(this.load, ({ base }) => base.id === undefined)
  }
  get revokeOthers(): Effect.Effect<number, WriteError, SessionStore> {
    return Effect.flatMap(this.writable, (base) => {
      const { principal } = this.whose(base)
      if (principal === undefined) return Effect.succeed(0)
      return Effect.flatMap(revoke(ownerOf(this.spec.id, principal), base.id), ({ count, epoch }) =>
        Effect.as(this.spec.epochs ? this.bind(base, principal, epoch) : Effect.void, count))
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

  protected get isSent() {
    return this.sent || isUpgraded(this.exchange.request)
  }

  /** What is to be written is not. */
  private forget() {
    this.operations = []
    this.rotation = undefined
    this.touching = false
    if (this.base !== undefined) this.state = this.base.state
  }

  protected get fresh(): Base<A> {
    const { now } = this
    return {
      id: undefined,
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

  protected start(base: Base<A>) {
    this.base = base
    this.state = base.state
    this.operations = []
    this.rotation = undefined
    this.touching = false
    return { base, state: base.state }
  }

  /** What it came with and what it holds by now; found once, however many ask. */
  protected get load(): Effect.Effect<{ readonly base: Base<A>; readonly state: State<A> }, SessionUnavailable> {
    return Effect.suspend(() => {
      this.accessed = true
      if (this.base !== undefined && this.state !== undefined) {
        return Effect.succeed({ base: this.base, state: this.state })
      }
      this.loading ??= Effect.unsafeMakeSemaphore(1)
      return this.loading.withPermits(1)(Effect.suspend(() => {
        if (this.base !== undefined && this.state !== undefined) {
          return Effect.succeed({ base: this.base, state: this.state })
        }
        const found = this.find()
        return Effect.isEffect(found)
          ? Effect.map(found, (base) => this.start(base))
          : Effect.succeed(this.start(found))
      }))
    })
  }

  private get writable(): Effect.Effect<Base<A>, WriteError> {
    return Effect.flatMap(this.load, ({ base }): Effect.Effect<Base<A>, WriteError> => {
      if (this.isSent) return Effect.fail(new SessionSent())
      return base.superseded ? Effect.fail(new SessionConflict({ reason: "superseded" })) : Effect.succeed(base)
    })
  }

  protected write(operation: Operation<A>): Effect.Effect<void, WriteError> {
    return Effect.flatMap(this.writable, (base) => {
      const before = this.state
      this.state = operation(before ?? base.state)
      this.operations.push(operation)
      const tooLarge = this.check(base)
      if (tooLarge === undefined) return Effect.void
      this.operations.pop()
      this.state = before
      return Effect.fail(tooLarge)
    })
  }

  private bind(base: Base<A>, principal: string | undefined, epoch: number) {
    this.rotation = { bound: { principal, epoch } }
    return this.checked(base)
  }
  private checked(base: Base<A>) {
    const tooLarge = this.check(base)
    return tooLarge === undefined ? Effect.void : Effect.fail(tooLarge)
  }

  /** Whose it will be, and since when. */
  protected whose({ createdAt, epoch, principal }: Base<A>) {
    const bound = this.rotation?.bound
    return bound === undefined ? { principal, epoch, createdAt } : { ...bound, createdAt: this.now }
  }

  private epochOf(principal: string): Effect.Effect<number, SessionUnavailable> {
    return this.spec.epochs && this.store !== undefined
      ? call(this.store.epoch(ownerOf(this.spec.id, principal), this.now))
      : Effect.succeed(0)
  }

  /** What is of an epoch that is over is nothing. */
  protected inEpoch(base: Base<A>): Base<A> | Effect.Effect<Base<A>, SessionUnavailable> {
    return !this.spec.epochs || base.principal === undefined
      ? base
      : Effect.map(this.epochOf(base.principal), (epoch) => epoch === base.epoch ? base : this.fresh)
  }

  protected expiryOf(base: { readonly createdAt: number; readonly touchedAt: number }) {
    return expiryOf(this.spec.lifetimes, base)
  }

  protected undecodable() {
    this.exchange.log("Warning", "What a session holds cannot be decoded; it is a new one", { session: this.spec.id })
    return this.fresh
  }

  protected put(draft: ResponseDraft, value: string, expiresAt: number) {
    const { maxAge } = this.spec
    const seconds = maxAge === undefined ? undefined : Math.ceil(Math.min(maxAge, expiresAt - this.now) / 1000)
    const options = seconds === undefined
      ? this.cookie.options
      : { ...this.cookie.options, maxAge: Duration.seconds(seconds) }
    this.putAll(draft, value, options)
  }
  protected clear(draft: ResponseDraft) {
    this.putAll(draft, "", this.cookie.options)
  }
  private putAll(draft: ResponseDraft, value: string, options: Cookies.Cookie["options"]) {
    const { cookie, header, spec } = this
    const chunks = spec.chunked
      ? splitChunks(cookie, value, header)
      : value !== ""
      ? { set: [[cookie.name, value] as const], expire: [] }
      : { set: [], expire: readChunks(header, cookie.name) === undefined ? [] : [cookie.name] }
    for (const [name, value] of chunks?.set ?? []) {
      if (Object.hasOwn(draft.cookies.cookies, name)) {
        throw new TypeError(`Session: ${spec.id} and something else set the cookie ${name}: give one another cookie.name`)
      }
      draft.setCookie(name, value, options)
    }
    for (const name of chunks?.expire ?? []) draft.setCookie(name, "", cookie.expired)
    if (chunks !== undefined && chunks.set.length + chunks.expire.length > 0) draft.cacheControl("private")
  }
}

/** Applied a second time, it would overwrite what it has not seen. */
const once = <A>(operation: (state: State<A>) => State<A>): Operation<A> => {
  let applied = false
  return (state) => {
    if (applied) return undefined
    applied = true
    return operation(state)
  }
}

const isHandle = (session: unknown): session is Handle<unknown> => session instanceof Handle

/** Platform's server interrupts nothing, and then a store's limit of time would not either. */
const call = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> => Effect.interruptible(effect)

// --- in a cookie -----------------------------------------------------------------------------------------------------

interface Seal {
  readonly write: (text: string) => string
  readonly read: (text: string) => Keyring.Opened | undefined
}

class CookieHandle<A> extends Handle<A> {
  private stale = false
  private identifier: string | undefined
  /** Made when it was checked, as long as nothing was written since. */
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
    const { cookie, exchange, header, spec } = this
    const text = spec.chunked ? readChunks(header, cookie.name) : readCookie(header, cookie.name)
    if (text === undefined || text === "") return this.fresh
    const opened = this.seal.read(text)
    if (opened === undefined) {
      exchange.log("Info", "The cookie of a session is not from here; it is a new one", { session: spec.id })
      return this.fresh
    }
    const found = parsePortable(opened.value)
    if (found === undefined) return this.undecodable()
    const expiresAt = this.expiryOf(found)
    if (expiresAt <= this.now) return this.fresh
    const state = spec.codec.decode(found)
    if (state === undefined) return this.undecodable()
    const { createdAt, epoch, id, principal, touchedAt } = found
    this.identifier = id
    this.stale = opened.stale
    return this.inEpoch({
      id: hashOf(spec.id, id),
      payload: print(found),
      version: 0,
      superseded: false,
      createdAt,
      touchedAt,
      expiresAt,
      principal,
      epoch,
      state
    })
  }

  protected end() {
    this.identifier = this.text = undefined
    return Effect.void
  }

  protected check(base: Base<A>): SessionTooLarge | undefined {
    const { cookie, spec } = this
    const limit = spec.chunked ? cookieLimit * mostChunks : cookieLimit
    const payload = this.payload(base)
    this.text = payload.length > limit ? undefined : this.seal.write(payload)
    const size = cookie.size(this.text ?? payload)
    const fits = this.text !== undefined &&
      (spec.chunked ? splitChunks(cookie, this.text, undefined) !== undefined : size <= limit)
    return fits ? undefined : new SessionTooLarge({ size, limit })
  }

  private payload(base: Base<A>): string {
    const { createdAt, epoch, principal } = this.whose(base)
    const { now, rotation, spec, state = base.state } = this
    if (this.identifier === undefined || (rotation !== undefined && base.id === hashOf(spec.id, this.identifier))) {
      this.identifier = identifierOf(this.exchange)
    }
    const content: Portable = {
      ...spec.codec.encode(state, epoch),
      id: this.identifier,
      createdAt,
      touchedAt: now,
      principal
    }
    return printPortable(content)
  }

  /** It goes with the response. */
  get save() {
    return Effect.void
  }

  protected commit(draft: ResponseDraft) {
    const { base } = this
  }
}
