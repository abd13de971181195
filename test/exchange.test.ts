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
import { NodeHttpServerRequest, NodeSocket } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Data, Deferred, Effect, Fiber, HashMap, Layer, Logger, LogLevel, Queue, Stream } from "effect"
import { ExceptionHandlers, Middleware, RequestId, type ResponseDraft, Stack } from "effect-middleware"
import * as Net from "node:net"
import { Readable } from "node:stream"
import { answered, stackOf, Teapot, wrap } from "./utils/laws.js"
import { type App, listen, mounts, request, send, serverOf, unknownRoute } from "./utils/TestApp.js"

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
    const provided = Effect.provide(serverOf(mount))

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
    }).pipe(Effect.provide(serverOf(mount))))
}

for (const mount of mounts) {
  it.scoped(`a wrapper that fails around another loses nobody further in, in ${mount.name}`, () =>
    Effect.gen(function*() {
      const told = yield* Queue.unbounded<number>()
      const listener = Middleware.make({
        name: "Listener",
        response: (draft) => draft.onSent(({ status }) => void told.unsafeOffer(status))
      })
      const fails = (name: string) => wrap(name, (app) => Effect.zipRight(app, Effect.fail(new Teapot())))
      const recovers = wrap("Recovers", (app) => Effect.catchAll(app, () => ok))
      const stacks = [[recovers, fails("A"), listener], [fails("A"), fails("B"), listener]]
      for (const members of stacks) {
        yield* Effect.scoped(Effect.flatMap(mount.mount(ok as App, stackOf(...members)), (send) => answered(send())))
        yield* answered(Queue.take(told))
      }
      assert.strictEqual(yield* Queue.size(told), 0)
    }).pipe(Effect.provide(serverOf(mount))))
}

const connected = (port: number) =>
  Effect.acquireRelease(
    Effect.async<Net.Socket>((resume) => {
      const socket = Net.connect({ port, host: "127.0.0.1" }, () => resume(Effect.succeed(socket)))
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

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

  it.scoped("a stream that is shorter than it said is not whole", () =>
    Effect.gen(function*() {
      const { listener, told } = yield* listening
      const body = HttpServerResponse.stream(Stream.make(new Uint8Array(3)), { contentLength: 10 })
      const port = yield* listen(Stack.serve(body, listener))
      yield* Effect.fork(Effect.exit(request(port)))
      assert.deepStrictEqual(yield* answered(Queue.take(told)), { status: 200, bytes: 3, aborted: true, failed: true })
    }))

  it.scoped("nor is a Readable that fails, nor one that the client does not wait for", () =>
    Effect.gen(function*() {
      const { listener, told } = yield* listening
      const begun = yield* Deferred.make<void>()
      const app = Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) =>
        HttpServerResponse.raw(Readable.from((async function*() {
          yield "abc"
          if (url === "/fails") {
            throw new Error("broken")
          }
          Deferred.unsafeDone(begun, Effect.void)
          yield await new Promise<string>(() => {})
        })())))
      const port = yield* listen(Stack.serve(app, listener))
      yield* Effect.fork(Effect.exit(request(port, { path: "/fails" })))
      const cut = { status: 200, bytes: undefined, aborted: true }
      assert.deepStrictEqual(yield* answered(Queue.take(told)), { ...cut, failed: true })
      yield* Effect.raceFirst(request(port), Deferred.await(begun))
      assert.deepStrictEqual(yield* answered(Queue.take(told)), { ...cut, failed: false })
    }))

  it.scoped("a body that the client has not read when it leaves is lost, whatever Node says", () =>
    Effect.gen(function*() {
      const { listener, told } = yield* listening
      const port = yield* listen(Stack.serve(HttpServerResponse.uint8Array(new Uint8Array(50_000_000)), listener))
      const socket = yield* connected(port)
      const head = yield* Effect.async<void>((resume) => {
        socket.once("readable", () => resume(Effect.void))
        socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
      })
      assert.isUndefined(head)
      socket.destroy()
      assert.deepStrictEqual(
        yield* answered(Queue.take(told)),
        { status: 200, bytes: undefined, aborted: true, failed: false }
      )
    }))

  it.scoped("requests that wait behind another on their connection are told of its end", () =>
    Effect.gen(function*() {
      const { listener, told } = yield* listening
      const gate = yield* Deferred.make<void>()
      const done = yield* Deferred.make<void>()
      let answers = 0
      const app = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) => {
        if (url === "/first") return Effect.as(Deferred.await(gate), ok)
        return ++answers === 20 ? Effect.as(Deferred.succeed(done, undefined), ok) : Effect.succeed(ok)
      })
      const warnings: Array<string> = []
      const warned = ({ name }: Error) => void warnings.push(name)
      process.on("warning", warned)
      yield* Effect.addFinalizer(() => Effect.sync(() => process.off("warning", warned)))
      const port = yield* listen(Stack.serve(app, listener))
      const socket = yield* connected(port)
      const ask = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`
      socket.write(ask("/first") + ask("/next").repeat(20))
      yield* answered(Deferred.await(done))
      assert.strictEqual(yield* Queue.size(told), 0)
      socket.destroy()
      for (let i = 0; i < 20; i++) {
        const { aborted, status } = yield* answered(Queue.take(told))
        assert.deepStrictEqual([status, aborted], [200, true])
      }
      yield* Deferred.succeed(gate, undefined)
      assert.isTrue((yield* answered(Queue.take(told))).aborted)
      assert.deepStrictEqual(warnings, [])
    }))

  it.scoped("an upgrade that is refused is done when the answer has gone, whether or not the client lets go", () =>
    Effect.gen(function*() {
      const { listener, told } = yield* listening
      const port = yield* listen(Stack.serve(Effect.fail(new Teapot()), listener))
      const socket = yield* connected(port)
      socket.write(
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
      )
      assert.deepStrictEqual(
        yield* answered(Queue.take(told)),
        { status: 418, bytes: 15, aborted: false, failed: false }
      )
      assert.isFalse(socket.destroyed)
    }))

  it.scoped("a handler that answers on Node's response is believed", () =>
    Effect.gen(function*() {
      const { listener, told } = yield* listening
      const app = Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
        NodeHttpServerRequest.toServerResponse(request).writeHead(201).end("by hand")
        return HttpServerResponse.empty()
      })
      const port = yield* listen(Stack.serve(app, listener))
      assert.strictEqual((yield* request(port)).body, "by hand")
      assert.deepStrictEqual(
        yield* answered(Queue.take(told)),
        { status: 201, bytes: undefined, aborted: false, failed: false }
      )
    }))

  it.scoped("what cannot be sent is a 500, with the edits, and the log says why", () =>
    Effect.gen(function*() {
      const { listener, told } = yield* listening
      const edit = Middleware.make({ name: "Edit", response: (draft) => draft.set("x-edit", "1") })
      const bad: ReadonlyArray<HttpServerResponse.HttpServerResponse> = [
        HttpServerResponse.text("no", { headers: { "x-a": "\u20ac" } }),
        HttpServerResponse.text("no", { headers: { "x-a": "a\r\nb: c" } }),
        HttpServerResponse.text("no", { headers: { "a b": "c" } }),
        HttpServerResponse.text("no", { status: 99 }),
        HttpServerResponse.text("no", { status: 1000 })
      ]
      const lines: Array<string> = []
      const logger = Logger.make(({ cause }) => void lines.push(Cause.pretty(cause)))
      for (const response of bad) {
        yield* Effect.scoped(Effect.gen(function*() {
          const port = yield* Effect.provide(
            listen(Stack.serve(Effect.succeed(response), Stack.make(edit, listener))),
            Logger.add(logger)
          )
          const { headers, status } = yield* request(port)
          assert.deepStrictEqual([status, headers["x-edit"]], [500, "1"])
          assert.deepStrictEqual(yield* answered(Queue.take(told)), {
            status: 500,
            bytes: 0,
            aborted: false,
            failed: false
          })
        }))
      }
      assert.lengthOf(lines.filter((line) => /cannot be sent/.test(line)), bad.length)
    }))

  it.scoped("a logger that throws does not end the process", () =>
    Effect.gen(function*() {
      const bad = Middleware.make({
        name: "Bad",
        response: (draft) =>
          draft.onSent(() => {
            throw new Error("listener")
          })
      })
      const logger = Logger.make(() => {
        throw new Error("logger")
      })
      const port = yield* Effect.provide(
        listen(Stack.serve(ok, bad)),
        Logger.replace(Logger.defaultLogger, logger)
      )
      for (let i = 0; i < 2; i++) assert.strictEqual((yield* request(port)).status, 200)
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
