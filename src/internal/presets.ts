/** Whole stacks, in the order that the docs argue for. */
import * as AccessLog from "../AccessLog.js"
import * as BodyLimit from "../BodyLimit.js"
import * as Compression from "../Compression.js"
import * as Conditional from "../Conditional.js"
import * as Csrf from "../Csrf.js"
import * as ExceptionHandlers from "../ExceptionHandlers.js"
import type { Client } from "../Forwarded.js"
import * as HttpsRedirect from "../HttpsRedirect.js"
import type { Any, Middleware } from "../Middleware.js"
import * as ProblemDetails from "../ProblemDetails.js"
import * as RequestId from "../RequestId.js"
import * as SecurityHeaders from "../SecurityHeaders.js"
import * as ServerErrors from "../ServerErrors.js"
import * as Timeout from "../Timeout.js"
import { concatAll } from "./kernel.js"
import { type Code, lint } from "./lint.js"
import type { Edited, Fold, Folded, Verify } from "./stackTypes.js"

/**
 * The parts that every stack has, each a middleware in the place of what is there otherwise, or `false` for none.
 * Outermost first, but for what is added.
 *
 * @since 0.1.0
 * @category presets
 */
export interface CommonOptions<Part = Any | false> {
  /** Answers what nobody has answered. Default: `ServerErrors.middleware()`. */
  readonly serverErrors?: Part | undefined
  /** Who the client is. What cannot be guessed: which proxies are yours. `Forwarded.middleware({ trust: ... })`. */
  readonly forwarded: Part
  /** Default: `RequestId.middleware()`. */
  readonly requestId?: Part | undefined
  /** Default: `AccessLog.middleware()`. */
  readonly accessLog?: Part | undefined
  /** Default: none. */
  readonly metrics?: Part | undefined
  /** Default: `ProblemDetails.middleware()`. */
  readonly problemDetails?: Part | undefined
  /** Which hosts are yours: `TrustedHost.middleware({ hosts: [...] })`. */
  readonly host: Part
  /** Default: `HttpsRedirect.middleware()`; an api refuses what is no `GET`. */
  readonly https?: Part | undefined
  /** Default: `Timeout.middleware({ limit: "30 seconds" })`. */
  readonly timeout?: Part | undefined
  /** Default: none. */
  readonly concurrency?: Part | undefined
  /** Default: `BodyLimit.middleware()`. */
  readonly bodyLimit?: Part | undefined
  /** Default: `Compression.middleware()`. */
  readonly compression?: Part | undefined
  /** Default: none. */
  readonly decompression?: Part | undefined
  /** Default: none. */
  readonly cache?: Part | undefined
  /** Default: `Conditional.middleware()`. */
  readonly conditional?: Part | undefined
  /** Answers failures, next to the app. Default: `ExceptionHandlers.standard()`. */
  readonly errors?: Part | undefined
  /** What `Stack.lint` may warn of. */
  readonly acknowledge?: ReadonlyArray<Code> | undefined
}

/**
 * @since 0.1.0
 * @category presets
 */
export interface SiteOptions<Part = Any | false> extends CommonOptions<Part> {
  /** Default: none. */
  readonly cors?: Part | undefined
  /** Default: `SecurityHeaders.middleware()`, which sends `Strict-Transport-Security` too. */
  readonly securityHeaders?: Part | undefined
  /** Default: `Csrf.middleware()`. */
  readonly csrf?: Part | undefined
  /** Default: none. */
  readonly rateLimit?: Part | undefined
  /** The middleware of a session of yours: `Cart.middleware({ kind: ... })`. */
  readonly session: Part
  /** Default: none; pages for everybody, and `required` around the others. */
  readonly authentication?: Part | undefined
}

/**
 * @since 0.1.0
 * @category presets
 */
export interface ApiOptions<Part = Any | false> extends CommonOptions<Part> {
  /** Which other origins may read the responses: `Cors.middleware({ origins: [...] })`, or `false` for none. */
  readonly cors: Part
  /** Default: `SecurityHeaders.middleware({ preset: "api" })`. */
  readonly securityHeaders?: Part | undefined
  /** How much a client may ask for: `RateLimit.middleware({ limits, key: RateLimit.client() })`. */
  readonly rateLimit: Part
  /** Who asks: `CurrentUser.required()`, or `false` where the routes say. */
  readonly authentication: Part
  /** A limit by principal, inside `authentication`. Default: none. */
  readonly quota?: Part | undefined
}

const absent = () => false as const

const common = {
  serverErrors: () => ServerErrors.middleware(),
  requestId: () => RequestId.middleware(),
  accessLog: () => AccessLog.middleware(),
  metrics: absent,
  problemDetails: () => ProblemDetails.middleware(),
  https: () => HttpsRedirect.middleware(),
  timeout: () => Timeout.middleware({ limit: "30 seconds" }),
  concurrency: absent,
  bodyLimit: () => BodyLimit.middleware(),
  compression: () => Compression.middleware(),
  decompression: absent,
  cache: absent,
  conditional: () => Conditional.middleware(),
  errors: () => ExceptionHandlers.standard()
}
const siteDefaults = {
  ...common,
  cors: absent,
  securityHeaders: () => SecurityHeaders.middleware(),
  csrf: () => Csrf.middleware(),
  rateLimit: absent,
  authentication: absent
}
const apiDefaults = {
  ...common,
  securityHeaders: () => SecurityHeaders.middleware({ preset: "api" }),
  https: () => HttpsRedirect.middleware({ others: "refuse" }),
  quota: absent
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

type Part<P, Default> = [P] extends [never] ? Part<Default, false>
  : [P] extends [undefined] ? Part<Default, false>
  : [P] extends [false] ? []
  : [P]
type Given<O, K> = K extends keyof O ? O[K] : never
type Otherwise<D, K> = K extends keyof D ? D[K] extends () => infer M ? M : false : false
type Members<Order, O, D> = Order extends readonly [infer K, ...infer Rest]
  ? [...Part<Given<O, K>, Otherwise<D, K>>, ...Members<Rest, O, D>]
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
type Complaint<O extends CommonOptions<unknown>, L, S = Fold<L>> = unknown extends O["forwarded"] ? unknown
  : S extends Folded ? Client extends S["requires"] ? MustKnowClient<Needing<L>> : Verify<L>
  : never
type Unknown<O, Options> = { readonly [K in Exclude<keyof O, keyof Options>]: never }

type SiteMembers<O> = Members<typeof siteOrder, O, typeof siteDefaults>
type ApiMembers<O> = Members<typeof apiOrder, O, typeof apiDefaults>

const build = (
  name: string,
  order: ReadonlyArray<string>,
  defaults: { readonly [part: string]: () => unknown },
  { acknowledge = [], ...given }: SiteOptions<unknown> | ApiOptions<unknown>
): Any => {
  const parts: { readonly [part: string]: unknown } = given
  const fail = (message: string): never => {
    throw new TypeError(`${name}: ${message}`)
  }
  for (const key in parts) {
    if (!order.includes(key)) fail(`there is no part ${key}; the parts are ${order.join(", ")}`)
  }
  const members = order.flatMap((key): ReadonlyArray<Any> => {
    const part = parts[key] ?? (defaults[key] ?? (() => fail(`${key} is missing: give a middleware, or false`)))()
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
 * A stack for pages that people see in a browser, with sessions: what the docs argue for, in their order.
 *
 * - Each part is a middleware in the place of the one that is there otherwise, or `false` for none. What cannot be guessed
 *   has to be said: `forwarded`, `host` and `session`.
 * - The result is a stack as `Stack.make` gives it: edited by name, and what it provides and requires is known.
 * - Throws where `Stack.lint` warns, unless `acknowledge` has the code.
 *
 * @example
 * ```ts
 * import { Forwarded, Session, Stack, TrustedHost } from "effect-middleware"
 * import { Schema } from "effect"
 *
 * class Cart extends Session.Tag("app/Cart")<Cart>()(Schema.Struct({ items: Schema.Array(Schema.String) }), {
 *   initial: () => ({ items: [] })
 * }) {}
 *
 * const stack = Stack.site({
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
export const site = <const O extends SiteOptions<unknown>>(
  options: O & Unknown<O, SiteOptions> & Complaint<O, SiteMembers<O>>
): Edited<SiteMembers<O>> => build("Stack.site", siteOrder, siteDefaults, options) as never

/**
 * A stack for an api: problem details, no pages, no cookies. As `site`; what has to be said is `forwarded`, `host`, `cors`,
 * `rateLimit` and `authentication`.
 *
 * @example
 * ```ts
 * import { Authentication, Cors, Forwarded, RateLimit, Stack, TrustedHost } from "effect-middleware"
 *
 * class CurrentUser extends Authentication.Tag("app/CurrentUser")<CurrentUser, string>() {}
 *
 * const stack = Stack.api({
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
export const api = <const O extends ApiOptions<unknown>>(
  options: O & Unknown<O, ApiOptions> & Complaint<O, ApiMembers<O>>
): Edited<ApiMembers<O>> => build("Stack.api", apiOrder, apiDefaults, options) as never
