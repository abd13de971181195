import { HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Logger, Scope, TestClock } from "effect"
import { HealthCheck, Stack } from "effect-middleware"
import { listen, mounts, ownServer, request, send } from "./utils/TestApp.js"

const ok = HttpServerResponse.text("ok")
const ready = { path: "/readyz" }

describe("policy", () => {
  it.each<[method: string, target: string, expected: HealthCheck.Decision]>([
    ["GET", "/livez", "live"],
    ["HEAD", "/livez", "live"],
    ["GET", "/livez?a=/readyz", "live"],
    ["GET", "/readyz", "ready"],
    ["HEAD", "/readyz?", "ready"],
    ["POST", "/readyz", "method"],
    ["OPTIONS", "/livez", "method"],
    ["GET", "/livez/", "pass"],
    ["GET", "/LIVEZ", "pass"],
    ["GET", "//livez", "pass"],
    ["GET", "/x/livez", "pass"],
    ["POST", "/", "pass"]
  ])("%s %s", (method, target, expected) => {
    assert.strictEqual(HealthCheck.policy()(method, target), expected)
  })

  it("throws on a mistake, and says what to write", () => {
    assert.throws(() => HealthCheck.policy({ live: "livez" }), TypeError, /live is "livez": write a path/)
    assert.throws(() => HealthCheck.policy({ ready: "/a?b" }), TypeError, /ready is "\/a\?b": write a path/)
    assert.throws(() => HealthCheck.middleware({ live: "/a", ready: "/a" }), TypeError, /both "\/a": write two paths/)
    assert.throws(() => HealthCheck.layer({}, { timeout: 0 }), TypeError, /timeout is 0: write a time/)
    assert.throws(() => HealthCheck.layer({}, { cacheFor: "soon" as "1 second" }), TypeError, /cacheFor is soon/)
    assert.throws(() => HealthCheck.drainOnShutdown({ drainDelay: Infinity }), TypeError, /drainDelay is Infinity/)
  })
})

/** Ready, as it is asked. */
const probing = (options?: HealthCheck.Options) =>
  Effect.map(
    HealthCheck.HealthCheck,
    (health) => send(Effect.provideService(HealthCheck.middleware(options)(ok), HealthCheck.HealthCheck, health), ready)
  )
const seen = ({ body, status }: { readonly body: string; readonly status: number }) => [status, body]
const pass = `{"status":"pass"}`
const warn = `{"status":"warn"}`
const fail = `{"status":"fail"}`

describe("middleware", () => {
  describe.each(mounts)("$name", ({ mount }) => {
    it.scoped("answers both, and lets the rest by", () =>
      Effect.gen(function*() {
        const health = yield* Layer.build(HealthCheck.layer({ bad: Effect.fail("a secret") }))
        const send = yield* Effect.provide(mount(ok as never, HealthCheck.middleware()), health)
        const live = yield* send({ path: "/livez" })
        assert.deepStrictEqual(seen(live), [200, pass])
        assert.strictEqual(live.headers["cache-control"], "no-store")
        assert.strictEqual(live.headers["content-type"], "application/json")
        const notReady = yield* send(ready)
        assert.deepStrictEqual(seen(notReady), [503, fail])
        assert.strictEqual(notReady.headers["cache-control"], "no-store")
        assert.deepStrictEqual(seen(yield* send()), [200, "ok"])
        const refused = yield* send({ ...ready, method: "POST" })
        assert.deepStrictEqual([refused.status, refused.headers.allow], [405, "GET, HEAD"])
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))))
  })
})

describe("checks", () => {
  it.effect.each<[rule: string, bad: HealthCheck.Check<never>, expected: readonly [number, string]]>([
    ["all pass", Effect.void, [200, pass]],
    ["a critical one fails", Effect.fail("no"), [503, fail]],
    ["a critical one dies", Effect.die("no"), [503, fail]],
    ["it is said to be critical", { check: Effect.fail("no"), critical: true }, [503, fail]],
    ["it is said to be, and passes", { check: Effect.void, critical: true }, [200, pass]],
    ["another one fails", { check: Effect.fail("no"), critical: false }, [200, warn]]
  ])("%s", ([_, bad, expected]) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(seen(yield* yield* probing()), [...expected])
    }).pipe(
      Effect.provide(HealthCheck.layer({ good: Effect.void, bad })),
      Effect.provide(Logger.remove(Logger.defaultLogger))
    ))

  it.effect("are named by the option alone", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(JSON.parse((yield* yield* probing({ details: true })).body), {
        status: "warn",
        checks: { good: "pass", bad: "fail" }
      })
    }).pipe(
      Effect.provide(HealthCheck.layer({
        good: Effect.void,
        bad: { check: Effect.fail("a secret"), critical: false }
      })),
      Effect.provide(Logger.remove(Logger.defaultLogger))
    ))

  it.effect("of a flood run once, at once, and again when they are no longer good", () => {
    let [runs, running, most] = [0, 0, 0]
    const slow = Effect.suspend(() => {
      runs++
      most = Math.max(most, ++running)
      return Effect.ensuring(Effect.sleep("1 second"), Effect.sync(() => running--))
    })
    return Effect.gen(function*() {
      const probe = yield* probing()
      const first = yield* Effect.fork(probe)
      const flood = yield* Effect.fork(
        Effect.all(Array.from({ length: 20 }, () => probe), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("500 millis")
      // who has asked first leaves, and the others wait on
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual((yield* Fiber.join(flood)).map(seen), Array.from({ length: 20 }, () => [200, pass]))
      assert.deepStrictEqual([runs, most], [2, 2])
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(seen(yield* probe), [200, pass])
      assert.strictEqual(runs, 2)
      yield* TestClock.adjust("1 millis")
      const later = yield* Effect.fork(probe)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(later)
      assert.strictEqual(runs, 4)
    }).pipe(Effect.provide(HealthCheck.layer({ a: slow, b: slow }, { cacheFor: "5 seconds" })))
  })

  it.effect("fail when they take too long, and one that hangs is not begun again", () => {
    let runs = 0
    const hangs = Effect.suspend(() => {
      runs++
      return Effect.uninterruptible(Effect.sleep("1 hour"))
    })
    return Effect.gen(function*() {
      const probe = yield* probing()
      const first = yield* Effect.fork(probe)
      yield* TestClock.adjust("1999 millis")
      assert.isNull(yield* Fiber.poll(first).pipe(Effect.map((exit) => exit._tag === "None" ? null : exit)))
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(seen(yield* Fiber.join(first)), [503, fail])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(seen(yield* probe), [503, fail])
      assert.strictEqual(runs, 1)
    }).pipe(
      Effect.provide(HealthCheck.layer({ hangs })),
      Effect.provide(Logger.remove(Logger.defaultLogger))
    )
  })

  it.effect("take what they run on when the layer is built, and tell the log when they change", () => {
    class Database extends Context.Tag("test/Database")<Database, { up: boolean }>() {}
    const lines: Array<string> = []
    const database = { up: false }
    const check = Effect.flatMap(Database, ({ up }) => up ? Effect.void : Effect.fail("password is 1234"))
    return Effect.gen(function*() {
      const probe = yield* probing()
      const answers: Array<string> = []
      for (const up of [false, false, true, true, false]) {
        database.up = up
        answers.push((yield* probe).body)
      }
      assert.deepStrictEqual(answers, [fail, fail, pass, pass, fail])
      assert.deepStrictEqual(lines.map((line) => line.replace(/\n.*/s, "")), [
        "HealthCheck: database fails Error: password is 1234",
        "HealthCheck: database passes again ",
        "HealthCheck: database fails Error: password is 1234"
      ])
    }).pipe(
      Effect.provide(HealthCheck.layer({ database: check }, { cacheFor: 0 })),
      Effect.provideService(Database, database),
      Effect.provide(Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ cause, message }) =>
          void lines.push(`${String(message)} ${cause._tag === "Empty" ? "" : cause.toString()}`)
        )
      ))
    )
  })
})

describe("drained", () => {
  it.effect("by hand, also while checks are on their way", () =>
    Effect.gen(function*() {
      const health = yield* HealthCheck.HealthCheck
      const probe = yield* probing({ details: true })
      const before = yield* Effect.fork(probe)
      yield* TestClock.adjust("500 millis")
      yield* health.drain
      yield* TestClock.adjust("500 millis")
      const drained = [503, `{"status":"fail","checks":{}}`]
      assert.deepStrictEqual(seen(yield* Fiber.join(before)), drained)
      assert.deepStrictEqual(seen(yield* probe), drained)
    }).pipe(Effect.provide(HealthCheck.layer({ slow: Effect.sleep("1 second") }))))

  it.effect("with the layer, and nobody who waits is forgotten", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(HealthCheck.layer({ never: Effect.never }), scope)
      const { check } = Context.get(context, HealthCheck.HealthCheck)
      const waiting = yield* Effect.fork(check)
      yield* Effect.yieldNow()
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(waiting)).status, "fail")
      assert.strictEqual((yield* check).status, "fail")
    }))

  it.scoped("before the server stops, which waits", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const health = yield* Layer.build(HealthCheck.layer({}))
      const stopped = yield* Deferred.make<void>()
      const ports = yield* Deferred.make<number>()
      const server = Layer.scopedDiscard(Effect.gen(function*() {
        yield* Effect.addFinalizer(() => Deferred.succeed(stopped, void 0))
        const served = Layer.provide(Stack.serve(ok, HealthCheck.middleware()), Layer.succeedContext(health))
        yield* Deferred.succeed(ports, yield* listen(served, ownServer))
      }))
      yield* Layer.buildWithScope(
        server.pipe(
          HealthCheck.drainOnShutdown({ drainDelay: "10 seconds" }),
          Layer.provide(Layer.succeedContext(health))
        ),
        scope
      )
      const port = yield* Deferred.await(ports)
      assert.deepStrictEqual(seen(yield* request(port, ready)), [200, pass])
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("9999 millis")
      assert.deepStrictEqual(seen(yield* request(port, ready)), [503, fail])
      assert.deepStrictEqual(seen(yield* request(port, { path: "/livez" })), [200, pass])
      assert.deepStrictEqual(seen(yield* request(port)), [200, "ok"])
      assert.isFalse(yield* Deferred.isDone(stopped))
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
      assert.isTrue(yield* Deferred.isDone(stopped))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(request(port))))
    }))
})
