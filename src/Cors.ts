/**
 * Says which other origins may read the responses, and answers the preflights of browsers.
 *
 * The server's part of the Fetch standard, "HTTP-CORS protocol". Rules:
 *
 * 1. An `OPTIONS` with `Origin` and `Access-Control-Request-Method` is a preflight. It is answered here: nothing further
 *    in runs. Every other request reaches the app.
 * 2. With `origins: "*"` every response says `Access-Control-Allow-Origin: *`. Otherwise an allowed origin is named, and
 *    every response has `Vary: Origin`, whatever the request and whoever answered it.
 * 3. A disallowed origin gets no field, and the app runs: CORS keeps a page from reading, not from sending.
 * 4. A preflight is granted whole or not at all: one part that is disallowed, and it carries no field that allows.
 * 5. What cannot be read is disallowed: an origin that is no origin, a name that is no field name, too many of them.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { isToken, splitList } from "./internal/fields.js"
import { lift } from "./internal/lift.js"
import { compileOrigins, type Failure, isOrigin, isSameHost, type Requirement } from "./internal/origin.js"
import { compileExemption, compileGuard } from "./internal/pathPattern.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"

/**
 * Which origins are allowed.
 *
 * - `"*"`: every one, without credentials.
 * - A list of strings and regular expressions. A string is an origin (`"https://example.com"`, `"http://localhost:5173"`,
 *   `"capacitor://localhost"`), or the subdomains of one at any depth, without itself (`"https://*.example.com"`). It is
 *   brought into the form that browsers send: lower case, ASCII, no default port. `"null"`, which any page can send from
 *   a sandboxed frame, is allowed only where it is listed. A regular expression has to match the whole origin.
 * - A function of the origin and the request, or an Effect. It is asked once for each request that names an origin,
 *   preflights included, and only `true` allows.
 *
 * A regular expression or a function is never asked of `null`, of what is no origin, or of more than 300 characters.
 *
 * @since 0.1.0
 * @category models
 */
export type Origins<E = unknown, R = unknown> =
  | "*"
  | ReadonlyArray<string | RegExp>
  | ((origin: string, request: HttpServerRequest.HttpServerRequest) => boolean | Effect.Effect<boolean, E, R>)

/**
 * The origins of which the pure policy can tell without a request.
 *
 * @since 0.1.0
 * @category models
 */
export type PlainOrigins = "*" | ReadonlyArray<string | RegExp> | ((origin: string) => boolean)

/**
 * What is allowed to whom.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rules<out O = Origins> {
  /** There is no default: to allow no other origin, leave the middleware out. */
  readonly origins: O
  /**
   * The methods allowed beside `GET`, `HEAD` and `POST`, which need no listing; `"*"` for `DELETE`, `OPTIONS`, `PATCH` and
   * `PUT`. Compared with their case. Default: none.
   */
  readonly methods?: "*" | ReadonlyArray<string> | undefined
  /**
   * The request header fields allowed beside `Accept`, `Accept-Language`, `Content-Language` and `Content-Type`; `"*"` for
   * whatever is asked for, `Authorization` included. Default: none.
   */
  readonly headers?: "*" | ReadonlyArray<string> | undefined
  /**
   * The response header fields that a page may read beside the safe ones (Fetch standard, "CORS-safelisted
   * response-header name"); `"*"` for all, which browsers take only without credentials. Default: none.
   */
  readonly exposedHeaders?: "*" | ReadonlyArray<string> | undefined
  /**
   * Whether a page may send cookies and read what comes back. Refused with `origins: "*"` and `exposedHeaders: "*"`:
   * there `*` is no wildcard to a browser. Default: `false`.
   */
  readonly credentials?: boolean | undefined
  /**
   * How long a browser may keep the answer to a preflight, in whole seconds; a bare number is milliseconds, as everywhere
   * in Effect. `false` leaves it to the browser (5 seconds); Chromium stops at 2 hours, Firefox at 24.
   * Default: 10 minutes.
   */
  readonly maxAge?: Duration.DurationInput | false | undefined
  /** Whether to grant `Access-Control-Request-Private-Network`, for a public page and a private server. Default: `false`. */
  readonly privateNetwork?: boolean | undefined
  /** Whether an allowed origin may read the timing of its loads (`Timing-Allow-Origin`). Default: `false`. */
  readonly timing?: boolean | undefined
  /**
   * `Cross-Origin-Resource-Policy` where the response has none: who may embed it, whatever the origin. Default: not sent.
   */
  readonly resourcePolicy?: "same-site" | "cross-origin" | undefined
}

/**
 * Rules for some routes. They stand for themselves: what they leave out has its default, not what the others say.
 *
 * @since 0.1.0
 * @category models
 */
export interface Route<out O = Origins> extends Rules<O> {
  /**
   * The routes, as for `Middleware.exceptRoutes`: `"/public/*"`, `"POST /uploads"`. The method of a preflight is the one
   * that it asks for.
   */
  readonly match: ReadonlyArray<string>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<
  out O = Origins,
  out Os extends ReadonlyArray<unknown> = ReadonlyArray<O>,
  out Deny extends boolean = boolean,
  out Name extends string = string
> extends Rules<O> {
  /**
   * Rules for some routes, the first that matches; all others have those beside. Default: none.
   *
   * Outside a router its options are unknown. A request for a spelling that some router could take for one of the routes
   * (`/Public/x`, `//public/x`) is allowed what these rules *and* those it would have otherwise allow.
   */
  readonly routes?: { readonly [I in keyof Os]: Route<Os[I]> } | undefined
  /**
   * Refuses requests from a disallowed origin, not only their reading: with `OriginNotAllowed`. One without `Origin`, and
   * one whose `Origin` is the host it is for, is never refused. Default: `false`.
   */
  readonly denyDisallowed?: Deny | undefined
  /**
   * How to answer a preflight that is disallowed: as one that is allowed, but for the fields that allow, or, to help who
   * looks for the mistake, with 400 and a text that says what is disallowed: origin, method, headers. A browser takes
   * both for a no. Default: `"empty"`.
   */
  readonly disallowedPreflight?: "empty" | "reason" | undefined
  /** The status of a preflight; 200 for clients and proxies that do not take 204. Default: 204. */
  readonly preflightStatus?: 200 | 204 | undefined
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category policy
 */
export interface Facts {
  readonly method: string
  /** The request target as received. */
  readonly target: string
  readonly origin: string | undefined
  /** `Access-Control-Request-Method` */
  readonly requestMethod?: string | undefined
  /** `Access-Control-Request-Headers` */
  readonly requestHeaders?: string | undefined
  /** `Access-Control-Request-Private-Network` */
  readonly requestPrivateNetwork?: string | undefined
  /** The `Host` header, or `:authority`; only `denyDisallowed` asks for it. */
  readonly host?: string | undefined
}

/**
 * - `Preflight`: answer with `response`; `disallowed` is empty where it is granted.
 * - `Request`: let it through, and give the response these `fields` and, if `vary`, `Vary: Origin`.
 * - `Deny`: refuse it.
 *
 * @since 0.1.0
 * @category policy
 */
export type Decision =
  | {
    readonly _tag: "Preflight"
    readonly disallowed: ReadonlyArray<"origin" | "method" | "headers">
    readonly response: HttpServerResponse.HttpServerResponse
  }
  | {
    readonly _tag: "Request"
    /** Empty where nothing is allowed. */
    readonly fields: ReadonlyArray<readonly [name: string, value: string]>
    readonly vary: boolean
    /** `Cross-Origin-Resource-Policy`, unless the response has one. */
    readonly resourcePolicy: string | undefined
  }
  | { readonly _tag: "Deny" }

/**
 * Compiles the rules, once, to a pure function. Throws on what could never match, what a browser would not take, and
 * what would allow more than it says: mistakes in the program, not in a request.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { Cors } from "effect-middleware"
 *
 * const decide = Cors.policy({ origins: ["https://*.example.com"] })
 *
 * assert.deepEqual(decide({ method: "GET", target: "/", origin: "https://app.example.com" }), {
 *   _tag: "Request",
 *   fields: [["access-control-allow-origin", "https://app.example.com"]],
 *   vary: true,
 *   resourcePolicy: undefined
 * })
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (
  options: Options<PlainOrigins, ReadonlyArray<PlainOrigins>>
): (facts: Facts) => Decision => {
  const { decide, select } = compile<void, boolean>(options)
  return (facts) => {
    const terms = select(facts)
    const { origin } = facts
    return decide(terms, facts, origin !== undefined && terms.tests.every((test) => test(origin)))
  }
}

/**
 * The request comes from an origin that is not allowed. What the client sent is in no response and no log line.
 *
 * @since 0.1.0
 * @category errors
 */
export class OriginNotAllowed extends Schema.TaggedError<OriginNotAllowed>("effect-middleware/Cors/OriginNotAllowed")(
  "OriginNotAllowed",
  {},
  HttpApiSchema.annotations({ status: 403 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return "The origin of the request is not allowed"
  }
  [HttpServerRespondable.symbol]() {
    return refusal
  }
}

const refusal = ProblemDetails.toResponse(
  { status: 403, detail: "The origin of the request is not allowed" },
  { headers: { vary: "Origin" } }
)

/**
 * Answers preflights and says on every response who may read it. Stands outside of what a preflight cannot pass:
 * authentication, rate limits, sessions; and so also gives its fields to their refusals.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Cors } from "effect-middleware"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.put("/notes", HttpServerResponse.text("saved")),
 *   Cors.middleware({ origins: ["https://app.example.com"], methods: ["PUT"], credentials: true })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <
  const O extends Origins,
  const Os extends ReadonlyArray<Origins> = readonly [],
  const Deny extends boolean = false,
  const Name extends string = "Cors"
>(
  options: Options<O, Os, Deny, Name>
): Middleware.Middleware<
  never,
  Failure<O | Os[number]> | (true extends Deny ? OriginNotAllowed : never),
  Requirement<O | Os[number]>,
  never,
  Name,
  Middleware.Phases
> => {
  const { asks, decide, select, unasked } = compile<HttpServerRequest.HttpServerRequest, Verdict>(options)
  const decisions = Middleware.local<RequestDecision>()
  const verdicts = Middleware.local<Effect.Effect<Settled, unknown, unknown>>()
  return Middleware.make({
    name: options.name ?? "Cors" as Name,
    traits: ["cors"],
    request: (exchange) => {
      const { request } = exchange
      if (unasked !== undefined && request.headers.origin === undefined) return Middleware.Pass
      const facts = factsOf(request)
      const terms = select(facts)
      const settle = (allowed: boolean): Settled => {
        const decision = decide(terms, facts, allowed)
        if (decision._tag === "Preflight") return Middleware.Respond(decision.response)
        if (decision._tag === "Deny") return refuse
        if (decision !== unasked) decisions.set(exchange, decision)
        return Middleware.Pass
      }
      const verdict = facts.origin !== undefined && judge(terms.tests, facts.origin, request)
      if (typeof verdict === "boolean") return settle(verdict)
      verdicts.set(exchange, Effect.map(verdict, settle))
      return Middleware.Defer
    },
    // deferred to, and so set
    requestEffect: asks ? (exchange) => verdicts.get(exchange)! : undefined,
    response: (draft, exchange) => {
      const decision = decisions.get(exchange) ?? unasked
      if (decision === undefined) return
      if (decision.vary) draft.vary("Origin")
      // it would add to what is allowed here
      if (decision.fields.length > 0) draft.delete("access-control-allow-credentials")
      for (const [name, value] of decision.fields) draft.set(name, value)
      if (decision.resourcePolicy !== undefined) {
        draft.setIfAbsent("cross-origin-resource-policy", decision.resourcePolicy)
      }
    }
    // it fails with what the functions of `options` fail with, and refuses only as `denyDisallowed` says
  }) as Middleware.Middleware<never, never, never, never, Name, Middleware.Phases>
}

// made once: an error with its stack and its schema costs more than the decision
const refuse = Middleware.Refuse(new OriginNotAllowed())

type RequestDecision = Extract<Decision, { _tag: "Request" }>
type PreflightDecision = Extract<Decision, { _tag: "Preflight" }>
type Settled = Middleware.Pass | Middleware.Respond | Middleware.Refuse<OriginNotAllowed>
type Verdict = boolean | Effect.Effect<boolean, unknown, unknown>

const factsOf = ({ headers, method, url }: HttpServerRequest.HttpServerRequest): Facts => ({
  method,
  target: url,
  origin: headers.origin,
  requestMethod: headers["access-control-request-method"],
  requestHeaders: headers["access-control-request-headers"],
  requestPrivateNetwork: headers["access-control-request-private-network"],
  host: headers.host ?? headers[":authority"]
})

/** All tests in order, up to the first that is not `true`. */
const judge = <Q>(
  tests: ReadonlyArray<(origin: string, request: Q) => Verdict>,
  origin: string,
  request: Q,
  from = 0
): Verdict => {
  for (let i = from; i < tests.length; i++) {
    const verdict = tests[i]!(origin, request)
    if (Effect.isEffect(verdict)) {
      return Effect.flatMap(verdict, (allowed) => lift(allowed === true && judge(tests, origin, request, i + 1)))
    }
    if (verdict !== true) return false
  }
  return true
}

// ------------------------------------------------------------------------------------------------------------- terms

type Names = "*" | ReadonlySet<string>
type OriginsOf<Q, V> = "*" | ReadonlyArray<string | RegExp> | ((origin: string, request: Q) => V)

/** What the rules for one request come to. */
interface Terms<Q, V> {
  /** Each has to allow the origin; there is none for `"*"`. */
  readonly tests: ReadonlyArray<(origin: string, request: Q) => V | boolean>
  readonly methods: ReadonlySet<string>
  readonly headers: Names
  readonly exposed: Names
  readonly credentials: boolean
  readonly maxAge: number | undefined
  readonly privateNetwork: boolean
  readonly timing: boolean
  readonly resourcePolicy: "same-origin" | "same-site" | "cross-origin" | undefined
}

const termsOf = <Q, V>(place: string, rules: Rules<OriginsOf<Q, V>>): Terms<Q, V> => {
  const { credentials = false, exposedHeaders = [], headers = [], maxAge = "10 minutes", methods = [], origins } = rules
  if (credentials && origins === "*") {
    throw new TypeError(
      `${place}credentials is true with origins "*", which browsers refuse: list the origins, or leave credentials out`
    )
  }
  if (credentials && exposedHeaders === "*") {
    throw new TypeError(
      `${place}credentials is true with exposedHeaders "*", which is then no wildcard: list the fields to expose`
    )
  }
  return {
    tests: testsOf(`${place}origins`, origins),
    methods: methodsOf(`${place}methods`, methods),
    headers: namesOf(`${place}headers`, headers, safeHeaders),
    exposed: namesOf(`${place}exposedHeaders`, exposedHeaders, []),
    credentials,
    maxAge: secondsOf(`${place}maxAge`, maxAge),
    privateNetwork: rules.privateNetwork ?? false,
    timing: rules.timing ?? false,
    resourcePolicy: rules.resourcePolicy
  }
}

const testsOf = <Q, V>(place: string, origins: OriginsOf<Q, V>): Terms<Q, V>["tests"] => {
  if (origins === "*") return []
  if (typeof origins === "function") return [(origin, request) => isOrigin(origin) && origins(origin, request)]
  if (!Array.isArray(origins) || origins.length === 0) {
    throw new TypeError(`${place} names none: list the origins to allow, or leave the middleware out`)
  }
  return [compileOrigins(place, origins)]
}

const safeMethods = ["GET", "HEAD", "POST"]
const allMethods = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
const safeHeaders = ["accept", "accept-language", "content-language", "content-type"]

const methodsOf = (place: string, methods: "*" | ReadonlyArray<string>): ReadonlySet<string> => {
  if (methods === "*") return new Set(allMethods)
  for (const method of methods) {
    const upper = method.toUpperCase()
    if (method === "*") throw new TypeError(`${place} has "*": write "*" alone, in no list`)
    if (/^(?:CONNECT|TRACE|TRACK)$/.test(upper)) {
      throw new TypeError(`${place} has ${JSON.stringify(method)}: leave it out, no page may send it`)
    }
    if (!isToken(method)) throw new TypeError(`${place} has ${JSON.stringify(method)}: write a method ("PATCH")`)
    if (method !== upper) {
      throw new TypeError(`${place} has ${JSON.stringify(method)}: write ${JSON.stringify(upper)}, case counts`)
    }
  }
  return new Set([...safeMethods, ...methods])
}

const namesOf = (place: string, names: "*" | ReadonlyArray<string>, safe: ReadonlyArray<string>): Names => {
  if (names === "*") return "*"
  for (const name of names) {
    if (name === "*") throw new TypeError(`${place} has "*": write "*" alone, in no list`)
    if (!isToken(name)) throw new TypeError(`${place} has ${JSON.stringify(name)}: write a field name ("x-total")`)
  }
  return new Set([...safe, ...names.map((name) => name.toLowerCase())])
}

const secondsOf = (place: string, maxAge: Duration.DurationInput | false): number | undefined => {
  if (maxAge === false) return undefined
  // of a number that is none, or negative, Duration makes zero
  const duration = typeof maxAge === "number" && !(maxAge >= 0) ? Option.none() : Duration.decodeUnknown(maxAge)
  const seconds = Option.match(duration, { onNone: () => NaN, onSome: Duration.toSeconds })
  if (Number.isSafeInteger(seconds)) return seconds
  throw new TypeError(
    `${place} is ${
      String(maxAge)
    }: write whole seconds with their unit ("10 minutes"; a bare number is milliseconds), ` +
      `0 to keep no answer, or false to leave it to the browser`
  )
}

/** What both allow. */
const meet = <Q, V>(a: Terms<Q, V>, b: Terms<Q, V>): Terms<Q, V> => ({
  tests: [...a.tests, ...b.tests],
  methods: intersection(a.methods, b.methods),
  headers: a.headers === "*" ? b.headers : b.headers === "*" ? a.headers : intersection(a.headers, b.headers),
  exposed: a.exposed === "*" ? b.exposed : b.exposed === "*" ? a.exposed : intersection(a.exposed, b.exposed),
  credentials: a.credentials && b.credentials,
  // a browser that is not told keeps the answer for 5 seconds
  maxAge: (a.maxAge ?? 5) < (b.maxAge ?? 5) ? a.maxAge : b.maxAge,
  privateNetwork: a.privateNetwork && b.privateNetwork,
  timing: a.timing && b.timing,
  resourcePolicy: a.resourcePolicy === b.resourcePolicy || b.resourcePolicy === "cross-origin"
    ? a.resourcePolicy
    : a.resourcePolicy === "cross-origin"
    ? b.resourcePolicy
    // none is `cross-origin` to most documents, and `same-origin` to those that require one
    : "same-origin"
})

const intersection = (a: ReadonlySet<string>, b: ReadonlySet<string>): ReadonlySet<string> =>
  new Set(Array.from(a).filter((name) => b.has(name)))

// ----------------------------------------------------------------------------------------------------------- answers

/** Terms with what can be built before there is a request. */
interface Prepared<Q, V> extends Terms<Q, V> {
  readonly wildcard: boolean
  readonly allow: (origin: string) => RequestDecision
  /** For a request without an origin, or with one that is disallowed. */
  readonly standing: RequestDecision
  readonly answer: (preflight: Preflight, allowed: boolean) => PreflightDecision
}

interface Preflight extends Facts {
  readonly origin: string
  readonly requestMethod: string
}

const isPreflight = (facts: Facts): facts is Preflight =>
  facts.method === "OPTIONS" && facts.origin !== undefined && facts.requestMethod !== undefined

const prepare = <Q, V>(terms: Terms<Q, V>, status: 200 | 204, explains: boolean): Prepared<Q, V> => {
  const { credentials, exposed, headers, maxAge, methods, privateNetwork, resourcePolicy, tests, timing } = terms
  const wildcard = tests.length === 0
  const always = fieldIf(credentials, "access-control-allow-credentials", "true")
  const after = [
    ...always,
    ...fieldIf(exposed === "*" || exposed.size > 0, "access-control-expose-headers", print(exposed))
  ]
  const allow = remember((origin): RequestDecision => ({
    _tag: "Request",
    fields: [
      ["access-control-allow-origin", origin],
      ...after,
      ...fieldIf(timing, "timing-allow-origin", origin)
    ],
    vary: !wildcard,
    resourcePolicy
  }))

  const vary = [
    ...wildcard ? [] : ["Origin"],
    "Access-Control-Request-Method",
    "Access-Control-Request-Headers",
    ...privateNetwork ? ["Access-Control-Request-Private-Network"] : []
  ].join(", ")
  const refused = HttpServerResponse.empty({ status, headers: { vary } })
  const grantedTo = remember((origin) =>
    HttpServerResponse.setHeaders(refused, [
      ["access-control-allow-origin", origin],
      ...always,
      ["access-control-allow-methods", print(methods)],
      ...fieldIf(headers !== "*", "access-control-allow-headers", print(headers)),
      ...fieldIf(maxAge !== undefined, "access-control-max-age", String(maxAge))
    ])
  )

  const answer: Prepared<Q, V>["answer"] = (preflight, allowed) => {
    const names = namesAsked(preflight.requestHeaders)
    const disallowed: Array<"origin" | "method" | "headers"> = []
    if (!allowed) disallowed.push("origin")
    if (!methods.has(preflight.requestMethod)) disallowed.push("method")
    if (names === undefined || (headers !== "*" && !names.every((name) => headers.has(name)))) {
      disallowed.push("headers")
    }
    if (names === undefined || disallowed.length > 0) {
      return { _tag: "Preflight", disallowed, response: explains ? explanation(disallowed, vary) : refused }
    }
    const granted = grantedTo(wildcard ? "*" : preflight.origin)
    const own = [
      // `*` itself would leave out `Authorization`, and is no wildcard with credentials
      ...fieldIf(headers === "*" && names.length > 0, "access-control-allow-headers", names.join(", ")),
      ...fieldIf(
        privateNetwork && preflight.requestPrivateNetwork === "true",
        "access-control-allow-private-network",
        "true"
      )
    ]
    return {
      _tag: "Preflight",
      disallowed,
      response: own.length === 0 ? granted : HttpServerResponse.setHeaders(granted, own)
    }
  }

  const standing: RequestDecision = wildcard ? allow("*") : { _tag: "Request", fields: [], vary: true, resourcePolicy }
  return { ...terms, wildcard, allow, standing, answer }
}

type Field = readonly [name: string, value: string]

const fieldIf = (condition: boolean, name: string, value: string): ReadonlyArray<Field> =>
  condition ? [[name, value]] : []

/** Keeps what was made for the first thousand origins: a list has fewer, a pattern may match more than there is room for. */
const remember = <A>(make: (origin: string) => A): (origin: string) => A => {
  const known = new Map<string, A>()
  return (origin) => {
    const found = known.get(origin)
    if (found !== undefined) return found
    const made = make(origin)
    if (known.size < 1000) known.set(origin, made)
    return made
  }
}

const print = (names: Names): string => Array.from(names).join(", ")

const explanation = (disallowed: ReadonlyArray<string>, vary: string) =>
  HttpServerResponse.text(`CORS does not allow: ${disallowed.join(", ")}`, { status: 400, headers: { vary } })

/** The names in `Access-Control-Request-Headers`, of which a browser sends few; `undefined` where it is not a list of names. */
const namesAsked = (text = ""): ReadonlyArray<string> | undefined => {
  if (text.length > 4096) return undefined
  const names = splitList(text)
  return names.length <= 100 && names.every((name) => isToken(name))
    ? names.map((name) => name.toLowerCase())
    : undefined
}

// ----------------------------------------------------------------------------------------------------------- compile

const compile = <Q, V>(options: Options<OriginsOf<Q, V>>) => {
  const { denyDisallowed = false, disallowedPreflight = "empty", preflightStatus = 204, routes = [] } = options
  const finish = (terms: Terms<Q, V>) => prepare(terms, preflightStatus, disallowedPreflight === "reason")
  const otherwise = finish(termsOf("Cors: ", options))
  const entries = routes.map((route, index) => {
    const place = `Cors: routes[${index}].`
    return { ...matchOf(`${place}match`, route.match), terms: finish(termsOf(place, route)) }
  })

  /** What all rules allow that a router could come to, from the entry at `index` on. */
  const selectFrom = (index: number, method: string, target: string): Prepared<Q, V> => {
    const entry = entries[index]
    if (entry === undefined) return otherwise
    if (entry.does(method, target)) return entry.terms
    const rest = selectFrom(index + 1, method, target)
    return entry.could(method, target) ? finish(meet(entry.terms, rest)) : rest
  }

  return {
    /** Whether a function is among the origins. */
    asks: [options, ...routes].some(({ origins }) => typeof origins === "function"),
    /** What every request without an origin gets, where it does not depend on the route. */
    unasked: entries.length === 0 ? otherwise.standing : undefined,
    select: (facts: Facts) => selectFrom(0, isPreflight(facts) ? facts.requestMethod : facts.method, facts.target),
    decide: (terms: Prepared<Q, V>, facts: Facts, allowed: boolean): Decision => {
      if (isPreflight(facts)) return terms.answer(facts, allowed)
      const { host, origin } = facts
      if (terms.wildcard || origin === undefined) return terms.standing
      if (allowed) return terms.allow(origin)
      return denyDisallowed && !isSameHost(origin, host) ? deny : terms.standing
    }
  }
}

const deny: Decision = { _tag: "Deny" }

const matchOf = (place: string, match: ReadonlyArray<string>) => {
  try {
    return { does: compileExemption(match), could: compileGuard(match) }
  } catch (error) {
    throw new TypeError(`${place}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}
