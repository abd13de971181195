import type { Etag } from "@effect/platform"
import {
  FileSystem,
  HttpApiSchema,
  type HttpApp,
  HttpBody,
  HttpRouter,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Schema, Stream } from "effect"
import type { Middleware } from "effect-middleware"
import { Conditional, Stack } from "effect-middleware"
import { curl, describeCurl } from "./utils/curl.js"
import { type App, type Init, listenTo, mounts, type Reply, request, send } from "./utils/TestApp.js"

const text = HttpServerResponse.text
const at = "Sun, 06 Nov 1994 08:49:37 GMT"
const later = "Sun, 06 Nov 1994 08:49:38 GMT"

type Answer = HttpServerResponse.HttpServerResponse | App

const ask = (app: Answer, init?: Init, options?: Conditional.Options) =>
  send((Conditional.middleware(options) as Middleware.Middleware)(app as HttpApp.Default), init)

const etagOf = (app: Answer, options?: Conditional.Options, init?: Init) =>
  Effect.map(ask(app, init, options), ({ headers }) => headers["etag"])

describe("what has an ETag", () => {
  it.effect("a 200 in memory, strong, of its bytes", () =>
    Effect.gen(function*() {
      const first = yield* etagOf(text("a"))
      assert.match(first!, /^"[\w-]{22}"$/)
      assert.strictEqual(yield* etagOf(text("a")), first)
      assert.notStrictEqual(yield* etagOf(text("b")), first)
      assert.strictEqual(
        yield* etagOf(HttpServerResponse.uint8Array(Buffer.from("a"), { contentType: "text/plain" })),
        first
      )
    }))

  it.effect("another one as another type", () =>
    Effect.gen(function*() {
      assert.notStrictEqual(yield* etagOf(text("a")), yield* etagOf(HttpServerResponse.html("a")))
    }))

  it.effect("HEAD the same as GET", () =>
    Effect.gen(function*() {
      const app = HttpRouter.empty.pipe(HttpRouter.get("/", text("a")))
      assert.strictEqual(yield* etagOf(app as App, {}, { method: "HEAD" }), yield* etagOf(app as App))
    }))

  it.effect("a raw text", () =>
    Effect.gen(function*() {
      assert.isDefined(yield* etagOf(HttpServerResponse.raw("a")))
    }))

  it.effect("weak, if so chosen", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* etagOf(text("a"), { etag: "weak" }), `W/${yield* etagOf(text("a"))}`)
    }))

  it.effect("up to a size", () =>
    Effect.gen(function*() {
      assert.isDefined(yield* etagOf(text("aaaa"), { maxSize: 4 }))
      assert.isUndefined(yield* etagOf(text("aaaaa"), { maxSize: 4 }))
      assert.isUndefined(yield* etagOf(HttpServerResponse.raw("éée"), { maxSize: 4 }))
      assert.isUndefined(yield* etagOf(text("a".repeat(1024 * 1024 + 1))))
    }))

  it.effect.each<[what: string, response: HttpServerResponse.HttpServerResponse, init?: Init]>([
    ["a 404", text("a", { status: 404 })],
    ["a 201", text("a", { status: 201 })],
    ["a 206", text("a", { status: 206 })],
    ["what answers a write", text("a"), { method: "POST" }],
    ["nothing", HttpServerResponse.empty()],
    ["a stream", HttpServerResponse.stream(Stream.make(Buffer.from("a")))],
    ["a form", HttpServerResponse.setBody(text(""), HttpBody.formData(new FormData()))],
    ["what nobody may store", text("a", { headers: { "cache-control": "private,No-Store" } })]
  ])("not %s", ([_, response, init]) =>
    Effect.gen(function*() {
      assert.isUndefined(yield* etagOf(response, {}, init))
    }))

  it.effect("not with false, but what there is still counts", () =>
    Effect.gen(function*() {
      assert.isUndefined(yield* etagOf(text("a"), { etag: false }))
      const tagged = text("a", { headers: { etag: `"1"` } })
      assert.strictEqual((yield* ask(tagged, { headers: { "if-none-match": `"1"` } }, { etag: false })).status, 304)
    }))

  it.effect("the handler's own stays", () =>
    Effect.gen(function*() {
      const own = text("a", { headers: { etag: `W/"mine"`, "last-modified": at } })
      const reply = yield* ask(own)
      assert.strictEqual(reply.headers["etag"], `W/"mine"`)
      assert.strictEqual(reply.headers["last-modified"], at)
      assert.strictEqual(reply.body, "a")
    }))

  it.effect("a directive that only looks like no-store does not count", () =>
    Effect.gen(function*() {
      assert.isDefined(yield* etagOf(text("a", { headers: { "cache-control": "x-no-store=1, no-storage" } })))
    }))
})

describe("304", () => {
  const page = text("a", {
    headers: {
      "cache-control": "max-age=60",
      "content-location": "/a",
      "content-language": "en",
      "content-security-policy": "default-src 'none'",
      etag: `"1"`,
      expires: later,
      "last-modified": at,
      vary: "accept",
      "x-other": "1"
    }
  }).pipe(HttpServerResponse.unsafeSetCookie("seen", "1"))

  it.effect("keeps what does not describe the content, cookies too", () =>
    Effect.gen(function*() {
      const { body, cookies, headers, status } = yield* ask(page, { headers: { "if-none-match": `"1"` } })
      assert.strictEqual(status, 304)
      assert.strictEqual(body, "")
      assert.deepStrictEqual(cookies, ["seen=1"])
      const { "set-cookie": _, ...rest } = headers
      assert.deepStrictEqual(rest, {
        "cache-control": "max-age=60",
        "content-location": "/a",
        "content-security-policy": "default-src 'none'",
        etag: `"1"`,
        expires: later,
        vary: "accept",
        "x-other": "1"
      })
    }))

  it.effect("by date alone, with the date", () =>
    Effect.gen(function*() {
      const dated = text("a", { headers: { "last-modified": at } })
      const reply = yield* ask(dated, { headers: { "if-modified-since": at } }, { etag: false })
      assert.strictEqual(reply.status, 304)
      assert.strictEqual(reply.headers["last-modified"], at)
    }))

  it.effect.each<[what: string, status: number, response: HttpServerResponse.HttpServerResponse, init: Init]>([
    ["GET, a list", 304, page, { headers: { "if-none-match": `"0", W/"1"` } }],
    ["GET, *", 304, page, { headers: { "if-none-match": "*" } }],
    ["GET, another tag", 200, page, { headers: { "if-none-match": `"0"` } }],
    ["GET, another tag and the date", 200, page, { headers: { "if-none-match": `"0"`, "if-modified-since": at } }],
    ["GET, the date", 304, page, { headers: { "if-modified-since": at } }],
    ["HEAD", 304, page, { method: "HEAD", headers: { "if-none-match": `"1"` } }],
    ["a weakened one, as Compression makes it", 304, page, { headers: { "if-none-match": `W/"1"` } }],
    ["POST", 200, page, { method: "POST", headers: { "if-none-match": `"1"` } }],
    ["a 204", 304, HttpServerResponse.empty(), { headers: { "if-none-match": "*" } }],
    ["a 404", 404, HttpServerResponse.empty({ status: 404 }), { headers: { "if-none-match": "*" } }],
    ["a redirect", 302, HttpServerResponse.redirect("/b"), { headers: { "if-none-match": "*" } }],
    ["a range of the same", 304, text("a", { status: 206, headers: { etag: `"1"` } }), {
      headers: { "if-none-match": `"1"`, range: "bytes=0-0" }
    }],
    ["If-Range", 200, page, { headers: { "if-range": `"0"`, range: "bytes=0-0" } }]
  ])("%s -> %i", ([_, status, response, init]) =>
    Effect.gen(function*() {
      assert.strictEqual((yield* ask(response, init)).status, status)
    }))

  it.effect("412 for what a read is not made for", () =>
    Effect.gen(function*() {
      for (const headers of [{ "if-match": `"0"` }, { "if-match": `W/"1"` }]) {
        const reply = yield* ask(page, { headers })
        assert.strictEqual(reply.status, 412)
        assert.strictEqual(reply.headers["content-type"], "application/problem+json")
        assert.strictEqual(JSON.parse(reply.body).status, 412)
      }
      const dated = text("a", { headers: { "last-modified": later } })
      assert.strictEqual((yield* ask(dated, { headers: { "if-unmodified-since": at } })).status, 412)
      assert.strictEqual((yield* ask(page, { headers: { "if-match": `"1"` } })).status, 200)
      // the weakened tag of a compressed response is no strong one
      assert.strictEqual((yield* ask(text("a"), { headers: { "if-match": "*" } }, { etag: "weak" })).status, 200)
    }))

  for (const mount of mounts) {
    it.scoped(`in ${mount.name}`, () =>
      Effect.gen(function*() {
        const send = yield* mount.mount(text("a"), Conditional.middleware())
        const first = yield* send()
        assert.strictEqual(first.status, 200)
        const second = yield* send({ headers: { "if-none-match": first.headers["etag"]! } })
        assert.strictEqual(second.status, 304)
        assert.strictEqual(second.body, "")
        assert.isUndefined(second.headers["content-length"])
        assert.strictEqual((yield* send({ headers: { "if-match": `"x"` } })).status, 412)
      }))
  }
})

describe("check", () => {
  let [runs, value, version] = [0, "a", 1]
  const reset = Effect.sync(() => void ([runs, value, version] = [0, "a", 1]))
  const read = Effect.sync(() => {
    runs++
    return text(value)
  })
  const write = Effect.sync(() => {
    runs++
    value = "b"
    version++
    return HttpServerResponse.empty()
  })
  const headers = { "Cache-Control": "max-age=60", vary: "accept" }
  const current = Effect.sync(() => ({ etag: `${version}`, lastModified: new Date(Date.parse(at) + 999), headers }))
  const app = Effect.flatMap(
    Effect.zip(HttpServerRequest.HttpServerRequest, current),
    ([{ method }, current]) => Conditional.check(method === "PUT" ? write : read, current)
  )
  const checked = (init?: Init) => send(app as App, init)

  it.effect("does not do the work of a read for which nothing has changed", () =>
    Effect.gen(function*() {
      yield* reset
      for (const init of [{ "if-none-match": `"1"` }, { "if-modified-since": at }]) {
        const reply = yield* checked({ headers: init })
        assert.strictEqual(reply.status, 304)
        assert.strictEqual(reply.headers["etag"], `"1"`)
        assert.strictEqual(reply.headers["cache-control"], "max-age=60")
        assert.strictEqual(reply.headers["vary"], "accept")
      }
      assert.strictEqual(runs, 0)
    }))

  it.effect("does it otherwise, and states the version", () =>
    Effect.gen(function*() {
      yield* reset
      const reply = yield* checked({ headers: { "if-none-match": `"0"` } })
      assert.strictEqual(reply.status, 200)
      assert.strictEqual(reply.body, "a")
      assert.strictEqual(reply.headers["etag"], `"1"`)
      assert.strictEqual(reply.headers["last-modified"], at)
      assert.strictEqual(reply.headers["cache-control"], "max-age=60")
      assert.strictEqual(runs, 1)
    }))

  it.effect("a write is made for the version that the client has seen, once", () =>
    Effect.gen(function*() {
      yield* reset
      const init = { method: "PUT", headers: { "if-match": `"1"` } }
      const first = yield* checked(init)
      assert.strictEqual(first.status, 204)
      // it is of the version before
      assert.isUndefined(first.headers["etag"])
      assert.strictEqual((yield* checked(init)).status, 412)
      assert.strictEqual(
        (yield* checked({ method: "PUT", headers: { "if-unmodified-since": "Sat, 05 Nov 1994 08:49:37 GMT" } })).status,
        412
      )
      assert.strictEqual((yield* checked({ method: "PUT", headers: { "if-none-match": "*" } })).status, 412)
      assert.strictEqual(runs, 1)
    }))

  it.effect("of nothing", () =>
    Effect.gen(function*() {
      const create = Conditional.check(HttpServerResponse.empty({ status: 201 }), null)
      const put = (headers: Record<string, string>) =>
        Effect.map(send(create as App, { method: "PUT", headers }), ({ status }) => status)
      assert.strictEqual(yield* put({ "if-none-match": "*" }), 201)
      assert.strictEqual(yield* put({ "if-match": "*" }), 412)
      assert.strictEqual(yield* put({}), 201)
    }))

  it.effect("platform's Etag, and a handler's own fields", () =>
    Effect.gen(function*() {
      const weak = Conditional.check({
        etag: { _tag: "Weak", value: "1" } satisfies Etag.Weak,
        headers: { "x-a": "stated" }
      })
      const reply = yield* send(weak(text("a", { headers: { "x-a": "own" } })) as App)
      assert.strictEqual(reply.headers["etag"], `W/"1"`)
      assert.strictEqual(reply.headers["x-a"], "own")
      const failing = yield* send(weak(text("a", { status: 404 })) as App)
      assert.isUndefined(failing.headers["etag"])
    }))

  it.effect("fails by its type, which a handler may catch", () =>
    Effect.gen(function*() {
      const caught = Conditional.check(text("a"), { etag: "1" }).pipe(
        Effect.catchTag("PreconditionFailed", ({ message }) => text(message, { status: 409 }))
      )
      const reply = yield* send(caught as App, { headers: { "if-match": `"2"` } })
      assert.strictEqual(reply.status, 409)
      assert.strictEqual(reply.body, "A precondition of the request is not met")
      assert.strictEqual(HttpApiSchema.getStatusError(Schema.typeSchema(Conditional.PreconditionFailed)), 412)
      assert.strictEqual(HttpApiSchema.getStatusError(Schema.typeSchema(Conditional.PreconditionRequired)), 428)
      assert.strictEqual(new Conditional.PreconditionRequired().message, "The request has no If-Match")
    }))

  it.effect("beside the middleware, which adds what was stated to what is made of a value", () =>
    Effect.gen(function*() {
      const rendered = Effect.map(
        Conditional.check(Effect.succeed("value"), { etag: "1" }),
        (value) => HttpServerResponse.isServerResponse(value) ? value : text(value)
      )
      assert.strictEqual(yield* etagOf(rendered as App), `"1"`)
      assert.strictEqual((yield* ask(rendered as App, { headers: { "if-none-match": `"1"` } })).status, 304)
    }))

  it("an etag that cannot be sent is a mistake", () => {
    for (const etag of ["a\"b", "a b", "é\u0100", "a\n"]) {
      assert.throws(() => Conditional.check({ etag })(Effect.void), "Conditional: etag has a quote")
    }
  })
})

describe("requireIfMatch", () => {
  const options: Conditional.Options = { requireIfMatch: ["PUT /items/:id", "PATCH /items/:id"] }
  it.effect.each<[status: number, init: Init]>([
    [428, { method: "PUT", path: "/items/1" }],
    [428, { method: "PATCH", path: "/items/1" }],
    [428, { method: "PUT", path: "/ITEMS/1/" }],
    [428, { method: "PUT", path: "/items/1", headers: { "if-none-match": `"1"` } }],
    [428, { method: "PUT", path: "/items/1", headers: { "if-unmodified-since": at } }],
    [200, { method: "PUT", path: "/items/1", headers: { "if-match": `"1"` } }],
    [200, { method: "PUT", path: "/items/1", headers: { "if-none-match": "*" } }],
    [200, { method: "GET", path: "/items/1" }],
    [200, { method: "POST", path: "/items/1" }],
    [200, { method: "PUT", path: "/others/1" }]
  ])("%i: %j", ([status, init]) =>
    Effect.gen(function*() {
      const reply = yield* ask(text("a"), init, options)
      assert.strictEqual(reply.status, status)
      if (status === 428) assert.strictEqual(reply.headers["content-type"], "application/problem+json")
    }))
})

describe("a write whose precondition nobody has looked at", () => {
  const lines: Array<string> = []
  const logged = Logger.replace(Logger.defaultLogger, Logger.make(({ message }) => void lines.push(String(message))))

  it.scoped("is told once", () =>
    Effect.gen(function*() {
      lines.length = 0
      const checks = Conditional.check(HttpServerResponse.empty(), { etag: "1" })
      const app = HttpRouter.empty.pipe(
        HttpRouter.put("/forgotten", HttpServerResponse.empty()),
        HttpRouter.put("/checked", checks),
        Conditional.middleware()
      )
      const put = (path: string, headers: Record<string, string>) => send(app as App, { method: "PUT", path, headers })
      yield* put("/checked", { "if-match": `"1"` })
      yield* put("/forgotten", {})
      assert.deepStrictEqual(lines.filter((line) => line.startsWith("Conditional")), [])
      yield* put("/forgotten", { "if-match": `"1"` })
      yield* put("/forgotten", { "if-match": `"1"` })
      assert.deepStrictEqual(lines.filter((line) => line.startsWith("Conditional")), [
        "Conditional: a write had a precondition, and nothing has looked at it: write Conditional.check before the work"
      ])
    }).pipe(Effect.provide(logged)))
})

describe("mistakes throw", () => {
  it.each<[options: Conditional.Options, message: string]>([
    [{ maxSize: -1 }, "Conditional: maxSize is \"-1\": write a number of bytes, such as 65536 or \"64 KiB\""],
    [{ etag: "strongest" as never }, "Conditional: etag is \"strongest\": write \"strong\", \"weak\" or false"],
    [{ requireIfMatch: ["items"] }, "forRoutes"]
  ])("%j", (options, message) => {
    assert.throws(() => Conditional.middleware(options), message)
  })
})

// --- over a socket ---------------------------------------------------------------------------------------------------

/** Versions, and a file, over a socket. */
const served = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped()
  yield* fs.writeFileString(`${folder}/file.txt`, "of a file")
  const app = HttpRouter.empty.pipe(
    HttpRouter.get("/text", text("a text")),
    HttpRouter.get("/dated", text("dated", { headers: { "last-modified": at } })),
    HttpRouter.get("/file", HttpServerResponse.file(`${folder}/file.txt`)),
    HttpRouter.put("/item", Conditional.check(HttpServerResponse.empty(), { etag: "7" })),
    Stack.make(Conditional.middleware())
  )
  const port = yield* listenTo(app as HttpApp.Default)
  return { folder, port, url: (path: string) => `http://127.0.0.1:${port}${path}` }
}).pipe(Effect.provide(NodeFileSystem.layer), Effect.orDie)

describe("over a socket", () => {
  it.scopedLive("a 304 has a date, no content and no length, and the connection goes on", () =>
    Effect.gen(function*() {
      const { port } = yield* served
      for (const method of ["GET", "HEAD"]) {
        const first: Reply = yield* request(port, { method, path: "/text" })
        assert.strictEqual(first.headers["content-length"], "6")
        const { body, headers, status } = yield* request(port, {
          method,
          path: "/text",
          headers: { "if-none-match": first.headers["etag"]! }
        })
        assert.strictEqual(status, 304)
        assert.strictEqual(body, "")
        assert.strictEqual(headers["etag"], first.headers["etag"])
        assert.isDefined(headers["date"])
        for (const name of ["content-length", "content-type", "transfer-encoding"]) assert.isUndefined(headers[name])
      }
    }))

  it.scopedLive("a file has platform's own tag, and its date", () =>
    Effect.gen(function*() {
      const { port } = yield* served
      const { headers } = yield* request(port, { path: "/file" })
      const conditions: ReadonlyArray<Record<string, string>> = [
        { "if-none-match": headers["etag"]! },
        { "if-modified-since": headers["last-modified"]! }
      ]
      for (const condition of conditions) {
        const reply = yield* request(port, { path: "/file", headers: condition })
        assert.strictEqual(reply.status, 304)
        assert.strictEqual(reply.body, "")
      }
    }))

  it.scopedLive("Node's fetch", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const get = (headers: Record<string, string>) =>
        Effect.promise(async () => {
          const response = await fetch(url("/text"), { headers })
          return { status: response.status, etag: response.headers.get("etag"), body: await response.text() }
        })
      const first = yield* get({})
      assert.strictEqual(first.body, "a text")
      assert.deepStrictEqual(yield* get({ "if-none-match": first.etag! }), { status: 304, etag: first.etag, body: "" })
    }))
})

describeCurl("curl", () => {
  it.scopedLive("--etag-save, --etag-compare", () =>
    Effect.gen(function*() {
      const { folder, url } = yield* served
      const tag = `${folder}/etag`
      assert.deepStrictEqual(yield* curl("--etag-save", tag, url("/text")), { status: 200, body: "a text" })
      assert.deepStrictEqual(yield* curl("--etag-compare", tag, url("/text")), { status: 304, body: "" })
      assert.deepStrictEqual(yield* curl("--etag-compare", tag, url("/dated")), { status: 200, body: "dated" })
    }))

  it.scopedLive("--time-cond", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      assert.deepStrictEqual(yield* curl("-z", at, url("/dated")), { status: 304, body: "" })
      assert.deepStrictEqual(yield* curl("-z", "Sun, 06 Nov 1994 08:49:36 GMT", url("/dated")), {
        status: 200,
        body: "dated"
      })
      // If-Unmodified-Since; of an equal date curl says by itself that it is not before
      assert.strictEqual((yield* curl("-z", `-${later}`, url("/dated"))).status, 200)
      assert.strictEqual((yield* curl("-z", "-Sun, 06 Nov 1994 08:49:36 GMT", url("/dated"))).status, 412)
    }))

  it.scopedLive("a write", () =>
    Effect.gen(function*() {
      const { url } = yield* served
      const put = (match: string) =>
        Effect.map(curl("-X", "PUT", "-H", `If-Match: ${match}`, url("/item")), ({ status }) => status)
      assert.strictEqual(yield* put(`"7"`), 204)
      assert.strictEqual(yield* put(`"6"`), 412)
      assert.strictEqual(yield* put(`W/"7"`), 412)
      assert.strictEqual(yield* put("*"), 204)
    }))
})
