/**
 * What a middleware learns on the way out, and after: the route, who has
 * refused, how the response fared; and what it may write to the log.
 */
import {
  type HttpApp,
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse,
  Socket
} from "@effect/platform"
import { NodeSocket } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Data, Deferred, Effect, Fiber, HashMap, Layer, Logger, LogLevel, Queue, Stream } from "effect"
import { ExceptionHandlers, Middleware, RequestId, type ResponseDraft, Stack } from "effect-middleware"
import { answered, stackOf, Teapot, wrap } from "./utils/laws.js"
import { type App, listen, mounts, nodeServer, request, send, unknownRoute } from "./utils/TestApp.js"

interface Seen {
  readonly route: string | undefined
  readonly by: string | undefined
  readonly error: unknown
}

const watcher = (seen: Array<Seen>) =>
  Middleware.make({
    name: "Watcher",
    response: (_, { refusal, route }) => void seen.push({ route, by: refusal?.by, error: refusal?.error })
  })
const ok = HttpServerResponse.text("ok")

for (const mount of mounts) {
  describe(`in ${mount.name}`, () => {
    const provided = Effect.provide(mount.name.includes("Node") ? nodeServer : Layer.empty)

    it.scoped("the route is known on the way out", () =>
      Effect.gen(function*() {
        const seen: Array<Seen> = []
        const send = yield* mount.mount(ok as App, watcher(seen))
        yield* answered(send())
        if (mount.router !== "outside") yield* answered(send(unknownRoute))
        const pattern = mount.name.includes("Api") ? "/*" : "*"
        const expected = mount.router === "none"
          ? [undefined, undefined]
          : mount.router === "inside"
          ? [pattern, undefined]
          : [pattern]
        assert.deepStrictEqual(seen.map(({ route }) => route), expected)
      }).pipe(provided))

    it.scoped("a refusal further in is known by name, until the next request", () =>
      Effect.gen(function*() {
        const error = new Teapot()
        const refusers: ReadonlyArray<readonly [name: string, middleware: Middleware.Any]> = [
          ["Refuse", Middleware.make({ name: "Refuse", request: () => Middleware.Refuse(error) })],
          ["Effect", Middleware.make({ name: "Effect", requestEffect: () => Effect.fail(error) })],
          [
            "EffectRefuse",
            Middleware.make({ name: "EffectRefuse", requestEffect: () => Effect.succeed(Middleware.Refuse(error)) })
          ],
          ["Draft", Middleware.make({ name: "Draft", response: (draft) => draft.refuse(error) })],
          [
            "FirstOf",
            Middleware.firstOf(
              "FirstOf",
              Middleware.make({ name: "A", request: () => Middleware.Refuse(error) }),
              Middleware.make({ name: "B", request: () => Middleware.Refuse(new Teapot()) })
            )
          ],
          ["Wraps", wrap("Wraps", () => Effect.fail(error))],
          [
            "Inner",
            Stack.make(
              ExceptionHandlers.byTag({ Teapot: () => ok }),
              Middleware.make({ name: "Inner", request: () => Middleware.Refuse(error) })
            )
          ]
        ]
        for (const [name, middleware] of refusers) {
          const seen: Array<Seen> = []
          const stack = stackOf(
            watcher(seen),
            Middleware.when(({ headers }) => headers["x-pass"] === undefined, middleware)
          )
          yield* Effect.scoped(Effect.gen(function*() {
            const send = yield* mount.mount(ok as App, stack)
            yield* answered(send())
            yield* answered(send({ headers: { "x-pass": "1" } }))
          }))
          assert.deepStrictEqual(seen.map(({ by }) => by), [name, undefined])
          assert.strictEqual(seen[0]!.error, error)
        }
      }).pipe(provided))

    it.scoped("a failure of the app, a defect and an answer are no refusals", () =>
      Effect.gen(function*() {
        const apps: ReadonlyArray<App> = [Effect.fail(new Teapot()), Effect.die("defect"), ok]
        for (const app of apps) {
          const seen: Array<Seen> = []
          const answers = Middleware.make({ name: "Answers", request: () => Middleware.Respond(ok) })
          for (const stack of [watcher(seen), stackOf(watcher(seen), answers)]) {
            yield* Effect.scoped(Effect.flatMap(mount.mount(app, stack), (send) => answered(send())))
          }
          assert.deepStrictEqual(seen.map(({ by }) => by), [undefined, undefined])
        }
      }).pipe(provided))

    it.scoped("what is sent is told once, after every response phase", () =>
      Effect.gen(function*() {
        const told = yield* Queue.unbounded<ResponseDraft.Sent>()
        const listener = Middleware.make({
          name: "Listener",
          response: (draft) => draft.onSent((sent) => void told.unsafeOffer(sent))
        })
        const outer = Middleware.make({
          name: "Outer",
          response: (draft) => {
            if (draft.status === 500) draft.status = 503
          }
        })
        const cases: ReadonlyArray<readonly [app: App, status: number, bytes: number | undefined]> = [
          [HttpServerResponse.text("12345"), 200, 5],
          [HttpServerResponse.empty(), 204, 0],
          [Effect.fail(new Teapot()), 418, 15],
          [Effect.die("defect"), 503, 0],
          [
            HttpServerResponse.stream(Stream.make(new Uint8Array(3), new Uint8Array(4))),
            200,
            mount.name.includes("Node") ? 7 : undefined
          ]
        ]
        for (const [app, status, bytes] of cases) {
          yield* Effect.scoped(Effect.flatMap(mount.mount(app, stackOf(outer, listener)), (send) => answered(send())))
          const sent = yield* answered(Queue.take(told))
          assert.deepStrictEqual(sent, { status, bytes, aborted: false, failed: false })
        }
        assert.strictEqual(yield* Queue.size(told), 0)
      }).pipe(provided))
  })
}

for (const mount of mounts) {
  it.scoped(`of a response that is dropped nobody hears, in ${mount.name}`, () =>
    Effect.gen(function*() {
      const told = yield* Queue.unbounded<string>()
      let runs = 0
      const listener = (name: string) =>
        Middleware.make({
          name,
          response: (draft) => {
            const run = runs
            draft.onSent(({ status }) => void told.unsafeOffer(`${name} ${run} ${status}`))
          }
        })
      const app = Effect.suspend(() => ++runs === 2 ? ok : Effect.fail(new Teapot()))
      const stack = stackOf(
        listener("outer"),
        wrap("Again", (app) => Effect.orElse(app, () => Effect.zipRight(app, app))),
        listener("inner")
      )
      const send = yield* mount.mount(app as App, stack)
      yield* answered(send())
      assert.deepStrictEqual(
        [yield* answered(Queue.take(told)), yield* answered(Queue.take(told))].sort(),
        // platform's serve answers the first failure, and what comes after it is too late
        mount.handles ? ["inner 3 418", "outer 3 418"] : ["inner 1 418", "outer 1 418"]
      )
      assert.strictEqual(yield* Queue.size(told), 0)
    }).pipe(Effect.provide(mount.name.includes("Node") ? nodeServer : Layer.empty)))
}

describe("what is sent, over a socket", () => {
  const listening = Effect.gen(function*() {
    const told = yield* Queue.unbounded<ResponseDraft.Sent>()
    const listener = Middleware.make({
      name: "Listener",
      response: (draft) => draft.onSent((sent) => void told.unsafeOffer(sent))
    })
    return { told, listener }
  })

  it.scoped("HEAD has no bytes, whatever the length says", () =>
    Effect.gen(function*() {
      const { listener, told } = yield* listening
      const port = yield* listen(Stack.serve(HttpServerResponse.text("12345"), listener))
      yield* request(port, { method: "HEAD" })
      assert.deepStrictEqual(yield* Queue.take(told), { status: 200, bytes: 0, aborted: false, failed: false })
    }))

  it.scoped("a client that leaves before the response: 499, aborted", () =>
    Effect.gen(function*() {
      const { listener, told } = yield* listening
      const entered = yield* Deferred.make<void>()
      const app = Effect.zipRight(Deferred.succeed(entered, undefined), Effect.interruptible(Effect.never))
      const port = yield* listen(Stack.serve(app, listener))
      yield* Effect.raceFirst(request(port), Deferred.await(entered))
      assert.deepStrictEqual(yield* answered(Queue.take(told)), { status: 499, bytes: 0, aborted: true, failed: false })
    }))

  it.scoped("a client that leaves in the middle of a stream: what was sent, aborted", () =>
    Effect.gen(function*() {
      const { listener, told } = yield* listening
      const begun = yield* Deferred.make<void>()
      const body = Stream.make(new Uint8Array(10)).pipe(
        Stream.concat(Stream.fromEffect(Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)))
      )
      const port = yield* listen(Stack.serve(HttpServerResponse.stream(body), listener))
      yield* Effect.raceFirst(request(port), Deferred.await(begun))
      assert.deepStrictEqual(yield* answered(Queue.take(told)), {
        status: 200,
        bytes: 10,
        aborted: true,
        failed: false
      })
    }))

  it.scoped("a stream that fails is not whole", () =>
    Effect.gen(function*() {
      const { listener, told } = yield* listening
      const body = Stream.concat(Stream.make(new Uint8Array(10)), Stream.fail("broken"))
      const port = yield* listen(Stack.serve(HttpServerResponse.stream(body), listener))
      yield* Effect.exit(request(port))
      assert.deepStrictEqual(yield* answered(Queue.take(told)), { status: 200, bytes: 10, aborted: true, failed: true })
    }))

  it.scoped("an upgrade is 101, when the app has ended; one that is refused is what it was answered", () =>
    Effect.gen(function*() {
      const { listener, told } = yield* listening
      const echo = Effect.scoped(Effect.gen(function*() {
        const socket = yield* HttpServerRequest.upgrade
        yield* Effect.ignore(socket.runRaw(yield* socket.writer))
        return HttpServerResponse.empty()
      }))
      const app = Effect.flatMap(
        HttpServerRequest.HttpServerRequest,
        ({ url }): App => url === "/refused" ? Effect.fail(new Teapot()) : echo as App
      ) as HttpApp.Default
      const port = yield* listen(Stack.serve(app, listener))
      const socket = yield* Socket.makeWebSocket(`ws://127.0.0.1:${port}/`)
      const heard = yield* Deferred.make<void>()
      const running = yield* Effect.fork(socket.run(() => Deferred.succeed(heard, undefined)))
      const write = yield* socket.writer
      yield* write("hello")
      yield* answered(Deferred.await(heard))
      yield* write(new Socket.CloseEvent(1000))
      yield* answered(Effect.ignore(Fiber.join(running)))
      assert.deepStrictEqual(yield* answered(Queue.take(told)), {
        status: 101,
        bytes: 0,
        aborted: false,
        failed: false
      })

      const headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "sec-websocket-version": "13"
      }
      yield* answered(request(port, { path: "/refused", headers }))
      assert.deepStrictEqual(yield* answered(Queue.take(told)), {
        status: 418,
        bytes: 15,
        aborted: false,
        failed: false
      })
      assert.strictEqual(yield* Queue.size(told), 0)
    }).pipe(Effect.provide(NodeSocket.layerWebSocketConstructor)))

  it.scoped("a listener that throws harms neither the others nor the server", () =>
    Effect.gen(function*() {
      const { listener, told } = yield* listening
      const lines: Array<string> = []
      const logger = Logger.make(({ cause, message }) => void lines.push(`${message} ${Cause.pretty(cause)}`))
      const bad = Middleware.make({
        name: "Bad",
        response: (draft) =>
          draft.onSent(() => {
            throw new Error("listener")
          })
      })
      const port = yield* Effect.provide(listen(Stack.serve(ok, Stack.make(listener, bad))), Logger.add(logger))
      for (let i = 0; i < 2; i++) {
        assert.strictEqual((yield* request(port)).status, 200)
        assert.strictEqual((yield* answered(Queue.take(told))).status, 200)
      }
      assert.lengthOf(lines.filter((line) => /^A listener of a response failed Error: listener/.test(line)), 2)
    }))
})

describe("log", () => {
  class Line extends Data.Class<{ readonly level: string; readonly message: unknown; readonly annotations: object }> {}
  const logged = (lines: Array<Line>) =>
    Logger.replace(
      Logger.defaultLogger,
      Logger.make(({ annotations, logLevel, message }) => {
        lines.push(
          new Line({ level: logLevel.label, message, annotations: Object.fromEntries(HashMap.toEntries(annotations)) })
        )
      })
    )
  const talks = Middleware.make({
    name: "Talks",
    request: (exchange) => exchange.log(LogLevel.Info, "in", { a: 1 }),
    response: (draft, exchange) => draft.onSent(() => exchange.log(LogLevel.Warning, "done", { b: 2 }))
  })

  it.effect("has the annotations of the request, in each phase and after", () =>
    Effect.gen(function*() {
      const lines: Array<Line> = []
      const stack = Stack.make(RequestId.middleware({ generate: () => "id" }), talks)
      yield* send(stack(ok)).pipe(Effect.annotateLogs("outside", true), Effect.provide(logged(lines)))
      assert.deepStrictEqual(lines, [
        new Line({ level: "INFO", message: ["in"], annotations: { "request.id": "id", "a": 1, "outside": true } }),
        new Line({ level: "WARN", message: ["done"], annotations: { "request.id": "id", "b": 2, "outside": true } })
      ])
    }))

  it.effect("keeps to the minimum level", () =>
    Effect.gen(function*() {
      const lines: Array<Line> = []
      yield* send(talks(ok)).pipe(
        Effect.provide(Layer.merge(Logger.minimumLogLevel(LogLevel.Warning), logged(lines)))
      )
      assert.deepStrictEqual(lines.map(({ message }) => message), [["done"]])
    }))
})

describe("the route", () => {
  it.scoped("is unknown outside the router where platform's tracer is disabled", () =>
    Effect.gen(function*() {
      const seen: Array<Seen> = []
      const router = HttpRouter.empty.pipe(HttpRouter.get("/users/:id", ok))
      const served = router.pipe(watcher(seen), HttpServer.serve())
      const port = yield* listen(served as never)
      yield* request(port, { path: "/users/1" })
      const untraced = yield* listen(HttpMiddleware.withTracerDisabledWhen(served, () => true) as never)
      yield* request(untraced, { path: "/users/1" })
      assert.deepStrictEqual(seen.map(({ route }) => route), ["/users/:id", undefined])
    }))
})
