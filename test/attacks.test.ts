/**
 * What could break "once, and always an answer": stacks in stacks, apps that run
 * twice, elsewhere, at once or not at all.
 */
import { Headers, HttpApp, HttpMiddleware, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, FiberRef, HashMap, TestClock } from "effect"
import { Middleware, Stack } from "effect-middleware"
import { answered, type ErasedApp, Plain, probe, stackOf, Teapot, view, wrap, wrappers } from "./utils/laws.js"
import { type App, type Init, listen, mounts, request, send } from "./utils/TestApp.js"

const ok: ErasedApp = HttpServerResponse.text("ok")
const over = (stack: Middleware.Any, app: ErasedApp): ErasedApp => stack(app as HttpApp.Default)
const ask = (app: ErasedApp, init?: Init) => answered(send(app as App, init))
const orderOf = (app: ErasedApp, init?: Init) => Effect.map(ask(app, init), ({ headers }) => headers["x-order"])
const served = (app: ErasedApp, middleware: (app: never) => ErasedApp, init: Init = {}) =>
  answered(Effect.promise(async () => {
    const handler = HttpApp.toWebHandler(app as HttpApp.Default, middleware as HttpMiddleware.HttpMiddleware)
    const { path = "/", ...rest } = init
    const response = await handler(new Request(`http://localhost${path}`, rest))
    return { status: response.status, order: response.headers.get("x-order") }
  }))

class Run extends Middleware.Service("test/Run")<Run, number>() {}

describe("stacks in stacks", () => {
  it.effect("on the app, the router, the route and a mounted app: each once, inner before outer", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const endings: ReadonlyArray<readonly [ErasedApp, number]> = [[ok, 200], [Effect.fail(new Teapot()), 418], [
        Effect.die("x"),
        500
      ]]
      for (const [ending, status] of endings) {
        const mounted = HttpRouter.empty.pipe(
          HttpRouter.get("/leaf", over(probe("leaf", log), ending)),
          (router) => over(probe("mounted", log), router as ErasedApp)
        )
        const router = HttpRouter.empty.pipe(
          HttpRouter.mountApp("/in", mounted as App),
          HttpRouter.use((app) => over(probe("use", log), app as ErasedApp) as App)
        )
        const app = over(
          stackOf(probe("outer", log), wrap("Wraps", (app) => app)),
          over(probe("router", log), router as ErasedApp)
        )
        log.length = 0
        const reply = yield* ask(app, { path: "/in/leaf" })
        assert.strictEqual(reply.status, status)
        assert.strictEqual(reply.headers["x-order"], "leaf, mounted, use, router, outer")
        assert.deepStrictEqual(log, ["leaf", "mounted", "use", "router", "outer"])
      }
    }))

  it.effect("one stack twice in one app acts once for each", () =>
    Effect.gen(function*() {
      const stack = stackOf(probe("a"), wrap("Wraps", (app) => app), probe("b"))
      for (const ending of [ok, Effect.fail(new Teapot()), Effect.fail("no")]) {
        assert.strictEqual(yield* orderOf(over(stack, over(stack, ending))), "b, a, b, a")
      }
    }))

  it.scoped("one stack on two servers at once", () =>
    Effect.gen(function*() {
      const stack = stackOf(view, probe("a"), wrap("Wraps", (app) => app), probe("b"))
      const echo = (name: string): ErasedApp =>
        Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => HttpServerResponse.text(name + url))
      const [one, two] = yield* Effect.all([
        listen(Stack.serve(echo("one") as HttpApp.Default, stack as Middleware.Middleware)),
        listen(Stack.serve(echo("two") as HttpApp.Default, stack as Middleware.Middleware))
      ])
      const replies = yield* Effect.forEach(
        Array.from({ length: 40 }, (_, i) => i),
        (i) => Effect.map(request(i % 2 === 0 ? one : two, { path: `/${i}` }), (reply) => [i, reply] as const),
        { concurrency: "unbounded" }
      )
      for (const [i, reply] of replies) {
        assert.deepStrictEqual([reply.body, reply.headers["x-order"]], [`${i % 2 === 0 ? "one" : "two"}/${i}`, "b, a"])
      }
    }))

  it.effect("in the place of a served middleware, an inner stack that refuses is edited by the outer", () =>
    Effect.gen(function*() {
      for (const error of [new Plain(), "no", Object.freeze({})]) {
        const inner = stackOf(probe("inner"), Middleware.make({ name: "R", requestEffect: () => Effect.fail(error) }))
        assert.deepStrictEqual(
          yield* served(ok, (app) => over(probe("outer"), over(inner, app))),
          { status: 500, order: "inner, outer" },
          String(error)
        )
      }
    }))

  it.effect("a stack that another one's wrapper chooses", () =>
    Effect.gen(function*() {
      const inner = stackOf(probe("b"), wrap("W1", (app) => app), probe("c"))
      const chosen = Middleware.when(() => true, inner)
      for (const ending of [ok, Effect.fail(new Teapot()), Effect.fail("no")]) {
        assert.strictEqual(yield* orderOf(over(stackOf(probe("a"), chosen, probe("d")), ending)), "d, c, b, a")
      }
    }))
})

describe("an app that is run again", () => {
  const flaky = (failure: Effect.Effect<never, unknown> = Effect.fail(new Plain())) => {
    let runs = 0
    return Effect.suspend((): ErasedApp => ++runs === 1 ? failure : ok)
  }

  it.effect("by a retry around the stack", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const app = Effect.retry(over(stackOf(probe("a", log)), flaky()), { times: 1 })
      assert.strictEqual(yield* orderOf(app), "a")
      assert.deepStrictEqual(log, ["a"])
    }))

  it.effect("by a fallback behind the same stack", () =>
    Effect.gen(function*() {
      let made = 0
      const stack = stackOf(
        Middleware.make({
          name: "Run",
          provides: Run,
          request: () => Middleware.Provide(++made),
          response: (draft, exchange) => draft.set("x-run", `${exchange.get(Run)}`)
        }),
        probe("a")
      )
      const app = Effect.catchAll(
        over(stack, HttpRouter.empty as ErasedApp),
        () => over(stack, Effect.map(Run, (run) => HttpServerResponse.text(`${run}`)))
      )
      const reply = yield* ask(app)
      assert.deepStrictEqual([reply.body, reply.headers["x-run"], reply.headers["x-order"]], ["2", "2", "a"])
    }))

  it.effect("by a retry in the stack, with a stack inside that the second run does not enter", () =>
    Effect.gen(function*() {
      let entered = 0
      const inner = over(probe("inner"), Effect.fail(new Plain()))
      const app = over(
        stackOf(
          probe("outer"),
          wrap("Retry", Effect.retry({ times: 1 })),
          Middleware.make({
            name: "Answers",
            request: () => ++entered === 2 ? Middleware.Respond(HttpServerResponse.empty()) : undefined
          })
        ),
        inner
      )
      assert.strictEqual(yield* orderOf(app), "outer")
    }))

  it.effect("by a retry in the stack, after the app has called itself", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      let depth = 0
      const app: ErasedApp = over(
        stackOf(probe("outer", log), wrap("Retry", Effect.retry({ times: 1 })), probe("inner", log)),
        Effect.suspend((): ErasedApp => {
          depth++
          if (depth === 1) return Effect.zipRight(Effect.suspend(() => app), Effect.fail(new Plain()))
          return ok
        })
      )
      const order = yield* orderOf(app)
      assert.strictEqual(order, "inner, outer")
      // once for the inner call and once for the outer, whose first run is void
      assert.deepStrictEqual(log, ["inner", "outer", "inner", "outer"])
    }))

  it.effect("by a retry in the stack, after a handler has run another request", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      let runs = 0
      const other = over(stackOf(probe("other")), ok)
      const sub = Effect.provideService(
        other,
        HttpServerRequest.HttpServerRequest,
        HttpServerRequest.fromWeb(new Request("http://localhost/other"))
      )
      const app = over(
        stackOf(probe("outer", log), wrap("Retry", Effect.retry({ times: 1 })), probe("inner", log)),
        Effect.flatMap(sub, (): ErasedApp => ++runs === 1 ? Effect.fail(new Plain()) : ok)
      )
      assert.strictEqual(yield* orderOf(app), "inner, outer")
      assert.deepStrictEqual(log, ["inner", "outer"])
    }))

  it.effect("twice at once, the first to answer wins", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const hedge = wrap("Hedge", (app) => Effect.raceFirst(Effect.interruptible(app), Effect.interruptible(app)))
      const waits = Middleware.make({
        name: "waits",
        requestEffect: () => Effect.yieldNow(),
        response: () => void log.push("waits")
      })
      assert.strictEqual(
        yield* orderOf(over(stackOf(probe("outer", log), hedge, waits, probe("inner", log)), ok)),
        "inner, outer"
      )
      // the other run may have answered too: its edits went with its response
      assert.deepStrictEqual([log.slice(0, 2), log.at(-1)], [["inner", "waits"], "outer"])
    }))

  it.effect("twice at once, each run with its own service", () =>
    Effect.gen(function*() {
      let runs = 0
      const provided = Middleware.provide(Run, Effect.suspend(() => Effect.as(Effect.yieldNow(), ++runs)))
      const seen: Array<readonly [number, number]> = []
      const both = wrap("Both", (app) => Effect.map(Effect.all([app, app], { concurrency: 2 }), ([first]) => first))
      const app = Effect.gen(function*() {
        const first = yield* Run
        yield* Effect.yieldNow()
        seen.push([first, yield* Run])
        return HttpServerResponse.empty()
      })
      yield* ask(over(stackOf(both, provided), app))
      assert.deepStrictEqual([...seen].sort(([a], [b]) => a - b), [[1, 1], [2, 2]])
    }))

  it.effect("many times for one request, as a batch, each with its own request", () =>
    Effect.gen(function*() {
      const stack = stackOf(view, probe("a"), wrap("Wraps", (app) => app), probe("b"))
      const item = over(
        stack,
        Effect.flatMap(
          HttpServerRequest.HttpServerRequest,
          ({ url }): ErasedApp =>
            url === "/1" ? Effect.fail(new Teapot()) : Effect.succeed(HttpServerResponse.text(url))
        )
      )
      const batch = Effect.map(
        Effect.forEach(["/0", "/1", "/2"], (path) =>
          item.pipe(
            Effect.catchAll(() => HttpServerResponse.empty({ status: 418 })),
            Effect.provideService(
              HttpServerRequest.HttpServerRequest,
              HttpServerRequest.fromWeb(new Request(`http://localhost${path}`))
            )
          ), { concurrency: "unbounded" }),
        (responses) =>
          HttpServerResponse.text(responses.map(({ headers, status }) => `${status} ${headers["x-order"]}`).join("; "))
      )
      const reply = yield* ask(over(stackOf(probe("outer")), batch))
      assert.strictEqual(reply.headers["x-order"], "outer")
      assert.match(reply.body, /^200 b, a; 418 .*; 200 b, a$/)
    }))
})

describe("an app that is run elsewhere, or left behind", () => {
  it.effect("a timeout that leaves the app running: the app's end changes nothing", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const [began, open, done] = yield* Effect.all([
        Deferred.make<void>(),
        Deferred.make<void>(),
        Deferred.make<void>()
      ])
      const timeout = wrap("Timeout", (app) =>
        Effect.timeoutTo(Effect.interruptible(Effect.disconnect(Effect.interruptible(app))), {
          duration: "1 second",
          onSuccess: (response) =>
            response,
          onTimeout: () => HttpServerResponse.empty({ status: 504 })
        }))
      const slow = Effect.zipRight(Deferred.succeed(began, undefined), Deferred.await(open)).pipe(
        Effect.uninterruptible,
        Effect.as(HttpServerResponse.empty()),
        Effect.ensuring(Deferred.succeed(done, undefined))
      )
      const inner = over(probe("nested", log), slow)
      const app = over(stackOf(probe("outer", log), timeout, view, probe("inner", log)), inner)
      const reply = yield* Effect.fork(ask(app))
      yield* answered(Deferred.await(began))
      yield* TestClock.adjust("1 second")
      const { headers, status } = yield* Fiber.join(reply)
      assert.deepStrictEqual([status, headers["x-order"]], [504, "nested, inner, outer"])
      yield* Deferred.succeed(open, undefined)
      yield* answered(Deferred.await(done))
      yield* Effect.yieldNow()
      assert.deepStrictEqual(log, ["nested", "inner", "outer"])
    }))

  it.effect("a failure behind a stack that only wraps, and loses the refs of the fiber it wraps in", () =>
    Effect.gen(function*() {
      const timeout = wrap(
        "Timeout",
        (app) => Effect.timeoutFail(app, { duration: "1 hour", onTimeout: () => new Plain() })
      )
      assert.strictEqual(
        yield* orderOf(over(stackOf(timeout), over(probe("nested"), Effect.fail(new Teapot())))),
        "nested"
      )
    }))

  it.effect("an answer before the app is done", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const open = yield* Deferred.make<void>()
      const early = wrap("Early", (app) => Effect.as(Effect.forkDaemon(app), HttpServerResponse.empty({ status: 202 })))
      const app = over(
        stackOf(probe("outer", log), early, probe("inner", log)),
        Effect.zipRight(Deferred.await(open), ok)
      )
      const { headers, status } = yield* ask(app)
      yield* Deferred.succeed(open, undefined)
      yield* Effect.yieldNow()
      assert.strictEqual(status, 202)
      assert.strictEqual(headers["x-order"]?.split(", ").at(-1), "outer")
      assert.strictEqual(log.filter((name) => name === "outer").length, 1)
      assert.isAtMost(log.filter((name) => name === "inner").length, 1)
    }))

  it.effect("a timeout of a responseEffect leaves the other edits", () =>
    Effect.gen(function*() {
      const began = yield* Deferred.make<void>()
      const timeout = wrap("Timeout", (app) =>
        Effect.timeoutTo(Effect.interruptible(app), {
          duration: "1 second",
          onSuccess: (response) => response,
          onTimeout: () => HttpServerResponse.empty({ status: 504 })
        }))
      const stuck = Middleware.make({
        name: "Stuck",
        responseEffect: () => Effect.zipRight(Deferred.succeed(began, undefined), Effect.never)
      })
      const app = over(stackOf(probe("outer"), timeout, probe("middle"), stuck, probe("inner")), ok)
      const reply = yield* Effect.fork(ask(app))
      yield* answered(Deferred.await(began))
      yield* TestClock.adjust("1 second")
      const { headers, status } = yield* Fiber.join(reply)
      // the inner edit went with the response that was given up
      assert.deepStrictEqual([status, headers["x-order"]], [504, "middle, outer"])
    }))

  it.effect("a client that goes away from a responseEffect: it is not run again, the rest is", () =>
    Effect.scoped(Effect.gen(function*() {
      const log: Array<string> = []
      const [began, open, done] = yield* Effect.all([
        Deferred.make<void>(),
        Deferred.make<void>(),
        Deferred.make<void>()
      ])
      const slow = Middleware.make({
        name: "Slow",
        responseEffect: () =>
          Effect.sync(() => log.push("slow")).pipe(
            Effect.zipRight(Deferred.succeed(began, undefined)),
            Effect.zipRight(Deferred.await(open))
          )
      })
      const last = Middleware.make({
        name: "Last",
        responseEffect: () => Effect.zipRight(Effect.sync(() => log.push("last")), Deferred.succeed(done, undefined))
      })
      const stack = stackOf(last, slow, probe("inner", log)) as Middleware.Middleware
      const port = yield* listen(Stack.serve(ok as HttpApp.Default, stack))
      const client = yield* Effect.fork(request(port))
      yield* answered(Deferred.await(began))
      yield* Fiber.interrupt(client)
      yield* Deferred.succeed(open, undefined)
      yield* answered(Deferred.await(done))
      assert.deepStrictEqual(log, ["inner", "slow", "last"])
      assert.strictEqual((yield* answered(request(port))).status, 200)
    })))

  it.effect("a pre-response handler for a part of the app does not take the stack's", () =>
    Effect.gen(function*() {
      // of a failure it does: where `withPreResponseHandler` ends, platform forgets every handler set inside of it
      const app = HttpApp.withPreResponseHandler(
        over(stackOf(probe("a")), ok) as HttpApp.Default,
        (_, response) => Effect.succeed(HttpServerResponse.setHeader(response, "x-handler", "1"))
      )
      assert.strictEqual(yield* orderOf(app), "a")
    }))

  it.effect("a client that goes away while a requestEffect waits: what it acquired is released", () =>
    Effect.gen(function*() {
      const [began, released] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const waits = Middleware.provide(
        Run,
        Effect.acquireRelease(Effect.succeed(1), () => Deferred.succeed(released, undefined)).pipe(
          Effect.zipLeft(Deferred.succeed(began, undefined)),
          Effect.zipLeft(Effect.interruptible(Effect.never))
        )
      )
      const client = yield* Effect.fork(ask(over(stackOf(probe("a"), waits), ok)))
      yield* answered(Deferred.await(began))
      yield* Fiber.interrupt(client)
      yield* answered(Deferred.await(released))
    }))
})

describe("what a phase sees", () => {
  it.effect("on the way out, the request as its place in the stack sees it", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const looks = (name: string) =>
        Middleware.make({
          name,
          request: ({ request }) => void seen.push(`${name} in ${request.headers["x-view"]}`),
          response: (_, { request }) => void seen.push(`${name} out ${request.headers["x-view"]}`)
        })
      yield* ask(over(stackOf(looks("a"), view, wrap("Wraps", (app) => app), looks("b")), ok))
      assert.deepStrictEqual(seen, ["a in undefined", "b in 1", "b out 1", "a out undefined"])
    }))

  it.effect("on the way out, the services of its place, and not those of a wrapper further in", () =>
    Effect.gen(function*() {
      const events: Array<string> = []
      const acquires = Middleware.make({
        name: "Acquires",
        responseEffect: (draft) =>
          Effect.zipRight(
            Effect.addFinalizer(() => Effect.sync(() => events.push("released"))) as Effect.Effect<void>,
            Effect.sync(() => {
              events.push("acquired")
              draft.set("x-acquired", "1")
            })
          )
      })
      const outer = Middleware.make({ name: "Outer", response: () => void events.push("outer") })
      const app = over(stackOf(outer, acquires, wrap("Scoped", (app) => Effect.scoped(app)), view), ok)
      yield* ask(app)
      yield* Effect.yieldNow()
      assert.deepStrictEqual(events, ["acquired", "outer", "released"])
    }))

  it.effect("log annotations of the way out", () =>
    Effect.gen(function*() {
      let seen = 0
      const annotates = Middleware.make({ name: "Annotates", response: (_, exchange) => exchange.annotateLogs("a", 1) })
      const reads = Middleware.make({
        name: "Reads",
        responseEffect: () =>
          Effect.map(FiberRef.get(FiberRef.currentLogAnnotations), (annotations) => {
            seen = HashMap.has(annotations, "a") ? 1 : 0
          })
      })
      yield* ask(over(stackOf(reads, annotates), ok))
      assert.strictEqual(seen, 1)
    }))

  it.effect("a foreign middleware that changes the request", () =>
    Effect.gen(function*() {
      const foreign = Middleware.fromHttpMiddleware("Foreign", HttpMiddleware.xForwardedHeaders)
      const reads = Middleware.make({
        name: "Reads",
        response: (draft, { request }) => draft.set("x-host", request.headers.host ?? "")
      })
      const init = { headers: { "x-forwarded-host": "example.com" } }
      const app: ErasedApp = Effect.map(HttpServerRequest.HttpServerRequest, ({ headers }) =>
        HttpServerResponse.text(headers.host ?? ""))
      // in that one platform's own `modify` loses the promise to resolve, with or without a stack
      for (
        const mount of mounts.filter(({ name }) =>
          name !== "toWebHandler(app, mw)"
        )
      ) {
        const reply = yield* Effect.scoped(
          Effect.flatMap(mount.mount(app as App, stackOf(foreign, reads)), (send) => answered(send(init)))
        )
        assert.deepStrictEqual([mount.name, reply.headers["x-host"]], [mount.name, "example.com"])
        if (mount.handles) assert.strictEqual(reply.body, "example.com", mount.name)
      }
    }))
})

describe("a failure that passes what wraps, in an app that is piped", () => {
  const again: ReadonlyArray<(typeof wrappers)[number]> = [
    ["retry", Effect.retry({ times: 1 })],
    ["catchAll", Effect.catchAll((error) => Effect.fail(error))],
    ["sandbox", (app) => Effect.unsandbox(Effect.sandbox(app))],
    ["ensuring", Effect.ensuring(Effect.void)],
    ["a permit", Effect.unsafeMakeSemaphore(1).withPermits(1)],
    ["the logger", (app) => HttpMiddleware.logger(app as HttpApp.Default)]
  ]
  for (const [name, wrapper] of [...wrappers, ...again]) {
    it.effect(`is a failure and no defect: ${name}`, () =>
      Effect.gen(function*() {
        for (const error of [new Plain(), "no", Object.freeze({})]) {
          const caught: Array<unknown> = []
          const app = over(stackOf(probe("outer"), wrap("Wraps", wrapper), view, probe("inner")), Effect.fail(error))
            .pipe(
              Effect.tapDefect((defect) => Effect.sync(() => caught.push("defect", defect))),
              Effect.tapError(() => Effect.sync(() => caught.push("failure")))
            )
          assert.strictEqual(yield* orderOf(app), "inner, outer")
          assert.deepStrictEqual(caught, ["failure"], String(error))
        }
      }))
  }
})

describe("an edit that fails", () => {
  const throws = Middleware.make({
    name: "Throws",
    response: () => {
      throw new Error("response")
    }
  })

  it.effect("keeps what was set before a middleware that replaces the response by itself", () =>
    Effect.gen(function*() {
      const after = Middleware.after("After", HttpServerResponse.setHeader("x-after", "1"))
      const reply = yield* ask(over(stackOf(probe("outer"), throws, after, probe("inner")), ok))
      assert.deepStrictEqual(
        [reply.status, reply.headers["x-order"], reply.headers["x-after"]],
        [500, "inner, outer", "1"]
      )
    }))

  it.effect("keeps neither content nor cookies of the handler's", () =>
    Effect.gen(function*() {
      const handler = HttpServerResponse.unsafeSetCookie(
        HttpServerResponse.text("secret", { headers: { etag: "\"1\"", "x-handler": "1" } }),
        "sid",
        "1"
      )
      const reply = yield* ask(over(stackOf(throws, probe("inner")), handler))
      assert.deepStrictEqual([reply.status, reply.body, reply.headers.etag, reply.cookies], [500, "", undefined, []])
      assert.strictEqual(reply.headers["x-order"], "inner")
    }))
})

describe("large and odd", () => {
  it.effect("two thousand cookies leave", () =>
    Effect.gen(function*() {
      const many = Middleware.make({
        name: "Many",
        response: (draft) => {
          for (let i = 0; i < 2_000; i++) draft.setCookie(`c${i}`, `${i}`)
        }
      })
      const { cookies } = yield* ask(over(stackOf(probe("a"), many), ok))
      assert.lengthOf(cookies, 2_000)
    }), 20_000)

  it.effect("two hundred wrappers and two thousand plain layers", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const layers = Array.from({ length: 2_000 }, (_, i) =>
        Middleware.make({ name: `p${i}`, response: () => void log.push(`${i}`) }))
      const wraps = Array.from({ length: 200 }, (_, i) =>
        wrap(`w${i}`, (app) => app))
      const effects = Array.from({ length: 500 }, (_, i) =>
        Middleware.make({
          name: `e${i}`,
          requestEffect: () => Effect.void,
          responseEffect: () => Effect.sync(() => log.push("e"))
        }))
      for (const ending of [ok, Effect.fail(new Teapot())]) {
        log.length = 0
        yield* ask(over(stackOf(...layers, ...wraps, ...effects), ending))
        assert.lengthOf(log, 2_500)
      }
    }), 20_000)

  it.effect("a stack of nothing", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* ask(over(stackOf(), ok))).body, "ok")
    }))

  it.effect("alternatives of one name in a stack", () =>
    Effect.gen(function*() {
      const twice = Middleware.whenOr("Either", () => true, probe("same"), probe("same"))
      assert.strictEqual(yield* orderOf(over(stackOf(probe("a"), twice), ok)), "same, a")
    }))

  it.effect("a request that a phase derived with fields of no prototype", () =>
    Effect.gen(function*() {
      const strips = Middleware.make({
        name: "Strips",
        request: (exchange) =>
          exchange.deriveRequest({ headers: Headers.remove(exchange.request.headers, "x-a"), url: "/b" })
      })
      const app = Effect.map(HttpServerRequest.HttpServerRequest, (request) =>
        HttpServerResponse.text(`${request.url} ${request.originalUrl} ${request.headers["x-a"]} ${request}`))
      const { body } = yield* ask(over(strips, app), { path: "/a", headers: { "x-a": "1" } })
      assert.include(body, "/b ")
      assert.include(body, " undefined ")
    }))
})
