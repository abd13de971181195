/**
 * JSON Web Tokens as bearer tokens (RFC 7519, RFC 8725): verified, with keys of this server or of another, and issued.
 *
 * 1. The algorithms are listed; that of a token is one of them, or it is refused before any key is looked at. Each key is
 *    bound to the algorithms of its type, and to the one that it names. There is no `none`.
 * 2. `iss`, `aud` and `exp` are checked always, `nbf` and `iat` where they are, and the rest by a `Schema`.
 * 3. What a header says of keys (`jwk`, `jku`, `x5c`, `x5u`) is not looked at; `kid` chooses among the keys there are. An
 *    extension (`crit`, `b64`, `zip`) is refused, and so is a token that is encrypted.
 * 4. A client is told `invalid_token` and no more. Why is a `Reason`, for the log and for tests.
 * 5. Keys of another server are fetched when they are needed, kept for ten minutes, and asked for anew at most every thirty
 *    seconds, whatever tokens name. If there are none to be had, it is a 503.
 * 6. A token that was good is not verified again for a minute, but its time is looked at, and with other keys it is.
 *
 * @since 0.1.0
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { ParseError } from "effect/ParseResult"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { calculateJwkThumbprint, CompactSign, exportJWK, type JSONWebKeySet } from "jose"
import * as Authentication from "../Authentication.js"
import * as Entropy from "../Entropy.js"
import * as Jwk from "../internal/jwk.js"
import * as Token from "../internal/jwt.js"
import { lift } from "../internal/lift.js"

// ---------------------------------------------------------------------------------------------------------------------
// keys
// ---------------------------------------------------------------------------------------------------------------------

/**
 * An algorithm of RFC 7518, RFC 8037 or RFC 9864. `EdDSA` is either curve.
 *
 * @since 0.1.0
 * @category models
 */
export type Algorithm = Jwk.Algorithm

/**
 * Those of a secret that both sides know.
 *
 * @since 0.1.0
 * @category models
 */
export type SecretAlgorithm = Jwk.SecretAlgorithm

/**
 * What verifies.
 *
 * @since 0.1.0
 * @category models
 */
export interface Key extends Jwk.Key {}

/**
 * What signs, and verifies what it has signed.
 *
 * @since 0.1.0
 * @category models
 */
export interface SigningKey extends Jwk.SigningKey {}

/**
 * Keys that change: of another server, by `jwks`.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeySource<out R = never> {
  /** Those that are good at the time, in milliseconds; `undefined` if they have to be asked for. */
  readonly current: (now: number) => ReadonlyArray<Key> | undefined
  /** Asks for them; `undefined` if it is too early to ask again. */
  readonly renew: (now: number) => Effect.Effect<ReadonlyArray<Key>, JwksUnavailable, R> | undefined
}

/**
 * @since 0.1.0
 * @category options
 */
export interface KeyOptions {
  /** By which a token names it. Default: it is tried for every token; what it signs has its thumbprint (RFC 7638). */
  readonly kid?: string | undefined
}

const imported = <K>(what: string, key: Jwk.Imported<K>): K => {
  if (typeof key === "string") throw new TypeError(`Jwt: ${what} ${key}`)
  return key
}

const isRedacted = (what: string, value: unknown) => {
  if (!Redacted.isRedacted(value)) throw new TypeError(`Jwt: ${what} is not redacted: write Redacted.make(...)`)
}

/**
 * A secret, for one algorithm. A string stands for its UTF-8 bytes as they are. Throws on one that is shorter than the
 * hash (RFC 7518 section 3.2), that can be guessed, or that is a key of another kind.
 *
 * @example
 * ```ts
 * import * as Jwt from "effect-middleware/Authentication/Jwt"
 * import { Redacted } from "effect"
 *
 * // from what your secret manager gives
 * const key = (secret: string) => Jwt.secret(Redacted.make(secret), { algorithm: "HS256" })
 * ```
 *
 * @since 0.1.0
 * @category keys
 */
export const secret = (
  secret: Redacted.Redacted<string | Uint8Array>,
  options: KeyOptions & {
    /** Default: `"HS256"`. */
    readonly algorithm?: SecretAlgorithm | undefined
  } = {}
): SigningKey => {
  isRedacted("the secret", secret)
  return imported("the secret", Jwk.importSecret(Redacted.value(secret), options.algorithm ?? "HS256", options.kid))
}

/**
 * A public key in PEM (SPKI). Throws on what is none, on RSA with fewer than 2048 bits, and on a type that is not that of
 * the algorithm.
 *
 * @since 0.1.0
 * @category keys
 */
export const pem = (
  pem: string,
  options: KeyOptions & {
    /** Default: those that its type is fit for. */
    readonly algorithm?: Algorithm | undefined
  } = {}
): Key => imported("the PEM", Jwk.importPem(pem, options))

/**
 * A public key as a JWK (RFC 7517). Its `alg`, `use` and `key_ops` bind it. Throws on one that is secret or private, or that
 * verifies nothing.
 *
 * @since 0.1.0
 * @category keys
 */
export const jwk = (jwk: object): Key => imported("the JWK", Jwk.importJwk(jwk))

/**
 * The keys of a set that verify; the others are left out. Throws if none is left.
 *
 * @since 0.1.0
 * @category keys
 */
export const jwkSet = (set: { readonly keys: ReadonlyArray<object> }): NonEmptyReadonlyArray<Key> => {
  const [first, ...rest] = usable(set.keys)
  if (first === undefined) throw new TypeError("Jwt: the JWK set has no key that verifies: write its public keys")
  return [first, ...rest]
}
const usable = (keys: ReadonlyArray<unknown>): ReadonlyArray<Key> =>
  keys.map(Jwk.importJwk).filter((key) => typeof key !== "string")

/**
 * A private key, in PEM (PKCS #8) or as a JWK, for one algorithm. Its public part is what it is where a `Key` is asked for.
 *
 * @since 0.1.0
 * @category keys
 */
export const privateKey = (
  key: Redacted.Redacted<string | object>,
  options: KeyOptions & { readonly algorithm: Exclude<Algorithm, SecretAlgorithm | "Ed448"> }
): SigningKey => {
  isRedacted("the private key", key)
  const signing = imported("the private key", Jwk.importPrivate(Redacted.value(key), options.algorithm, options.kid))
  if (signing.signing.asymmetricKeyType === "ed448") {
    throw new TypeError("Jwt: the private key is one for Ed448, which only verifies here: take Ed25519")
  }
  return signing
}

// ---------------------------------------------------------------------------------------------------------------------
// keys of another server
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The keys of another server cannot be had.
 *
 * @since 0.1.0
 * @category errors
 */
export class JwksUnavailable
  extends Schema.TaggedError<JwksUnavailable>("effect-middleware/Authentication/Jwt/JwksUnavailable")(
    "JwksUnavailable",
    {
      url: Schema.String,
      /** `cooldown`: it was asked a moment ago, and had none. */
      reason: Schema.Literal("unreachable", "timeout", "status", "too-large", "malformed", "cooldown"),
      cause: Schema.optional(Schema.Defect)
    }
  )
{
  override get message() {
    return `No keys of ${this.url}: ${this.reason}`
  }
}

/**
 * @since 0.1.0
 * @category options
 */
export interface JwksOptions {
  /** `https`, or `http` of this machine. */
  readonly url: string | URL
  /** How long they are good. Default: 10 minutes. */
  readonly maxAge?: Duration.DurationInput | undefined
  /** How long it is not asked again, whatever tokens name and whether or not it has answered. Default: 30 seconds. */
  readonly cooldown?: Duration.DurationInput | undefined
  /** How long it may take to answer. Default: 5 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /** How long beyond `maxAge` they are good if it cannot be asked. Default: 1 hour. */
  readonly staleFor?: Duration.DurationInput | undefined
  /** How many bytes the answer may have. Default: 65,536. */
  readonly maxSize?: number | undefined
}

/**
 * The keys of another server, by the `HttpClient`.
 *
 * - They are fetched for the first token, and after `maxAge` for the next. However many wait, one request is under way.
 * - A token that names none of them lets it be asked anew, unless it was within `cooldown`. So a key is published that long
 *   before it signs.
 * - If it cannot be asked, the keys there are go on for `staleFor`. Without any, a token can be neither good nor bad: 503.
 *   It is then asked again after five seconds, or `cooldown` if that is less.
 * - Redirects are not followed. Keys that are secret, private or for something else are left out; an empty set is one.
 *
 * @example
 * ```ts
 * import { FetchHttpClient } from "@effect/platform"
 * import { Authentication } from "effect-middleware"
 * import * as Jwt from "effect-middleware/Authentication/Jwt"
 * import { Layer, Schema } from "effect"
 *
 * class CurrentUser extends Authentication.Tag("app/CurrentUser")<CurrentUser, { readonly id: string }>() {}
 *
 * const users = CurrentUser.layer(Jwt.backend({
 *   algorithms: ["ES256", "RS256"],
 *   keys: Jwt.jwks({ url: "https://login.example.com/.well-known/jwks.json" }),
 *   issuer: "https://login.example.com",
 *   audience: "https://api.example.com",
 *   claims: Schema.Struct({ sub: Schema.String }),
 *   identity: ({ sub }) => ({ user: { id: sub } })
 * })).pipe(Layer.provide(FetchHttpClient.layer))
 * ```
 *
 * @since 0.1.0
 * @category keys
 */
export const jwks = (options: JwksOptions): KeySource<HttpClient.HttpClient> => {
  const url = jwksUrl(options.url)
  const maxAge = positive("maxAge", options.maxAge ?? "10 minutes")
  const cooldown = positive("cooldown", options.cooldown ?? "30 seconds")
  const timeout = positive("timeout", options.timeout ?? "5 seconds")
  if (cooldown > maxAge) throw new RangeError("Jwt: cooldown is longer than maxAge: write one that is shorter")
  const staleFor = millis("staleFor", options.staleFor ?? "1 hour")
  const maxSize = natural("maxSize", options.maxSize ?? 65_536, 1)

  const unavailable = (reason: JwksUnavailable["reason"], cause?: unknown) =>
    new JwksUnavailable({ url, reason, ...cause !== undefined && { cause } })

  /** What the server has said last: other keys are another array. */
  let answer: { readonly text: string; readonly keys: ReadonlyArray<Key>; readonly at: number } | undefined
  let asked = -Infinity
  let failed = false
  let flight: Deferred.Deferred<ReadonlyArray<Key>, JwksUnavailable> | undefined

  const lasting = (now: number) => answer !== undefined && now < answer.at + maxAge + staleFor ? answer.keys : undefined

  const fetched = Effect.flatMap(
    HttpClient.HttpClient,
    (client) => client.get(url, { headers: { accept: "application/jwk-set+json, application/json" } })
  ).pipe(
    Effect.flatMap((response) => readText(response, maxSize)),
    Effect.provideService(FetchHttpClient.RequestInit, { redirect: "error" }),
    Effect.mapError((error) => typeof error === "string" ? unavailable(error) : unavailable("unreachable", error)),
    Effect.timeoutFail({ duration: timeout, onTimeout: () => unavailable("timeout") })
  )

  const renewed = (now: number) =>
    fetched.pipe(
      Effect.flatMap((text) => {
        const keys = answer?.text === text ? answer.keys : readSet(text)
        if (keys === undefined) return Effect.fail(unavailable("malformed"))
        answer = { text, keys, at: now }
        failed = false
        return Effect.succeed(keys)
      }),
      Effect.tapErrorCause((cause) => {
        failed = true
        return Effect.logWarning("Jwt: the keys could not be fetched", cause)
      }),
      Effect.ensuring(Effect.sync(() => {
        flight = undefined
      }))
    )

  /** One for all who wait, and nobody's own: who goes away takes it from no one. */
  const ask = (now: number): Effect.Effect<ReadonlyArray<Key>, JwksUnavailable, HttpClient.HttpClient> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Deferred.make<ReadonlyArray<Key>, JwksUnavailable>(), (made) => {
        if (flight !== undefined) return restore(Deferred.await(flight))
        flight = made
        asked = now
        return Effect.zipRight(
          Effect.forkDaemon(Effect.intoDeferred(Effect.interruptible(renewed(now)), made)),
          restore(Deferred.await(made))
        )
      })
    ).pipe(Effect.catchAll((error) => {
      const keys = lasting(now)
      return keys === undefined ? Effect.fail(error) : Effect.succeed(keys)
    }))

  return {
    current: (now) => {
      if (answer !== undefined && now < answer.at + maxAge) return answer.keys
      // while it is down, nobody waits for it who can do without
      return failed && now < asked + cooldown ? lasting(now) : undefined
    },
    renew: (now) => {
      const last = lasting(now)
      const pause = last === undefined ? Math.min(cooldown, retryAfter) : cooldown
      if (flight !== undefined || now >= asked + pause) return ask(now)
      return last === undefined ? Effect.fail(unavailable("cooldown")) : undefined
    }
  }
}
/** What a client is told to wait after a 503. */
const retryAfter = 5000

const jwksUrl = (given: string | URL): string => {
  const url = URL.canParse(given.toString()) ? new URL(given) : undefined
  const isSafe = url?.protocol === "https:" ||
    url?.protocol === "http:" && /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname)
  if (url === undefined || !isSafe || url.username !== "" || url.password !== "") {
    throw new TypeError("Jwt: url is none for keys: write one with https, without user and password")
  }
  return url.href
}

const readText = (
  response: HttpClientResponse.HttpClientResponse,
  maxSize: number
): Effect.Effect<string, HttpClientError.ResponseError | "status" | "too-large"> => {
  if (response.status !== 200) return Effect.fail("status")
  const bytes = Stream.runFoldEffect(
    response.stream,
    Buffer.alloc(0),
    (read, chunk) =>
      read.length + chunk.length > maxSize
        ? Effect.fail("too-large" as const)
        : Effect.succeed(Buffer.concat([read, chunk]))
  )
  return Effect.map(bytes, (bytes) => bytes.toString())
}

const readSet = (text: string): ReadonlyArray<Key> | undefined => {
  const set = Option.getOrUndefined(decodeSet(text))
  return set && usable(set.keys)
}
const decodeSet = Schema.decodeOption(Schema.parseJson(Schema.Struct({ keys: Schema.Array(Schema.Unknown) })))

// ---------------------------------------------------------------------------------------------------------------------
// verifying
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Why a token is refused:
 *
 * - `too-large`: it has more than `maxSize` characters.
 * - `malformed`: it is not three parts in base64url, each in its one spelling, with a JSON object as its header.
 * - `encrypted`: it is a JWE.
 * - `algorithm`: its `alg` is not listed.
 * - `type`: its `typ` is another.
 * - `header`: it has `crit`, `b64` or `zip`, or a `kid` that is no string.
 * - `unknown-key`: no key is for its `alg` and its `kid`.
 * - `signature`: none of those that may have signed it has.
 * - `payload`: what is signed is no JSON object.
 * - `time`: `exp` is missing, or `iat` where there is a `maxAge`, or one of the times is no number of seconds.
 * - `expired`, `not-yet-valid`, `issued-in-future`: by `exp`, `nbf`, `iat`.
 * - `too-old`: it was issued longer than `maxAge` ago.
 * - `issuer`, `audience`: it is by or for another.
 * - `claims`: the schema does not take them.
 *
 * @since 0.1.0
 * @category models
 */
export type Reason = Token.Reason

/**
 * A token that is good.
 *
 * @since 0.1.0
 * @category models
 */
export interface Verified<out A> {
  readonly _tag: "Verified"
  /** As the schema gives them. */
  readonly claims: A
  /** As they are in the token. */
  readonly payload: Authentication.Claims
  /** From `scope`, or from `scp`. */
  readonly scopes: ReadonlyArray<string>
  /** `auth_time`, or else `iat`. */
  readonly authenticatedAt: DateTime.Utc | undefined
  /** With the tolerance. */
  readonly expiresAt: DateTime.Utc
}

/**
 * A token that is not.
 *
 * @since 0.1.0
 * @category models
 */
export interface Refused {
  readonly _tag: "Refused"
  readonly reason: Reason
}

/**
 * @since 0.1.0
 * @category models
 */
export type Verification<A> = Verified<A> | Refused | Authentication.Unavailable

/**
 * @since 0.1.0
 * @category models
 */
export interface Verifier<out A, out R = never> {
  /** In plain code, unless keys have to be fetched. The time is in milliseconds. */
  readonly verify: (token: string, now: number) => Verification<A> | Effect.Effect<Verification<A>, never, R>
}

/**
 * @since 0.1.0
 * @category options
 */
export interface VerifierOptions<A, I, R = never> {
  /** Those that are taken, such as `["ES256"]`. */
  readonly algorithms: NonEmptyReadonlyArray<Algorithm>
  /** Keys of this program, or those of another server. Several may fit a token: each is tried. */
  readonly keys: NonEmptyReadonlyArray<Key> | KeySource<R>
  /** What `iss` has to be, to the letter. Several are names of one issuer: its keys are not told apart by them. */
  readonly issuer: string | NonEmptyReadonlyArray<string>
  /** Of which `aud` has to name one. `false`: tokens for anybody are taken, those that another service was given too. */
  readonly audience: string | NonEmptyReadonlyArray<string> | false
  /** What else is claimed. It decodes without asking anybody. */
  readonly claims: Schema.Schema<A, I>
  /**
   * What `typ` has to be, such as `"at+jwt"` (RFC 9068), where case and `application/` make no difference. Default: `"JWT"`,
   * `"at+jwt"` or none.
   */
  readonly typ?: string | NonEmptyReadonlyArray<string> | undefined
  /** By how much clocks may differ, one minute at most. Default: 5 seconds. */
  readonly tolerance?: Duration.DurationInput | undefined
  /** How long after `iat` it is good, whatever its `exp` says. Default: that is not looked at. */
  readonly maxAge?: Duration.DurationInput | undefined
  /** How many characters a token may have. Default: 8,192. */
  readonly maxSize?: number | undefined
  /** Whether good tokens are remembered. Default: 1,000 of them for a minute. */
  readonly cache?: Cache | false | undefined
}

/**
 * @since 0.1.0
 * @category options
 */
export interface Cache {
  /** How many tokens at most, from 2. Those that were not used lately go first. Default: 1,000. */
  readonly capacity?: number | undefined
  /** After how long a token is verified again. Default: 1 minute. */
  readonly ttl?: Duration.DurationInput | undefined
}

/**
 * Verifies tokens, wherever they come from; `backend` does for requests. Throws on options that are mistakes.
 *
 * @example
 * ```ts
 * import * as Jwt from "effect-middleware/Authentication/Jwt"
 * import { Redacted, Schema } from "effect"
 *
 * export const verifier = (secret: string) =>
 *   Jwt.verifier({
 *     algorithms: ["HS256"],
 *     keys: [Jwt.secret(Redacted.make(secret))],
 *     issuer: "https://login.example.com",
 *     audience: "https://api.example.com",
 *     claims: Schema.Struct({ sub: Schema.String })
 *   })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const verifier = <A, I, R = never>(options: VerifierOptions<A, I, R>): Verifier<A, R> => {
  const { algorithms, audience, cache, maxAge, typ } = options
  const keys = sourceOf(options.keys, algorithms)
  const parse = Token.parser({
    algorithms,
    types: typ === undefined ? undefined : listed("typ", typ).map(Token.mediaType),
    maxSize: natural("maxSize", options.maxSize ?? 8192, 1)
  })
  const check = Token.claimsPolicy({
    issuer: listed("issuer", options.issuer),
    audience: audience === false ? undefined : listed("audience", audience),
    tolerance: tolerated(options.tolerance ?? "5 seconds"),
    maxAge: maxAge === undefined ? undefined : positive("maxAge", maxAge)
  })
  const decode = Schema.decodeUnknownEither(options.claims)
  const recent = cache === false ? undefined : remembering<A>(cache ?? {})

  const verifyBy = (
    parsed: Token.Parsed,
    token: string,
    known: ReadonlyArray<Key>,
    now: number
  ): Verified<A> | Refused => {
    const failed = Token.checkSignature(parsed, known)
    if (failed !== undefined) return refused[failed]
    const checked = check(parsed.payload, now)
    if (typeof checked === "string") return refused[checked]
    const claims = decode(checked.payload)
    if (Either.isLeft(claims)) return refused.claims
    const verified = verifiedAs(claims.right, checked)
    recent?.set(token, known, now, checked, verified)
    return verified
  }

  return {
    verify: (token, now) => {
      const known = keys.current(now)
      const before = known && recent?.get(token, known, now)
      if (before !== undefined) return before
      const parsed = parse(token)
      if (typeof parsed === "string") return refused[parsed]
      const answer = known && verifyBy(parsed, token, known, now)
      // other keys may tell more of a token that names none of those there are
      if (answer !== undefined && !(answer._tag === "Refused" && mayBeOfAnother(answer, parsed, known))) return answer
      const renewed = keys.renew(now)
      if (renewed === undefined) return answer ?? Authentication.Unavailable("there are no keys")
      return Effect.match(renewed, {
        onFailure: (error): Verification<A> => answer ?? Authentication.Unavailable(error),
        onSuccess: (keys): Verification<A> => verifyBy(parsed, token, keys, now)
      })
    }
  }
}

const mayBeOfAnother = (
  { reason }: Refused,
  { header: { kid } }: Token.Parsed,
  known: ReadonlyArray<Key> | undefined
): boolean =>
  (reason === "unknown-key" || reason === "signature") &&
  (kid === undefined || !known?.some((key) => key.kid === kid))

const verifiedAs = <A>(claims: A, { payload, until }: Token.Checked): Verified<A> => {
  const authenticatedAt = [payload["auth_time"], payload["iat"]].find(Token.isDate)
  return {
    _tag: "Verified",
    claims,
    payload,
    scopes: Token.scopesOf(payload),
    authenticatedAt: authenticatedAt === undefined ? undefined : DateTime.unsafeMake(authenticatedAt * 1000),
    expiresAt: DateTime.unsafeMake(until)
  }
}

const refused = Object.fromEntries(Token.reasons.map((reason) => [reason, { _tag: "Refused", reason }])) as {
  readonly [reason in Reason]: Refused
}

/** Good tokens by themselves, since to hash one takes longer than all the rest of it, and only good ones, which nobody can make up. */
const remembering = <A>(options: Cache) => {
  const tokens = new Token.Recent<Token.Window & { readonly verified: Verified<A> }>(
    natural("cache.capacity", options.capacity ?? 1000, 2)
  )
  const ttl = positive("cache.ttl", options.ttl ?? "1 minute")
  let by: ReadonlyArray<Key> | undefined
  return {
    get: (token: string, keys: ReadonlyArray<Key>, now: number): Verified<A> | undefined => {
      const found = keys === by ? tokens.get(token) : undefined
      return found !== undefined && found.from <= now && now < found.until ? found.verified : undefined
    },
    set: (
      token: string,
      keys: ReadonlyArray<Key>,
      now: number,
      { from, until }: Token.Window,
      verified: Verified<A>
    ): void => {
      if (keys !== by) tokens.clear()
      by = keys
      tokens.set(token, { from, until: Math.min(until, now + ttl), verified })
    }
  }
}

const sourceOf = <R>(
  keys: NonEmptyReadonlyArray<Key> | KeySource<R>,
  algorithms: ReadonlyArray<Algorithm>
): KeySource<R> => {
  if (algorithms.length === 0) throw new TypeError("Jwt: algorithms is empty: list those that are taken")
  const unknown = algorithms.find((algorithm) => !Jwk.isAlgorithm(algorithm))
  if (unknown !== undefined) {
    throw new TypeError(`Jwt: algorithms has ${JSON.stringify(unknown)}: write those of signatures, such as "ES256"`)
  }
  if (!isList(keys)) {
    const secret = algorithms.find(Jwk.isSecretAlgorithm)
    if (secret === undefined) return keys
    throw new TypeError(`Jwt: algorithms has ${secret}, and a server publishes no secrets: leave it out`)
  }
  if (keys.length === 0) throw new TypeError("Jwt: keys is empty: list those that verify")
  const idle = algorithms.find((algorithm) => !keys.some((key) => key.algorithms.includes(algorithm)))
  if (idle !== undefined) throw new TypeError(`Jwt: algorithms has ${idle}, and no key is for it: leave it out`)
  keys.forEach((key, index) => {
    if (key.algorithms.some((algorithm) => algorithms.includes(algorithm))) return
    throw new TypeError(
      `Jwt: keys[${index}] is for ${
        key.algorithms.join(", ")
      }, and algorithms has none of them: list it, or leave it out`
    )
  })
  return { current: () => keys, renew: () => undefined }
}
const isList = <R>(keys: NonEmptyReadonlyArray<Key> | KeySource<R>): keys is NonEmptyReadonlyArray<Key> =>
  Array.isArray(keys)

// ---------------------------------------------------------------------------------------------------------------------
// the backend
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category options
 */
export interface Options<A, I, User, E = never, R = never, K = never> extends VerifierOptions<A, I, K> {
  /**
   * Whose it is. What it leaves out is taken from the token: `sub`, `scope` or `scp`, `auth_time` or `iat`, and all claims.
   * It is over with the token, or before. None: it is not good, for an account that is gone. A failure: it cannot be told.
   */
  readonly identity: (
    claims: A,
    token: Verified<A>
  ) => Authentication.Identity<User> | Authentication.Verified<User, E, R>
  /** Default: `"app"`. */
  readonly realm?: string | undefined
  /** Where the protected resource is described (RFC 9728). Default: not said. */
  readonly resourceMetadata?: string | undefined
}

/**
 * A backend for tokens in `Authorization: Bearer`. In plain code, unless keys have to be fetched or `identity` is an Effect.
 *
 * @example
 * ```ts
 * import { Authentication } from "effect-middleware"
 * import * as Jwt from "effect-middleware/Authentication/Jwt"
 * import { Redacted, Schema } from "effect"
 *
 * class CurrentUser extends Authentication.Tag("app/CurrentUser")<CurrentUser, { readonly id: string }>() {}
 *
 * const users = (secret: string) =>
 *   CurrentUser.layer(Jwt.backend({
 *     algorithms: ["HS256"],
 *     keys: [Jwt.secret(Redacted.make(secret))],
 *     issuer: "https://login.example.com",
 *     audience: "https://api.example.com",
 *     claims: Schema.Struct({ sub: Schema.String }),
 *     identity: ({ sub }) => ({ user: { id: sub } })
 *   }))
 * ```
 *
 * @since 0.1.0
 * @category backends
 */
export const backend = <A, I, User, E = never, R = never, K = never>(
  options: Options<A, I, User, E, R, K>
): Authentication.Backend<User, R | K> => {
  type Result = Authentication.Result<User>
  type Answer = Result | Effect.Effect<Result, never, R | K>
  const { verify } = verifier(options)
  return Authentication.bearerOf<User, R | K>("jwt", options, (exchange, token, { challenge, invalid }) => {
    const authenticated = (verified: Verified<A>, identity: Authentication.Identity<User>) =>
      Authentication.Authenticated(exchange, {
        method: "jwt",
        subject: subjectOf(verified.payload) ?? Authentication.hashApiKey(token).slice(0, 16),
        identity: complete(verified, identity),
        challenge
      })
    const answer = (verification: Verification<A>): Answer => {
      if (verification._tag === "Refused") return invalid(messages[verification.reason])
      if (verification._tag === "Unavailable") return verification
      const identity = options.identity(verification.claims, verification)
      return Effect.isEffect(identity)
        ? Effect.match(identity, {
          onFailure: (error): Result => Authentication.Unavailable(error),
          onSuccess: Option.match({
            onNone: (): Result => invalid("Jwt: nobody is known by it"),
            onSome: (identity): Result => authenticated(verification, identity)
          })
        })
        : authenticated(verification, identity)
    }
    const verification = verify(token, exchange.clock.unsafeCurrentTimeMillis())
    return Effect.isEffect(verification)
      ? Effect.flatMap(verification, (verification) => lift(answer(verification)))
      : answer(verification)
  })
}

const messages = Object.fromEntries(Token.reasons.map((reason) => [reason, `Jwt: ${reason}`])) as {
  readonly [reason in Reason]: string
}

const subjectOf = ({ sub }: Authentication.Claims): string | undefined => typeof sub === "string" ? sub : undefined

const complete = <A, User>(token: Verified<A>, identity: Authentication.Identity<User>) => ({
  user: identity.user,
  subject: identity.subject,
  scopes: identity.scopes ?? token.scopes,
  roles: identity.roles,
  permissions: identity.permissions,
  claims: identity.claims ?? token.payload,
  authenticatedAt: identity.authenticatedAt ?? token.authenticatedAt,
  expiresAt: identity.expiresAt === undefined ? token.expiresAt : DateTime.min(identity.expiresAt, token.expiresAt)
})

// ---------------------------------------------------------------------------------------------------------------------
// issuing
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category options
 */
export interface IssuerOptions<A, I extends object> {
  /** The first signs; the public ones are all published. */
  readonly keys: NonEmptyReadonlyArray<SigningKey>
  /** What `iss` is. */
  readonly issuer: string
  /** What `aud` is. */
  readonly audience: string | NonEmptyReadonlyArray<string>
  /** From `iat` to `exp`, in whole seconds. */
  readonly lifetime: Duration.DurationInput
  /** Default: `"JWT"`. An access token of OAuth is an `"at+jwt"` (RFC 9068). */
  readonly typ?: string | undefined
  /** What else is claimed, such as `sub`. It encodes without asking anybody. */
  readonly claims: Schema.Schema<A, I>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Issuer<in A> {
  /** A token with `iss`, `aud`, `iat`, `exp`, a `jti` (unless the claims have one) and the claims. */
  readonly sign: (claims: A) => Effect.Effect<string, ParseError>
  /** The public keys, for a handler to answer with (RFC 7517). Secrets are none. */
  readonly jwks: Effect.Effect<JSONWebKeySet>
}

/**
 * Issues tokens. To rotate, put a new key last, so that others learn it (`jwks` of theirs by its `cooldown`), then first, and
 * take the old one out after `lifetime`.
 *
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import * as Jwt from "effect-middleware/Authentication/Jwt"
 * import { Effect, Redacted, Schema } from "effect"
 *
 * const issuer = (pem: string) =>
 *   Jwt.issuer({
 *     keys: [Jwt.privateKey(Redacted.make(pem), { algorithm: "ES256" })],
 *     issuer: "https://login.example.com",
 *     audience: "https://api.example.com",
 *     lifetime: "5 minutes",
 *     claims: Schema.Struct({ sub: Schema.String, scope: Schema.String })
 *   })
 *
 * export const token = (pem: string) => issuer(pem).sign({ sub: "ada", scope: "docs:read" })
 * export const published = (pem: string) => Effect.flatMap(issuer(pem).jwks, (set) => HttpServerResponse.json(set))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const issuer = <A, I extends object>(options: IssuerOptions<A, I>): Issuer<A> => {
  const { audience, issuer: iss, keys, typ = "JWT" } = options
  const [key] = keys
  if (key === undefined) throw new TypeError("Jwt: keys is empty: list one that signs")
  listed("issuer", iss)
  listed("audience", audience)
  const lifetime = Math.floor(positive("lifetime", options.lifetime) / 1000)
  if (lifetime < 1) throw new RangeError("Jwt: lifetime is less than a second: write how long, such as \"5 minutes\"")
  const encode = Schema.encode(options.claims)
  const published = Effect.promise(() => Promise.all(keys.filter(isPublished).map(publish)))
  const header = Effect.runSync(Effect.cached(Effect.map(
    isPublished(key) ? Effect.promise(() => publish(key)) : Effect.succeed({ kid: key.kid }),
    ({ kid }) => ({ alg: key.algorithm, typ, ...kid !== undefined && { kid } })
  )))
  return {
    jwks: Effect.map(published, (keys) => ({ keys })),
    sign: (claims) =>
      Effect.gen(function*() {
        const iat = Math.floor((yield* Clock.currentTimeMillis) / 1000)
        const { uuid } = yield* Entropy.Entropy
        const payload = { jti: uuid(), ...yield* encode(claims), iss, aud: audience, iat, exp: iat + lifetime }
        return yield* signed(key, yield* header, JSON.stringify(payload))
      })
  }
}

const isPublished = (key: SigningKey): boolean => !Jwk.isSecretAlgorithm(key.algorithm)

const publish = async (key: SigningKey) => {
  const jwk = await exportJWK(key.keyObject)
  return { ...jwk, kid: key.kid ?? await calculateJwkThumbprint(jwk), alg: key.algorithm, use: "sig" }
}

const signed = (
  key: SigningKey,
  header: { readonly alg: Algorithm; readonly typ: string; readonly kid?: string },
  payload: string
): Effect.Effect<string> => {
  const { algorithm, signing } = key
  if (!Jwk.isSecretAlgorithm(algorithm)) {
    // by threads of their own: RSA takes most of a millisecond
    return Effect.promise(() => new CompactSign(Buffer.from(payload)).setProtectedHeader({ ...header }).sign(signing))
  }
  const input = [JSON.stringify(header), payload].map((part) => Buffer.from(part).toString("base64url")).join(".")
  return Effect.succeed(`${input}.${Jwk.mac(algorithm, signing, input)}`)
}

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

const listed = (option: string, value: string | ReadonlyArray<string>): ReadonlyArray<string> => {
  const list = typeof value === "string" ? [value] : value
  if (!Array.isArray(list) || list.length === 0 || list.some((one) => typeof one !== "string" || one === "")) {
    throw new TypeError(`Jwt: ${option} is empty: write what it has to be, such as ${examples[option]}`)
  }
  return list
}
const examples: { readonly [option: string]: string } = {
  issuer: "\"https://login.example.com\"",
  audience: "\"https://api.example.com\"",
  typ: "\"at+jwt\""
}

const millis = (option: string, input: Duration.DurationInput): number => {
  const duration = Duration.decode(input)
  if (Duration.isFinite(duration)) return Duration.toMillis(duration)
  throw new RangeError(`Jwt: ${option} is for ever: write how long, such as "1 minute"`)
}

const positive = (option: string, input: Duration.DurationInput): number => {
  const duration = millis(option, input)
  if (duration > 0) return duration
  throw new RangeError(`Jwt: ${option} is no time at all: write how long, such as "1 minute"`)
}

const tolerated = (input: Duration.DurationInput): number => {
  const tolerance = millis("tolerance", input)
  if (tolerance <= 60_000) return tolerance
  throw new RangeError(`Jwt: tolerance is ${Duration.format(input)}: write a minute at most, and set the clocks`)
}

const natural = (option: string, value: number, least: number): number => {
  if (Number.isSafeInteger(value) && value >= least) return value
  throw new RangeError(`Jwt: ${option} is ${value}: write a whole number from ${least}`)
}
