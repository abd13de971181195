/**
 * Header fields that tell a browser what a page may do, and who may do what with it: Content-Security-Policy and the
 * others that helmet has made known.
 *
 * Three presets are there to begin with, and options change them field by field:
 *
 * - `site`: pages, which load their own and nothing else, and which no other site frames
 * - `api`: data, of which no browser makes a page
 * - `embed`: pages that other sites frame
 *
 * Rules:
 *
 * 1. The fields are on every response that leaves through it, refusals, failures, redirects and 304 too.
 * 2. What the handler has set stays, unless `override` is `true`. `Server` and `X-Powered-By` go.
 * 3. `change` has other fields for some routes; of several the innermost counts.
 * 4. Everything is checked and printed once, and nothing of it comes from a request.
 * 5. A nonce is made when a handler asks for it, and then the response is `private`. A response for which nobody has
 *    asked has a policy without one.
 *
 * @since 0.1.0
 */
import type { Item } from "structured-headers"
import { serializeInnerList, serializeString, Token } from "structured-headers"
import { Client } from "./Forwarded.js"
import * as Hsts from "./Hsts.js"
import { checkPolicy, isEndpoint, printPolicy, sourceHash } from "./internal/contentSecurityPolicy.js"
import { fromPhases, phasesOf } from "./internal/kernel.js"
import { compileOrigins } from "./internal/origin.js"
import { makePersonal, sourceOf } from "./internal/personal.js"
import * as Middleware from "./Middleware.js"
import type { ResponseDraft } from "./ResponseDraft.js"

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Where something may come from, as Content Security Policy Level 3 writes it: a keyword in its quotes, a hash (`hash`), a
 * scheme (`"data:"`) or hosts (`"https://example.com"`, `"*.example.com"`).
 *
 * @since 0.1.0
 * @category models
 */
export type Source =
  | "'none'"
  | "'self'"
  | "'strict-dynamic'"
  | "'report-sample'"
  | "'unsafe-inline'"
  | "'unsafe-eval'"
  | "'unsafe-hashes'"
  | "'wasm-unsafe-eval'"
  | "data:"
  | "blob:"
  | "https:"
  | (string & {})

type Sources = ReadonlyArray<Source> | false | undefined

/**
 * A policy, by its directives. One that is `false` is left out, also where the preset has it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Directives {
  /** For all that is loaded and has no directive of its own. */
  readonly defaultSrc?: Sources
  readonly scriptSrc?: Sources
  readonly scriptSrcElem?: Sources
  /** Scripts in attributes (`onclick`). */
  readonly scriptSrcAttr?: Sources
  readonly styleSrc?: Sources
  readonly styleSrcElem?: Sources
  /** Styles in attributes (`style`). */
  readonly styleSrcAttr?: Sources
  readonly imgSrc?: Sources
  readonly fontSrc?: Sources
  /** `fetch`, `WebSocket`, `EventSource`, `sendBeacon`. */
  readonly connectSrc?: Sources
  readonly mediaSrc?: Sources
  readonly manifestSrc?: Sources
  readonly objectSrc?: Sources
  /** What this page frames. */
  readonly frameSrc?: Sources
  readonly childSrc?: Sources
  readonly workerSrc?: Sources
  /** What `<base>` may say; not covered by `defaultSrc`. */
  readonly baseUri?: Sources
  /** Where forms may be sent; not covered by `defaultSrc`. */
  readonly formAction?: Sources
  /** Who may frame this page; not covered by `defaultSrc`. `X-Frame-Options` follows it. */
  readonly frameAncestors?: Sources
  /** What a page in a sandbox may do; `true`: nothing. */
  readonly sandbox?: ReadonlyArray<`allow-${string}`> | boolean | undefined
  readonly requireTrustedTypesFor?: readonly ["'script'"] | false | undefined
  /** The names of Trusted Types policies. */
  readonly trustedTypes?: ReadonlyArray<string> | false | undefined
  readonly upgradeInsecureRequests?: boolean | undefined
  /** One of `reportingEndpoints`, by its name. */
  readonly reportTo?: string | false | undefined
  /** The older form, which is all that some browsers know. */
  readonly reportUri?: ReadonlyArray<string> | false | undefined
}

/**
 * A policy that is only reported on; a browser ignores `sandbox` and `upgradeInsecureRequests` there.
 *
 * @since 0.1.0
 * @category models
 */
export type ReportOnlyDirectives = Omit<Directives, "sandbox" | "upgradeInsecureRequests">

/**
 * The directives in which a nonce can stand.
 *
 * @since 0.1.0
 * @category models
 */
export type NonceDirective = "scriptSrc" | "scriptSrcElem" | "styleSrc" | "styleSrcElem"

/**
 * The features of Permissions Policy that Chromium knows by now.
 *
 * @since 0.1.0
 * @category models
 */
export type Feature =
  | "accelerometer"
  | "attribution-reporting"
  | "autoplay"
  | "bluetooth"
  | "browsing-topics"
  | "camera"
  | "clipboard-read"
  | "clipboard-write"
  | "compute-pressure"
  | "cross-origin-isolated"
  | "display-capture"
  | "encrypted-media"
  | "fullscreen"
  | "gamepad"
  | "geolocation"
  | "gyroscope"
  | "hid"
  | "identity-credentials-get"
  | "idle-detection"
  | "keyboard-map"
  | "local-fonts"
  | "magnetometer"
  | "microphone"
  | "midi"
  | "otp-credentials"
  | "payment"
  | "picture-in-picture"
  | "publickey-credentials-create"
  | "publickey-credentials-get"
  | "screen-wake-lock"
  | "serial"
  | "storage-access"
  | "sync-xhr"
  | "unload"
  | "usb"
  | "window-management"
  | "xr-spatial-tracking"

/**
 * Who may use a feature: `[]` is nobody, `"*"` everybody, `"self"` the page, an origin a frame of it.
 *
 * @since 0.1.0
 * @category models
 */
export type Allowlist = "*" | ReadonlyArray<"self" | `http${string}`>

/**
 * The fields. Each has what the preset says, and `false` leaves it out.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fields {
  /** `Content-Security-Policy`, directive by directive over that of the preset. */
  readonly contentSecurityPolicy?: Directives | false | undefined
  /** `Content-Security-Policy-Report-Only`: another policy, to try. It stands for itself. */
  readonly contentSecurityPolicyReportOnly?: ReportOnlyDirectives | false | undefined
  /** `Reporting-Endpoints`: where a browser sends reports, by names that `reportTo` can say. */
  readonly reportingEndpoints?: { readonly [name: string]: string } | false | undefined
  /** `Cross-Origin-Opener-Policy`: which windows stay connected with this one. */
  readonly crossOriginOpenerPolicy?:
    | "same-origin"
    | "same-origin-allow-popups"
    | "noopener-allow-popups"
    | "unsafe-none"
    | false
    | undefined
  /** `Cross-Origin-Embedder-Policy`: whether what is embedded has to agree. With an opener policy of `same-origin` it isolates. */
  readonly crossOriginEmbedderPolicy?: "require-corp" | "credentialless" | "unsafe-none" | false | undefined
  /** `Cross-Origin-Resource-Policy`: who may embed this, other than by CORS. */
  readonly crossOriginResourcePolicy?: "same-origin" | "same-site" | "cross-origin" | false | undefined
  /** `Origin-Agent-Cluster: ?1`: a process for the origin, not for the site. */
  readonly originAgentCluster?: boolean | undefined
  /** `Permissions-Policy`, feature by feature over that of the preset. */
  readonly permissionsPolicy?: { readonly [F in Feature]?: Allowlist | false | undefined } | false | undefined
  /** `Referrer-Policy`. Of a list a browser takes the last that it knows. */
  readonly referrerPolicy?:
    | ReferrerPolicy
    | readonly [ReferrerPolicy, ...ReadonlyArray<ReferrerPolicy>]
    | false
    | undefined
  /** `X-Content-Type-Options: nosniff`. */
  readonly contentTypeOptions?: boolean | undefined
  /**
   * `X-Frame-Options`, for browsers that do not know `frameAncestors`. Default: what that says, where it can be said:
   * `DENY` for `'none'`, `SAMEORIGIN` for `'self'`.
   */
  readonly frameOptions?: "DENY" | "SAMEORIGIN" | false | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export type ReferrerPolicy =
  | "no-referrer"
  | "no-referrer-when-downgrade"
  | "origin"
  | "origin-when-cross-origin"
  | "same-origin"
  | "strict-origin"
  | "strict-origin-when-cross-origin"
  | "unsafe-url"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<
  out Nonces extends ReadonlyArray<NonceDirective> | undefined = ReadonlyArray<NonceDirective> | undefined,
  out Sts extends Omit<Hsts.Options, "name"> | false | undefined = Omit<Hsts.Options, "name"> | false | undefined,
  out Name extends string = string
> extends Fields {
  /** What to begin with. Default: `"site"`. */
  readonly preset?: Preset | undefined
  /**
   * The directives that get the nonce of the response, of both policies. `Nonce` is then provided. Default: none.
   */
  readonly nonce?: Nonces | undefined
  /** `Strict-Transport-Security`, by https alone, by the rules of `Hsts`. Default: that of `Hsts`. */
  readonly strictTransportSecurity?: Sts | undefined
  /** Whether these fields replace what the handler has set. Default: `false`. */
  readonly override?: boolean | undefined
  readonly name?: Name | undefined
}

/**
 * What `change` changes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Changes<out Name extends string = string> extends Fields {
  /** Another preset under all that has been said further out. */
  readonly preset?: Preset | undefined
  readonly name?: Name | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export type Preset = "site" | "api" | "embed"

const self = ["'self'"] as const
const none = ["'none'"] as const

const site = {
  contentSecurityPolicy: {
    defaultSrc: self,
    scriptSrc: self,
    scriptSrcAttr: none,
    styleSrc: self,
    imgSrc: ["'self'", "data:"],
    objectSrc: none,
    baseUri: none,
    formAction: self,
    frameAncestors: self
  },
  crossOriginOpenerPolicy: "same-origin",
  crossOriginResourcePolicy: "same-origin",
  originAgentCluster: true,
  permissionsPolicy: { camera: [], "display-capture": [], geolocation: [], microphone: [], payment: [], usb: [] },
  referrerPolicy: "same-origin",
  contentTypeOptions: true
} as const satisfies Fields

/**
 * What the presets say, field by field.
 *
 * @since 0.1.0
 * @category models
 */
export const presets = {
  site,
  api: {
    contentSecurityPolicy: { defaultSrc: none, baseUri: none, formAction: none, frameAncestors: none },
    crossOriginResourcePolicy: "same-origin",
    referrerPolicy: "no-referrer",
    contentTypeOptions: true
  },
  embed: {
    ...site,
    contentSecurityPolicy: { ...site.contentSecurityPolicy, frameAncestors: ["*"] },
    crossOriginOpenerPolicy: false,
    crossOriginResourcePolicy: "cross-origin"
  }
} as const satisfies { readonly [P in Preset]: Fields }

/**
 * The source that allows one inline script or style by the bytes between its tags.
 *
 * @example
 * ```ts
 * import { SecurityHeaders } from "effect-middleware"
 *
 * const script = "document.documentElement.className = 'js'"
 * export const headers = SecurityHeaders.middleware({
 *   contentSecurityPolicy: { scriptSrc: ["'self'", SecurityHeaders.hash(script)] }
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const hash = (text: string, algorithm: "sha256" | "sha384" | "sha512" = "sha256"): string =>
  sourceHash(text, algorithm)

// ---------------------------------------------------------------------------------------------------------------------
// policy
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The fields of a response, names in lower case.
 *
 * @since 0.1.0
 * @category policy
 */
export interface Printed {
  readonly [name: string]: string
}

/**
 * Checks and prints the fields, once, but for `Strict-Transport-Security`, which `Hsts.policy` decides on. Gives a function
 * of the response's nonce. Throws on what a browser would ignore, or read as something else.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { SecurityHeaders } from "effect-middleware"
 *
 * const fieldsFor = SecurityHeaders.policy({ preset: "api" })
 *
 * assert.deepEqual(fieldsFor(), {
 *   "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
 *   "cross-origin-resource-policy": "same-origin",
 *   "referrer-policy": "no-referrer",
 *   "x-content-type-options": "nosniff",
 *   "x-frame-options": "DENY"
 * })
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options = {}): (nonce?: string) => Printed => {
  const { fieldsFor, plain } = compile(options, [])
  return (nonce) => nonce === undefined ? plain : fieldsFor(nonce)
}

// ---------------------------------------------------------------------------------------------------------------------
// middleware
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The nonce of the response: 128 random bits in base64, for the attribute `nonce` of scripts and styles.
 *
 * It is made when `value` is first read, which has to be before the header goes: later it throws. Nothing is made for a
 * handler that does not read it, and its response has no nonce in its policy.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Forwarded, SecurityHeaders, Stack } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const page = Effect.map(
 *   SecurityHeaders.Nonce,
 *   ({ value }) => HttpServerResponse.html(`<!doctype html><script nonce="${value}">alert(1)</script>`)
 * )
 *
 * const server = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", page),
 *   Stack.serve(Stack.make(
 *     Forwarded.middleware({ trust: "none" }),
 *     SecurityHeaders.middleware({ nonce: ["scriptSrc"] })
 *   ))
 * )
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export class Nonce
  extends Middleware.Service("effect-middleware/SecurityHeaders/Nonce")<Nonce, { readonly value: string }>()
{}

/**
 * Sets the fields. Stands inside `Forwarded`, unless `strictTransportSecurity` is `false`, and outside whatever answers by
 * itself.
 *
 * @example
 * ```ts
 * import { Forwarded, SecurityHeaders, Stack } from "effect-middleware"
 *
 * export const stack = Stack.make(
 *   Forwarded.middleware({ trust: { proxies: ["10.0.0.0/8"] } }),
 *   SecurityHeaders.middleware({
 *     contentSecurityPolicy: { imgSrc: ["'self'", "https://images.example.com"], reportTo: "reports" },
 *     reportingEndpoints: { reports: "/reports" },
 *     permissionsPolicy: { geolocation: ["self"] }
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <
  const Nonces extends ReadonlyArray<NonceDirective> | undefined = undefined,
  const Sts extends Omit<Hsts.Options, "name"> | false | undefined = undefined,
  const Name extends string = "SecurityHeaders"
>(
  options: Options<Nonces, Sts, Name> = {}
): Middleware.Middleware<
  [Nonces] extends [ReadonlyArray<unknown>] ? Nonce : never,
  never,
  [Sts] extends [false] ? never : Client,
  never,
  Name,
  Middleware.Phases
> => {
  const { override = false, strictTransportSecurity = {} } = options
  const name = options.name ?? "SecurityHeaders" as Name
  const hasNonce = options.nonce !== undefined
  const hsts = strictTransportSecurity === false ? undefined : compileHsts(name, strictTransportSecurity)
  const compileAll = (changed: Change["all"]): ForScheme => {
    const http = compile(options, changed)
    return { http, https: hsts === undefined ? http : compile(options, changed, hsts.fields) }
  }
  const own = compileAll([])
  const compiled = new WeakMap<Change, ForScheme>()
  const after = (change: Change): ForScheme => {
    const known = compiled.get(change)
    if (known !== undefined) return known
    const made = compileAll(change.all)
    compiled.set(change, made)
    return made
  }
  const put = (draft: ResponseDraft, fields: Printed) => {
    if (!override) return draft.setDefaults(fields)
    for (const name in fields) draft.set(name, fields[name]!)
  }
  const nonces = Middleware.local<LazyNonce>()
  return fromPhases(name, [{
    name,
    traits: hasNonce ? ["headers", "nonce"] : ["headers"],
    provides: hasNonce ? Nonce.key : undefined,
    request: !hasNonce ? undefined : (exchange: Middleware.Exchange) => {
      const nonce = new LazyNonce(exchange)
      nonces.set(exchange, nonce)
      return Middleware.Provide(nonce)
    },
    response: (draft: ResponseDraft, exchange: Middleware.Exchange<Client>) => {
      draft.delete("server")
      draft.delete("x-powered-by")
      const change = changes.get(sourceOf(exchange.request))
      const { http, https } = change === undefined ? own : after(change)
      const { fieldsFor, plain, updated } = hsts?.applies(draft, exchange) === true ? https : http
      const nonce = nonces.get(exchange)?.close()
      // the policy of what is stored has its nonce, and stays with it
      if (hasNonce && draft.status === 304) return put(draft, updated)
      if (nonce === undefined) return put(draft, plain)
      put(draft, fieldsFor(nonce))
      draft.cacheControl("private")
    }
  }])
}

/** What a response gets by http, and by an https of which `Hsts` takes notice. */
interface ForScheme {
  readonly http: Compiled
  readonly https: Compiled
}

const compileHsts = (name: string, options: Omit<Hsts.Options, "name">) => {
  try {
    const valueFor = Hsts.policy(options)
    const [phase] = phasesOf(Hsts.middleware({ ...options, name }))
    const value = valueFor({ scheme: "https", schemeKnown: true, hostname: undefined })
    return {
      fields: { "strict-transport-security": value ?? "" },
      applies: (draft: ResponseDraft, exchange: Middleware.Exchange<Client>): boolean => {
        const client = exchange.get(Client)
        // of a scheme that nobody has stated it tells the log
        if (!client.schemeKnown) phase?.response?.(draft, exchange)
        return valueFor(client) !== undefined
      }
    }
  } catch (error) {
    throw new TypeError(
      `SecurityHeaders: strictTransportSecurity: ${
        error instanceof Error ? error.message.replace("Hsts: ", "") : String(error)
      }`,
      { cause: error }
    )
  }
}

class LazyNonce {
  private text: string | undefined
  private closed = false

  constructor(private readonly exchange: Middleware.Exchange) {}

  get value(): string {
    if (this.text !== undefined) return this.text
    if (this.closed) {
      throw new Error("SecurityHeaders: the header has gone without a nonce: read Nonce before the response is made")
    }
    // a cache further in may not give it to somebody else
    makePersonal(this.exchange.request)
    return this.text = Buffer.from(this.exchange.entropy.bytes(16)).toString("base64")
  }

  /** What has been asked for by now. */
  close(): string | undefined {
    this.closed = true
    return this.text
  }
}

/**
 * Other fields for what is inside: for a route, a router or a group. It is over what the middleware outside of it has, and
 * without one changes nothing.
 *
 * It holds for the request: also where what is inside refuses or fails, and something further out answers.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Forwarded, SecurityHeaders, Stack } from "effect-middleware"
 *
 * const widget = HttpServerResponse.html("<!doctype html><p>hello").pipe(
 *   SecurityHeaders.change({
 *     preset: "embed",
 *     contentSecurityPolicy: { frameAncestors: ["https://partner.example"] }
 *   })
 * )
 *
 * const server = HttpRouter.empty.pipe(
 *   HttpRouter.get("/widget", widget),
 *   Stack.serve(Stack.make(Forwarded.middleware({ trust: "none" }), SecurityHeaders.middleware()))
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const change = <const Name extends string = "SecurityHeaders.change">(
  options: Changes<Name>
): Middleware.Middleware<never, never, never, never, Name, Middleware.Phases> => {
  const { name = "SecurityHeaders.change" as Name, ...fields } = options
  checkFields(fields)
  const own: Change = { all: [fields] }
  const combined = new WeakMap<Change, Change>()
  const after = (before: Change): Change => {
    // a handler that is tried again
    if (before.all.includes(fields)) return before
    const known = combined.get(before)
    if (known !== undefined) return known
    const made: Change = { all: [...before.all, fields] }
    combined.set(before, made)
    return made
  }
  return Middleware.make({
    name,
    request: ({ request }) => {
      const source = sourceOf(request)
      const before = changes.get(source)
      changes.set(source, before === undefined ? own : after(before))
    }
  })
}

/** Outer before inner. */
interface Change {
  readonly all: ReadonlyArray<Omit<Changes, "name">>
}

/** By what every view of a request has alike. */
const changes = new WeakMap<object, Change>()

// ---------------------------------------------------------------------------------------------------------------------
// compile
// ---------------------------------------------------------------------------------------------------------------------

interface Compiled {
  readonly plain: Printed
  /** Without the policies, which came with what is stored. */
  readonly updated: Printed
  readonly fieldsFor: (nonce: string) => Printed
}

const compile = (options: Options, changed: Change["all"], beside: Printed = {}): Compiled => {
  const { nonce: nonces = [] } = options
  checkFields(options)
  const layers: ReadonlyArray<Omit<Changes, "name">> = [options, ...changed]
  const preset = layers.reduce((preset, layer) => layer.preset ?? preset, "site" as Preset)
  const fields = layers.reduce<Fields>(merge, presets[preset])
  const { contentSecurityPolicy: enforced, contentSecurityPolicyReportOnly: reported } = fields
  // what is changed for a route need not have all that is named for the others
  if (changed.length === 0) checkNames(fields, options.nonce)

  const updated = { ...printFields(fields), ...beside }
  const policiesFor = (nonce: string | undefined): Printed => ({
    ...(enforced && { "content-security-policy": printPolicy(enforced, nonces, nonce) }),
    ...(reported && { "content-security-policy-report-only": printPolicy(reported, nonces, nonce) })
  })
  const parts = Object.entries(policiesFor(mark)).map(([name, value]) => [name, value.split(mark)] as const)
  return {
    plain: withoutEmpty({ ...policiesFor(undefined), ...updated }),
    updated,
    fieldsFor: (nonce) => {
      const all: Record<string, string> = { ...updated }
      for (const [name, texts] of parts) if (texts[0] !== "") all[name] = texts.join(nonce)
      return all
    }
  }
}

/** Stands for the nonce in what is printed beforehand. */
const mark = "\0"

const withoutEmpty = (fields: Printed): Printed =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ""))

const merge = (outer: Fields, inner: Fields): Fields => {
  // what is `undefined` says nothing
  const given: Fields = Object.fromEntries(Object.entries(inner).filter(([, value]) => value !== undefined))
  return {
    ...outer,
    ...given,
    contentSecurityPolicy: over(outer.contentSecurityPolicy, given.contentSecurityPolicy),
    permissionsPolicy: over(outer.permissionsPolicy, given.permissionsPolicy),
    reportingEndpoints: over(outer.reportingEndpoints, given.reportingEndpoints)
  }
}

const over = <A extends object>(outer: A | false | undefined, inner: A | false | undefined): A | false | undefined =>
  !outer || !inner ? inner ?? outer : { ...outer, ...inner }

const printFields = (fields: Fields): Printed => {
  const ancestors = fields.contentSecurityPolicy && fields.contentSecurityPolicy.frameAncestors
  const frames = fields.frameOptions ?? (ancestors ? frameOptionsOf(ancestors) : undefined)
  const { permissionsPolicy, referrerPolicy, reportingEndpoints } = fields
  return withoutEmpty({
    "cross-origin-embedder-policy": fields.crossOriginEmbedderPolicy || "",
    "cross-origin-opener-policy": fields.crossOriginOpenerPolicy || "",
    "cross-origin-resource-policy": fields.crossOriginResourcePolicy || "",
    "origin-agent-cluster": fields.originAgentCluster ? "?1" : "",
    "permissions-policy": permissionsPolicy ? printPermissions(permissionsPolicy) : "",
    "referrer-policy": referrerPolicy ? [referrerPolicy].flat().join(", ") : "",
    "reporting-endpoints": reportingEndpoints
      ? Object.entries(reportingEndpoints).map(([name, url]) => `${name}=${serializeString(url)}`).join(", ")
      : "",
    "x-content-type-options": fields.contentTypeOptions ? "nosniff" : "",
    "x-frame-options": frames || ""
  })
}

const frameOptionsOf = (ancestors: ReadonlyArray<string>) =>
  ancestors.length !== 1
    ? undefined
    : ancestors[0] === "'none'"
    ? "DENY"
    : ancestors[0] === "'self'"
    ? "SAMEORIGIN"
    : undefined

const printPermissions = (features: NonNullable<Exclude<Fields["permissionsPolicy"], false>>): string =>
  Object.entries(features).flatMap(([feature, allowed]) => {
    if (allowed === undefined || allowed === false) return []
    return [`${feature}=${allowed === "*" ? "*" : serializeInnerList([allowed.map(allowedItem), new Map()])}`]
  }).join(", ")

const allowedItem = (origin: string): Item => [origin === "self" ? new Token(origin) : origin, new Map()]

// ---------------------------------------------------------------------------------------------------------------------
// mistakes
// ---------------------------------------------------------------------------------------------------------------------

const fail = (option: string, problem: string, remedy: string): never => {
  throw new TypeError(`SecurityHeaders: ${option} ${problem}: ${remedy}`)
}

const referrerPolicies = [
  "no-referrer",
  "no-referrer-when-downgrade",
  "origin",
  "origin-when-cross-origin",
  "same-origin",
  "strict-origin",
  "strict-origin-when-cross-origin",
  "unsafe-url"
] as const satisfies ReadonlyArray<ReferrerPolicy>

/** What each option can be, beside left out. */
const choices = {
  preset: Object.keys(presets),
  crossOriginOpenerPolicy: ["same-origin", "same-origin-allow-popups", "noopener-allow-popups", "unsafe-none", false],
  crossOriginEmbedderPolicy: ["require-corp", "credentialless", "unsafe-none", false],
  crossOriginResourcePolicy: ["same-origin", "same-site", "cross-origin", false],
  originAgentCluster: [true, false],
  contentTypeOptions: [true, false],
  frameOptions: ["DENY", "SAMEORIGIN", false]
} as const satisfies { readonly [K in keyof Changes]?: ReadonlyArray<unknown> }

const checkFields = (fields: Omit<Changes, "name">): void => {
  for (const [option, values] of Object.entries<ReadonlyArray<unknown>>(choices)) {
    checkChoice(option, fields[option as keyof typeof choices], values)
  }
  const { contentSecurityPolicy, contentSecurityPolicyReportOnly, permissionsPolicy, referrerPolicy } = fields
  if (contentSecurityPolicy) checkPolicy("contentSecurityPolicy", contentSecurityPolicy)
  if (contentSecurityPolicyReportOnly) {
    for (const name of ["sandbox", "upgradeInsecureRequests"]) {
      if (name in contentSecurityPolicyReportOnly) {
        fail(`contentSecurityPolicyReportOnly.${name}`, "does nothing", "leave it out, a browser only reports")
      }
    }
    checkPolicy("contentSecurityPolicyReportOnly", contentSecurityPolicyReportOnly)
  }
  for (const value of [referrerPolicy ?? []].flat()) checkChoice("referrerPolicy", value, [...referrerPolicies, false])
  for (const [feature, allowed] of Object.entries(permissionsPolicy || {})) checkFeature(feature, allowed)
  for (const [name, url] of Object.entries(fields.reportingEndpoints || {})) checkEndpoint(name, url)
}

const checkChoice = (option: string, value: unknown, values: ReadonlyArray<unknown>) => {
  if (value === undefined || values.includes(value)) return
  fail(option, `is ${JSON.stringify(value)}`, `write ${values.map((value) => JSON.stringify(value)).join(", ")}`)
}

const checkFeature = (feature: string, allowed: Allowlist | false | undefined) => {
  const option = `permissionsPolicy.${feature}`
  if (!/^[a-z][a-z\d-]*$/.test(feature)) {
    fail("permissionsPolicy", `has ${JSON.stringify(feature)}`, `write the name of a feature ("camera")`)
  }
  if (allowed === undefined || allowed === false || allowed === "*") return
  if (!Array.isArray(allowed)) {
    fail(option, `is ${JSON.stringify(allowed)}`, `write [] for nobody, ["self"] for the page, or "*" for everybody`)
  }
  for (const origin of allowed) {
    if (origin === "self") continue
    if (!/^https?:\/\//.test(origin)) {
      fail(
        option,
        `has ${JSON.stringify(origin)}`,
        `write "self", without quotes of its own, or an origin ("https://example.com")`
      )
    }
    compileOrigins(`SecurityHeaders: ${option}`, [origin])
  }
}

const checkEndpoint = (name: string, url: string) => {
  if (!isEndpoint(name)) {
    fail("reportingEndpoints", `has ${JSON.stringify(name)}`, `begin a name with a small letter ("reports")`)
  }
  if (!/^(?:https:\/\/|\/(?!\/))[!#-[\]-~]*$/.test(url)) {
    fail(
      `reportingEndpoints.${name}`,
      `is ${JSON.stringify(url)}`,
      `write an https address, or a path of this server ("/reports")`
    )
  }
}

/** What one option says of another. */
const checkNames = (fields: Fields, nonces: ReadonlyArray<NonceDirective> | undefined) => {
  const { contentSecurityPolicy: enforced, contentSecurityPolicyReportOnly: reported, reportingEndpoints } = fields
  const endpoints = Object.keys(reportingEndpoints || {})
  for (
    const [option, policy] of Object.entries({
      contentSecurityPolicy: enforced,
      contentSecurityPolicyReportOnly: reported
    })
  ) {
    const reportTo = policy && policy.reportTo
    if (reportTo && !endpoints.includes(reportTo)) {
      fail(
        `${option}.reportTo`,
        `is ${JSON.stringify(reportTo)}`,
        `write where that is: reportingEndpoints: { ${reportTo}: "/reports" }`
      )
    }
    if (option !== "contentSecurityPolicy" && policy && !policy.reportTo && !policy.reportUri) {
      fail(option, "reports to nobody", "give it a reportTo, or a reportUri")
    }
  }
  if (nonces === undefined) return
  if (nonces.length === 0) fail("nonce", "names no directive", `write nonce: ["scriptSrc"], or leave it out`)
  for (const directive of nonces) {
    checkChoice("nonce", directive, ["scriptSrc", "scriptSrcElem", "styleSrc", "styleSrcElem"])
    if (!(enforced && enforced[directive]) && !(reported && reported[directive])) {
      fail(
        "nonce",
        `names ${directive}, which no policy has`,
        `write contentSecurityPolicy: { ${directive}: ["'self'"] }`
      )
    }
  }
}
