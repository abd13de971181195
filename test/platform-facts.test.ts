/**
 * What we rely on inside effect and its platform. When an upgrade changes one of
 * these, it fails here first, by name, and not in a middleware.
 */
import type { HttpMiddleware } from "@effect/platform"
import {
  Cookies,
  FileSystem,
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApp,
  HttpRouter,
  HttpServer,
  HttpServerError,
  HttpServerRequest,
  HttpServerRespondable,
  HttpServerResponse,
  type Socket
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Context,
  Data,
  Deferred,
  Effect,
  ExecutionStrategy,
  Exit,
  Fiber,
  FiberRef,
  FiberRefs,
  Layer,
  Option,
  Runtime,
  Scope,
  Stream,
  Tracer
} from "effect"
import { globalValue } from "effect/GlobalValue"
import { IncomingMessage } from "node:http"
import * as Net from "node:net"
import { answered, type ErasedApp, Plain, Teapot } from "./utils/laws.js"
import { type App, listen, mounts, request, send } from "./utils/TestApp.js"
import { connect, raw } from "./utils/webSocket.js"

type Request = HttpServerRequest.HttpServerRequest
type Response = HttpServerResponse.HttpServerResponse

const handled = Symbol.for("@effect/platform/HttpApp/handled")
const ok = HttpServerResponse.text("ok")
const fromWeb = (init?: RequestInit) => HttpServerRequest.fromWeb(new Request("http://localhost/", init))

class Service extends Context.Tag("test/Service")<Service, string>() {}

/** Runs an app as a server does; gives what was sent. */
const handle = (app: ErasedApp, middleware?: (app: App) => App, incoming = fromWeb()) => {
  const sent: Array<readonly [Request, Response]> = []
  return HttpApp.toHandled(
    app as HttpApp.Default,
    (request, response) => Effect.sync(() => sent.push([request, response])),
    middleware as HttpMiddleware.HttpMiddleware | undefined
  ).pipe(
    Effect.exit,
    Effect.provideService(HttpServerRequest.HttpServerRequest, incoming),
    Effect.as(sent)
  )
}

const marking = (name: string): HttpApp.PreResponseHandler => (_, response) =>
  Effect.succeed(HttpServerResponse.setHeader(response, "x-order", `${response.headers["x-order"] ?? ""}${name}`))
const prepend = (name: string) =>
  FiberRef.update(
    HttpApp.currentPreResponseHandlers,
    (outer) =>
      Option.some<HttpApp.PreResponseHandler>((request, response) =>
        Effect.flatMap(marking(name)(request, response), (response) =>
          outer._tag === "None" ? Effect.succeed(response) : outer.value(request, response))
      )
  )

/** What a fiber has beside its public interface. */
interface Internals {
  readonly _fiberRefs: FiberRefs.FiberRefs
  readonly setFiberRef: <A>(ref: FiberRef.FiberRef<A>, value: A) => void
  readonly setFiberRefs: (refs: FiberRefs.FiberRefs) => void
}
const withInternals = <A>(f: (fiber: Fiber.RuntimeFiber<unknown, unknown> & Internals) => A) =>
  Effect.withFiberRuntime<A>((fiber) => Effect.sync(() => f(fiber as never)))

describe("the mark of an answered request", () => {
  it.effect("is on the request as soon as the response is handed over, and not before", () =>
    Effect.gen(function*() {
      const incoming = fromWeb()
      let before = true
      const app = Effect.sync(() => {
        before = handled in incoming
        return ok
      })
      yield* handle(app, undefined, incoming)
      assert.deepStrictEqual([before, handled in incoming], [false, true])
    }))

  it.effect("is on the request of the context that toHandled itself runs in, which may be a delegate", () =>
    Effect.gen(function*() {
      const incoming = fromWeb()
      const derived = Object.create(incoming) as Request
      for (const app of [Effect.succeed(ok), Effect.fail("no")]) {
        const sent = yield* handle(
          app,
          (app) => Effect.provideService(app, HttpServerRequest.HttpServerRequest, derived),
          incoming
        )
        assert.strictEqual(sent[0]![0], derived)
      }
      assert.deepStrictEqual([Object.hasOwn(derived, handled), handled in incoming], [true, false])
    }))

  it.effect("keeps toHandled from answering a second time what its middleware gives", () =>
    Effect.gen(function*() {
      const sent = yield* handle(Effect.succeed(ok), (app) => Effect.as(app, HttpServerResponse.empty()))
      assert.deepStrictEqual(sent.map(([, { status }]) => status), [200])
    }))
})

describe("pre-response handlers", () => {
  it.effect("are one FiberRef, whose handler may call the one before: what is prepended runs first", () =>
    Effect.gen(function*() {
      const app = HttpApp.appendPreResponseHandler(marking("a")).pipe(
        Effect.zipRight(prepend("b")),
        Effect.zipRight(HttpApp.appendPreResponseHandler(marking("c"))),
        Effect.as(ok)
      )
      assert.strictEqual((yield* send(app)).headers["x-order"], "bac")
    }))

  it.effect.each([
    ["success", Effect.succeed(ok), "a"],
    ["a failure", Effect.fail("no"), "a"],
    ["a defect", Effect.die("no"), "a"],
    ["interruption", Effect.interrupt, "a"]
  ] as ReadonlyArray<[string, ErasedApp, string]>)("are asked on %s", ([, app, expected]) =>
    Effect.gen(function*() {
      const sent = yield* handle(Effect.zipRight(prepend("a"), app))
      assert.deepStrictEqual(sent.map(([, { headers }]) => headers["x-order"]), [expected])
    }))

  it.effect.each([
    ["as a response", HttpServerResponse.empty()],
    ["as a failure", Effect.fail(new Teapot())]
  ] as ReadonlyArray<[string, ErasedApp]>)(
    "are not asked when a served middleware refuses %s",
    ([, refusal]) =>
      Effect.gen(function*() {
        const sent = yield* handle(ok, () => Effect.zipRight(prepend("a"), refusal) as App)
        assert.deepStrictEqual(sent.map(([, { headers }]) => headers["x-order"]), [undefined])
      })
  )

  it.effect("see an app's failure as the response it will be, and leave the cause alone", () =>
    Effect.gen(function*() {
      const seen: Array<number> = []
      const app = Effect.zipRight(
        HttpApp.appendPreResponseHandler((_, response) =>
          Effect.sync(() => {
            seen.push(response.status)
            return response
          })
        ),
        Effect.fail(new Teapot())
      )
      yield* handle(app)
      assert.deepStrictEqual(seen, [418])
    }))

  it.effect("are forgotten where withPreResponseHandler ends", () =>
    Effect.gen(function*() {
      const app = HttpApp.withPreResponseHandler(Effect.as(prepend("a"), ok), marking("b"))
      assert.strictEqual((yield* send(app)).headers["x-order"], undefined)
    }))
})

describe("what a cause becomes", () => {
  const responseOf = (cause: Cause.Cause<unknown>) =>
    Effect.map(HttpServerError.causeResponse(cause), ([{ status }]) => status)

  it.effect("a response that rides behind a failure, a defect or an interruption is the response", () =>
    Effect.gen(function*() {
      const response = Cause.die(HttpServerResponse.empty({ status: 402 }))
      assert.strictEqual(yield* responseOf(Cause.sequential(Cause.fail("no"), response)), 402)
      assert.strictEqual(yield* responseOf(Cause.sequential(Cause.die("no"), response)), 402)
      const interrupted = yield* Effect.exit(Effect.interrupt)
      if (Exit.isFailure(interrupted)) {
        assert.strictEqual(yield* responseOf(Cause.sequential(interrupted.cause, response)), 402)
      }
    }))

  it.effect("an error is asked by a symbol, which may be its own; a response is taken as it is", () =>
    Effect.gen(function*() {
      assert.strictEqual(HttpServerRespondable.symbol, Symbol.for("@effect/platform/HttpServerRespondable"))
      const error = new Plain()
      assert.strictEqual(yield* responseOf(Cause.fail(error)), 500)
      Object.defineProperty(error, HttpServerRespondable.symbol, {
        value: () => HttpServerResponse.empty({ status: 409 })
      })
      assert.strictEqual(yield* responseOf(Cause.fail(error)), 409)
      assert.strictEqual(yield* responseOf(Cause.die(error)), 409)
      assert.strictEqual(yield* responseOf(Cause.fail(HttpServerResponse.empty({ status: 402 }))), 402)
    }))

  it.effect("within a span, what fails is a proxy of the error, through which a property is defined", () =>
    Effect.gen(function*() {
      const error = new Plain()
      const caught = yield* Effect.flip(Effect.withSpan(Effect.fail(error), "span"))
      assert.notStrictEqual(caught, error)
      Object.defineProperty(caught, HttpServerRespondable.symbol, { value: () => ok })
      assert.isTrue(HttpServerRespondable.isRespondable(error))
    }))
})

describe("a fiber", () => {
  it.effect("keeps its refs as stacks of values by fiber, and takes them all at once", () =>
    Effect.gen(function*() {
      const ref = FiberRef.unsafeMake("initial")
      const changed = yield* Effect.withFiberRuntime<string>((fiber) => {
        const internals = fiber as typeof fiber & Internals
        const locals = new Map(internals._fiberRefs.locals)
        locals.set(ref, [[fiber.id(), "changed"]])
        internals.setFiberRefs(FiberRefs.unsafeMake(locals))
        return FiberRef.get(ref)
      })
      assert.strictEqual(changed, "changed")
      yield* withInternals((fiber) => {
        const stack = fiber._fiberRefs.locals.get(FiberRef.currentContext)!
        assert.strictEqual(stack[0][0], fiber.id())
        assert.strictEqual(stack[0][1], fiber.currentContext)
      }).pipe(Effect.provideService(Service, "a"))
    }))

  it.effect("reads its context and its clock without an Effect, also after a change of refs", () =>
    Effect.gen(function*() {
      yield* withInternals((fiber) => {
        assert.strictEqual(fiber.currentContext.unsafeMap.get(Service.key), "a")
        assert.strictEqual(
          typeof Context.get(fiber.currentDefaultServices, Clock.Clock).unsafeCurrentTimeMillis(),
          "number"
        )
        const locals = new Map(fiber._fiberRefs.locals)
        const changed = Context.unsafeMake(
          new Map<string, unknown>([...fiber.currentContext.unsafeMap, [Service.key, "b"]])
        )
        const [[id]] = locals.get(FiberRef.currentContext)!
        locals.set(FiberRef.currentContext, [[id, changed]])
        fiber.setFiberRefs(FiberRefs.unsafeMake(locals))
        assert.strictEqual(fiber.currentContext, changed)
      }).pipe(
        Effect.zipRight(Effect.map(Service, (service) => assert.strictEqual(service, "b"))),
        Effect.provideService(Service, "a")
      )
    }))

  it.effect("leaves a context out of setFiberRef that is equal to the one it has: the trap", () =>
    withInternals((fiber) => {
      const before = fiber.currentContext
      const equal = Context.unsafeMake(new Map(before.unsafeMap))
      fiber.setFiberRef(FiberRef.currentContext, equal as Context.Context<never>)
      assert.strictEqual(fiber.currentContext, before)
    }))

  it.effect("does not run what handles a cause when it is interrupted where it may be", () =>
    Effect.gen(function*() {
      let handled = false
      const began = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        Effect.matchCauseEffect(Effect.zipRight(Deferred.succeed(began, undefined), Effect.never), {
          onSuccess: () => Effect.void,
          onFailure: () => Effect.sync(() => (handled = true))
        })
      )
      yield* Deferred.await(began)
      yield* Fiber.interrupt(fiber)
      assert.isFalse(handled)
    }))

  it.effect.each([
    ["raceFirst", (effect) => Effect.raceFirst(effect, Effect.never)],
    ["timeout", (effect) => Effect.timeoutFail(effect, { duration: "1 hour", onTimeout: () => "late" })],
    ["join", (effect) => Effect.flatMap(Effect.fork(effect), Fiber.join)]
  ] as ReadonlyArray<[string, (effect: Effect.Effect<void, string>) => Effect.Effect<void, string>]>)(
    "gives the refs of its child back to its parent by %s",
    ([name, run]) =>
      Effect.gen(function*() {
        for (const end of [Effect.void, Effect.fail("no")]) {
          const ref = FiberRef.unsafeMake(0)
          yield* Effect.exit(run(Effect.zipRight(FiberRef.set(ref, 1), end)))
          // but for a failure, by the first alone: what an app sets and fails is lost behind a timeout
          assert.strictEqual(yield* FiberRef.get(ref), end === Effect.void || name === "raceFirst" ? 1 : 0)
        }
      })
  )

  it.effect("tells a tracer of each operation", () =>
    Effect.gen(function*() {
      let operations = 0
      const base = yield* Effect.tracer
      const tracer = Tracer.make({
        span: base.span.bind(base),
        context: (f) => {
          operations++
          return f()
        }
      })
      yield* Effect.withTracer(Effect.map(Effect.succeed(1), (n) => n + 1), tracer)
      assert.isAtLeast(operations, 2)
    }))
})

describe("a response", () => {
  const clone: Response = Object.assign(Object.create(Object.getPrototypeOf(ok)), ok, {
    status: 201,
    headers: Object.assign(Object.create(Object.getPrototypeOf(ok.headers)), ok.headers, { "x-clone": "1" })
  })

  it("may be a clone of another: it is a response, an Effect, a Respondable", () => {
    assert.isTrue(HttpServerResponse.isServerResponse(clone))
    assert.isTrue(Effect.isEffect(clone))
    assert.isTrue(HttpServerRespondable.isRespondable(clone))
    assert.strictEqual(HttpServerResponse.toWeb(clone).headers.get("x-clone"), "1")
    assert.strictEqual(HttpServerResponse.setHeader(clone, "x-a", "1").headers["x-clone"], "1")
  })

  it.scoped("may be a clone of another on Node's server", () =>
    Effect.gen(function*() {
      const reply = yield* request(yield* listen(HttpServer.serve(Effect.succeed(clone))))
      assert.deepStrictEqual([reply.status, reply.headers["x-clone"], reply.body], [201, "1", "ok"])
    }))

  it("has its cookies under keys that nobody reads", () => {
    const cookies = Cookies.fromReadonlyRecord({
      "any\nkey": Cookies.unsafeMakeCookie("a", "1", { path: "/a" }),
      a: Cookies.unsafeMakeCookie("a", "2", { path: "/b" })
    })
    assert.sameMembers(Cookies.toSetCookieHeaders(cookies), ["a=1; Path=/a", "a=2; Path=/b"])
    const response = HttpServerResponse.setHeader(HttpServerResponse.replaceCookies(ok, cookies), "x-a", "1")
    assert.lengthOf(Cookies.toSetCookieHeaders(response.cookies), 2)
    assert.lengthOf(HttpServerResponse.toWeb(response).headers.getSetCookie(), 2)
  })
})

describe("a request", () => {
  /** Runs a handler in a server of each kind, which gets the request that the server made. */
  const inEach = <A>(read: (request: Request) => A) =>
    Effect.forEach(["app.pipe", "Stack.serve, Node"], (name) =>
      Effect.scoped(Effect.gen(function*() {
        const seen = yield* Deferred.make<A>()
        const app = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
          Effect.as(Deferred.succeed(seen, read(request)), ok))
        const identity = ((app: App) =>
          app) as never
        const { mount } = mounts.find((mount) => mount.name === name)!
        yield* Effect.flatMap(mount(app, identity), (send) => send({ path: "/a?b=1", headers: { "x-a": "1" } }))
        return yield* Deferred.await(seen)
      })))

  it.effect("keeps how to answer it on the instance, and what it is on the prototype, for a delegate to find", () =>
    Effect.gen(function*() {
      const [web, node] = yield* inEach((
        request
      ) => [...Object.keys(request), ...Object.getOwnPropertySymbols(request).map(String)])
      assert.includeMembers(web!, ["Symbol(@effect/platform/HttpApp/resolve)"])
      assert.includeMembers(node!, ["source", "response"])
      const read = ({ headers, method, originalUrl, remoteAddress, source, url }: Request) => [
        headers["x-a"],
        method,
        originalUrl,
        remoteAddress._tag,
        url,
        typeof source
      ]
      for (const [own, delegated] of yield* inEach((request) => [read(request), read(Object.create(request))])) {
        assert.deepStrictEqual(delegated, own)
      }
    }))

  it.effect("loses that by its own modify, on the web, and keeps its source", () =>
    Effect.gen(function*() {
      const [web] = yield* inEach((request) => [request, request.modify({ url: "/b" })] as const)
      const [original, modified] = web!
      assert.lengthOf(Object.getOwnPropertySymbols(modified).filter((key) => String(key).includes("resolve")), 0)
      assert.strictEqual(modified.source, original.source)
    }))

  it.effect("has private fields that are so for the types alone", () =>
    Effect.gen(function*() {
      // a `#field` would throw when read through a delegate
      const results = yield* inEach((request) => {
        const derived = Object.create(request) as Request
        return [typeof derived.text, typeof derived.stream, typeof derived.cookies, typeof derived.upgrade]
      })
      assert.deepStrictEqual(results, [["object", "object", "object", "object"], [
        "object",
        "object",
        "object",
        "object"
      ]])
    }))
})

describe("a server", () => {
  it.effect("applies a middleware of serve after the sending", () =>
    Effect.gen(function*() {
      const order: Array<string> = []
      const sends = HttpApp.appendPreResponseHandler((_, response) =>
        Effect.as(Effect.sync(() => order.push("sent")), response)
      )
      yield* handle(Effect.as(sends, ok), (app) => Effect.tap(app, () => Effect.sync(() => order.push("mapped"))))
      assert.deepStrictEqual(order, ["sent", "mapped"])
    }))

  it.effect("gives such a middleware a failure that it has answered, with the response behind it", () =>
    Effect.gen(function*() {
      const causes: Array<Cause.Cause<unknown>> = []
      yield* handle(
        Effect.fail("no"),
        (app) => Effect.tapErrorCause(app, (cause) => Effect.sync(() => causes.push(cause)))
      )
      assert.deepStrictEqual([...Cause.failures(causes[0]!)], ["no"])
      assert.isTrue(HttpServerResponse.isServerResponse([...Cause.defects(causes[0]!)][0]))
    }))

  it.effect("runs an app where it cannot be interrupted; a router, where it can", () =>
    Effect.gen(function*() {
      const interruptible: Array<boolean> = []
      const app = Effect.checkInterruptible((is) => Effect.sync(() => (interruptible.push(is), ok)))
      yield* handle(app)
      yield* handle(HttpRouter.empty.pipe(HttpRouter.get("/", app)) as ErasedApp)
      assert.deepStrictEqual(interruptible, [false, true])
    }))

  it.effect("gives each request a context of its own, also over one runtime", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const app = withInternals((fiber) => {
        seen.push(fiber.currentContext.unsafeMap)
        return ok
      })
      const handler = HttpApp.toWebHandler(app)
      yield* Effect.promise(() => Promise.all([handler(new Request("http://a/")), handler(new Request("http://a/"))]))
      const port = yield* listen(HttpServer.serve(app))
      yield* Effect.all([request(port), request(port)])
      assert.strictEqual(new Set(seen).size, 4)
    }).pipe(Effect.scoped))
})

describe("what leaves a client without an answer", () => {
  const silent = (app: App) =>
    Effect.map(
      Effect.exit(answered(send(app), "3 seconds")),
      (exit) => Exit.isFailure(exit) ? "nothing" : exit.value.status
    )

  it.effect("is a failure that throws as it renders; a bad field in an answer is not", () =>
    Effect.gen(function*() {
      class Explosive extends Data.TaggedError("Explosive")<{}> {
        [HttpServerRespondable.symbol](): Effect.Effect<Response> {
          throw new Error("while rendering")
        }
      }
      const bad = HttpServerResponse.text("", { headers: { "x-a": "a\r\nb: c" } })
      assert.strictEqual(yield* silent(Effect.fail(new Explosive())), "nothing")
      assert.strictEqual(yield* silent(bad), 500)
      // the response of a failure, on the other hand, is sent where nothing catches
      assert.strictEqual(yield* silent(Effect.fail(bad)), "nothing")
    }), 20_000)
})

describe("a body", () => {
  it.scoped("that is too large says so in words", () =>
    Effect.gen(function*() {
      const said = yield* Deferred.make<unknown>()
      const app = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ text }) => text).pipe(
        HttpServerRequest.withMaxBodySize(Option.some(FileSystem.Size(1))),
        Effect.tapError((error) => Deferred.succeed(said, error.cause)),
        Effect.as(ok)
      )
      const port = yield* listen(HttpServer.serve(app))
      yield* Effect.fork(Effect.ignore(Effect.sandbox(request(port, { method: "POST", body: "too much" }))))
      const cause = yield* answered(Deferred.await(said))
      assert.isTrue(cause instanceof Error && cause.message === "maxBytes exceeded")
    }))

  it.scoped("that fails after the header is ended as if it were whole", () =>
    Effect.gen(function*() {
      const parts = Stream.concat(Stream.make(new TextEncoder().encode("part")), Stream.die("late"))
      const port = yield* listen(HttpServer.serve(HttpServerResponse.stream(parts)))
      const { body, status } = yield* answered(request(port))
      assert.deepStrictEqual([status, body], [200, "part"])
    }))
})

describe("a span", () => {
  it.scoped("of a request is of the kind server, and ends with what the app gave: a response is well", () =>
    Effect.gen(function*() {
      const ends: Array<string> = []
      const native = yield* Effect.tracer
      const tracer = Tracer.make({
        context: (f) => f(),
        span: (...args) => {
          const span = native.span(...args)
          const end = span.end.bind(span)
          span.end = (time, exit) => {
            ends.push(`${span.kind} ${exit._tag}`)
            end(time, exit)
          }
          return span
        }
      })
      for (const app of [HttpServerResponse.empty({ status: 500 }), Effect.die("x")]) {
        const port = yield* Effect.withTracer(listen(HttpServer.serve(app)), tracer)
        yield* answered(request(port))
      }
      assert.deepStrictEqual(ends, ["server Success", "server Failure"])
    }))

  it.effect("has the place where it was opened under a name of Effect's own", () =>
    Effect.gen(function*() {
      const sites = globalValue("effect/Tracer/spanToTrace", () => new WeakMap<object, () => string | undefined>())
      const span = yield* Effect.withSpan(Effect.currentSpan, "named")
      assert.match(sites.get(span)?.() ?? "", /platform-facts\.test\.ts:\d+:\d+/)
    }))
})

describe("a router", () => {
  it("has its routes and mounts in sight", () => {
    const router = HttpRouter.empty.pipe(HttpRouter.get("/a", ok), HttpRouter.mountApp("/b", ok))
    assert.isTrue(HttpRouter.TypeId in router)
    assert.deepStrictEqual([...router.routes].map(({ method, path }) => [method, path]), [["GET", "/a"]])
    assert.deepStrictEqual([...router.mounts].map(([prefix]) => prefix), ["/b"])
  })

  it.effect("copies the context for its handler, and puts back the one that was", () =>
    Effect.gen(function*() {
      const maps: Array<unknown> = []
      const see = withInternals((fiber) => {
        maps.push(fiber.currentContext.unsafeMap)
        return ok
      })
      const router = HttpRouter.empty.pipe(HttpRouter.get("/", see))
      yield* handle(Effect.zipRight(see, Effect.zipRight(router as ErasedApp, see)))
      assert.notStrictEqual(maps[0], maps[1])
      assert.strictEqual(maps[0], maps[2])
    }))

  it.effect("shows an unknown route to what stands around it, and not to HttpRouter.use", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const see = (name: string) => (app: ErasedApp) => Effect.tapError(app, () => Effect.sync(() => seen.push(name)))
      const router = HttpRouter.empty.pipe(
        HttpRouter.get("/known", ok),
        HttpRouter.use((app) => see("use")(app as never) as App)
      )
      assert.strictEqual((yield* answered(send(see("around")(router as ErasedApp) as App))).status, 404)
      assert.deepStrictEqual(seen, ["around"])
    }))

  it.effect("makes the request of a prefix by `modify`", () =>
    Effect.gen(function*() {
      const urls: Array<string> = []
      const incoming = fromWeb()
      const modified = Object.create(incoming, {
        url: { value: "/in/x" },
        modify: {
          value: (options: { readonly url?: string }) => {
            urls.push(options.url!)
            return incoming
          }
        }
      }) as Request
      yield* handle(HttpRouter.empty.pipe(HttpRouter.mountApp("/in", ok)) as ErasedApp, undefined, modified)
      assert.deepStrictEqual(urls, ["/x"])
    }))
})

describe("a middleware of an HttpApi", () => {
  class OnEndpoint extends HttpApiMiddleware.Tag<OnEndpoint>()("test/OnEndpoint") {}
  class OnGroup extends HttpApiMiddleware.Tag<OnGroup>()("test/OnGroup") {}
  const api = HttpApi.make("api").add(
    HttpApiGroup.make("group").add(HttpApiEndpoint.get("read", "/").middleware(OnEndpoint)).middleware(OnGroup)
  )
  const live = (onEndpoint: Effect.Effect<void>, onGroup: Effect.Effect<void>) =>
    HttpApiBuilder.serve().pipe(
      Layer.provide(HttpApiBuilder.api(api)),
      Layer.provide(HttpApiBuilder.group(api, "group", (handlers) => handlers.handle("read", () => Effect.void))),
      Layer.provide([Layer.succeed(OnEndpoint, onEndpoint as never), Layer.succeed(OnGroup, onGroup as never)])
    )

  it.scoped("is an Effect in the fiber of the request: a ref it changes is seen when the response leaves", () =>
    Effect.gen(function*() {
      const port = yield* listen(live(prepend("a"), Effect.void))
      assert.strictEqual((yield* request(port)).headers["x-order"], "a")
    }))

  it.scoped("of an endpoint runs before, and so outside of, that of its group", () =>
    Effect.gen(function*() {
      const order: Array<string> = []
      const runs = (name: string) => Effect.sync(() => void order.push(name))
      yield* request(yield* listen(live(runs("endpoint"), runs("group"))))
      assert.deepStrictEqual(order, ["endpoint", "group"])
    }))
})

describe("an upgrade in Node's server", () => {
  interface Ws extends Record<"pause" | "resume" | "ping", () => void> {
    readonly _receiver: { readonly _maxPayload: number }
  }
  interface Source {
    readonly headers: Record<string, string>
    readonly httpVersion: string
    readonly socket: Record<symbol, Ws> & Record<"bytesRead" | "writableNeedDrain", unknown> & {
      readonly listenerCount: (event: string) => number
    }
  }
  /** Serves one upgrade: what the handler of the app finds when the socket is open. */
  const upgrade = <A>(
    before: (source: Source) => void,
    opened: (source: Source, write: (message: string) => Effect.Effect<void, Socket.SocketError>) => A
  ) =>
    Effect.gen(function*() {
      const found = yield* Deferred.make<A>()
      const app = Effect.scoped(Effect.gen(function*() {
        const { source } = yield* HttpServerRequest.HttpServerRequest
        const socket = yield* Effect.orDie(HttpServerRequest.upgrade)
        const write = yield* socket.writer
        before(source as Source)
        yield* Effect.ignore(socket.runRaw(() => {}, {
          onOpen: Effect.suspend(() => Deferred.succeed(found, opened(source as Source, write)))
        }))
        return HttpServerResponse.empty()
      }))
      const port = yield* listen(HttpServer.serve(app))
      return { port, found: answered(Deferred.await(found)) }
    })
  const wsOf = ({ socket }: Source) =>
    socket[Object.getOwnPropertySymbols(socket).find(({ description }) => description === "websocket")!]!

  it.scoped("has the WebSocket of ws on the connection, which has a limit of 100 MiB", () =>
    Effect.gen(function*() {
      const { found, port } = yield* upgrade(() => {}, (source) => {
        const { _receiver, pause, ping, resume } = wsOf(source)
        const { bytesRead, writableNeedDrain } = source.socket
        return [source.httpVersion, _receiver._maxPayload, typeof bytesRead, writableNeedDrain, ping, pause, resume]
          .map((value) => typeof value === "function" ? "function" : value)
      })
      yield* connect(port)
      assert.deepStrictEqual(yield* found, ["1.1", 100 * 2 ** 20, "number", false, "function", "function", "function"])
    }))

  it.scoped("leaves the symbol of ws on a connection that has closed, and nothing under it", () =>
    Effect.gen(function*() {
      const { found, port } = yield* upgrade(() => {}, (source) => source)
      const client = yield* connect(port)
      const source = yield* found
      client.close(1000)
      yield* client.closed
      yield* Effect.async<void>((resume) => {
        const { socket } = source as unknown as { readonly socket: Net.Socket }
        if (socket.destroyed) resume(Effect.void)
        else socket.once("close", () => resume(Effect.void))
      })
      const symbols = Object.getOwnPropertySymbols(source.socket).map(({ description }) => description)
      assert.include(symbols, "websocket")
      assert.isUndefined(wsOf(source))
    }))

  it.scoped("leaves the errors of the connection to nobody before it is opened", () =>
    Effect.gen(function*() {
      let heard: number | undefined
      const { found, port } = yield* upgrade(({ socket }) => heard = socket.listenerCount("error"), () => {})
      yield* connect(port)
      yield* found
      assert.strictEqual(heard, 0)
    }))

  it.scoped("agrees on the first subprotocol that is offered, as the request says at that moment", () =>
    Effect.gen(function*() {
      const { port } = yield* upgrade(() => {}, () => {})
      assert.strictEqual((yield* connect(port, { protocols: ["a", "b"] })).protocol, "a")
      const chosen = yield* upgrade(({ headers }) => headers["sec-websocket-protocol"] = "b", () => {})
      assert.strictEqual((yield* connect(chosen.port, { protocols: ["a", "b"] })).protocol, "b")
      const none = yield* upgrade(({ headers }) => delete headers["sec-websocket-protocol"], () => {})
      assert.isUndefined((yield* raw(none.port, { "sec-websocket-protocol": "a" })).headers["sec-websocket-protocol"])
    }))
})

describe("what a server begins a request with", () => {
  interface ScopeInternals extends Scope.CloseableScope {
    readonly addFinalizer: (finalizer: Scope.Scope.Finalizer) => Effect.Effect<void>
    readonly fork: (strategy: ExecutionStrategy.ExecutionStrategy) => Effect.Effect<Scope.CloseableScope>
    readonly close: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<void>
  }

  it.effect("a scope is what has these members: Effect asks it for nothing else", () =>
    Effect.gen(function*() {
      const asked = new Set<PropertyKey>()
      const scope = new Proxy((yield* Scope.make()) as ScopeInternals, {
        get: (target, key) => {
          asked.add(key)
          const member: unknown = Reflect.get(target, key)
          return typeof member === "function" ? member.bind(target) : member
        }
      })
      yield* Effect.provideService(
        Effect.zipRight(Effect.addFinalizer(() => Effect.void), Effect.acquireRelease(Effect.void, () => Effect.void)),
        Scope.Scope,
        scope
      )
      yield* Scope.fork(scope, ExecutionStrategy.sequential)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual([...asked].sort(), ["addFinalizer", "close", "fork"])
    }))

  it.effect("a scope that is ejected is noted in a global set", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      HttpApp.ejectDefaultScopeClose(scope)
      assert.isTrue(
        globalValue("@effect/platform/HttpApp/ejectedScopes", () => new WeakSet<Scope.Scope>()).has(scope)
      )
    }))

  it("a fiber runs at once, with the FiberRefs that it is given", () => {
    const ref = FiberRef.unsafeMake("initial")
    const fork = Runtime.runFork(Runtime.make({
      context: Context.empty(),
      fiberRefs: FiberRefs.empty(),
      runtimeFlags: Runtime.defaultRuntimeFlags
    }))
    const fiber = fork(FiberRef.get(ref), {
      updateRefs: (_, id) => FiberRefs.unsafeMake(new Map([[ref, [[id, "given"]]]]) as never)
    })
    assert.deepStrictEqual(fiber.unsafePoll(), Exit.succeed("given"))
  })

  it("the content of a request is first asked for by _read, also when nobody reads it in the end", () => {
    const source = new IncomingMessage(new Net.Socket())
    let asked = 0
    source._read = () => void asked++
    assert.strictEqual(asked, 0)
    source.resume()
    source.read()
    assert.isAbove(asked, 0)
  })
})
