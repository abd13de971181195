/**
 * Refuses what a page of another site has a browser do: cross-site request forgery.
 *
 * A browser sends cookies with whatever a page asks for, and says where that page is from: by `Sec-Fetch-Site`, and older
 * ones by `Origin`. The rules are those of `http.CrossOriginProtection` of Go 1.25, in this order:
 *
 * 1. `GET`, `HEAD` and `OPTIONS` pass: they are to change nothing. Every other method is looked at, whatever the content,
 *    and so is every request that asks for an upgrade.
 * 2. `Sec-Fetch-Site` is `same-origin` or `none`: it passes.
 * 3. `Sec-Fetch-Site` is not sent, and `Origin` is the client's host, by https if the client is: it passes.
 * 4. Neither is sent: that is no browser of these years, and it passes. With `tokens`, it needs one.
 * 5. `Origin` is a trusted one, the route is exempt, or there is a credential that no browser sends by itself: it passes.
 * 6. All else is refused, other subdomains and ports of the site among it.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Client } from "./Forwarded.js"
import { isMaskOf, mask } from "./internal/csrfToken.js"
import { isToken } from "./internal/fields.js"
import { fromPhases } from "./internal/kernel.js"
import { compileOrigins, isSameOrigin } from "./internal/origin.js"
import { compileExemption } from "./internal/pathPattern.js"
import { isHandle } from "./internal/session.js"
import { receivedOf } from "./internal/upgrade.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"
import type { ResponseDraft } from "./ResponseDraft.js"
import type { WriteError } from "./Session.js"
import type { SessionUnavailable } from "./SessionStore.js"

/**
 * A tag that `Session.Tag` has made.
 *
 * @since 0.1.0
 * @category models
 */
export interface AnySession extends Middleware.AnyTag {
  readonly revokeAll: (principal: string) => unknown
}

/**
 * Tokens, for browsers that say nothing of where a request is from.
 *
 * @since 0.1.0
 * @category models
 */
export interface Tokens<out S extends AnySession = AnySession> {
  /** The session that a token is bound to: it is good for no other, and until that is rotated. */
  readonly session: S
  /** The field of a form (`application/x-www-form-urlencoded`) that has it. Default: `"csrf_token"`. */
  readonly field?: string | undefined
  /** The header field that has it, of a request with other content. Default: `"x-csrf-token"`. */
  readonly header?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<
  out T extends Tokens | undefined = Tokens | undefined,
  out Name extends string = string
> {
  /**
   * Other origins whose pages may do what those of this one may: as for `Cors.middleware`, but neither `"*"` nor `"null"`.
   * Default: none.
   */
  readonly trustedOrigins?: ReadonlyArray<string | RegExp> | undefined
  /**
   * Routes for everybody, such as a webhook: `"POST /webhooks/payment"`. Read as strictly as by `Middleware.exceptRoutes`.
   * Default: none.
   */
  readonly exceptRoutes?: ReadonlyArray<string> | undefined
  /**
   * What a page of another site cannot send unless `Cors` lets it: `"bearer"` is an `Authorization: Bearer`, everything else
   * the name of a header field of your own. **Mind this**: behind a proxy that makes such a field of a cookie, a browser
   * does send it. Default: none.
   */
  readonly exceptCredentials?: ReadonlyArray<string> | undefined
  /** Asks a token of who says neither. `Token` is then provided. Default: none is asked for. */
  readonly tokens?: T | undefined
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
  /** `Sec-Fetch-Site` */
  readonly fetchSite?: string | undefined
  readonly origin?: string | undefined
  /** The host that the client asked for. */
  readonly host?: string | undefined
  /** Whether the client is known to have come by https. Default: `false`. */
  readonly secure?: boolean | undefined
  /** Whether it asks for another protocol, such as a WebSocket. Default: `false`. */
  readonly upgrade?: boolean | undefined
  /** By lower-case name; only `exceptCredentials` asks. */
  readonly header?: ((name: string) => string | undefined) | undefined
}

/**
 * - `Allow`, because of `because`.
 * - `Unknown`: nothing tells where it is from. Without `tokens` it is allowed.
 * - `Refuse`, for what `Sec-Fetch-Site` or `Origin` says.
 *
 * @since 0.1.0
 * @category policy
 */
export type Decision =
  | { readonly _tag: "Allow"; readonly because: "method" | "same-origin" | "trusted" | "route" | "credential" }
  | { readonly _tag: "Unknown" }
  | { readonly _tag: "Refuse"; readonly reason: "fetch-site" | "origin" }

/**
 * Compiles the rules, once, to a pure function. Throws on what could never match, and on what would allow everybody.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { Csrf } from "effect-middleware"
 *
 * const decide = Csrf.policy({ trustedOrigins: ["https://app.example.com"] })
 * const post = { method: "POST", target: "/transfer", host: "example.com" }
 *
 * assert.deepEqual(decide({ ...post, fetchSite: "cross-site", origin: "https://evil.test" }), {
 *   _tag: "Refuse",
 *   reason: "fetch-site"
 * })
 * assert.equal(decide({ ...post, fetchSite: "same-site", origin: "https://app.example.com" })._tag, "Allow")
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options = {}): (facts: Facts) => Decision => {
  const { exceptCredentials = [], exceptRoutes = [], trustedOrigins = [] } = options
  const isTrusted = compileTrusted(trustedOrigins)
  const isExempt = compileRoutes(exceptRoutes)
  const hasCredential = compileCredentials(exceptCredentials)
  return (facts) => {
    const { fetchSite = "", host, method, origin = "", secure = false, target, upgrade = false } = facts
    if (isSafe(method) && !upgrade) return allowed.method
    if (fetchSite === "same-origin" || fetchSite === "none") return allowed.sameOrigin
    if (fetchSite === "" && origin !== "" && isSameOrigin(origin, host, secure)) return allowed.sameOrigin
    if (isTrusted(origin)) return allowed.trusted
    if (isExempt(method, target)) return allowed.route
    if (hasCredential(facts.header ?? noHeader)) return allowed.credential
    return fetchSite !== "" ? refused.fetchSite : origin !== "" ? refused.origin : unknown
  }
}

const isSafe = (method: string): boolean => method === "GET" || method === "HEAD" || method === "OPTIONS"
const noHeader = () => undefined

const allow = (because: Extract<Decision, { _tag: "Allow" }>["because"]): Decision => ({ _tag: "Allow", because })
const allowed = {
  method: allow("method"),
  sameOrigin: allow("same-origin"),
  trusted: allow("trusted"),
  route: allow("route"),
  credential: allow("credential")
}
const unknown: Decision = { _tag: "Unknown" }
const refused = {
  fetchSite: { _tag: "Refuse", reason: "fetch-site" },
  origin: { _tag: "Refuse", reason: "origin" }
} as const satisfies { readonly [name: string]: Decision }

/**
 * The request comes from a page of another origin, by `Sec-Fetch-Site` or `Origin`, or has no good token where it needs
 * one. What the client sent is in no response and no log line, and the response is the same for all three.
 *
 * @since 0.1.0
 * @category errors
 */
export class CrossOriginRefused
  extends Schema.TaggedError<CrossOriginRefused>("effect-middleware/Csrf/CrossOriginRefused")(
    "CrossOriginRefused",
    { reason: Schema.Literal("fetch-site", "origin", "token") },
    HttpApiSchema.annotations({ status: 403 })
  )
  implements HttpServerRespondable.Respondable
{
  override get message() {
    return this.reason === "token"
      ? "The request has no token of its session"
      : `The request comes from a page of another origin, as ${
        this.reason === "origin" ? "Origin" : "Sec-Fetch-Site"
      } says`
  }
  [HttpServerRespondable.symbol]() {
    return refusal
  }
}

const refusal = ProblemDetails.toResponse({ status: 403, detail: "The request is not known to come from this site" })

// made once: an error with its stack and its schema costs more than the decision
const refuse = {
  "fetch-site": Middleware.Refuse(new CrossOriginRefused({ reason: "fetch-site" })),
  origin: Middleware.Refuse(new CrossOriginRefused({ reason: "origin" })),
  token: Middleware.Refuse(new CrossOriginRefused({ reason: "token" }))
}

/**
 * Makes tokens for the forms of a response.
 *
 * @since 0.1.0
 * @category services
 */
export class Token extends Middleware.Service("effect-middleware/Csrf/Token")<Token, {
  /**
   * A token of the session, another text each time. The first of a session is written to it, so that a new one begins. The
   * response is `private`.
   */
  readonly get: Effect.Effect<string, WriteError>
}>() {}

/**
 * Refuses with `CrossOriginRefused` (403). Stands inside `Forwarded`, which knows host and scheme, and `TrustedHost`; with
 * `tokens` inside the session; before what costs something.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Csrf, Forwarded, Stack, TrustedHost } from "effect-middleware"
 *
 * const stack = Stack.make(
 *   Forwarded.middleware({ trust: { proxies: ["10.0.0.0/8"] } }),
 *   TrustedHost.middleware({ hosts: ["example.com"], source: "client" }),
 *   Csrf.middleware({
 *     trustedOrigins: ["https://app.example.com"],
 *     exceptRoutes: ["POST /webhooks/payment"]
 *   })
 * )
 *
 * const server = HttpRouter.empty.pipe(
 *   HttpRouter.post("/transfer", HttpServerResponse.text("done")),
 *   Stack.serve(stack)
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <
  const T extends Tokens | undefined = undefined,
  const Name extends string = "Csrf"
>(
  options: Options<T, Name> = {}
): Middleware.Middleware<
  [T] extends [Tokens] ? Token : never,
  CrossOriginRefused | (T extends Tokens ? SessionUnavailable : never),
  Client | (T extends Tokens<infer S> ? S["Identifier"] : never),
  never,
  Name,
  Middleware.Phases
> => {
  const decide = policy(options)
  const tokens = options.tokens === undefined ? undefined : compileTokens(options.tokens)
  const name = options.name ?? "Csrf" as Name
  return fromPhases(name, [{
    name,
    traits: ["guard", "csrf", "trusts-host"],
    provides: tokens && Token.key,
    // what it requires is in the type above
    request: (exchange: Middleware.Exchange<unknown>) => {
      const { request } = exchange
      const received = receivedOf(request)
      // of a request that a middleware further out has taken for another both are looked at
      const method = isSafe(request.method) ? received.method : request.method
      const upgrade = received.headers["upgrade"] !== undefined
      if (isSafe(method) && !upgrade) return tokens?.provide(exchange)
      const decision = decide(factsOf(request, method, upgrade, exchange.get(Client)))
      if (decision._tag === "Refuse") return refuse[decision.reason]
      // a browser has always said of a WebSocket where it is from
      return decision._tag === "Unknown" && !upgrade && tokens !== undefined
        ? Middleware.Defer
        : tokens?.provide(exchange)
    },
    requestEffect: tokens?.check,
    response: tokens?.respond
  }])
}

const factsOf = (
  { headers, url }: HttpServerRequest.HttpServerRequest,
  method: string,
  upgrade: boolean,
  client: Client["Type"]
): Facts => ({
  method,
  target: url,
  fetchSite: headers["sec-fetch-site"],
  origin: headers["origin"],
  host: client.host,
  secure: client.scheme === "https",
  upgrade,
  header: (name) => headers[name]
})

// ------------------------------------------------------------------------------------------------------------- tokens

const compileTokens = ({ field = "csrf_token", header = "x-csrf-token", session: tag }: Tokens) => {
  if (!isToken(header)) fail("tokens.header", header, `write the name of a field ("x-csrf-token")`)
  if (field === "") fail("tokens.field", field, `write the name of a form's field ("csrf_token")`)
  const name = header.toLowerCase()
  const asked = Middleware.local<true>()
  const sessionOf = (exchange: Middleware.Exchange<unknown>) => {
    const session = exchange.get(tag)
    if (isHandle(session)) return session
    throw new TypeError(`Csrf: tokens.session is ${tag.key}, which is no session here: give the tag to its middleware`)
  }
  const provide = (exchange: Middleware.Exchange<unknown>) =>
    Middleware.Provide({
      get: Effect.suspend(() => {
        asked.set(exchange, true)
        return Effect.map(sessionOf(exchange).ownSecret, (secret) => mask(secret, exchange.entropy.bytes))
      })
    })
  return {
    provide,
    check: (exchange: Middleware.Exchange<unknown>) =>
      Effect.flatMap(sessionOf(exchange).secret, (secret) =>
        Effect.map(
          secret === undefined ? Effect.succeed("") : tokenOf(exchange.request, name, field),
          (token) => secret !== undefined && isMaskOf(token, secret) ? provide(exchange) : refuse.token
        )),
    respond: (draft: ResponseDraft, exchange: Middleware.Exchange) => {
      if (asked.get(exchange) === true) draft.cacheControl("private")
    }
  }
}

/** `""` where there is none. The body is read once, whoever else asks for it. */
const tokenOf = (
  request: HttpServerRequest.HttpServerRequest,
  header: string,
  field: string
): Effect.Effect<string> => {
  const given = request.headers[header]
  if (given !== undefined) return Effect.succeed(given)
  if (!isForm.test(request.headers["content-type"] ?? "")) return Effect.succeed("")
  return Effect.match(request.urlParamsBody, {
    // what is wrong with the body is said by who limits it
    onFailure: () => "",
    onSuccess: (form) => Option.getOrElse(UrlParams.getFirst(form, field), () => "")
  })
}

const isForm = /^application\/x-www-form-urlencoded[ \t]*(?:;|$)/i

// ------------------------------------------------------------------------------------------------------------ compile

const fail = (option: string, value: unknown, remedy: string): never => {
  throw new TypeError(
    `Csrf: ${option} ${typeof value === "string" ? `has ${JSON.stringify(value)}` : value}: ${remedy}`
  )
}

const compileTrusted = (origins: ReadonlyArray<string | RegExp>): (origin: string) => boolean => {
  for (const origin of origins) {
    if (origin === "null" || origin === "*") {
      fail("trustedOrigins", origin, `list the origins ("https://app.example.com"), any page could be this one`)
    }
  }
  return origins.length === 0 ? () => false : compileOrigins("Csrf: trustedOrigins", origins)
}

const compileRoutes = (routes: ReadonlyArray<string>): (method: string, target: string) => boolean => {
  if (routes.length === 0) return () => false
  try {
    return compileExemption(routes)
  } catch (error) {
    throw new TypeError(`Csrf: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

const compileCredentials = (
  names: ReadonlyArray<string>
): (header: (name: string) => string | undefined) => boolean => {
  const fields = names.filter((name) => name !== "bearer").map((name) => {
    const key = name.toLowerCase()
    if (key === "authorization") fail("exceptCredentials", name, `write "bearer": a browser sends Basic by itself`)
    if (!isToken(name) || sentByBrowsers.test(key)) {
      fail("exceptCredentials", name, `write "bearer", or a field that no browser sends by itself ("x-api-key")`)
    }
    return key
  })
  const bearer = names.includes("bearer")
  return (header) =>
    (bearer && /^bearer +[^ ]/i.test(header("authorization") ?? "")) ||
    fields.some((name) => (header(name) ?? "") !== "")
}

/** What a page can have sent without a preflight, or a browser sends with everything. */
const sentByBrowsers =
  /^(?:accept(?:-.*)?|access-control-.*|cache-control|connection|content-.*|cookie2?|date|device-memory|dnt|downlink|dpr|early-data|ect|expect|forwarded|from|host|if-.*|keep-alive|last-event-id|origin|pragma|priority|proxy-.*|range|referer|rtt|save-data|sec-.*|te|trailer|transfer-encoding|upgrade(?:-.*)?|user-agent|via|viewport-width|width|x-forwarded-.*|x-real-ip|x-requested-with)$/
