import { HttpMiddleware, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric, type MetricState, Option, TestClock, Tracer } from "effect"
import { Middleware, Stack, Telemetry } from "effect-middleware"
import { stackOf, Teapot, wrap } from "./utils/laws.js"
import { type App, type Init, send } from "./utils/TestApp.js"

const ok = HttpServerResponse.text("ok")

/** What a span was told. */
interface Recorded {
  readonly name: string
  readonly parent: string | undefined
  readonly start: bigint
  end: bigint | undefined
  readonly events: Array<readonly [name: string, start: bigint, attributes: Record<string, unknown> | undefined]>
}

const recording = (spans: Array<Recorded>) => {
  const native = Effect.runSync(Effect.tracer)
  return Tracer.make({
    context: (f) => f(),
    span: (...args) => {
      const [name, parent, , , start] = args
      const span = native.span(...args)
      const recorded: Recorded = {
        name,
        parent: parent._tag === "Some" && parent.value._tag === "Span" ? parent.value.name : undefined,
        start,
        end: undefined,
        events: []
      }
      spans.push(recorded)
      const end = span.end.bind(span)
      return Object.assign(span, {
        event: (...event: (typeof recorded.events)[number]) => void recorded.events.push(event),
        end: (...ended: Parameters<typeof end>) => {
          recorded.end = ended[0]
          end(...ended)
        }
      })
    }
  })
}

/** Lets the clock go on whenever somebody waits for it. */
const clockwork = Effect.forever(Effect.gen(function*() {
  yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
  const [next] = [...(yield* TestClock.sleeps())].sort((a, b) => a - b)
  if (next !== undefined) yield* TestClock.setTime(next)
}))

/** Runs one request while the clock goes on; the spans that platform and the stack have made. */
const traced = (app: App, init?: Init) =>
  Effect.gen(function*() {
    const spans: Array<Recorded> = []
    yield* TestClock.setTime(0)
    const reply = yield* Effect.raceFirst(Effect.withTracer(send(app, init), recording(spans)), clockwork)
    return { reply, server: spans[0]!, children: spans.slice(1) }
  })

const secondsOf = (ns: bigint) => Number(ns) / 1e9
const eventsOf = (span: Recorded) =>
  span.events.map(([name, , attributes]) => [name, attributes?.["middleware.duration"]] as const)

const durationOf = (name: string, phase: string): Effect.Effect<MetricState.MetricState.Histogram> =>
  Metric.value(
    Telemetry.durations.pipe(Metric.tagged("middleware.name", name), Metric.tagged("middleware.phase", phase))
  )

const slow = <const Name extends string>(name: Name) =>
  Middleware.make({
    name,
    request: () => undefined,
    requestEffect: () => Effect.sleep("1 second"),
    response: (draft) => draft.set("x-slow", "1"),
    responseEffect: () => Effect.sleep("2 seconds")
  })
const plain = <const Name extends string>(name: Name) =>
  Middleware.make({ name, request: () => undefined, response: (draft) => draft.set(`x-${name}`, "1") })
const wraps = wrap(
  "Wraps",
  (app) => Effect.zipLeft(Effect.zipRight(Effect.sleep("3 seconds"), app), Effect.sleep("4 seconds"))
)
const app = Effect.zipRight(Effect.sleep("10 seconds"), ok) as App

describe("Telemetry", () => {
  it.effect("events: a phase each, in the order they run, with the time it took", () =>
    Effect.gen(function*() {
      const stack = Telemetry.observe(stackOf(plain("Plain"), slow("Slow"), wraps))
      const { children, reply, server } = yield* traced((stack as Middleware.Middleware)(app) as App)
      assert.deepStrictEqual([reply.headers["x-plain"], reply.headers["x-slow"]], ["1", "1"])
      assert.deepStrictEqual(eventsOf(server), [
        ["Plain request", 0],
        ["Slow request", 1],
        // what is inside it took ten
        ["Wraps around", 7],
        ["Slow response", 2],
        ["Plain response", 0]
      ])
      assert.deepStrictEqual(children, [])
      const [, start, attributes] = server.events[2]!
      assert.strictEqual(secondsOf(start), 1)
      assert.deepInclude(attributes, { "middleware.name": "Wraps", "middleware.phase": "around" })
    }))

  it.effect("events: a phase that may be an Effect is one, whoever decides", () =>
    Effect.gen(function*() {
      const either = (name: string, outcome: Middleware.Pass | Middleware.Defer | undefined) =>
        Middleware.make({
          name,
          request: () => outcome,
          requestEffect: () => Effect.withSpan(Effect.sleep("1 second"), name)
        })
      const stack = Telemetry.observe(
        stackOf(
          either("Passes", Middleware.Pass),
          either("Defers", Middleware.Defer),
          either("Silent", undefined),
          Middleware.make({
            name: "Late",
            responseEffect: (draft) => Effect.map(Effect.sleep("2 seconds"), () => draft.set("x-late", "1"))
          })
        )
      )
      const { children, reply, server } = yield* traced((stack as Middleware.Middleware)(ok) as App)
      assert.strictEqual(reply.headers["x-late"], "1")
      assert.deepStrictEqual(eventsOf(server), [
        ["Passes request", 0],
        ["Defers request", 1],
        ["Silent request", 1],
        ["Late response", 2]
      ])
      // what an Effect opens stays in the server's span
      assert.deepStrictEqual(children.map(({ name, parent }) => [name, parent]), [
        ["Defers", server.name],
        ["Silent", server.name]
      ])
    }))

  it.effect("without a span there is nothing to tell", () =>
    Effect.gen(function*() {
      const observed = Telemetry.observe(plain("Untraced"))(ok)
      const { status } = yield* HttpMiddleware.withTracerDisabledWhenEffect(send(observed), () => true)
      assert.strictEqual(status, 200)
    }))

  it.effect("children: a span for each phase, with its time; what an Effect of a layer opens is inside it", () =>
    Effect.gen(function*() {
      const stack = Telemetry.observe(
        stackOf(
          plain("Plain"),
          Middleware.make({
            name: "Store",
            requestEffect: () => Effect.withSpan(Effect.sleep("1 second"), "query")
          }),
          wraps
        ),
        { spans: "children" }
      )
      const inside = Effect.withSpan(app, "handler") as App
      const { children, server } = yield* traced((stack as Middleware.Middleware)(inside) as App)
      const rows = children.map(({ end, name, parent, start }) => [name, parent, [secondsOf(start), secondsOf(end!)]])
      assert.deepStrictEqual(rows, [
        ["Plain request", server.name, [0, 0]],
        ["Store request", server.name, [0, 1]],
        ["query", "Store request", [0, 1]],
        ["Wraps around", server.name, [1, 18]],
        ["handler", server.name, [4, 14]],
        ["Plain response", server.name, [18, 18]]
      ])
      assert.deepStrictEqual(server.events, [])
    }))

  it.effect("durations: a histogram by member and phase, in seconds", () =>
    Effect.gen(function*() {
      const stack = Telemetry.observe(
        stackOf(slow("Timed"), wrap("TimedWraps", (app) => Effect.delay(app, "3 seconds"))),
        {
          spans: "none"
        }
      )
      const { server } = yield* traced((stack as Middleware.Middleware)(app) as App)
      assert.deepStrictEqual(server.events, [])
      const expected = [["Timed", "request", 1], ["Timed", "response", 2], ["TimedWraps", "around", 3]] as const
      for (const [name, phase, seconds] of expected) {
        const { count, sum } = yield* durationOf(name, phase)
        assert.deepStrictEqual([name, count, sum], [name, 1, seconds])
      }
      const { buckets } = yield* durationOf("Timed", "request")
      assert.deepStrictEqual(buckets.filter(([, count]) => count > 0).map(([bound]) => bound), [
        1,
        2.5,
        5,
        10,
        Infinity
      ])
    }))

  it.effect("the histogram says what it is", () =>
    Effect.gen(function*() {
      yield* send(Telemetry.observe(plain("Named"))(ok))
      const keys = Metric.unsafeSnapshot().map(({ metricKey }) => metricKey)
      const key = keys.find(({ tags }) => tags.some(({ value }) => value === "Named"))
      assert.strictEqual(key?.name, "http.server.middleware.duration")
      assert.strictEqual(
        key && Option.getOrUndefined(key.description),
        "Time a middleware took, without what is inside it, in seconds"
      )
    }))

  it.effect("spans alone: no durations", () =>
    Effect.gen(function*() {
      const { server } = yield* traced(Telemetry.observe(plain("Unmeasured"), { durations: false })(ok) as App)
      assert.lengthOf(server.events, 2)
      assert.strictEqual((yield* durationOf("Unmeasured", "request")).count, 0)
    }))

  it.effect("a refusal, a throw and an interruption are timed too", () =>
    Effect.gen(function*() {
      const inside: ReadonlyArray<readonly [name: string, member: Middleware.Any, status: number]> = [
        ["Refuses", Middleware.make({ name: "Refuses", request: () => Middleware.Refuse(new Teapot()) }), 418],
        [
          "Throws",
          Middleware.make({
            name: "Throws",
            request: () => {
              throw new Error("request")
            }
          }),
          500
        ],
        [
          "Fails",
          Middleware.make({
            name: "Fails",
            requestEffect: () => Effect.zipRight(Effect.sleep("1 second"), Effect.fail(new Teapot()))
          }),
          418
        ],
        [
          "TimesOut",
          wrap("TimesOut", (app) => Effect.timeoutFail(app, { duration: "1 second", onTimeout: () => new Teapot() })),
          418
        ]
      ]
      for (const [name, member, status] of inside) {
        const { reply, server } = yield* traced(
          (Telemetry.observe(stackOf(plain("Outer"), member)) as Middleware.Middleware)(app) as App
        )
        assert.strictEqual(reply.status, status)
        assert.deepStrictEqual(server.events.map(([name]) => name), [
          "Outer request",
          name === "TimesOut" ? "TimesOut around" : `${name} request`,
          "Outer response"
        ])
      }
    }))

  it.effect("a retry: the time inside is that of all runs", () =>
    Effect.gen(function*() {
      let runs = 0
      const fails = Effect.suspend(() =>
        Effect.delay(runs++ === 0 ? Effect.fail(new Teapot()) : ok, "5 seconds")
      ) as App
      const retries = wrap("Retries", (app) => Effect.catchAll(app, () => Effect.delay(app, "1 second")))
      const { server } = yield* traced((Telemetry.observe(retries) as Middleware.Middleware)(fails) as App)
      assert.deepStrictEqual(eventsOf(server), [["Retries around", 1]])
    }))

  it.effect("runs at the same time: the time inside counts once", () =>
    Effect.gen(function*() {
      const twice = wrap("Twice", (app) =>
        Effect.zipLeft(Effect.zipRight(app, app, { concurrent: true }), Effect.sleep("2 seconds")))
      const slow = Effect.delay(ok, "5 seconds") as App
      const { server } = yield* traced((Telemetry.observe(twice) as Middleware.Middleware)(slow) as App)
      assert.deepStrictEqual(eventsOf(server), [["Twice around", 2]])
      // the app goes on when the layer has ended
      const forks = wrap("Forks", (app) =>
        Effect.zipRight(Effect.delay(Effect.forkDaemon(app), "3 seconds"), Effect.delay(ok, "1 second")))
      const other = yield* traced((Telemetry.observe(forks) as Middleware.Middleware)(slow) as App)
      assert.deepStrictEqual(eventsOf(other.server), [["Forks around", 3]])
      // or never runs
      const answers = yield* traced((Telemetry.observe(wrap("Answers", () =>
        ok)) as Middleware.Middleware)(slow) as App)
      assert.deepStrictEqual([answers.reply.status, eventsOf(answers.server)], [200, [["Answers around", 0]]])
    }))

  it.effect("a condition that is not met leaves nothing, one that is met is not a member", () =>
    Effect.gen(function*() {
      const stack = Telemetry.observe(
        stackOf(Middleware.when(() => false, plain("Never")), Middleware.when(() => true, plain("Always")))
      )
      const { server } = yield* traced((stack as Middleware.Middleware)(ok) as App)
      assert.deepStrictEqual(server.events.map(([name]) => name), ["Always request", "Always response"])
    }))

  it("keeps names, order and members; each member stays observed when its neighbours are edited", () => {
    const stack = Stack.make(plain("A"), Stack.make(plain("B"), plain("C")))
    const observed = Telemetry.observe(stack)
    assert.strictEqual(Stack.describe(observed), Stack.describe(stack))
    assert.deepStrictEqual(Stack.names(Stack.without(observed, "A")), ["B", "C"])
  })

  it.effect("editing an observed stack leaves the others observed", () =>
    Effect.gen(function*() {
      const stack = Stack.append(Stack.without(Telemetry.observe(Stack.make(plain("A"), plain("B"))), "A"), plain("C"))
      const { server } = yield* traced(stack(ok) as App)
      assert.deepStrictEqual(server.events.map(([name]) => name), ["B request", "B response"])
    }))

  it("off, it is the stack itself", () => {
    const stack = Stack.make(plain("A"))
    assert.strictEqual(Telemetry.observe(stack, { spans: "none", durations: false }), stack)
  })
})
