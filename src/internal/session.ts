/** The session of one request, in a cookie or in a store. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as Fiber from "effect/Fiber"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import type * as Schema from "effect/Schema"
import * as Crypto from "node:crypto"
import type * as Keyring from "../Keyring.js"
import type * as Middleware from "../Middleware.js"
import type { ResponseDraft } from "../ResponseDraft.js"
import type { Flash, Service, Versions } from "../Session.js"
import type { Outcome, Touch } from "../SessionStore.js"
import { SessionStore, SessionUnavailable } from "../SessionStore.js"
import type { CookieVariant } from "./cookie.js"
import { cookieLimit, mostChunks, readChunks, readCookie, splitChunks } from "./cookie.js"
import { lift } from "./lift.js"
import { makePersonal } from "./personal.js"
import { SessionConflict, SessionSent, SessionTooLarge, type WriteError } from "./sessionErrors.js"
import type { Content, Lifetimes, Portable } from "./sessionPayload.js"
import { expiryOf, parse, parsePortable, print, printPortable } from "./sessionPayload.js"
import { isOpened } from "./upgrade.js"

// ---------------------------------------------------------------------------------------------------------------------
// what is kept, as text
// ---------------------------------------------------------------------------------------------------------------------

interface State<A> {
  readonly value: A
  readonly flashes: ReadonlyArray<Flash>
  readonly secret: string | undefined
}

export interface Codec<A> {
  readonly initial: () => A
  /** `undefined` for what the schema does not decode, of this version or of one before it. */
  readonly decode: (content: Content) => State<A> | undefined
  readonly read: (payload: string) => (State<A> & { readonly epoch: number }) | undefined
  /** Throws on what is no value of the schema. */
  readonly encode: (state: State<A>, epoch: number) => Content
}

export const codecOf = <A, I>(
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
    const { flashes, secret } = content
    if (content.version > version || (content.version < version && migrate === undefined)) return undefined
    try {
      const data = content.version === version ? content.data : migrate?.(content.data, content.version)
      const decoded = toValue(data)
      return Either.isRight(decoded) ? { value: decoded.right, flashes, secret } : undefined
    } catch {
      // a migration that has not thought of it
      return undefined
    }
  }
  const encode: Codec<A>["encode"] = ({ flashes, secret, value }, epoch) => ({
    version,
    data: fromValue(value),
    flashes,
    secret,
    epoch
  })
  const first = initial ?? (() => Either.getOrThrow(toValue({})))
  const kept = parse(print(encode({ value: first(), flashes: [], secret: undefined }, 0)))
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

export const ownerOf = (id: string, principal: string): string => `${id}:${principal}`
const principalOf = (id: string, owner: string | undefined): string | undefined => owner?.slice(id.length + 1)

/** Of the tag's own: an identifier is good for no other. */
const hashOf = (id: string, identifier: string): string =>
  Crypto.createHash("sha256").update(`${id}\0${identifier}`).digest("base64url")

export const isIdentifier = (text: string | undefined): text is string => text !== undefined && /^[\w-]{43}$/.test(text)

// ---------------------------------------------------------------------------------------------------------------------
// the session of a request
// ---------------------------------------------------------------------------------------------------------------------

/** A middleware's options, compiled. */
export interface Spec<A> {
  readonly id: string
  readonly codec: Codec<A>
  /** In milliseconds, as all times are. */
  readonly lifetimes: Lifetimes
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
  /** Of its absolute lifetime. */
  readonly endsAt: number
  readonly principal: string | undefined
  readonly epoch: number
  readonly state: State<A>
}

/** `undefined` where it depends on the state that it was made for. */
type Operation<A> = (state: State<A>) => State<A> | undefined

interface Rotation {
  readonly bound: { readonly principal: string | undefined; readonly epoch: number } | undefined
}

interface Loaded<A> {
  readonly base: Base<A>
  readonly state: State<A>
}

/** Of messages that nobody reads only the last are kept. */
const mostFlashes = 32

export abstract class Handle<A> implements Service<A> {
  protected base: Base<A> | undefined
  protected state: State<A> | undefined
  /** What has led to the state, to be applied again to what another request has left. */
  protected operations: Array<Operation<A>> = []
  /** Whose it becomes, where that is said. */
  protected rotation: Rotation | undefined
  protected touching = false
  /** It has been destroyed: its cookie has to go. */
  protected cleared = false
  /** The store could not say what it is: what is written is dropped. */
  protected adrift: SessionUnavailable | undefined
  private accessed = false
  private sent = false
  private turns: Effect.Semaphore | undefined
  private encoded: { readonly state: State<A>; readonly content: Content } | undefined

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
    return Effect.suspend(() => {
      const loaded = this.loadNow()
      return Effect.isEffect(loaded)
        ? Effect.map(loaded, ({ state }) => state.value)
        : Effect.succeed(loaded.state.value)
    })
  }
  // getters, so that what is taken off the session works alone: `const { update } = yield* Cart`
  get set() {
    return (value: A) =>
      Effect.suspend(() => {
        let applied = false
        return this.write((state) => {
          if (applied) return undefined
          applied = true
          return { ...state, value }
        })
      })
  }
  get update() {
    return (f: (value: A) => A) => this.write((state) => ({ ...state, value: f(state.value) }))
  }
  get modify() {
    return <B>(f: (value: A) => readonly [result: B, value: A]): Effect.Effect<B, WriteError> =>
      Effect.suspend(() => {
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
  get rotate() {
    return (
      { principal }: { readonly principal?: string | null | undefined } = {}
    ): Effect.Effect<void, WriteError> => {
      if (principal === "") {
        return Effect.die(new TypeError("Session: rotate has an empty principal: write null for nobody"))
      }
      return Effect.flatMap(this.writable, ({ base }) => {
        if (principal === undefined) return this.turn(base, this.rotation?.bound)
        if (principal === null) return this.turn(base, { principal: undefined, epoch: 0 })
        return Effect.flatMap(this.epochOf(principal), (epoch) => this.turn(base, { principal, epoch }))
      })
    }
  }
  get destroy() {
    return Effect.suspend((): Effect.Effect<void, SessionSent | SessionUnavailable> => {
      this.access()
      if (this.isSent) return Effect.fail(new SessionSent())
      return this.alone(() =>
        Effect.map(this.end(), () => {
          this.cleared = true
          this.start(this.fresh)
        })
      )
    })
  }
  get touch() {
    return Effect.flatMap(this.load, ({ base }) => {
      if (this.isSent) return Effect.fail(new SessionSent())
      this.touching = base.id !== undefined && !base.superseded
      return Effect.void
    })
  }
  get id() {
    return Effect.map(this.load, ({ base }) => Option.fromNullable(base.id))
  }
  get principal() {
    return Effect.map(this.load, ({ base }) => Option.fromNullable(this.whose(base).principal))
  }
  get createdAt() {
    return Effect.map(
      this.load,
      ({ base }) => base.id === undefined ? Option.none() : Option.some(DateTime.unsafeMake(this.whose(base).createdAt))
    )
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
  get flash() {
    return (text: string, kind = "info") =>
      this.write((state) => ({ ...state, flashes: [...state.flashes, { kind, text }].slice(-mostFlashes) }))
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
      // whose it is the store could not say
      if (this.adrift !== undefined) return Effect.fail(this.adrift)
      const { principal } = this.whose(base)
      if (principal === undefined) return Effect.succeed(0)
      return Effect.flatMap(
        revoke(ownerOf(this.spec.id, principal), base.id),
        ({ count, epoch }) => Effect.as(this.spec.epochs ? this.turn(base, { principal, epoch }) : Effect.void, count)
      )
    })
  }

  /** Of this session, until it is rotated, and of no other. */
  get secret(): Effect.Effect<string | undefined, SessionUnavailable> {
    return Effect.map(this.load, ({ state }) => state.secret)
  }
  /** The same; one that it does not have yet is made, and kept with it. */
  get ownSecret(): Effect.Effect<string, WriteError> {
    return Effect.flatMap(this.secret, (known) => {
      if (known !== undefined) return Effect.succeed(known)
      const made = this.makeIdentifier()
      const written = this.write((state) => ({ ...state, secret: state.secret ?? made }))
      return Effect.map(written, () => this.state?.secret ?? made)
    })
  }

  /** Whether there is a cookie of its, good or bad. */
  get isPresented(): boolean {
    return readCookie(this.header, this.cookie.name) !== undefined
  }

  /** A cache further in has to know at once: what the response says of it, it says further out. */
  private access() {
    this.accessed = true
    makePersonal(this.exchange.request)
  }

  /** On the way out, once. */
  respond(draft: ResponseDraft): void | Effect.Effect<void> {
    this.sent = true
    if (!this.accessed) return
    draft.vary("Cookie")
    const { status } = draft
    // a client that has left has its handler interrupted somewhere in between
    if (status === 499 || (status >= 500 && !this.spec.saveOnError)) this.forget()
    return this.commit(draft)
  }

  protected get now() {
    return this.exchange.clock.unsafeCurrentTimeMillis()
  }
  protected get header() {
    return this.exchange.request.headers["cookie"]
  }
  protected get isUpgraded() {
    return isOpened(this.exchange.request)
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
      endsAt: now,
      principal: undefined,
      epoch: 0,
      state: { value: this.spec.codec.initial(), flashes: [], secret: undefined }
    }
  }
  protected makeIdentifier() {
    return Buffer.from(this.exchange.entropy.bytes(32)).toString("base64url")
  }

  /** What there is, and what it holds by now: found once, however many ask. */
  protected get load(): Effect.Effect<Loaded<A>, SessionUnavailable> {
    return Effect.suspend(() => lift(this.loadNow()))
  }
  private loadNow(): Loaded<A> | Effect.Effect<Loaded<A>, SessionUnavailable> {
    this.access()
    const { loaded } = this
    if (loaded !== undefined) return loaded
    const found = this.find()
    if (!Effect.isEffect(found)) return this.start(found)
    return this.alone(() => {
      const { loaded } = this
      return loaded === undefined
        ? Effect.map(this.settled(found), (base) => this.start(base))
        : Effect.succeed(loaded)
    })
  }
  /** Fibers of the request ask the store one after the other, and each goes by what the one before has left. */
  protected alone<B, E>(effect: () => Effect.Effect<B, E>): Effect.Effect<B, E> {
    this.turns ??= Effect.unsafeMakeSemaphore(1)
    return this.turns.withPermits(1)(Effect.suspend(effect))
  }
  private get loaded(): Loaded<A> | undefined {
    const { base, state } = this
    return base === undefined || state === undefined ? undefined : { base, state }
  }
  private settled(found: Effect.Effect<Base<A>, SessionUnavailable>) {
    return !this.spec.allows ? found : Effect.catchAll(found, (error) =>
      Effect.sync(() => {
        this.log("Warning", "The store of a session is down; the request has a new one, which is not kept", error)
        this.adrift = error
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
    return Effect.flatMap(this.writable, (loaded) => {
      // another fiber may have written since
      const { base, state } = this.loaded ?? loaded
      this.state = operation(state)
      this.operations.push(operation)
      const tooLarge = this.check(base)
      if (tooLarge === undefined) return Effect.void
      this.operations.pop()
      this.state = state
      return Effect.fail(tooLarge)
    })
  }
  private turn(base: Base<A>, bound: Rotation["bound"]) {
    const { operations, rotation, state = base.state } = this
    this.rotation = { bound }
    // who has known the identifier knows what was made under it
    this.operations = [...operations, withoutSecret]
    this.state = withoutSecret(state)
    const tooLarge = this.check(base)
    if (tooLarge === undefined) return Effect.void
    this.rotation = rotation
    this.operations = operations
    this.state = state
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
    return print(this.encode(state, base.epoch)) !== (base.payload ?? print(spec.codec.encode(base.state, base.epoch)))
  }
  /** Once for one state: it is looked at as it is written, as the response leaves, and as it is kept. */
  protected encode(state: State<A>, epoch: number): Content {
    const { encoded } = this
    if (encoded?.state === state && encoded.content.epoch === epoch) return encoded.content
    const content = this.spec.codec.encode(state, epoch)
    this.encoded = { state, content }
    return content
  }
  private epochOf(principal: string): Effect.Effect<number, SessionUnavailable> {
    const { now, spec, store } = this
    if (!spec.epochs || store === undefined || this.adrift !== undefined) return Effect.succeed(0)
    return call(store.epoch(ownerOf(spec.id, principal), now))
  }
  /** One of an epoch that is over is nothing good. */
  protected inEpoch(base: Base<A>): Base<A> | Effect.Effect<Base<A>, SessionUnavailable> {
    if (!this.spec.epochs || base.principal === undefined) return base
    return Effect.map(this.epochOf(base.principal), (epoch) => epoch === base.epoch ? base : this.fresh)
  }

  protected log(level: "Info" | "Warning" | "Error", message: string, error?: WriteError) {
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

const withoutSecret = <A>(state: State<A>): State<A> =>
  state.secret === undefined ? state : { ...state, secret: undefined }

export const isHandle = (session: unknown): session is Handle<unknown> => session instanceof Handle

/** Platform's servers interrupt nothing, and then a store's own limit of time would not either. */
const call = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> => Effect.interruptible(effect)

/** What is being written is not left half done by a client that leaves. */
const whole = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.flatMap(Effect.forkDaemon(call(effect)), Fiber.join)

// --- in a cookie -----------------------------------------------------------------------------------------------------

export interface Seal {
  readonly write: (text: string) => string
  readonly read: (text: string) => Keyring.Opened | undefined
}

/** What a cookie held. A handler that only reads it needs neither its hash nor its text. */
class Found<A> implements Base<A> {
  readonly version = 0
  readonly superseded = false
  readonly identifier: string
  readonly createdAt: number
  readonly touchedAt: number
  readonly endsAt: number
  readonly principal: string | undefined
  readonly epoch: number

  constructor(
    private readonly spec: Spec<A>,
    private readonly found: Portable,
    readonly state: State<A>,
    readonly expiresAt: number
  ) {
    this.identifier = found.id
    this.createdAt = found.createdAt
    this.touchedAt = found.touchedAt
    this.endsAt = found.createdAt + spec.lifetimes.absolute
    this.principal = found.principal
    this.epoch = found.epoch
  }
  get id() {
    return hashOf(this.spec.id, this.identifier)
  }
  get payload() {
    return print(this.found)
  }
}

export class CookieHandle<A> extends Handle<A> {
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
    return this.inEpoch(new Found(spec, found, state, expiresAt))
  }

  protected end() {
    return Effect.void
  }

  protected check(base: Base<A>): SessionTooLarge | undefined {
    const { cookie, spec } = this
    const text = this.portable(base)
    const bytes = Buffer.byteLength(text)
    const limit = spec.chunked ? cookieLimit * mostChunks : cookieLimit
    // what is too large by itself is not sealed: a keyring has a limit of its own
    const sealed = bytes <= limit ? this.seal.write(text) : undefined
    const fits = sealed !== undefined &&
      (spec.chunked ? splitChunks(cookie, sealed, undefined) !== undefined : cookie.size(sealed) <= limit)
    this.text = fits ? sealed : undefined
    if (fits) return undefined
    const length = sealed?.length ?? Math.ceil(bytes * 4 / 3)
    // each of several cookies has its name and attributes
    const overhead = cookie.size(spec.chunked ? ".0" : "")
    const count = spec.chunked ? Math.ceil(length / (cookieLimit - overhead)) : 1
    return new SessionTooLarge({ size: length + count * overhead, limit })
  }

  private portable(base: Base<A>): string {
    const { rotation, state = base.state } = this
    const { createdAt, epoch, principal } = this.whose(base)
    const kept = rotation === undefined ? base.identifier : undefined
    const id = kept ?? (this.identifier ??= this.makeIdentifier())
    return printPortable({ id, createdAt, touchedAt: this.now, principal, ...this.encode(state, epoch) })
  }

  /** It goes with the response. */
  readonly save = Effect.void

  protected commit(draft: ResponseDraft) {
    const { base, now, spec } = this
    const changed = base !== undefined && this.isChanged(base)
    if (changed && (this.adrift !== undefined || this.isUpgraded)) {
      return this.log("Error", "What was written to a session is lost: no response can carry it", this.adrift)
    }
    const wears = base?.identifier !== undefined && (this.touching || this.stale || base.touchedAt + spec.every <= now)
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

/** Each is lost to a write of another process: two that write in step can have the same one lose until the other is done. */
const mostAttempts = 256

export class StoredHandle<A> extends Handle<A> {
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
    const { now, spec } = this
    const identifier = readCookie(this.header, this.cookie.name)
    if (!isIdentifier(identifier)) return this.fresh
    const found = Effect.flatMap(
      this.read(identifier, now, { every: spec.every, idle: spec.lifetimes.idle }),
      (base) => lift(base === undefined ? this.fresh : this.inEpoch(base))
    )
    return Effect.map(found, (base) => {
      this.prolong(base, now)
      return base
    })
  }

  /** Of one whose use has been noted just now the browser keeps the cookie for longer, too. */
  private prolong(base: Base<A> | undefined, now: number) {
    if (base?.id === undefined || base.superseded || this.spec.maxAge === undefined) return
    // one that has been made just now has had its cookie
    if (base.touchedAt === now && base.createdAt !== now) this.identifier = base.identifier
  }

  private read(identifier: string, now: number, touch?: Touch): Effect.Effect<Base<A> | undefined, SessionUnavailable> {
    const { spec, store } = this
    const id = hashOf(spec.id, identifier)
    return Effect.map(call(store.load(id, { now, touch })), (entry) => {
      if (entry === undefined || expiryOf(spec.lifetimes, entry) <= now) return undefined
      const state = spec.codec.read(entry.payload)
      if (state === undefined) return this.undecodable()
      return { ...entry, id, identifier, principal: principalOf(spec.id, entry.owner), epoch: state.epoch, state }
    })
  }

  protected check(): undefined {
    return undefined
  }

  protected end() {
    const identifier = this.base?.identifier ?? readCookie(this.header, this.cookie.name)
    this.identifier = undefined
    return isIdentifier(identifier)
      ? whole(this.store.destroy(hashOf(this.spec.id, identifier), this.now))
      : Effect.void
  }

  get save(): Effect.Effect<void, WriteError> {
    return Effect.suspend(() => {
      if (this.isSent) return Effect.fail(new SessionSent())
      return this.written
    })
  }

  private get written(): Effect.Effect<void, WriteError> {
    return this.alone(() =>
      this.base !== undefined && this.isPending(this.base) ? whole(this.persist(this.base)) : Effect.void
    )
  }

  protected commit(draft: ResponseDraft) {
    const { base, isUpgraded } = this
    if (base === undefined || !this.isPending(base)) return this.send(draft)
    if (isUpgraded && (base.id === undefined || this.rotation !== undefined)) {
      return this.log("Error", "What was written to a session is lost: no response can carry its cookie")
    }
    return Effect.match(this.written, {
      onSuccess: () => this.send(draft),
      onFailure: (error) => {
        if (isUpgraded || (error._tag === "SessionUnavailable" && this.spec.allows)) {
          this.log("Error", "What was written to a session is lost", error)
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
    return this.touching || this.isChanged(base)
  }

  private persist(base: Base<A>): Effect.Effect<void, WriteError> {
    if (this.adrift !== undefined) {
      this.log("Error", "What was written to a session is lost: its store is down", this.adrift)
      return Effect.sync(() => this.forget())
    }
    if (base.id === undefined) return this.attempt(base, mostAttempts)
    return this.spec.exclusively(
      base.id,
      (waited) => waited ? this.again(base, mostAttempts) : this.attempt(base, mostAttempts)
    )
  }

  private attempt(base: Base<A>, attempts: number): Effect.Effect<void, WriteError> {
    const { now, operations: { length: count }, rotation, spec, state = base.state, store, touching } = this
    const { id, version } = base
    const { createdAt, epoch, principal } = this.whose(base)
    const payload = print(this.encode(state, epoch))
    const settle =
      (changes: Partial<Base<A>>, send?: string) => (outcome: Outcome): Effect.Effect<void, WriteError> => {
        if (outcome === "conflict" && attempts > 0) return this.again(base, attempts - 1)
        if (outcome !== "saved") return this.yield(outcome === "missing" ? "ended" : "changed", this.fresh)
        this.identifier = send ?? this.identifier
        this.saved({ ...base, payload, state, principal, epoch, createdAt, ...changes }, count, rotation)
        return Effect.void
      }
    if (id === undefined || rotation !== undefined) {
      const identifier = this.makeIdentifier()
      const to = hashOf(spec.id, identifier)
      const owner = principal === undefined ? undefined : ownerOf(spec.id, principal)
      const expiresAt = expiryOf(spec.lifetimes, { createdAt, touchedAt: now })
      const endsAt = createdAt + spec.lifetimes.absolute
      const entry = { payload, owner, createdAt, touchedAt: now, expiresAt, endsAt }
      const made: Effect.Effect<Outcome, SessionUnavailable> = id === undefined
        ? Effect.map(store.create(to, entry, now), (created) => created ? "saved" : "missing")
        : store.rotate({ id, version }, { id: to, entry }, { now, until: now + spec.grace })
      return Effect.flatMap(
        made,
        settle({ id: to, identifier, version: 1, touchedAt: now, expiresAt, endsAt }, identifier)
      )
    }
    const { idle } = spec.lifetimes
    if (payload === base.payload) {
      if (!touching) return Effect.sync(() => this.saved(base, count, rotation))
      // touched alone: of one that has ended in the meantime nothing is lost
      return Effect.map(this.read(base.identifier ?? "", now, { every: 0, idle }), (found) => {
        this.prolong(found, now)
        const { expiresAt, touchedAt } = found ?? base
        this.saved({ ...base, touchedAt, expiresAt }, count, rotation)
      })
    }
    // due only by now, another request may have noted it already, and that does not go back
    const used = touching || base.touchedAt + spec.every <= now
    const touchedAt = used ? now : base.touchedAt
    const expiresAt = used ? Math.min(now + idle, base.endsAt) : base.expiresAt
    return Effect.flatMap(
      store.save(id, version, { payload, touchedAt, expiresAt }, now),
      settle(
        { version: version + 1, touchedAt, expiresAt },
        used && spec.maxAge !== undefined ? base.identifier : undefined
      )
    )
  }

  /** Applies what has led here to what is there by now, if that is another. */
  private again(before: Base<A>, attempts: number): Effect.Effect<void, WriteError> {
    return Effect.flatMap(this.read(before.identifier ?? "", this.now), (base) => {
      if (base?.id === undefined) return this.yield("ended", this.fresh)
      if (base.superseded) return this.yield("superseded", base)
      if (base.version === before.version) return this.attempt(before, attempts)
      const state = this.operations.reduce<State<A> | undefined>(
        (state, operation) => state === undefined ? undefined : operation(state),
        base.state
      )
      if (state === undefined) return this.yield("changed", base)
      this.base = base
      this.state = state
      return this.attempt(base, attempts)
    })
  }

  /** Gives way to what is there. */
  private yield(reason: SessionConflict["reason"], base: Base<A>): Effect.Effect<never, SessionConflict> {
    this.start(base)
    return Effect.fail(new SessionConflict({ reason }))
  }

  /** What another fiber of the request has written in the meantime is still to be saved. */
  private saved(base: Base<A>, count: number, rotation: Rotation | undefined) {
    const later = this.operations.slice(count)
    const turned = this.rotation === rotation ? undefined : this.rotation
    const { state } = this
    this.start(base)
    this.operations = later
    this.rotation = turned
    if (later.length > 0) this.state = state
  }
}

interface Turns {
  readonly semaphore: Effect.Semaphore
  users: number
  /** Whoever waits for a store that is down need not find out by itself. */
  failure: SessionUnavailable | undefined
}

/** The requests of this process that write one session do so one after the other, or each would have the others repeat. */
export const makeExclusive = () => {
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

export const day = 86_400_000
/** No browser keeps a cookie for longer (RFC 6265bis section 5.6.2), so no session lives longer, nor has an epoch to. */
export const longest = 400 * day

export const withStore = <A>(
  f: (store: SessionStore["Type"], now: number) => Effect.Effect<A, SessionUnavailable>
): Effect.Effect<A, SessionUnavailable, SessionStore> =>
  Effect.flatMap(SessionStore, (store) => Effect.flatMap(Clock.currentTimeMillis, (now) => call(f(store, now))))

/** The epoch first: a session that is made in between is of the old one. */
export const revoke = (owner: string, except?: string) =>
  withStore((store, now) =>
    Effect.flatMap(
      store.advanceEpoch(owner, { now, expiresAt: now + longest }),
      (epoch) => Effect.map(store.destroyAll(owner, { now, except }), (count) => ({ count, epoch }))
    )
  )
