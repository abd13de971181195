/**
 * Has browsers come by https alone, for as long as you say: HTTP Strict Transport Security (RFC 6797).
 *
 * `Strict-Transport-Security` is set on every response that leaves through it, refusals and failures too, by these rules:
 *
 * 1. Only by https (section 7.2): the client's, as `Forwarded.Client` knows it. Where nobody has stated the scheme the
 *    field stays away, and the log is told once.
 * 2. Not for an address, which browsers ignore (section 8.1.1), nor for `localhost` and the names under it: one answer
 *    there would turn every other server of the same machine to https.
 * 3. One field at most (section 7.1): one that the handler has set is left as it is.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import { Client, type ClientInfo } from "./Forwarded.js"
import * as Middleware from "./Middleware.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /**
   * How long a browser remembers, counted from each response anew; whole seconds. Zero has it forget at once
   * (section 6.1.1). Default: 365 days.
   */
  readonly maxAge?: Duration.DurationInput | undefined
  /** Whether it holds for all subdomains too, those that no one has told you of included. Default: `false`. */
  readonly includeSubDomains?: boolean | undefined
  /**
   * Asks for a place in the list that browsers are shipped with (hstspreload.org). **Mind this**: it takes months to get
   * out of it. Requires `includeSubDomains` and at least 365 days. Default: `false`.
   */
  readonly preload?: boolean | undefined
  readonly name?: Name | undefined
}

/**
 * What to write, stage by stage, until a site is preloaded, as hstspreload.org recommends: mend what breaks, wait as
 * long as the stage lasts, go on to the next. Without subdomains, `{ ...Hsts.rampUp.oneWeek, includeSubDomains: false }`.
 *
 * @example
 * ```ts
 * import { Hsts } from "effect-middleware"
 *
 * const hsts = Hsts.middleware(Hsts.rampUp.oneWeek)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export const rampUp = {
  fiveMinutes: { maxAge: "5 minutes", includeSubDomains: true },
  oneWeek: { maxAge: "7 days", includeSubDomains: true },
  oneMonth: { maxAge: "30 days", includeSubDomains: true },
  /** Two years, and the place in the list. */
  preload: { maxAge: "730 days", includeSubDomains: true, preload: true }
} as const satisfies { readonly [stage: string]: Options }

/**
 * @since 0.1.0
 * @category policy
 */
export type Facts = Pick<ClientInfo, "scheme" | "schemeKnown" | "hostname">

/**
 * Compiles the rules, once, to a pure function that gives the field's value, or `undefined` where none may stand. Throws
 * on an age that cannot be written, and on a `preload` that the list would not take.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { Hsts } from "effect-middleware"
 *
 * const valueFor = Hsts.policy({ maxAge: "180 days", includeSubDomains: true })
 *
 * assert.equal(
 *   valueFor({ scheme: "https", schemeKnown: true, hostname: "example.com" }),
 *   "max-age=15552000; includeSubDomains"
 * )
 * assert.equal(valueFor({ scheme: "http", schemeKnown: true, hostname: "example.com" }), undefined)
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options = {}): (facts: Facts) => string | undefined => {
  const value = compileValue(options)
  return ({ hostname, scheme, schemeKnown }) =>
    scheme === "https" && schemeKnown && (hostname === undefined || !isLocal.test(hostname)) ? value : undefined
}

/**
 * Sets `Strict-Transport-Security`. Stands inside `Forwarded`, and outside whatever else answers by itself.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Forwarded, Hsts, HttpsRedirect, Stack } from "effect-middleware"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", HttpServerResponse.text("hello")),
 *   Stack.make(
 *     Forwarded.middleware({ trust: { proxies: ["10.0.0.0/8"] } }),
 *     Hsts.middleware({ includeSubDomains: true }),
 *     HttpsRedirect.middleware()
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "Hsts">(
  options: Options<Name> = {}
): Middleware.Middleware<never, never, Client, never, Name, Middleware.Phases> => {
  const valueFor = policy(options)
  let told = false
  return Middleware.make({
    name: options.name ?? "Hsts" as Name,
    traits: ["headers"],
    requires: [Client],
    response: (draft, exchange) => {
      const client = exchange.get(Client)
      const value = valueFor(client)
      if (value !== undefined) draft.setIfAbsent("strict-transport-security", value)
      if (client.schemeKnown || told) return
      told = true
      exchange.log(LogLevel.Warning, unstated)
    }
  })
}

const unstated = "Hsts: a trusted proxy does not state the scheme, so Strict-Transport-Security is not sent: " +
  "have the proxy set X-Forwarded-Proto and list \"proto\" in the fields of Forwarded"

/** Of a valid host: only an IPv4 address consists of digits and dots, only an IPv6 one has brackets. */
const isLocal = /^\[|^[\d.]+$|(?:^|\.)localhost$/

const oneYear = 31_536_000

const compileValue = ({ includeSubDomains = false, maxAge = "365 days", preload = false }: Options): string => {
  const seconds = Option.getOrUndefined(Option.map(Duration.decodeUnknown(maxAge), Duration.toSeconds))
  // to `Duration` what is negative or NaN is zero, which here means to forget
  if (seconds === undefined || !Number.isSafeInteger(seconds) || /-|NaN/.test(String(maxAge))) {
    throw new TypeError(
      `Hsts: maxAge is ${String(maxAge)}: write whole seconds ("365 days"), or 0 to have it forgotten`
    )
  }
  if (preload && !includeSubDomains) {
    throw new TypeError("Hsts: preload needs includeSubDomains: write includeSubDomains: true, or leave preload out")
  }
  if (preload && seconds < oneYear) {
    throw new TypeError(
      `Hsts: preload needs a maxAge of ${oneYear} seconds, and it is ${seconds}: write "365 days" or more, or leave preload out`
    )
  }
  return `max-age=${seconds}${includeSubDomains ? "; includeSubDomains" : ""}${preload ? "; preload" : ""}`
}
