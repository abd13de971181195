/**
 * Refuses requests that are not for one of your hosts.
 *
 * A forged `Host` poisons shared caches and the absolute links an app builds (password resets, redirects), so it is
 * checked before anything reads it. Rules, in this order:
 *
 * 1. More than one `Host` is refused.
 * 2. An authority in the request target (`GET http://example.com/`) is the host that counts (RFC 9112 3.2.2). A `Host`
 *    beside it must be the same or a trusted one, since something further in may read it.
 * 3. A host that is missing, empty or malformed is refused: user info, spaces, a second port, a name that a URL parser
 *    would read as an address (`127.1`). Case and the dot of a fully qualified name make no difference.
 * 4. With `canonical`, the other spelling of a listed host is redirected, with port, path and query.
 * 5. A host that no pattern covers is refused.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Schema from "effect/Schema"
import { Client } from "./Forwarded.js"
import {
  type Authority,
  formatAuthority,
  originForm,
  parseAuthority,
  redirectLocation,
  targetAuthority,
  toAscii
} from "./internal/authority.js"
import { countFields } from "./internal/fields.js"
import * as Middleware from "./Middleware.js"
import * as ProblemDetails from "./ProblemDetails.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Source extends "header" | "client" = "header" | "client", Name extends string = string> {
  /**
   * Hosts to serve: `"example.com"`, an address such as `"127.0.0.1"` or `"[::1]"`, or `"*.example.com"` for the
   * subdomains at any depth (not for `example.com` itself). A name in another script is converted to its ASCII form.
   *
   * A pattern without a port covers every port; with one, `"example.com:8443"`, that port alone. Clients leave out the
   * default port of their scheme, so `:80` and `:443` also cover a host without a port.
   *
   * There is no default and no `"*"`: to trust every host, leave the middleware out.
   */
  readonly hosts: NonEmptyReadonlyArray<string>
  /**
   * Redirect (308) to one spelling of a host:
   *
   * - `"www"`: a name goes to `www.` of it, if `hosts` lists that, or lists the name together with its `*.`
   * - `"apex"`: `www.` of a name goes to the name, if `hosts` lists that
   *
   * A name under a pattern alone is never redirected. Default: none.
   */
  readonly canonical?: "apex" | "www" | undefined
  /**
   * Where the host is read: the request's own `Host`, or `Forwarded.Client`, which behind a proxy may have it from
   * `X-Forwarded-Host` and is then required. Default: `"header"`.
   */
  readonly source?: Source | undefined
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category policy
 */
export interface Facts {
  /** The `Host` header, or `:authority`; inside `Forwarded`, the `host` of its `Client`. */
  readonly host: string | undefined
  /** The request target as received. */
  readonly target: string
  /** How many `Host` headers there were, where the server can tell. */
  readonly hostCount?: number | undefined
}

/**
 * @since 0.1.0
 * @category policy
 */
export type Decision =
  | { readonly _tag: "Allow" }
  /** `location` has no scheme: the client keeps its own. */
  | { readonly _tag: "Redirect"; readonly authority: string; readonly location: string }
  | { readonly _tag: "Reject"; readonly reason: Reason }

/**
 * @since 0.1.0
 * @category policy
 */
export type Reason = "missing" | "malformed" | "duplicate" | "untrusted"

/**
 * Compiles the rules, once, to a pure function. Throws on a pattern that is no host, and on `canonical` with no host
 * that it could redirect: mistakes in the program, not in a request.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { TrustedHost } from "effect-middleware"
 *
 * const decide = TrustedHost.policy({ hosts: ["example.com", "*.example.com"] })
 *
 * assert.equal(decide({ host: "api.example.com:8443", target: "/" })._tag, "Allow")
 * assert.deepEqual(decide({ host: "example.com.evil.test", target: "/" }), { _tag: "Reject", reason: "untrusted" })
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = ({ canonical, hosts }: Options): (facts: Facts) => Decision => {
  const patterns = hosts.map(parsePattern)
  if (patterns.length === 0) throw new TypeError("TrustedHost: hosts is empty: list the hosts you serve")
  const isTrusted = matcher(patterns)
  const redirects = canonical === undefined ? new Map<string, string>() : compileRedirects(canonical, patterns)
  return ({ host, hostCount = 1, target }) => {
    if (hostCount > 1) return duplicate
    const named = host === undefined || host === "" ? undefined : parseAuthority(host) ?? "malformed"
    const authority = targetAuthority(target) ?? named
    if (authority === "malformed" || named === "malformed") return malformed
    if (authority === undefined) return missing
    if (named !== undefined && !isSame(named, authority) && !isTrusted(named)) return untrusted

    const other = redirects.get(authority.host)
    if (other !== undefined && isTrusted({ ...authority, host: other })) {
      const text = formatAuthority(other, authority.port)
      return { _tag: "Redirect", authority: text, location: redirectLocation("", text, target) }
    }
    return isTrusted(authority) ? allow : untrusted
  }
}

/**
 * The request is not for a host of this server. What the client sent is in no response and no log line.
 *
 * @since 0.1.0
 * @category errors
 */
export class UntrustedHost extends Schema.TaggedError<UntrustedHost>("effect-middleware/TrustedHost/UntrustedHost")(
  "UntrustedHost",
  { reason: Schema.Literal("missing", "malformed", "duplicate", "untrusted") },
  HttpApiSchema.annotations({ status: 400 })
) implements HttpServerRespondable.Respondable {
  override get message() {
    return `The Host header is ${this.reason}`
  }
  [HttpServerRespondable.symbol]() {
    return refusal
  }
}

const refusal = ProblemDetails.toResponse({ status: 400, detail: "The Host header names no host of this server" })

/**
 * Refuses with `UntrustedHost`: 400, the same for every reason.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { TrustedHost } from "effect-middleware"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", HttpServerResponse.text("hello")),
 *   TrustedHost.middleware({ hosts: ["example.com", "*.example.com"] })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <
  const Source extends "header" | "client" = "header",
  const Name extends string = "TrustedHost"
>(
  options: Options<Source, Name>
): Middleware.Middleware<
  never,
  UntrustedHost,
  "client" extends Source ? Client : never,
  never,
  Name,
  Middleware.Phases
> => {
  const decide = policy(options)
  const facts = options.source === "client" ? clientFacts : headerFacts
  return Middleware.make({
    name: options.name ?? "TrustedHost" as Name,
    traits: ["guard", "host"],
    requires: [Client],
    request: (exchange) => {
      const decision = decide(facts(exchange))
      if (decision._tag === "Allow") return
      return decision._tag === "Reject"
        ? refuse[decision.reason]
        : Middleware.Respond(HttpServerResponse.redirect(decision.location, { status: 308 }))
    }
    // `Client` is read, and so required, only as the source
  }) as Middleware.Middleware<never, UntrustedHost, never, never, Name, Middleware.Phases>
}

// made once: an error with its stack and its schema costs more than the decision
const refuse = {
  missing: Middleware.Refuse(new UntrustedHost({ reason: "missing" })),
  malformed: Middleware.Refuse(new UntrustedHost({ reason: "malformed" })),
  duplicate: Middleware.Refuse(new UntrustedHost({ reason: "duplicate" })),
  untrusted: Middleware.Refuse(new UntrustedHost({ reason: "untrusted" }))
}

type AnyExchange = Middleware.Exchange<Client>

const headerFacts = ({ request: { headers, source, url } }: AnyExchange): Facts => ({
  host: headers.host ?? headers[":authority"],
  target: url,
  hostCount: countFields(source, "host")
})

const clientFacts = (exchange: AnyExchange): Facts => ({
  host: exchange.get(Client).host,
  target: originForm(exchange.request.url),
  hostCount: countFields(exchange.request.source, "host")
})

interface Pattern extends Authority {
  readonly wildcard: boolean
}

const parsePattern = (text: string): Pattern => {
  const wildcard = text.startsWith("*.")
  const authority = parseAuthority(toAscii(wildcard ? text.slice(2) : text) ?? "")
  if (authority === undefined || (wildcard && authority.kind !== "name")) {
    throw new TypeError(`TrustedHost: hosts has ${JSON.stringify(text)}: ${remedy(text)}`)
  }
  return { ...authority, wildcard }
}

const remedy = (text: string): string => {
  if (text === "*") return "list the hosts you serve; to trust every host, leave the middleware out"
  if (text.includes("/")) return `write the host alone, without scheme and path`
  if (text.startsWith(".")) return `write "*${text}"`
  return `write "example.com", "*.example.com" or an address ("[::1]" for IPv6), each with a ":port" if it matters`
}

const matcher = (patterns: ReadonlyArray<Pattern>): (authority: Authority) => boolean => {
  const names = new Map<string, Array<number | undefined>>()
  const suffixes: Array<readonly [suffix: string, port: number | undefined]> = []
  for (const { host, port, wildcard } of patterns) {
    if (wildcard) suffixes.push([`.${host}`, port])
    else names.set(host, [...names.get(host) ?? [], port])
  }
  return ({ host, port }) =>
    names.get(host)?.some((expected) => isPort(expected, port)) === true ||
    suffixes.some(([suffix, expected]) => host.endsWith(suffix) && isPort(expected, port))
}

const isPort = (expected: number | undefined, port: number | undefined): boolean =>
  expected === undefined || port === expected || (port === undefined && (expected === 80 || expected === 443))

const isSame = (a: Authority, b: Authority): boolean => a.host === b.host && a.port === b.port

const compileRedirects = (canonical: "apex" | "www", patterns: ReadonlyArray<Pattern>): ReadonlyMap<string, string> => {
  const redirects = new Map<string, string>()
  const bases = new Set(patterns.filter(({ wildcard }) => wildcard).map(({ host }) => host))
  for (const { host, kind, wildcard } of patterns) {
    const www = host.startsWith("www.")
    if (wildcard || kind !== "name") continue
    if (canonical === "apex") {
      if (!www) redirects.set(`www.${host}`, host)
    } else if (www) redirects.set(host.slice(4), host)
    else if (bases.has(host)) redirects.set(host, `www.${host}`)
  }
  if (redirects.size === 0) {
    const missing = canonical === "apex" ? `"example.com"` : `"www.example.com"`
    throw new TypeError(`TrustedHost: canonical is "${canonical}" and redirects nothing: list ${missing} in hosts`)
  }
  return redirects
}

const allow: Decision = { _tag: "Allow" }
const missing: Decision = { _tag: "Reject", reason: "missing" }
const malformed: Decision = { _tag: "Reject", reason: "malformed" }
const duplicate: Decision = { _tag: "Reject", reason: "duplicate" }
const untrusted: Decision = { _tag: "Reject", reason: "untrusted" }
