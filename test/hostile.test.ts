/**
 * Whatever bytes arrive, the answer is a small, correct one: never a 500, never
 * silence.
 */
import { HttpApp, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, FastCheck, Layer } from "effect"
import {
  ExceptionHandlers,
  Forwarded,
  Middleware,
  ProblemDetails,
  RequestId,
  Stack,
  TrustedHost
} from "effect-middleware"
import * as Http from "node:http"
import * as Net from "node:net"

const mark = Middleware.make({ name: "Mark", response: (draft) => draft.set("x-mark", "1") })
const errors = ExceptionHandlers.byTag({ Unused: () => ProblemDetails.toResponse({ status: 400 }) })
const guard = Middleware.forRoutes(["/admin/*", "/users/:id"], mark)
const exempt = Middleware.exceptRoutes(["/health"], Middleware.dispatch("Pass", (_, next) => next))

const arrival = { hosts: ["localhost", "*.localhost", "127.0.0.1"] } as const
const stacks = {
  direct: Stack.make(
    RequestId.middleware({ trust: "all" }),
    Forwarded.middleware({ trust: "none" }),
    TrustedHost.middleware(arrival),
    errors,
    guard,
    exempt
  ),
  "by x-forwarded": Stack.make(
    Forwarded.middleware({ trust: { proxies: ["loopback"] }, fields: ["proto", "host", "port", "prefix"] }),
    RequestId.middleware({ trust: "proxy" }),
    TrustedHost.middleware({ ...arrival, source: "client", canonical: "apex" }),
    errors,
    guard,
    exempt
  ),
  "by forwarded": Stack.make(
    Forwarded.middleware({ trust: { hops: 2 }, header: "forwarded" }),
    RequestId.middleware({ trust: "proxy" }),
    TrustedHost.middleware({ ...arrival, source: "client" }),
    errors,
    guard,
    exempt
  )
}
const app = HttpServerResponse.text("ok")

const start = (stack: Middleware.Middleware<never, TrustedHost.UntrustedHost>, options: Http.ServerOptions = {}) =>
  Effect.map(
    Layer.build(Layer.provideMerge(
      Stack.serve(app, stack),
      NodeHttpServer.layer(() => Http.createServer(options), { port: 0, host: "127.0.0.1" })
    )),
    (context) => {
      const { address } = Context.get(context, HttpServer.HttpServer)
      return address._tag === "TcpAddress" ? address.port : 0
    }
  )

/** Writes bytes to a socket and gives back the status line and the body's end; closing unanswered is a failure. */
const raw = (port: number, bytes: Buffer | string) =>
  Effect.async<{ readonly status: number; readonly text: string }>((resume) => {
    const socket = Net.connect(port, "127.0.0.1", () => socket.write(bytes))
    let text = ""
    socket.setEncoding("latin1")
    socket.on("data", (chunk) => (text += chunk))
    socket.on("error", (error) => resume(Effect.die(error)))
    socket.on("close", () => resume(Effect.succeed({ status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), text })))
    return Effect.sync(() => socket.destroy())
  })

const get = (target: string, headers: ReadonlyArray<string>, method = "GET") =>
  Buffer.from([`${method} ${target} HTTP/1.1`, "Connection: close", ...headers, "", ""].join("\r\n"), "latin1")

const host = "Host: localhost"
const kib = (n: number, text = "x") => text.repeat(Math.ceil((n * 1024) / text.length)).slice(0, n * 1024)
const padded = (n: number): ReadonlyArray<readonly [string, string]> => [
  ["x-forwarded-for", kib(n, "1.2.3.4, ")],
  ["x-forwarded-for", kib(n, " ") + "1.2.3.4"],
  ["x-forwarded-for", kib(n, ",") + "1.2.3.4"],
  ["x-forwarded-host", kib(n, "a.")],
  ["x-forwarded-proto", kib(n, "https,")],
  ["forwarded", kib(n, `for="[::1]";proto=http;`)],
  ["forwarded", kib(n, `"`)],
  ["forwarded", `for="${kib(n, "\\\\")}`],
  ["x-request-id", kib(n)],
  ["x-any", kib(n)]
]

describe.each(Object.entries(stacks))("%s", (_, stack) => {
  it.scoped.each(padded(15))("a header of 15 KiB over a socket: %s", ([name, value]) =>
    Effect.gen(function*() {
      const { status } = yield* raw(yield* start(stack), get("/", [host, `${name}: ${value}`]))
      assert.include([200, 400], status)
    }))

  it.scoped.each(padded(64))(
    "a header of 64 KiB where the server allows it: %s",
    ([name, value]) =>
      Effect.gen(function*() {
        const port = yield* start(stack, { maxHeaderSize: 256 * 1024 })
        assert.include([200, 400], (yield* raw(port, get("/", [host, `${name}: ${value}`]))).status)
      })
  )

  it.effect.each(padded(64))(
    "a header of 64 KiB through the web handler: %s",
    ([name, value]) =>
      Effect.gen(function*() {
        const handler = HttpApp.toWebHandler(stack(app))
        const response = yield* Effect.promise(() =>
          handler(new Request("http://localhost/", { headers: { host: "localhost", [name]: value } }))
        )
        assert.include([200, 400], response.status)
      })
  )

  it.scoped.each(
    [
      ["absolute-form for a trusted host", get("http://localhost/a?b", [host]), 200],
      ["absolute-form for another host", get("http://evil.test/a", [host]), 400],
      ["absolute-form with user info", get("http://localhost@evil.test/", [host]), 400],
      ["absolute-form without a path", get("http://localhost", [host]), 200],
      ["asterisk-form", get("*", [host], "OPTIONS"), 200],
      ["a target that is only a query", get("/?%", [host]), 200],
      ["a target of broken escapes", get("/%zz%ff%", [host]), 200],
      ["a target with a fragment", get("/a#b", [host]), 200],
      ["a target of 12 KiB", get("/" + kib(12, "%2f"), [host]), 200],
      ["bytes that are no UTF-8 in the target, which Node refuses itself", get("/\xff\xfe\xc0\x80", [host]), 400],
      ["bytes that are no UTF-8 in a header", get("/", [host, "X-Request-Id: \xff\xfe", "X-Any: \xc0\x80"]), 200],
      ["bytes that are no UTF-8 in the host", get("/", ["Host: \xff\xfe"]), 400],
      ["two hosts", get("/", [host, host]), 400],
      ["two hosts, the second another", get("/", [host, "Host: evil.test"]), 400],
      ["no host", get("/", []), 400],
      ["an empty host", get("/", ["Host:"]), 400],
      ["a host with a path", get("/", ["Host: localhost/admin?"]), 400],
      ["a host with two ports", get("/", ["Host: localhost:80:80"]), 400],
      ["a host with user info", get("/", ["Host: evil.test:x@localhost"]), 400],
      ["two ids", get("/", [host, "X-Request-Id: a", "X-Request-Id: b"]), 200],
      ["many x-forwarded-for", get("/", [host, ...Array.from({ length: 500 }, () => "X-Forwarded-For: 1.1.1.1")]), 200],
      ["both families", get("/", [host, "X-Forwarded-For: 1.1.1.1", "Forwarded: for=2.2.2.2"]), 200]
    ] as const
  )("%s", ([name, bytes, status]) =>
    Effect.gen(function*() {
      const reply = yield* raw(yield* start(stack), bytes)
      assert.strictEqual(reply.status, status, `${name}: ${reply.text.slice(0, 200)}`)
      assert.notInclude(reply.text, "evil.test")
    }))

  it.effect.prop(
    "any header field whatever gets an answer that is no 500",
    [
      FastCheck.constantFrom(...Forwarded.hiddenHeaders, "host", "x-request-id", "cookie", "accept", "origin"),
      // what `Request` itself would take
      FastCheck.string({ unit: FastCheck.integer({ min: 32, max: 255 }).map((code) => String.fromCharCode(code)) })
    ],
    ([name, value]) =>
      Effect.gen(function*() {
        const handler = HttpApp.toWebHandler(stack(app))
        const response = yield* Effect.promise(() =>
          handler(new Request("http://localhost/", { headers: { host: "localhost", [name]: value } }))
        )
        assert.include([200, 308, 400], response.status)
      })
  )
})

it.effect.prop(
  "no request header switches a middleware off (CVE-2025-29927)",
  [FastCheck.dictionary(FastCheck.stringMatching(/^x-[a-z-]{1,20}$/), FastCheck.stringMatching(/^[ -~]{0,40}$/))],
  ([headers]) =>
    Effect.gen(function*() {
      const handler = HttpApp.toWebHandler(stacks.direct(app))
      const response = yield* Effect.promise(() =>
        handler(new Request("http://localhost/admin/x", { headers: { ...headers, host: "evil.test" } }))
      )
      assert.deepStrictEqual([response.status, response.headers.get("x-mark")], [400, null])
      const allowed = yield* Effect.promise(() =>
        handler(new Request("http://localhost/admin/x", { headers: { ...headers, host: "localhost" } }))
      )
      assert.deepStrictEqual([allowed.status, allowed.headers.get("x-mark")], [200, "1"])
    })
)
