import { HttpApiSchema, HttpRouter, HttpServerRequest, HttpServerResponse, Socket } from "@effect/platform"
import { NodeSocket } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, Logger, Schema } from "effect"
import { ExceptionHandlers, Forwarded, HttpsRedirect, Middleware, Stack, TrustedHost } from "effect-middleware"
import * as Http from "node:http"
import { assertLinear } from "./internal/hostile.js"
import { answered } from "./utils/laws.js"
import { listen, mounts, send } from "./utils/TestApp.js"

describe("policy", () => {
  const plain: HttpsRedirect.Facts["client"] = {
    scheme: "http",
    schemeKnown: true,
    hostname: "example.com",
    port: undefined,
    prefix: undefined
  }
  const secure = { ...plain, scheme: "https" } as const
  const unknown = { ...plain, schemeKnown: false }

  interface Request extends Partial<Omit<HttpsRedirect.Facts, "client">> {
    readonly client?: Partial<HttpsRedirect.Facts["client"]>
  }

  const decide = (options: HttpsRedirect.Options, { client, ...facts }: Request) =>
    HttpsRedirect.policy(options)({ method: "GET", target: "/", ...facts, client: { ...plain, ...client } })

  const summary = (options: HttpsRedirect.Options, request: Request) => {
    const decision = decide(options, request)
    return decision._tag === "Redirect"
      ? `${decision.status} ${decision.location}`
      : decision._tag === "Reject"
      ? decision.reason
      : decision._tag
  }

  type Row = [rule: string, options: HttpsRedirect.Options, request: Request, expected: string]
  const table = (title: string, rows: Array<Row>) =>
    describe(title, () => {
      it.each(rows)("%s", (_, options, request, expected) => {
        assert.strictEqual(summary(options, request), expected)
      })
    })

  const upgrade = "websocket"
  const acme = "/.well-known/acme-challenge/token_-1"

  table("what passes", [
    ["https", {}, { client: secure }, "Allow"],
    ["https, with nothing else right", { others: "refuse" }, {
      client: { ...secure, hostname: undefined },
      method: "POST",
      upgrade
    }, "Allow"],
    ["http does not", {}, {}, "307 https://example.com/"],
    ["a scheme that nobody has stated", {}, { client: unknown }, "Unknown"],
    ["even with nothing else right", { others: "refuse" }, {
      client: { ...unknown, hostname: undefined },
      method: "POST",
      upgrade
    }, "Unknown"],
    ["an https that nobody has stated is as unknown", {}, { client: { ...secure, schemeKnown: false } }, "Unknown"]
  ])

  table("routes", [
    ["a challenge of ACME passes", {}, { target: acme }, "Allow"],
    ["and needs no mention of the scheme", {}, { target: acme, client: unknown }, "Allow"],
    [
      "its folder does not",
      {},
      { target: "/.well-known/acme-challenge" },
      "307 https://example.com/.well-known/acme-challenge"
    ],
    ["nor what else is well known", {}, { target: "/.well-known/x" }, "307 https://example.com/.well-known/x"],
    ["nor another method", {}, { target: acme, method: "POST" }, `307 https://example.com${acme}`],
    ["nor another spelling", {}, {
      target: "/.well-known/acme-challenge/%2e%2e/admin"
    }, "307 https://example.com/.well-known/acme-challenge/%2e%2e/admin"],
    ["nor a path that leads out of it", {}, {
      target: "/.well-known/acme-challenge/../../admin"
    }, "307 https://example.com/.well-known/acme-challenge/../../admin"],
    ["a route of one's own passes", { exceptRoutes: ["GET /health"] }, { target: "/health" }, "Allow"],
    ["beside it", { exceptRoutes: ["GET /health"] }, { target: acme }, "Allow"],
    ["in its own spelling alone", { exceptRoutes: ["/health"] }, {
      target: "/HEALTH"
    }, "307 https://example.com/HEALTH"],
    ["by its own method alone", { exceptRoutes: ["GET /health"] }, {
      target: "/health",
      method: "HEAD"
    }, "307 https://example.com/health"],
    ["as the place sees it", { exceptRoutes: ["/health"] }, { target: "/health", original: "/api/health" }, "Allow"],
    ["and not as it came", { exceptRoutes: ["/health"] }, {
      target: "/x",
      original: "/health"
    }, "307 https://example.com/health"]
  ])

  table("what is refused", [
    ["a WebSocket", {}, { upgrade }, "upgrade"],
    ["a WebSocket in any case", {}, { upgrade: "WebSocket" }, "upgrade"],
    ["a WebSocket among others", {}, { upgrade: "h2c, websocket" }, "upgrade"],
    ["a WebSocket without a host", {}, { upgrade, client: { hostname: undefined } }, "upgrade"],
    ["another upgrade is not", {}, { upgrade: "h2c" }, "307 https://example.com/"],
    ["no host", {}, { client: { hostname: undefined } }, "host"],
    ["no host, whatever the method", { others: "refuse" }, {
      client: { hostname: undefined },
      method: "POST"
    }, "host"],
    ["another method, if it is said", { others: "refuse" }, { method: "POST" }, "method"],
    ["the preflight of one", { others: "refuse" }, { method: "OPTIONS" }, "method"],
    ["a method that is GET to no server", { others: "refuse" }, { method: "get" }, "method"],
    ["GET is not", { others: "refuse" }, { method: "GET" }, "307 https://example.com/"],
    ["HEAD is not", { others: "refuse" }, { method: "HEAD" }, "307 https://example.com/"]
  ])

  table("the status", [
    ["is 307", {}, {}, "307 https://example.com/"],
    ["for every method", {}, { method: "POST" }, "307 https://example.com/"],
    ["or 308", { status: 308 }, {}, "308 https://example.com/"],
    ["for every method", { status: 308 }, { method: "DELETE" }, "308 https://example.com/"],
    ["or one for the others", { status: 308, others: 307 }, { method: "POST" }, "307 https://example.com/"],
    ["and one for GET", { status: 308, others: 307 }, { method: "GET" }, "308 https://example.com/"],
    ["and for HEAD", { others: 308 }, { method: "HEAD" }, "307 https://example.com/"]
  ])

  const ports = { 80: 8443, 8080: 9443, 8081: 443 }
  table("the port", [
    ["is 443, which is not written", {}, {}, "307 https://example.com/"],
    ["is not the one of http", {}, { client: { port: 8080 } }, "307 https://example.com/"],
    ["may be another", { port: 8443 }, { client: { port: 8080 } }, "307 https://example.com:8443/"],
    ["443 is not written", { port: 443 }, { client: { port: 8080 } }, "307 https://example.com/"],
    ["80 would be", { port: 80 }, {}, "307 https://example.com:80/"],
    ["goes by the one of http", { port: ports }, { client: { port: 8080 } }, "307 https://example.com:9443/"],
    ["which is 80 where there is none", { port: ports }, {}, "307 https://example.com:8443/"],
    ["443 is not written there either", { port: ports }, { client: { port: 8081 } }, "307 https://example.com/"],
    ["is 443 for one that is not named", { port: ports }, { client: { port: 8082 } }, "307 https://example.com/"],
    ["is 443 for 80 that is not named", { port: { 8080: 8443 } }, {}, "307 https://example.com/"]
  ])

  table("where it leads", [
    ["path and query stay as they are", {}, { target: "/a%2F/../b?c=d&e" }, "307 https://example.com/a%2F/../b?c=d&e"],
    ["two slashes are no authority", {}, { target: "//evil.test/" }, "307 https://example.com//evil.test/"],
    ["a backslash is no authority", {}, { target: "/\\evil.test" }, "307 https://example.com/\\evil.test"],
    ["what has no slash is no authority", {}, { target: "@evil.test/" }, "307 https://example.com/"],
    ["nor more of the host", {}, { target: ".evil.test/" }, "307 https://example.com/"],
    ["a line feed is no header", {}, { target: "/\r\na: b" }, "307 https://example.com/%0D%0Aa:%20b"],
    ["an absolute target loses its authority", {}, { target: "http://evil.test/a?b" }, "307 https://example.com/a?b"],
    ["* is the root", {}, { target: "*", method: "OPTIONS" }, "307 https://example.com/"],
    ["an address stays", {}, { client: { hostname: "[::1]", port: 80 } }, "307 https://[::1]/"],
    ["a mount's prefix comes back", {}, { target: "/x", original: "/api/x?y" }, "307 https://example.com/api/x?y"],
    ["a proxy's prefix too", {}, { target: "/x", client: { prefix: "/app" } }, "307 https://example.com/app/x"],
    ["both do", { port: 8443 }, {
      target: "?y",
      original: "/api?y",
      client: { prefix: "/app" }
    }, "307 https://example.com:8443/app/api?y"]
  ])

  it("a redirect says what it is", () => {
    assert.deepStrictEqual(decide({ status: 308, port: 8443 }, { target: "/a" }), {
      _tag: "Redirect",
      location: "https://example.com:8443/a",
      status: 308
    })
  })

  const text = FastCheck.oneof(FastCheck.string({ unit: "binary" }), FastCheck.webUrl(), FastCheck.webPath())

  it.prop("it leads to the host that was asked for, by https, and no further", [
    text,
    FastCheck.constantFrom("example.com", "[2001:db8::1]", "127.0.0.1"),
    FastCheck.option(FastCheck.integer({ min: 1, max: 65535 }), { nil: undefined }),
    FastCheck.constantFrom(undefined, "/app", "/a/b")
  ], ([target, hostname, port, prefix]) => {
    for (const path of [target, `/${target}`, `//${target}`, `http://evil.test${target}`]) {
      const decision = decide({ port: { 8080: 8443 } }, { target: path, client: { hostname, port, prefix } })
      if (decision._tag !== "Redirect") return assert.fail("not redirected")
      assert.match(decision.location, /^[!-~]+$/)
      const url = new URL(decision.location)
      assert.deepStrictEqual(
        [url.protocol, url.hostname, url.port, url.username, url.password],
        ["https:", hostname, port === 8080 ? "8443" : "", "", ""]
      )
      const client = { ...secure, hostname: url.hostname }
      assert.strictEqual(decide({}, { target: url.pathname, client })._tag, "Allow", "it does not come back")
    }
  })

  describe("mistakes", () => {
    it.each<[rule: string, options: unknown, message: RegExp]>([
      ["a status changes the method", { status: 301 }, /status is 301: write 307 or 308, which keep the method$/],
      [
        "a status of others does",
        { others: 302 },
        /others is 302: write 307 or 308, which keep the method, or "refuse"/
      ],
      ["others are another word", { others: "redirect" }, /others is redirect: write/],
      ["status is a word", { status: "refuse" }, /status is refuse: write/],
      ["the port is none", { port: 0 }, /port has 0: write 1 to 65535/],
      ["the port is too high", { port: 65536 }, /port has 65536/],
      ["the port is broken", { port: 8443.5 }, /port has 8443\.5/],
      ["the port is a text", { port: "8443" }, /port has 8443: write/],
      ["a port of the map is none", { port: { 80: 443, 8080: 0 } }, /port has 0: .*\{ 8080: 8443 \}/],
      ["a port of http is none", { port: { 0: 8443 } }, /port has 0/],
      ["a port of http is a name", { port: { http: 8443 } }, /port has NaN/],
      ["a route cannot be exempt", { exceptRoutes: ["/assets*"] }, /exceptRoutes: "\/assets\*" .*: write "\/\*"/],
      ["a route is everything", { exceptRoutes: ["/*"] }, /exempts everything: leave the middleware out/]
    ])("throws when %s, and says what to write", (_, options, message) => {
      assert.throws(() => HttpsRedirect.policy(options as HttpsRedirect.Options), TypeError, message)
    })

    it("the ends of the ports are none", () => {
      assert.strictEqual(
        summary({ port: { 1: 65535, 65535: 1 } }, { client: { port: 1 } }),
        "307 https://example.com:65535/"
      )
    })
  })

  it("is linear", () => {
    const policy = HttpsRedirect.policy({ exceptRoutes: ["/health/:id"] })
    assertLinear((target) => policy({ client: plain, method: "GET", target }))
    assertLinear((path) => policy({ client: plain, method: "GET", target: `/health/${path}` }))
    assertLinear((upgrade) => policy({ client: plain, method: "GET", target: "/", upgrade }))
  })
})

describe("middleware", () => {
  const ok = HttpServerResponse.text("ok")
  const proxied = Forwarded.middleware({ trust: { hops: 1 }, fields: ["proto", "host", "prefix"] })
  const came = (proto: string, headers: Record<string, string> = {}) => ({
    host: "example.com",
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-proto": proto,
    ...headers
  })
  const websocket = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "sec-websocket-version": "13"
  }

  describe.each(mounts)("$name", ({ mount }) => {
    it.scoped("passes, redirects and refuses", () =>
      Effect.gen(function*() {
        const request = yield* mount(ok, Stack.make(proxied, HttpsRedirect.middleware({ others: "refuse" })))
        const passed = yield* request({ headers: came("https") })
        assert.deepStrictEqual([passed.status, passed.body, passed.headers.location], [200, "ok", undefined])
        const redirected = yield* request({
          path: "/a%2Fb?c=d",
          headers: came("http", { "host": "example.com:8080", "x-forwarded-prefix": "/app" })
        })
        assert.deepStrictEqual(
          [redirected.status, redirected.headers.location, redirected.headers["cache-control"], redirected.body],
          [307, "https://example.com/app/a%2Fb?c=d", "no-store", ""]
        )
        const refused = yield* request({ method: "POST", headers: came("http"), body: "secret" })
        assert.strictEqual(refused.status, 403)
        assert.strictEqual(refused.headers["content-type"], "application/problem+json")
        assert.deepStrictEqual(JSON.parse(refused.body), {
          title: "Forbidden",
          status: 403,
          detail: "This resource is served by https alone"
        })
        const challenge = yield* request({ path: "/.well-known/acme-challenge/x", headers: came("http") })
        assert.strictEqual(challenge.body, "ok")
      }))
  })

  it.effect.each<[options: HttpsRedirect.Options, method: string, status: number, cacheControl: string]>([
    [{}, "GET", 307, "no-store"],
    [{ status: 308 }, "GET", 308, "private"],
    [{ status: 308, others: 307 }, "POST", 307, "no-store"],
    [{ others: 308 }, "POST", 308, "private"]
  ])(
    "no shared cache keeps a redirect, and a browser only a 308: %j",
    ([options, method, status, cacheControl]) =>
      Effect.gen(function*() {
        const app = Stack.make(proxied, HttpsRedirect.middleware(options))(ok)
        const reply = yield* send(app, { method, headers: came("http") })
        assert.deepStrictEqual([reply.status, reply.headers["cache-control"]], [status, cacheControl])
      })
  )

  it.effect("answers without running the app, and refuses with one answer for every reason", () =>
    Effect.gen(function*() {
      const stack = Stack.make(proxied, HttpsRedirect.middleware({ others: "refuse" }))
      const app = stack(Effect.dieMessage("the app ran"))
      assert.strictEqual((yield* send(app, { headers: came("http") })).status, 307)
      const bodies = new Set<string>()
      for (
        const init of [
          { method: "POST", headers: came("http") },
          { headers: came("http", { host: "user@evil.test" }) },
          { headers: came("http", websocket) }
        ]
      ) {
        const { body, headers, status } = yield* send(app, init)
        assert.deepStrictEqual([status, headers["cache-control"]], [403, "no-store"])
        bodies.add(body)
      }
      assert.strictEqual(bodies.size, 1)
    }))

  it.effect("a refusal is a failure to handle, and knows why", () =>
    Effect.gen(function*() {
      const handled = Stack.make(
        ExceptionHandlers.byTag({
          HttpsRequired: (error: HttpsRedirect.HttpsRequired) => HttpServerResponse.text(error.message, { status: 426 })
        }),
        proxied,
        HttpsRedirect.middleware({ others: "refuse" })
      )
      const why = (init: Parameters<typeof send>[1]) =>
        Effect.map(send(handled(ok), init), ({ body, status }) => `${status} ${body}`)
      const because = "426 The request came by plain http and cannot be redirected: "
      assert.strictEqual(
        yield* why({ method: "POST", headers: came("http") }),
        `${because}its method is neither GET nor HEAD`
      )
      assert.strictEqual(yield* why({ headers: came("http", { host: "" }) }), `${because}it has no valid host`)
      assert.strictEqual(yield* why({ headers: came("http", websocket) }), `${because}it opens a WebSocket`)
    }))

  it("a refusal has a schema, and never what the client sent", () => {
    const error = new HttpsRedirect.HttpsRequired({ reason: "upgrade" })
    assert.deepStrictEqual(Schema.encodeSync(HttpsRedirect.HttpsRequired)(error), {
      _tag: "HttpsRequired",
      reason: "upgrade"
    })
    assert.strictEqual(HttpsRedirect.HttpsRequired.identifier, "effect-middleware/HttpsRedirect/HttpsRequired")
    assert.strictEqual(HttpApiSchema.getStatusError(HttpsRedirect.HttpsRequired), 403)
  })

  it("has the name that it is given", () => {
    assert.strictEqual(HttpsRedirect.middleware().name, "HttpsRedirect")
    assert.strictEqual(HttpsRedirect.middleware({ name: "Secure" }).name, "Secure")
  })

  it.effect("believes no header of a client's own", () =>
    Effect.gen(function*() {
      const app = Stack.make(Forwarded.middleware({ trust: "none" }), HttpsRedirect.middleware())(ok)
      const forged = Object.fromEntries(Forwarded.hiddenHeaders.map((name) => [name, "https"]))
      const { headers, status } = yield* send(app, {
        headers: { ...forged, "front-end-https": "on", "x-forwarded-host": "evil.test", "host": "example.com" }
      })
      assert.deepStrictEqual([status, headers.location], [307, "https://example.com/"])
    }))

  it.effect("a forged host goes no further than TrustedHost", () =>
    Effect.gen(function*() {
      const app = Stack.make(
        proxied,
        TrustedHost.middleware({ hosts: ["example.com"], source: "client" }),
        HttpsRedirect.middleware()
      )(ok)
      const to = (host: string) => send(app, { headers: came("http", { "x-forwarded-host": host }) })
      assert.strictEqual((yield* to("example.com")).headers.location, "https://example.com/")
      const forged = yield* to("evil.test")
      assert.deepStrictEqual([forged.status, forged.headers.location], [400, undefined])
    }))

  it.effect("inside a mounted router it leads back to the whole path", () =>
    Effect.gen(function*() {
      const inner = HttpRouter.empty.pipe(
        HttpRouter.get("/x", ok),
        HttpsRedirect.middleware({ exceptRoutes: ["/health"] })
      )
      const app = HttpRouter.empty.pipe(HttpRouter.mountApp("/api", inner), proxied)
      const { headers } = yield* send(app, { path: "/api/x?y=z", headers: came("http") })
      assert.strictEqual(headers.location, "https://example.com/api/x?y=z")
      assert.strictEqual((yield* send(app, { path: "/api/health", headers: came("http") })).status, 404)
    }))

  describe("a scheme that nobody has stated", () => {
    const logged = <A>(effect: Effect.Effect<A>) => {
      const lines: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${message}`))
      return Effect.as(Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger)), lines)
    }
    const { "x-forwarded-proto": _, ...unstated } = came("")

    it.effect("is no loop, and the log is told once", () =>
      Effect.gen(function*() {
        const app = Stack.make(proxied, HttpsRedirect.middleware({ exceptRoutes: ["/health"] }))(ok)
        const lines = yield* logged(Effect.gen(function*() {
          assert.strictEqual((yield* send(app, { path: "/health", headers: unstated })).body, "ok")
          for (const headers of [unstated, came("ftp"), unstated]) {
            assert.strictEqual((yield* send(app, { headers })).body, "ok")
          }
        }))
        assert.deepStrictEqual(lines, [
          "WARN HttpsRedirect: a trusted proxy does not state the scheme, so http is not redirected: " +
          "have the proxy set X-Forwarded-Proto and list \"proto\" in the fields of Forwarded"
        ])
      }))

    it.effect("each middleware tells for itself", () =>
      Effect.gen(function*() {
        const lines = yield* logged(Effect.gen(function*() {
          yield* send(Stack.make(proxied, HttpsRedirect.middleware())(ok), { headers: unstated })
          yield* send(Stack.make(proxied, HttpsRedirect.middleware())(ok), { headers: unstated })
        }))
        assert.strictEqual(lines.length, 2)
      }))

    it.effect("one that is stated is not worth a line", () =>
      Effect.gen(function*() {
        const app = Stack.make(proxied, HttpsRedirect.middleware())(ok)
        const lines = yield* logged(Effect.gen(function*() {
          yield* send(app, { headers: came("https") })
          yield* send(app, { headers: came("http") })
        }))
        assert.deepStrictEqual(lines, [])
      }))
  })

  describe("a WebSocket, over a socket", () => {
    const echo = Effect.scoped(Effect.gen(function*() {
      const socket = yield* Effect.orDie(HttpServerRequest.upgrade)
      const write = yield* socket.writer
      yield* Effect.ignore(socket.runRaw(write))
      return HttpServerResponse.empty()
    }))

    /** The status of a handshake: 101, or of the response that takes its place. */
    const handshake = (port: number, headers: Record<string, string>) =>
      Effect.async<number | undefined>((resume) => {
        const message = Http.request({
          port,
          host: "127.0.0.1",
          headers: { ...headers, ...websocket },
          agent: false
        })
        message.on("upgrade", ({ statusCode }, socket) => {
          socket.destroy()
          resume(Effect.succeed(statusCode))
        })
        message.on("response", (response) => {
          response.resume()
          response.on("end", () => resume(Effect.succeed(response.statusCode)))
        })
        message.on("error", (error) => resume(Effect.die(error)))
        message.end()
      })

    it.scoped("is refused by http, opens by https, and is left alone where nobody knows", () =>
      Effect.gen(function*() {
        const port = yield* listen(Stack.serve(echo, Stack.make(proxied, HttpsRedirect.middleware())))
        assert.strictEqual(yield* answered(handshake(port, came("http"))), 403)
        assert.strictEqual(yield* answered(handshake(port, came("ws"))), 403)
        assert.strictEqual(yield* answered(handshake(port, came("https"))), 101)
        assert.strictEqual(yield* answered(handshake(port, came("wss"))), 101)
        assert.strictEqual(yield* answered(handshake(port, { host: "example.com" })), 101)
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))))

    it.scoped("a client learns that it does not open", () =>
      Effect.gen(function*() {
        const stack = Stack.make(Forwarded.middleware({ trust: "none" }), HttpsRedirect.middleware())
        const port = yield* listen(Stack.serve(echo, stack))
        const socket = yield* Socket.makeWebSocket(`ws://127.0.0.1:${port}/`)
        const error = yield* answered(Effect.orDie(Effect.flip(socket.run(() => {}))))
        assert.deepInclude(error, { _tag: "SocketError", reason: "Open" })
      }).pipe(Effect.provide(NodeSocket.layerWebSocketConstructor)))
  })

  // tests/middleware/test_https_redirect.py
  describe("Starlette's own", () => {
    const app = (options: HttpsRedirect.Options = {}) =>
      Stack.make(Middleware.provide(Forwarded.Client, client), HttpsRedirect.middleware(options))(ok)
    const client = Effect.map(
      HttpServerRequest.HttpServerRequest,
      ({ headers, url }) =>
        Forwarded.policy({ trust: "none" })({
          peer: "203.0.113.9",
          encrypted: headers["x-base"] === "https",
          host: headers.host,
          target: url,
          header: () => undefined
        })
    )

    it.effect.each<[base: string, host: string, status: number, location: string | undefined]>([
      ["https", "testserver", 200, undefined],
      ["http", "testserver", 307, "https://testserver/"],
      ["http", "testserver:80", 307, "https://testserver/"],
      ["http", "testserver:443", 307, "https://testserver/"]
    ])("%s://%s", ([base, host, status, location]) =>
      Effect.gen(function*() {
        const reply = yield* send(app(), { headers: { host, "x-base": base } })
        assert.deepStrictEqual([reply.status, reply.headers.location], [status, location])
      }))

    it.effect("http://testserver:123 differs: a port does not speak both, unless it is said", () =>
      Effect.gen(function*() {
        const headers = { "host": "testserver:123", "x-base": "http" }
        assert.strictEqual((yield* send(app(), { headers })).headers.location, "https://testserver/")
        const same = app({ port: { 123: 123 } })
        assert.strictEqual((yield* send(same, { headers })).headers.location, "https://testserver:123/")
      }))
  })
})
