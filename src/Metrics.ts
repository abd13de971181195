/**
 * Measures what a server does: durations, sizes, requests in flight and refusals, as Effect metrics under the names of
 * OpenTelemetry's conventions for HTTP servers.
 *
 * A label is a series in every store behind it, for ever. Rules:
 *
 * 1. Nothing that a client makes up becomes a label: a method that is not known is `_OTHER`, the route is its pattern, and
 *    there is no path, host, address or agent.
 * 2. A request counts as active from here until its response has left, or never will, and is measured at that moment: once,
 *    however often it is tried further out.
 * 3. What is not known is absent: a route where none matched, a status where none was sent, a size that nobody has stated.
 * 4. After 2000 sets of labels a metric takes no more from one middleware: what is new is counted under `otel.metric.overflow` alone.
 *
 * @since 0.1.0
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricLabel from "effect/MetricLabel"
import { Client } from "./Forwarded.js"
import { isToken } from "./internal/fields.js"
import { ask, type Asking } from "./internal/principals.js"
import * as Middleware from "./Middleware.js"
import type { Sent } from "./ResponseDraft.js"

/**
 * - `duration`: the histogram `http.server.request.duration`, in seconds.
 * - `activeRequests`: the up-down counter `http.server.active_requests`.
 * - `requestBodySize`, `responseBodySize`: the histograms `http.server.request.body.size` and
 *   `http.server.response.body.size`, in bytes.
 * - `refusals`: the counter `http.server.refusals`, by the name of the middleware and the tag of its failure.
 *
 * @since 0.1.0
 * @category models
 */
export type Measurement = "duration" | "activeRequests" | "requestBodySize" | "responseBodySize" | "refusals"

/**
 * @since 0.1.0
 * @category models
 */
export interface Labels {
  readonly [name: string]: string
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Name extends string = string> {
  /** What to measure. Default: everything. */
  readonly measure?: NonEmptyReadonlyArray<Measurement> | undefined
  /**
   * Upper bounds of the histograms' buckets, ascending: `duration` in seconds, `size` in bytes. A metric is one for the
   * whole process, and so are its boundaries. Default: `Metrics.boundaries`.
   */
  readonly boundaries?: {
    readonly duration?: ReadonlyArray<number> | undefined
    readonly size?: ReadonlyArray<number> | undefined
  } | undefined
  /**
   * Methods to tell apart, in the place of the default: `[...Metrics.knownMethods, "PROPFIND"]`. They are case-sensitive
   * (RFC 9110 section 9.1). Default: `Metrics.knownMethods`.
   */
  readonly methods?: ReadonlyArray<string> | undefined
  /**
   * Labels of your own for duration and sizes, when the response has left. Where one has the name of a standard label,
   * that one stays.
   *
   * **Mind this**: each value is a series of its own. Return what you know beforehand, such as the plan of a tenant, and
   * nothing that a client has sent.
   */
  readonly labels?: ((request: HttpServerRequest.HttpServerRequest, sent: Sent) => Labels) | undefined
  readonly name?: Name | undefined
}

/**
 * The methods of RFC 9110 with `PATCH` and `QUERY`, as the conventions list them.
 *
 * @since 0.1.0
 * @category models
 */
export const knownMethods: ReadonlyArray<string> = [
  "CONNECT",
  "DELETE",
  "GET",
  "HEAD",
  "OPTIONS",
  "PATCH",
  "POST",
  "PUT",
  "QUERY",
  "TRACE"
]

/**
 * Seconds as the conventions advise; bytes, for which they advise nothing, from 256 to 64 MiB in powers of four.
 *
 * @since 0.1.0
 * @category models
 */
export const boundaries: { readonly duration: ReadonlyArray<number>; readonly size: ReadonlyArray<number> } = {
  duration: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
  size: Array.from({ length: 10 }, (_, i) => 256 * 4 ** i)
}

/**
 * @since 0.1.0
 * @category policy
 */
export interface Facts {
  readonly method: string
  readonly scheme: "http" | "https"
  /** As Node has it: `"1.1"`, `"2.0"`. */
  readonly httpVersion?: string | undefined
  /** 499 for a client that did not wait for a response. */
  readonly status: number
  readonly aborted: boolean
  /** The pattern, where a route has matched. */
  readonly route?: string | undefined
  /** By which backend the principal was found, where there is one. */
  readonly authenticatedBy?: string | undefined
}

/**
 * Compiles the labels of duration and sizes, once, to a pure function. Throws on boundaries that do not ascend, on a
 * method that no request has, and on nothing to measure: mistakes in the program, not in a request.
 *
 * - `http.request.method`, `url.scheme`: always.
 * - `http.response.status_code`: if a response was sent.
 * - `http.route`, `network.protocol.version`: where known.
 * - `authentication.method`: the backend that has found a principal, where one has.
 * - `error.type`: the status from 500 on, else `aborted` for a response of which not all was sent.
 *
 * @example
 * ```ts
 * import * as assert from "node:assert"
 * import { Metrics } from "effect-middleware"
 *
 * const labels = Metrics.policy()
 *
 * assert.deepEqual(labels({ method: "MAKE-UP", scheme: "https", status: 503, aborted: false }), {
 *   "http.request.method": "_OTHER",
 *   "url.scheme": "https",
 *   "http.response.status_code": "503",
 *   "error.type": "503"
 * })
 * ```
 *
 * @since 0.1.0
 * @category policy
 */
export const policy = (options: Options = {}): (facts: Facts) => Labels => {
  checkMeasure(options.measure)
  checkBoundaries("duration", "seconds", options.boundaries?.duration)
  checkBoundaries("size", "bytes", options.boundaries?.size)
  const begin = initial(options.methods)
  return ({ aborted, authenticatedBy, httpVersion, method, route, scheme, status }) => {
    const labels = begin(method, scheme)
    if (authenticatedBy !== undefined) labels["authentication.method"] = authenticatedBy
    if (status !== notSent) labels["http.response.status_code"] = String(status)
    if (status >= 500) labels["error.type"] = String(status)
    else if (aborted || status === notSent) labels["error.type"] = "aborted"
    if (route !== undefined) labels["http.route"] = route
    const version = httpVersion === undefined ? undefined : versions.get(httpVersion)
    if (version !== undefined) labels["network.protocol.version"] = version
    return labels
  }
}

/**
 * Requires `Forwarded.Client`: behind a proxy that ends TLS the scheme of the connection is not the client's.
 *
 * It measures what is inside it, so it stands outside all but `Forwarded`.
 *
 * @example
 * ```ts
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Forwarded, Metrics, Stack } from "effect-middleware"
 *
 * const app = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", HttpServerResponse.text("hello")),
 *   Stack.make(Forwarded.middleware({ trust: "none" }), Metrics.middleware())
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <const Name extends string = "Metrics">(
  options: Options<Name> = {}
): Middleware.Middleware<never, never, Client, never, Name, Middleware.Phases> => {
  const labelsOf = policy(options)
  const begin = initial(options.methods)
  const { boundaries: own, labels: ownLabels, measure } = options
  const when = <A>(measurement: Measurement, make: () => A): A | undefined =>
    measure === undefined || measure.includes(measurement) ? make() : undefined
  const duration = when(
    "duration",
    () => histogram("http.server.request.duration", "Duration of HTTP server requests.", "duration", own)
  )
  const active = when("activeRequests", () => activeRequests)
  const received = when(
    "requestBodySize",
    () => histogram("http.server.request.body.size", "Size of HTTP server request bodies.", "size", own)
  )
  const answered = when(
    "responseBodySize",
    () => histogram("http.server.response.body.size", "Size of HTTP server response bodies.", "size", own)
  )
  const refused = when("refusals", () => refusals)
  const [ofActive, ofRefusals, ofResponses] = [tagsIn("{request}"), tagsIn("{refusal}"), tagsIn("s", "By")]
  // by what arrived and not by run: a request that is tried again further out is one request
  const running = new WeakMap<Source, Running>()

  return Middleware.make({
    name: options.name ?? "Metrics" as Name,
    traits: ["metrics"],
    requires: [Client],
    request: (exchange) => {
      const source = sourceOf(exchange.request)
      if (running.has(source)) return
      const [tags] = ofActive(begin(exchange.request.method, exchange.get(Client).scheme))
      const run: Running = { began: exchange.clock.unsafeCurrentTimeNanos(), tags }
      running.set(source, run)
      ask(source, run)
      active?.unsafeUpdate(1, tags)
    },
    response: (draft, exchange) => {
      const { clock, refusal, request, route } = exchange
      const { scheme } = exchange.get(Client)
      draft.onSent((sent) => {
        const source = sourceOf(request)
        const run = running.get(source)
        if (run === undefined) return
        running.delete(source)
        // first, whatever becomes of the rest: it has no second chance
        active?.unsafeUpdate(-1, run.tags)
        if (refusal !== undefined) {
          const [tags] = ofRefusals({ "error.type": tagOf(refusal.error), middleware: refusal.by })
          refused?.unsafeUpdate(1, tags)
        }
        const { aborted, bytes, status } = sent
        const standard = labelsOf({
          method: request.method,
          scheme,
          httpVersion: source.httpVersion,
          status,
          aborted,
          route,
          authenticatedBy: run.authenticatedBy
        })
        const [inSeconds, inBytes] = ofResponses(
          ownLabels === undefined ? standard : { ...ownLabels(request, sent), ...standard }
        )
        duration?.unsafeUpdate(Number(clock.unsafeCurrentTimeNanos() - run.began) / 1e9, inSeconds)
        const size = received && sizeOf(request)
        if (size !== undefined) received?.unsafeUpdate(size, inBytes)
        if (bytes !== undefined) answered?.unsafeUpdate(bytes, inBytes)
      })
    }
  })
}

type Tags = ReadonlyArray<MetricLabel.MetricLabel>

interface Running extends Asking {
  readonly began: bigint
  readonly tags: Tags
}

const notSent = 499

const versions: ReadonlyMap<string, string> = new Map([["1.0", "1.0"], ["1.1", "1.1"], ["2.0", "2"], ["3.0", "3"]])

/** What is known of a request from the start. */
const initial = (methods: ReadonlyArray<string> = knownMethods) => {
  for (const method of methods) {
    if (!isToken(method)) {
      throw new TypeError(`Metrics: methods has ${JSON.stringify(method)}: write methods (RFC 9110 section 9.1): "GET"`)
    }
    const upper = method.toUpperCase()
    if (upper !== method && knownMethods.includes(upper)) {
      throw new TypeError(`Metrics: methods has "${method}", and methods are case-sensitive: write "${upper}"`)
    }
  }
  const known = new Set(methods)
  return (method: string, scheme: string): Record<string, string> => ({
    "http.request.method": known.has(method) ? method : "_OTHER",
    "url.scheme": scheme
  })
}

const checkMeasure = (measure: ReadonlyArray<Measurement> | undefined) => {
  if (measure?.length === 0) {
    throw new TypeError("Metrics: measure is empty: name what to measure; for nothing, leave the middleware out")
  }
}

const checkBoundaries = (option: string, unit: string, values: ReadonlyArray<number> | undefined) => {
  if (values === undefined) return
  if (values.length === 0 || !values.every((value, i) => value > (values[i - 1] ?? 0) && value < Infinity)) {
    throw new TypeError(
      `Metrics: boundaries.${option} is [${values.join(", ")}]: write ${unit} above 0 in ascending order`
    )
  }
}

const activeRequests = Metric.counter("http.server.active_requests", {
  description: "Number of active HTTP server requests."
})
const refusals = Metric.counter("http.server.refusals", {
  description: "Number of HTTP server requests that a middleware has refused.",
  incremental: true
})

/** Effect compares boundaries by identity: a second histogram of a name would be another metric. */
const histograms = new Map<string, readonly [metric: Metric.Metric.Histogram<number>, values: ReadonlyArray<number>]>()

const histogram = (name: string, description: string, option: keyof typeof boundaries, own: Options["boundaries"]) => {
  const values = own?.[option] ?? boundaries[option]
  const [metric, known] = histograms.get(name) ??
    [Metric.histogram(name, MetricBoundaries.fromIterable(values), description), values]
  if (known.join() !== values.join()) {
    throw new TypeError(
      `Metrics: boundaries.${option} is not what another Metrics.middleware has, and ${name} is one metric: ` +
        `write the same in both`
    )
  }
  histograms.set(name, [metric, values])
  return metric
}

/** As in OpenTelemetry's SDKs, which keep one for all that is too much. */
const maxSets = 1999

/**
 * A set of labels for metrics in one unit and in another. Each is made once: Effect finds a series by the identity of that
 * array. The unit stands under `unit`, where Effect's exporters look for it.
 */
const tagsIn = <const Units extends ReadonlyArray<string>>(...units: Units): (labels: Labels) => TagsIn<Units> => {
  const make = (labels: Labels) =>
    // `map` keeps the length, which its type does not say
    units.map((unit) =>
      // in one order: Effect compares them as lists
      Object.entries({ ...labels, unit }).sort(([a], [b]) => a < b ? -1 : 1).map(([name, value]) =>
        MetricLabel.make(name, value)
      )
    ) as TagsIn<Units>
  const known = new Map<string, TagsIn<Units>>()
  const overflow = make({ "otel.metric.overflow": "true" })
  return (labels) => {
    let key = ""
    for (const name in labels) key += `${name} ${labels[name]!.length} ${labels[name]} `
    const found = known.get(key)
    if (found !== undefined) return found
    if (known.size === maxSets) return overflow
    const made = make(labels)
    known.set(key, made)
    return made
  }
}

type TagsIn<Units extends ReadonlyArray<string>> = { readonly [K in keyof Units]: Tags }

const tagOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "_tag" in error && typeof error._tag === "string"
    ? error._tag
    : "_OTHER"

/** What arrived: one object for a request, whatever view of it there is. Node's has more than a Fetch `Request`. */
interface Source {
  readonly httpVersion?: string | undefined
  readonly complete?: boolean | undefined
  readonly body?: unknown
}

const sourceOf = (request: HttpServerRequest.HttpServerRequest): Source => request.source as Source

/** What the client has stated and, where the server can tell, sent: a number that it only claims would spoil the sum. */
const sizeOf = (request: HttpServerRequest.HttpServerRequest): number | undefined => {
  const { "content-length": stated, "transfer-encoding": coding } = request.headers
  if (stated === undefined || coding !== undefined || !/^[0-9]{1,15}$/.test(stated)) return undefined
  // a Fetch `Request` cannot tell what has come, only that there is something: its server has framed it by that length
  const { body, complete = body !== null && body !== undefined } = sourceOf(request)
  return complete ? Number(stated) : undefined
}
