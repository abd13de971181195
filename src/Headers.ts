/**
 * Header fields that every response has, or has not, and those that a handler is to see: set, append, remove, propagate.
 *
 * For each response that leaves through it, refusals and failures too, in this order:
 *
 * 1. `remove` takes fields away.
 * 2. `propagate` copies fields of the request, where the response has none of the name.
 * 3. `setIfAbsent` is for what is not there, `set` replaces what is there.
 * 4. `append` adds to a list; `Vary`, `Cache-Control`, `WWW-Authenticate` and `Server-Timing` are merged.
 *
 * A constant is checked once, at construction. What a function gives is checked on each request: one that cannot be sent
 * (RFC 9110 section 5.5) is left out, and the log is told once.
 *
 * @since 0.1.0
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as LogLevel from "effect/LogLevel"
import { isToken } from "./internal/fields.js"
import * as Middleware from "./Middleware.js"
import type { ResponseDraft } from "./ResponseDraft.js"

/**
 * A constant, or what the exchange says: `undefined` for no field this time.
 *
 * @since 0.1.0
 * @category models
 */
export type Value = string | ((exchange: Middleware.Exchange) => string | undefined)

/**
 * Fields by their names, in any case.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fields {
  readonly [name: string]: Value
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /** Replaces what the handler has said. */
  readonly set?: Fields | undefined
  /** Only where the handler has said nothing. */
  readonly setIfAbsent?: Fields | undefined
  /** Adds to a comma-separated list. */
  readonly append?: Fields | undefined
  readonly remove?: ReadonlyArray<string> | undefined
  /**
   * Fields of the request that the response repeats, such as a correlation id, of at most 256 characters. Never one that
   * tells a browser or a cache what to do, or that a client keeps secret.
   */
  readonly propagate?: ReadonlyArray<string> | undefined
  /** What is changed of the request for all that is further in. */
  readonly request?: {
    readonly set?: Fields | undefined
    readonly remove?: ReadonlyArray<string> | undefined
  } | undefined
  readonly name?: Name | undefined
}

/**
 * What is done on the way in and on the way out; `undefined` where there is nothing to do.
 *
 * @since 0.1.0
 * @category policy
 */
export interface Policy {
  readonly request: ((exchange: Middleware.Exchange) => void) | undefined
  readonly response: ((draft: ResponseDraft, exchange: Middleware.Exchange) => void) | undefined
}

/**
 * Compiles the rules, once. Throws a `TypeError` on a name or a constant that cannot be sent, on one field in two rules
 * that contradict each other, and on a field that belongs to the server or to another module.
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options): Policy => {
  const set = compile("set", options.set)
  const setIfAbsent = compile("setIfAbsent", options.setIfAbsent)
  const append = compile("append", options.append)
  const remove = (options.remove ?? []).map((name) => fieldName("remove", name))
  const propagate = (options.propagate ?? []).map((name) => fieldName("propagate", name))
  const inward = compile("request.set", options.request?.set)
  const hidden = (options.request?.remove ?? []).map((name) => fieldName("request.remove", name))
  disjoint("set", names(set), "setIfAbsent", names(setIfAbsent))
  disjoint("set", names(set), "remove", remove)
  disjoint("set", names(set), "append", names(append))
  disjoint("set", names(set), "propagate", propagate)
  disjoint("request.set", names(inward), "request.remove", hidden)

  // constants are one record, which the draft looks at once
  const defaults = Object.fromEntries(setIfAbsent.constants)
  const hasDefaults = setIfAbsent.constants.length > 0
  const told = new Set<string>()
  const give = (exchange: Middleware.Exchange, { computed }: Compiled, use: (name: string, value: string) => void) => {
    for (const [name, f] of computed) {
      const value = f(exchange)
      if (value === undefined) continue
      if (isSendable(value)) use(name, value)
      else if (!told.has(name)) {
        told.add(name)
        exchange.log(LogLevel.Warning, `Headers: a value for ${name} cannot be sent in a field, and is left out`)
      }
    }
  }
  const respond = (draft: ResponseDraft, exchange: Middleware.Exchange) => {
    for (const name of remove) draft.delete(name)
    for (const name of propagate) {
      const value = exchange.request.headers[name]
      if (isRepeatable(value)) draft.setIfAbsent(name, value)
    }
    if (hasDefaults) draft.setDefaults(defaults)
    for (const [name, value] of set.constants) draft.set(name, value)
    for (const [name, value] of append.constants) add(draft, name, value)
    give(exchange, setIfAbsent, (name, value) => draft.setIfAbsent(name, value))
    give(exchange, set, (name, value) => draft.set(name, value))
    give(exchange, append, (name, value) => add(draft, name, value))
  }
  const derive = (exchange: Middleware.Exchange) => {
    const headers: Record<string, string | undefined> = Object.assign(
      Object.create(Object.getPrototypeOf(exchange.request.headers)),
      exchange.request.headers
    )
    for (const name of hidden) delete headers[name]
    for (const [name, value] of inward.constants) headers[name] = value
    give(exchange, inward, (name, value) => {
      headers[name] = value
    })
    exchange.deriveRequest({ headers: headers as HttpServerRequest.HttpServerRequest["headers"] })
  }
  const isEmpty = ({ computed, constants }: Compiled) => computed.length + constants.length === 0
  return {
    request: isEmpty(inward) && hidden.length === 0 ? undefined : derive,
    response: [set, setIfAbsent, append].every(isEmpty) && remove.length + propagate.length === 0 ? undefined : respond
  }
}

/**
 * Edits header fields.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Headers } from "effect-middleware"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", HttpServerResponse.text("hello")),
 *   Headers.middleware({
 *     set: { "x-served-by": "eu-1" },
 *     append: { vary: "accept-language" },
 *     remove: ["x-powered-by"],
 *     propagate: ["x-correlation-id"],
 *     request: { remove: ["x-debug"] }
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "Headers">(
  options: Options<Name>
): Middleware.Middleware<never, never, never, never, Name, Middleware.Phases> =>
  Middleware.make({ name: options.name ?? "Headers" as Name, ...policy(options) })

type Rule = "append" | "propagate" | "remove" | "request.remove" | "request.set" | "set" | "setIfAbsent"

interface Compiled {
  readonly constants: ReadonlyArray<readonly [name: string, value: string]>
  readonly computed: ReadonlyArray<readonly [name: string, value: Exclude<Value, string>]>
}

const names = ({ computed, constants }: Compiled): ReadonlyArray<string> => [...constants, ...computed].map(([n]) => n)

const compile = (rule: Rule, fields: Fields = {}): Compiled => {
  const constants: Array<Compiled["constants"][number]> = []
  const computed: Array<Compiled["computed"][number]> = []
  const seen = new Set<string>()
  for (const [given, value] of Object.entries(fields)) {
    const name = fieldName(rule, given)
    if (seen.has(name)) fail(rule, given, "is there twice, in another case: leave one out")
    seen.add(name)
    if (typeof value === "function") computed.push([name, value])
    else if (typeof value === "string" && isSendable(value) && value.trim() === value) constants.push([name, value])
    else fail(rule, given, "has a value that cannot be sent: write Latin-1 text, with no blanks around it")
  }
  return { constants, computed }
}

const fail = (rule: Rule, name: string, remedy: string): never => {
  throw new TypeError(`Headers: ${rule}: ${JSON.stringify(name)} ${remedy}`)
}

const fieldName = (rule: Rule, given: string): string => {
  if (!isToken(given)) fail(rule, given, "is not a field name (RFC 9110 section 5.1)")
  const name = given.toLowerCase()
  const remedy = refusals.find(([rules, pattern]) => rules.includes(rule) && pattern.test(name))?.[2]
  if (remedy !== undefined) fail(rule, given, remedy)
  return name
}

const disjoint = (a: Rule, left: ReadonlyArray<string>, b: Rule, right: ReadonlyArray<string>) => {
  const both = left.find((name) => right.includes(name))
  if (both !== undefined) fail(a, both, `is in ${b} too: leave one out`)
}

const add = (draft: ResponseDraft, name: string, value: string): void => {
  switch (name) {
    case "vary":
      return draft.vary(value)
    case "cache-control":
      return draft.cacheControl(value)
    case "www-authenticate":
      return draft.challenge(value)
    case "server-timing":
      return draft.serverTiming(value)
    default:
      return draft.append(name, value)
  }
}

const isSendable = (value: string): boolean => !/[^\t\x20-\x7e\x80-\xff]/.test(value)

const longest = 256
const isRepeatable = (value: string | undefined): value is string =>
  value !== undefined && value !== "" && value.length <= longest && isSendable(value)

const response: ReadonlyArray<Rule> = ["append", "propagate", "remove", "set", "setIfAbsent"]
const inbound: ReadonlyArray<Rule> = ["request.remove", "request.set"]

/** The first that fits says what to do instead. */
const refusals: ReadonlyArray<readonly [rules: ReadonlyArray<Rule>, name: RegExp, remedy: string]> = [
  [
    [...response, ...inbound],
    /^(?:content-length|transfer-encoding|connection|keep-alive|proxy-connection|upgrade|te|trailer)$/,
    "is how the server frames a message: leave it out"
  ],
  [response, /^set-cookie$/, "is not a list: write draft.setCookie, or Session, and Cookies for the attributes"],
  [response, /^access-control-/, "belongs to Cors: write Cors.middleware"],
  [response, /^strict-transport-security$/, "belongs to Hsts: write Hsts.middleware"],
  [
    ["remove", "set"],
    /^(?:vary|cache-control|www-authenticate|server-timing)$/,
    "would undo what others have said: write append, which merges"
  ],
  [
    ["append"],
    /^(?:content-type|content-location|date|etag|expires|last-modified|location|retry-after)$/,
    "has one value: write set"
  ],
  [
    ["propagate"],
    /^(?:authorization|proxy-authorization|cookie|x-forwarded-.*|forwarded|x-real-ip|host)$/,
    "is not for the response, where caches and scripts read it: leave it out"
  ],
  [
    ["propagate"],
    // what a page of another site may have its visitor send
    /^(?:content-.*|cross-origin-.*|sec-.*|proxy-.*|age|cache-control|clear-site-data|date|etag|expires|last-modified|link|location|nel|origin-agent-cluster|permissions-policy|pragma|referrer-policy|refresh|report-to|reporting-endpoints|retry-after|server-timing|service-worker-allowed|sourcemap|timing-allow-origin|vary|www-authenticate|x-content-type-options|x-frame-options)$/,
    "tells browsers and caches what to do, which a client is not to say: write set"
  ],
  [["request.set"], /^(?:x-forwarded-.*|forwarded|x-real-ip)$/, "belongs to Forwarded: write Forwarded.middleware"],
  [["request.set"], /^(?:host|authorization|cookie)$/, "would speak for every client: leave it out"]
]
