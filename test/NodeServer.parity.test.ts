/** The same apps on platform's server and on this one: what a client sees, byte by byte, and what a handler sees. */
import {
  Cookies,
  HttpApp,
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerRespondable,
  HttpServerResponse
} from "@effect/platform"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Data, Effect, Queue, Scope, Stream } from "effect"
import * as Fs from "node:fs"
import { Readable } from "node:stream"
import { answered, type ErasedApp } from "./utils/laws.js"
import { talk } from "./utils/sockets.js"
import { listen, nodeServer, ownServer } from "./utils/TestApp.js"

class Refused extends Data.TaggedError("Refused")<{}> {
  [HttpServerRespondable.symbol]() {
    return HttpServerResponse.text("refused", { status: 418, headers: { "x-why": "tea" } })
  }
}
class Unknown extends Data.TaggedError("Unknown")<{}> {}

const { json, raw, setCookie, stream, text, uint8Array } = HttpServerResponse
const pieces = Stream.make("one ", "two ", "three").pipe(Stream.encodeText)
const file = new URL("../LICENSE", import.meta.url)
const reading = HttpServerRequest.HttpServerRequest
const form = () => {
  const data = new FormData()
  data.set("a", "1")
  return data
}

interface Case {
  readonly app: (log: (line: string) => void) => ErasedApp
  readonly send?: string
}
const get = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
const head = get.replace("GET", "HEAD")
const post = (body: string, ...fields: ReadonlyArray<string>) =>
  `POST /a/b?c=d HTTP/1.1\r\n${
    ["Host: localhost", "Connection: close", `Content-Length: ${Buffer.byteLength(body)}`, ...fields].join("\r\n")
  }\r\n\r\n${body}`

const responses: { readonly [name: string]: ErasedApp } = {
  "no content": HttpServerResponse.empty(),
  "an empty 200": HttpServerResponse.empty({ status: 200 }),
  "an empty 304 with fields": HttpServerResponse.empty({ status: 304, headers: { etag: "\"a\"" } }),
  text: text("hello"),
  "an empty text": text(""),
  "text in another script": text("Grüße, 世界"),
  json: json({ a: 1 }),
  "a status text": text("x", { status: 200, statusText: "Fine" }),
  bytes: uint8Array(new Uint8Array([0, 255, 10])),
  "a raw string": raw("raw", { contentType: "text/plain" }),
  "a raw buffer": raw(Buffer.from("raw")),
  "a raw readable": Effect.sync(() => raw(Readable.from(["a", "b"]))),
  "a file": Effect.sync(() => raw(Fs.createReadStream(file))),
  "a stream": stream(pieces),
  "a stream of a known length": stream(pieces, { contentLength: 13 }),
  "a stream of nothing": stream(Stream.empty),
  "a stream in a 204": stream(pieces, { status: 204 }),
  "form data": Effect.sync(() => HttpServerResponse.formData(form())),
  "a redirect": HttpServerResponse.redirect("/elsewhere", { status: 307 }),
  "a header": text("x", { headers: { "X-A": "1", "cache-control": "no-store" } }),
  "two cookies": text("x").pipe(
    setCookie("a", "1", { path: "/a", httpOnly: true }),
    Effect.flatMap(setCookie("b", "2", { maxAge: "1 hour" }))
  ),
  "a cookie beside a field": text("x", {
    headers: { "set-cookie": "own=1" },
    cookies: Cookies.fromIterable([Cookies.unsafeMakeCookie("a", "1")])
  }),
  "a failure": Effect.fail(new Unknown()),
  "a failure that knows its response": Effect.fail(new Refused()),
  "a defect": Effect.die(new Error("boom")),
  "a response as a defect": Effect.die(text("instead", { status: 402 })),
  "an interruption": Effect.interrupt,
  "a failure and a defect": Effect.failCause(Cause.parallel(Cause.fail(new Refused()), Cause.die("boom"))),
  "no route": HttpRouter.empty,
  "a route": HttpRouter.empty.pipe(
    HttpRouter.get("/", Effect.map(HttpRouter.RouteContext, ({ route }) => text(route.path)))
  ),
  "a mounted route": HttpRouter.empty.pipe(
    HttpRouter.mountApp("/a", Effect.map(reading, ({ originalUrl, url }) => text(`${url} ${originalUrl}`)))
  ),
  "a pre-response handler": Effect.zipRight(
    HttpApp.appendPreResponseHandler((_, response) =>
      Effect.succeed(HttpServerResponse.setHeader(response, "x-late", "1"))
    ),
    text("x")
  ),
  "a pre-response handler on a failure": Effect.zipRight(
    HttpApp.appendPreResponseHandler((_, response) =>
      Effect.succeed(HttpServerResponse.setHeader(response, "x-late", "1"))
    ),
    Effect.fail(new Refused())
  ),
  "a field that cannot be sent": text("x", { headers: { "x-a": "a\nb" } }),
  "after a while": Effect.delay(text("later"), "1 millis"),
  "platform's own middleware": HttpMiddleware.cors({ allowedOrigins: ["https://a.example"] })(text("x"))
}

const requests: { readonly [name: string]: Case } = {
  "method, path, fields, address": {
    app: (log) =>
      Effect.map(reading, (request) => {
        log(JSON.stringify([
          request.method,
          request.url,
          request.originalUrl,
          request.headers,
          request.cookies,
          request.remoteAddress,
          `${request}`,
          request
        ]))
        return text("x")
      }),
    send: post("x", "Cookie: a=1; b=%20", "X-Twice: 1", "X-Twice: 2", "Content-Type: text/plain")
  },
  "a text": { app: () => Effect.flatMap(reading, ({ text: body }) => Effect.map(body, text)), send: post("Grüße") },
  "a text, twice": {
    app: () => Effect.flatMap(reading, ({ text: body }) => Effect.zipWith(body, body, (a, b) => text(a + b))),
    send: post("ab")
  },
  "json": {
    app: () => Effect.flatMap(reading, ({ json: body }) => Effect.flatMap(body, json)),
    send: post("{\"a\":[1]}")
  },
  "json that is none": {
    app: () => Effect.flatMap(reading, ({ json: body }) => Effect.flatMap(body, json)),
    send: post("{")
  },
  "json of nothing": {
    app: () => Effect.flatMap(reading, ({ json: body }) => Effect.flatMap(body, json)),
    send: post("")
  },
  "a form": {
    app: () => Effect.flatMap(reading, ({ urlParamsBody }) => Effect.map(urlParamsBody, (params) => text(`${params}`))),
    send: post("a=1&b=2")
  },
  "bytes": {
    app: () =>
      Effect.flatMap(reading, ({ arrayBuffer }) => Effect.map(arrayBuffer, (bytes) => text(`${bytes.byteLength}`))),
    send: post("four")
  },
  "a stream": {
    app: () => Effect.map(reading, ({ stream: body }) => stream(body)),
    send: post("streamed back")
  },
  "multipart": {
    app: () =>
      Effect.flatMap(reading, ({ multipart }) => Effect.map(multipart, (parts) => text(JSON.stringify(parts)))),
    send: post(
      "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n",
      "Content-Type: multipart/form-data; boundary=b"
    )
  },
  "a changed request": {
    app: () =>
      Effect.map(reading, (request) => {
        const changed = request.modify({ url: "/new", remoteAddress: "192.0.2.1" }).modify({})
        return text(JSON.stringify([changed.url, changed.originalUrl, changed.remoteAddress, changed.headers["host"]]))
      })
  },
  "Node's own": {
    app: () =>
      Effect.map(reading, (request) => {
        NodeHttpServerRequest.toServerResponse(request).setHeader("x-node", "1")
        return text(NodeHttpServerRequest.toIncomingMessage(request).httpVersion)
      })
  },
  "a body that nobody reads": { app: () => text("x"), send: post("never read") },
  "no upgrade": { app: () => Effect.flatMap(reading, ({ upgrade }) => Effect.as(upgrade, text("x"))) },
  "a request that is none": { app: () => text("x"), send: "NONSENSE\r\n\r\n" },
  "a header that is too large": {
    app: () => text("x"),
    send: `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(20_000)}\r\n\r\n`
  },
  "two requests at once": {
    app: () => Effect.map(reading, ({ url }) => text(url)),
    send: get.replace(" / ", " /1 ").replace("close", "keep-alive") + get.replace(" / ", " /2 ")
  },
  "HTTP/1.0": { app: () => text("x"), send: "GET / HTTP/1.0\r\n\r\n" }
}

const finalizers: { readonly [name: string]: (log: (line: string) => void) => ErasedApp } = {
  "a finalizer": (log) =>
    Effect.zipRight(Effect.addFinalizer((exit) => Effect.sync(() => log(`closed ${exit._tag}`))), text("x")),
  "two finalizers, the last first": (log) =>
    Effect.zipRight(
      Effect.zipRight(
        Effect.addFinalizer(() => Effect.sync(() => log("first"))),
        Effect.addFinalizer(() => Effect.sync(() => log("second")))
      ),
      text("x")
    ),
  "a finalizer of what fails": (log) =>
    Effect.zipRight(
      Effect.addFinalizer((exit) => Effect.sync(() => log(`closed ${exit._tag}`))),
      Effect.fail(new Unknown())
    ),
  "a finalizer of what fails with a response": (log) =>
    Effect.zipRight(
      Effect.addFinalizer((exit) => Effect.sync(() => log(`closed ${exit._tag}`))),
      Effect.fail(new Refused())
    ),
  "a finalizer after a stream": (log) =>
    Effect.zipRight(
      Effect.addFinalizer(() => Effect.sync(() => log("closed"))),
      Effect.succeed(stream(Stream.ensuring(pieces, Effect.sync(() => log("streamed")))))
    ),
  "a scope inside": (log) =>
    Effect.zipRight(
      Effect.flatMap(Effect.scope, (scope) =>
        Effect.flatMap(Scope.fork(scope, { _tag: "Sequential" } as never), (inner) =>
          Scope.addFinalizer(
            inner,
            Effect.sync(() =>
              log("inner")
            )
          ))),
      text("x")
    ),
  "a fiber of the handler": (log) =>
    Effect.zipRight(
      Effect.fork(Effect.onInterrupt(Effect.interruptible(Effect.never), () => Effect.sync(() => log("interrupted")))),
      Effect.delay(text("x"), "1 millis")
    ),
  "a scope that is ejected": (log) =>
    Effect.gen(function*() {
      const scope = yield* Effect.scope
      yield* Effect.addFinalizer(() => Effect.sync(() => log("never")))
      HttpApp.ejectDefaultScopeClose(scope)
      return text("x")
    })
}

const withoutDate = (sent: string) =>
  sent.replace(/\r\nDate: [^\r]*/g, "").replace(/-{4,}formdata-undici-\d+/g, "boundary")
const on = (server: typeof nodeServer, of: Case) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const ended = yield* Queue.unbounded<void>()
    // platform's own fiber has ended when its last finalizer has
    const app = Effect.zipRight(
      Effect.withFiberRuntime<void>((fiber) => {
        fiber.addObserver(() => ended.unsafeOffer(undefined))
        return Effect.void
      }),
      of.app((line) => lines.push(line))
    )
    const port = yield* listen(HttpServer.serve(app as HttpApp.Default))
    const { text } = yield* talk(port, (socket) => socket.write(of.send ?? get))
    const requests = /^NONSENSE|x{9999}/.test(of.send ?? get) ? 0 : text.split("HTTP/1.1 ").length - 1
    for (let i = 0; i < requests; i++) yield* answered(Queue.take(ended))
    return [withoutDate(text), ...lines].join("\n")
  }).pipe(Effect.scoped, Effect.provide(server))

const same = (of: Case) =>
  Effect.gen(function*() {
    const platform = yield* on(nodeServer, of)
    assert.isAbove(platform.length, 0)
    assert.strictEqual(yield* on(ownServer, of), platform)
  })

describe("a client gets the same", () => {
  for (const [name, app] of Object.entries(responses)) {
    it.live(`of ${name}`, () => same({ app: () => app }))
    it.live(`of ${name}, asked for by HEAD`, () => same({ app: () => app, send: head }))
  }
  for (const [name, of] of Object.entries(requests)) it.live(`for ${name}`, () => same(of))
})

describe("what is closed after a response is closed in the same order", () => {
  for (const [name, app] of Object.entries(finalizers)) it.live(name, () => same({ app }))
})
