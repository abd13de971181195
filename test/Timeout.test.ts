import { HttpApiSchema, HttpApp, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Logger, Queue, Schema, Stream, TestClock } from "effect"
import {
  ExceptionHandlers,
  Forwarded,
  Middleware,
  type ResponseDraft,
  Stack,
  Timeout,
  WebSocket
} from "effect-middleware"
import type * as Net from "node:net"
import { Readable } from "node:stream"
import { answered, stackOf } from "./utils/laws.js"
import { connected, get, talk } from "./utils/sockets.js"
import { type App, listenTo, mounts, request, send, serverOf } from "./utils/TestApp.js"
import { connect, handshake } from "./utils/webSocket.js"

const ok = HttpServerResponse.text("ok")
const timeout = Timeout.middleware({ limit: "10 seconds" })

const closed = (socket: Net.Socket) =>
  answered(Effect.async<void>((resume) => {
    if (socket.destroyed) resume(Effect.void)
    else socket.once("close", () => resume(Effect.void))
  }))

/** A handler that says that it has begun, and goes on for ever. */
const hanging = Effect.gen(function*() {
  const began = yield* Deferred.make<void>()
  const ended = yield* Queue.unbounded<string>()
  const say = (what: string) => Effect.asVoid(Queue.offer(ended, what))
  const app = Effect.zipRight(Effect.addFinalizer(() => say("scope")), Deferred.succeed(began, undefined)).pipe(
    Effect.zipRight(Effect.never),
    Effect.onInterrupt(() => say("interrupted"))
  )
  return {
    app: app as unknown as HttpApp.Default,
    began: answered(Deferred.await(began)),
    next: answered(Queue.take(ended))
  }
})

/** Tells how responses have fared. */
const listening = Effect.map(Queue.unbounded<ResponseDraft.Sent>(), (told) => ({
  listener: Middleware.make({ name: "Told", response: (draft) => draft.onSent((sent) => void told.unsafeOffer(sent)) }),
  sent: answered(Queue.take(told))
}))

describe("the handler", () => {
  for (const mount of mounts) {
    it.scoped(`is interrupted at the limit and its finalizers run, in ${mount.name}`, () =>
      Effect.gen(function*() {
        const { app, began, next } = yield* hanging
        const send = yield* mount.mount(app as App, timeout)
        const reply = yield* Effect.fork(send())
        yield* began
        yield* TestClock.adjust(9_999)
        assert.isNull(reply.unsafePoll())
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* next, "interrupted")
        const { body, headers, status } = yield* answered(Fiber.join(reply))
        assert.deepStrictEqual([status, headers["content-type"]], [503, "application/problem+json"])
        assert.deepStrictEqual(JSON.parse(body), {
          title: "Service Unavailable",
          status: 503,
          detail: "The request took too long to be answered"
        })
        assert.isUndefined(headers["retry-after"])
        assert.strictEqual(yield* next, "scope")
      }).pipe(Effect.provide(serverOf(mount))))

    it.scoped(`of a body that takes longer than the limit is in time, in ${mount.name}`, () =>
      Effect.gen(function*() {
        const begun = yield* Deferred.make<void>()
        const body = Stream.concat(
          Stream.make(new TextEncoder().encode("a")),
          Stream.fromEffect(Effect.zipRight(
            Deferred.succeed(begun, undefined),
            Effect.delay(Effect.succeed(new TextEncoder().encode("b")), "1 minute")
          ))
        )
        const send = yield* mount.mount(HttpServerResponse.stream(body) as App, timeout)
        const reply = yield* Effect.fork(send())
        yield* answered(Deferred.await(begun))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* answered(Fiber.join(reply))).body, "ab")
      }).pipe(Effect.provide(serverOf(mount))))
  }

  it.scoped("is answered for with what the options say", () =>
    Effect.gen(function*() {
      const reply = yield* Effect.fork(
        send(Timeout.middleware({ limit: 5, status: 504, retryAfter: "1500 millis" })(Effect.never))
      )
      yield* TestClock.adjust(5)
      const { headers, status } = yield* answered(Fiber.join(reply))
      assert.deepStrictEqual([status, headers["retry-after"]], [504, "2"])
    }))

  it.scoped("is waited for to release what it holds, unless disconnected", () =>
    Effect.gen(function*() {
      for (const disconnect of [false, true]) {
        const [began, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const app = Effect.zipRight(Deferred.succeed(began, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Deferred.await(gate))
        )
        const port = yield* listenTo(Timeout.middleware({ limit: "10 seconds", disconnect })(app))
        const reply = yield* Effect.fork(request(port))
        yield* answered(Deferred.await(began))
        yield* TestClock.adjust("10 seconds")
        if (disconnect) assert.strictEqual((yield* answered(Fiber.join(reply))).status, 503)
        else assert.isNull(reply.unsafePoll())
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual((yield* answered(Fiber.join(reply))).status, 503)
      }
    }))

  const protectedRoute = (handler: HttpApp.Default, options: Partial<Timeout.Options> = {}) =>
    Timeout.middleware({ limit: "10 seconds", ...options })(
      HttpRouter.empty.pipe(HttpRouter.get("/", handler, { uninterruptible: true }))
    )
  /** A handler that goes on until it is let go. */
  const gated = (response: HttpServerResponse.HttpServerResponse) =>
    Effect.gen(function*() {
      const [began, gate, over] = [
        yield* Deferred.make<void>(),
        yield* Deferred.make<void>(),
        yield* Deferred.make<void>()
      ]
      const handler = Effect.zipRight(Deferred.succeed(began, undefined), Deferred.await(gate)).pipe(
        Effect.as(response),
        Effect.ensuring(Deferred.succeed(over, undefined))
      )
      return {
        handler,
        began: answered(Deferred.await(began)),
        release: Deferred.succeed(gate, undefined),
        over: answered(Deferred.await(over))
      }
    })

  it.scoped.each<[what: string, make: (handler: HttpApp.Default) => HttpApp.Default<unknown>, status: number]>([
    ["by itself runs to its end, and is refused then", (handler) => timeout(Effect.uninterruptible(handler)), 503],
    ["by its route is waited for, and what it answers is sent", protectedRoute, 200],
    [
      "by its route, in another timeout, just so",
      (handler) => Timeout.middleware({ limit: "11 seconds", name: "Outer" })(protectedRoute(handler)),
      200
    ]
  ])("that is uninterruptible %s", ([, make, status]) =>
    Effect.gen(function*() {
      const { began, handler, over, release } = yield* gated(ok)
      const port = yield* listenTo(make(handler))
      const reply = yield* Effect.fork(request(port))
      yield* began
      yield* TestClock.adjust("1 minute")
      assert.isNull(reply.unsafePoll())
      yield* release
      yield* over
      assert.strictEqual((yield* answered(Fiber.join(reply))).status, status)
    }))

  it.scoped("that is uninterruptible goes on behind the answer, if disconnected", () =>
    Effect.gen(function*() {
      const { began, handler, over, release } = yield* gated(ok)
      const app = Timeout.middleware({ limit: "10 seconds", disconnect: true })(Effect.uninterruptible(handler))
      const reply = yield* Effect.fork(Effect.flatMap(listenTo(app), request))
      yield* began
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* answered(Fiber.join(reply))).status, 503)
      yield* release
      yield* over
    }))

  it.scoped("of which an answer comes after a disconnect leaves no file open", () =>
    Effect.gen(function*() {
      const discarded = yield* Deferred.make<void>()
      const file = new Readable({
        read() {},
        destroy: (_, done) => {
          Deferred.unsafeDone(discarded, Effect.void)
          done(null)
        }
      })
      const { began, handler, release } = yield* gated(HttpServerResponse.raw(file))
      const port = yield* listenTo(protectedRoute(handler, { disconnect: true }))
      const reply = yield* Effect.fork(request(port))
      yield* began
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* answered(Fiber.join(reply))).status, 503)
      yield* release
      yield* answered(Deferred.await(discarded))
    }))

  it.scoped("is interrupted with its client", () =>
    Effect.gen(function*() {
      const { app, began, next } = yield* hanging
      const { listener, sent } = yield* listening
      const port = yield* listenTo(Stack.make(listener, timeout)(app))
      yield* Effect.raceFirst(request(port), began)
      assert.strictEqual(yield* next, "interrupted")
      assert.deepStrictEqual((yield* sent).status, 499)
    }))

  describe.each<[framing: string, head: string]>([
    ["a length", "Content-Length: 1000\r\n\r\nabc"],
    ["chunks", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"]
  ])("whose client sends a body with %s too slowly", (_, head) => {
    type Read = (request: HttpServerRequest.HttpServerRequest) => Effect.Effect<unknown, unknown>
    it.scoped.each<[how: string, read: Read]>([
      ["text", ({ text }) => text],
      ["arrayBuffer", ({ arrayBuffer }) => arrayBuffer],
      ["stream", ({ stream }) => Stream.runDrain(stream)],
      ["multipartStream", ({ multipartStream }) => Stream.runDrain(multipartStream)],
      ["nothing", () => Effect.never]
    ])("has its answer, and its connection ends: read as %s", ([, read]) =>
      Effect.gen(function*() {
        const began = yield* Deferred.make<void>()
        const app = Effect.flatMap(
          HttpServerRequest.HttpServerRequest,
          (request) => Effect.zipRight(Deferred.succeed(began, undefined), Effect.as(read(request), ok))
        )
        const port = yield* listenTo(timeout(app))
        const type = "Content-Type: multipart/form-data; boundary=b"
        const got = yield* Effect.fork(
          talk(port, (socket) => socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${type}\r\n${head}`))
        )
        yield* answered(Deferred.await(began))
        yield* TestClock.adjust("10 seconds")
        const { error, text } = yield* Fiber.join(got)
        assert.isUndefined(error)
        assert.match(text, /^HTTP\/1\.1 503 [^]*\r\nConnection: close\r\n/)
      }))
  })

  it.scoped("whose client leaves in the midst of a body hears of it, though it may not be interrupted", () =>
    Effect.gen(function*() {
      const [began, failed] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const app = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ text }) =>
        Effect.zipRight(
          Deferred.succeed(began, undefined),
          Effect.as(Effect.catchAll(text, () => Deferred.succeed(failed, undefined)), ok)
        ))
      const port = yield* listenTo(
        Timeout.middleware({ limit: "10 seconds" })(
          HttpRouter.empty.pipe(HttpRouter.post("/", app, { uninterruptible: true }))
        )
      )
      const socket = yield* connected(port)
      socket.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc")
      yield* answered(Deferred.await(began))
      yield* TestClock.adjust("10 seconds")
      socket.destroy()
      yield* answered(Deferred.await(failed))
    }))

  it.scoped.each<[what: string, waiting: Effect.Effect<unknown, unknown>]>([
    ["a timeout", Effect.timeout(Effect.never, "1 hour")],
    ["a race", Effect.race(Effect.never, Effect.never)],
    ["several at once", Effect.all([Effect.never, Effect.never], { concurrency: "unbounded" })],
    ["a fiber", Effect.flatMap(Effect.fork(Effect.never), Fiber.join)],
    ["a stream", Stream.runDrain(Stream.merge(Stream.never, Stream.buffer(Stream.never, { capacity: 1 })))]
  ])(
    "is interrupted while it waits for %s of its own, by the limit and by its client",
    ([, waiting]) =>
      Effect.gen(function*() {
        const [began, ended] = [yield* Queue.unbounded<void>(), yield* Queue.unbounded<void>()]
        const app = Effect.zipRight(began.offer(undefined), waiting).pipe(
          Effect.onInterrupt(() => ended.offer(undefined)),
          Effect.as(ok)
        )
        const port = yield* listenTo(timeout(app))
        const reply = yield* Effect.fork(request(port))
        yield* answered(began.take)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual((yield* answered(Fiber.join(reply))).status, 503)
        yield* answered(ended.take)
        const leaves = yield* Effect.fork(request(port))
        yield* answered(began.take)
        yield* Fiber.interrupt(leaves)
        yield* answered(ended.take)
      })
  )

  it.scoped("may leave a fiber behind that feeds its stream", () =>
    Effect.gen(function*() {
      const app = Effect.gen(function*() {
        const queue = yield* Queue.unbounded<Uint8Array>()
        yield* Effect.fork(
          Effect.zipRight(Effect.sleep(1), Effect.zipRight(queue.offer(new Uint8Array(3)), queue.shutdown))
        )
        return HttpServerResponse.stream(Stream.take(Stream.fromQueue(queue), 1))
      })
      const reply = yield* Effect.fork(Effect.flatMap(listenTo(timeout(app)), request))
      yield* answered(Effect.repeat(TestClock.adjust(1), { until: () => reply.unsafePoll() !== null }))
      assert.strictEqual((yield* Fiber.join(reply)).body.length, 3)
    }))

  it.scoped("keeps what it has set for its fiber", () =>
    Effect.gen(function*() {
      const added = (response: HttpServerResponse.HttpServerResponse) =>
        HttpServerResponse.setHeader(response, "x-added", "1")
      const app = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) =>
        Effect.zipRight(
          HttpApp.appendPreResponseHandler((_, response) => Effect.succeed(added(response))),
          url === "/" ? ok : Effect.fail("no")
        ))
      const port = yield* listenTo(timeout(app))
      for (const path of ["/", "/fails"]) {
        assert.strictEqual((yield* request(port, { path })).headers["x-added"], "1")
      }
    }))

  it.effect("refusals are failures to handle, seen by name", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const stack = Stack.make(
        Middleware.make({ name: "Seen", response: (draft, { refusal }) => void seen.push(draft.status, refusal?.by) }),
        ExceptionHandlers.byTag({
          TimedOut: (error: Timeout.TimedOut) => HttpServerResponse.text(error.message, { status: 504 })
        }),
        timeout,
        Middleware.make({ name: "Inner", response: (draft) => draft.set("x-inner", "1") })
      )
      const reply = yield* Effect.fork(send(stack(Effect.never)))
      yield* TestClock.adjust("10 seconds")
      const { body, headers } = yield* answered(Fiber.join(reply))
      assert.deepStrictEqual([body, headers["x-inner"]], ["The handler has not answered in time", "1"])
      assert.deepStrictEqual(seen, [504, "Timeout"])
    }))

  it.scoped("requests that overlap have a limit each", () =>
    Effect.gen(function*() {
      const port = yield* listenTo(
        timeout(Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
          Effect.as(Effect.sleep(Number(headers["x-takes"])), ok)))
      )
      const ask = (takes: number) =>
        Effect.fork(request(port, { headers: { "x-takes": String(takes) } }))
      const replies = yield* Effect.forEach([20_000, 9_000, 30_000, 1], ask)
      const isOver = () => replies.every((reply) => reply.unsafePoll() !== null)
      yield* answered(Effect.repeat(TestClock.adjust("1 second"), { until: isOver }))
      const statuses = yield* Effect.forEach(replies, (reply) => Effect.map(Fiber.join(reply), ({ status }) => status))
      assert.deepStrictEqual(statuses, [503, 200, 503, 200])
    }))
})

describe("of a route", () => {
  const sleeps = (millis: number) => Effect.as(Effect.sleep(millis), ok)
  const app = HttpRouter.empty.pipe(
    HttpRouter.get("/", sleeps(20_000)),
    HttpRouter.get("/long", Timeout.extend("1 minute")(sleeps(20_000))),
    HttpRouter.get("/longer", Timeout.extend(Infinity)(sleeps(1e9))),
    HttpRouter.get("/late", Effect.zipRight(Effect.sleep(9_000), Timeout.extend("15 seconds")(sleeps(10_000)))),
    HttpRouter.get("/not-shorter", Timeout.extend("1 second")(sleeps(9_000))),
    HttpRouter.get("/short", Timeout.middleware({ limit: "1 second", status: 504, name: "Inner" })(sleeps(5_000))),
    HttpRouter.get(
      "/both",
      Timeout.extend("1 minute")(Timeout.middleware({ limit: "1 second", status: 504 })(sleeps(5_000)))
    ),
    Middleware.exceptRoutes(["/long-by-exception"], timeout)
  )
  it.scoped.each<[path: string, after: number, status: number]>([
    ["/", 10_000, 503],
    ["/long", 20_000, 200],
    ["/longer", 1e9, 200],
    ["/late", 15_000, 503],
    ["/not-shorter", 9_000, 200],
    ["/short", 1_000, 504],
    ["/both", 1_000, 504]
  ])("%s ends after %i with %i", ([path, after, status]) =>
    Effect.gen(function*() {
      const entered = yield* Deferred.make<void>()
      const enter = Middleware.before("Enter", () => Effect.asVoid(Deferred.succeed(entered, undefined)))
      const port = yield* listenTo(enter(app))
      const reply = yield* Effect.fork(request(port, { path }))
      yield* answered(Deferred.await(entered))
      yield* TestClock.adjust(after - 1)
      assert.isNull(reply.unsafePoll())
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* answered(Fiber.join(reply))).status, status)
    }))
})

describe("a body", () => {
  const chunk = new Uint8Array(10)
  /** Gives a chunk each time that it is told to. */
  const fed = Effect.gen(function*() {
    const queue = yield* Queue.unbounded<Uint8Array>()
    const pulled = yield* Queue.unbounded<void>()
    const finalized = yield* Deferred.make<void>()
    const stream = Stream.repeatEffect(Effect.zipRight(pulled.offer(undefined), queue.take)).pipe(
      Stream.ensuring(Deferred.succeed(finalized, undefined))
    )
    return {
      stream,
      give: queue.offer(chunk),
      pulled: answered(Queue.take(pulled)),
      finalized: answered(Deferred.await(finalized))
    }
  })
  const causes: Array<Cause.Cause<unknown>> = []
  const logged = Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ cause }) => void causes.push(cause))
  )

  for (
    const [kind, body, gives] of [["idle", { idle: "10 seconds" }, 3], ["total", { total: "25 seconds" }, 2]] as const
  ) {
    it.scoped(`whose producer is too slow is cut, for ${kind}`, () =>
      Effect.gen(function*() {
        causes.length = 0
        const { listener, sent } = yield* listening
        const { finalized, give, pulled, stream } = yield* fed
        const port = yield* listenTo(
          Stack.make(listener, Timeout.middleware({ limit: "1 second", body }))(HttpServerResponse.stream(stream))
        )
        const socket = yield* connected(port)
        let received = ""
        socket.on("data", (data) => received += data)
        get(socket)
        for (let i = 0; i < gives; i++) {
          yield* pulled
          yield* TestClock.adjust(9_999)
          yield* give
        }
        yield* pulled
        assert.isFalse(socket.destroyed)
        yield* TestClock.adjust("10 seconds")
        yield* finalized
        yield* closed(socket)
        assert.notInclude(received, "\r\n0\r\n\r\n")
        const { aborted, bytes, failed } = yield* sent
        assert.deepStrictEqual({ aborted, failed, bytes }, { aborted: true, failed: true, bytes: gives * 10 })
        const [defect] = causes.flatMap((cause) => [...Cause.defects(cause), ...Cause.failures(cause)])
        assert.instanceOf(defect, Timeout.TimedOut)
        assert.strictEqual((defect as Timeout.TimedOut).reason, kind)
      }).pipe(Effect.provide(logged)))
  }

  it.scoped("ends as it would, in time", () =>
    Effect.gen(function*() {
      const stream = Stream.take(Stream.repeatEffect(Effect.delay(Effect.succeed(chunk), "9 seconds")), 3)
      const middleware = Timeout.middleware({ limit: "1 second", body: { idle: "10 seconds", total: "30 seconds" } })
      const response = HttpServerResponse.stream(stream, { contentType: "text/x-a", contentLength: 30 })
      const inner = Middleware.make({ name: "Inner", response: (draft) => draft.set("content-type", "text/x-b") })
      const reply = yield* Effect.fork(Effect.flatMap(listenTo(Stack.make(middleware, inner)(response)), request))
      yield* answered(Effect.repeat(TestClock.adjust("1 second"), { until: () => reply.unsafePoll() !== null }))
      const { body, headers } = yield* Fiber.join(reply)
      assert.deepStrictEqual([body.length, headers["content-type"], headers["content-length"]], [30, "text/x-b", "30"])
    }))

  it.scoped("of events may take for ever", () =>
    Effect.gen(function*() {
      const { give, pulled, stream } = yield* fed
      const middleware = Timeout.middleware({ limit: "1 second", body: { idle: "1 second", total: "1 second" } })
      const port = yield* listenTo(
        middleware(
          HttpServerResponse.stream(Stream.take(stream, 2), { contentType: "text/event-stream;charset=utf-8" })
        )
      )
      const reply = yield* Effect.fork(request(port))
      for (let i = 0; i < 2; i++) {
        yield* pulled
        yield* TestClock.adjust("1 day")
        yield* give
      }
      assert.strictEqual((yield* answered(Fiber.join(reply))).body.length, 20)
    }))

  const large = new Uint8Array(50_000_000)
  it.scoped.each<[what: string, response: () => HttpServerResponse.HttpServerResponse]>([
    ["stream", () => HttpServerResponse.stream(Stream.repeatValue(new Uint8Array(1_000_000)))],
    ["file", () =>
      HttpServerResponse.raw(Readable.from((function*() {
        while (true) yield Buffer.alloc(1_000_000)
      })()))],
    ["value", () => HttpServerResponse.uint8Array(large)]
  ])(
    "that the client does not read is cut after the total, not for being idle: a %s",
    ([, response]) =>
      Effect.gen(function*() {
        const { listener, sent } = yield* listening
        const middleware = Timeout.middleware({ limit: "1 second", body: { idle: "1 second", total: "1 minute" } })
        const port = yield* listenTo(Stack.make(listener, middleware)(Effect.sync(response)))
        const socket = yield* connected(port)
        yield* answered(Effect.async<void>((resume) => {
          socket.once("readable", () => resume(Effect.void))
          get(socket)
        }))
        // until the system has taken what it takes
        yield* Effect.promise(async () => {
          for (let turn = 0; turn < 200; turn++) await new Promise((resume) => setImmediate(resume))
        })
        yield* TestClock.adjust("59 seconds")
        assert.isFalse(socket.destroyed)
        yield* TestClock.adjust("1 second")
        assert.isTrue((yield* sent).aborted)
        socket.resume()
        yield* closed(socket)
      })
  )

  it.scoped("that nobody asked for has no timer: HEAD, an empty one; and one that is sent needs none", () =>
    Effect.gen(function*() {
      const middleware = Timeout.middleware({ limit: "1 second", body: { total: "1 minute" } })
      const apps = [HttpServerResponse.stream(Stream.make(chunk)), HttpServerResponse.empty(), ok]
      for (const app of apps) {
        const port = yield* listenTo(middleware(app))
        for (const method of ["GET", "HEAD"]) yield* request(port, { method })
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(yield* TestClock.sleeps(), yield* TestClock.sleeps())
        assert.isTrue((yield* request(port)).status < 300)
      }
    }))

  it.effect("is limited where there is no limit for the handler, and through a web handler", () =>
    Effect.gen(function*() {
      const middleware = Timeout.middleware({ limit: Infinity, body: { idle: "10 seconds" } })
      const reply = yield* Effect.fork(
        Effect.exit(send(middleware(HttpServerResponse.stream(Stream.concat(Stream.make(chunk), Stream.never)))))
      )
      yield* answered(Effect.repeat(TestClock.adjust("1 second"), { until: () => reply.unsafePoll() !== null }))
      assert.isTrue(Exit.isFailure(yield* Fiber.join(reply)))
    }))
})

describe("a WebSocket", () => {
  const stack = (limit: "10 seconds", inside: ReadonlyArray<Middleware.Any> = []) =>
    stackOf(
      Forwarded.middleware({ trust: "none" }),
      Timeout.middleware({ limit, body: { idle: "1 second", total: "1 second" } }),
      WebSocket.middleware(),
      ...inside
    ) as Middleware.Middleware<WebSocket.Handshake>
  const echo = WebSocket.handle((socket) => Stream.runForEach(socket.messages, socket.send))

  it.scoped("outlives the limit", () =>
    Effect.gen(function*() {
      const port = yield* listenTo(stack("10 seconds")(echo))
      const client = yield* Effect.orDie(connect(port))
      yield* TestClock.adjust("1 hour")
      client.send("still there?")
      assert.strictEqual(yield* answered(client.next), "still there?")
      client.close(1000)
      yield* answered(client.closed)
    }))

  it.scoped("that is not opened in time is refused", () =>
    Effect.gen(function*() {
      const { app, began, next } = yield* hanging
      const port = yield* listenTo(stack("10 seconds")(app))
      const reply = yield* Effect.fork(request(port, { headers: handshake }))
      yield* began
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* answered(Fiber.join(reply))).status, 503)
      assert.strictEqual(yield* next, "interrupted")
    }))
})

describe("mistakes", () => {
  it.each<[options: Timeout.Options, message: RegExp]>([
    [{ limit: 0 }, /limit is 0: write a time above 0/],
    [{ limit: -1 }, /limit is -1/],
    [{ limit: Number.NaN }, /limit is NaN/],
    [{ limit: "soon" as never }, /limit is soon/],
    [{ limit: Infinity }, /limit is infinite/],
    [{ limit: Infinity, body: {} }, /limit is infinite/],
    [{ limit: 1, body: { idle: 0 } }, /body\.idle is 0/],
    [{ limit: 1, body: { total: "-1 seconds" as never } }, /body\.total is/],
    [{ limit: 1, retryAfter: Infinity }, /retryAfter is Infinity/],
    [{ limit: 1, status: 408 as never }, /status is 408: write 503 or 504/]
  ])("throws on %j", (options, message) => {
    assert.throws(() => Timeout.middleware(options), TypeError, message)
  })

  it("throws on an extension that is none", () => {
    assert.throws(() => Timeout.extend(0), TypeError, /extend is 0/)
  })
})

it("a refusal has a schema and names", () => {
  const error = new Timeout.TimedOut({ reason: "limit", status: 504, retryAfter: 3 })
  assert.deepStrictEqual(Schema.encodeSync(Timeout.TimedOut)(error), {
    _tag: "TimedOut",
    reason: "limit",
    status: 504,
    retryAfter: 3
  })
  assert.strictEqual(HttpApiSchema.getStatusError(Timeout.TimedOut), 503)
  assert.deepStrictEqual([timeout.name, Timeout.extend(1).name], ["Timeout", "TimeoutExtended"])
})
