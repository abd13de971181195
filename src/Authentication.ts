/**
 * Authentication: who has sent a request, by backends that are Layers, as a service of your own type.
 *
 * 1. A backend says that a credential is absent, malformed, invalid or good, or that it cannot tell. Of several in order
 *    only an absent one lets the next be asked.
 * 2. What cannot be told is a 503, and nobody passes for anonymous because a store is down.
 * 3. A 401 carries one `WWW-Authenticate` with a challenge for each scheme (RFC 9110 section 11.6.1). What was wrong with
 *    a credential is for the log.
 * 4. A response to a principal is `private`, and what came from inside varies by the credential's field. A refusal is
 *    `no-store`.
 * 5. A principal whose time is up is none.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import type * as HttpMethod from "@effect/platform/HttpMethod"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import * as AccessLog from "./AccessLog.js"
import * as Authorization from "./Authorization.js"
import { wants } from "./internal/accept.js"
import { originForm } from "./internal/authority.js"
import { readCookie } from "./internal/cookie.js"
import * as Credentials from "./internal/credentials.js"
import { countFields, isToken } from "./internal/fields.js"
import { fromPhases } from "./internal/kernel.js"
import { lift } from "./internal/lift.js"
import { compileExemption } from "./internal/pathPattern.js"
import { makePersonal } from "./internal/personal.js"
import { expireAt, tell } from "./internal/principals.js"
import { isHandle } from "./internal/session.js"
import * as Keyring from "./Keyring.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"
import { open, type ResponseDraft } from "./ResponseDraft.js"
import type * as Session from "./Session.js"

// ---------------------------------------------------------------------------------------------------------------------
// principals
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Who has sent the request.
 *
 * @since 0.1.0
 * @category models
 */
export interface Principal<out User> {
  readonly user: User
  /** Names it among all principals, for logs and rate limits: a user name, the `sub` of a token, the id of a key. */
  readonly subject: string
  /** By which backend: `"basic"`, `"apiKey"`, `"bearer"`, `"jwt"`, `"session"`, or the name of one of your own. */
  readonly method: string
  readonly scopes: ReadonlyArray<string>
  readonly roles: ReadonlyArray<string>
  readonly permissions: ReadonlyArray<string>
  /** What else the credential says, such as the claims of a token. */
  readonly claims: Claims
  /** When it has shown that it is who it says: for a session or a token, when that was made. */
  readonly authenticatedAt: DateTime.Utc
  /** When it is none any longer: a WebSocket closes by then. */
  readonly expiresAt: Option.Option<DateTime.Utc>
}

/**
 * @since 0.1.0
 * @category models
 */
export type Claims = { readonly [name: string]: unknown }

/**
 * What a verifier knows of a principal.
 *
 * @since 0.1.0
 * @category models
 */
export interface Identity<out User> {
  readonly user: User
  /** Default: what the credential names, such as the user name of `Basic`. */
  readonly subject?: string | undefined
  /** Default: none, as of the two after it. */
  readonly scopes?: ReadonlyArray<string> | undefined
  readonly roles?: ReadonlyArray<string> | undefined
  readonly permissions?: ReadonlyArray<string> | undefined
  readonly claims?: Claims | undefined
  /** Default: now. */
  readonly authenticatedAt?: DateTime.Utc | undefined
  /** Default: never. */
  readonly expiresAt?: DateTime.Utc | undefined
}

class PrincipalImpl<User> implements Principal<User> {
  readonly user: User
  readonly subject: string
  readonly scopes: ReadonlyArray<string>
  readonly roles: ReadonlyArray<string>
  readonly permissions: ReadonlyArray<string>
  readonly claims: Claims
  readonly authenticatedAt: DateTime.Utc
  readonly expiresAt: Option.Option<DateTime.Utc>

  constructor(
    identity: Identity<User>,
    subject: string,
    readonly method: string,
    /** By which a lack of scopes is told. */
    readonly challenge: Challenge | undefined,
    now: number
  ) {
    this.user = identity.user
    this.subject = identity.subject ?? subject
    this.scopes = identity.scopes ?? none
    this.roles = identity.roles ?? none
    this.permissions = identity.permissions ?? none
    this.claims = identity.claims ?? noClaims
    this.authenticatedAt = identity.authenticatedAt ?? DateTime.unsafeMake(now)
    this.expiresAt = Option.fromNullable(identity.expiresAt)
  }
}
const none: ReadonlyArray<never> = []
const noClaims: Claims = {}

// ---------------------------------------------------------------------------------------------------------------------
// backends
// ---------------------------------------------------------------------------------------------------------------------

/**
 * How a scheme asks for credentials (RFC 9110 section 11.3).
 *
 * @since 0.1.0
 * @category models
 */
export type Challenge = Credentials.Challenge

/**
 * What a backend says of a request:
 *
 * - `Absent`: there is no credential of its kind.
 * - `Malformed`: what is there is none. 400.
 * - `Invalid`: it is not good: unknown, wrong, over, for another. 401.
 * - `Authenticated`: it is good, and this is whose it is.
 * - `Unavailable`: who would know cannot be asked. 503.
 *
 * @since 0.1.0
 * @category models
 */
export type Result<User> = Absent | Malformed | Invalid | Authenticated<User> | Unavailable

/**
 * @since 0.1.0
 * @category models
 */
export interface Absent {
  readonly _tag: "Absent"
}
/**
 * @since 0.1.0
 * @category models
 */
export interface Malformed {
  readonly _tag: "Malformed"
  /** For the log. */
  readonly reason: string
  /** In the place of the one of its scheme. */
  readonly challenge?: Challenge | undefined
}
/**
 * @since 0.1.0
 * @category models
 */
export interface Invalid {
  readonly _tag: "Invalid"
  /** For the log. */
  readonly reason: string
  /** In the place of the one of its scheme. */
  readonly challenge?: Challenge | undefined
}
/**
 * @since 0.1.0
 * @category models
 */
export interface Authenticated<out User> {
  readonly _tag: "Authenticated"
  readonly principal: Principal<User>
}
/**
 * @since 0.1.0
 * @category models
 */
export interface Unavailable {
  readonly _tag: "Unavailable"
  readonly cause: unknown
}

/**
 * @since 0.1.0
 * @category results
 */
export const Absent: Absent = { _tag: "Absent" }
/**
 * @since 0.1.0
 * @category results
 */
export const Malformed = (reason: string, challenge?: Challenge): Malformed => ({
  _tag: "Malformed",
  reason,
  challenge
})
/**
 * @since 0.1.0
 * @category results
 */
export const Invalid = (reason: string, challenge?: Challenge): Invalid => ({ _tag: "Invalid", reason, challenge })
/**
 * @since 0.1.0
 * @category results
 */
export const Unavailable = (cause: unknown): Unavailable => ({ _tag: "Unavailable", cause })

/**
 * Finds out who has sent a request. `R` is what it asks: services of a layer, and those that live for one request, which
 * the principal's tag has to name.
 *
 * @since 0.1.0
 * @category models
 */
export interface Backend<out User, out R = never> {
  /** What `method` of its principals is. */
  readonly name: string
  readonly challenges: ReadonlyArray<Challenge>
  /** Fields that a response depends on, for `Vary`. */
  readonly fields: ReadonlyArray<string>
  /** Whether a credential is there at all. */
  readonly isPresented: (exchange: Middleware.Exchange<R>) => boolean
  /** Plain code decides without a fiber; what has to ask is an Effect. */
  readonly authenticate: (
    exchange: Middleware.Exchange<R>
  ) => Result<User> | Effect.Effect<Result<User>, never, R>
}

/**
 * Answers with what a verifier has found.
 *
 * @since 0.1.0
 * @category results
 */
export const Authenticated = <User>(
  exchange: Middleware.Exchange,
  options: {
    readonly method: string
    readonly subject: string
    readonly identity: Identity<User>
    /** By which a lack of scopes is told. Default: none. */
    readonly challenge?: Challenge | undefined
  }
): Authenticated<User> => ({
  _tag: "Authenticated",
  principal: new PrincipalImpl(
    options.identity,
    options.subject,
    options.method,
    options.challenge,
    exchange.clock.unsafeCurrentTimeMillis()
  )
})

/**
 * A challenge. Throws on a scheme, a name or a value that no field can hold.
 *
 * @since 0.1.0
 * @category constructors
 */
export const challenge = (
  scheme: string,
  params: { readonly [name: string]: string | undefined } = {}
): Challenge => Credentials.challenge("Authentication", scheme, params)

/**
 * Asks one backend after the other: the next only if a request has no credential for the one before.
 *
 * @since 0.1.0
 * @category backends
 */
export const firstOf = <const Backends extends ReadonlyArray<Backend<unknown, unknown>>>(
  ...backends: Backends
): Backend<UserOf<Backends[number]>, ContextOf<Backends[number]>> => {
  if (backends.length === 0) throw new TypeError("Authentication: firstOf has no backend: list one")
  // what they are together is what each of them is
  const all = backends as ReadonlyArray<Backend<UserOf<Backends[number]>, ContextOf<Backends[number]>>>
  type Answer = ReturnType<typeof all[number]["authenticate"]>
  return {
    name: all.map(({ name }) => name).join(" or "),
    challenges: all.flatMap(({ challenges }) => challenges),
    fields: [...new Set(all.flatMap(({ fields }) => fields))],
    isPresented: (exchange) => all.some((backend) => backend.isPresented(exchange)),
    authenticate: (exchange) => {
      const ask = (from: number): Answer => {
        for (let at = from; at < all.length; at++) {
          const answer = all[at]!.authenticate(exchange)
          if (Effect.isEffect(answer)) {
            return Effect.flatMap(answer, (result) => lift(result._tag === "Absent" ? ask(at + 1) : result))
          }
          if (answer._tag !== "Absent") return answer
        }
        return Absent
      }
      return ask(0)
    }
  }
}

type UserOf<B> = B extends Backend<infer User, unknown> ? User : never
type ContextOf<B> = B extends Backend<unknown, infer R> ? R : never

/**
 * What a verifier gives: an identity, or none for a credential that is not good.
 *
 * @since 0.1.0
 * @category models
 */
export type Verified<User, E = never, R = never> = Effect.Effect<Option.Option<Identity<User>>, E, R>

/** A failure of a verifier is that it cannot tell. */
const verified = <User, E, R>(
  effect: Verified<User, E, R>,
  onNone: Invalid,
  onSome: (identity: Identity<User>) => Authenticated<User>
): Effect.Effect<Result<User>, never, R> =>
  Effect.match(effect, {
    onFailure: (error): Result<User> => Unavailable(error),
    onSuccess: Option.match({ onNone: (): Result<User> => onNone, onSome })
  })

/**
 * `Basic` (RFC 7617). The verifier is given the name and the password as they were sent; see `PasswordHash` for one that
 * keeps the rules.
 *
 * A script's request is answered without a challenge that lets a browser ask for a password, unless `prompts` says so.
 *
 * @since 0.1.0
 * @category backends
 */
export const basic = <User, E = never, R = never>(options: {
  /** Default: `"app"`. */
  readonly realm?: string | undefined
  readonly verify: (credentials: {
    readonly username: string
    readonly password: Redacted.Redacted
  }) => Verified<User, E, R>
  /** Which requests let a browser ask for a password: all, or those for a page. Default: `"navigation"`. */
  readonly prompts?: "always" | "navigation" | undefined
}): Backend<User, R> => {
  const asked = Credentials.challenge(
    "Authentication.basic",
    "Basic",
    { realm: options.realm ?? "app", charset: "UTF-8" },
    options.prompts !== "always"
  )
  const malformed = Malformed("Basic: no name and password in base64")
  const invalid = Invalid("Basic: the name or the password is wrong")
  return ofScheme("basic", asked, (exchange, value) => {
    const credentials = Credentials.readBasic(value)
    if (credentials === undefined) return malformed
    const { password, username } = credentials
    return verified(
      options.verify({ username, password: Redacted.make(password) }),
      invalid,
      (identity) => Authenticated(exchange, { method: "basic", subject: username, identity })
    )
  })
}

/**
 * `Bearer` (RFC 6750), for tokens that say nothing themselves. `Authentication/Jwt` verifies those that do.
 *
 * A token is taken from `Authorization` alone, never from a query or a form (RFC 9700 section 4.3.2).
 *
 * @since 0.1.0
 * @category backends
 */
export const bearer = <User, E = never, R = never>(options: {
  /** Default: `"app"`. */
  readonly realm?: string | undefined
  /** Where the protected resource is described (RFC 9728). Default: not said. */
  readonly resourceMetadata?: string | undefined
  readonly verify: (token: Redacted.Redacted) => Verified<User, E, R>
}): Backend<User, R> =>
  bearerOf("bearer", options, (exchange, token, { challenge, invalid }) =>
    verified(
      options.verify(Redacted.make(token)),
      invalid("Bearer: the token is unknown"),
      (identity) => Authenticated(exchange, { method: "bearer", subject: fingerprint(token), identity, challenge })
    ))

/**
 * A backend for bearer tokens, in plain code: what `bearer` and `Authentication/Jwt` are made of.
 *
 * @since 0.1.0
 * @category backends
 */
export const bearerOf = <User, R = never>(
  name: string,
  options: { readonly realm?: string | undefined; readonly resourceMetadata?: string | undefined },
  authenticate: (
    exchange: Middleware.Exchange<R>,
    token: string,
    answers: {
      readonly challenge: Challenge
      /** With `invalid_token`. The answer of a reason is made once: give it constants. */
      readonly invalid: (reason: string) => Invalid
    }
  ) => Result<User> | Effect.Effect<Result<User>, never, R>
): Backend<User, R> => {
  const challenge = Credentials.challenge("Authentication.bearer", "Bearer", {
    realm: options.realm ?? "app",
    resource_metadata: options.resourceMetadata
  })
  const wrong = Credentials.withParams(challenge, { error: "invalid_token" })
  const malformed = Malformed(
    "Bearer: no token",
    Credentials.withParams(challenge, { error: "invalid_request" })
  )
  const reasons = new Map<string, Invalid>()
  const answers = {
    challenge,
    invalid: (reason: string) => {
      let answer = reasons.get(reason)
      if (answer === undefined) {
        answer = Invalid(reason, wrong)
        if (reasons.size < 64) reasons.set(reason, answer)
      }
      return answer
    }
  }
  return ofScheme<User, R>(
    name,
    challenge,
    (exchange, value) => Credentials.isToken68(value) ? authenticate(exchange, value, answers) : malformed,
    malformed.challenge
  )
}

/** Of the `Authorization` field: another scheme than that of its challenge is none for it. */
const ofScheme = <User, R>(
  name: string,
  challenge: Challenge,
  authenticate: (
    exchange: Middleware.Exchange<R>,
    value: string
  ) => Result<User> | Effect.Effect<Result<User>, never, R>,
  onMalformed?: Challenge
): Backend<User, R> => {
  const scheme = challenge.scheme.toLowerCase()
  const malformed = Malformed("Authorization: no credentials, or several", onMalformed)
  return {
    name,
    challenges: [challenge],
    fields: ["Authorization"],
    isPresented: ({ request: { headers } }) => headers["authorization"] !== undefined,
    authenticate: (exchange) => {
      const { headers, source } = exchange.request
      const presented = Credentials.readAuthorization(headers["authorization"], source)
      if (presented === "malformed") return malformed
      return presented?.scheme === scheme ? authenticate(exchange, presented.value) : Absent
    }
  }
}

/**
 * API keys: secrets of many random bits, of which only the hash is kept, so that what is looked up gives nothing away.
 *
 * @since 0.1.0
 * @category backends
 */
export const apiKey = <User, E = never, R = never>(options: {
  /**
   * Where it is: a field, a cookie, or the query, where it ends up in logs, histories and `Referer`. Default:
   * `{ header: "x-api-key" }`.
   */
  readonly in?: ApiKeyPlace | undefined
  /** What all of them begin with, such as `"acme_"`: what does not is not looked up. Default: none. */
  readonly prefix?: string | undefined
  /** Default: `"app"`. */
  readonly realm?: string | undefined
  /** Looks the key up by the SHA-256 of it, as `hashApiKey` gives. */
  readonly find: (hash: string) => Verified<User, E, R>
}): Backend<User, R> => {
  const { prefix = "", realm = "app" } = options
  const place = options.in ?? { header: "x-api-key" }
  const asked = Credentials.challenge("Authentication.apiKey", "ApiKey", { realm, ...describePlace(place) })
  const read = readerOf(place)
  const [invalid, several] = [Invalid("ApiKey: the key is unknown"), Malformed("ApiKey: several keys, or none")]
  return {
    name: "apiKey",
    challenges: [asked],
    fields: "header" in place ? [place.header] : "cookie" in place ? ["Cookie"] : [],
    isPresented: (exchange) => read(exchange.request) !== undefined,
    authenticate: (exchange) => {
      const key = read(exchange.request)
      if (key === undefined) return Absent
      if (key === "malformed") return several
      if (!key.startsWith(prefix) || key.length > longestKey) return invalid
      const hash = hashApiKey(key)
      return verified(
        options.find(hash),
        invalid,
        (identity) => Authenticated(exchange, { method: "apiKey", subject: hash.slice(0, 16), identity })
      )
    }
  }
}
const longestKey = 512

/**
 * @since 0.1.0
 * @category models
 */
export type ApiKeyPlace =
  | { readonly header: string }
  | { readonly cookie: string }
  | { readonly unsafeQuery: string }

const describePlace = (place: ApiKeyPlace): { readonly in: string; readonly name: string } =>
  "header" in place
    ? { in: "header", name: place.header }
    : "cookie" in place
    ? { in: "cookie", name: place.cookie }
    : { in: "query", name: place.unsafeQuery }

const readerOf = (
  place: ApiKeyPlace
): (request: HttpServerRequest.HttpServerRequest) => string | "malformed" | undefined => {
  const { name } = describePlace(place)
  if (!isToken(name)) {
    throw new TypeError(`Authentication.apiKey: in has the name ${JSON.stringify(name)}: write a token`)
  }
  const single = (text: string | undefined) => text === undefined || isKey(text) ? text : "malformed"
  if ("header" in place) {
    const field = name.toLowerCase()
    return ({ headers, source }) => {
      const text = headers[field]
      return text !== undefined && countFields(source, field) > 1 ? "malformed" : single(text)
    }
  }
  if ("cookie" in place) return ({ headers }) => single(readCookie(headers["cookie"], name))
  return ({ url }) => {
    const values = new URLSearchParams(url.slice(url.indexOf("?") + 1 || url.length)).getAll(name)
    return values.length > 1 ? "malformed" : single(values[0])
  }
}
const isKey = (text: string): boolean => /^[!-~]+$/.test(text) && !text.includes(",")

/**
 * What is kept of an API key: its SHA-256 in base64url. A key has at least 128 random bits, so nobody finds it by trying.
 *
 * @since 0.1.0
 * @category api keys
 */
export const hashApiKey = (key: string): string => createHash("sha256").update(key).digest("base64url")

const fingerprint = (token: string): string => hashApiKey(token).slice(0, 16)

/**
 * The principal of a session, which `rotate({ principal })` has bound to it. The tag of the principal has to name the
 * session in `requires`.
 *
 * There is no scheme for cookies: the challenge has the name `Cookie`, which no browser acts upon.
 *
 * @since 0.1.0
 * @category backends
 */
export const session = <Self, Id extends string, A, User = string, E = never, R = never>(
  tag: Session.SessionClass<Self, Id, A>,
  options: {
    /** Default: `"app"`. */
    readonly realm?: string | undefined
    /** Finds whose it is, by the name that the session is bound to. None: it is not good any longer. */
    readonly find: (principal: string, session: Session.Service<A>) => Verified<User, E, R>
  }
): Backend<User, R | Self> => {
  const asked = Credentials.challenge("Authentication.session", "Cookie", { realm: options.realm ?? "app" })
  const gone = Invalid("Session: its principal is gone")
  return {
    name: "session",
    challenges: [asked],
    fields: ["Cookie"],
    isPresented: (exchange) => {
      const handle = exchange.get(tag)
      return isHandle(handle) ? handle.isPresented : exchange.request.headers["cookie"] !== undefined
    },
    authenticate: (exchange) => {
      const handle = exchange.get(tag)
      const whose = Effect.all([handle.principal, handle.expiresAt, handle.createdAt])
      return Effect.matchEffect(whose, {
        onFailure: (error) => Effect.succeed<Result<User>>(Unavailable(error)),
        onSuccess: ([principal, expiresAt, createdAt]) =>
          Option.isNone(principal)
            ? Effect.succeed<Result<User>>(Absent)
            : verified(options.find(principal.value, handle), gone, (identity) =>
              Authenticated(exchange, {
                method: "session",
                subject: principal.value,
                identity: {
                  ...identity,
                  expiresAt: identity.expiresAt ?? Option.getOrUndefined(expiresAt),
                  authenticatedAt: identity.authenticatedAt ?? Option.getOrUndefined(createdAt)
                }
              }))
      })
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// failures
// ---------------------------------------------------------------------------------------------------------------------

const field = (challenge: string) => challenge === "" ? {} : { headers: { "www-authenticate": challenge } }

/**
 * The request has no credentials, or none that are good: 401, with `WWW-Authenticate`.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unauthenticated
  extends Schema.TaggedError<Unauthenticated>("effect-middleware/Authentication/Unauthenticated")(
    "Unauthenticated",
    {
      reason: Schema.Literal("absent", "invalid"),
      /** The value of `WWW-Authenticate`. */
      challenge: Schema.String
    },
    HttpApiSchema.annotations({ status: 401 })
  )
  implements HttpServerRespondable.Respondable
{
  private response: HttpServerResponse.HttpServerResponse | undefined

  override get message() {
    return `The credentials are ${this.reason}`
  }
  [HttpServerRespondable.symbol]() {
    return this.response ??= ProblemDetails.toResponse({
      status: 401,
      detail: this.reason === "absent" ? "Credentials are required" : "The credentials are not good"
    }, field(this.challenge))
  }
}

/**
 * What is sent as credentials is none: 400.
 *
 * @since 0.1.0
 * @category errors
 */
export class CredentialsMalformed
  extends Schema.TaggedError<CredentialsMalformed>("effect-middleware/Authentication/CredentialsMalformed")(
    "CredentialsMalformed",
    {
      /** The value of `WWW-Authenticate`. */
      challenge: Schema.String
    },
    HttpApiSchema.annotations({ status: 400 })
  )
  implements HttpServerRespondable.Respondable
{
  private response: HttpServerResponse.HttpServerResponse | undefined

  override get message() {
    return "The credentials are malformed"
  }
  [HttpServerRespondable.symbol]() {
    return this.response ??= ProblemDetails.toResponse(
      { status: 400, detail: "The credentials cannot be read" },
      field(this.challenge)
    )
  }
}

/**
 * Who would know whose the credentials are cannot be asked: 503, with `Retry-After`.
 *
 * @since 0.1.0
 * @category errors
 */
export class AuthenticationUnavailable
  extends Schema.TaggedError<AuthenticationUnavailable>("effect-middleware/Authentication/AuthenticationUnavailable")(
    "AuthenticationUnavailable",
    {},
    HttpApiSchema.annotations({ status: 503 })
  )
  implements HttpServerRespondable.Respondable
{
  /** What has failed: on the server alone. */
  override cause: unknown

  override get message() {
    return "Credentials cannot be checked"
  }
  [HttpServerRespondable.symbol]() {
    return unavailable
  }
}
const unavailable = ProblemDetails.toResponse(
  { status: 503, detail: "Credentials cannot be checked at the moment" },
  { headers: { "retry-after": "5" } }
)

/**
 * How a request can be refused for its credentials.
 *
 * @since 0.1.0
 * @category errors
 */
export type AuthenticationError = typeof AuthenticationError.Type
/**
 * The same as a schema, for the `failure` of an `HttpApiMiddleware.Tag`.
 *
 * @since 0.1.0
 * @category errors
 */
export const AuthenticationError = Schema.Union(Unauthenticated, CredentialsMalformed, AuthenticationUnavailable)

// ---------------------------------------------------------------------------------------------------------------------
// the tag
// ---------------------------------------------------------------------------------------------------------------------

declare const BackendTypeId: unique symbol
declare const OptionTypeId: unique symbol
declare const AccessTypeId: unique symbol

/**
 * The backend of a principal: what `layer` provides and its middlewares require.
 *
 * @since 0.1.0
 * @category models
 */
export interface BackendOf<in out Self> {
  readonly [BackendTypeId]: (_: Self) => Self
}

/**
 * The principal, or none: what `optional` provides.
 *
 * @since 0.1.0
 * @category models
 */
export interface OptionOf<in out Self> extends Middleware.PerRequest {
  readonly [OptionTypeId]: (_: Self) => Self
}

/**
 * That somebody has decided who may come here: what `requires` and `public` provide.
 *
 * @since 0.1.0
 * @category models
 */
export interface AccessOf<in out Self> extends Middleware.PerRequest {
  readonly [AccessTypeId]: (_: Self) => Self
}

/**
 * Where a browser is sent that asks for a page without credentials.
 *
 * @since 0.1.0
 * @category options
 */
export interface Login<Ring extends Keyring.Service | undefined = Keyring.Service | undefined> {
  /** The path of the login page, such as `"/login"`. */
  readonly path: string
  /** The query parameter that says, signed, where to return to; see `returnAddress`. Default: `"return_to"`. */
  readonly parameter?: string | undefined
  /** Signs it, in the place of the `Keyring` that a layer provides. */
  readonly keyring?: Ring | undefined
}

/**
 * @since 0.1.0
 * @category options
 */
export interface Options<
  Name extends string = string,
  Answer extends HttpServerResponse.HttpServerResponse = HttpServerResponse.HttpServerResponse,
  L extends Login | undefined = Login | undefined
> {
  /** Answers in the place of the failure, which then is none. Default: it fails. */
  readonly onError?: ErrorHandler<Answer> | undefined
  /** Sends the navigations of a browser to a page, by 303, but for those to that page. Default: a 401, as for all others. */
  readonly login?: L | undefined
  /** In the stack. */
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category options
 */
export type ErrorHandler<
  out Answer extends HttpServerResponse.HttpServerResponse = HttpServerResponse.HttpServerResponse
> = (error: AuthenticationError, request: HttpServerRequest.HttpServerRequest) => Answer

/**
 * @since 0.1.0
 * @category options
 */
export interface RequiresOptions<
  Name extends string = string,
  Answer extends HttpServerResponse.HttpServerResponse = HttpServerResponse.HttpServerResponse,
  L extends Login | undefined = Login | undefined,
  Hide extends boolean = boolean
> extends Options<Name, Answer, L> {
  /** Answers who is not permitted as if there was nothing, by the 404 of an unknown route. Default: `false`, 403. */
  readonly hide?: Hide | undefined
  /** Sends the navigations of a browser that are not permitted to this path, by 303. Default: a 403. */
  readonly redirect?: string | undefined
}

type Fails<Answer> = [Answer] extends [never] ? AuthenticationError : never
type NotAllowed<Hide> =
  | (true extends Hide ? HttpServerError.RouteNotFound : never)
  | (false extends Hide ? Authorization.NotPermitted : never)
type Signs<L> = L extends Login<infer Ring> ? Ring extends Keyring.Service ? never : Keyring.Keyring : never

/**
 * What the compiler prints for a backend that asks for what lives for one request, such as a session.
 *
 * @since 0.1.0
 * @category models
 */
export interface MustBeRequiredByTag<Service> {
  readonly "this backend asks for a service of the request: name its tag in Authentication.Tag(id, { requires: [...] })":
    Service
}
type Fits<Needed, Requires> = [Needed] extends [Requires] ? unknown : MustBeRequiredByTag<Exclude<Needed, Requires>>

/**
 * The tag of a principal, and what goes with it.
 *
 * @since 0.1.0
 * @category models
 */
export interface AuthenticationClass<in out Self, Id extends string, in out User, out Requires = never>
  extends Middleware.ServiceClass<Self, Id, Principal<User>>
{
  /** The service that its middlewares require. */
  readonly Backend: Context.Tag<BackendOf<Self>, Backend<User, unknown>>
  /** What `optional` provides. */
  readonly Option: Context.Tag<OptionOf<Self>, Option.Option<Principal<User>>>

  /** Provides the principal, and refuses a request without one. */
  readonly required: <
    const Name extends string = Id,
    Answer extends HttpServerResponse.HttpServerResponse = never,
    L extends Login | undefined = undefined
  >(
    options?: Options<Name, Answer, L>
  ) => Middleware.Middleware<
    Self,
    Fails<Answer>,
    BackendOf<Self> | Requires | Signs<L>,
    never,
    Name,
    Middleware.Phases
  >

  /** Provides the principal or none. A credential that is not good is refused: it is there, and wrong. */
  readonly optional: <
    const Name extends string = `${Id}/Option`,
    Answer extends HttpServerResponse.HttpServerResponse = never,
    L extends Login | undefined = undefined
  >(
    options?: Options<Name, Answer, L>
  ) => Middleware.Middleware<
    OptionOf<Self>,
    Fails<Answer>,
    BackendOf<Self> | Requires | Signs<L>,
    never,
    Name,
    Middleware.Phases
  >

  /**
   * Refuses a request without any credential, good or bad: a cheap guard for a whole app, before its router. `exempt` has
   * the patterns of public paths, as `Middleware.exceptRoutes` takes them. Default: none is public.
   */
  readonly presented: <
    const Name extends string = `${Id}/presented`,
    Answer extends HttpServerResponse.HttpServerResponse = never,
    L extends Login | undefined = undefined
  >(
    options?: Options<Name, Answer, L> & { readonly exempt?: ReadonlyArray<string> | undefined }
  ) => Middleware.Middleware<
    never,
    Fails<Answer>,
    BackendOf<Self> | Requires | Signs<L>,
    never,
    Name,
    Middleware.Phases
  >

  /**
   * Provides the principal, and refuses one that the requirements do not allow: 401 without a principal, 403 with one.
   * Where `required` or `optional` stands outside, who it is is not asked again.
   */
  readonly requires: <
    E = never,
    R = never,
    const Name extends string = `${Id}/requires`,
    Answer extends HttpServerResponse.HttpServerResponse = never,
    L extends Login | undefined = undefined,
    const Hide extends boolean = false
  >(
    requirement: Authorization.Requirement<User, E, R>,
    options?: RequiresOptions<Name, Answer, L, Hide>
  ) => Middleware.Middleware<
    Self | AccessOf<Self>,
    Fails<Answer> | NotAllowed<Hide> | E,
    BackendOf<Self> | Requires | Signs<L> | Exclude<R, HttpServerRequest.HttpServerRequest>,
    never,
    Name,
    Middleware.Phases
  >

  /** Says that a route is for everybody. */
  readonly public: Middleware.Middleware<AccessOf<Self>, never, never, never, `${Id}/public`, Middleware.Phases>

  /** The same decision inside a handler: gives the principal, or fails. */
  readonly permit: <E = never, R = never>(
    requirement: Authorization.Requirement<User, E, R>
  ) => Effect.Effect<Principal<User>, Authorization.NotPermitted | E, Self | R>

  /** A route of which is said who may come: `access` is of `requires` or `public`. */
  readonly route: <F, R2, H, E, R>(
    method: Method,
    path: HttpRouter.PathInput,
    access: Middleware.Middleware<AccessOf<Self>, F, R2, H>,
    handler: HttpApp.Default<E, R>
  ) => Guarded<Self, Exclude<E, H> | F, RouteContext<Exclude<R, Self | AccessOf<Self>> | R2>>

  /** A router of such routes alone. */
  readonly routes: <E, R>(...routes: ReadonlyArray<Guarded<Self, E, R>>) => HttpRouter.HttpRouter<E, R>

  /**
   * A route of `HttpLayerRouter` that does not compile before `Stack.layerRouter` of `requires` or `public` is provided to
   * it.
   */
  readonly layerRoute: <E, R>(
    method: Method,
    path: HttpRouter.PathInput,
    handler: HttpApp.Default<E, R>
  ) => Layer.Layer<
    never,
    never,
    | HttpLayerRouter.HttpRouter
    | HttpLayerRouter.Request.From<"Requires", Exclude<R | AccessOf<Self>, HttpLayerRouter.Provided>>
    | HttpLayerRouter.Request.From<"Error", E>
  >

  /** Supplies the backend. */
  readonly layer: <R = never>(
    backend: Backend<User, R> & Fits<Extract<R, Middleware.PerRequest>, Requires>
  ) => Layer.Layer<BackendOf<Self>, never, Exclude<R, Middleware.PerRequest>>

  /** For tests: every request is this user's. */
  readonly layerTest: (user: User, identity?: Omit<Identity<User>, "user">) => Layer.Layer<BackendOf<Self>>
  /** For tests: no request has credentials. */
  readonly layerAnonymous: Layer.Layer<BackendOf<Self>>
  /** For tests: nobody can tell. */
  readonly layerUnavailable: Layer.Layer<BackendOf<Self>>
}

/**
 * A route of which is said who may come to it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Guarded<in out Self, out E, out R> {
  readonly [AccessTypeId]: (_: Self) => Self
  readonly route: HttpRouter.Route<E, R>
}
type Method = Exclude<HttpMethod.HttpMethod, "HEAD"> | "*"
type RouteContext<R> = Exclude<R, HttpRouter.HttpRouter.Provided>

/**
 * A principal, by the type of its user. `requires` names the tags of sessions that a backend reads.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Authentication, Stack } from "effect-middleware"
 * import { Effect, Layer, Option, Redacted } from "effect"
 *
 * interface User {
 *   readonly name: string
 * }
 * class CurrentUser extends Authentication.Tag("app/CurrentUser")<CurrentUser, User>() {}
 *
 * const hello = Effect.map(CurrentUser, ({ user }) => HttpServerResponse.text(`hello ${user.name}`))
 *
 * const backend = Authentication.bearer({
 *   verify: (token) =>
 *     Effect.succeed(Redacted.value(token) === "secret" ? Option.some({ user: { name: "ada" } }) : Option.none())
 * })
 *
 * const server = HttpRouter.empty.pipe(
 *   HttpRouter.get("/hello", hello),
 *   Stack.serve(Stack.make(CurrentUser.required())),
 *   Layer.provide(CurrentUser.layer(backend))
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const Tag = <const Id extends string, const Requires extends ReadonlyArray<Middleware.AnyTag> = []>(
  id: Id,
  _options?: { readonly requires: Requires }
) =>
<Self, User>(): AuthenticationClass<Self, Id, User, Requires[number]["Identifier"]> => {
  const tags: Tags<User> = {
    id,
    Backend: Context.GenericTag(`${id}/Backend`),
    principal: Middleware.Service(id)<never, Principal<User>>(),
    option: Context.GenericTag(`${id}/Option`)
  }
  const layer = (backend: Backend<User, unknown>) =>
    Layer.effect(
      tags.Backend,
      Effect.map(Effect.context<never>(), (context): Backend<User, unknown> => ({
        // one by one: of an instance of a class a spread has no methods
        name: backend.name,
        challenges: backend.challenges,
        fields: backend.fields,
        isPresented: (exchange) => backend.isPresented(exchange),
        authenticate: (exchange) => {
          const answer = backend.authenticate(exchange)
          // interruptible, since platform runs an app uninterruptibly: a client that leaves and a timeout would wait for it
          return Effect.isEffect(answer)
            ? Effect.interruptible(Effect.mapInputContext(answer, merged(context)))
            : answer
        }
      }))
    )
  const constant = (result: (exchange: Middleware.Exchange) => Result<User>) =>
    layer({
      name: "test",
      challenges: [challenge("Test")],
      fields: [],
      isPresented: (exchange) => result(exchange)._tag !== "Absent",
      authenticate: result
    })
  const statics = {
    Backend: tags.Backend,
    Option: tags.option,
    required: (options: Options = {}) => authenticating(tags, options.name ?? id, "required", options),
    optional: (options: Options = {}) => authenticating(tags, options.name ?? `${id}/Option`, "optional", options),
    presented: (options: PresentedOptions = {}) => presented(tags, options),
    requires: (
      requirement: Authorization.Requirement<User, unknown, unknown>,
      options: RequiresOptions = {}
    ) => authorizing(tags, Authorization.make(requirement), options),
    public: fromPhases(`${id}/public`, [{ name: `${id}/public` }]),
    permit: (requirement: Authorization.Requirement<User, unknown, unknown>) => {
      const rule = Authorization.make(requirement)
      return Effect.flatMap(tags.principal, (principal) => {
        const decided = rule.decide(principal)
        const settle = (decision: Authorization.Decision) =>
          decision.allowed ? Effect.succeed(principal) : Effect.fail(notPermitted(rule, decision, principal))
        return Effect.isEffect(decided) ? Effect.flatMap(decided, settle) : settle(decided)
      })
    },
    route: (
      method: Method,
      path: HttpRouter.PathInput,
      access: Middleware.Any,
      handler: HttpApp.Default<unknown, unknown>
    ) => ({ route: HttpRouter.makeRoute(method, path, access(handler)) }),
    routes: (...routes: ReadonlyArray<{ readonly route: HttpRouter.Route<unknown, unknown> }>) =>
      HttpRouter.fromIterable(routes.map(({ route }) => route)),
    layerRoute: (
      method: Method,
      path: HttpRouter.PathInput,
      handler: HttpApp.Default<unknown, unknown>
    ) => HttpLayerRouter.add(method, path, handler),
    layer,
    layerTest: (user: User, identity: Omit<Identity<User>, "user"> = {}) =>
      constant((exchange) =>
        Authenticated(exchange, { method: "test", subject: "test", identity: { ...identity, user } })
      ),
    layerAnonymous: constant(() => Absent),
    layerUnavailable: constant(() => Unavailable(new Error("No backend: this is layerUnavailable")))
  }
  // the class says of each member, in types, what these plain functions do
  return Object.assign(tags.principal, statics) as never
}

interface Tags<User> {
  readonly id: string
  readonly Backend: Context.Tag<unknown, Backend<User, unknown>>
  /** Of whatever class it is. */
  readonly principal: Context.Tag<never, Principal<User>>
  readonly option: Context.Tag<unknown, Option.Option<Principal<User>>>
}

/** What the layer was built with stands behind what the request brings. */
const merged = (context: Context.Context<never>) => (request: Context.Context<never>): Context.Context<unknown> =>
  Context.merge(context, request) as Context.Context<unknown>

// ---------------------------------------------------------------------------------------------------------------------
// middleware
// ---------------------------------------------------------------------------------------------------------------------

type AnyExchange = Middleware.Exchange<unknown>
type AnyOutcome = Middleware.Refuse<object> | Middleware.Respond | Middleware.Provide<unknown>
type Answer<User> = Result<User> | Effect.Effect<Result<User>, never, unknown>

const authenticating = <User>(
  tags: Tags<User>,
  name: string,
  kind: "required" | "optional",
  options: Options
) => {
  const refusals = refusalsOf(options)
  const asked = Middleware.local<Answer<User>>()
  const found = Middleware.local<Principal<User>>()
  const settle = (exchange: AnyExchange, result: Result<User>): AnyOutcome => {
    const good = principalOf(exchange, result)
    if (good._tag === "Authenticated") {
      found.set(exchange, good.principal)
      note(exchange, good.principal)
      return Middleware.Provide(kind === "optional" ? Option.some(good.principal) : good.principal)
    }
    return good._tag === "Absent" && kind === "optional"
      ? anonymous
      : refusals(exchange, good, exchange.get(tags.Backend))
  }
  return fromPhases(name, [{
    name,
    traits: ["guard", "access", "authentication"],
    provides: kind === "optional" ? tags.option.key : tags.principal.key,
    request: (exchange: AnyExchange) => {
      const answer = exchange.get(tags.Backend).authenticate(exchange)
      if (!Effect.isEffect(answer)) return settle(exchange, answer)
      asked.set(exchange, answer)
      return Middleware.Defer
    },
    requestEffect: (exchange: AnyExchange) =>
      Effect.map(lift(asked.get(exchange) ?? Absent), (result) => settle(exchange, result)),
    response: (draft: ResponseDraft, exchange: AnyExchange) => {
      personal(draft, exchange.get(tags.Backend), found.get(exchange))
    }
  }])
}
const anonymous = Middleware.Provide(Option.none())

/** What came from inside is not for others, and without a principal not for who has one. */
const personal = (
  draft: ResponseDraft,
  { fields }: Backend<unknown, unknown>,
  principal: Principal<unknown> | undefined
) => {
  if (principal !== undefined) draft.cacheControl("private")
  draft.vary(...fields)
}

/** One whose time is up is not good, whatever a backend or its cache may say. */
const principalOf = <User>(exchange: AnyExchange, result: Result<User>): Result<User> => {
  if (result._tag !== "Authenticated" || Option.isNone(result.principal.expiresAt)) return result
  return DateTime.toEpochMillis(result.principal.expiresAt.value) > exchange.clock.unsafeCurrentTimeMillis()
    ? result
    : over
}
const over = Invalid("its time is up")

/** Who it is, to the access log; how that is known, to the metrics; and until when, to a WebSocket. */
const note = (exchange: AnyExchange, { expiresAt, method, subject }: Principal<unknown>) => {
  const { headers, source } = exchange.request
  if (headers["upgrade"] !== undefined && Option.isSome(expiresAt)) {
    expireAt(source, DateTime.toEpochMillis(expiresAt.value))
  }
  tell(source, method)
  makePersonal(exchange.request)
  const fields = exchange.getOption(AccessLog.Fields)
  if (Option.isNone(fields)) return
  fields.value.set("enduser.id", subject)
  fields.value.set("authentication.method", method)
}

type PresentedOptions = Options & { readonly exempt?: ReadonlyArray<string> | undefined }

const presented = <User>(tags: Tags<User>, options: PresentedOptions) => {
  const name = options.name ?? `${tags.id}/presented`
  const isExempt = options.exempt === undefined ? () => false : compileExemption(options.exempt)
  const refusals = refusalsOf(options)
  return fromPhases(name, [{
    name,
    traits: ["guard", "access", "authentication"],
    request: (exchange: AnyExchange) => {
      const { method, url } = exchange.request
      const backend = exchange.get(tags.Backend)
      return isExempt(method, url) || backend.isPresented(exchange) ? undefined : refusals(exchange, Absent, backend)
    }
  }])
}

const authorizing = <User>(
  tags: Tags<User>,
  rule: Authorization.Rule<User, unknown, unknown>,
  options: RequiresOptions
) => {
  const name = options.name ?? `${tags.id}/requires`
  const refusals = refusalsOf(options)
  const elsewhere = options.redirect === undefined
    ? undefined
    : Middleware.Respond(seeOther(localPath("redirect", options.redirect)))
  const pending = Middleware.local<() => Effect.Effect<AnyOutcome, unknown, unknown>>()
  const found = Middleware.local<Principal<User>>()

  const known = (exchange: AnyExchange): Result<User> | undefined => {
    const given = Option.orElse(
      exchange.getOption(tags.principal),
      () => Option.flatten(exchange.getOption(tags.option))
    )
    return Option.getOrUndefined(Option.map(given, (principal) => ({ _tag: "Authenticated", principal })))
  }
  const decide = (
    exchange: AnyExchange,
    result: Result<User>
  ): AnyOutcome | Effect.Effect<AnyOutcome, unknown, unknown> => {
    const good = principalOf(exchange, result)
    const backend = exchange.get(tags.Backend)
    if (good._tag !== "Authenticated") return refusals(exchange, good, backend)
    const { principal } = good
    found.set(exchange, principal)
    note(exchange, principal)
    const settle = (decision: Authorization.Decision): AnyOutcome => {
      if (decision.allowed) return Middleware.Provide(principal)
      const error = notPermitted(rule, decision, principal)
      exchange.annotateLogs("authorization", error.message)
      if (elsewhere !== undefined && isNavigation(exchange.request)) return elsewhere
      return Middleware.Refuse(
        options.hide === true ? new HttpServerError.RouteNotFound({ request: exchange.request }) : error
      )
    }
    const decided = rule.decide(principal)
    return Effect.isEffect(decided) ? Effect.map(Effect.interruptible(decided), settle) : settle(decided)
  }
  const defer = (exchange: AnyExchange, effect: () => Effect.Effect<AnyOutcome, unknown, unknown>) => {
    pending.set(exchange, effect)
    return Middleware.Defer
  }
  return fromPhases(name, [{
    name,
    traits: ["guard", "access", "authentication"],
    provides: tags.principal.key,
    request: (exchange: AnyExchange) => {
      const answer = known(exchange) ?? exchange.get(tags.Backend).authenticate(exchange)
      if (Effect.isEffect(answer)) {
        return defer(exchange, () => Effect.flatMap(answer, (result) => lift(decide(exchange, result))))
      }
      const outcome = decide(exchange, answer)
      return Effect.isEffect(outcome) ? defer(exchange, () => outcome) : outcome
    },
    requestEffect: (exchange: AnyExchange) => pending.get(exchange)?.() ?? Effect.dieMessage("nothing was deferred"),
    response: (draft: ResponseDraft, exchange: AnyExchange) => {
      personal(draft, exchange.get(tags.Backend), found.get(exchange))
    }
  }])
}

/** With a bearer token, what scopes it takes. */
const notPermitted = (
  rule: Authorization.Rule<never, unknown, unknown>,
  decision: Authorization.Decision,
  principal: Principal<unknown>
): Authorization.NotPermitted => {
  const own = principal instanceof PrincipalImpl ? principal.challenge : undefined
  // one that has them all would ask for the same again, and again in vain
  const asks = own !== undefined && rule.scopes.some((scope) => !principal.scopes.includes(scope))
    ? Credentials.withParams(own, { error: "insufficient_scope", scope: rule.scopes.join(" ") })
    : undefined
  const error = new Authorization.NotPermitted({
    challenge: asks === undefined ? "" : Credentials.formatChallenges([asks], undefined, false)
  })
  error.decision = decision
  return error
}

// ---------------------------------------------------------------------------------------------------------------------
// refusals
// ---------------------------------------------------------------------------------------------------------------------

type Failed = Exclude<Result<never>, Authenticated<never>>

/** What becomes of a request that is not authenticated. What is the same each time is made once. */
const refusalsOf = ({ login, onError }: Options) => {
  const redirect = login === undefined ? undefined : redirects(login)
  const made = new WeakMap<object, WeakMap<object, Made>>()
  const errorOf = (exchange: AnyExchange, failed: Failed, backend: Backend<unknown, unknown>) => {
    if (failed._tag === "Unavailable") {
      const error = new AuthenticationUnavailable()
      error.cause = failed.cause
      return error
    }
    const challenge = failed._tag === "Absent" ? undefined : failed.challenge
    const toScript = Credentials.isOfScript(exchange.request.headers)
    // results and challenges are constants, unless a backend makes each anew
    const key = challenge ?? failed
    const ofBackend = made.get(backend) ?? new WeakMap<object, Made>()
    const errors = ofBackend.get(key) ?? {}
    made.set(backend, ofBackend.set(key, errors))
    return errors[`${failed._tag}${toScript}`] ??= refusal(
      failed._tag,
      Credentials.formatChallenges(backend.challenges, challenge, toScript)
    )
  }
  return (
    exchange: AnyExchange,
    failed: Failed,
    backend: Backend<unknown, unknown>
  ): Middleware.Refuse<object> | Middleware.Respond => {
    if (failed._tag === "Unavailable") {
      exchange.log(LogLevel.Error, "Whose credentials these are cannot be told", {}, Cause.fail(failed.cause))
    } else if (failed._tag !== "Absent") exchange.annotateLogs("authentication", failed.reason)
    const error = errorOf(exchange, failed, backend)
    if (error._tag === "Unauthenticated" && redirect !== undefined) {
      const response = redirect(exchange)
      if (response !== undefined) return Middleware.Respond(response)
    }
    if (onError === undefined) return Middleware.Refuse(error)
    const draft = open(onError(error, exchange.request))
    // whatever its status: who has credentials is not to get it out of a cache
    draft.vary(...backend.fields)
    return Middleware.Respond(draft.toResponse())
  }
}

type Made = { [of in `${Exclude<Failed["_tag"], "Unavailable">}${boolean}`]?: Unauthenticated | CredentialsMalformed }

const refusal = (tag: "Absent" | "Invalid" | "Malformed", challenge: string) =>
  tag === "Malformed"
    ? new CredentialsMalformed({ challenge })
    : new Unauthenticated({ reason: tag === "Absent" ? "absent" : "invalid", challenge })

const purpose = "authentication/return-address"
const defaultParameter = "return_to"

const redirects = ({ keyring, parameter = defaultParameter, path }: Login) => {
  if (localPath("login.path", path).includes("#")) {
    throw new TypeError(`Authentication: login.path is ${JSON.stringify(path)}: leave the fragment out`)
  }
  const separator = path.includes("?") ? "&" : "?"
  return (exchange: AnyExchange): HttpServerResponse.HttpServerResponse | undefined => {
    const { request } = exchange
    if (!isNavigation(request)) return undefined
    const ring: Keyring.Service = keyring ?? (exchange as Middleware.Exchange<Keyring.Keyring>).get(Keyring.Keyring)
    const target = originForm(request.originalUrl)
    // it would be sent here again and again
    if (pathOf(target) === pathOf(path)) return undefined
    const back = isLocal(target)
      ? `${separator}${encodeURIComponent(parameter)}=${ring.purpose(purpose).sign(target, path)}`
      : ""
    return seeOther(path + back)
  }
}

const pathOf = (target: string): string => target.replace(/[?#].*$/s, "")

const seeOther = (location: string): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.redirect(location, { status: 303, headers: { "cache-control": "no-store" } })

const localPath = (option: string, path: string): string => {
  if (isLocal(path)) return path
  throw new TypeError(`Authentication: ${option} is ${JSON.stringify(path)}: write a path, such as "/login"`)
}

const isNavigation = ({ headers, method }: HttpServerRequest.HttpServerRequest): boolean => {
  if (method !== "GET" && method !== "HEAD") return false
  const mode = headers["sec-fetch-mode"]
  return mode === undefined
    ? !Credentials.isOfScript(headers) && (headers["accept"] ?? "").includes("text/html") &&
      wants(headers["accept"] ?? "")("text/html").q > 0
    : mode === "navigate"
}

/** A path that no browser takes for another origin, and a field can hold. */
const isLocal = (target: string): boolean => /^\/(?![/\\])[!-~]*$/.test(target) && target.length <= 2048

/**
 * Where to go after the login: what `login` has put into the query, if that is signed by this server for this login page.
 *
 * @example
 * ```ts
 * import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
 * import { Authentication } from "effect-middleware"
 * import { Effect, Option } from "effect"
 *
 * export const afterLogin = Effect.gen(function*() {
 *   const { url } = yield* HttpServerRequest.HttpServerRequest
 *   const back = yield* Authentication.returnAddress(url, { path: "/login" })
 *   return HttpServerResponse.redirect(Option.getOrElse(back, () => "/"), { status: 303 })
 * })
 * ```
 *
 * @since 0.1.0
 * @category login
 */
export const returnAddress = (
  url: string,
  { keyring, parameter = defaultParameter, path }: Login
): Effect.Effect<Option.Option<string>, never, Keyring.Keyring> =>
  Effect.map(keyring === undefined ? Keyring.Keyring : Effect.succeed(keyring), (ring) => {
    const query = url.indexOf("?")
    const text = query < 0 ? null : new URLSearchParams(url.slice(query + 1)).get(parameter)
    const opened = text === null ? undefined : ring.purpose(purpose).verify(text, path)
    return opened !== undefined && isLocal(opened.value) ? Option.some(opened.value) : Option.none()
  })
