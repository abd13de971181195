/**
 * One structured line in the log for each request, written when the response is done: the last byte sent, or the
 * connection lost. Rules:
 *
 * 1. Annotations have the names of OpenTelemetry's HTTP conventions; what is not known is left out. Durations are in
 *    seconds, sizes in bytes.
 * 2. The message is `GET /users/:id 200`: method, route, status. Where no route is known, the path stands for it.
 * 3. What a client can choose forges nothing: in every text control and format characters (C0, C1, ESC, line and text
 *    direction marks) are escaped as `\x1b` or `\u{202e}`, a backslash is doubled, and the length is capped.
 * 4. The level is Error from 500 on and for a body that failed, else Warning for what is slow, else Info. `level` may say
 *    otherwise.
 * 5. `skip` leaves a request out. `sample` writes a share of the ordinary ones: those that are neither 5xx, nor slow,
 *    nor aborted.
 * 6. Queries, cookies and credentials are not logged. A query can be, parameter by parameter; a header, by its name.
 * 7. An option of yours that throws costs neither line nor response: the line is an error, and says what was thrown.
 *
 * @since 0.1.0
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as LogLevel from "effect/LogLevel"
import { Client, type ClientInfo } from "./Forwarded.js"
import { originForm } from "./internal/authority.js"
import { isToken } from "./internal/fields.js"
import * as Middleware from "./Middleware.js"

/**
 * What is added to the line of the current request. In an Effect, use `annotate`; a plain phase further in takes this
 * by `exchange.getOption(AccessLog.Fields)`.
 *
 * @since 0.1.0
 * @category services
 */
export class Fields extends Middleware.Service("effect-middleware/AccessLog/Fields")<Fields, {
  /** Sets a field of the line, in the place of what it was; at most 64 are kept. */
  readonly set: (key: string, value: Value) => void
}>() {}

/**
 * @since 0.1.0
 * @category models
 */
export type Value = string | number | bigint | boolean | null | undefined

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /** From which duration on a request is slow. An upgrade never is. Default: none is. */
  readonly slow?: Duration.DurationInput | undefined
  /** The level of a line, in the place of rule 4; nothing for the default, `LogLevel.None` for no line. */
  readonly level?: ((entry: Entry) => LogLevel.LogLevel | undefined) | undefined
  /** Requests to leave out, whatever became of them. Default: none. */
  readonly skip?: ((entry: Entry) => boolean) | undefined
  /** Which share of the ordinary lines is written, 0 to 1. Default: `1`. */
  readonly sample?: number | undefined
  /** More fields, or others: they replace those of the line, and `undefined` takes one away. */
  readonly fields?: ((entry: Entry) => { readonly [key: string]: Value }) | undefined
  /**
   * What of the query is logged, as `url.query`: nothing, the names of its parameters, or the values of those listed.
   * A value that is not logged is `REDACTED`. Default: `"none"`.
   */
  readonly query?: "none" | "names" | ReadonlyArray<string> | undefined
  /** Whether to log `user_agent.original`. Default: `true`. */
  readonly userAgent?: boolean | undefined
  /**
   * Request headers to log, as `http.request.header.<name>`. The value of one that holds credentials is `REDACTED`, and
   * that of `referer` has no query. Default: none.
   */
  readonly requestHeaders?: ReadonlyArray<string> | undefined
  /** The same of the response, where `location` has no query. Default: none. */
  readonly responseHeaders?: ReadonlyArray<string> | undefined
  readonly name?: Name | undefined
}

/**
 * What is known of a request when its response is done. Texts are as the client sent them: they are escaped when they
 * are written.
 *
 * @since 0.1.0
 * @category policy
 */
export interface Entry {
  readonly method: string
  /** The path as received, without the query. */
  readonly path: string
  /** The query as received, without its `?`; empty when there is none. */
  readonly query: string
  /** The pattern that the router matched, such as `/users/:id`. */
  readonly route: string | undefined
  readonly client: ClientInfo
  /** The version of HTTP, such as `1.1`, where the server tells. */
  readonly protocolVersion: string | undefined
  readonly requestHeaders: { readonly [name: string]: string | undefined }
  /** What was sent: 101 for an upgrade, 499 for a client that did not wait for an answer. */
  readonly status: number
  readonly responseHeaders: { readonly [name: string]: string | undefined }
  /** The size of the content as sent; `undefined` where nobody knows it. */
  readonly bytes: number | undefined
  /** From the request's arrival here until the response was done. */
  readonly duration: Duration.Duration
  /** Whether the connection was lost, or the body failed, before all of it was sent. */
  readonly aborted: boolean
  /** Whether it was the body that failed. */
  readonly failed: boolean
  /** The last refusal of a middleware further in. */
  readonly refusal: Middleware.Refusal | undefined
  /** What `annotate` and `Fields` have added. */
  readonly fields: { readonly [key: string]: Value }
}

/**
 * @since 0.1.0
 * @category policy
 */
export interface Line {
  readonly level: LogLevel.LogLevel
  readonly message: string
  readonly annotations: { readonly [key: string]: Value }
}

/**
 * Compiles the options, once, to a pure function, which gives the line to write, or none. It asks `chance`, a number
 * from 0 up to 1, only to sample. Throws on a `sample` or `slow` that is none, and on a header that is no field name.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { AccessLog, Forwarded } from "effect-middleware"
 * import { Duration } from "effect"
 *
 * const decide = AccessLog.policy({ slow: "2 seconds", skip: ({ path }) => path === "/health" })
 *
 * const line = decide({
 *   method: "GET",
 *   path: "/users/7",
 *   query: "",
 *   route: "/users/:id",
 *   client: Forwarded.policy({ trust: "none" })({
 *     peer: "192.0.2.1",
 *     host: "example.com",
 *     target: "/users/7",
 *     header: () => undefined
 *   }),
 *   protocolVersion: "1.1",
 *   requestHeaders: {},
 *   status: 200,
 *   responseHeaders: {},
 *   bytes: 12,
 *   duration: Duration.seconds(3),
 *   aborted: false,
 *   failed: false,
 *   refusal: undefined,
 *   fields: {}
 * }, () => 0)
 *
 * assert.equal(line?.message, "GET /users/:id 200")
 * assert.equal(line?.level.label, "WARN")
 * assert.equal(line?.annotations["http.server.request.duration"], 3)
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options = {}): (entry: Entry, chance: () => number) => Line | undefined => {
  const { sample = 1, userAgent = true } = options
  if (!(sample >= 0 && sample <= 1)) {
    throw new TypeError(`AccessLog: sample is ${sample}: write the share of lines to keep, 0 to 1`)
  }
  const slow = options.slow === undefined ? Infinity : Duration.toMillis(options.slow)
  if (slow === 0) throw new TypeError("AccessLog: slow is no time at all: write a duration, or leave it out")
  const query = compileQuery(options.query ?? "none")
  const request = compileHeaders("requestHeaders", "http.request.header.", options.requestHeaders)
  const response = compileHeaders("responseHeaders", "http.response.header.", options.responseHeaders)

  const annotate = (entry: Entry): { [key: string]: Value } => {
    const { aborted, bytes, client, duration, fields, path, protocolVersion, refusal, requestHeaders, status } = entry
    const line: { [key: string]: Value } = {}
    for (const key in fields) if (!standard.test(key)) line[text(key, 64)] = valueOf(fields[key])
    line["http.request.method"] = text(entry.method, 32)
    if (entry.route !== undefined) line["http.route"] = text(entry.route, 256)
    line["url.path"] = text(path, 1024)
    const parameters = query(entry.query)
    if (parameters !== undefined) line["url.query"] = text(parameters, 1024)
    line["http.response.status_code"] = status
    if (bytes !== undefined) line["http.response.body.size"] = bytes
    // to the microsecond, which a sum of binary fractions does not give by itself
    line["http.server.request.duration"] = Math.round(Duration.toMillis(duration) * 1000) / 1_000_000
    if (client.address !== undefined) line["client.address"] = text(client.address, 64)
    if (protocolVersion !== undefined) line["network.protocol.version"] = text(protocolVersion, 8)
    const agent = requestHeaders["user-agent"]
    if (userAgent && agent !== undefined) line["user_agent.original"] = text(agent, 256)
    request(requestHeaders, line)
    response(entry.responseHeaders, line)
    if (aborted) line["http.response.aborted"] = true
    if (refusal !== undefined) line["refusal.by"] = text(refusal.by, 64)
    const type = status >= 400 && refusal !== undefined ? tagOf(refusal.error) : undefined
    if (type !== undefined || status >= 500) line["error.type"] = text(type ?? String(status), 256)
    return line
  }

  return (entry, chance) => {
    const { aborted, duration, failed, method, path, route, status } = entry
    const late = status !== 101 && Duration.toMillis(duration) >= slow
    const ordinary = status < 500 && !late && !aborted
    let thrown: { readonly defect: unknown } | undefined
    const ask = <A>(f: ((entry: Entry) => A) | undefined): A | undefined => {
      try {
        return f?.(entry)
      } catch (defect) {
        thrown ??= { defect }
        return undefined
      }
    }
    if (ask(options.skip) === true) return undefined
    const chosen = ask(options.level)
    const left = chosen?._tag === "None" || (ordinary && sample < 1 && (ask(chance) ?? 0) >= sample)
    if (left && thrown === undefined) return undefined
    const added = ask(options.fields)
    const annotations = annotate(entry)
    for (const key in added) {
      if (added[key] === undefined) delete annotations[key]
      else annotations[text(key, 64)] = valueOf(added[key])
    }
    if (thrown !== undefined) annotations["exception.stacktrace"] = text(Cause.pretty(Cause.die(thrown.defect)), 4096)
    return {
      level: thrown !== undefined || (chosen === undefined && (status >= 500 || failed))
        ? LogLevel.Error
        : chosen ?? (late ? LogLevel.Warning : LogLevel.Info),
      message: `${word(method, 32)} ${word(route ?? path, 256)} ${status}`,
      annotations
    }
  }
}

/**
 * Writes the line, and provides `Fields`.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { AccessLog, Forwarded, Stack } from "effect-middleware"
 * import { Effect } from "effect"
 *
 * const stack = Stack.make(
 *   Forwarded.middleware({ trust: "none" }),
 *   AccessLog.middleware({ slow: "1 second", sample: 0.1 })
 * )
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", Effect.as(AccessLog.annotate({ "app.plan": "free" }), HttpServerResponse.text("hello"))),
 *   stack
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "AccessLog">(
  options: Options<Name> = {}
): Middleware.Middleware<Fields, never, Client, never, Name, Middleware.Phases> => {
  const decide = policy(options)
  const local = Middleware.local<Pending>()
  // a request that is tried again outside every stack has a line for the last time
  const newest = new WeakMap<object, Pending>()
  return Middleware.make({
    name: options.name ?? "AccessLog" as Name,
    traits: ["log"],
    requires: [Client],
    provides: Fields,
    request: (exchange) => {
      const pending = new Pending(exchange.clock.unsafeCurrentTimeNanos())
      local.set(exchange, pending)
      newest.set(sourceOf(exchange.request), pending)
      return Middleware.Provide(pending)
    },
    response: (draft, exchange) => {
      const pending = local.get(exchange)
      if (pending === undefined) return
      // read now: later the exchange shows the request as others saw it
      const { request } = exchange
      const client = exchange.get(Client)
      draft.onSent(({ aborted, bytes, failed, status }) => {
        if (newest.get(sourceOf(request)) !== pending) return
        const target = originForm(request.url)
        // platform's routers begin the query at either
        const mark = target.search(/[?;]/)
        const line = decide({
          method: request.method,
          path: mark < 0 ? target : target.slice(0, mark),
          query: mark < 0 ? "" : target.slice(mark + 1),
          route: exchange.route,
          client,
          protocolVersion: versionOf(request.source),
          requestHeaders: request.headers,
          status,
          responseHeaders: draft.headers,
          bytes,
          duration: Duration.nanos(exchange.clock.unsafeCurrentTimeNanos() - pending.began),
          // a web handler learns of it from nothing but the status that platform gives to such a request
          aborted: aborted || status === 499,
          failed,
          refusal: exchange.refusal,
          fields: pending.fields
        }, () => fraction(exchange.entropy.bytes(4)))
        if (line !== undefined) exchange.log(line.level, line.message, line.annotations)
      })
    }
  })
}

/**
 * Adds to the line of the current request; outside the middleware, does nothing. What the line says by itself, such as
 * the status, cannot be replaced from here.
 *
 * @example
 * ```ts
 * import { AccessLog } from "effect-middleware"
 *
 * const who = AccessLog.annotate({ "enduser.id": "u-7", "app.cached": false })
 * ```
 *
 * @since 0.1.0
 * @category fields
 */
export const annotate = (fields: { readonly [key: string]: Value }): Effect.Effect<void> =>
  Effect.map(Effect.serviceOption(Fields), (service) => {
    if (service._tag === "Some") { for (const key in fields) service.value.set(key, fields[key]) }
  })

class Pending {
  readonly fields: { [key: string]: Value } = Object.create(null)
  private size = 0
  constructor(readonly began: bigint) {}
  set(key: string, value: Value) {
    if (!(key in this.fields) && ++this.size > 64) return
    this.fields[key] = value
  }
}

/** What arrived: one object for a request, whatever view of it there is. */
const sourceOf = (request: HttpServerRequest.HttpServerRequest): object => request.source as object

/** What the line says by itself, or leaves out because it is not so. */
const standard =
  /^(?:http\.(?:route$|request\.|response\.|server\.)|url\.|client\.|network\.|user_agent\.|refusal\.|error\.type$|exception\.)/

/** Node's request has the version; a Fetch `Request` does not. */
const versionOf = (source: unknown): string | undefined =>
  typeof source === "object" && source !== null && "httpVersion" in source && typeof source.httpVersion === "string"
    ? source.httpVersion
    : undefined

const fraction = (bytes: Uint8Array): number => bytes.reduceRight((sum, byte) => (sum + byte) / 256, 0)

const tagOf = (error: unknown): string | undefined => {
  if (typeof error !== "object" || error === null) return undefined
  if ("_tag" in error && typeof error._tag === "string") return error._tag
  return error instanceof Error ? error.name : undefined
}

// --- what of a request is written ------------------------------------------------------------------------------------

const compileQuery = (query: "none" | "names" | ReadonlyArray<string>): (query: string) => string | undefined => {
  if (query === "none") return () => undefined
  const shown = new Set(query === "names" ? [] : query)
  return (query) => {
    if (query === "") return undefined
    // as long as the text may be: no work is done for what is not written
    return query.slice(0, 1024).split("&").map((parameter) => {
      const equals = parameter.indexOf("=")
      const name = equals < 0 ? parameter : parameter.slice(0, equals)
      if (shown.has(name)) return parameter
      // one without a name may be all value, such as a token
      return equals < 0 ? redacted : `${name}=${redacted}`
    }).join("&")
  }
}

const redacted = "REDACTED"

const credentials: ReadonlySet<string> = new Set([
  "authorization",
  "proxy-authorization",
  "cookie",
  "set-cookie",
  "x-api-key",
  "x-auth-token",
  "x-csrf-token",
  "x-amz-security-token"
])

/** Their values are URLs, whose queries can be as secret as that of the request. */
const addresses: ReadonlySet<string> = new Set(["referer", "location", "content-location"])

const compileHeaders = (
  option: string,
  prefix: string,
  names: ReadonlyArray<string> = []
): (headers: Entry["requestHeaders"], line: { [key: string]: Value }) => void => {
  const wanted = names.map((name) => {
    if (!isToken(name)) {
      throw new TypeError(
        `AccessLog: ${option} has ${JSON.stringify(name)}: write the name of a field (RFC 9110 section 5.1)`
      )
    }
    const key = name.toLowerCase()
    return { key, label: prefix + key }
  })
  return (headers, line) => {
    for (const { key, label } of wanted) {
      const value = headers[key]
      if (value === undefined) continue
      line[label] = credentials.has(key)
        ? redacted
        : text(addresses.has(key) ? value.split(/[?;#]/, 1)[0]! : value, 256)
    }
  }
}

// --- texts -----------------------------------------------------------------------------------------------------------

const valueOf = (value: Value): Value => typeof value === "string" ? text(value, 1024) : value

/**
 * A text that stays on its line: what is no character to see is escaped. The backslash is doubled, or a text could
 * escape the quote that a logger puts behind it.
 */
const text = (value: string, max: number): string => {
  const cut = value.length > max ? `${value.slice(0, max)}...` : value
  return /^[ -[\]-~]*$/.test(cut) ? cut : cut.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\\]/gu, escape)
}

/** A text without spaces, for the message: it stays one word. */
const word = (value: string, max: number): string => text(value, max).replace(/\p{Zs}/gu, escape)

const escape = (character: string): string => {
  if (character === "\\") return "\\\\"
  const code = character.codePointAt(0)!
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`
}
