import { HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, FastCheck, Fiber, TestClock } from "effect"
import { Middleware, ServerTiming, Stack } from "effect-middleware"
import { assertLinear } from "./internal/hostile.js"
import { mounts, send, unknownRoute } from "./utils/TestApp.js"

const ok = HttpServerResponse.text("ok")
const mark = (
  name: string,
  duration?: number,
  description?: string
): ServerTiming.Mark => ({ name, duration, description })

describe("policy", () => {
  const decide = (options: ServerTiming.Options, facts: Partial<ServerTiming.Facts> = {}) => {
    const { processTime, serverTiming } = ServerTiming.policy(options)({
      elapsed: 12.3456,
      detailed: false,
      marks: [mark("db", 8.25)],
      ...facts
    })
    return [serverTiming, processTime]
  }

  it.each<
    [rule: string, options: ServerTiming.Options, detailed: boolean, expected: ReadonlyArray<string | undefined>]
  >(
    [
      ["the total alone", {}, false, ["total;dur=12", undefined]],
      ["and the details", {}, true, ["total;dur=12.346, db;dur=8.25", undefined]],
      ["in seconds too", { processTime: true }, false, ["total;dur=12", "0.012"]],
      ["in seconds, in detail", { processTime: true }, true, ["total;dur=12.346, db;dur=8.25", "0.012346"]],
      ["seconds alone", { total: false, processTime: true }, false, [undefined, "0.012"]],
      ["details alone", { total: false, details: true }, true, ["db;dur=8.25", undefined]],
      ["details alone, not for this client", { total: false, details: true }, false, [undefined, undefined]]
    ]
  )("%s", (_, options, detailed, expected) => assert.deepStrictEqual(decide(options, { detailed }), expected))

  it.each<[elapsed: number, coarse: ReadonlyArray<string>, fine: ReadonlyArray<string>]>([
    [0, ["0", "0"], ["0", "0"]],
    [0.0004, ["0", "0"], ["0", "0"]],
    [0.0006, ["0", "0"], ["0.001", "0.000001"]],
    [0.4999, ["0", "0"], ["0.5", "0.0005"]],
    [0.5, ["1", "0.001"], ["0.5", "0.0005"]],
    [999.9999, ["1000", "1"], ["1000", "1"]],
    [86_400_000.1, ["86400000", "86400"], ["86400000.1", "86400.0001"]]
  ])("%d ms is %j, in detail %j", (elapsed, coarse, fine) => {
    for (const [detailed, [millis, seconds]] of [[false, coarse], [true, fine]] as const) {
      assert.deepStrictEqual(decide({ processTime: true }, { elapsed, detailed, marks: [] }), [
        `total;dur=${millis}`,
        seconds
      ])
    }
  })

  it.each<[rule: string, mark: ServerTiming.Mark, expected: string]>([
    ["a name alone", mark("miss"), "miss"],
    ["a duration", mark("db", 1.23456), "db;dur=1.235"],
    ["no duration to speak of", mark("db", 0), "db;dur=0"],
    ["an infinite one", mark("db", Infinity), "db"],
    ["one that overflows", mark("db", Number.MAX_VALUE), "db"],
    ["a description", mark("db", undefined, "two queries"), "db;desc=\"two queries\""],
    ["both", mark("db", 2, "x"), "db;dur=2;desc=\"x\""],
    ["an empty description", mark("db", 2, ""), "db;dur=2;desc=\"\""],
    ["quotes", mark("db", undefined, "a \"b\""), "db;desc=\"a \\\"b\\\"\""],
    ["a backslash", mark("db", undefined, "a\\"), "db;desc=\"a\\\\\""],
    ["what separates", mark("db", undefined, "a, b;c=d"), "db;desc=\"a, b;c=d\""],
    [
      "control characters",
      mark("db", undefined, "a\r\nset-cookie: x\u0000\t\u007f\u0085b"),
      "db;desc=\"aset-cookie: xb\""
    ],
    ["other scripts", mark("db", undefined, "naïve 数 😀 \ud800"), "db;desc=\"na?ve ? ? ?\""],
    ["a long one", mark("db", undefined, "é".repeat(100)), `db;desc="${"?".repeat(64)}"`],
    ["a long one of quotes", mark("db", undefined, "\"".repeat(100)), `db;desc="${"\\\"".repeat(64)}"`]
  ])("prints %s", (_, mark, expected) => {
    assert.strictEqual(decide({ total: false, details: true }, { detailed: true, marks: [mark] })[0], expected)
  })

  it.prop(
    "whatever a description holds, it stays one metric that can be sent",
    [FastCheck.fullUnicodeString({ maxLength: 100 })],
    ([description]) => {
      const [value] = decide({ total: false, details: true }, { detailed: true, marks: [mark("db", 1, description)] })
      assert.match(value!, /^db;dur=1;desc="(?:[ !#-[\]-~]|\\["\\]){0,64}"$/)
    }
  )

  it.each<[options: ServerTiming.Options, message: RegExp]>([
    [{ total: false }, /ServerTiming: total, processTime and details are all off: leave the middleware out/],
    [{ maxMarks: 0 }, /ServerTiming: maxMarks is 0: write a whole number, 1 to 100/],
    [{ maxMarks: 101 }, /maxMarks is 101/],
    [{ maxMarks: 1.5 }, /maxMarks is 1\.5/],
    [{ maxMarks: NaN }, /maxMarks is NaN/]
  ])("throws on %j", (options, message) => {
    assert.throws(() => ServerTiming.policy(options), TypeError, message)
    assert.throws(() => ServerTiming.middleware(options), TypeError, message)
  })

  it("a predicate is enough to be sent at times", () => {
    ServerTiming.policy({ total: false, details: () => false })
  })

  it("the ends of what may be kept are none", () => {
    for (const maxMarks of [1, 100]) ServerTiming.policy({ maxMarks })
  })

  it("is linear", () =>
    assertLinear((description) => decide({ details: true }, { detailed: true, marks: [mark("db", 1, description)] })))
})

describe("middleware", () => {
  const timing = ServerTiming.middleware({ details: true, processTime: true })
  const timingOf = (app: Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, ServerTiming.ServerTiming>) =>
    Effect.map(send(timing(app)), ({ headers }) => headers["server-timing"])
  const after = (effect: Effect.Effect<unknown>) => Effect.zipRight(effect, ok)

  describe.each(mounts)("$name", ({ mount }) => {
    it.scoped("is on every response, by the clock of the test", () =>
      Effect.gen(function*() {
        const request = yield* mount(
          after(TestClock.adjust("12 millis")),
          ServerTiming.middleware({ processTime: true })
        )
        for (let i = 0; i < 2; i++) {
          const { headers } = yield* request()
          assert.deepStrictEqual([headers["server-timing"], headers["x-process-time"]], ["total;dur=12", "0.012"])
        }
      }))

    it.scoped("on failures, defects and a 404", () =>
      Effect.gen(function*() {
        for (const app of [Effect.fail("no"), Effect.die("no"), HttpServerResponse.empty({ status: 404 })]) {
          const request = yield* mount(app, ServerTiming.middleware())
          assert.strictEqual((yield* request()).headers["server-timing"], "total;dur=0")
        }
      }))
  })

  it.scoped("on what the router does not know", () =>
    Effect.gen(function*() {
      const { mount } = mounts.find(({ name }) => name === "router.pipe")!
      const request = yield* mount(ok, ServerTiming.middleware())
      const { headers, status } = yield* request(unknownRoute)
      assert.deepStrictEqual([status, headers["server-timing"]], [404, "total;dur=0"])
    }))

  it.effect("times a refusal further in, and nothing that is further out", () =>
    Effect.gen(function*() {
      const wait = (name: string) => Middleware.before(name, () => TestClock.adjust("5 millis"))
      const refuse = Middleware.make({ name: "Refuse", request: () => Middleware.Refuse({ _tag: "Refused" }) })
      const { headers, status } = yield* send(Stack.make(wait("Before"), timing, wait("Inside"), refuse)(ok))
      assert.deepStrictEqual([status, headers["server-timing"]], [500, "total;dur=5"])
    }))

  it.effect("measures effects: one after the other, concurrent, failing and dying", () =>
    Effect.gen(function*() {
      const sleep = (millis: number) => TestClock.adjust(Duration.millis(millis))
      const db = ServerTiming.measure("db", { description: "queries" })
      assert.strictEqual(
        yield* timingOf(after(Effect.zipRight(db(sleep(3)), ServerTiming.measure(sleep(4), "db")))),
        "total;dur=7, db;dur=7;desc=\"queries\""
      )
      // both see the time of both pass
      assert.strictEqual(
        yield* timingOf(after(Effect.gen(function*() {
          const fibers = yield* Effect.forEach([1, 2], () => Effect.fork(db(Effect.sleep("5 millis"))))
          yield* Effect.yieldNow()
          yield* sleep(5)
          yield* Effect.forEach(fibers, Fiber.join)
        }))),
        "total;dur=5, db;dur=10;desc=\"queries\""
      )
      for (const end of [Effect.fail("no"), Effect.die("no"), Effect.interrupt]) {
        assert.strictEqual(
          yield* timingOf(after(Effect.exit(ServerTiming.measure(Effect.zipRight(sleep(2), end), "work")))),
          "total;dur=2, work;dur=2"
        )
      }
    }))

  it.effect("a measured effect is what it was, each time it runs", () =>
    Effect.gen(function*() {
      let runs = 0
      const counted = ServerTiming.measure(Effect.sync(() => ++runs), "count")
      yield* timingOf(after(Effect.zipRight(counted, counted)))
      assert.strictEqual(runs, 2)
      // outside the middleware too
      assert.strictEqual(yield* counted, 3)
      assert.deepStrictEqual(yield* Effect.exit(ServerTiming.measure(Effect.fail("no"), "x")), Exit.fail("no"))
      yield* ServerTiming.mark("x")
    }))

  it.effect("adds marks up by name", () =>
    Effect.gen(function*() {
      const app = after(Effect.all([
        ServerTiming.mark("miss"),
        ServerTiming.mark("miss"),
        ServerTiming.mark("queue", { duration: "2 millis", description: "first" }),
        ServerTiming.mark("queue", { duration: Duration.micros(500n), description: "second" }),
        ServerTiming.mark("queue"),
        ServerTiming.mark("late"),
        ServerTiming.mark("late", { duration: "1 milli", description: "now" })
      ]))
      assert.strictEqual(
        yield* timingOf(app),
        "total;dur=0, miss, queue;dur=2.5;desc=\"first\", late;dur=1;desc=\"now\""
      )
    }))

  it.effect("starts and stops: once, and only before the response leaves", () =>
    Effect.gen(function*() {
      const app = Effect.gen(function*() {
        const timings = yield* ServerTiming.ServerTiming
        const [stop] = [timings.start("work", { description: "part" }), timings.start("endless")]
        yield* TestClock.adjust("1500 micros")
        stop()
        yield* TestClock.adjust("1 millis")
        stop()
        return ok
      })
      assert.strictEqual(yield* timingOf(app), "total;dur=2.5, work;dur=1.5;desc=\"part\"")
    }))

  it.effect("plain phases further in leave marks", () =>
    Effect.gen(function*() {
      const cache = Middleware.make({
        name: "Cache",
        request: (exchange) => {
          const timings = exchange.getOption(ServerTiming.ServerTiming)
          if (timings._tag === "Some") timings.value.mark("miss")
        }
      })
      const { headers } = yield* send(Stack.make(timing, cache)(ok))
      assert.strictEqual(headers["server-timing"], "total;dur=0, miss")
    }))

  it.effect("a loop cannot grow the header without end", () =>
    Effect.gen(function*() {
      const loop = Effect.forEach(Array.from({ length: 1000 }, (_, i) => `m${i}`), (name) => ServerTiming.mark(name))
      // a name that is known still counts
      const app = after(Effect.zipRight(loop, ServerTiming.mark("m0", { duration: "1 millis" })))
      const names = (value: string | undefined) => value!.split(", ").map((metric) => metric.split(";")[0])
      const first = (count: number) => ["total", ...Array.from({ length: count }, (_, i) => `m${i}`)]
      const value = yield* timingOf(app)
      assert.deepStrictEqual(names(value), first(32))
      assert.include(value!, "m0;dur=1")
      const { headers } = yield* send(ServerTiming.middleware({ details: true, maxMarks: 3 })(app))
      assert.deepStrictEqual(names(headers["server-timing"]), first(3))
    }))

  describe("details", () => {
    const app = after(ServerTiming.mark("db", { duration: Duration.micros(1500n) }))
    const ask = (options: ServerTiming.Options, headers: Record<string, string> = {}) =>
      Effect.map(send(ServerTiming.middleware(options)(app), { headers }), ({ headers }) => headers["server-timing"])

    it.effect("nobody's, everybody's, or whom a predicate names", () =>
      Effect.gen(function*() {
        const some: ServerTiming.Options = { details: ({ headers }) => headers["x-debug"] === "secret" }
        assert.strictEqual(yield* ask({}), "total;dur=0")
        assert.strictEqual(yield* ask({ details: false }), "total;dur=0")
        assert.strictEqual(yield* ask({ details: true }), "total;dur=0, db;dur=1.5")
        assert.strictEqual(yield* ask(some), "total;dur=0")
        assert.strictEqual(yield* ask(some, { "x-debug": "1" }), "total;dur=0")
        assert.strictEqual(yield* ask(some, { "x-debug": "secret" }), "total;dur=0, db;dur=1.5")
      }))

    it.effect("who may not see them sees no microseconds either", () =>
      Effect.gen(function*() {
        const slow = after(TestClock.adjust(Duration.micros(1400n)))
        const totals = yield* Effect.forEach(
          [false, true],
          (details) => send(ServerTiming.middleware({ details, processTime: true })(slow))
        )
        assert.deepStrictEqual(totals.map(({ headers }) => [headers["server-timing"], headers["x-process-time"]]), [
          ["total;dur=1", "0.001"],
          ["total;dur=1.4", "0.0014"]
        ])
      }))
  })

  it.effect("no field where there is nothing to send", () =>
    Effect.gen(function*() {
      const { headers } = yield* send(ServerTiming.middleware({ total: false, details: () => false })(ok))
      assert.notProperty(headers, "server-timing")
      assert.notProperty(headers, "x-process-time")
      const own = HttpServerResponse.text("ok", { headers: { "server-timing": "edge,edge" } })
      const reply = yield* send(ServerTiming.middleware({ total: false, details: () => false })(own))
      assert.strictEqual(reply.headers["server-timing"], "edge,edge")
    }))

  it("has the name that it is given, and its service its own", () => {
    assert.strictEqual(ServerTiming.middleware().name, "ServerTiming")
    assert.strictEqual(ServerTiming.middleware({ name: "Timing" }).name, "Timing")
    assert.strictEqual(ServerTiming.ServerTiming.key, "effect-middleware/ServerTiming")
  })

  it.effect("what the handler has set stays", () =>
    Effect.gen(function*() {
      const app = Effect.succeed(
        HttpServerResponse.text("ok", { headers: { "server-timing": "edge;desc=\"a, b\"", "x-process-time": "7" } })
      )
      const { headers } = yield* send(timing(app))
      assert.strictEqual(headers["server-timing"], "edge;desc=\"a, b\", total;dur=0")
      // but there is one process time
      assert.strictEqual(headers["x-process-time"], "0")
    }))

  it.effect("two in one stack each tell of their own part", () =>
    Effect.gen(function*() {
      const wait = Middleware.before("Wait", () => TestClock.adjust("5 millis"))
      const inner = ServerTiming.middleware({ name: "Inner" })
      const { headers } = yield* send(Stack.make(ServerTiming.middleware(), wait, inner)(ok))
      assert.strictEqual(headers["server-timing"], "total;dur=0, total;dur=5")
    }))

  it.effect("requests do not share marks", () =>
    Effect.gen(function*() {
      const app = timing(after(ServerTiming.mark("once", { duration: "1 millis" })))
      const replies = yield* Effect.forEach([1, 2, 3], () => send(app), { concurrency: "unbounded" })
      for (const { headers } of replies) assert.strictEqual(headers["server-timing"], "total;dur=0, once;dur=1")
    }))

  it.effect("a name is a token, whether anybody sees it or not", () =>
    Effect.gen(function*() {
      const message = /ServerTiming: .* is no name: write a token of 1 to 64 characters .*, such as "db"/
      for (const name of ["", "a b", "a;b", "a,b", "a\n", "é", "\"a\"", "a".repeat(65)]) {
        assert.throws(() => ServerTiming.mark(name), TypeError, message)
        assert.throws(() => ServerTiming.measure(name)(Effect.void), TypeError, message)
        assert.throws(() => ServerTiming.measure(Effect.void, name), TypeError, message)
        for (const details of [false, true]) {
          const thrown: Array<string> = []
          const app = Effect.map(ServerTiming.ServerTiming, (timings) => {
            for (const f of [timings.mark, timings.start]) {
              try {
                f.call(timings, name)
              } catch (error) {
                thrown.push(String(error))
              }
            }
            return HttpServerResponse.text("ok")
          })
          yield* send(ServerTiming.middleware({ details })(app))
          assert.lengthOf(thrown.filter((error) => message.test(error)), 2)
        }
      }
      for (const name of ["a", "DB-1", "a.b_c", "!#$%&'*+-.^_`|~", "a".repeat(64)]) ServerTiming.measure(name)
    }))
})
