/**
 * Sends clients that come by plain http to https.
 *
 * Who the client is and how it came, `Forwarded.Client` says; no header tells it here. Rules, in this order:
 *
 * 1. https passes.
 * 2. A route of `exceptRoutes` passes, and so does `GET /.well-known/acme-challenge/*`, by which a server without a
 *    certificate obtains one (RFC 8555 8.3).
 * 3. A scheme that nobody has stated passes, and the log is told once. Behind a proxy that ends TLS and does not say so,
 *    every request looks like http: each redirect would come back as another.
 * 4. A WebSocket handshake is refused: browsers follow no redirect of one.
 * 5. A request without a valid host is refused: there is nowhere to send it.
 * 6. With `others: "refuse"`, every method but `GET` and `HEAD` is refused.
 * 7. All else is redirected, to the host that was asked for, with path and query as they came.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as LogLevel from "effect/LogLevel"
import * as Schema from "effect/Schema"
import { Client, type ClientInfo } from "./Forwarded.js"
import { defaultPorts, formatAuthority, redirectLocation } from "./internal/authority.js"
import { compileExemption } from "./internal/pathPattern.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /**
   * How `GET` and `HEAD` are redirected: 307, which is forgotten at once, or 308, which browsers remember and then no
   * longer ask for. Both keep method and body (RFC 9110 15.4.8, 15.4.9). Default: 307.
   */
  readonly status?: 307 | 308 | undefined
  /**
   * How the other methods are: redirected, or refused with `HttpsRequired`. Their body has come in the clear already; a
   * redirect lets that go unnoticed, a refusal has the client mended. Default: as `status`.
   */
  readonly others?: 307 | 308 | "refuse" | undefined
  /**
   * The port of https: one, or one for each port of http (`{ 8080: 8443 }`; without a port, http has 80). The port that
   * was asked for is never kept, since it speaks http. Default, also for a port that is not named: 443.
   */
  readonly port?: number | { readonly [http: number]: number } | undefined
  /**
   * Routes to serve by plain http too, written as for `Middleware.exceptRoutes` and read as strictly:
   * `["GET /health"]`. They are added to `GET /.well-known/acme-challenge/*`. Default: none.
   */
  readonly exceptRoutes?: ReadonlyArray<string> | undefined
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category policy
 */
export interface Facts {
  readonly client: Pick<ClientInfo, "scheme" | "schemeKnown" | "hostname" | "port" | "prefix">
  readonly method: string
  /** The request target, as the middleware's place sees it. */
  readonly target: string
  /** The request target as received, where a router has cut its mount's prefix off `target`. Default: `target`. */
  readonly original?: string | undefined
  /** The `Upgrade` header. */
  readonly upgrade?: string | undefined
}

/**
 * @since 0.1.0
 * @category policy
 */
export type Decision =
  | { readonly _tag: "Allow" }
  /** Nobody has stated the scheme: the request passes. */
  | { readonly _tag: "Unknown" }
  | { readonly _tag: "Redirect"; readonly location: string; readonly status: 307 | 308 }
  | { readonly _tag: "Reject"; readonly reason: Reason }

/**
 * @since 0.1.0
 * @category policy
 */
export type Reason = "upgrade" | "host" | "method"

/**
 * Compiles the rules, once, to a pure function. Throws on a status that would change the method, on a port that is none
 * and on a route that cannot be exempt.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { HttpsRedirect } from "effect-middleware"
 *
 * const decide = HttpsRedirect.policy({ port: { 8080: 8443 } })
 * const client = { scheme: "http", schemeKnown: true, hostname: "example.com", port: 8080, prefix: undefined } as const
 *
 * assert.deepEqual(decide({ client, method: "GET", target: "/a?b=c" }), {
 *   _tag: "Redirect",
 *   location: "https://example.com:8443/a?b=c",
 *   status: 307
 * })
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options = {}): (facts: Facts) => Decision => {
  const status = checkStatus("status", options.status ?? 307)
  const others = options.others === "refuse" ? undefined : checkStatus("others", options.others ?? status)
  const portFor = compilePort(options.port)
  const isExempt = compileExemption([acmeChallenge, ...options.exceptRoutes ?? []])
  return ({ client, method, original, target, upgrade }) => {
    const { hostname, port, prefix = "", scheme, schemeKnown } = client
    if (scheme === "https" && schemeKnown) return allow
    if (isExempt(method, target)) return allow
    if (!schemeKnown) return unknown
    if (upgrade?.toLowerCase().includes("websocket") === true) return noUpgrade
    if (hostname === undefined) return noHost
    const code = method === "GET" || method === "HEAD" ? status : others
    if (code === undefined) return noMethod
    const authority = formatAuthority(hostname, portFor(port))
    return {
      _tag: "Redirect",
      // a prefix is a path of plain segments, cut off by the proxy
      location: redirectLocation("https:", authority + prefix, original ?? target),
      status: code
    }
  }
}

/**
 * The request came by plain http and cannot be sent on. What the client sent is in no response and no log line.
 *
 * @since 0.1.0
 * @category errors
 */
export class HttpsRequired extends Schema.TaggedError<HttpsRequired>("effect-middleware/HttpsRedirect/HttpsRequired")(
  "HttpsRequired",
  { reason: Schema.Literal("upgrade", "host", "method") },
  HttpApiSchema.annotations({ status: 403 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return `The request came by plain http and cannot be redirected: ${causes[this.reason]}`
  }
  [HttpServerRespondable.symbol]() {
    return refusal
  }
}

const causes: { readonly [reason in Reason]: string } = {
  upgrade: "it opens a WebSocket",
  host: "it has no valid host",
  method: "its method is neither GET nor HEAD"
}

const refusal = ProblemDetails.toResponse({ status: 403, detail: "This resource is served by https alone" })

/**
 * Redirects plain http to https, or refuses it with `HttpsRequired` (403). Stands inside `Forwarded`, and inside
 * `TrustedHost`, which sees to it that the host is one of yours.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Forwarded, HttpsRedirect, Stack, TrustedHost } from "effect-middleware"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", HttpServerResponse.text("hello")),
 *   Stack.make(
 *     Forwarded.middleware({ trust: { proxies: ["10.0.0.0/8"] } }),
 *     TrustedHost.middleware({ hosts: ["example.com"], source: "client" }),
 *     HttpsRedirect.middleware({ exceptRoutes: ["GET /health"] })
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "HttpsRedirect">(
  options: Options<Name> = {}
): Middleware.Middleware<never, HttpsRequired, Client, never, Name, Middleware.Phases> => {
  const decide = policy(options)
  let told = false
  return Middleware.make({
    name: options.name ?? "HttpsRedirect" as Name,
    traits: ["guard", "https", "trusts-host"],
    requires: [Client],
    request: (exchange) => {
      const { headers, method, originalUrl, url } = exchange.request
      const client = exchange.get(Client)
      const decision = decide({ client, method, target: url, original: originalUrl, upgrade: headers.upgrade })
      switch (decision._tag) {
        case "Allow":
          return
        case "Reject":
          return refuse[decision.reason]
        case "Redirect":
          return Middleware.Respond(redirect(decision.location, decision.status))
        case "Unknown":
          if (!told) exchange.log(LogLevel.Warning, unstated)
          told = true
      }
    }
  })
}

// made once: an error with its stack and its schema costs more than the decision
const refuse = {
  upgrade: Middleware.Refuse(new HttpsRequired({ reason: "upgrade" })),
  host: Middleware.Refuse(new HttpsRequired({ reason: "host" })),
  method: Middleware.Refuse(new HttpsRequired({ reason: "method" }))
}

const unstated = "HttpsRedirect: a trusted proxy does not state the scheme, so http is not redirected: " +
  "have the proxy set X-Forwarded-Proto and list \"proto\" in the fields of Forwarded"

/** The host in it is what one client asked for: no shared cache keeps it, and a browser only a 308. */
const redirect = (location: string, status: 307 | 308): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.redirect(location, {
    status,
    headers: { "cache-control": status === 308 ? "private" : "no-store" }
  })

const acmeChallenge = "GET /.well-known/acme-challenge/*"

const allow: Decision = { _tag: "Allow" }
const unknown: Decision = { _tag: "Unknown" }
const noUpgrade: Decision = { _tag: "Reject", reason: "upgrade" }
const noHost: Decision = { _tag: "Reject", reason: "host" }
const noMethod: Decision = { _tag: "Reject", reason: "method" }

const checkStatus = (option: "status" | "others", status: 307 | 308): 307 | 308 => {
  if (status === 307 || status === 308) return status
  const refuse = option === "others" ? `, or "refuse"` : ""
  throw new TypeError(
    `HttpsRedirect: ${option} is ${String(status)}: write 307 or 308, which keep the method${refuse}`
  )
}

/** From a port of http to the port to write into a URL of https. */
const compilePort = (port: Options["port"]): (http: number | undefined) => number | undefined => {
  if (typeof port !== "object") {
    const https = port === undefined ? undefined : checkPort(port)
    return () => https
  }
  const ports = new Map(
    Object.entries(port).map(([http, https]) => {
      checkPort(Number(http))
      return [Number(http), checkPort(https)]
    })
  )
  return (http = defaultPorts.http) => ports.get(http)
}

const checkPort = (port: number): number | undefined => {
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new TypeError(`HttpsRedirect: port has ${String(port)}: write 1 to 65535 (8443), or a map ({ 8080: 8443 })`)
  }
  return port === defaultPorts.https ? undefined : port
}
