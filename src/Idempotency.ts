/**
 * Has what a client sends twice done once: by the `Idempotency-Key` of the request
 * (draft-ietf-httpapi-idempotency-key-header-07), which a client makes for what it wants and sends again when it tries again.
 *
 * 1. The first request with a key claims it, and reaches the handler. What that answers is kept for `ttl`, and given to each that
 *    comes with the key after it, status, fields and body as they were, with `Idempotency-Replayed: true`.
 * 2. A key belongs to its principal (`scope`) and its route, and to what was sent with it first: with another path, query, type or
 *    body it is a 422. While the first is under way it is a 409, with `Retry-After`.
 * 3. What is kept: what the handler has answered, failures with an answer too, but for 5xx, 401, 408, 409, 425 and 429; not what a
 *    middleware further in has refused. After what is not kept the same request is carried out again.
 * 4. A claim is good for `lease`, and prolonged for as long as its handler runs. If the process crashes, the next request has the key
 *    when the lease is over, with a greater token. Who comes back late can neither answer for the key nor give it up.
 * 5. A handler that has begun runs to its end, and its answer is kept before it is sent: a client that has left finds it there.
 * 6. Where the store is down, `onUnavailable` decides: a 503, unless it says otherwise.
 *
 * @since 0.1.0
 */
import * as Cookies from "@effect/platform/Cookies"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import type * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as MetricLabel from "effect/MetricLabel"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scopes from "effect/Scope"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import { parseItem } from "structured-headers"
import { BodyTooLarge } from "./BodyLimit.js"
import { type Answer, type Claim as StoredClaim, IdempotencyStore, IdempotencyUnavailable } from "./IdempotencyStore.js"
import { buffered } from "./internal/bufferedBody.js"
import { fieldsOf, responseOf } from "./internal/cacheBodies.js"
import { storedFields } from "./internal/cacheRules.js"
import { hasContent } from "./internal/content.js"
import { digest } from "./internal/digest.js"
import { isToken } from "./internal/fields.js"
import { type ErasedApp, type ExchangeImpl, fromPhases, withRun, wrapping } from "./internal/kernel.js"
import { lift } from "./internal/lift.js"
import { leave, nodeRequest } from "./internal/nodeRequest.js"
import { compileGuard } from "./internal/pathPattern.js"
import { type Somebody, subjectOf } from "./internal/principals.js"
import { isStreamed } from "./internal/requestBody.js"
import { parseSize, type Size } from "./internal/size.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"
import { type Open, open } from "./ResponseDraft.js"

type Response = HttpServerResponse.HttpServerResponse

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Whose key it is: a text of the request, `undefined` for nobody in particular, or an Effect of either. The keys of `RateLimit` are
 * such functions too.
 *
 * @since 0.1.0
 * @category models
 */
export type Scope<R = never, E = never> = (
  exchange: Middleware.Exchange<R>
) => string | undefined | Effect.Effect<string | undefined, E, R>

/**
 * The subject of a principal. Of an optional one, those who are nobody share one scope.
 *
 * @example
 * ```ts
 * import { Authentication, Idempotency } from "effect-middleware"
 *
 * class CurrentUser extends Authentication.Tag("app/CurrentUser")<CurrentUser, { readonly id: number }>() {}
 *
 * const once = Idempotency.middleware({ scope: Idempotency.principal(CurrentUser) })
 * ```
 *
 * @since 0.1.0
 * @category scopes
 */
export const principal = <I, P extends Somebody>(tag: Context.Tag<I, P>): Scope<I> => (exchange) => {
  const found: Somebody = exchange.get(tag)
  return subjectOf(found)
}

/**
 * What a fingerprint is made of.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sent {
  readonly method: string
  /** As it was received, without the query. */
  readonly path: string
  /** What is after the `?`, as it was received; empty where there is none. */
  readonly query: string
  /** The `Content-Type` header; empty where there is none. */
  readonly contentType: string
  readonly body: Uint8Array
}

/**
 * @since 0.1.0
 * @category models
 */
export interface PolicyOptions {
  /** The methods for which a key counts. Default: `["POST", "PATCH"]`. */
  readonly methods?: ReadonlyArray<string> | undefined
  /**
   * Whether a request must have a key: all of them, none, or those for the given routes, read as loosely as by
   * `Middleware.forRoutes`. Default: `false`.
   */
  readonly required?: boolean | ReadonlyArray<string> | undefined
  /**
   * Whether a key may also stand without quotation marks, as many clients send it: visible characters but for `"`, `,` and `;`.
   * It is the same key as the one with them. Default: `false`.
   */
  readonly unquoted?: boolean | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<R = never, E = never, Name extends string = string> extends PolicyOptions {
  /**
   * Whose key it is. One principal never sees what another one was answered. `"everyone"`: nobody tells clients apart, so whoever
   * knows a key, and all that was sent with it, sees the answer; then no cookies are kept.
   */
  readonly scope: Scope<R, E> | "everyone"
  /** For how long an answer is kept, and its key not free for another request. Default: 24 hours. */
  readonly ttl?: Duration.DurationInput | undefined
  /**
   * For how long a claim is good, while nobody prolongs it: after a crash a request with the same key has to wait for as long. Every
   * third of it the claim is prolonged. From 1 second. Default: 60 seconds.
   */
  readonly lease?: Duration.DurationInput | undefined
  /**
   * What makes two requests the same, as a text. Default: all of `Sent`. Leave out what a client does not send again alike; never
   * what says what it wants.
   */
  readonly fingerprint?: ((sent: Sent) => string) | undefined
  /** The largest body of a request with a key, which is read before the handler runs; a larger one is refused with a 413. Default: `"1 MiB"`. */
  readonly maxRequestSize?: Size | undefined
  /**
   * The largest body of an answer that is kept. A larger one is sent, and that the request was carried out is known; but it cannot be
   * given again. Default: `"1 MiB"`.
   */
  readonly maxBodySize?: Size | undefined
  /** Whether an answer of 5xx is kept, too: the client then never gets another one for the key. Default: `false`. */
  readonly store5xx?: boolean | undefined
  /**
   * What becomes of a handler whose request is interrupted, as by a client that leaves or a `Timeout` further out. `"finish"`: it runs to
   * its end, and its answer is kept. `"release"`: it is interrupted, and the key is free. Default: `"finish"`.
   */
  readonly onInterrupt?: "finish" | "release" | undefined
  /**
   * What becomes of a request with a key while the store is down: refused with a 503, or carried out without protection, and logged.
   * Default: `"refuse"`.
   */
  readonly onUnavailable?: "refuse" | "allow" | undefined
  /** A page that tells clients how keys are used here: refusals link to it. Default: none. */
  readonly documentation?: string | undefined
  /** The name of the keys, too: two of other names share a store, and no key. Default: `"Idempotency"`. */
  readonly name?: Name | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// the policy
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category policy
 */
export interface Facts {
  readonly method: string
  /** The request target as received. */
  readonly target: string
  /** The pattern of the route, where it is known. */
  readonly route?: string | undefined
  /** The `Idempotency-Key` header. */
  readonly key: string | undefined
}

/**
 * - `Pass`: no key counts, or there is none and none is asked for.
 * - `Missing`: there has to be one.
 * - `Invalid`: it is no string (RFC 9651 section 3.3.3), or has not 1 to 255 characters.
 * - `Keyed`
 *
 * @since 0.1.0
 * @category policy
 */
export type Decision =
  | { readonly _tag: "Pass" }
  | { readonly _tag: "Missing" }
  | { readonly _tag: "Invalid" }
  | { readonly _tag: "Keyed"; readonly key: string }

/**
 * Compiles the rules, once, to a pure function. Throws on methods that are none, or are safe, and on routes that no router has.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { Idempotency } from "effect-middleware"
 *
 * const decide = Idempotency.policy({ required: ["POST /payments"] })
 *
 * assert.deepEqual(decide({ method: "POST", target: "/payments", key: `"8e03978e"` }), { _tag: "Keyed", key: "8e03978e" })
 * assert.deepEqual(decide({ method: "POST", target: "/payments", key: undefined }), { _tag: "Missing" })
 * assert.deepEqual(decide({ method: "POST", target: "/notes", key: undefined }), { _tag: "Pass" })
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (
  { methods = ["POST", "PATCH"], required = false, unquoted = false }: PolicyOptions = {}
): (facts: Facts) => Decision => {
  for (const method of methods) {
    if (!isToken(method) || method !== method.toUpperCase() || safe.has(method)) {
      throw new TypeError(
        `Idempotency: methods has ${JSON.stringify(method)}: write those that change something, such as "POST"`
      )
    }
  }
  if (methods.length === 0) throw new TypeError(`Idempotency: methods is empty: write one, such as "POST"`)
  const covered = new Set(methods)
  const isRequired = typeof required === "boolean" ? () => required : compileRequired(required)
  return ({ key, method, route, target }) => {
    if (!covered.has(method)) return pass
    if (key === undefined) return isRequired(method, target, route) ? missing : pass
    const parsed = parseKey(key, unquoted)
    return parsed === undefined ? invalid : { _tag: "Keyed", key: parsed }
  }
}

const pass: Decision = { _tag: "Pass" }
const missing: Decision = { _tag: "Missing" }
const invalid: Decision = { _tag: "Invalid" }

/** They may be sent again anyway. */
const safe = new Set(["GET", "HEAD", "OPTIONS", "TRACE"])

const compileRequired = (routes: ReadonlyArray<string>) => {
  const match = compileGuard(routes)
  return (method: string, target: string, route: string | undefined) =>
    match(method, target) || (route !== undefined && match(method, route))
}

const longest = 255

const parseKey = (field: string, unquoted: boolean): string | undefined => {
  // what is longer than one that is escaped throughout is not even looked at
  if (field.length > longest * 4) return undefined
  const key = unquoted && /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x7e]+$/.test(field) ? field : parseString(field)
  return key !== undefined && key.length >= 1 && key.length <= longest ? key : undefined
}

const parseString = (field: string): string | undefined => {
  try {
    const [value] = parseItem(field)
    return typeof value === "string" ? value : undefined
  } catch {
    return undefined
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// refusals
// ---------------------------------------------------------------------------------------------------------------------

/** Where a page explains it, the problem is named by it, and links to it. */
const faceOf = (
  status: number,
  title: string,
  detail: string,
  documentation: string | undefined,
  headers: { readonly [name: string]: string } = {}
) =>
  ProblemDetails.toResponse({ status, title, detail, type: documentation }, {
    headers: documentation === undefined
      ? headers
      : { ...headers, link: `<${documentation}>; rel="describedby"; type="text/html"` }
  })

const documented = { documentation: Schema.optional(Schema.String) }

/**
 * The request has no `Idempotency-Key`, and has to have one: 400.
 *
 * @since 0.1.0
 * @category errors
 */
export class IdempotencyKeyMissing
  extends Schema.TaggedError<IdempotencyKeyMissing>("effect-middleware/Idempotency/IdempotencyKeyMissing")(
    "IdempotencyKeyMissing",
    documented,
    HttpApiSchema.annotations({ status: 400 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return "The request has no Idempotency-Key"
  }
  [HttpServerRespondable.symbol]() {
    return faceOf(
      400,
      "Idempotency-Key is missing",
      "Send an Idempotency-Key, a string in quotation marks, and the same one when you try again",
      this.documentation
    )
  }
}

/**
 * `Idempotency-Key` is no string of 1 to 255 characters (RFC 9651 section 3.3.3): 400.
 *
 * @since 0.1.0
 * @category errors
 */
export class IdempotencyKeyInvalid
  extends Schema.TaggedError<IdempotencyKeyInvalid>("effect-middleware/Idempotency/IdempotencyKeyInvalid")(
    "IdempotencyKeyInvalid",
    documented,
    HttpApiSchema.annotations({ status: 400 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return "The Idempotency-Key is no string"
  }
  [HttpServerRespondable.symbol]() {
    return faceOf(
      400,
      "Idempotency-Key is invalid",
      `An Idempotency-Key is one string of 1 to ${longest} characters, in quotation marks`,
      this.documentation
    )
  }
}

/**
 * The key was sent before with something else: 422.
 *
 * @since 0.1.0
 * @category errors
 */
export class IdempotencyKeyReused
  extends Schema.TaggedError<IdempotencyKeyReused>("effect-middleware/Idempotency/IdempotencyKeyReused")(
    "IdempotencyKeyReused",
    documented,
    HttpApiSchema.annotations({ status: 422 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return "The Idempotency-Key was sent before with another request"
  }
  [HttpServerRespondable.symbol]() {
    return faceOf(
      422,
      "Idempotency-Key is already used",
      "The key was sent before with another request: make a new one for each that you want carried out",
      this.documentation
    )
  }
}

/**
 * A request with the key is under way: 409, with `Retry-After`. Also what is told to a request whose claim was lost to another one.
 *
 * @since 0.1.0
 * @category errors
 */
export class IdempotencyInProgress
  extends Schema.TaggedError<IdempotencyInProgress>("effect-middleware/Idempotency/IdempotencyInProgress")(
    "IdempotencyInProgress",
    documented,
    HttpApiSchema.annotations({ status: 409 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return "A request with the same Idempotency-Key is under way"
  }
  [HttpServerRespondable.symbol]() {
    return faceOf(
      409,
      "A request is outstanding for this Idempotency-Key",
      "A request with the same key is being carried out: try again for its answer",
      this.documentation,
      { "retry-after": "1" }
    )
  }
}

/**
 * The request was carried out, and its answer cannot be given again, since it was too large to be kept: 409.
 *
 * @since 0.1.0
 * @category errors
 */
export class IdempotencyNotReplayable
  extends Schema.TaggedError<IdempotencyNotReplayable>("effect-middleware/Idempotency/IdempotencyNotReplayable")(
    "IdempotencyNotReplayable",
    {
      /** The status that it was answered with. */
      status: Schema.Number,
      ...documented
    },
    HttpApiSchema.annotations({ status: 409 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return `A request with the same Idempotency-Key was answered with ${this.status}, and the answer was not kept`
  }
  [HttpServerRespondable.symbol]() {
    return faceOf(
      409,
      "The request was carried out",
      `It was answered with ${this.status}, and the answer was too large to be given again`,
      this.documentation
    )
  }
}

/** Made once: an error with its stack and its schema costs more than the decision. */
const refusals = (documentation: string | undefined) => {
  const given = documentation === undefined ? {} : { documentation }
  return {
    missing: new IdempotencyKeyMissing(given),
    invalid: new IdempotencyKeyInvalid(given),
    reused: new IdempotencyKeyReused(given),
    inProgress: new IdempotencyInProgress(given),
    notReplayable: (status: number) => new IdempotencyNotReplayable({ status, ...given })
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// what a handler knows
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The claim that a handler runs under.
 *
 * @since 0.1.0
 * @category models
 */
export interface Claimed extends StoredClaim {
  /** For how long the answer is kept, in milliseconds. */
  readonly ttl: number
  /** The refusal of who has lost it. */
  readonly lost: IdempotencyInProgress
  /**
   * What is to be kept of a response; `undefined` where nothing is. A body that is a stream is read for it: send the response that it
   * gives in the place of the one it was given.
   */
  readonly answerOf: (
    response: HttpServerResponse.HttpServerResponse
  ) => Effect.Effect<{
    readonly answer: Answer | undefined
    readonly response: HttpServerResponse.HttpServerResponse
  }>
}

/**
 * The claim of this request: none where it has no key, or its method none that counts, or the store was down and `onUnavailable` is
 * `"allow"`.
 *
 * `token` fences what a handler writes: who has a greater one came later. A write that names it, and is refused where a greater one has
 * written, cannot be made by a handler that was thought to be dead.
 *
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import * as SqlClient from "@effect/sql/SqlClient"
 * import { Idempotency } from "effect-middleware"
 * import { Effect, Option } from "effect"
 *
 * const ship = Effect.gen(function*() {
 *   const sql = yield* SqlClient.SqlClient
 *   const claim = yield* Idempotency.Claim
 *   const token = Option.match(claim, { onNone: () => 0, onSome: ({ token }) => token })
 *   yield* sql`UPDATE orders SET shipped = true, fence = ${token} WHERE id = 1 AND fence <= ${token}`
 *   return HttpServerResponse.empty()
 * })
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export class Claim extends Middleware.Service("effect-middleware/Idempotency/Claim")<Claim, Option.Option<Claimed>>() {}

// ---------------------------------------------------------------------------------------------------------------------
// the middleware
// ---------------------------------------------------------------------------------------------------------------------

/** Stands in the context of what runs under a claim. */
class Inside extends Context.Tag("effect-middleware/Idempotency/Inside")<Inside, true>() {}

/** A claim, from the way in to the way out. */
interface Held {
  readonly claim: Claimed
  isSettled: boolean
  isRunning: boolean
  /** Ends what prolongs it. */
  stop: () => void
}

/**
 * Refuses with `IdempotencyKeyMissing` and `IdempotencyKeyInvalid` (400), `IdempotencyKeyReused` (422), `IdempotencyInProgress` and
 * `IdempotencyNotReplayable` (409), `BodyTooLarge` (413), and `IdempotencyUnavailable` (503) where the store cannot be asked. A body
 * that cannot be read is platform's `RequestError` (400).
 *
 * Stands inside what tells who the principal is, and outside what it is to protect: best on the routes it is for.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Authentication, Idempotency, IdempotencyStore, Stack } from "effect-middleware"
 * import { Effect, Layer, Option, Redacted } from "effect"
 *
 * class CurrentUser extends Authentication.Tag("app/CurrentUser")<CurrentUser, string>() {}
 *
 * const pay = HttpServerResponse.text("paid", { status: 201 }).pipe(
 *   Idempotency.middleware({ scope: Idempotency.principal(CurrentUser), required: true })
 * )
 * const app = HttpRouter.empty.pipe(HttpRouter.post("/payments", pay))
 *
 * const backend = CurrentUser.layer(Authentication.bearer({
 *   verify: (token) => Effect.succeed(Redacted.value(token) === "secret" ? Option.some({ user: "ada" }) : Option.none())
 * }))
 * const server = Stack.serve(app, Stack.make(CurrentUser.required())).pipe(
 *   Layer.provide([backend, IdempotencyStore.layerMemory()])
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <R = never, E = never, const Name extends string = "Idempotency">(
  options: Options<R, E, Name>
): Middleware.Middleware<
  Claim,
  | IdempotencyKeyMissing
  | IdempotencyKeyInvalid
  | IdempotencyKeyReused
  | IdempotencyInProgress
  | IdempotencyNotReplayable
  | IdempotencyUnavailable
  | BodyTooLarge
  | HttpServerError.RequestError
  | E,
  IdempotencyStore | R,
  never,
  Name,
  Middleware.Wrapping
> => {
  const name = options.name ?? "Idempotency" as Name
  const { fingerprint = everything, onInterrupt = "finish", onUnavailable = "refuse", store5xx = false } = options
  oneOf("onInterrupt", onInterrupt, ["finish", "release"])
  oneOf("onUnavailable", onUnavailable, ["refuse", "allow"])
  const decide = policy(options)
  const scopeOf: Scope<R, E> = scopeFrom(options.scope)
  const ttl = millis("ttl", options.ttl ?? "24 hours")
  const lease = millis("lease", options.lease ?? "60 seconds")
  if (ttl < lease) {
    throw new RangeError(`Idempotency: ttl is ${ttl} ms and lease ${lease} ms: write a ttl that is not shorter`)
  }
  const maxRequestSize = parseSize("Idempotency", "maxRequestSize", options.maxRequestSize ?? "1 MiB")
  const maxBodySize = parseSize("Idempotency", "maxBodySize", options.maxBodySize ?? "1 MiB")
  const refusal = refusals(checkedUrl(options.documentation))
  const tooLarge = new BodyTooLarge({ limit: maxRequestSize })
  const advertised = `${Math.floor(ttl / 1000)}`
  const count = counterOf(name)
  const helds = Middleware.local<Held>()
  const keys = Middleware.local<string>()
  const none = Middleware.Provide(Option.none<Claimed>())

  // --- on the way in -------------------------------------------------------------------------------------------------

  const request = (exchange: Middleware.Exchange<IdempotencyStore | R>) => {
    const { headers, method, url } = exchange.request
    const decision = decide({ method, target: url, route: exchange.route, key: headers["idempotency-key"] })
    switch (decision._tag) {
      case "Pass":
        return none
      case "Missing":
        return Middleware.Refuse(refusal.missing)
      case "Invalid":
        return Middleware.Refuse(refusal.invalid)
      case "Keyed":
        keys.set(exchange, decision.key)
        return Middleware.Defer
    }
  }

  const requestEffect = (exchange: Middleware.Exchange<IdempotencyStore | R>) =>
    Effect.gen(function*() {
      const { headers, method, url } = exchange.request
      const scope = yield* lift(scopeOf(exchange))
      const body = yield* bodyOf(exchange, maxRequestSize, tooLarge)
      const end = url.indexOf("?")
      const [path, query] = end === -1 ? [url, ""] : [url.slice(0, end), url.slice(end + 1)]
      const sent = { method, path, query, contentType: headers["content-type"] ?? "", body }
      const terms = { fingerprint: digest(fingerprint(sent)), lease, ttl }
      const key = JSON.stringify([name, scope ?? null, method, exchange.route ?? path, keys.get(exchange)])
      const outcome = yield* exchange.get(IdempotencyStore).claim(key, terms)
      count(outcome._tag)
      switch (outcome._tag) {
        case "Reused":
          return Middleware.Refuse(refusal.reused)
        case "InProgress":
          return Middleware.Refuse(refusal.inProgress)
        case "Answered":
          return outcome.answer.whole
            ? Middleware.Respond(replay(outcome.answer, advertised))
            : Middleware.Refuse(refusal.notReplayable(outcome.answer.status))
        case "Claimed": {
          const claim: Claimed = {
            key,
            fingerprint: terms.fingerprint,
            token: outcome.token,
            ttl,
            lost: refusal.inProgress,
            answerOf: (response) => answerOf(response, scope !== undefined)
          }
          helds.set(exchange, { claim, isSettled: false, isRunning: false, stop: ignore })
          return Middleware.Provide(Option.some(claim))
        }
      }
    }).pipe((effect) =>
      onUnavailable === "refuse" ? effect : Effect.catchIf(effect, isUnavailable, (error) => {
        count("Unavailable")
        exchange.log(
          LogLevel.Warning,
          `${name}: a request with a key was carried out unprotected`,
          {},
          Cause.fail(error)
        )
        return Effect.succeed(none)
      })
    )

  // --- what is kept --------------------------------------------------------------------------------------------------

  const isKept = (status: number) => (status < 500 || store5xx) && !passing.has(status)

  const answerOf = (given: Response, hasPrincipal: boolean) => {
    const response = unwrapped(given)
    if (!isKept(response.status)) return Effect.succeed({ answer: undefined, response })
    return Effect.map(buffered(response, maxBodySize), ({ body, bytes, failed }) => {
      const draft = open(response)
      if (body !== undefined) draft.setBody(body)
      const sent = draft.toResponse()
      const { status } = sent
      // it may be whole the next time
      if (failed) return { answer: undefined, response: sent }
      if (bytes === undefined) return { answer: tooLargeOf(status), response: sent }
      const { "set-cookie": cookie, ...headers } = storedFields(fieldsOf(sent))
      const cookies = [...cookie === undefined ? [] : [cookie], ...Cookies.toSetCookieHeaders(sent.cookies)]
      const answer: Answer = { status, headers, cookies: hasPrincipal ? cookies : [], body: bytes, whole: true }
      return { answer, response: sent }
    })
  }

  /** Keeps what is to be sent, or frees the key. `undefined` where somebody else has the key by now. */
  const settle = (
    exchange: Middleware.Exchange<IdempotencyStore>,
    held: Held,
    response: Response
  ): Effect.Effect<Response | undefined> =>
    Effect.suspend(() => {
      const { claim } = held
      const store = exchange.get(IdempotencyStore)
      const kept = exchange.refusal === undefined
        ? claim.answerOf(response)
        : Effect.succeed({ answer: undefined, response })
      return Effect.flatMap(kept, ({ answer, response }) => {
        end(held)
        if (answer === undefined) return Effect.as(released(exchange, held), response)
        return Effect.matchEffect(store.complete(claim, answer, ttl), {
          onSuccess: (isOwn) => {
            if (!isOwn) count("Lost")
            return Effect.succeed(isOwn ? response : undefined)
          },
          // it is done, whether that is known or not
          onFailure: (error) => {
            exchange.log(LogLevel.Warning, `${name}: an answer was sent and not kept yet`, {}, Cause.fail(error))
            const again = store.complete(claim, answer, ttl).pipe(
              Effect.retry(Schedule.intersect(Schedule.spaced("1 second"), Schedule.recurUpTo(lease))),
              Effect.catchAll((error) => Effect.logError(`${name}: an answer was sent and could not be kept`, error))
            )
            return Effect.as(Effect.forkDaemon(again), response)
          }
        })
      })
    })

  const released = (exchange: Middleware.Exchange<IdempotencyStore>, held: Held): Effect.Effect<void> => {
    end(held)
    return Effect.catchAll(
      exchange.get(IdempotencyStore).release(held.claim),
      (error) =>
        Effect.sync(() =>
          exchange.log(LogLevel.Warning, `${name}: a key is free only when its lease is over`, {}, Cause.fail(error))
        )
    )
  }

  // --- what wraps the app --------------------------------------------------------------------------------------------

  const around = (app: ErasedApp): ErasedApp =>
    withRun((run) => {
      const held = helds.get(run)
      return held === undefined ? app : work(app, run, held)
    })

  const work = (app: ErasedApp, run: ExchangeImpl, held: Held): ErasedApp => {
    const exchange: Middleware.Exchange<IdempotencyStore> = run
    const settled = Effect.flatMap(app, (response) =>
      // where platform has answered before, the phase below has seen it
      held.isSettled ? Effect.succeed(response) : Effect.flatMap(
        settle(exchange, held, response),
        (kept) => kept === undefined ? Effect.fail(refusal.inProgress) : Effect.succeed(kept)
      )).pipe(Effect.provideService(Inside, true))
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.forkDaemon(Effect.interruptible(prolong(exchange, held))), (beat) => {
        held.stop = () => beat.unsafeInterruptAsFork(beat.id())
        held.isRunning = true
        return Effect.onExit(onInterrupt === "finish" ? apart(settled) : restore(settled), (exit) => {
          held.stop()
          held.isRunning = false
          return Exit.isFailure(exit) && Cause.isInterrupted(exit.cause) && !held.isSettled
            ? released(exchange, held)
            : Effect.void
        })
      })
    )
  }

  const prolong = (exchange: Middleware.Exchange<IdempotencyStore>, { claim }: Held): Effect.Effect<void> => {
    const store = exchange.get(IdempotencyStore)
    const go: Effect.Effect<void> = Effect.delay(
      Effect.matchEffect(store.renew(claim, lease), {
        // what is lost is lost, and whoever runs under it hears of it in the end
        onSuccess: (isOwn) => isOwn ? go : Effect.void,
        onFailure: () => go
      }),
      lease / 3
    )
    return go
  }

  // --- on the way out ------------------------------------------------------------------------------------------------

  const responseEffect = (
    draft: Open,
    exchange: Middleware.Exchange<IdempotencyStore>
  ): Effect.Effect<void> => {
    const held = helds.get(exchange)
    if (held === undefined) return Effect.void
    draft.setIfAbsent(ttlField, advertised)
    if (held.isSettled) return Effect.void
    return Effect.flatMap(Effect.serviceOption(Inside), (inside) =>
      // who stands further out has not waited for the handler, which will have an answer of its own
      held.isRunning && Option.isNone(inside) ? Effect.void : Effect.map(
        settle(exchange, held, draft.toResponse()),
        (kept) => {
          if (kept === undefined) draft.refuse(refusal.inProgress)
          else if (kept.body !== draft.body) draft.setBody(kept.body)
        }
      ))
  }

  return fromPhases(name, [
    { name, provides: Claim.key, request, requestEffect, responseEffect },
    { name, around }
  ], wrapping)
}

const ttlField = "idempotency-ttl"

const noBytes = new Uint8Array(0)
const ignore = () => {}

/** What may be another answer the next time, although nothing else has changed. */
const passing: ReadonlySet<number> = new Set([401, 408, 409, 425, 429])

const end = (held: Held): void => {
  held.isSettled = true
  held.stop()
}

const tooLargeOf = (status: number): Answer => ({ status, headers: {}, cookies: [], body: noBytes, whole: false })

/** A response of the web that stands as a body, with its own status and fields. */
const unwrapped = (response: Response): Response => {
  const raw = response.body._tag === "Raw" ? response.body.body : undefined
  return raw instanceof globalThis.Response
    ? HttpServerResponse.fromWeb(raw).pipe(
      HttpServerResponse.setHeaders(response.headers),
      HttpServerResponse.mergeCookies(response.cookies)
    )
    : response
}

/** As it was, with its cookies, two of one name too. */
const replay = (answer: Answer, ttl: string): Response => {
  const draft = open(responseOf(answer))
  draft.set("idempotency-replayed", "true")
  draft.set(ttlField, ttl)
  const response = draft.toResponse()
  if (answer.cookies.length === 0) return response
  const cookies: Record<string, Cookies.Cookie> = {}
  for (const [i, value] of answer.cookies.entries()) {
    for (const cookie of Object.values(Cookies.fromSetCookie([value]).cookies)) {
      cookies[Object.hasOwn(cookies, cookie.name) ? `${cookie.name}\n${i}` : cookie.name] = cookie
    }
  }
  return Object.assign(Object.create(Object.getPrototypeOf(response)), response, {
    cookies: Cookies.fromReadonlyRecord(cookies)
  })
}

// --- the body of the request -----------------------------------------------------------------------------------------

/** Reads all of it, and lets what is further in read it again. */
const bodyOf = (
  exchange: Middleware.Exchange,
  most: number,
  tooLarge: BodyTooLarge
): Effect.Effect<Uint8Array, BodyTooLarge | HttpServerError.RequestError> => {
  const { request } = exchange
  const changed = isStreamed(request)
  if (!changed && !hasContent(request)) return Effect.succeed(noBytes)
  const left = Effect.suspend(() => {
    if (nodeRequest(request)?.complete === false) leave(request)
    return Effect.fail(tooLarge)
  })
  const length = request.headers["content-length"]
  if (!changed && length !== undefined && Number(length) > most) return left
  const chunks: Array<Uint8Array> = []
  let size = 0
  // by a view, since to stop reading platform's own stream closes the connection
  exchange.deriveRequest({ stream: (body) => body })
  return Stream.runForEach(exchange.request.stream, (bytes) => {
    size += bytes.byteLength
    chunks.push(bytes)
    return size > most ? left : Effect.void
  }).pipe(
    Effect.map(() => {
      const bytes = Buffer.concat(chunks)
      exchange.deriveRequest({ stream: () => bytes.byteLength === 0 ? Stream.empty : Stream.make(bytes) })
      return bytes
    })
  )
}

const everything = ({ body, contentType, method, path, query }: Sent): string =>
  JSON.stringify([method, path, query, contentType, createHash("sha256").update(body).digest("base64url")])

// --- the handler -----------------------------------------------------------------------------------------------------

/** In a fiber of its own, that can be interrupted from within, and not by who waits for it. */
const apart = (app: ErasedApp): ErasedApp =>
  Effect.gen(function*() {
    const over = yield* Deferred.make<Exit.Exit<Response, unknown>>()
    const handler = yield* Effect.interruptible(app).pipe(
      Effect.exit,
      Effect.flatMap((exit) =>
        Effect.zipRight(
          Deferred.succeed(over, exit),
          // what it has forked ends with its fiber, and may be what feeds the body
          Exit.isSuccess(exit) ? Effect.interruptible(forever) : Effect.void
        )
      ),
      Effect.forkDaemon
    )
    const exit = yield* Deferred.await(over)
    yield* Fiber.inheritAll(handler)
    const scope = yield* Effect.serviceOption(Scopes.Scope)
    const end = Effect.sync(() => handler.unsafeInterruptAsFork(handler.id()))
    yield* Option.isSome(scope) ? Scopes.addFinalizer(scope.value, end) : end
    return yield* exit
  })

/** Without the timer by which Effect's own keeps the process alive. */
const forever = Effect.async<never>(ignore)

// --- options ---------------------------------------------------------------------------------------------------------

const scopeFrom = <R, E>(scope: Scope<R, E> | "everyone"): Scope<R, E> => {
  if (typeof scope === "function") return scope
  if (scope === "everyone") return () => undefined
  throw new TypeError(
    `Idempotency: scope is ${
      JSON.stringify(scope)
    }: write whose a key is, such as Idempotency.principal(CurrentUser), or "everyone"`
  )
}

const oneOf = (option: string, value: string, all: ReadonlyArray<string>): void => {
  if (all.includes(value)) return
  throw new TypeError(
    `Idempotency: ${option} is ${JSON.stringify(value)}: write ${all.map((one) => JSON.stringify(one)).join(" or ")}`
  )
}

const millis = (option: string, input: Duration.DurationInput): number => {
  const length = Duration.toMillis(input)
  if (length >= 1000 && length < Infinity) return length
  throw new RangeError(
    `Idempotency: ${option} is ${String(input)}: write how long, from 1 second, such as "60 seconds"`
  )
}

const checkedUrl = (url: string | undefined): string | undefined => {
  if (url === undefined || (URL.canParse(url) && /^[\x21\x23-\x3b\x3d\x3f-\x7e]+$/.test(url))) return url
  throw new TypeError(`Idempotency: documentation is ${JSON.stringify(url)}: write a whole URL`)
}

const isUnavailable = (error: unknown): error is IdempotencyUnavailable => error instanceof IdempotencyUnavailable

const counter = Metric.counter("http.server.idempotency.requests", {
  description: "Requests with an idempotency key, by middleware, and by what became of their claim (outcome)",
  incremental: true
})
const counterOf = (name: string) => (outcome: string) =>
  counter.unsafeUpdate(1, [
    MetricLabel.make("idempotency.name", name),
    MetricLabel.make("idempotency.outcome", outcome.toLowerCase())
  ])
