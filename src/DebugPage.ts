/**
 * What a developer sees of a failure: the cause with the source around it, spans, logs, the request and the stack.
 *
 * `ServerErrors` shows it, to clients that `policy` lets see it; all others get the constant 500 that everybody gets where
 * nothing is enabled. What looks like a secret is redacted in it, by name and by form; but source code and data of the
 * program are in it, so that it is nothing for the public.
 *
 * @since 0.1.0
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"
import * as Layer from "effect/Layer"
import type * as Logger from "effect/Logger"
import * as ModuleVersion from "effect/ModuleVersion"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import type * as Tracer from "effect/Tracer"
import type * as Entropy from "./Entropy.js"
import type { Report } from "./ErrorReporter.js"
import { type Wanted, wants } from "./internal/accept.js"
import { isLoopbackAddress } from "./internal/address.js"
import { isLoopbackHost, parseAuthority, targetAuthority } from "./internal/authority.js"
import { contentSecurityPolicy, toHtml } from "./internal/debugHtml.js"
import { toJson, toText } from "./internal/debugText.js"
import { entriesOf, originalOf } from "./internal/kernel.js"
import { parseWebOrigin } from "./internal/origin.js"
import { snapshotOf } from "./internal/snapshot.js"
import type * as Middleware from "./Middleware.js"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * Whether clients on this machine see it, without a secret. Behind a proxy on the same machine that adds no forwarding
   * field everybody is such a client: set it to `false` there. Default: `true`.
   */
  readonly loopback?: boolean | undefined
  /**
   * Whoever presents it sees the page, wherever they are: as the field `X-Debug-Secret`, or as the cookie `debug-secret`.
   * At least 16 characters. Default: none.
   */
  readonly secret?: Redacted.Redacted | undefined
  /** How much of the request's content is shown, in bytes. Default: 16 KiB. */
  readonly bodyLimit?: number | undefined
  /** Names of fields, parameters, keys and attributes that are redacted too. Default: none. */
  readonly redact?: ReadonlyArray<string | RegExp> | undefined
  /** Makes a link of each place in the source: `"vscode://file/{file}:{line}:{column}"`. Default: none. */
  readonly editor?: string | undefined
}

/**
 * What there is to show of a request that failed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Failure extends Report {
  /** The members of the stacks around the app, outermost first. */
  readonly members: () => ReadonlyArray<Member>
  /** The spans that were made inside, in their order. */
  readonly spans: ReadonlyArray<Tracer.Span>
  /** What was logged inside, in its order. */
  readonly logs: ReadonlyArray<Logger.Logger.Options<unknown>>
  /** When the request came, and when it failed, in milliseconds since the epoch. */
  readonly startedAt: number
  readonly now: number
  readonly entropy: Entropy.Service
}

/**
 * A member of a stack.
 *
 * @since 0.1.0
 * @category models
 */
export interface Member {
  readonly name: string
  /** Whether it is the one that failed. Where none is, the app did. */
  readonly failed: boolean
}

// ---------------------------------------------------------------------------------------------------------------------
// who may see it
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category policy
 */
export interface Facts {
  /** Address of the socket's other end. */
  readonly peer: string | undefined
  /** The fields as they came, by lower-case name. */
  readonly header: (name: string) => string | undefined
  /** The target as it came; it may have a host of its own (`GET http://evil.test/ HTTP/1.1`). */
  readonly target?: string | undefined
  /** The cookie `debug-secret`. */
  readonly cookie?: string | undefined
}

/**
 * Compiles who may see the page, once, to a pure function. Rules, in this order:
 *
 * 1. Nobody whom a page of another site has sent: by `Sec-Fetch-Site`, and from a browser that has none by `Origin`.
 * 2. Whoever presents the secret.
 * 3. With `loopback`, whoever comes from a loopback address, for a loopback host (`localhost`, `*.localhost`, `127.0.0.1`,
 *    `[::1]`), without any field that a proxy adds. The host counts since a name of somebody else's may lead here too (DNS
 *    rebinding).
 *
 * Throws where nobody could see it, and on a secret that can be guessed.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { DebugPage } from "effect-middleware"
 *
 * const sees = DebugPage.policy()
 * const from = (fields: { readonly [name: string]: string }) => ({
 *   peer: "127.0.0.1",
 *   header: (name: string) => fields[name]
 * })
 *
 * assert.equal(sees(from({ host: "localhost:3000" })), true)
 * assert.equal(sees(from({ host: "evil.test" })), false)
 * assert.equal(sees(from({ host: "localhost:3000", "x-forwarded-for": "192.0.2.1" })), false)
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options = {}): (facts: Facts) => boolean => {
  const { loopback = true } = options
  const secret = options.secret === undefined ? undefined : Redacted.value(options.secret)
  if (secret === undefined && !loopback) {
    throw new TypeError("DebugPage: nobody can see it: give a secret, or leave loopback out")
  }
  if (secret !== undefined && secret.length < 16) {
    throw new TypeError("DebugPage: the secret has fewer than 16 characters: take one from a generator")
  }
  return ({ cookie, header, peer, target = "/" }) => {
    const host = header("host") ?? header(":authority")
    if (isOfAnotherSite(header("sec-fetch-site"), header("origin"), host)) return false
    if (secret !== undefined && (isSame(header("x-debug-secret"), secret) || isSame(cookie, secret))) return true
    const authority = targetAuthority(target)
    return loopback && isLoopbackAddress(peer) && isLoopbackHost(parseAuthority(host ?? "")) &&
      (authority === undefined || (authority !== "malformed" && isLoopbackHost(authority))) &&
      !forwarding.some((name) => header(name) !== undefined)
  }
}

const forwarding = [
  "cf-connecting-ip",
  "forwarded",
  "true-client-ip",
  "via",
  "x-client-ip",
  "x-cluster-client-ip",
  "x-forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-original-forwarded-for",
  "x-real-ip"
]

/** A site has many ports. What a browser says that is none of its words counts as another site. */
const isOfAnotherSite = (site: string | undefined, origin: string | undefined, host: string | undefined): boolean => {
  if (site !== undefined) return !["same-origin", "same-site", "none"].includes(site)
  if (origin === undefined) return false
  const of = parseWebOrigin(origin)?.authority.host
  return of === undefined || of !== parseAuthority(host ?? "")?.host
}

/** In a time that does not depend on where they differ. */
const isSame = (given: string | undefined, secret: string): boolean => {
  if (given?.length !== secret.length) return false
  let difference = 0
  for (let i = 0; i < secret.length; i++) difference |= given.charCodeAt(i) ^ secret.charCodeAt(i)
  return difference === 0
}

// ---------------------------------------------------------------------------------------------------------------------
// services
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category services
 */
export interface Service {
  /** Whether the client of a request may see it. */
  readonly sees: (exchange: Middleware.Exchange) => boolean
  /** The page, in the form that the client asks for. Total. */
  readonly render: (failure: Failure) => Effect.Effect<HttpServerResponse.HttpServerResponse>
}

/**
 * The page, where there is one. `ServerErrors` shows it; the default is none.
 *
 * @since 0.1.0
 * @category services
 */
export class DebugPage extends Context.Reference<DebugPage>()("effect-middleware/DebugPage", {
  defaultValue: (): Option.Option<Service> => Option.none()
}) {}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Service => {
  const sees = policy(options)
  const { bodyLimit = 16 * 1024, editor, redact = [] } = options
  if (!Number.isInteger(bodyLimit) || bodyLimit < 0) {
    throw new TypeError(`DebugPage: bodyLimit is ${bodyLimit}: write a number of bytes, 0 for none`)
  }
  if (editor !== undefined && !(/^[a-z][a-z\d+.-]*:/i.test(editor) && editor.includes("{file}"))) {
    throw new TypeError("DebugPage: editor is no template: write \"vscode://file/{file}:{line}:{column}\"")
  }
  return {
    sees: (exchange) => {
      // what `Forwarded` hides counts: whoever trusts no proxy may have one all the same
      const { cookies, headers, originalUrl, remoteAddress } = originalOf(exchange.request)
      return sees({
        target: originalUrl,
        peer: Option.getOrUndefined(remoteAddress),
        header: (name) => headers[name],
        cookie: cookies["debug-secret"]
      })
    },
    render: (failure) =>
      Effect.flatMap(Effect.runtime(), (runtime) => {
        const { accept } = failure.request.headers
        const members = failure.members()
        const snapshot = Effect.promise(() =>
          snapshotOf({
            ...failure,
            status: 500,
            onion: [
              ...members.map((member) => ({ ...member, app: false })),
              { name: "app", failed: !members.some(({ failed }) => failed), app: true }
            ],
            services: entriesOf(failure.services),
            bodyLimit,
            redact,
            editor,
            readBody: () => Runtime.runPromise(runtime)(failure.request.text),
            isResponse: HttpServerResponse.isServerResponse,
            locate: (span) => sites.get(span)?.(),
            versions
          })
        )
        return Effect.map(snapshot, (snapshot) => {
          const form = formOf(accept)
          const nonce = failure.entropy.uuid()
          const body = form === "html" ? toHtml(snapshot, nonce) : form === "text" ? toText(snapshot) : toJson(snapshot)
          return HttpServerResponse.text(body, {
            status: 500,
            contentType: contentTypes[form],
            headers: {
              ...fields,
              ...(form === "html" ? { "content-security-policy": contentSecurityPolicy(nonce) } : {})
            }
          })
        })
      })
  }
}

/** Where spans were opened, as Effect prints it in a stack; test/platform-facts.test.ts holds it to that. */
const sites = globalValue("effect/Tracer/spanToTrace", () => new WeakMap<object, () => string | undefined>())

const versions = [["effect", ModuleVersion.getCurrentVersion()]] as const

type Form = "html" | "text" | "json"

const contentTypes: { readonly [F in Form]: string } = {
  html: "text/html; charset=utf-8",
  text: "text/plain; charset=utf-8",
  json: "application/json"
}

const fields = {
  "cache-control": "no-store",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  vary: "accept",
  "x-content-type-options": "nosniff"
}

/** A browser names HTML; what takes anything is a terminal. */
const formOf = (accept: string | undefined): Form => {
  const wanted = wants(accept ?? "*/*")
  let best: Wanted & { readonly form: Form } = { q: 0, exactness: 0, form: "text" }
  for (const [type, form] of forms) {
    const { exactness, q } = wanted(type)
    if (q > best.q || (q === best.q && exactness > best.exactness)) best = { q, exactness, form }
  }
  return best.form
}
const forms = [
  ["text/plain", "text"],
  ["text/html", "html"],
  ["application/json", "json"],
  ["application/problem+json", "json"]
] as const

/**
 * Enables the page. Provide it to the server of a program that is being developed.
 *
 * @example
 * ```ts
 * import { DebugPage } from "effect-middleware"
 *
 * const debug = DebugPage.layer({ editor: "vscode://file/{file}:{line}:{column}" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<never> => Layer.succeed(DebugPage, Option.some(make(options)))

/**
 * Enables the page where a configuration says so.
 *
 * @example
 * ```ts
 * import { DebugPage } from "effect-middleware"
 * import { Config } from "effect"
 *
 * // DEBUG=true, and DEBUG_SECRET for those who are not on this machine
 * const debug = DebugPage.layerConfig(
 *   Config.withDefault(Config.boolean("DEBUG"), false),
 *   { secret: Config.withDefault(Config.redacted("DEBUG_SECRET"), undefined) }
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  enabled: Config.Config<boolean>,
  options: Config.Config.Wrap<Options> = {}
): Layer.Layer<never, ConfigError.ConfigError> =>
  Layer.effect(
    DebugPage,
    Effect.if(enabled, {
      onTrue: () => Effect.map(unwrap(options), (options) => Option.some(make(options))),
      onFalse: () => Effect.succeedNone
    })
  )

/** Effect's own fails on a record without entries. */
const unwrap = (options: Config.Config.Wrap<Options>): Config.Config<Options> =>
  Object.keys(options).length === 0 ? Config.succeed({}) : Config.unwrap(options)
