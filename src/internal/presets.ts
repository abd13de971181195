/** Whole stacks, in the order that the docs argue for. */
import type { Client } from "../Forwarded.js"
import type { Any, Middleware } from "../Middleware.js"
import { concatAll } from "./kernel.js"
import { type Code, lint } from "./lint.js"
import type { Edited, Fold, Folded, Verify } from "./stackTypes.js"

/**
 * The parts that every stack has: each a middleware, or `false` for none. In `Defaults` are those that need not be said.
 *
 * @since 0.1.0
 * @category presets
 */
export interface CommonParts<Part = Any | false> {
  /** Answers what nobody has answered: `ServerErrors`. */
  readonly serverErrors: Part
  /** Who the client is, and so which proxies are yours: `Forwarded`. */
  readonly forwarded: Part
  /** `RequestId`. */
  readonly requestId: Part
  /** `AccessLog`. */
  readonly accessLog: Part
  /** `Metrics`. */
  readonly metrics: Part
  /** `ProblemDetails`. */
  readonly problemDetails: Part
  /** Which other origins may read the responses: `Cors`. */
  readonly cors: Part
  /** `SecurityHeaders`, which sends `Strict-Transport-Security` too. */
  readonly securityHeaders: Part
  /** Which hosts are yours: `TrustedHost`. */
  readonly host: Part
  /** `HttpsRedirect`. */
  readonly https: Part
  /** How much a client may ask for: `RateLimit`. */
  readonly rateLimit: Part
  /** `Timeout`. */
  readonly timeout: Part
  /** `ConcurrencyLimit`. */
  readonly concurrency: Part
  /** `BodyLimit`. */
  readonly bodyLimit: Part
  /** `Compression`. */
  readonly compression: Part
  /** `Decompression`. */
  readonly decompression: Part
  /** Who asks: `required` or `optional` of a principal of yours. */
  readonly authentication: Part
  /** `ResponseCache`. */
  readonly cache: Part
  /** `Conditional`. */
  readonly conditional: Part
  /** Answers failures, next to the app: `ExceptionHandlers`. */
  readonly errors: Part
  /** What `Stack.lint` may warn of. */
  readonly acknowledge?: ReadonlyArray<Code> | undefined
}

/**
 * @since 0.1.0
 * @category presets
 */
export interface SiteParts<Part = Any | false> extends CommonParts<Part> {
  /** `Csrf`. */
  readonly csrf: Part
  /** The middleware of a session of yours. */
  readonly session: Part
}

/**
 * @since 0.1.0
 * @category presets
 */
export interface ApiParts<Part = Any | false> extends CommonParts<Part> {
  /** How much a principal may ask for: another `RateLimit`, inside `authentication`. */
  readonly quota: Part
}

const outer = ["serverErrors", "forwarded", "requestId", "accessLog", "metrics", "problemDetails", "cors"] as const
const inner = ["conditional", "errors"] as const
const siteOrder = [
  ...outer,
  "securityHeaders",
  "host",
  "https",
  "csrf",
  "rateLimit",
  "timeout",
  "concurrency",
  "bodyLimit",
  "compression",
  "decompression",
  "session",
  "authentication",
  "cache",
  ...inner
] as const
const apiOrder = [
  ...outer,
  "securityHeaders",
  "host",
  "https",
  "rateLimit",
  "timeout",
  "concurrency",
  "bodyLimit",
  "compression",
  "decompression",
  "authentication",
  "quota",
  "cache",
  ...inner
] as const

type Members<Order, O> = Order extends readonly [infer K extends keyof O, ...infer Rest]
  ? [...[O[K]] extends [false] ? [] : [O[K]], ...Members<Rest, O>]
  : []

/**
 * What the compiler prints of a stack without `forwarded`.
 *
 * @since 0.1.0
 * @category models
 */
export interface MustKnowClient<Member> {
  readonly "without `forwarded` nobody knows the client, whom these need: leave them out, too": Member
}

type Needing<L> = L extends readonly [infer M, ...infer Rest] ?
    | (M extends Middleware<never, unknown, infer R, never> ? Client extends R ? Middleware.Name<M> : never : never)
    | Needing<Rest>
  : never
/** Nothing is said of options that are not known yet, or the compiler would not get to know them. */
type Complaint<O extends CommonParts<unknown>, L, S = Fold<L>> = unknown extends O["forwarded"] ? unknown
  : S extends Folded ? Client extends S["requires"] ? MustKnowClient<Needing<L>> : Verify<L>
  : never
type Unknown<O, Parts> = { readonly [K in Exclude<keyof O, keyof Parts>]: never }

type SiteMembers<O> = Members<typeof siteOrder, O>
type ApiMembers<O> = Members<typeof apiOrder, O>

const build = (
  name: string,
  order: ReadonlyArray<string>,
  { acknowledge = [], ...given }: SiteParts<unknown> | ApiParts<unknown>
): Any => {
  const parts: { readonly [part: string]: unknown } = given
  const fail = (message: string): never => {
    throw new TypeError(`${name}: ${message}`)
  }
  for (const key in parts) {
    if (!order.includes(key)) fail(`there is no part ${key}; the parts are ${order.join(", ")}`)
  }
  const members = order.flatMap((key): ReadonlyArray<Any> => {
    const part = parts[key] ?? fail(`${key} is missing: give a middleware, or false`)
    return part === false ? [] : [part as Any]
  })
  const stack = concatAll("Stack", members)
  const left = lint(stack).filter(({ code, severity }) => severity === "warning" && !acknowledge.includes(code))
  if (left.length > 0) {
    const lines = left.map(({ code, members, reason, remedy }) =>
      `\n- ${code} (${members.join(", ")}): ${reason} ${remedy}`
    )
    fail(
      `this order does harm; mend it, or say acknowledge: ${
        JSON.stringify([...new Set(left.map(({ code }) => code))])
      }${lines.join("")}`
    )
  }
  return stack
}

/**
 * Puts the parts of a site, pages that people see in a browser, in the order that the docs argue for.
 *
 * - Each part is a middleware, or `false` for none. `Defaults.site()` has those that need not be said; what cannot be
 *   guessed is `forwarded`, `host` and `session`.
 * - The result is a stack as `Stack.make` gives it: edited by name, and what it provides and requires is known.
 * - Throws where `Stack.lint` warns, unless `acknowledge` has the code.
 *
 * @example
 * ```ts
 * import { Defaults, Forwarded, Session, Stack, TrustedHost } from "effect-middleware"
 * import { Schema } from "effect"
 *
 * class Cart extends Session.Tag("app/Cart")<Cart>()(Schema.Struct({ items: Schema.Array(Schema.String) }), {
 *   initial: () => ({ items: [] })
 * }) {}
 *
 * const stack = Stack.site({
 *   ...Defaults.site(),
 *   forwarded: Forwarded.middleware({ trust: { proxies: ["10.0.0.0/8"] } }),
 *   host: TrustedHost.middleware({ hosts: ["example.com"] }),
 *   session: Cart.middleware({ kind: "stored" }),
 *   compression: false
 * })
 * ```
 *
 * @since 0.1.0
 * @category presets
 */
export const site = <const O extends SiteParts<unknown>>(
  parts: O & Unknown<O, SiteParts> & Complaint<O, SiteMembers<O>>
): Edited<SiteMembers<O>> => build("Stack.site", siteOrder, parts) as never

/**
 * The same for an api: no pages, no cookies. `Defaults.api()` leaves to say `forwarded`, `host`, `cors`, `rateLimit` and
 * `authentication`.
 *
 * @example
 * ```ts
 * import { Authentication, Cors, Defaults, Forwarded, RateLimit, Stack, TrustedHost } from "effect-middleware"
 *
 * class CurrentUser extends Authentication.Tag("app/CurrentUser")<CurrentUser, string>() {}
 *
 * const stack = Stack.api({
 *   ...Defaults.api(),
 *   forwarded: Forwarded.middleware({ trust: { hops: 1 } }),
 *   host: TrustedHost.middleware({ hosts: ["api.example.com"] }),
 *   cors: Cors.middleware({ origins: ["https://example.com"] }),
 *   rateLimit: RateLimit.middleware({
 *     limits: RateLimit.gcra({ limit: 100, window: "1 minute" }),
 *     key: RateLimit.client()
 *   }),
 *   authentication: CurrentUser.required()
 * })
 * ```
 *
 * @since 0.1.0
 * @category presets
 */
export const api = <const O extends ApiParts<unknown>>(
  parts: O & Unknown<O, ApiParts> & Complaint<O, ApiMembers<O>>
): Edited<ApiMembers<O>> => build("Stack.api", apiOrder, parts) as never
