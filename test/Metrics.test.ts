import { HttpApp, HttpRouter, HttpServerRequest, HttpServerResponse, Socket } from "@effect/platform"
import { NodeSocket } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Deferred,
  Effect,
  FastCheck,
  Fiber,
  Layer,
  Logger,
  Metric,
  MetricKeyType,
  MetricState,
  Option,
  Queue,
  Stream,
  TestClock
} from "effect"
import { ExceptionHandlers, Forwarded, Metrics, Middleware, type ResponseDraft, Stack } from "effect-middleware"
import * as Http from "node:http"
import * as Net from "node:net"
import { vi } from "vitest"
import { answered, stackOf, Teapot, wrap } from "./utils/laws.js"
import { type App, listen, mounts, nodeServer, request, send, unknownRoute } from "./utils/TestApp.js"

// ---------------------------------------------------------------------------------------------------------------------
// reading: the registry is one for the process, so what is compared is what was added
// ---------------------------------------------------------------------------------------------------------------------

const duration = "http.server.request.duration"
const active = "http.server.active_requests"
const received = "http.server.request.body.size"
const sent = "http.server.response.body.size"
const refusals = "http.server.refusals"

/** The value of a counter; of a histogram, how many and their sum. */
type Value = number | readonly [count: number, sum: number]
interface Series {
  readonly name: string
  readonly labels: Metrics.Labels
  readonly value: Value
}

const registry = (): Map<string, Series> =>
  new Map(
    Metric.unsafeSnapshot().filter(({ metricKey }) => metricKey.name.startsWith("http.server.")).map(
      ({ metricKey: { name, tags }, metricState }) => {
        const labels = Object.fromEntries(tags.map(({ key, value }) => [key, value]))
        const value: Value = MetricState.isHistogramState(metricState)
          ? [metricState.count, metricState.sum]
          : MetricState.isCounterState(metricState)
          ? Number(metricState.count)
          : Number.NaN
        const key = JSON.stringify([name, Object.entries(labels).sort()])
        return [key, { name, labels, value }]
      }
    )
  )

const minus = (a: Value, b: Value | undefined): Value =>
  typeof a === "number" ? a - Number(b ?? 0) : [a[0] - ((b as typeof a)?.[0] ?? 0), a[1] - ((b as typeof a)?.[1] ?? 0)]

/** What has changed since. */
const since = (before: Map<string, Series>): ReadonlyArray<Series> =>
  [...registry()]
    .map(([key, series]) => ({ ...series, value: minus(series.value, before.get(key)?.value) }))
    .filter(({ value }) => typeof value === "number" ? value !== 0 : value[0] !== 0)

const of = (series: ReadonlyArray<Series>, name: string) => series.filter((series) => series.name === name)
const valueOf = (series: ReadonlyArray<Series>, name: string) => of(series, name).map(({ value }) => value)

/** What an effect adds. */
const measured = <E, R>(effect: Effect.Effect<unknown, E, R>) =>
  Effect.suspend(() => {
    const before = registry()
    return Effect.map(effect, () => since(before))
  })

const client = Forwarded.middleware({ trust: "none" })
const ok = HttpServerResponse.text("12345")
const get = { "http.request.method": "GET", "url.scheme": "http" }

// ---------------------------------------------------------------------------------------------------------------------

describe("policy", () => {
  const facts: Metrics.Facts = { method: "GET", scheme: "http", status: 200, aborted: false }
  const found = { ...get, "http.response.status_code": "200" }

  it.each<[rule: string, facts: Partial<Metrics.Facts>, expected: Metrics.Labels]>([
    ["what is known", {}, found],
    ["the scheme", { scheme: "https" }, { ...found, "url.scheme": "https" }],
    ["a route", { route: "/users/:id" }, { ...found, "http.route": "/users/:id" }],
    ["no route is no label", { route: undefined }, found],
    ["HTTP/1.0", { httpVersion: "1.0" }, { ...found, "network.protocol.version": "1.0" }],
    ["HTTP/1.1", { httpVersion: "1.1" }, { ...found, "network.protocol.version": "1.1" }],
    ["HTTP/2", { httpVersion: "2.0" }, { ...found, "network.protocol.version": "2" }],
    ["HTTP/3", { httpVersion: "3.0" }, { ...found, "network.protocol.version": "3" }],
    ["a version that is none", { httpVersion: "6.6" }, found],
    ["a refusal of the client's request is no error", { status: 404 }, {
      ...get,
      "http.response.status_code": "404"
    }],
    ["the last status that is none", { status: 498 }, { ...get, "http.response.status_code": "498" }],
    ["a failure of the server", { status: 500 }, {
      ...get,
      "http.response.status_code": "500",
      "error.type": "500"
    }],
    ["another", { status: 503 }, { ...get, "http.response.status_code": "503", "error.type": "503" }],
    ["a response that was cut off", { aborted: true }, { ...found, "error.type": "aborted" }],
    ["a failure that was cut off", { status: 502, aborted: true }, {
      ...get,
      "http.response.status_code": "502",
      "error.type": "502"
    }],
    ["a client that did not wait", { status: 499, aborted: true }, { ...get, "error.type": "aborted" }],
    ["the same, where nobody can tell", { status: 499 }, { ...get, "error.type": "aborted" }]
  ])("%s: %j", (_, some, expected) => {
    assert.deepStrictEqual(Metrics.policy()({ ...facts, ...some }), expected)
  })

  describe("methods", () => {
    const methodOf = (method: string, options?: Metrics.Options) =>
      Metrics.policy(options)({ ...facts, method })["http.request.method"]

    it.each([...Metrics.knownMethods])("%s is itself", (method) => assert.strictEqual(methodOf(method), method))
    it.each(["get", "PURGE", "", "GET ", "_OTHER", "__proto__", "constructor", "X".repeat(10_000)])(
      "%s is another",
      (method) => assert.strictEqual(methodOf(method), "_OTHER")
    )
    it("those of one's own take the place of the default", () => {
      assert.strictEqual(methodOf("PROPFIND", { methods: ["PROPFIND"] }), "PROPFIND")
      assert.strictEqual(methodOf("GET", { methods: ["PROPFIND"] }), "_OTHER")
      assert.strictEqual(methodOf("GET", { methods: [] }), "_OTHER")
      assert.strictEqual(methodOf("GET", { methods: [...Metrics.knownMethods, "PROPFIND"] }), "GET")
    })
    it("are those of the conventions", () => {
      assert.sameMembers([...Metrics.knownMethods], [
        ...["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"]
      ])
    })
  })

  it.prop(
    "what a client sends is in no label",
    [FastCheck.fullUnicodeString(), FastCheck.fullUnicodeString(), FastCheck.integer({ min: 200, max: 599 })],
    ([method, httpVersion, status]) => {
      const labels = Metrics.policy()({ ...facts, method, httpVersion, status })
      assert.include([...Metrics.knownMethods, "_OTHER"], labels["http.request.method"])
      assert.include(["1.0", "1.1", "2", "3", undefined], labels["network.protocol.version"])
      const { "error.type": _, "http.request.method": __, "network.protocol.version": ___, ...rest } = labels
      assert.deepStrictEqual(
        rest,
        status === 499
          ? { "url.scheme": "http" }
          : { "url.scheme": "http", "http.response.status_code": String(status) }
      )
    }
  )

  describe("mistakes", () => {
    const nothing: ReadonlyArray<Metrics.Measurement> = []
    it.each<[mistake: string, options: Metrics.Options, message: RegExp]>([
      ["nothing to measure", { measure: nothing as unknown as readonly ["duration"] }, /measure is empty.*leave the/],
      ["no boundaries", { boundaries: { duration: [] } }, /boundaries\.duration is \[\]: write seconds/],
      ["a boundary of zero", { boundaries: { duration: [0, 1] } }, /above 0 in ascending order/],
      ["a negative one", { boundaries: { size: [-1, 1] } }, /boundaries\.size is \[-1, 1\]: write bytes/],
      ["two that are equal", { boundaries: { size: [1, 1] } }, /ascending/],
      ["two that descend", { boundaries: { duration: [1, 2, 1.5] } }, /ascending/],
      ["one without an end", { boundaries: { duration: [1, Infinity] } }, /ascending/],
      ["one that is no number", { boundaries: { duration: [Number.NaN] } }, /ascending/],
      ["a method that is none", { methods: ["GET", "A B"] }, /methods has "A B": write methods/],
      ["an empty method", { methods: [""] }, /methods has ""/],
      ["a method in lower case", { methods: ["get"] }, /case-sensitive: write "GET"/]
    ])("throws on %s", (_, options, message) => {
      assert.throws(() => Metrics.policy(options), TypeError, message)
      assert.throws(() => Metrics.middleware(options), TypeError, message)
    })
    it("a method of one's own may be in lower case", () => {
      assert.doesNotThrow(() => Metrics.policy({ methods: ["purge"] }))
    })
  })

  it("the boundaries are those that the conventions advise, and ascend", () => {
    assert.deepStrictEqual([...Metrics.boundaries.duration], [
      ...[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
    ])
    assert.deepStrictEqual([Metrics.boundaries.size[0], Metrics.boundaries.size.at(-1)], [256, 64 * 1024 * 1024])
    assert.doesNotThrow(() => Metrics.policy({ boundaries: Metrics.boundaries }))
  })
})

/** Tells when a request has been measured. */
const telling = (options: Metrics.Options<"Metrics"> = {}) =>
  Effect.map(Queue.unbounded<ResponseDraft.Sent>(), (told) => ({
    measuring: Metrics.middleware({
      ...options,
      labels: (_, sent) => {
        told.unsafeOffer(sent)
        return {}
      }
    }),
    measured: answered(Queue.take(told)),
    told
  }))

for (const mount of mounts) {
  describe(`in ${mount.name}`, () => {
    const node = mount.name.includes("Node")
    const provided = Effect.provide(node ? nodeServer : Layer.empty)
    const pattern = mount.router === "none" ? {} : { "http.route": mount.name.includes("Api") ? "/*" : "*" }
    const version = node ? { "network.protocol.version": "1.1" } : {}

    it.scoped("each outcome is measured once, and leaves nothing active", () =>
      Effect.gen(function*() {
        const { measured: one, measuring, told } = yield* telling()
        const refuses = Middleware.make({ name: "Refuses", request: () => Middleware.Refuse(new Teapot()) })
        const responds = Middleware.make({ name: "Responds", request: () => Middleware.Respond(ok) })
        const replaces = Middleware.make({ name: "Replaces", response: (draft) => draft.refuse(new Teapot()) })
        const cases: ReadonlyArray<
          readonly [app: App, inside: ReadonlyArray<Middleware.Any>, status: string, refusedBy?: string]
        > = [
          [ok, [], "200"],
          [HttpServerResponse.empty({ status: 404 }), [], "404"],
          [Effect.fail(new Teapot()), [], "418"],
          [Effect.fail("a plain failure"), [], "500"],
          [Effect.die("a defect"), [], "500"],
          [Effect.interrupt, [], "503"],
          [Effect.die("never run"), [refuses], "418", "Refuses"],
          [Effect.die("never run"), [responds], "200"],
          [ok, [replaces], "418", "Replaces"],
          [ok, [wrap("Wraps", () => Effect.fail(new Teapot()))], "418", "Wraps"]
        ]
        for (const [app, inside, status, refusedBy] of cases) {
          const changes = yield* measured(Effect.scoped(
            Effect.flatMap(
              mount.mount(app, stackOf(client, measuring, ...inside)),
              (send) => Effect.zipRight(answered(send()), one)
            )
          ))
          const error: Metrics.Labels = Number(status) >= 500 ? { "error.type": status } : {}
          const [series, ...others] = of(changes, duration)
          assert.deepStrictEqual(series?.labels["http.response.status_code"], status)
          // where a router stands inside, a refusal has come before it
          const route = series?.labels["http.route"] === undefined ? {} : pattern
          assert.deepStrictEqual(series?.labels, {
            ...get,
            ...version,
            ...route,
            ...error,
            "http.response.status_code": status,
            "unit": "s"
          })
          assert.strictEqual((series?.value as ReadonlyArray<number>)[0], 1)
          assert.deepStrictEqual(others, [])
          assert.deepStrictEqual(of(changes, active), [])
          assert.deepStrictEqual(
            of(changes, refusals).map(({ labels, value }) => [labels, value]),
            refusedBy === undefined
              ? []
              : [[{ "middleware": refusedBy, "error.type": "Teapot", "unit": "{refusal}" }, 1]]
          )
        }
        assert.strictEqual(yield* Queue.size(told), 0)
      }).pipe(provided))

    it.scoped("the route is the pattern, and none where none matched", () =>
      Effect.gen(function*() {
        const { measured: one, measuring } = yield* telling()
        const send = yield* mount.mount(ok, stackOf(client, measuring))
        const changes = yield* measured(Effect.zipRight(answered(send({ path: "/users/7?a=b" })), one))
        assert.deepStrictEqual(of(changes, duration).map(({ labels }) => labels["http.route"]), [
          mount.router === "none" ? undefined : mount.name.includes("Api") ? "/*" : "*"
        ])
        if (mount.router !== "outside") {
          const changes = yield* measured(Effect.zipRight(answered(send({ ...unknownRoute, path: "/users/7" })), one))
          assert.deepStrictEqual(
            of(changes, duration).map(({ labels }) => [labels["http.route"], labels["http.request.method"]]),
            [[undefined, "_OTHER"]]
          )
        }
      }).pipe(provided))

    it.scoped("a request is active from its arrival to its end", () =>
      Effect.gen(function*() {
        const { measured: one, measuring } = yield* telling()
        const during: Array<ReadonlyArray<Series>> = []
        const before = registry()
        const app = Effect.sync(() => {
          during.push(since(before))
          return ok
        })
        const send = yield* mount.mount(app, stackOf(client, measuring))
        yield* answered(send())
        yield* one
        assert.deepStrictEqual(during.map((series) => of(series, active).map(({ labels, value }) => [labels, value])), [
          [[{ ...get, unit: "{request}" }, 1]]
        ])
        assert.deepStrictEqual(of(since(before), active), [])
      }).pipe(provided))
  })
}

describe("middleware", () => {
  const stack = (options: Metrics.Options<"Metrics"> = {}) => Stack.make(client, Metrics.middleware(options))
  const all = [duration, active, received, sent, refusals]
  const post = { method: "POST", headers: { "content-length": "3" }, body: "abc" }

  it.effect("the duration is in seconds, by the clock, in the buckets that were asked for", () =>
    Effect.gen(function*() {
      const labels = () => ({ of: "buckets" })
      const app = Effect.as(TestClock.adjust("3 seconds"), ok)
      yield* TestClock.adjust("1 hour")
      const changes = yield* measured(send(stack({ labels })(app)))
      assert.deepStrictEqual(valueOf(changes, duration), [[1, 3]])
      const histogram = Metric.unsafeSnapshot().find(({ metricKey }) =>
        metricKey.name === duration && metricKey.tags.some(({ value }) => value === "buckets")
      )
      assert(histogram !== undefined && MetricState.isHistogramState(histogram.metricState))
      assert.deepStrictEqual(histogram.metricState.buckets.map(([bound]) => bound), [
        ...Metrics.boundaries.duration,
        Infinity
      ])
      assert.deepStrictEqual(histogram.metricState.buckets.map(([, count]) => count), [
        ...[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
      ])
      assert.strictEqual(Option.getOrUndefined(histogram.metricKey.description), "Duration of HTTP server requests.")
    }))

  it.effect("the scheme is the client's", () =>
    Effect.gen(function*() {
      const proxied = Stack.make(Forwarded.middleware({ trust: { hops: 1 } }), Metrics.middleware())
      const headers = { "x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https" }
      const changes = yield* measured(send(proxied(ok), { headers }))
      assert.deepStrictEqual(of(changes, duration).map(({ labels }) => labels["url.scheme"]), ["https"])
    }))

  it.effect("sizes are those that are known", () =>
    Effect.gen(function*() {
      const sizes = (app: App, init?: Parameters<typeof send>[1]) =>
        Effect.map(measured(send(stack()(app as typeof ok), init)), (changes) => [
          valueOf(changes, received),
          valueOf(changes, sent)
        ])
      const stream = HttpServerResponse.stream(Stream.make(new Uint8Array(7)))
      assert.deepStrictEqual(yield* sizes(ok), [[], [[1, 5]]])
      assert.deepStrictEqual(yield* sizes(HttpServerResponse.empty()), [[], [[1, 0]]])
      assert.deepStrictEqual(yield* sizes(stream), [[], []])
      assert.deepStrictEqual(yield* sizes(ok, post), [[[1, 3]], [[1, 5]]])
      for (const length of ["", "-1", "1.5", "0x3", "3 4", "3, 3", "9".repeat(16), "1e3"]) {
        assert.deepStrictEqual(yield* sizes(ok, { ...post, headers: { "content-length": length } }), [[], [[1, 5]]])
      }
      const largest = "9".repeat(15)
      assert.deepStrictEqual((yield* sizes(ok, { ...post, headers: { "content-length": largest } }))[0], [
        [1, Number(largest)]
      ])
      // claimed, and nothing came
      assert.deepStrictEqual(yield* sizes(ok, { headers: { "content-length": largest } }), [[], [[1, 5]]])
      const both = { "content-length": "3", "transfer-encoding": "chunked" }
      assert.deepStrictEqual((yield* sizes(ok, { ...post, headers: both }))[0], [])
    }))

  it.effect("every metric has its unit, and sizes the labels of the duration", () =>
    Effect.gen(function*() {
      const refuses = Middleware.make({ name: "Refuses", request: () => Middleware.Refuse(new Teapot()) })
      const before = registry()
      const units = new Map<string, string | undefined>()
      const note = () => since(before).forEach(({ labels, name }) => units.set(name, labels.unit))
      yield* send(Stack.make(stack(), Middleware.before("Note", () => Effect.sync(note)), refuses)(ok), post)
      note()
      assert.deepStrictEqual(
        units,
        new Map([
          [active, "{request}"],
          [refusals, "{refusal}"],
          [duration, "s"],
          [received, "By"],
          [sent, "By"]
        ])
      )
      const changes = since(before)
      const labels = [duration, received, sent].map((name) => {
        const { unit: _, ...rest } = of(changes, name)[0]!.labels
        return rest
      })
      assert.deepStrictEqual(labels[1], labels[0])
      assert.deepStrictEqual(labels[2], labels[0])
    }))

  it.effect.each<[Metrics.Measurement, string]>([
    ["duration", duration],
    ["activeRequests", active],
    ["requestBodySize", received],
    ["responseBodySize", sent],
    ["refusals", refusals]
  ])("measures %s alone, if told to", ([measurement, name]) =>
    Effect.gen(function*() {
      const refuses = Middleware.make({ name: "Refuses", request: () => Middleware.Refuse(new Teapot()) })
      const before = registry()
      const seen = new Set<string>()
      const note = Middleware.before("Note", () => Effect.sync(() => since(before).forEach((s) => seen.add(s.name))))
      // what a listener throws is told to the log alone
      const lines: Array<unknown> = []
      const logger = Logger.make(({ message }) => void lines.push(message))
      yield* send(Stack.make(stack({ measure: [measurement] }), note, refuses)(ok), post).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      since(before).forEach((series) => seen.add(series.name))
      assert.deepStrictEqual([...seen], [name])
      assert.deepStrictEqual(lines, [])
    }))

  it.effect("a refusal is counted by middleware and tag, whatever became of it; an untagged one is _OTHER", () =>
    Effect.gen(function*() {
      const refusing = (error: object) =>
        Stack.make(
          stack(),
          ExceptionHandlers.byTag({ Teapot: () => ok }),
          Middleware.make({ name: "Refuses", request: () => Middleware.Refuse(error) })
        )
      const handled = yield* measured(send(refusing(new Teapot())(ok)))
      assert.deepStrictEqual(of(handled, refusals).map(({ labels }) => labels["error.type"]), ["Teapot"])
      assert.deepStrictEqual(of(handled, duration).map(({ labels }) => labels["http.response.status_code"]), ["200"])
      for (const error of [new Error("untagged"), { _tag: 1 }, {}]) {
        const changes = yield* measured(send(refusing(error)(ok) as App))
        assert.deepStrictEqual(of(changes, refusals).map(({ labels }) => labels), [
          { "middleware": "Refuses", "error.type": "_OTHER", "unit": "{refusal}" }
        ])
      }
      for (const error of ["a string", null, undefined]) {
        const thrown = Middleware.make({ name: "Fails", requestEffect: () => Effect.fail(error) })
        const changes = yield* measured(send(Stack.make(stack(), thrown)(ok) as App))
        assert.deepStrictEqual(of(changes, refusals).map(({ labels }) => [labels.middleware, labels["error.type"]]), [
          ["Fails", "_OTHER"]
        ])
      }
    }))

  it.effect("one request that is tried again further out is measured once", () =>
    Effect.gen(function*() {
      let runs = 0
      const app = Effect.suspend(() => ++runs < 3 ? Effect.fail("again") : Effect.succeed(ok))
      const again = wrap("Again", (app) => Effect.retry(app, { times: 5 }))
      const changes = yield* measured(send(stackOf(client, again, Metrics.middleware())(app as never) as App))
      assert.strictEqual(runs, 3)
      assert.deepStrictEqual(of(changes, active), [])
      assert.deepStrictEqual(of(changes, duration).map(({ value }) => (value as ReadonlyArray<number>)[0]), [1])
    }))

  describe("two of them", () => {
    it.effect("share each metric: no series is there twice", () =>
      Effect.gen(function*() {
        const mine = Metrics.middleware({ boundaries: { duration: [...Metrics.boundaries.duration] } })
        const changes = yield* measured(
          Effect.zipRight(send(stack()(ok)), send(Stack.make(client, mine)(ok)))
        )
        assert.deepStrictEqual(of(changes, duration).map(({ value }) => (value as ReadonlyArray<number>)[0]), [2])
        const names = Metric.unsafeSnapshot().map(({ metricKey: { name, tags } }) =>
          JSON.stringify([name, tags.map(({ key, value }) => [key, value]).sort()])
        )
        assert.strictEqual(new Set(names).size, names.length)
      }))

    it("throw on boundaries that differ, of what both measure", () => {
      Metrics.middleware()
      assert.throws(
        () => Metrics.middleware({ boundaries: { duration: [1, 2] } }),
        TypeError,
        /boundaries\.duration is not what another Metrics\.middleware has.*http\.server\.request\.duration.*write the same/
      )
      assert.throws(() => Metrics.middleware({ boundaries: { size: [1, 2] } }), TypeError, /boundaries\.size/)
      assert.doesNotThrow(() => Metrics.middleware({ measure: ["refusals"], boundaries: { size: [1, 2] } }))
    })
  })

  it.effect("has the boundaries of one's own", () =>
    Effect.gen(function*() {
      // another copy, as in another process
      vi.resetModules()
      const fresh = yield* Effect.promise(() => import("effect-middleware"))
      const boundaries = { duration: [1, 2], size: [3] }
      const labels = () => ({ of: "boundaries" })
      const own = fresh.Stack.make(
        fresh.Forwarded.middleware({ trust: "none" }),
        fresh.Metrics.middleware({ boundaries, labels })
      )
      yield* send(own(ok) as App, post)
      const bounds = Metric.unsafeSnapshot().flatMap(({ metricKey: { name, tags }, metricState }) =>
        MetricState.isHistogramState(metricState) && tags.some(({ value }) => value === "boundaries")
          ? [[name, metricState.buckets.map(([bound]) => bound)] as const]
          : []
      )
      assert.deepStrictEqual(
        new Map(bounds),
        new Map([[duration, [1, 2, Infinity]], [received, [3, Infinity]], [sent, [3, Infinity]]])
      )
    }))

  describe("labels of one's own", () => {
    const labelled = (labels: Metrics.Labels, init?: Parameters<typeof send>[1]) =>
      Effect.map(measured(send(stack({ labels: () => labels })(ok), init)), (changes) => changes)

    it.effect("are on duration and sizes, and on nothing else", () =>
      Effect.gen(function*() {
        const changes = yield* labelled({ plan: "gold" }, post)
        assert.deepStrictEqual(
          changes.filter(({ labels }) => labels.plan === "gold").map(({ name }) => name).sort(),
          [duration, received, sent].sort()
        )
        assert.lengthOf(changes, 3)
      }))
    it.effect("are told of the request and of how it fared", () =>
      Effect.gen(function*() {
        const labels: Metrics.Options["labels"] = (request, sent) => ({ seen: `${request.url} ${sent.status}` })
        const changes = yield* measured(send(stack({ labels })(ok), { path: "/a" }))
        assert.deepStrictEqual(of(changes, duration).map(({ labels }) => labels.seen), ["/a 200"])
      }))
    it.effect("take the place of no standard one", () =>
      Effect.gen(function*() {
        const changes = yield* labelled({ "url.scheme": "gopher", "unit": "stone" })
        assert.deepStrictEqual(of(changes, duration).map(({ labels }) => [labels["url.scheme"], labels.unit]), [
          ["http", "s"]
        ])
      }))
    it.effect("name one series in any order", () =>
      Effect.gen(function*() {
        const changes = yield* measured(Effect.zipRight(labelled({ x: "1", y: "2" }), labelled({ y: "2", x: "1" })))
        assert.deepStrictEqual(of(changes, duration).map(({ value }) => (value as ReadonlyArray<number>)[0]), [2])
      }))
    it.effect("are told apart, whatever is in them", () =>
      Effect.gen(function*() {
        const sets = [{ a: "1", b: "2" }, { a: "1 b 2" }, { a: "1 b 1 2" }, { a: "1", b: "2 " }, { a: "", b: "1 2" }]
        let next = 0
        const app = stack({ labels: () => sets[next++]! })(ok)
        const changes = yield* measured(Effect.forEach(sets, () => send(app)))
        assert.lengthOf(of(changes, duration), sets.length)
      }))
    it.effect("that throw cost their request its measure, and no more", () =>
      Effect.gen(function*() {
        const lines: Array<string> = []
        const logger = Logger.make(({ cause }) => void lines.push(Cause.pretty(cause)))
        const labels = (): never => {
          throw new Error("no label")
        }
        const app = stack({ labels })(ok)
        const changes = yield* measured(
          Effect.map(send(app), ({ status }) => assert.strictEqual(status, 200))
        ).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
        assert.deepStrictEqual(changes, [])
        assert.match(lines.join(), /no label/)
      }))
    it.effect("are 2000 sets at most; the others are one", () =>
      Effect.gen(function*() {
        let next = 0
        const app = stack({ measure: ["duration"], labels: () => ({ n: String(next++) }) })(ok)
        const ask = HttpApp.toWebHandler(app)
        const many = Effect.promise(async () => {
          for (let i = 0; i < 2100; i++) await ask(new Request("http://localhost/"))
        })
        const changes = yield* measured(many)
        const counts = of(changes, duration)
        assert.lengthOf(counts, 2000)
        const overflow = counts.filter(({ labels }) => labels["otel.metric.overflow"] === "true")
        assert.deepStrictEqual(overflow.map(({ labels, value }) => [labels, (value as ReadonlyArray<number>)[0]]), [
          [{ "otel.metric.overflow": "true", "unit": "s" }, 101]
        ])
        // a set that is known stays
        next = 7
        const again = yield* measured(send(app))
        assert.deepStrictEqual(again.map(({ labels }) => labels.n), ["7"])
      }))
  })

  it("names are those of the conventions", () => {
    const known = new Set(Metric.unsafeSnapshot().map(({ metricKey }) => metricKey.name))
    for (const name of all) assert.isTrue(known.has(name), name)
  })

  it.effect("each says what it is, and refusals only rise", () =>
    Effect.gen(function*() {
      const refuses = Middleware.make({ name: "Refuses", request: () => Middleware.Refuse(new Teapot()) })
      yield* send(Stack.make(stack(), refuses)(ok), post)
      const keys = new Map(Metric.unsafeSnapshot().map(({ metricKey }) => [metricKey.name, metricKey]))
      assert.deepStrictEqual(all.map((name) => Option.getOrUndefined(keys.get(name)!.description)), [
        "Duration of HTTP server requests.",
        "Number of active HTTP server requests.",
        "Size of HTTP server request bodies.",
        "Size of HTTP server response bodies.",
        "Number of HTTP server requests that a middleware has refused."
      ])
      const rises = (name: string) => {
        const type: unknown = keys.get(name)!.keyType
        return MetricKeyType.isCounterKey(type) && type.incremental
      }
      assert.deepStrictEqual([rises(refusals), rises(active)], [true, false])
    }))

  it("has the name that it is given", () => {
    assert.strictEqual(Metrics.middleware().name, "Metrics")
    assert.strictEqual(Metrics.middleware({ name: "Measures" }).name, "Measures")
  })
})

describe("over a socket", () => {
  it.scoped("HTTP/1.0, and a route of one's own", () =>
    Effect.gen(function*() {
      const { measured: one, measuring } = yield* telling()
      const router = HttpRouter.empty.pipe(
        HttpRouter.get("/users/:id", ok),
        HttpRouter.mount("/admin", HttpRouter.empty.pipe(HttpRouter.get("/logs/:day", ok)))
      )
      const port = yield* listen(Stack.serve(router as never, Stack.make(client, measuring)))
      const old = Effect.async<void>((resume) => {
        const socket = Net.connect(port, "127.0.0.1", () => socket.write("GET /users/8 HTTP/1.0\r\n\r\n"))
        socket.on("data", () => {}).on("close", () => resume(Effect.void))
      })
      const changes = yield* measured(Effect.zipRight(old, one))
      assert.deepStrictEqual(of(changes, duration).map(({ labels }) => labels), [{
        ...get,
        "http.response.status_code": "200",
        "http.route": "/users/:id",
        "network.protocol.version": "1.0",
        "unit": "s"
      }])
      const mounted = yield* measured(Effect.zipRight(request(port, { path: "/admin/logs/1" }), one))
      assert.deepStrictEqual(of(mounted, duration).map(({ labels }) => labels["http.route"]), ["/admin/logs/:day"])
    }))

  it.scoped("bytes are counted as they are sent; a length is believed when they have come", () =>
    Effect.gen(function*() {
      const { measured: one, measuring } = yield* telling()
      const stream = HttpServerResponse.stream(Stream.make(new Uint8Array(7), new Uint8Array(4)))
      const app = Effect.flatMap(
        HttpServerRequest.HttpServerRequest,
        (request) => request.url === "/unread" ? stream : Effect.as(Effect.orDie(request.text), stream)
      ) as HttpApp.Default
      const port = yield* listen(Stack.serve(app, Stack.make(client, measuring)))
      const sizes = (effect: Effect.Effect<unknown>) =>
        Effect.map(measured(Effect.zipRight(effect, one)), (changes) => [
          valueOf(changes, received),
          valueOf(changes, sent)
        ])
      const headers = { "content-length": "3" }
      assert.deepStrictEqual(yield* sizes(request(port, { method: "POST", headers, body: "abc" })), [
        [[1, 3]],
        [[1, 11]]
      ])
      const chunked = { "transfer-encoding": "chunked" }
      assert.deepStrictEqual(yield* sizes(request(port, { method: "POST", headers: chunked, body: "abc" })), [
        [],
        [[1, 11]]
      ])
      // claims a petabyte, sends three bytes and leaves
      const liar = Effect.async<void>((resume) => {
        const socket = Net.connect(
          port,
          "127.0.0.1",
          () => socket.write(`POST /unread HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${"9".repeat(15)}\r\n\r\nabc`)
        )
        socket.on("data", () => socket.destroy()).on("close", () => resume(Effect.void))
      })
      assert.deepStrictEqual((yield* sizes(liar))[0], [])
    }))

  const leaving = (app: App, arrived: Deferred.Deferred<void>) =>
    Effect.gen(function*() {
      const { measured: one, measuring } = yield* telling()
      const port = yield* listen(Stack.serve(app as typeof ok, Stack.make(client, measuring)))
      const changes = yield* measured(
        Effect.zipRight(Effect.raceFirst(request(port), Deferred.await(arrived)), one)
      )
      assert.deepStrictEqual(of(changes, active), [])
      const [series, ...others] = of(changes, duration)
      assert.deepStrictEqual(others, [])
      return [series?.labels["http.response.status_code"], series?.labels["error.type"]]
    })

  it.scoped("a client that leaves before the response", () =>
    Effect.gen(function*() {
      const entered = yield* Deferred.make<void>()
      const app = Effect.zipRight(Deferred.succeed(entered, undefined), Effect.interruptible(Effect.never))
      assert.deepStrictEqual(yield* leaving(app, entered), [undefined, "aborted"])
    }))

  it.scoped("a client that leaves in the middle of a stream", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const body = Stream.make(new Uint8Array(10)).pipe(
        Stream.concat(Stream.fromEffect(Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)))
      )
      assert.deepStrictEqual(yield* leaving(HttpServerResponse.stream(body), begun), ["200", "aborted"])
    }))

  it.scoped("a stream that fails", () =>
    Effect.gen(function*() {
      const { measured: one, measuring } = yield* telling()
      const body = Stream.concat(Stream.make(new Uint8Array(10)), Stream.fail("broken"))
      const port = yield* listen(Stack.serve(HttpServerResponse.stream(body), Stack.make(client, measuring)))
      const changes = yield* measured(Effect.zipRight(Effect.exit(request(port)), one))
      assert.deepStrictEqual(of(changes, active), [])
      assert.deepStrictEqual(of(changes, duration).map(({ labels }) => labels["error.type"]), ["aborted"])
    }))

  it.scoped("an upgrade is active until it ends, and then 101", () =>
    Effect.gen(function*() {
      const { measured: one, measuring } = yield* telling()
      const echo = Effect.scoped(Effect.gen(function*() {
        const socket = yield* HttpServerRequest.upgrade
        yield* Effect.ignore(socket.runRaw(yield* socket.writer))
        return HttpServerResponse.empty()
      }))
      const port = yield* listen(Stack.serve(echo as never, Stack.make(client, measuring)))
      const before = registry()
      const socket = yield* Socket.makeWebSocket(`ws://127.0.0.1:${port}/`)
      const heard = yield* Deferred.make<void>()
      const running = yield* Effect.fork(socket.run(() => Deferred.succeed(heard, undefined)))
      const write = yield* socket.writer
      yield* write("hello")
      yield* answered(Deferred.await(heard))
      assert.deepStrictEqual(valueOf(since(before), active), [1])
      yield* write(new Socket.CloseEvent(1000))
      yield* answered(Effect.ignore(Fiber.join(running)))
      yield* one
      const changes = since(before)
      assert.deepStrictEqual(of(changes, active), [])
      assert.deepStrictEqual(of(changes, duration).map(({ labels }) => labels["http.response.status_code"]), ["101"])
    }).pipe(Effect.provide(NodeSocket.layerWebSocketConstructor)))

  it.scoped("a request that is answered twice, and the first thrown away further out, is one", () =>
    Effect.gen(function*() {
      const { measured: one, measuring, told } = yield* telling()
      const again = wrap("Again", (app) => Effect.zipRight(app, app))
      const port = yield* listen(Stack.serve(ok, stackOf(client, again, measuring) as Middleware.Middleware))
      const changes = yield* measured(Effect.zipRight(request(port), one))
      assert.deepStrictEqual(of(changes, active), [])
      assert.deepStrictEqual(of(changes, duration).map(({ value }) => (value as ReadonlyArray<number>)[0]), [1])
      assert.strictEqual(yield* Queue.size(told), 0)
    }))

  it.scoped("requests of one connection, and many at once, are each one", () =>
    Effect.gen(function*() {
      const { measured: one, measuring } = yield* telling()
      const port = yield* listen(Stack.serve(ok, Stack.make(client, measuring)))
      const agent = new Http.Agent({ keepAlive: true, maxSockets: 1 })
      yield* Effect.addFinalizer(() => Effect.sync(() => agent.destroy()))
      const kept = Effect.async<void>((resume) => {
        Http.get({ port, host: "127.0.0.1", agent }, (response) => {
          response.resume().on("end", () => resume(Effect.void))
        })
      })
      const changes = yield* measured(
        Effect.all([
          Effect.replicateEffect(kept, 3),
          Effect.all(Effect.replicate(request(port), 20), { concurrency: "unbounded" }),
          Effect.replicateEffect(one, 23)
        ])
      )
      assert.deepStrictEqual(of(changes, active), [])
      assert.deepStrictEqual(of(changes, duration).map(({ value }) => (value as ReadonlyArray<number>)[0]), [23])
    }))
})
