/**
 * Token introspection (RFC 7662): bearer tokens that say nothing themselves, by asking the authorization server.
 *
 * 1. A token that is not active is not good; a server that cannot be asked is a 503.
 * 2. `exp` and `nbf` hold by the clock of this server too. With `audience`, `aud` has to name it.
 * 3. What is active is remembered for `cache.ttl`, and never beyond its `exp`: for so long a revoked token is still good.
 *    Requests with one token at once ask once.
 *
 * @since 0.1.0
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Authentication from "./Authentication.js"
import { isLoopbackHost, parseAuthority } from "./internal/authority.js"

/**
 * What the authorization server says of a token that is active (RFC 7662 section 2.2), and whatever else it adds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Token {
  readonly scope?: string | undefined
  readonly client_id?: string | undefined
  readonly username?: string | undefined
  readonly token_type?: string | undefined
  readonly exp?: number | undefined
  readonly iat?: number | undefined
  readonly nbf?: number | undefined
  readonly sub?: string | undefined
  readonly aud?: string | ReadonlyArray<string> | undefined
  readonly iss?: string | undefined
  readonly jti?: string | undefined
  readonly [claim: string]: unknown
}

/**
 * The authorization server could not be asked about a token, or has answered what is no answer.
 *
 * @since 0.1.0
 * @category errors
 */
export class IntrospectionFailed extends Data.TaggedError("IntrospectionFailed")<{
  readonly cause: unknown
}> {
  override get message() {
    return "The authorization server does not say whether a token is active"
  }
}

/**
 * A verifier for `Authentication.bearer`. Throws on a URL that is not safe, and on a cache for nothing.
 *
 * @example
 * ```ts
 * import { FetchHttpClient } from "@effect/platform"
 * import { Authentication, TokenIntrospection } from "effect-middleware"
 * import { Layer, Option, Redacted } from "effect"
 *
 * class Service extends Authentication.Tag("app/Service")<Service, { readonly client: string }>() {}
 *
 * const verify = TokenIntrospection.verifier({
 *   url: "https://auth.example.com/introspect",
 *   client: { id: "orders", secret: Redacted.make("from your secret manager") },
 *   audience: "orders",
 *   identity: ({ client_id }) => Option.map(Option.fromNullable(client_id), (client) => ({ user: { client } }))
 * })
 *
 * const layer = Service.layer(Authentication.bearer({ verify })).pipe(Layer.provide(FetchHttpClient.layer))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const verifier = <User>(options: {
  /** Of the endpoint: `https`, or `http` on a loopback host. */
  readonly url: string
  /** How this server shows who it is, by `Basic` (RFC 6749 section 2.3.1). */
  readonly client: { readonly id: string; readonly secret: Redacted.Redacted }
  /** None: what the token says is nobody. Subject, scopes and times are taken from the answer, unless it says others. */
  readonly identity: (token: Token) => Option.Option<Authentication.Identity<User>>
  /** One of these has to be in `aud`. Default: it is not looked at. */
  readonly audience?: string | ReadonlyArray<string> | undefined
  /** How long to wait for an answer. Default: 5 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Default: 1000 tokens, for 1 minute. */
  readonly cache?: false | {
    readonly capacity: number
    readonly ttl: Duration.DurationInput
  } | undefined
}): (token: Redacted.Redacted) => Authentication.Verified<User, IntrospectionFailed, HttpClient.HttpClient> => {
  const { client, timeout = "5 seconds", url } = options
  if (!isSecure(url)) {
    throw new TypeError(`TokenIntrospection: url is ${JSON.stringify(url)}: write one of https`)
  }
  const audiences = options.audience === undefined ? undefined : [options.audience].flat()
  const request = HttpClientRequest.post(url).pipe(
    HttpClientRequest.basicAuth(encodeURIComponent(client.id), encodeURIComponent(Redacted.value(client.secret))),
    HttpClientRequest.acceptJson
  )
  const ask = (token: string): Effect.Effect<Token | undefined, IntrospectionFailed, HttpClient.HttpClient> =>
    HttpClient.execute(HttpClientRequest.bodyUrlParams(request, { token, token_type_hint: "access_token" })).pipe(
      Effect.flatMap(HttpClientResponse.filterStatus((status) => status === 200)),
      Effect.flatMap(HttpClientResponse.schemaBodyJson(Answer)),
      Effect.scoped,
      Effect.timeout(timeout),
      Effect.interruptible,
      Effect.mapBoth({
        onFailure: (cause) => new IntrospectionFailed({ cause }),
        onSuccess: (answer) => answer.active ? answer : undefined
      })
    )
  const cached = options.cache === false ? ask : remembering(ask, options.cache)
  return (token) =>
    Effect.flatMap(cached(Redacted.value(token)), (answer) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        if (answer === undefined) return Option.none()
        const { aud, exp, iat, nbf, scope, sub } = answer
        if (exp !== undefined && exp * 1000 <= now) return Option.none()
        if (nbf !== undefined && nbf * 1000 > now) return Option.none()
        if (audiences !== undefined && ![aud ?? []].flat().some((one) => audiences.includes(one))) return Option.none()
        return Option.map(options.identity(answer), (identity) => ({
          ...identity,
          claims: identity.claims ?? answer,
          subject: identity.subject ?? sub,
          scopes: identity.scopes ?? scope?.split(" ").filter((name) => name !== ""),
          expiresAt: identity.expiresAt ?? at(exp),
          authenticatedAt: identity.authenticatedAt ?? at(iat)
        }))
      }))
}

const at = (seconds: number | undefined) => seconds === undefined ? undefined : DateTime.unsafeMake(seconds * 1000)

const Time = Schema.optional(Schema.Number.pipe(Schema.between(0, 8.64e12)))
const Text = Schema.optional(Schema.String)
const Answer = Schema.Struct(
  {
    active: Schema.Boolean,
    scope: Text,
    client_id: Text,
    username: Text,
    token_type: Text,
    exp: Time,
    iat: Time,
    nbf: Time,
    sub: Text,
    aud: Schema.optional(Schema.Union(Schema.String, Schema.Array(Schema.String))),
    iss: Text,
    jti: Text
  },
  Schema.Record({ key: Schema.String, value: Schema.Unknown })
)

/** What is read between services: nobody in between may read along. */
const isSecure = (url: string): boolean => {
  if (!URL.canParse(url)) return false
  const { host, protocol } = new URL(url)
  return protocol === "https:" || (protocol === "http:" && isLoopbackHost(parseAuthority(host)))
}

/** By the hash of a token, so that nothing that is good lies about. What is not active is asked about again. */
const remembering = <R>(
  ask: (token: string) => Effect.Effect<Token | undefined, IntrospectionFailed, R>,
  { capacity, ttl }: { readonly capacity: number; readonly ttl: Duration.DurationInput } = {
    capacity: 1000,
    ttl: "1 minute"
  }
) => {
  if (!Number.isInteger(capacity) || capacity < 1) {
    throw new TypeError(`TokenIntrospection: cache.capacity is ${capacity}: write at least 1, or cache: false`)
  }
  const life = Duration.toMillis(ttl)
  const known = new Map<string, { readonly answer: Token; readonly until: number }>()
  const remember = (key: string, answer: Token | undefined, now: number) => {
    if (answer === undefined) return
    known.set(key, { answer, until: now + life })
    // the one that was remembered first
    if (known.size > capacity) known.delete(known.keys().next().value ?? "")
  }
  const asked = new Map<string, Deferred.Deferred<Token | undefined, IntrospectionFailed>>()
  return (token: string): Effect.Effect<Token | undefined, IntrospectionFailed, R> =>
    // a client that leaves between the note that it is asked and the asking would leave the others waiting for ever
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.zip(Clock.currentTimeMillis, Deferred.make<Token | undefined, IntrospectionFailed>()), (
        [now, answered]
      ) => {
        const key = Authentication.hashApiKey(token)
        const found = known.get(key)
        if (found !== undefined && found.until > now) return Effect.succeed(found.answer)
        known.delete(key)
        const running = asked.get(key)
        if (running !== undefined) return restore(Deferred.await(running))
        asked.set(key, answered)
        // by itself: the client that was first may leave before the others have their answer
        return Effect.zipRight(
          ask(token).pipe(
            Effect.tap((answer) => Effect.sync(() => remember(key, answer, now))),
            Effect.onExit((exit) => {
              asked.delete(key)
              return Deferred.done(answered, exit)
            }),
            Effect.forkDaemon
          ),
          restore(Deferred.await(answered))
        )
      })
    )
}
