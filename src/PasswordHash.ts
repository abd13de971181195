/**
 * Passwords: hashed so that who reads the database cannot read them, and verified so that nobody learns who has an account.
 *
 * 1. A hash says how it was made (the PHC string format), so that one by older parameters can still be verified;
 *    `needsRehash` tells which should be made anew.
 * 2. Hashes are computed off the thread, a few at once. A few more wait, and what comes then fails at once with
 *    `PasswordHashUnavailable`: a flood of logins takes no more memory than that.
 * 3. A stored hash that asks for too much is refused before anything is computed, and so is what is no hash.
 * 4. A password of more than 1024 bytes is wrong, at the cost of any other. Spaces of other scripts count as U+0020 and
 *    the text is in NFC (RFC 8265 section 4.2), so that it is the same from every keyboard.
 * 5. A user who is not there costs what a wrong password costs: `verifier` computes for both.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { createHmac, createSecretKey, type KeyObject, scrypt, timingSafeEqual } from "node:crypto"
import { availableParallelism } from "node:os"
import type * as Authentication from "./Authentication.js"
import * as Entropy from "./Entropy.js"
import { type Cost, isExcessive, whole } from "./internal/passwordCost.js"
import * as ProblemDetails from "./ProblemDetails.js"

// ---------------------------------------------------------------------------------------------------------------------
// failures
// ---------------------------------------------------------------------------------------------------------------------

/**
 * No hash can be computed now: 503, with `Retry-After`.
 *
 * - `"busy"`: as many are computed and wait as may.
 * - `"failed"`: the algorithm has, for want of memory, say.
 *
 * @since 0.1.0
 * @category errors
 */
export class PasswordHashUnavailable
  extends Schema.TaggedError<PasswordHashUnavailable>("effect-middleware/PasswordHash/PasswordHashUnavailable")(
    "PasswordHashUnavailable",
    {
      reason: Schema.Literal("busy", "failed"),
      cause: Schema.optional(Schema.Defect)
    },
    HttpApiSchema.annotations({ status: 503 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return this.reason === "busy" ? "Too many passwords are being checked" : "A password hash could not be computed"
  }
  [HttpServerRespondable.symbol]() {
    return unavailable
  }
}
const unavailable = ProblemDetails.toResponse(
  { status: 503, detail: "Passwords cannot be checked at the moment" },
  { headers: { "retry-after": "5" } }
)

/**
 * A stored hash cannot be verified: 500, since no client has a part in it. It never has the hash.
 *
 * - `"unknown"`: it is none, or of another algorithm.
 * - `"excessive"`: it asks for more than 128 MiB, or than to go over 512 MiB, and for more than the layer's own parameters.
 *
 * @since 0.1.0
 * @category errors
 */
export class PasswordHashUnsupported
  extends Schema.TaggedError<PasswordHashUnsupported>("effect-middleware/PasswordHash/PasswordHashUnsupported")(
    "PasswordHashUnsupported",
    { reason: Schema.Literal("unknown", "excessive") },
    HttpApiSchema.annotations({ status: 500 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return this.reason === "unknown"
      ? "The stored password hash is none that is known here"
      : "The stored password hash asks for too much"
  }
  [HttpServerRespondable.symbol]() {
    return unsupported
  }
}
const unsupported = ProblemDetails.toResponse({ status: 500, detail: "The server has failed" })

/**
 * A password to be hashed has more than 1024 bytes in UTF-8: 400.
 *
 * @since 0.1.0
 * @category errors
 */
export class PasswordTooLong
  extends Schema.TaggedError<PasswordTooLong>("effect-middleware/PasswordHash/PasswordTooLong")(
    "PasswordTooLong",
    {},
    HttpApiSchema.annotations({ status: 400 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return `The password has more than ${longest} bytes`
  }
  [HttpServerRespondable.symbol]() {
    return tooLong
  }
}
const longest = 1024
const tooLong = ProblemDetails.toResponse({ status: 400, detail: "The password is too long" })

// ---------------------------------------------------------------------------------------------------------------------
// the service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** Hashes a password, with a salt of its own. */
  readonly hash: (password: Redacted.Redacted) => Effect.Effect<string, PasswordHashUnavailable | PasswordTooLong>
  /** Whether a hash is of this password. One that is wrong costs what a good one does. */
  readonly verify: (
    password: Redacted.Redacted,
    hash: string
  ) => Effect.Effect<boolean, PasswordHashUnavailable | PasswordHashUnsupported>
  /** Whether a hash is by another algorithm or other parameters than new ones are. */
  readonly needsRehash: (hash: string) => boolean
  /** A hash by the parameters of new ones that is of no password: what is verified for a user who is not there. */
  readonly decoy: string
}

/**
 * @since 0.1.0
 * @category services
 */
export class PasswordHash extends Context.Tag("effect-middleware/PasswordHash")<PasswordHash, Service>() {}

/**
 * How many hashes there may be at a time.
 *
 * @since 0.1.0
 * @category options
 */
export interface Limits {
  /**
   * How many are computed at once, each with the memory that it takes. Default: as many as there are processors, and 3 at
   * most, which leaves one of the four threads of Node's pool to files and DNS.
   */
  readonly concurrency?: number | undefined
  /** How many more may wait. Default: 64. */
  readonly maxQueued?: number | undefined
}

/**
 * A way to hash: what `make` takes. Passwords come prepared, in UTF-8, and a promise that rejects is a failure.
 *
 * @since 0.1.0
 * @category models
 */
export interface Algorithm {
  /** Gives a PHC string. The salt has 16 random bytes. */
  readonly hash: (password: Uint8Array, salt: Uint8Array) => Promise<string>
  /** Reads a hash, of any text, without computing anything. */
  readonly read: (hash: string) => Stored | PasswordHashUnsupported["reason"]
  /** See `Service`. */
  readonly decoy: string
}

/**
 * A hash that can be verified.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stored {
  /** By the parameters of new ones. */
  readonly isCurrent: boolean
  readonly verify: (password: Uint8Array) => Promise<boolean>
}

/**
 * A service by an algorithm of your own.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (algorithm: Algorithm, limits: Limits = {}): Service => {
  const compute = bounded(limits)
  return {
    decoy: algorithm.decoy,
    needsRehash: (hash) => {
      const stored = algorithm.read(hash)
      return typeof stored === "string" || !stored.isCurrent
    },
    hash: (password) =>
      Effect.gen(function*() {
        const salt = (yield* Entropy.Entropy).bytes(16)
        const bytes = prepare(password)
        if (bytes === undefined) return yield* new PasswordTooLong()
        return yield* compute(() => algorithm.hash(bytes, salt))
      }),
    verify: (password, hash) =>
      Effect.gen(function*() {
        const stored = algorithm.read(hash)
        if (typeof stored === "string") return yield* new PasswordHashUnsupported({ reason: stored })
        const bytes = prepare(password)
        const isSame = yield* compute(() => stored.verify(bytes ?? nothing))
        return isSame && bytes !== undefined
      })
  }
}
const nothing = new Uint8Array(0)

/** As the profile OpaqueString has it, which refuses some besides; `undefined` for one that is too long. */
const prepare = (password: Redacted.Redacted): Uint8Array | undefined => {
  const text = Redacted.value(password)
  // before it is normalized, which takes its time
  return Buffer.byteLength(text) > longest ? undefined : Buffer.from(text.replace(/\p{Zs}/gu, " ").normalize("NFC"))
}

const bounded = (limits: Limits) => {
  const option = (name: keyof Limits, value: number, min: number) => whole("PasswordHash", name, value, min, 1_000_000)
  const concurrency = option("concurrency", limits.concurrency ?? Math.min(availableParallelism(), 3), 1)
  const most = concurrency + option("maxQueued", limits.maxQueued ?? 64, 0)
  const semaphore = Effect.unsafeMakeSemaphore(concurrency)
  let admitted = 0
  const enter = Effect.suspend(() => {
    if (admitted >= most) return Effect.fail(new PasswordHashUnavailable({ reason: "busy" }))
    admitted++
    return Effect.void
  })
  const leave = () => Effect.sync(() => void admitted--)
  return <A>(compute: () => Promise<A>): Effect.Effect<A, PasswordHashUnavailable> => {
    // nothing stops it once it runs: were it interrupted, the next would begin beside it
    const computed = Effect.uninterruptible(Effect.tryPromise({
      try: compute,
      catch: (cause) => new PasswordHashUnavailable({ reason: "failed", cause })
    }))
    return Effect.acquireUseRelease(enter, () => semaphore.withPermits(1)(computed), leave)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The parameters of scrypt (RFC 7914): it takes `128 * N * r` bytes, and goes over them `p` times. The defaults are those
 * that OWASP asks for: 128 MiB.
 *
 * @since 0.1.0
 * @category options
 */
export interface ScryptOptions extends Limits {
  /** A power of two. Default: 2^17. */
  readonly N?: number | undefined
  /** Default: 8. */
  readonly r?: number | undefined
  /** Default: 1. */
  readonly p?: number | undefined
}

/**
 * Scrypt (RFC 7914), by `node:crypto`: `$scrypt$ln=17,r=8,p=1$<salt>$<hash>`. It needs no other package; where you can
 * install one, `PasswordHash/Argon2` does in less memory what is as good.
 *
 * @example
 * ```ts
 * import { PasswordHash } from "effect-middleware"
 * import { Effect, Redacted } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const passwords = yield* PasswordHash.PasswordHash
 *   const hash = yield* passwords.hash(Redacted.make("correct horse battery staple"))
 *   return yield* passwords.verify(Redacted.make("correct horse battery staple"), hash)
 * })
 *
 * export const verified = Effect.provide(program, PasswordHash.layerScrypt())
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerScrypt = (options: ScryptOptions = {}): Layer.Layer<PasswordHash> =>
  Layer.succeed(PasswordHash, make(scryptOf(options), options))

/**
 * Several: the first hashes, and each verifies what those before it do not support. Put the new one first and the old ones
 * after it, and what the old have made needs to be made anew.
 *
 * @example
 * ```ts
 * import { PasswordHash } from "effect-middleware"
 * import * as Argon2 from "effect-middleware/PasswordHash/Argon2"
 *
 * export const Passwords = PasswordHash.layerFirstOf(Argon2.layer(), PasswordHash.layerScrypt())
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFirstOf = <E = never, R = never>(
  ...layers: readonly [Layer.Layer<PasswordHash, E, R>, ...ReadonlyArray<Layer.Layer<PasswordHash, E, R>>]
): Layer.Layer<PasswordHash, E, R> =>
  Layer.scoped(
    PasswordHash,
    Effect.map(
      Effect.forEach(layers, (layer) => Effect.map(Layer.build(layer), Context.get(PasswordHash))),
      ([first, ...others]): Service => ({
        ...first,
        verify: (password, hash) =>
          others.reduce(
            (verified, other) =>
              Effect.catchTag(verified, "PasswordHashUnsupported", () => other.verify(password, hash)),
            first.verify(password, hash)
          )
      })
    )
  )

interface Scrypt {
  /** The logarithm of N to the base of two. */
  readonly ln: number
  readonly r: number
  readonly p: number
}

const scryptOf = (options: ScryptOptions): Algorithm => {
  const { N = 2 ** 17, p = 1, r = 8 } = options
  const ln = Math.log2(N)
  if (!Number.isInteger(ln) || ln < 1 || ln > 24) {
    throw new RangeError(`PasswordHash.layerScrypt: N is ${N}: write a power of two from 2 to 2 ** 24, such as 2 ** 17`)
  }
  whole("PasswordHash.layerScrypt", "r", r, 1, 64)
  whole("PasswordHash.layerScrypt", "p", p, 1, 64)
  const own: Scrypt = { ln, r, p }
  if (!isScrypt(own)) throw new RangeError(`PasswordHash.layerScrypt: N is 2 ** ${ln}, and r is ${r}: write r: 8`)
  const zeros = (length: number) => Buffer.alloc(length)
  return {
    decoy: formatScrypt(own, zeros(16), zeros(tagLength)),
    hash: async (password, salt) => formatScrypt(own, salt, await deriveScrypt(password, salt, tagLength, own)),
    read: (hash) => {
      const stored = parseScrypt(hash)
      if (stored === undefined) return "unknown"
      const { salt, tag, ...asked } = stored
      if (isExcessive(costOf(asked), costOf(own))) return "excessive"
      return {
        isCurrent: asked.ln === ln && asked.r === r && asked.p === p && tag.length === tagLength,
        verify: async (password) => timingSafeEqual(await deriveScrypt(password, salt, tag.length, asked), tag)
      }
    }
  }
}
const tagLength = 32

/** RFC 7914 section 2: N is less than 2^(128 * r / 8). */
const isScrypt = ({ ln, r }: Scrypt): boolean => ln < 16 * r

/** Of the table and of the blocks, the one that is more: the other can double it at most. */
const costOf = ({ ln, p, r }: Scrypt): Cost => ({ memory: 128 * r * Math.max(2 ** ln, p), passes: p })

const deriveScrypt = (password: Uint8Array, salt: Uint8Array, length: number, { ln, p, r }: Scrypt): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const N = 2 ** ln
    scrypt(password, salt, length, { N, r, p, maxmem: 128 * r * (N + p + 2) }, (error, derived) => {
      if (error === null) resolve(derived)
      else reject(error)
    })
  })

const formatScrypt = ({ ln, p, r }: Scrypt, salt: Uint8Array, tag: Uint8Array): string =>
  `$scrypt$ln=${ln},r=${r},p=${p}$${toB64(salt)}$${toB64(tag)}`

// a salt of up to 64 bytes, and a tag of 16 to 64
const scryptSyntax = /^\$scrypt\$ln=([1-9]\d?),r=([1-9]\d{0,8}),p=([1-9]\d{0,8})\$([\w+/]{0,86})\$([\w+/]{22,86})$/

const parseScrypt = (hash: string): Scrypt & { readonly salt: Buffer; readonly tag: Buffer } | undefined => {
  const [whole, ln, r, p, salt = "", tag = ""] = scryptSyntax.exec(hash) ?? []
  const parsed = { ln: Number(ln), r: Number(r), p: Number(p), salt: fromB64(salt), tag: fromB64(tag) }
  // written anew, since there are several spellings of the bits that mean nothing
  return isScrypt(parsed) && formatScrypt(parsed, parsed.salt, parsed.tag) === whole ? parsed : undefined
}

/** B64 of the PHC string format: base64 without padding. */
const toB64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64").replace(/=+$/, "")
const fromB64 = (text: string): Buffer => Buffer.from(text, "base64")

// ---------------------------------------------------------------------------------------------------------------------
// verifying users
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What is kept of a user.
 *
 * @since 0.1.0
 * @category models
 */
export interface Account<out User> {
  /** The hash of the password. Of a user without one, `find` gives none. */
  readonly hash: string
  readonly identity: Authentication.Identity<User>
}

/**
 * @since 0.1.0
 * @category options
 */
export interface VerifierOptions<out User, out E = never, out R = never> {
  /**
   * Looks a user up, by the name as it was sent: whether `Ada` is `ada` is decided here. Asked every time. That it takes as
   * long for a name that is not there is up to it: an index does.
   */
  readonly find: (username: string) => Effect.Effect<Option.Option<Account<User>>, E, R>
  /**
   * Stores a new hash, after a good password that `needsRehash`. Replace `previous` alone, in one statement
   * (`WHERE hash = previous`): the user may have changed the password in the meantime. A failure is logged, and the
   * password is good all the same. Default: the old one stays.
   */
  readonly upgrade?:
    | ((username: string, hash: string, previous: string) => Effect.Effect<unknown, E, R>)
    | undefined
  /** Remembers passwords that were good. Default: `false`. */
  readonly cache?: Cache | false | undefined
}

/**
 * Good passwords are remembered by an HMAC of name, password and stored hash, under a random key that is never written
 * down. What was wrong is not remembered.
 *
 * @since 0.1.0
 * @category options
 */
export interface Cache {
  /** How many; the oldest goes first. Default: 1,000. */
  readonly capacity?: number | undefined
  /** How long, from when the hash was last computed. Default: 5 minutes. */
  readonly ttl?: Duration.DurationInput | undefined
}

/**
 * What a verifier is given.
 *
 * @since 0.1.0
 * @category models
 */
export interface Credentials {
  readonly username: string
  readonly password: Redacted.Redacted
}

/**
 * Verifies names and passwords, for `Authentication.basic` and for a login form.
 *
 * - A hash is computed once for each: for a user who is not there, that of the decoy. Where stored hashes differ in their
 *   parameters, so does what they cost: `upgrade` makes them alike.
 * - The user is looked up every time, also if the password is remembered: one who is deleted, or has another hash by now,
 *   is out at once.
 * - It fails if no hash can be computed, and if what is stored is none. `Authentication` answers both by 503.
 *
 * @example
 * ```ts
 * import { Authentication, PasswordHash } from "effect-middleware"
 * import { Effect, Option } from "effect"
 *
 * interface User {
 *   readonly name: string
 * }
 * declare const usersByName: (name: string) => Effect.Effect<Option.Option<User & { readonly hash: string }>, Error>
 *
 * export const basic = Authentication.basic({
 *   verify: PasswordHash.verifier({
 *     find: (username) =>
 *       Effect.map(usersByName(username), Option.map(({ hash, name }) => ({ hash, identity: { user: { name } } }))),
 *     cache: { ttl: "1 minute" }
 *   })
 * })
 * ```
 *
 * @since 0.1.0
 * @category verifying
 */
export const verifier = <User, E = never, R = never>(options: VerifierOptions<User, E, R>): (
  credentials: Credentials
) => Authentication.Verified<User, E | PasswordHashUnavailable | PasswordHashUnsupported, R | PasswordHash> => {
  const { find, upgrade } = options
  const remembered = options.cache ? positives(options.cache) : undefined
  return ({ password, username }) =>
    Effect.gen(function*() {
      const passwords = yield* PasswordHash
      const account = yield* find(username)
      const hash = Option.isSome(account) ? account.value.hash : passwords.decoy
      const mac = remembered?.mac(yield* Entropy.Entropy, [username, Redacted.value(password), hash])
      if (mac !== undefined && remembered?.has(mac, yield* Clock.currentTimeMillis)) {
        return Option.map(account, ({ identity }) => identity)
      }
      const isGood = yield* passwords.verify(password, hash)
      if (!isGood || Option.isNone(account)) return Option.none()
      if (mac !== undefined) remembered?.add(mac, yield* Clock.currentTimeMillis)
      if (upgrade !== undefined && passwords.needsRehash(hash)) {
        yield* passwords.hash(password).pipe(
          Effect.flatMap((fresh) => upgrade(username, fresh, hash)),
          Effect.catchAll((error) => Effect.logWarning("PasswordHash: a hash could not be made anew", error))
        )
      }
      return Option.some(account.value.identity)
    })
}

const positives = ({ capacity = 1_000, ttl = "5 minutes" }: Cache) => {
  whole("PasswordHash.verifier", "cache.capacity", capacity, 1, 10_000_000)
  const life = Duration.decode(ttl)
  if (!Duration.isFinite(life) || Duration.toMillis(life) <= 0) {
    throw new RangeError(
      `PasswordHash.verifier: cache.ttl is ${Duration.format(life)}: write how long, such as "5 minutes"`
    )
  }
  // in the order in which they end
  const ends = new Map<string, number>()
  let key: KeyObject | undefined
  return {
    mac: (entropy: Entropy.Service, parts: ReadonlyArray<string>): string =>
      createHmac("sha256", key ??= createSecretKey(entropy.bytes(32))).update(JSON.stringify(parts)).digest("base64"),
    has: (mac: string, now: number): boolean => (ends.get(mac) ?? now) > now,
    add: (mac: string, now: number): void => {
      ends.delete(mac)
      ends.set(mac, now + Duration.toMillis(life))
      for (const [oldest, end] of ends) {
        if (end > now && ends.size <= capacity) break
        ends.delete(oldest)
      }
    }
  }
}
