import {
  HttpApp,
  HttpClient,
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerError,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Config,
  ConfigProvider,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Queue,
  Scope,
  Stream,
  Supervisor,
  TestClock,
  Tracer
} from "effect"
import {
  AccessLog,
  BodyLimit,
  Cors,
  ExceptionHandlers,
  Forwarded,
  HttpException,
  Middleware,
  RateLimit,
  RateLimitStore,
  ServerErrors,
  Stack
} from "effect-middleware"
import * as NodeServer from "effect-middleware/NodeServer"
import * as Fs from "node:fs"
import * as Http from "node:http"
import * as Http2 from "node:http2"
import * as Https from "node:https"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { selfSigned } from "./utils/certificate.js"
import { answered, Teapot, wrap } from "./utils/laws.js"
import { connected, get, talk } from "./utils/sockets.js"
import { listen, ownServer, request } from "./utils/TestApp.js"
import { connect } from "./utils/webSocket.js"

const { text } = HttpServerResponse
const ok = text("ok")

type Served = Layer.Layer<never, never, HttpServer.HttpServer>
const on = (served: Served) => listen(served as Parameters<typeof listen>[0], ownServer)
const serve = <E, R>(app: HttpApp.Default<E, R>) => on(HttpServer.serve(app) as Served)

/** A server of one's own, and its port. */
const server = (options: NodeServer.Options = {}, evaluate: () => NodeServer.Server = () => Http.createServer()) =>
  Effect.map(
    NodeServer.make(evaluate, { port: 0, host: "127.0.0.1", ...options }),
    (server) => [server, server.address._tag === "TcpAddress" ? server.address.port : 0] as const
  )

describe("a middleware given to serve", () => {
  it.scoped("is the onion it looks like", () =>
    Effect.gen(function*() {
      const edits = HttpMiddleware.make((app) => Effect.map(app, HttpServerResponse.setHeader("x-edited", "yes")))
      const handles = HttpMiddleware.make((app) => Effect.catchAll(app, () => text("handled", { status: 409 })))
      const port = yield* on(
        HttpServer.serve(Effect.fail(new Teapot()), (app) => edits(handles(app))) as Served
      )
      const { body, headers, status } = yield* answered(request(port))
      assert.deepStrictEqual([status, body, headers["x-edited"]], [409, "handled", "yes"])
    }))
})

/** Counts the fibers that the server starts. */
class Started extends Supervisor.AbstractSupervisor<number> {
  count = 0
  override readonly value = Effect.sync(() => this.count)
  override onStart() {
    this.count++
  }
}

describe("what plain phases decide", () => {
  const refuses = Middleware.make({
    name: "Refuses",
    request: ({ request }) => request.url === "/no" ? Middleware.Refuse(HttpException.notFound()) : undefined
  })
  const stack = Stack.make(
    ServerErrors.middleware(),
    Forwarded.middleware({ trust: "none" }),
    AccessLog.middleware(),
    Cors.middleware({ origins: ["https://a.example"] }),
    RateLimit.middleware({ limits: RateLimit.fixedWindow({ limit: 3, window: "1 hour" }), key: RateLimit.client() }),
    ExceptionHandlers.standard(),
    refuses
  )
  const preflight = {
    method: "OPTIONS",
    headers: { origin: "https://a.example", "access-control-request-method": "PUT" }
  }

  it.scoped("has no fiber: preflights, refusals, limits that are used up", () =>
    Effect.gen(function*() {
      const started = new Started()
      const entered: Array<string> = []
      const app = Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => {
        entered.push(url)
        return ok
      })
      const port = yield* on(
        Stack.serve(app, stack).pipe(
          Layer.provide(RateLimitStore.layerMemory()),
          Layer.provide(Supervisor.addSupervisor(started))
        ) as Served
      )
      const answers: Array<readonly [status: number, fibers: number]> = []
      for (const init of [{}, preflight, { path: "/no" }, {}, {}, {}]) {
        const before = started.count
        // in a fiber of another runtime, whose own the supervisor does not see
        const { status } = yield* Effect.promise(() => Effect.runPromise(answered(request(port, init))))
        answers.push([status, started.count - before])
      }
      assert.deepStrictEqual(answers, [[200, 1], [204, 0], [404, 0], [200, 1], [429, 0], [429, 0]])
      assert.deepStrictEqual(entered, ["/", "/"])
    }))

  it.scoped("is edited by the phases around it, and told to the log, as with a fiber", () =>
    Effect.gen(function*() {
      const told = yield* Queue.unbounded<readonly [string, number]>()
      const outer = Middleware.make({
        name: "Outer",
        response: (draft, { refusal }) => {
          draft.set("x-outer", `${draft.get("x-inner")} ${refusal?.by}`)
          draft.onSent(({ status }) => void told.unsafeOffer([refusal?.by ?? "", status]))
        }
      })
      const inner = Middleware.make({ name: "Inner", response: (draft) => draft.set("x-inner", "in") })
      const reply = (wrapped: Middleware.Middleware) =>
        Effect.flatMap(
          on(Stack.serve(ok, Stack.make(outer, wrapped, inner, refuses)) as Served),
          (port) => answered(request(port, { path: "/no" }))
        )
      const fast = yield* reply(ServerErrors.middleware() as unknown as Middleware.Middleware)
      const slow = yield* reply(wrap("Wraps", (app) => app) as unknown as Middleware.Middleware)
      assert.deepStrictEqual({ ...fast, headers: { ...fast.headers, date: "" } }, {
        ...slow,
        headers: { ...slow.headers, date: "" }
      })
      assert.strictEqual(fast.headers["x-outer"], "in Refuses")
      assert.deepStrictEqual([...yield* answered(Queue.takeN(told, 2))], [["Refuses", 404], ["Refuses", 404]])
    }))

  it.scoped("runs once, whatever comes after", () =>
    Effect.gen(function*() {
      const runs: Array<string> = []
      const counts = (name: string) =>
        Middleware.make({
          name,
          request: () => void runs.push(`${name} in`),
          response: () => void runs.push(`${name} out`)
        })
      const effect = Middleware.make({ name: "Effect", requestEffect: () => Effect.yieldNow() })
      const renders = Middleware.make({
        name: "Renders",
        request: ({ request }) =>
          request.url === "/slow" ? Middleware.Refuse({ _tag: "Slow", toString: () => "slow" }) : undefined
      })
      const slowly = ExceptionHandlers.byTag({ Slow: (_: { readonly _tag: "Slow" }) => Effect.delay(ok, 0) })
      const port = yield* on(
        Stack.serve(
          ok,
          Stack.make(
            ServerErrors.middleware(),
            counts("a"),
            slowly,
            counts("b"),
            renders,
            effect,
            counts("c"),
            wrap("Wraps", (app) => app) as unknown as Middleware.Middleware,
            counts("d")
          )
        ) as Served
      )
      yield* answered(request(port))
      assert.deepStrictEqual(runs.splice(0), ["a in", "b in", "c in", "d in", "d out", "c out", "b out", "a out"])
      yield* answered(request(port, { path: "/slow" }))
      assert.deepStrictEqual(runs, ["a in", "b in", "b out", "a out"])
    }))

  it.scoped("that throws is a 500", () =>
    Effect.gen(function*() {
      const throws = Middleware.make({
        name: "Throws",
        request: () => {
          throw new Error("boom")
        }
      })
      const port = yield* on(Stack.serve(ok, throws) as Served)
      assert.strictEqual((yield* answered(request(port))).status, 500)
    }))
})

describe("a request", () => {
  it.scoped("that its client leaves is interrupted, and logged as 499", () =>
    Effect.gen(function*() {
      const [began, interrupted] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const statuses = yield* Queue.unbounded<number>()
      const slow = Deferred.succeed(began, undefined).pipe(
        Effect.zipRight(Effect.never),
        Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined)),
        Effect.interruptible
      )
      const log = Middleware.make({
        name: "Log",
        response: (draft) => draft.onSent(({ status }) => void statuses.unsafeOffer(status))
      })
      const port = yield* on(Stack.serve(slow, log) as Served)
      const socket = yield* connected(port)
      get(socket)
      yield* answered(Deferred.await(began))
      socket.destroy()
      yield* answered(Deferred.await(interrupted))
      assert.strictEqual(yield* answered(Queue.take(statuses)), 499)
    }))

  it.scoped("whose stream fails is cut off, so that its client can tell", () =>
    Effect.gen(function*() {
      const broken = HttpServerResponse.stream(Stream.concat(Stream.make(new Uint8Array([65])), Stream.die("broken")))
      const port = yield* serve(Effect.succeed(broken))
      const { text } = yield* talk(port, get)
      assert.match(text, /^HTTP\/1.1 200 OK[^]*\r\n1\r\nA\r\n$/)
    }))

  it.scoped("may be answered by a web stream", () =>
    Effect.gen(function*() {
      const stream = () => new Response("from the web").body
      const port = yield* serve(Effect.sync(() => HttpServerResponse.raw(stream())))
      assert.strictEqual((yield* answered(request(port))).body, "from the web")
    }))

  it.scoped("is sent piece by piece as fast as its client reads", () =>
    Effect.gen(function*() {
      let made = 0
      const endless = Stream.repeatEffect(Effect.sync(() => {
        made++
        return new Uint8Array(65_536)
      }))
      const port = yield* serve(HttpServerResponse.stream(endless))
      const socket = yield* connected(port)
      socket.pause()
      get(socket)
      // the kernel's buffers take some, and then nothing more is made
      const still = Effect.gen(function*() {
        const before = made
        yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 100)))
        return made > 0 && made === before
      })
      yield* answered(Effect.repeat(still, { until: (still) => still }))
      assert.isBelow(made, 1000)
    }))

  it.scoped("shows the trace that its client is in, and the route to who stands outside", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const app = HttpRouter.empty.pipe(
        HttpRouter.get(
          "/a/:b",
          Effect.flatMap(Effect.currentSpan, (span) => {
            const { attributes, kind, name, parent, sampled, traceId } = span
            seen.push([
              name,
              kind,
              traceId,
              Option.map(parent, ({ spanId }) => spanId),
              sampled,
              attributes.get("http.route")
            ])
            return ok
          })
        )
      )
      const route = Middleware.make({ name: "Route", response: (_, { route }) => void seen.push(route) })
      const port = yield* on(Stack.serve(app, route) as Served)
      const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"]
      yield* answered(request(port, { path: "/a/1", headers: { traceparent: `00-${traceId}-${spanId}-01` } }))
      assert.deepStrictEqual(seen, [
        ["http.server GET", "server", traceId, Option.some(spanId), true, "/a/:b"],
        "/a/:b"
      ])
    }))

  it.scoped("has platform's span where somebody traces", () =>
    Effect.gen(function*() {
      const ended = yield* Queue.unbounded<readonly [string, unknown, unknown]>()
      const native = yield* Effect.tracer
      const tracer = Tracer.make({
        context: (f, fiber) => native.context(f, fiber),
        span: (...args) => {
          const span = native.span(...args)
          const end = span.end.bind(span)
          return Object.assign(span, {
            end: (time: bigint, exit: Exit.Exit<unknown, unknown>) => {
              end(time, exit)
              ended.unsafeOffer([
                span.name,
                span.attributes.get("http.response.status_code"),
                span.attributes.get("url.path")
              ])
            }
          })
        }
      })
      const refuses = Middleware.make({ name: "No", request: () => Middleware.Refuse(HttpException.notFound()) })
      const port = yield* on(Layer.provide(Stack.serve(ok, refuses), Layer.setTracer(tracer)) as Served)
      yield* answered(request(port, { path: "/x" }))
      assert.deepStrictEqual(yield* answered(Queue.take(ended)), ["http.server GET", 404, "/x"])
    }))
})

describe("a request has an answer", () => {
  const handled = (handler: HttpApp.PreResponseHandler, app: HttpApp.Default<unknown>) =>
    Effect.zipRight(HttpApp.appendPreResponseHandler(handler), app)
  const unwritable = HttpServerResponse.text("ok", { headers: { "x-a": "\u0000" } })
  const broken: Record<string, HttpApp.Default<unknown>> = {
    "a response handler dies": handled(() => Effect.die("no"), ok),
    "a response handler throws": handled(() => {
      throw new Error("no")
    }, ok),
    "a response handler dies, and the app has failed": handled(() => Effect.die("no"), Effect.fail("x")),
    "a field cannot be written": unwritable,
    "a body cannot be sent": HttpServerResponse.raw(Symbol()),
    "a status cannot be written": HttpServerResponse.text("ok", { status: 9999 }),
    "a field of a failure cannot be written": Effect.fail(unwritable)
  }
  const native = Effect.runSync(Effect.tracer)
  const traced = Layer.setTracer(
    Tracer.make({ context: (f, fiber) => native.context(f, fiber), span: (...args) => native.span(...args) })
  )
  describe.each([["untraced", Layer.empty], ["traced", traced]] as const)("%s", (_, tracer) => {
    it.scoped.each(Object.entries(broken))("where %s", ([, app]) =>
      Effect.gen(function*() {
        const port = yield* on(Layer.provide(HttpServer.serve(app as HttpApp.Default), tracer) as Served)
        assert.strictEqual((yield* answered(request(port))).status, 500)
      }))
  })
})

describe("Expect: 100-continue", () => {
  const expecting = (length: number) =>
    `POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n`
  const echo = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => Effect.map(request.text, text))

  it.scoped("is answered when the content is read", () =>
    Effect.gen(function*() {
      const port = yield* on(Stack.serve(echo, BodyLimit.middleware({ limit: "1 KiB" })) as Served)
      const { text } = yield* talk(port, (socket) => {
        socket.write(expecting(4))
        socket.once("data", () => socket.write("body"))
      })
      assert.match(text, /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK\r\n[^]*body$/)
    }))

  it.scoped("is not answered by a refusal, which closes the connection", () =>
    Effect.gen(function*() {
      const port = yield* on(Stack.serve(echo, BodyLimit.middleware({ limit: "1 KiB" })) as Served)
      const { text } = yield* talk(port, (socket) => socket.write(expecting(5000).replace("Connection: close\r\n", "")))
      assert.match(text, /^HTTP\/1.1 413 [^]*\r\nConnection: close\r\n/i)
      assert.notInclude(text, "100 Continue")
    }))

  it.scoped("nor by a handler that answers without reading", () =>
    Effect.gen(function*() {
      const port = yield* serve(ok)
      const { text } = yield* talk(port, (socket) => socket.write(expecting(4).replace("Connection: close\r\n", "")))
      assert.match(text, /^HTTP\/1.1 200 OK\r\n[^]*\r\nConnection: close\r\n/i)
      assert.notInclude(text, "100 Continue")
    }))
})

describe("a shutdown", () => {
  /** Serves in a scope of its own, so that the test can close it. */
  const open = <E>(app: HttpApp.Default<E>, options: NodeServer.Options = {}) =>
    Effect.gen(function*() {
      const [http, port] = yield* server(options)
      const scope = yield* Scope.make()
      yield* Scope.extend(http.serve(app as HttpApp.Default<unknown>), scope)
      return { http, port, close: Scope.close(scope, Exit.void) }
    })
  const waits = Effect.gen(function*() {
    const [began, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const app = Deferred.succeed(began, undefined).pipe(
      Effect.zipRight(Deferred.await(go)),
      Effect.as(ok)
    )
    return { app, began: answered(Deferred.await(began)), go: Deferred.succeed(go, undefined) }
  })

  it.scoped("finishes what is under way, says that the connection closes, and accepts nothing new", () =>
    Effect.gen(function*() {
      const { app, began, go } = yield* waits
      const { close, port } = yield* open(app)
      const talking = yield* Effect.fork(talk(port, get))
      yield* began
      const closing = yield* Effect.fork(close)
      // accepting ends before the request does
      const refused = Effect.async<boolean>((resume) => {
        const socket = Net.connect(port, "127.0.0.1", () => {
          socket.destroy()
          resume(Effect.succeed(false))
        })
        socket.on("error", () => resume(Effect.succeed(true)))
      })
      yield* answered(Effect.repeat(refused, { until: (refused) => refused }))
      assert.isNull(closing.unsafePoll())
      yield* go
      const { text } = yield* Fiber.join(talking)
      assert.match(text, /^HTTP\/1.1 200 OK\r\n[^]*\r\nConnection: close\r\n[^]*ok$/i)
      yield* answered(Fiber.join(closing))
    }))

  it.scoped("closes connections that are idle", () =>
    Effect.gen(function*() {
      const { close, port } = yield* open(ok)
      const socket = yield* connected(port)
      const ended = yield* Deferred.make<void>()
      socket.on("close", () => Deferred.unsafeDone(ended, Effect.void))
      get(socket)
      yield* answered(Effect.async<void>((resume) => void socket.once("data", () => resume(Effect.void))))
      yield* answered(close)
      yield* answered(Deferred.await(ended))
    }))

  it.scoped("answers what comes late on a connection that is still there with a 503", () =>
    Effect.gen(function*() {
      const { app, began, go } = yield* waits
      const { close, port } = yield* open(app)
      const socket = yield* connected(port)
      let received = ""
      socket.on("data", (bytes) => received += `${bytes}`)
      const ended = yield* Deferred.make<void>()
      socket.on("close", () => Deferred.unsafeDone(ended, Effect.void))
      // the header of a second request has begun when the first is under way
      socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
      yield* began
      const late = yield* connected(port)
      let refused = ""
      late.on("data", (bytes) => refused += `${bytes}`)
      late.write("GET / HTTP/1.1\r\nHost: lo")
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20)))
      const closing = yield* Effect.fork(close)
      yield* Effect.yieldNow()
      late.write("calhost\r\n\r\n")
      yield* answered(Effect.async<void>((resume) => void late.once("close", () => resume(Effect.void))))
      assert.match(refused, /^HTTP\/1.1 503 Service Unavailable\r\n[^]*\r\nConnection: close\r\n/i)
      yield* go
      yield* answered(Deferred.await(ended))
      assert.match(received, /^HTTP\/1.1 200/)
      yield* answered(Fiber.join(closing))
    }))

  it.scoped("interrupts after its time what is still under way", () =>
    Effect.gen(function*() {
      const [began, interrupted] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const stuck = Deferred.succeed(began, undefined).pipe(
        Effect.zipRight(Effect.never),
        Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined)),
        Effect.interruptible
      )
      const { close, port } = yield* open(stuck, { shutdownTimeout: "3 seconds" })
      const talking = yield* Effect.fork(talk(port, get))
      yield* answered(Deferred.await(began))
      const closing = yield* Effect.fork(close)
      yield* TestClock.adjust("2999 millis")
      assert.isNull(closing.unsafePoll())
      yield* TestClock.adjust("1 millis")
      yield* answered(Deferred.await(interrupted))
      yield* answered(Fiber.join(closing))
      yield* Fiber.join(talking)
    }))

  it.scoped("closes WebSockets with 1001", () =>
    Effect.gen(function*() {
      const echo = Effect.gen(function*() {
        const socket = yield* Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ upgrade }) => upgrade)
        const write = yield* socket.writer
        yield* Effect.ignore(socket.runRaw((message) => write(message)))
        return HttpServerResponse.empty()
      }).pipe(Effect.scoped)
      const { close, port } = yield* open(echo)
      const client = yield* connect(port)
      client.send("hello")
      assert.strictEqual(yield* answered(client.next), "hello")
      const closing = yield* Effect.fork(close)
      assert.strictEqual((yield* answered(client.closed)).code, 1001)
      yield* answered(Fiber.join(closing))
    }))

  it.scoped("is of one app: the next one is served at the same address", () =>
    Effect.gen(function*() {
      const { close, http, port } = yield* open(text("first"))
      assert.strictEqual((yield* answered(request(port))).body, "first")
      yield* close
      yield* http.serve(text("second"))
      assert.strictEqual((yield* answered(request(port))).body, "second")
    }))
})

describe("an address", () => {
  it.scoped("that is taken fails, and says what to do", () =>
    Effect.gen(function*() {
      const [, port] = yield* server()
      const error = yield* Effect.flip(server({ port }))
      assert.instanceOf(error, HttpServerError.ServeError)
      assert.deepStrictEqual(
        [error._tag, error.code, error.message],
        [
          "ServeError",
          "EADDRINUSE",
          `Cannot listen on 127.0.0.1:${port} (EADDRINUSE): something listens there already. Stop it, use another port ` +
          "(0 takes a free one), or remove the file of a unix socket that nobody listens on any more"
        ]
      )
    }))

  it.scoped("that this machine does not have fails too", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* Effect.flip(server({ host: "192.0.2.1" }))).code, "EADDRNOTAVAIL")
    }))

  it.scoped("may be a unix socket", () =>
    Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "socket-"))),
        (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
      )
      const path = Path.join(folder, "s")
      const http = yield* NodeServer.make(() => Http.createServer(), { path })
      assert.deepStrictEqual(http.address, { _tag: "UnixAddress", path })
      yield* http.serve(ok)
      const status = yield* answered(Effect.async<number | undefined>((resume) => {
        Http.get({ socketPath: path, path: "/" }, (response) => {
          response.resume()
          resume(Effect.succeed(response.statusCode))
        })
      }))
      assert.strictEqual(status, 200)
      const missing = yield* Effect.flip(
        NodeServer.make(() => Http.createServer(), { path: Path.join(folder, "no", "s") })
      )
      assert.match(missing.message, /unix socket|not allowed/)
    }))
})

const cookies = text("secure", {
  headers: { "connection": "x", "keep-alive": "1", "transfer-encoding": "chunked", "x-a": "1" }
}).pipe(
  HttpServerResponse.unsafeSetCookie("a", "1"),
  HttpServerResponse.unsafeSetCookie("b", "2")
)

describe("the protocol", () => {
  const http2 = (origin: string, options: Http2.SecureClientSessionOptions = {}) =>
    Effect.gen(function*() {
      const session = yield* Effect.acquireRelease(
        Effect.sync(() => Http2.connect(origin, options)),
        (session) => Effect.sync(() => session.destroy())
      )
      session.on("error", () => {})
      return yield* answered(Effect.async<readonly [Http2.IncomingHttpHeaders, string]>((resume) => {
        const stream = session.request({ ":path": "/" })
        let headers: Http2.IncomingHttpHeaders = {}
        let body = ""
        stream.on("response", (received) => headers = received)
        stream.on("data", (bytes) => body += `${bytes}`)
        stream.on("end", () => resume(Effect.succeed([headers, body])))
      }))
    })

  it.scoped("is HTTP/2, without the fields that it does not have", () =>
    Effect.gen(function*() {
      const [http, port] = yield* server({}, () => Http2.createServer())
      yield* http.serve(Effect.map(HttpServerRequest.HttpServerRequest, () => cookies))
      const [headers, body] = yield* http2(`http://127.0.0.1:${port}`)
      assert.deepStrictEqual(
        [headers[":status"], headers["x-a"], headers["connection"], headers["set-cookie"], body],
        [200, "1", undefined, ["a=1", "b=2"], "secure"]
      )
    }))

  it.scoped("is agreed by ALPN, and HTTP/1.1 for who knows no other", () =>
    Effect.gen(function*() {
      const { cert, key } = selfSigned()
      const [http, port] = yield* server({}, () => Http2.createSecureServer({ key, cert, allowHTTP1: true }))
      yield* http.serve(Effect.map(HttpServerRequest.HttpServerRequest, ({ source }) =>
        text((source as Http.IncomingMessage).httpVersion)))
      const [, body] = yield* http2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false })
      assert.strictEqual(body, "2.0")
      const old = yield* answered(Effect.async<string>((resume) => {
        Https.get({ port, host: "127.0.0.1", rejectUnauthorized: false, agent: false }, (response) => {
          response.on("data", (bytes) =>
            resume(Effect.succeed(`${bytes}`)))
        })
      }))
      assert.strictEqual(old, "1.1")
    }))

  it.scoped("is TLS by node:https", () =>
    Effect.gen(function*() {
      const { cert, key } = selfSigned()
      const [http, port] = yield* server({}, () => Https.createServer({ key, cert }))
      yield* http.serve(ok)
      const status = yield* answered(Effect.async<number | undefined>((resume) => {
        Https.get({ port, host: "127.0.0.1", rejectUnauthorized: false, agent: false }, (response) => {
          response.resume()
          resume(Effect.succeed(response.statusCode))
        })
      }))
      assert.strictEqual(status, 200)
    }))
})

describe("options", () => {
  it.scoped("are set on Node's server; what is left out is left as it is", () =>
    Effect.gen(function*() {
      const node = Http.createServer({ keepAliveTimeout: 1234 })
      yield* server({
        headersTimeout: "7 seconds",
        requestTimeout: "1 minute",
        maxHeadersCount: 50,
        maxRequestsPerSocket: 100,
        maxConnections: 1000
      }, () => node)
      assert.deepStrictEqual(
        [
          node.headersTimeout,
          node.requestTimeout,
          node.keepAliveTimeout,
          node.maxHeadersCount,
          node.maxRequestsPerSocket,
          node.maxConnections
        ],
        [7000, 60_000, 1234, 50, 100, 1000]
      )
    }))

  for (
    const [options, message] of [
      [{ maxConnections: -1 }, "NodeServer: maxConnections is -1; use a whole number, 0 or more"],
      [{ maxHeadersCount: 1.5 }, "NodeServer: maxHeadersCount is 1.5; use a whole number, 0 or more"],
      [
        { headersTimeout: Duration.infinity },
        "NodeServer: headersTimeout is longer than Node can wait; use 24 days at most"
      ],
      [
        { headersTimeout: "2 minutes", requestTimeout: "1 minute" },
        "NodeServer: headersTimeout is longer than requestTimeout, which includes it; make it shorter"
      ]
    ] as ReadonlyArray<readonly [NodeServer.Options, string]>
  ) {
    it(`refuse ${JSON.stringify(options)}`, () => {
      assert.throws(() => NodeServer.layer(() => Http.createServer(), options), TypeError, message)
    })
  }

  it.scoped("of HTTP/1.1 mean nothing to HTTP/2", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(server({ keepAliveTimeout: "1 second" }, () => Http2.createServer()))
      assert.include(
        Cause.pretty(Exit.causeOption(exit).pipe(Option.getOrThrow)),
        "a server of HTTP/2 alone has no keepAliveTimeout; leave it out, or allowHTTP1"
      )
    }))

  it.scoped("may come from a Config", () =>
    Effect.gen(function*() {
      const layer = NodeServer.layerConfig(() => Http.createServer(), {
        port: Config.integer("PORT"),
        host: Config.succeed("127.0.0.1"),
        shutdownTimeout: Config.duration("GRACE")
      })
      const provider = ConfigProvider.fromMap(new Map([["PORT", "0"], ["GRACE", "5 seconds"]]))
      const context = yield* Layer.build(Layer.provide(layer, Layer.setConfigProvider(provider)))
      assert.strictEqual(Context.get(context, HttpServer.HttpServer).address._tag, "TcpAddress")
    }))

  it.scoped("layerTest brings a client", () =>
    Effect.gen(function*() {
      yield* HttpServer.serveEffect(ok)
      const response = yield* HttpClient.get("/")
      assert.strictEqual(yield* response.text, "ok")
    }).pipe(Effect.provide(NodeServer.layerTest)))
})
