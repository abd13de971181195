import {
  FileSystem,
  HttpApiSchema,
  HttpIncomingMessage,
  HttpRouter,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { NodeContext, NodeHttpServer, NodeHttpServerRequest } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, FastCheck, Layer, Logger, Option, Schema, Stream } from "effect"
import { BodyLimit, ExceptionHandlers, Middleware, ServerErrors, Stack } from "effect-middleware"
import * as Http from "node:http"
import * as Http2 from "node:http2"
import * as Net from "node:net"
import { answered } from "./utils/laws.js"
import { type Talk, talk } from "./utils/sockets.js"
import { listenTo, mounts, send } from "./utils/TestApp.js"

type Request = HttpServerRequest.HttpServerRequest
type Facts = BodyLimit.Facts

const problem = {
  title: "Content Too Large",
  status: 413,
  detail: "The content is larger than this server takes"
}

describe("policy", () => {
  const decide = BodyLimit.policy({ limit: 1000 })
  const framed: Facts = { contentLength: undefined, transferEncoding: undefined, framed: true }
  const unframed: Facts = { ...framed, framed: false }

  it.each<[rule: string, facts: Facts, expected: BodyLimit.Decision]>([
    ["no body", framed, "allow"],
    ["as long as the limit", { ...framed, contentLength: "1000" }, "allow"],
    ["one byte more", { ...framed, contentLength: "1001" }, "reject"],
    ["nothing", { ...framed, contentLength: "0" }, "allow"],
    ["leading zeros", { ...framed, contentLength: "00001001" }, "reject"],
    ["more than a number can say", { ...framed, contentLength: "9".repeat(400) }, "reject"],
    ["chunked", { ...framed, transferEncoding: "chunked" }, "count"],
    ["chunked, whatever the length says", { ...framed, transferEncoding: "chunked", contentLength: "1" }, "count"],
    ["another coding too", { ...framed, transferEncoding: "gzip", contentLength: "1001" }, "count"],
    ["an empty coding too", { ...framed, transferEncoding: "", contentLength: "1" }, "count"],
    ["a length that nobody holds it to", { ...unframed, contentLength: "1" }, "count"],
    ["a length above it that nobody holds it to", { ...unframed, contentLength: "1001" }, "reject"],
    ["no length that anybody holds it to", unframed, "count"],
    ...["-1", "+1", "1e3", "0x10", "1.5", " 1", "1, 1", "1,1", "", "many", "NaN", "Infinity", "١"].map(
      (contentLength): [string, Facts, BodyLimit.Decision] => [
        `a length that is none: ${JSON.stringify(contentLength)}`,
        { ...framed, contentLength },
        "count"
      ]
    )
  ])("%s", (_, facts, expected) => {
    assert.strictEqual(decide(facts), expected)
  })

  it.prop("nothing above the limit is allowed, and nothing within it is refused", [
    FastCheck.maxSafeNat(),
    FastCheck.maxSafeNat()
  ], ([limit, length]) => {
    const decision = BodyLimit.policy({ limit })({ ...framed, contentLength: String(length) })
    assert.strictEqual(decision, length > limit ? "reject" : "allow")
  })

  it.each<[size: BodyLimit.Size | undefined, bytes: number]>([
    [undefined, 1024 * 1024],
    [0, 0],
    [5, 5],
    [5n, 5],
    [FileSystem.KiB(2), 2048],
    ["10 B", 10],
    ["64 KiB", 65536],
    ["1.5 KiB", 1536],
    ["2 MiB", 2 * 1024 * 1024],
    ["1 GiB", 1024 ** 3]
  ])("takes %s for %i bytes", (limit, bytes) => {
    const decide = BodyLimit.policy({ limit })
    assert.strictEqual(decide({ ...framed, contentLength: String(bytes) }), "allow")
    assert.strictEqual(decide({ ...framed, contentLength: String(bytes + 1) }), "reject")
  })

  it.each([-1, 1.5, Number.NaN, Infinity, "1 MB", "1", "", "1 mib", "-1 KiB", "1  KiB", "x KiB"])(
    "throws on %s, and says what to write",
    (limit) => {
      const options = { limit } as BodyLimit.Options
      for (const make of [BodyLimit.policy, BodyLimit.middleware]) {
        assert.throws(
          () => make(options),
          TypeError,
          /limit is ".*": write a number of bytes, such as 65536 or "64 KiB"/
        )
      }
    }
  )
})

const limited = BodyLimit.middleware({ limit: 1000 })
const withRequest = <A, E, R>(f: (request: Request) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, f)
const reply = <E, R>(read: (request: Request) => Effect.Effect<string, E, R>) =>
  Effect.map(withRequest(read), (text) => HttpServerResponse.text(text))
const text = reply(({ text }) => Effect.map(text, (text) => String(text.length)))
const ok = HttpServerResponse.text("ok")

const statuses: Array<number> = []
/** What the app has answered, before the limit has the last word. */
const seen = Middleware.make({ name: "Seen", response: ({ status }) => void statuses.push(status) })

/** Each way to read a body, as whoever reads it would write it. */
const readers: ReadonlyArray<
  readonly [kind: string, type: string, read: (request: Request) => Effect.Effect<unknown, unknown, unknown>]
> = [
  ["text", "text/plain", ({ text }) => text],
  ["json", "application/json", ({ json }) => json],
  ["urlParamsBody", "application/x-www-form-urlencoded", ({ urlParamsBody }) => urlParamsBody],
  ["arrayBuffer", "application/octet-stream", ({ arrayBuffer }) => arrayBuffer],
  ["stream", "application/octet-stream", ({ stream }) => Stream.runDrain(stream)],
  ["multipart", "multipart/form-data; boundary=b", ({ multipart }) => multipart],
  ["multipartStream", "multipart/form-data; boundary=b", ({ multipartStream }) => Stream.runDrain(multipartStream)],
  ["schemaBodyJson", "application/json", () => HttpServerRequest.schemaBodyJson(Schema.Unknown)],
  [
    "schemaBodyForm",
    "multipart/form-data; boundary=b",
    () => HttpServerRequest.schemaBodyForm(Schema.Struct({ a: Schema.String }))
  ],
  [
    "schemaBodyUrlParams",
    "application/x-www-form-urlencoded",
    () => HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ a: Schema.String }))
  ],
  [
    "schemaBodyMultipart",
    "multipart/form-data; boundary=b",
    () => HttpServerRequest.schemaBodyMultipart(Schema.Struct({ a: Schema.String }))
  ],
  [
    "schemaBodyFormJson",
    "multipart/form-data; boundary=b",
    () => HttpServerRequest.schemaBodyFormJson(Schema.Unknown)("a")
  ]
]

/** A body of that type and length. */
const bodyOf = (type: string, length: number) => {
  const [head, tail] = type.startsWith("multipart")
    ? ["--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\"", "\"\r\n--b--\r\n"]
    : type === "application/json"
    ? ["\"", "\""]
    : ["a=", ""]
  return head + "x".repeat(length - head.length - tail.length) + tail
}

const appOf = (read: (request: Request) => Effect.Effect<unknown, unknown, unknown>) =>
  Effect.as(withRequest(read), ok).pipe(Effect.scoped, Effect.provide(NodeContext.layer)) as Effect.Effect<
    HttpServerResponse.HttpServerResponse,
    unknown,
    never
  >

describe("middleware", () => {
  describe.each(mounts)("$name", ({ mount }) => {
    it.scoped("refuses by the length, before the app runs", () =>
      Effect.gen(function*() {
        const request = yield* mount(Effect.dieMessage("the app ran"), limited)
        const { body, headers, status } = yield* request({
          method: "POST",
          body: "x".repeat(1001),
          headers: {
            "content-length": "1001"
          }
        })
        assert.strictEqual(status, 413)
        assert.strictEqual(headers["content-type"], "application/problem+json")
        assert.deepStrictEqual(JSON.parse(body), problem)
      }))

    it.scoped("passes what is as long as the limit, and counts what is said to be", () =>
      Effect.gen(function*() {
        const request = yield* mount(text, limited)
        for (const headers of [{ "content-length": "1000" }, { "transfer-encoding": "chunked" }]) {
          const { body, status } = yield* request({ method: "POST", body: "x".repeat(1000), headers })
          assert.deepStrictEqual([status, body], [200, "1000"])
        }
        const chunked = { "transfer-encoding": "chunked" }
        const { status } = yield* request({ method: "POST", body: "x".repeat(1001), headers: chunked })
        assert.strictEqual(status, 413)
      }))

    it.scoped("whatever the handler makes of it", () =>
      Effect.gen(function*() {
        const apps = {
          "does not read": ok,
          "swallows the error": Effect.as(Effect.ignore(withRequest(({ text }) => text)), ok),
          "answers it": Effect.orElseSucceed(text, () => HttpServerResponse.text("no", { status: 400 })),
          "fails with another": Effect.mapError(text, () => "other"),
          "dies of it": Effect.orDie(text),
          "fails without reading": Effect.fail("other"),
          "dies without reading": Effect.dieMessage("dead")
        }
        for (const [what, app] of Object.entries(apps)) {
          const request = yield* mount(app, limited)
          const headers = { "transfer-encoding": "chunked" }
          const { body, status } = yield* request({ method: "POST", body: "x".repeat(1001), headers })
          assert.deepStrictEqual([what, status, JSON.parse(body)], [what, 413, problem])
        }
      }))

    it.scoped.each(readers)("read as %s", ([_, type, read]) =>
      Effect.gen(function*() {
        const request = yield* mount(appOf(read), limited)
        const send = (length: number) => {
          const headers = { "content-type": type, "transfer-encoding": "chunked" }
          return request({ method: "POST", headers, body: bodyOf(type, length) })
        }
        assert.strictEqual((yield* send(1000)).status, 200)
        assert.strictEqual((yield* send(1001)).status, 413)
        assert.strictEqual((yield* send(100_000)).status, 413)
      }))
  })

  it.effect("of a web request no length is believed", () =>
    Effect.gen(function*() {
      const init = { method: "POST", body: "x".repeat(1001) }
      for (const length of ["1", "0", "-1", "1, 1", "x"]) {
        assert.strictEqual((yield* send(limited(text), { ...init, headers: { "content-length": length } })).status, 413)
      }
      assert.strictEqual((yield* send(limited(text), { headers: { "content-length": "5" } })).body, "0")
    }))

  it.effect("of what another middleware has made of a body neither", () =>
    Effect.gen(function*() {
      const tenfold = Middleware.make({
        name: "Tenfold",
        request: (exchange) =>
          exchange.deriveRequest({ stream: Stream.flatMap((bytes) => Stream.repeatValue(bytes).pipe(Stream.take(10))) })
      })
      const status = (stack: Middleware.Middleware<never, BodyLimit.BodyTooLarge>, length: number) =>
        listenTo(stack(text)).pipe(
          Effect.flatMap((port) =>
            talk(port, (socket) => socket.end(post({ "content-length": length }, "x".repeat(length))))
          ),
          Effect.scoped,
          Effect.map(statusOf)
        )
      assert.strictEqual(yield* status(Stack.make(tenfold, limited), 100), 200)
      assert.strictEqual(yield* status(Stack.make(tenfold, limited), 101), 413)
      assert.strictEqual(yield* status(Stack.make(limited, tenfold), 1000), 200)
      const shortened = Middleware.make({
        name: "Shortened",
        request: (exchange) => exchange.deriveRequest({ stream: Stream.map((bytes) => bytes.subarray(0, 1000)) })
      })
      assert.strictEqual(yield* status(Stack.make(shortened, limited), 1001), 200)
    }))

  it.effect("two in one stack: the stricter one counts, wherever it stands", () =>
    Effect.gen(function*() {
      const wide = BodyLimit.middleware({ limit: "1 MiB", name: "Wide" })
      for (const stack of [Stack.make(wide, limited), Stack.make(limited, wide)]) {
        const status = (length: number) =>
          Effect.map(send(stack(text), { method: "POST", body: "x".repeat(length) }), ({ status }) => status)
        assert.deepStrictEqual(yield* Effect.all([status(1000), status(1001)]), [200, 413])
      }
    }))

  it.effect("one route may have a limit of its own", () =>
    Effect.gen(function*() {
      const app = HttpRouter.empty.pipe(
        HttpRouter.post("/upload", text.pipe(BodyLimit.middleware({ limit: 5000 }))),
        HttpRouter.post("/login", text.pipe(BodyLimit.middleware({ limit: 10 }))),
        HttpRouter.post("/other", text),
        Middleware.exceptRoutes(["POST /upload"], limited)
      )
      const status = (path: string, length: number) =>
        Effect.map(send(app, { method: "POST", path, body: "x".repeat(length) }), ({ status }) => status)
      const expected = [["/upload", 5000], ["/login", 10], ["/other", 1000]] as const
      for (const [path, length] of expected) {
        assert.deepStrictEqual(yield* Effect.all([status(path, length), status(path, length + 1)]), [200, 413], path)
      }
      // an exemption is for the exact path
      assert.strictEqual(yield* status("/UPLOAD", 1001), 413)
    }))

  it.effect("the length of a GET or HEAD counts too, and no body none", () =>
    Effect.gen(function*() {
      const none = BodyLimit.middleware({ limit: 0 })
      assert.strictEqual((yield* send(none(ok))).status, 200)
      assert.strictEqual((yield* send(none(ok), { method: "POST", body: "x" })).status, 413)
      assert.strictEqual((yield* send(none(ok), { headers: { "content-length": "1" } })).status, 413)
      assert.strictEqual((yield* send(none(ok), { method: "HEAD", headers: { "content-length": "1" } })).status, 413)
    }))

  it.effect("a counted body is kept: it may be read again, in another way", () =>
    Effect.gen(function*() {
      const app = reply((request) =>
        Effect.gen(function*() {
          const [a, b] = [yield* request.text, yield* request.json]
          const c = new TextDecoder().decode(yield* request.arrayBuffer)
          const late = yield* Effect.flip(Stream.runDrain(request.stream))
          return [a, JSON.stringify(b), c, (late.cause as Error).message].join(" ")
        })
      )
      const { body } = yield* send(limited(app), { method: "POST", body: "[1]" })
      assert.strictEqual(body, "[1] [1] [1] The body has been read already")
    }))

  it.effect("platform's own limit counts beside it", () =>
    Effect.gen(function*() {
      const app = text.pipe(
        HttpIncomingMessage.withMaxBodySize(Option.some(10)),
        Effect.orElseSucceed(() => HttpServerResponse.text("more than 10"))
      )
      assert.strictEqual((yield* send(limited(app), { method: "POST", body: "x".repeat(10) })).body, "10")
      assert.strictEqual((yield* send(limited(app), { method: "POST", body: "x".repeat(11) })).body, "more than 10")
    }))

  it.effect("a response that reads the body as it is sent has it whole", () =>
    Effect.gen(function*() {
      const echo = Effect.map(HttpServerRequest.HttpServerRequest, ({ stream }) => HttpServerResponse.stream(stream))
      assert.strictEqual((yield* send(limited(echo), { method: "POST", body: "abc" })).body, "abc")
    }))

  it.effect("a refusal is a failure to handle, and knows the limit", () =>
    Effect.gen(function*() {
      const handled = Stack.make(
        ExceptionHandlers.byTag({
          BodyTooLarge: (error: BodyLimit.BodyTooLarge) => HttpServerResponse.text(error.message, { status: 400 })
        }),
        limited
      )
      const { body, status } = yield* send(handled(text), { headers: { "content-length": "1001" } })
      assert.deepStrictEqual([status, body], [400, "The body of the request has more than 1000 bytes"])
    }))

  it.effect.each(readers)(
    "a handler of failures further in knows it for a 413: %s",
    ([_, type, read]) =>
      Effect.gen(function*() {
        const app = Stack.make(limited, seen, ExceptionHandlers.standard())(appOf(read))
        yield* send(app, { method: "POST", headers: { "content-type": type }, body: bodyOf(type, 1001) })
        assert.deepStrictEqual(statuses.splice(0), [413])
      })
  )

  it("a refusal has a schema", () => {
    const error = new BodyLimit.BodyTooLarge({ limit: 5 })
    assert.deepStrictEqual(Schema.encodeSync(BodyLimit.BodyTooLarge)(error), { _tag: "BodyTooLarge", limit: 5 })
    assert.strictEqual(BodyLimit.BodyTooLarge.identifier, "effect-middleware/BodyLimit/BodyTooLarge")
    assert.strictEqual(HttpApiSchema.getStatusError(BodyLimit.BodyTooLarge), 413)
  })

  it("has the name that it is given", () => {
    assert.strictEqual(limited.name, "BodyLimit")
    assert.strictEqual(BodyLimit.middleware({ name: "Uploads" }).name, "Uploads")
  })
})

// --- over a socket ---------------------------------------------------------------------------------------------------

const post = (headers: { readonly [name: string]: string | number }, body = "", path = "/") =>
  [`POST ${path} HTTP/1.1`, "Host: a", ...Object.entries(headers).map((field) => field.join(": ")), "", body].join(
    "\r\n"
  )
const chunked = { "Transfer-Encoding": "chunked" }
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
const statusOf = ({ text }: Talk) => Number(/^(?:HTTP\/1\.1 100 Continue\r\n\r\n)?HTTP\/1\.1 (\d+)/.exec(text)?.[1])
const expectRefused = (got: Talk) => {
  assert.deepStrictEqual([statusOf(got), got.error], [413, undefined], got.text)
  assert.match(got.text, /\r\nConnection: close\r\n/)
  assert.deepStrictEqual(JSON.parse(got.text.slice(got.text.lastIndexOf("\r\n\r\n"))), problem)
}

describe("over a socket", () => {
  const lines: Array<string> = []
  const listening = listenTo(limited(text))
  const listenOn = (server: () => Http.Server) =>
    Effect.flatMap(
      Layer.build(NodeHttpServer.layerServer(server, { port: 0, host: "127.0.0.1" })),
      (context) => Effect.provide(listening, context)
    )

  it.scopedLive("10 MB that are sent before the answer is read are thrown away, and the answer is read", () =>
    Effect.gen(function*() {
      const bytes = Buffer.alloc(10_000_000)
      expectRefused(
        yield* talk(yield* listening, (socket) => {
          socket.write(post({ "content-length": bytes.length }))
          socket.end(bytes)
        })
      )
      expectRefused(
        yield* talk(yield* listening, (socket) => {
          socket.write(post(chunked))
          for (let i = 0; i < 160; i++) socket.write(chunk("x".repeat(62_500)))
          socket.end("0\r\n\r\n")
        })
      )
    }))

  it.scopedLive("an upload without end is answered", () =>
    Effect.gen(function*() {
      const more = chunk("x".repeat(65536))
      expectRefused(
        yield* talk(yield* listening, (socket) => {
          socket.write(post(chunked))
          const go = () => {
            while (!socket.destroyed && socket.write(more));
            if (!socket.destroyed) socket.once("drain", go)
          }
          go()
        })
      )
    }))

  it.scopedLive("a slow client is answered at the byte that is too many, and at the header", () =>
    Effect.gen(function*() {
      const port = yield* listening
      expectRefused(
        yield* talk(port, (socket) => {
          socket.write(post({ "content-length": 1001 }))
        })
      )
      expectRefused(
        yield* talk(port, (socket) => {
          socket.write(post(chunked))
          for (let i = 0; i < 11; i++) setImmediate(() => socket.write(chunk("x".repeat(91))))
        })
      )
    }))

  it.scopedLive("what has both a length and a coding is refused by Node, and counted where Node is lenient", () =>
    Effect.gen(function*() {
      const both = post({ "content-length": 3, ...chunked }, chunk("x".repeat(1001)) + "0\r\n\r\n")
      assert.strictEqual(statusOf(yield* talk(yield* listening, (socket) => socket.write(both))), 400)
      const lenient = yield* listenOn(() => Http.createServer({ insecureHTTPParser: true }))
      expectRefused(yield* talk(lenient, (socket) => socket.write(both)))
    }))

  it.scopedLive.each<[what: string, headers: string]>([
    ["negative", "Content-Length: -1"],
    ["no number", "Content-Length: x"],
    ["two", "Content-Length: 1\r\nContent-Length: 2"],
    ["twice the same", "Content-Length: 1\r\nContent-Length: 1"],
    ["a list", "Content-Length: 1, 1"],
    ["a sign", "Content-Length: +1"],
    ["more than fits", `Content-Length: ${"9".repeat(30)}`],
    ["an unknown coding", "Transfer-Encoding: x"],
    ["chunked is not the last", "Transfer-Encoding: chunked, gzip"]
  ])("Node refuses a length that is none: %s", ([_, headers]) =>
    Effect.gen(function*() {
      const app = yield* listenTo(limited(Effect.dieMessage("the app ran")))
      const got = yield* talk(app, (socket) => socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\nx`))
      assert.strictEqual(statusOf(got), 400, got.text)
    }))

  it.scopedLive("with Expect: 100-continue the last status is the 413", () =>
    Effect.gen(function*() {
      const headers = { "content-length": 1001, expect: "100-continue" }
      const got = yield* talk(yield* listening, (socket) => socket.write(post(headers)))
      assert.match(got.text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 413 /)
      expectRefused(got)
    }))

  it.scopedLive("what follows on the connection is not run", () =>
    Effect.gen(function*() {
      const paths: Array<string> = []
      const port = yield* listenTo(limited(withRequest((request) => {
        paths.push(request.url)
        return text
      })))
      const next = post({ "content-length": 1 }, "1", "/next")
      expectRefused(
        yield* talk(port, (socket) => {
          socket.write(post({ "content-length": 1001 }, "x".repeat(1001)) + next)
        })
      )
      expectRefused(
        yield* talk(port, (socket) => {
          socket.write(post({ "content-length": 1001 }))
          socket.once("data", () => socket.write("x".repeat(1001) + next))
        })
      )
      expectRefused(
        yield* talk(port, (socket) => {
          socket.write(post(chunked, chunk("x".repeat(1001)) + "0\r\n\r\n", "/first") + next)
        })
      )
      assert.deepStrictEqual(paths, ["/first"])
    }))

  it.scopedLive("a HEAD with a body has its header, and a GET its answer", () =>
    Effect.gen(function*() {
      const port = yield* listening
      for (const headers of [{ "content-length": 1001 }, chunked]) {
        const body = "content-length" in headers ? "x".repeat(1001) : chunk("x".repeat(1001)) + "0\r\n\r\n"
        const as = (method: string) => talk(port, (socket) => socket.write(post(headers, body).replace("POST", method)))
        expectRefused(yield* as("GET"))
        const head = yield* as("HEAD")
        assert.match(head.text, /^HTTP\/1\.1 413 [^]*\r\n\r\n$/)
        assert.strictEqual(head.error, undefined)
      }
    }))

  it.scopedLive("two limits close the connection once, and nobody's log has an error", () =>
    Effect.gen(function*() {
      const stack = Stack.make(
        ServerErrors.middleware(),
        BodyLimit.middleware({ limit: 2000, name: "Wide" }),
        limited
      )
      const port = yield* listenTo(stack(Effect.scoped(appOf(({ multipart, text }) => Effect.zip(text, multipart)))))
      for (const length of [1001, 2001]) {
        expectRefused(yield* talk(port, (socket) => socket.write(post({ "content-length": length }))))
        expectRefused(yield* talk(port, (socket) => socket.write(post(chunked, chunk("x".repeat(length))))))
      }
      // a client that leaves while it is waited for
      const left = yield* Deferred.make<void>()
      const idle = yield* listenTo(stack(withRequest((request) => {
        const { socket } = NodeHttpServerRequest.toIncomingMessage(request)
        socket.once("close", () => Deferred.unsafeDone(left, Effect.void))
        client.destroy()
        return ok
      })))
      const client = Net.connect(idle, "127.0.0.1", () => client.write(post(chunked, chunk("x"))))
      yield* answered(Deferred.await(left))
      expectRefused(yield* talk(port, (socket) => socket.write(post({ "content-length": 2001 }))))
      assert.deepStrictEqual(lines.splice(0), [])
    }).pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, Logger.make(({ message }) => lines.push(String(message)))))
    ))

  it.scopedLive("requests before it on the connection have their answers", () =>
    Effect.gen(function*() {
      const got = yield* talk(yield* listening, (socket) => {
        socket.write(post({ "content-length": 2 }, "ab") + post({ "content-length": 1001 }))
      })
      assert.match(got.text, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n2HTTP\/1\.1 413 /)
    }))

  it.scopedLive("what is within the limit keeps the connection", () =>
    Effect.gen(function*() {
      const got = yield* talk(yield* listening, (socket) => {
        socket.write(post(chunked, chunk("ab") + "0\r\n\r\n") + post({ "content-length": 2 }, "ab"))
        socket.write(post({ "content-length": 0, connection: "close" }))
      })
      assert.strictEqual(got.text.match(/HTTP\/1\.1 200/g)?.length, 3)
    }))

  it.scopedLive("a body that a handler does not read is read up to the limit, and no longer than a second", () =>
    Effect.gen(function*() {
      const port = yield* listenTo(limited(ok))
      expectRefused(yield* talk(port, (socket) => socket.write(post(chunked, chunk("x".repeat(1001))))))
      const whole = post({ ...chunked, connection: "close" }, chunk("x".repeat(1000)) + "0\r\n\r\n")
      assert.strictEqual(statusOf(yield* talk(port, (socket) => socket.write(whole))), 200)
      const began = performance.now()
      const slow = yield* talk(port, (socket) => socket.write(post(chunked, chunk("x"))))
      assert.strictEqual(statusOf(slow), 200)
      // the rest of it would be the beginning of the next request
      assert.match(slow.text, /Connection: close/)
      assert.isAbove(performance.now() - began, 900)
    }))

  it.scopedLive("a handler that stops reading has its answer sent", () =>
    Effect.gen(function*() {
      const first = reply(({ stream }) =>
        Effect.map(Stream.runHead(stream), (bytes) => String(Option.getOrThrow(bytes).length))
      )
      const got = yield* talk(yield* listenTo(limited(first)), (socket) => socket.write(post(chunked, chunk("abc"))))
      assert.match(got.text, /^HTTP\/1\.1 200 [^]*Connection: close[^]*\r\n\r\n3$/)
    }))

  it.scopedLive("a client that goes away ends the reading", () =>
    Effect.gen(function*() {
      const [begun, ended] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const port = yield* listenTo(limited(
        Effect.onExit(
          withRequest(({ stream }) =>
            Effect.as(Stream.runForEach(stream, () => Deferred.succeed(begun, undefined)), ok)
          ),
          () => Deferred.succeed(ended, undefined)
        )
      ))
      const socket = Net.connect(port, "127.0.0.1", () => socket.write(post(chunked, chunk("abc"))))
      yield* answered(Deferred.await(begun))
      socket.destroy()
      yield* answered(Deferred.await(ended))
    }))

  it.scopedLive("a body without end leaves the memory as it is", () =>
    Effect.gen(function*() {
      const received = yield* Deferred.make<number>()
      const app = withRequest((request) => {
        const { socket } = NodeHttpServerRequest.toIncomingMessage(request)
        socket.on("close", () => Deferred.unsafeDone(received, Effect.succeed(socket.bytesRead)))
        return text
      })
      const port = yield* listenTo(limited(app))
      const more = Buffer.from(chunk("x".repeat(1 << 20)))
      const before = process.memoryUsage.rss()
      // it goes on after the answer and its end
      yield* answered(Effect.async<void>((resume) => {
        const socket = Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true }, () => {
          socket.write(post(chunked))
          const go = () => {
            while (!socket.destroyed && socket.write(more));
            if (!socket.destroyed) socket.once("drain", go)
          }
          go()
        })
        socket.resume()
        socket.on("error", () => {})
        socket.on("close", () => resume(Effect.void))
      }))
      const bytes = yield* answered(Deferred.await(received))
      assert.isAbove(bytes, 64 * 1024 * 1024)
      assert.isBelow(bytes, 80 * 1024 * 1024)
      assert.isBelow(process.memoryUsage.rss() - before, 200 * 1024 * 1024)
    }), 20_000)

  it.scopedLive("in HTTP/2 the stream ends, and the connection stays", () =>
    Effect.gen(function*() {
      // platform's server uses what both have
      const port = yield* listenOn(() => Http2.createServer() as unknown as Http.Server)
      const session = yield* Effect.acquireRelease(
        Effect.sync(() => Http2.connect(`http://127.0.0.1:${port}`)),
        (session) => Effect.sync(() => session.destroy())
      )
      const post = (headers: Http2.OutgoingHttpHeaders, write: (stream: Http2.ClientHttp2Stream) => void) =>
        answered(Effect.async<readonly [status: number | undefined, text: string]>((resume) => {
          const stream = session.request({ ":method": "POST", ":path": "/", ...headers })
          let [status, text]: [number | undefined, string] = [undefined, ""]
          stream.on("response", (headers) => status = headers[":status"])
          stream.on("data", (bytes) => text += String(bytes))
          stream.on("error", () => {})
          // that of a client which goes on sending is closed sooner or later, by the version of Node
          stream.on("end", () => resume(Effect.succeed([status, text])))
          write(stream)
        }))
      assert.deepStrictEqual(yield* post({}, (stream) => stream.end("abc")), [200, "3"])
      for (const headers of [{ "content-length": 100_000 }, {}]) {
        const [status, text] = yield* post(headers, (stream) => {
          stream.write("x".repeat(60_000))
        })
        assert.deepStrictEqual([status, JSON.parse(text)], [413, problem])
      }
      assert.deepStrictEqual(yield* post({ "content-length": 3 }, (stream) => stream.end("abc")), [200, "3"])
    }))
})
