import { HttpApp, HttpMiddleware, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Data, Deferred, Effect, Fiber, HashMap, Logger, Ref } from "effect"
import { Middleware, type ResponseDraft, Stack } from "effect-middleware"
import { send } from "./utils/TestApp.js"

class Refused extends Data.TaggedError("Refused")<{ readonly by: string }> {}
class Store extends Context.Tag("Store")<Store, { readonly value: string }>() {}
class Value extends Middleware.Service("app/Value")<Value, string>() {}

const ok = HttpServerResponse.text("ok")
const value = Effect.map(Value, (value) => HttpServerResponse.text(value))
const store = Effect.provideService(Store, { value: "stored" })

const mark = <const Name extends string>(name: Name) =>
  Middleware.make({ name, response: (draft) => draft.set("x-order", (draft.get("x-order") ?? "") + name) })
const refuse = (by: string) =>
  Middleware.make({ name: `Refuse ${by}`, request: () => Middleware.Refuse(new Refused({ by })) })
const give = (value: string) =>
  Middleware.make({ name: `Give ${value}`, provides: Value, request: () => Middleware.Provide(value) })
const byOf = (effect: Effect.Effect<unknown, Refused, HttpServerRequest.HttpServerRequest>) =>
  Effect.map(Effect.flip(Effect.provideService(effect, HttpServerRequest.HttpServerRequest, request())), ({ by }) => by)
const request = (url = "http://localhost/", init?: RequestInit) => HttpServerRequest.fromWeb(new Request(url, init))

describe("Middleware", () => {
  describe("make", () => {
    it.effect("reads what it requires, and what it provides itself", () =>
      Effect.gen(function*() {
        const middleware = Middleware.make({
          name: "Read",
          requires: [Store],
          provides: Value,
          request: (exchange) => Middleware.Provide(exchange.get(Store).value),
          response: (draft, exchange) => draft.set("x-value", `${exchange.get(Store).value} ${exchange.get(Value)}`)
        })
        const reply = yield* send(store(middleware(value)))
        assert.deepStrictEqual([reply.body, reply.headers["x-value"]], ["stored", "stored stored"])
      }))

    it.effect("runs the effect only if `request` left it the decision", () =>
      Effect.gen(function*() {
        const asked = yield* Ref.make(0)
        const middleware = Middleware.make({
          name: "Ask",
          provides: Value,
          request: ({ request }) => request.url === "/known" ? Middleware.Provide("known") : Middleware.Defer,
          requestEffect: () => Effect.as(Ref.update(asked, (n) => n + 1), Middleware.Provide("asked"))
        })
        assert.strictEqual((yield* send(middleware(value), { path: "/known" })).body, "known")
        assert.strictEqual(yield* Ref.get(asked), 0)
        assert.strictEqual((yield* send(middleware(value))).body, "asked")
        assert.strictEqual(yield* Ref.get(asked), 1)
      }))

    it.effect("Pass lets through without the effect", () =>
      Effect.gen(function*() {
        const middleware = Middleware.make({
          name: "Pass",
          request: ({ request }) => request.url === "/free" ? Middleware.Pass : undefined,
          requestEffect: () => Effect.succeed(Middleware.Refuse(new Refused({ by: "effect" })))
        })
        assert.strictEqual((yield* send(middleware(ok), { path: "/free" })).status, 200)
        assert.strictEqual(yield* byOf(middleware(ok)), "effect")
      }))

    it.effect("an effect of a later member finds what an earlier one provides", () =>
      Effect.gen(function*() {
        const later = Middleware.make({
          name: "Later",
          requestEffect: () =>
            Effect.map(Value, (by) => by === "a" ? Middleware.Pass : Middleware.Refuse(new Refused({ by }))),
          responseEffect: (draft) => Effect.map(Value, (value) => draft.set("x-value", value))
        })
        const reply = yield* send(Stack.make(give("a"), later)(ok))
        assert.deepStrictEqual([reply.status, reply.headers["x-value"]], [200, "a"])
      }))

    const response = (draft: ResponseDraft.ResponseDraft) => draft.set("x-own", "1")
    const own = new Refused({ by: "own" })
    it.effect.each(
      [
        ["refusal", Middleware.make({ name: "Own", request: () => Middleware.Refuse(own), response })],
        ["answer", Middleware.make({ name: "Own", request: () => Middleware.Respond(ok), response })],
        [
          "refusal by Effect",
          Middleware.make({ name: "Own", requestEffect: () => Effect.succeed(Middleware.Refuse(own)), response })
        ],
        ["failing Effect", Middleware.make({ name: "Own", requestEffect: () => Effect.fail(own), response })]
      ] as ReadonlyArray<[string, Middleware.Middleware<never, Refused>]>
    )("its own response phase does not run on its own %s", ([_, middleware]) =>
      Effect.gen(function*() {
        const reply = yield* send(Stack.make(mark("a"), middleware)(ok))
        assert.deepStrictEqual([reply.headers["x-own"], reply.headers["x-order"]], [undefined, "a"])
      }))

    it.effect("a response phase can refuse: outer edits apply to the refusal", () =>
      Effect.gen(function*() {
        const unsaved = Middleware.make({
          name: "Unsaved",
          response: (draft) => draft.refuse(new Refused({ by: "it" }))
        })
        let seen: unknown
        const log = Middleware.make({ name: "Log", response: (draft) => void (seen = draft.refusal) })
        const reply = yield* send(Stack.make(mark("outer"), log, unsaved, mark("inner"))(ok))
        assert.deepStrictEqual([reply.status, reply.body, reply.headers["x-order"]], [500, "", "outer"])
        assert.instanceOf(seen, Refused)
      }))

    it("throws on a service that it could never provide", () => {
      assert.throws(() => Middleware.make({ name: "Empty", provides: Value }), /"Empty" provides app\/Value but has no/)
    })
  })

  describe("a phase that throws", () => {
    const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
      const lines: Array<string> = []
      const logger = Logger.make(({ cause, logLevel, message }) => {
        if (logLevel._tag === "Error") lines.push(`${String(message)} ${String(cause)}`)
      })
      return Effect.map(
        Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger)),
        (a) => [a, lines] as const
      )
    }
    const boom = () => {
      throw new Error("boom")
    }
    it.effect.each(
      [
        ["request", Middleware.make({ name: "Throws", request: boom })],
        ["requestEffect", Middleware.make({ name: "Throws", requestEffect: boom })],
        ["response", Middleware.make({ name: "Throws", response: boom })],
        ["responseEffect", Middleware.make({ name: "Throws", responseEffect: boom })],
        ["responseEffect, dying", Middleware.make({ name: "Throws", responseEffect: () => Effect.die("boom") })]
      ] as const
    )("%s: the client gets a 500 with the edits of the others", ([_, throws]) =>
      Effect.gen(function*() {
        const reply = yield* send(Stack.make(mark("outer"), throws)(ok))
        assert.deepStrictEqual([reply.status, reply.body, reply.headers["x-order"]], [500, "", "outer"])
      }))
    it.effect("in a response phase is logged with its cause", () =>
      Effect.gen(function*() {
        const [, lines] = yield* logged(send(Middleware.make({ name: "Throws", response: boom })(ok)))
        assert.strictEqual(lines.length, 1)
        assert.match(lines[0]!, /A response phase failed.*boom/s)
      }))
  })

  describe("local", () => {
    it.effect("keeps a value from request to response, one for each request", () =>
      Effect.gen(function*() {
        const held = Middleware.local<string>()
        const gate = yield* Deferred.make<void>()
        const arrived = yield* Deferred.make<void>()
        const middleware = Middleware.make({
          name: "Hold",
          request: (exchange) => held.set(exchange, exchange.request.url),
          response: (draft, exchange) => draft.set("x-held", held.get(exchange) ?? "none")
        })
        const app = middleware(Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) =>
          url === "/slow"
            ? Effect.zipRight(Deferred.succeed(arrived, undefined), Effect.as(Deferred.await(gate), ok))
            : Effect.succeed(ok)))
        const slow = yield* Effect.fork(send(app, { path: "/slow" }))
        yield* Deferred.await(arrived)
        assert.strictEqual((yield* send(app, { path: "/fast" })).headers["x-held"], "/fast")
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual((yield* Fiber.join(slow)).headers["x-held"], "/slow")
      }))
    it.effect("has nothing before it is set", () =>
      Effect.gen(function*() {
        const held = Middleware.local<string>()
        const reads = Middleware.make({
          name: "Reads",
          response: (draft, exchange) => draft.set("x-held", String(held.get(exchange)))
        })
        assert.strictEqual((yield* send(reads(ok))).headers["x-held"], "undefined")
      }))
  })

  describe("dispatch", () => {
    it.effect("sees the request and decides whether there is a next", () =>
      Effect.gen(function*() {
        const middleware = Middleware.dispatch("Dispatch", (request, next) =>
          request.url === "/stop"
            ? Effect.succeed(HttpServerResponse.empty({ status: 403 }))
            : Effect.map(next, HttpServerResponse.setHeader("x-seen", request.method)))
        assert.strictEqual((yield* send(middleware(Effect.dieMessage("ran")), { path: "/stop" })).status, 403)
        assert.strictEqual((yield* send(middleware(ok))).headers["x-seen"], "GET")
      }))
  })

  describe("fromHttpMiddleware", () => {
    it.effect("brings in platform's own", () =>
      Effect.gen(function*() {
        const headers = Middleware.fromHttpMiddleware("XForwarded", HttpMiddleware.xForwardedHeaders)
        const app = Effect.map(HttpServerRequest.HttpServerRequest, ({ headers }) =>
          HttpServerResponse.text(headers.host ?? ""))
        const reply = yield* send(headers(app), { headers: { "x-forwarded-host": "a.test" } })
        assert.strictEqual(reply.body, "a.test")
      }))
  })

  describe("before, after, onError", () => {
    it.effect("before runs first, and what it returns is the answer", () =>
      Effect.gen(function*() {
        const ran = yield* Ref.make<ReadonlyArray<string>>([])
        const note = (text: string) => Ref.update(ran, (all) => [...all, text])
        const middleware = Middleware.before("Before", (request) => note(request.url))
        yield* send(middleware(Effect.as(note("app"), ok)), { path: "/a" })
        assert.deepStrictEqual(yield* Ref.get(ran), ["/a", "app"])
        const stop = Middleware.before("Stop", () => Effect.succeed(HttpServerResponse.empty({ status: 503 })))
        assert.strictEqual((yield* send(stop(Effect.dieMessage("ran")))).status, 503)
      }))
    it.effect("after edits every response, also a failure's", () =>
      Effect.gen(function*() {
        const plain = Middleware.after("After", (response, request) =>
          HttpServerResponse.setHeader(response, "x-after", request.method))
        assert.strictEqual((yield* send(plain(ok))).headers["x-after"], "GET")
        assert.strictEqual((yield* send(plain(Effect.fail("no")))).headers["x-after"], "GET")
        const effect = Middleware.after("After", (response) =>
          Effect.map(Store, ({ value }) =>
            HttpServerResponse.setHeader(response, "x-after", value)))
        assert.strictEqual((yield* send(store(effect(ok)))).headers["x-after"], "stored")
      }))
    it.effect("onError answers failures, not defects", () =>
      Effect.gen(function*() {
        const middleware = Middleware.onError("OnError", (error) =>
          Effect.succeed(HttpServerResponse.text(String(error), { status: 418 })))
        const reply = yield* send(middleware(Effect.fail("no")))
        assert.deepStrictEqual([reply.status, reply.body], [418, "no"])
        assert.strictEqual((yield* send(middleware(Effect.die("no")))).status, 500)
      }))
  })

  describe("provide", () => {
    it.effect("acquires for each request and releases after the response has been sent", () =>
      Effect.gen(function*() {
        const events: Array<string> = []
        let id = 0
        const connection = Middleware.provide(
          Value,
          Effect.acquireRelease(
            Effect.sync(() => {
              events.push(`acquire ${++id}`)
              return String(id)
            }),
            (id) => Effect.sync(() => void events.push(`release ${id}`))
          ),
          { name: "Connection" }
        )
        const handle = HttpApp.toHandled(connection(value), (_, response) =>
          Effect.sync(() => void events.push(`sent ${response.status}`)))
        for (const _ of [1, 2]) {
          yield* Effect.provideService(handle, HttpServerRequest.HttpServerRequest, request())
        }
        assert.deepStrictEqual(events, ["acquire 1", "sent 200", "release 1", "acquire 2", "sent 200", "release 2"])
        assert.strictEqual(connection.name, "Connection")
      }))
    it.effect("its failure refuses", () =>
      Effect.gen(function*() {
        const middleware = Middleware.provide(Value, new Refused({ by: "pool" }))
        assert.strictEqual(yield* byOf(middleware(value)), "pool")
      }))
  })

  describe("around", () => {
    it.effect("may provide and handle what it declares", () =>
      Effect.gen(function*() {
        const middleware = Middleware.around<{ provides: Value; handles: Refused }>()("Around", (app) =>
          app.pipe(
            Effect.provideService(Value, "around"),
            Effect.catchTag("Refused", ({ by }) => HttpServerResponse.text(by, { status: 409 }))
          ))
        assert.strictEqual((yield* send(middleware(value))).body, "around")
        assert.strictEqual((yield* send(middleware(new Refused({ by: "app" })))).body, "app")
      }))
  })

  describe("services", () => {
    const around = Middleware.around<{ provides: Value }>()("Around", Effect.provideService(Value, "around"))
    const reads = Middleware.make({
      name: "Reads",
      requires: [Value],
      request: (exchange) => exchange.annotateSpan("value", exchange.get(Value)),
      response: (draft, exchange) => draft.set("x-value", exchange.get(Value))
    })

    it.effect("plain phases see what a wrapper outside them provides", () =>
      Effect.gen(function*() {
        const stack = Stack.make(mark("a"), around, reads, Middleware.provide(Store, Effect.succeed({ value: "s" })))
        const app = Effect.map(Effect.zip(Value, Store), ([value, { value: stored }]) =>
          HttpServerResponse.text(value + stored))
        const reply = yield* send(stack(app))
        assert.deepStrictEqual([reply.body, reply.headers["x-value"]], ["arounds", "around"])
      }))

    it.effect("nothing provided is there outside, and the request is the original", () =>
      Effect.gen(function*() {
        const stack = Stack.make(
          around,
          Middleware.make({ name: "Derive", request: (exchange) => exchange.deriveRequest({ url: "/derived" }) }),
          mark("a")
        )
        const inside = Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => HttpServerResponse.text(url))
        for (const app of [inside, Effect.zipRight(HttpServerRequest.HttpServerRequest, Effect.fail("no"))]) {
          const original = request()
          const seen = yield* Effect.exit(stack(app)).pipe(
            Effect.zipRight(Effect.all([HttpServerRequest.HttpServerRequest, Effect.serviceOption(Value)])),
            Effect.provideService(HttpServerRequest.HttpServerRequest, original)
          )
          assert.strictEqual(seen[0], original)
          assert.strictEqual(seen[1]._tag, "None")
        }
        assert.strictEqual((yield* send(stack(inside))).body, "/derived")
      }))

    it.effect("an app that a handler runs for another request is not touched, and takes nothing away", () =>
      Effect.gen(function*() {
        const inner = mark("inner")(Effect.fail("no"))
        const handler = Effect.gen(function*() {
          const run = HttpApp.toWebHandlerRuntime(yield* Effect.runtime<never>())(inner)
          const response = yield* Effect.promise(() => run(new Request("http://inner.test/")))
          return HttpServerResponse.text(response.headers.get("x-order") ?? "none")
        })
        const reply = yield* send(mark("outer")(handler))
        assert.deepStrictEqual([reply.body, reply.headers["x-order"]], ["inner", "outer"])
      }))
  })

  describe("conditions", () => {
    const isGet = (request: HttpServerRequest.HttpServerRequest) => request.method === "GET"
    const wrap = Middleware.dispatch(
      "Wrap",
      (_, next) => Effect.map(next, HttpServerResponse.setHeader("x-order", "w"))
    )

    it.effect.each(
      [
        ["a plain one", mark("m"), "m"],
        ["a stack of plain ones", Stack.make(mark("a"), mark("b")), "ba"],
        ["one that wraps", wrap, "w"]
      ] as const
    )("when and unless decide over %s", ([_, middleware, order]) =>
      Effect.gen(function*() {
        const get = { method: "GET" }
        const post = { method: "POST", body: "" }
        for (const condition of [isGet, (r: HttpServerRequest.HttpServerRequest) => Effect.succeed(isGet(r))]) {
          const when = Middleware.when(condition, middleware as Middleware.Middleware)
          assert.strictEqual((yield* send(when(ok), get)).headers["x-order"], order)
          assert.isUndefined((yield* send(when(ok), post)).headers["x-order"])
          const unless = Middleware.unless(condition, middleware as Middleware.Middleware)
          assert.isUndefined((yield* send(unless(ok), get)).headers["x-order"])
          assert.strictEqual((yield* send(unless(ok), post)).headers["x-order"], order)
        }
      }))

    it.effect("what stands after a condition that is not met runs", () =>
      Effect.gen(function*() {
        const stack = Stack.make(mark("a"), Middleware.when(() => false, Stack.make(mark("b"), mark("c"))), mark("d"))
        assert.strictEqual((yield* send(stack(ok))).headers["x-order"], "da")
      }))

    it.effect("a condition that fails refuses; one that dies is a 500", () =>
      Effect.gen(function*() {
        const failing = Middleware.when(() => Effect.fail(new Refused({ by: "condition" })), mark("m"))
        assert.strictEqual(yield* byOf(failing(ok)), "condition")
        const throwing = Middleware.when(() => {
          throw new Error("no")
        }, mark("m"))
        assert.strictEqual((yield* send(throwing(ok))).status, 500)
      }))

    describe("whenOr", () => {
      it.effect.each(
        [
          ["plain", give("yes"), give("no")],
          ["one wraps", give("yes"), Middleware.around<{ provides: Value }>()("W", Effect.provideService(Value, "no"))]
        ] as const
      )("%s: provides by the one or the other", ([_, yes, no]) =>
        Effect.gen(function*() {
          const either = Middleware.whenOr("Either", isGet, yes, no)
          const stack = Stack.make(mark("a"), either, mark("z"))
          const get = yield* send(stack(value))
          assert.deepStrictEqual([get.body, get.headers["x-order"]], ["yes", "za"])
          const post = yield* send(stack(value), { method: "POST", body: "" })
          assert.deepStrictEqual([post.body, post.headers["x-order"]], ["no", "za"])
        }))
    })

    describe("firstOf", () => {
      const failing = Middleware.before("Down", () => Effect.fail(new Refused({ by: "down" })))
      const effect = Middleware.make({
        name: "Effect",
        requestEffect: () => Effect.succeed(Middleware.Refuse(new Refused({ by: "effect" })))
      })
      it.effect("takes the first that lets through, with its edits and nobody else's", () =>
        Effect.gen(function*() {
          for (const refusing of [Stack.make(mark("r"), refuse("1")), Stack.make(mark("r"), effect)]) {
            const stack = Stack.make(mark("a"), Middleware.firstOf("First", refusing, mark("m"), mark("n")))
            assert.strictEqual((yield* send(stack(ok))).headers["x-order"], "ma")
          }
        }))
      it.effect("if all refuse, the first one's refusal is the answer", () =>
        Effect.gen(function*() {
          assert.strictEqual(yield* byOf(Middleware.firstOf("First", refuse("1"), refuse("2"))(ok)), "1")
          assert.strictEqual(yield* byOf(Middleware.firstOf("First", effect, refuse("2"))(ok)), "effect")
          assert.strictEqual(yield* byOf(Middleware.firstOf("First", refuse("1"), effect)(ok)), "1")
        }))
      it.effect("what an alternative provides is there", () =>
        Effect.gen(function*() {
          const first = Middleware.firstOf("First", give("1"), give("2"))
          assert.strictEqual((yield* send(first(value))).body, "1")
        }))
      it.effect("nothing is left of an alternative that was given up", () =>
        Effect.gen(function*() {
          const leaves = Middleware.make({
            name: "Leaves",
            provides: Value,
            request: (exchange) => {
              exchange.deriveRequest({ url: "/derived" })
              exchange.annotateLogs("left", true)
              return Middleware.Provide("left")
            }
          })
          const seen = Effect.gen(function*() {
            const { url } = yield* HttpServerRequest.HttpServerRequest
            const annotations = yield* Effect.logAnnotations
            const value = yield* Effect.serviceOption(Value)
            return HttpServerResponse.text(`${url} ${HashMap.has(annotations, "left")} ${value._tag}`)
          })
          for (const refusing of [Stack.make(leaves, refuse("1")), Stack.make(leaves, effect)]) {
            const first = Middleware.firstOf("First", refusing, mark("m"))
            const reply = yield* send(Stack.make(give("outside"), first)(seen))
            assert.strictEqual(reply.body, "/ false Some")
            assert.strictEqual((yield* send(first(seen))).body, "/ false None")
          }
        }))
      it.effect("an effect of an alternative finds what the alternative provides", () =>
        Effect.gen(function*() {
          const asks = Middleware.make({
            name: "Asks",
            requestEffect: () =>
              Effect.map(Value, (by) => by === "a" ? Middleware.Pass : Middleware.Refuse(new Refused({ by })))
          })
          const first = Middleware.firstOf("First", Stack.make(give("x"), asks), Stack.make(give("a"), asks))
          assert.strictEqual((yield* send(first(value))).body, "a")
        }))
      it.effect("an effect that fails stops it", () =>
        Effect.gen(function*() {
          assert.strictEqual(yield* byOf(Middleware.firstOf("First", failing, mark("m"))(ok)), "down")
        }))
      it.effect("an alternative that throws stops it", () =>
        Effect.gen(function*() {
          const throws = Middleware.make({
            name: "Throws",
            request: (): Middleware.Pass => {
              throw new Error("no")
            }
          })
          assert.strictEqual((yield* send(Middleware.firstOf("First", throws, mark("m"))(ok))).status, 500)
        }))
    })

    it.effect("every runs all, in order", () =>
      Effect.gen(function*() {
        const both = Middleware.every("Both")(mark("a"), mark("b"))
        assert.strictEqual((yield* send(both(ok))).headers["x-order"], "ba")
        assert.strictEqual(both.name, "Both")
        assert.strictEqual(yield* byOf(Middleware.every("Both")(mark("a"), refuse("b"))(ok)), "b")
      }))

    describe("by route", () => {
      const guard = Middleware.forRoutes(["/admin/*"], refuse("guard"))
      const open = Middleware.exceptRoutes(["/health"], refuse("guard"))
      const statusOf = (middleware: Middleware.Middleware<never, Refused>, path: string) =>
        Effect.map(send(middleware(ok), { path }), ({ status }) => status)

      it.effect.each(
        [
          ["/admin/x", 500],
          ["/ADMIN/x", 500],
          ["//admin/x", 500],
          ["/%61dmin/x", 500],
          ["/public", 200]
        ] as const
      )("forRoutes guards every spelling: %s %i", ([path, status]) =>
        Effect.gen(function*() {
          assert.strictEqual(yield* statusOf(guard, path), status)
        }))
      it.effect.each(
        [
          ["/health", 200],
          ["/Health", 500],
          ["/health/", 500],
          ["//health", 500],
          ["/%68ealth", 500],
          ["/other", 500]
        ] as const
      )("exceptRoutes exempts the one spelling: %s %i", ([path, status]) =>
        Effect.gen(function*() {
          assert.strictEqual(yield* statusOf(open, path), status)
        }))
      it.effect("inside a router the route counts, whatever its parameters are", () =>
        Effect.gen(function*() {
          const router = HttpRouter.empty.pipe(
            HttpRouter.get("/users/:id", ok),
            HttpRouter.use((app) => Middleware.forRoutes(["/users/:id"], mark("m"))(app))
          )
          assert.strictEqual((yield* send(router, { path: "/users/1" })).headers["x-order"], "m")
        }))
    })
  })
})
