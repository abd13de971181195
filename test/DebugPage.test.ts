import {
  type HttpApp,
  HttpLayerRouter,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Data, Deferred, Effect, Exit, Fiber, Layer, Logger, Option, Redacted } from "effect"
import {
  Cors,
  DebugPage,
  ExceptionHandlers,
  Forwarded,
  HttpException,
  Middleware,
  ProblemDetails,
  RequestId,
  ServerErrors,
  Stack,
  TrustedHost
} from "effect-middleware"
import type { Snapshot } from "../src/internal/snapshot.js"
import { answered } from "./utils/laws.js"
import { type App, type Init, listen, type Reply, request, send } from "./utils/TestApp.js"

const secret = "0123456789abcdef"

// ------------------------------------------------------------------------------------------------------------- policy

describe("policy", () => {
  const local = { host: "localhost:3000" }
  type Fields = { readonly [name: string]: string }
  const rows: ReadonlyArray<
    readonly [what: string, sees: boolean, peer: string | undefined, fields: Fields]
  > = [
    ["this machine", true, "127.0.0.1", local],
    ["this machine, by IPv6", true, "::1", { host: "[::1]:3000" }],
    ["this machine, of two stacks", true, "::ffff:127.0.0.1", { host: "127.0.0.1" }],
    ["another loopback address", true, "127.8.9.1", { host: "127.0.0.2:80" }],
    ["a name of this machine", true, "127.0.0.1", { host: "app.localhost:3000" }],
    ["in capitals", true, "127.0.0.1", { host: "LOCALHOST" }],
    ["another machine", false, "192.0.2.1", local],
    ["another machine, by IPv6", false, "2001:db8::1", local],
    ["an address that is none", false, "127.1", local],
    ["no address", false, undefined, local],
    ["no host", false, "127.0.0.1", {}],
    ["a host that leads here", false, "127.0.0.1", { host: "evil.test" }],
    ["a host that looks like it", false, "127.0.0.1", { host: "localhost.evil.test" }],
    ["a host that ends like it", false, "127.0.0.1", { host: "evillocalhost" }],
    ["a host that begins like an address", false, "127.0.0.1", { host: "127.0.0.1.evil.test" }],
    ["a host that is none", false, "127.0.0.1", { host: "localhost@evil.test" }],
    ["another address as host", false, "127.0.0.1", { host: "192.0.2.1" }],
    ["a page of this site", true, "127.0.0.1", { ...local, "sec-fetch-site": "same-origin" }],
    ["a page of another port", true, "127.0.0.1", { ...local, "sec-fetch-site": "same-site" }],
    ["an address that was typed", true, "127.0.0.1", { ...local, "sec-fetch-site": "none" }],
    ["a page of another site", false, "127.0.0.1", { ...local, "sec-fetch-site": "cross-site" }],
    ["a page of who knows what", false, "127.0.0.1", { ...local, "sec-fetch-site": "cross-site, same-origin" }],
    ["an old browser, of this site", true, "127.0.0.1", { ...local, origin: "http://localhost:5173" }],
    ["an old browser, of this site by TLS", true, "127.0.0.1", { ...local, origin: "https://LOCALHOST" }],
    ["an old browser, of another site", false, "127.0.0.1", { ...local, origin: "https://evil.test" }],
    ["an old browser, of a site like this", false, "127.0.0.1", { ...local, origin: "http://localhost.evil.test" }],
    ["an old browser, of none", false, "127.0.0.1", { ...local, origin: "null" }],
    ["an old browser, of an application", false, "127.0.0.1", { ...local, origin: "app://localhost" }],
    [
      "a browser that says both",
      true,
      "127.0.0.1",
      { ...local, origin: "http://a.localhost", "sec-fetch-site": "same-site" }
    ],
    ["this machine, by HTTP/2", true, "127.0.0.1", { ":authority": "localhost:3000" }],
    ["two hosts, of which one leads here", false, "127.0.0.1", { host: "evil.test", ":authority": "localhost" }],
    ["a host that leads here, by HTTP/2", false, "127.0.0.1", { ":authority": "evil.test" }],
    ...[
      "cf-connecting-ip",
      "forwarded",
      "true-client-ip",
      "via",
      "x-client-ip",
      "x-cluster-client-ip",
      "x-forwarded",
      "x-forwarded-for",
      "x-forwarded-host",
      "x-forwarded-proto",
      "x-original-forwarded-for",
      "x-real-ip"
    ].map((name) => [`through a proxy: ${name}`, false, "127.0.0.1", { ...local, [name]: "" }] as const)
  ]
  for (const [what, sees, peer, fields] of rows) {
    it(`${what}: ${sees}`, () => {
      const facts: DebugPage.Facts = { peer, header: (name) => fields[name] }
      assert.strictEqual(DebugPage.policy()(facts), sees)
      assert.strictEqual(
        DebugPage.policy({ secret: Redacted.make(secret) })(facts),
        sees,
        "with a secret that it has not"
      )
      assert.isFalse(DebugPage.policy({ secret: Redacted.make(secret), loopback: false })(facts), "by its secret alone")
    })
  }

  it.each([
    ["/", true],
    ["/?x=http://evil.test/", true],
    ["*", true],
    ["http://localhost:3000/", true],
    ["http://127.0.0.1/", true],
    ["http://evil.test/", false],
    ["https://localhost@evil.test/", false],
    ["evil.test:80", false],
    ["localhost:80", true]
  ])("the target %s: %s", (target, sees) => {
    const facts: DebugPage.Facts = { peer: "127.0.0.1", header: (name) => local[name as "host"], target }
    assert.strictEqual(DebugPage.policy()(facts), sees)
  })

  const secrets: ReadonlyArray<readonly [what: string, sees: boolean, fields: Fields, cookie?: string]> = [
    ["as a field", true, { "x-debug-secret": secret }],
    ["as a cookie", true, {}, secret],
    ["wrong", false, { "x-debug-secret": secret.replace("f", "e") }],
    ["wrong at the start", false, { "x-debug-secret": secret.replace("0", "1") }],
    ["too short", false, { "x-debug-secret": secret.slice(1) }],
    ["too long", false, { "x-debug-secret": `${secret}0` }],
    ["empty", false, { "x-debug-secret": "" }, ""],
    ["from a page of another site", false, { "x-debug-secret": secret, "sec-fetch-site": "cross-site" }, secret],
    ["from a page of this site", true, { "x-debug-secret": secret, host: "a.test", origin: "https://a.test" }],
    ["from an old browser, of another site", false, {
      "x-debug-secret": secret,
      host: "a.test",
      origin: "https://b.test"
    }]
  ]
  for (const [what, sees, fields, cookie] of secrets) {
    it(`the secret, ${what}: ${sees}`, () => {
      for (const loopback of [true, false]) {
        const policy = DebugPage.policy({ secret: Redacted.make(secret), loopback })
        assert.strictEqual(policy({ peer: "192.0.2.1", header: (name) => fields[name], cookie }), sees)
      }
      assert.isFalse(DebugPage.policy()({ peer: "192.0.2.1", header: (name) => fields[name], cookie }))
    })
  }

  it.each([
    [{ loopback: false }, /nobody can see it: give a secret/],
    [{ secret: Redacted.make("0123456789abcde") }, /fewer than 16 characters/],
    [{ bodyLimit: -1 }, /bodyLimit is -1/],
    [{ bodyLimit: 1.5 }, /bodyLimit is 1.5/],
    [{ bodyLimit: Number.NaN }, /bodyLimit is NaN/],
    [{ editor: "code" }, /editor is no template/],
    [{ editor: "vscode://file/" }, /editor is no template/],
    [{ editor: "{file}" }, /editor is no template/]
  ])("%j throws", (options, message) => {
    assert.throws(() => DebugPage.make(options), message)
    assert.throws(() => ServerErrors.middleware({ debug: options }), message)
  })
})

// --------------------------------------------------------------------------------------------------------------- page

class OutOfStock extends Data.TaggedError("OutOfStock")<{ readonly item: string; readonly apiToken: string }> {}

const routes = HttpRouter.empty.pipe(
  HttpRouter.get(
    "/defect",
    Effect.sync(() => {
      throw new TypeError("not a function")
    })
  ),
  HttpRouter.get(
    "/items/:id",
    Effect.zipRight(
      Effect.annotateLogs(Effect.log("looking"), { shelf: 7, password: "hunter22" }),
      new OutOfStock({ item: "tea", apiToken: "s3cr3t-token" })
    ).pipe(
      Effect.withSpan("stock.lookup", { attributes: { item: "tea" } })
    )
  ),
  HttpRouter.get("/phase", HttpServerResponse.text("x", { headers: { "x-throw": "1" } })),
  HttpRouter.get("/fields", HttpServerResponse.text("x", { headers: { "x-a": "1\r\nx-b: 2" } })),
  HttpRouter.get("/conflict", HttpException.conflict()),
  HttpRouter.get("/unavailable", HttpException.serviceUnavailable()),
  HttpRouter.get("/handler", Effect.fail("handler")),
  HttpRouter.post(
    "/echo",
    Effect.zipRight(Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ text }) => text), Effect.die("x"))
  )
)
const throwing = Middleware.make({
  name: "Throwing",
  request: ({ request }) => {
    if (request.url === "/inward") throw new RangeError("on the way in")
  },
  response: (draft) => {
    if (draft.has("x-throw")) throw new RangeError("on the way out")
  }
})
const inside = Stack.make(
  RequestId.middleware(),
  ProblemDetails.middleware(),
  Cors.middleware({ origins: "*" }),
  throwing,
  ExceptionHandlers.byPredicate((error) => error === "handler", () => Effect.die("in a handler"))
)
const debugging = (options?: ServerErrors.Options<never>) => Stack.make(ServerErrors.middleware(options), inside)
const app = routes.pipe(debugging({ debug: true }))

const quiet = Logger.remove(Logger.defaultLogger)
/** One request over a socket. */
const ask = (app: App, init: Init): Effect.Effect<Reply> =>
  Effect.scoped(
    Effect.flatMap(
      listen(HttpServer.serve(app as HttpApp.Default)),
      (port) => request(port, { ...init, headers: { host: "localhost", ...init.headers } })
    )
  ).pipe(Effect.provide(quiet))
const json = { accept: "application/json" }
const snapshot = (init: Init, of: App = app as App): Effect.Effect<Snapshot> =>
  Effect.map(ask(of, { ...init, headers: { ...init.headers, ...json } }), ({ body, headers, status }) => {
    assert.deepStrictEqual([status, headers["content-type"]], [500, "application/json"])
    return JSON.parse(body) as Snapshot
  })
const failedOf = ({ onion }: Snapshot) => onion.filter(({ failed }) => failed).map(({ name }) => name)

describe("the page", () => {
  it.scopedLive.each([
    ["text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"],
    ["*/*", "text/plain; charset=utf-8"],
    [undefined, "text/plain; charset=utf-8"],
    ["image/png", "text/plain; charset=utf-8"],
    ["text/*", "text/plain; charset=utf-8"],
    ["text/html;q=0, text/plain;q=0.1", "text/plain; charset=utf-8"],
    ["application/json", "application/json"],
    ["application/problem+json", "application/json"],
    ["application/*", "application/json"]
  ])("to who accepts %s is %s", ([accept, type]) =>
    Effect.gen(function*() {
      const reply = yield* ask(app as App, { path: "/defect", headers: accept === undefined ? {} : { accept } })
      assert.deepStrictEqual([reply.status, reply.headers["content-type"]], [500, type])
      assert.include(reply.body, "not a function")
      assert.deepInclude(reply.headers, {
        "cache-control": "no-store",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        // those inside have edited it
        "access-control-allow-origin": "*"
      })
      assert.match(reply.headers["x-request-id"]!, /^[-\da-f]{36}$/)
      assert.include(reply.headers.vary!.toLowerCase(), "accept")
      const policy = reply.headers["content-security-policy"]
      if (!type!.startsWith("text/html")) return assert.isUndefined(policy)
      const nonce = /'nonce-([-\da-f]{36})'/.exec(policy!)?.[1]
      assert.match(policy!, /^default-src 'none'/)
      assert.include(reply.body, `nonce="${nonce}"`)
    }))

  it.scopedLive("has another nonce each time", () =>
    Effect.gen(function*() {
      const policies = yield* Effect.replicateEffect(
        ask(app as App, { path: "/defect", headers: { accept: "text/html" } }),
        2
      )
      assert.notStrictEqual(
        policies[0]!.headers["content-security-policy"],
        policies[1]!.headers["content-security-policy"]
      )
    }))

  it.scopedLive("keeps its policy and is stored by nobody, whatever those inside say of responses", () =>
    Effect.gen(function*() {
      const says = Middleware.make({
        name: "Says",
        response: (draft) => {
          draft.set("content-security-policy", "default-src 'self'")
          draft.set("cache-control", "public, max-age=60")
          draft.set("x-says", "1")
        }
      })
      const outside = Middleware.make({ name: "Outside", response: (draft) => draft.set("x-outside", "1") })
      const said = routes.pipe(Stack.make(outside, ServerErrors.middleware({ debug: true }), says, throwing)) as App
      for (const path of ["/defect", "/phase"]) {
        const { body, headers } = yield* ask(said, { path, headers: { accept: "text/html" } })
        const nonce = /'nonce-([-\da-f]{36})'/.exec(headers["content-security-policy"]!)?.[1]
        assert.include(body, `nonce="${nonce}"`)
        assert.deepInclude(headers, { "cache-control": "no-store", "x-says": "1", "x-outside": "1" })
      }
      const replaces = Middleware.make({
        name: "Replaces",
        response: (draft) =>
          draft.replace(HttpServerResponse.text("other", { headers: { "cache-control": "private" } }))
      })
      const other = yield* ask(routes.pipe(Stack.make(ServerErrors.middleware({ debug: true }), replaces)) as App, {
        path: "/defect",
        headers: { accept: "text/html" }
      })
      assert.strictEqual(other.headers["cache-control"], "private")
      assert.notProperty(other.headers, "content-security-policy")
      const well = yield* ask(said, { path: "/conflict", headers: { accept: "text/html" } })
      assert.deepInclude(well.headers, {
        "cache-control": "public, max-age=60",
        "content-security-policy": "default-src 'self'"
      })
    }))

  it.scopedLive("shows the failure, its spans, its logs, its request and its services, and no secrets", () =>
    Effect.gen(function*() {
      const seen = yield* snapshot({
        path: "/items/7?token=s3cr3t-query",
        headers: { authorization: "Bearer s3cr3t-field", cookie: "sid=s3cr3t-cookie" }
      })
      assert.strictEqual(seen.cause.kind, "fail")
      if (seen.cause.kind !== "fail") return
      const { error } = seen.cause
      assert.deepStrictEqual([error.name, error.fields], ["OutOfStock", [["item", "\"tea\""], [
        "apiToken",
        "<redacted>"
      ]]])
      assert.deepStrictEqual(error.spans, ["stock.lookup", "http.server GET"])
      assert.strictEqual(error.frames[0]?.file, "test/DebugPage.test.ts")
      const source = error.frames[0]?.source
      assert.include(source?.lines[error.frames[0]!.line - source.from], "new OutOfStock(")
      assert.deepStrictEqual(
        seen.spans.map(({ attributes, depth, name, status }) => [name, depth, status, attributes[0]]),
        [
          ["stock.lookup", 0, "failed", ["item", "tea"]]
        ]
      )
      assert.deepStrictEqual(seen.logs.map(({ level, message }) => [level, message]), [["INFO", "looking"]])
      assert.deepInclude(seen.logs[0]!.annotations, ["shelf", "7"])
      assert.deepInclude(seen.logs[0]!.annotations, ["password", "<redacted>"])
      assert.deepInclude(seen.request, { method: "GET", route: "/items/:id" })
      assert.deepStrictEqual(seen.request.query, [["token", "<redacted>"]])
      assert.isTrue(
        seen.services.some(({ key, value }) => key === "effect-middleware/RequestId" && /[-\da-f]{36}/.test(value))
      )
      assert.isTrue(seen.environment.some(([name, value]) => name === "effect" && /^3\./.test(value)))
      assert.notInclude(JSON.stringify(seen), "s3cr3t")
      assert.notInclude(JSON.stringify(seen), "hunter22")
    }))

  it.scopedLive("shows the content that the handler has read", () =>
    Effect.gen(function*() {
      const seen = yield* snapshot({
        path: "/echo",
        method: "POST",
        headers: { "content-type": "application/json" },
        body: "{\"a\":1,\"password\":\"hunter22\"}"
      })
      assert.deepStrictEqual(JSON.parse(seen.request.body.text!), { a: 1, password: "<redacted>" })
    }))

  it.scopedLive("and none of what is longer than the limit", () =>
    Effect.gen(function*() {
      const small = routes.pipe(debugging({ debug: { bodyLimit: 3 } }))
      const seen = yield* snapshot({
        path: "/echo",
        method: "POST",
        headers: { "content-type": "text/plain" },
        body: "four"
      }, small as App)
      assert.isNull(seen.request.body.text)
    }))

  it.scopedLive.each([
    ["/items/7", "app"],
    ["/inward", "Throwing"],
    ["/phase", "Throwing"],
    ["/handler", "ExceptionHandlers"],
    ["/fields", "app"]
  ])("of %s says that %s failed", ([path, name]) =>
    Effect.gen(function*() {
      const seen = yield* snapshot({ path: path! })
      assert.deepStrictEqual(failedOf(seen), [name])
      assert.deepStrictEqual(seen.onion.map(({ name }) => name), [
        "ServerErrors",
        "RequestId",
        "ProblemDetails",
        "Cors",
        "Throwing",
        "ExceptionHandlers",
        "app"
      ])
    }))

  it.scopedLive("knows the stacks further in, too", () =>
    Effect.gen(function*() {
      const denied = Middleware.make({
        name: "Denied",
        request: () => {
          throw new Error("x")
        }
      })
      const seen = yield* snapshot(
        { path: "/" },
        HttpRouter.empty.pipe(
          HttpRouter.get(
            "/",
            HttpServerResponse.empty().pipe(Stack.make(Middleware.when(() => true, denied), throwing))
          ),
          debugging({ debug: true })
        ) as App
      )
      assert.deepStrictEqual(failedOf(seen), ["Denied"])
      assert.deepStrictEqual(seen.onion.map(({ name }) => name).slice(-4), [
        "ExceptionHandlers",
        "Denied",
        "Throwing",
        "app"
      ])
    }))

  it.scopedLive("marks one member, although another has its name, and the phase that failed, although one had refused", () =>
    Effect.gen(function*() {
      const throws = (name: string, phase: "request" | "response") =>
        Middleware.make({
          name,
          [phase]: () => {
            throw new Error(phase)
          }
        })
      const route = HttpServerResponse.empty().pipe(throws("Throwing", "request"))
      const seen = yield* snapshot({}, route.pipe(debugging({ debug: true })) as App)
      assert.deepStrictEqual(seen.onion.map(({ failed, name }) => [name, failed]).slice(-4), [
        ["Throwing", false],
        ["ExceptionHandlers", false],
        ["Throwing", true],
        ["app", false]
      ])
      const both = HttpServerResponse.empty().pipe(
        Stack.make(ServerErrors.middleware({ debug: true }), throws("Outward", "response"), throws("Inward", "request"))
      )
      assert.deepStrictEqual(failedOf(yield* snapshot({}, both as App)), ["Outward"])
    }))

  it.scopedLive("marks what has failed last, where it was tried again", () =>
    Effect.gen(function*() {
      let tries = 0
      const throws = Middleware.make({
        name: "Throws",
        request: () => {
          throw new Error("x")
        }
      })
      const apps: ReadonlyArray<App> = [HttpServerResponse.empty().pipe(throws), Effect.die("app")]
      const retried = Effect.suspend(() => apps[tries++]!).pipe(Effect.sandbox, Effect.retry({ times: 1 }))
      const seen = yield* snapshot({}, Effect.unsandbox(retried).pipe(debugging({ debug: true })) as App)
      assert.deepStrictEqual([tries, failedOf(seen)], [2, ["app"]])
      tries = 0
      const again = Effect.suspend(() => apps[1 - tries++]!).pipe(Effect.sandbox, Effect.retry({ times: 1 }))
      const other = yield* snapshot({}, Effect.unsandbox(again).pipe(debugging({ debug: true })) as App)
      assert.deepStrictEqual([tries, failedOf(other)], [2, ["Throws"]])
    }))

  it.scopedLive("is nothing for what has an answer", () =>
    Effect.gen(function*() {
      for (const [path, status] of [["/conflict", 409], ["/unavailable", 503], ["/none", 404]] as const) {
        const reply = yield* ask(app as App, { path, headers: { accept: "text/html" } })
        assert.deepStrictEqual([reply.status, reply.body.includes("DebugPage")], [status, false])
      }
    }))

  it.scopedLive("goes before a handler", () =>
    Effect.gen(function*() {
      const handled = routes.pipe(
        debugging({ debug: true, handler: () => HttpServerResponse.text("handled", { status: 500 }) })
      )
      const seen = yield* ask(handled as App, { path: "/defect" })
      assert.include(seen.body, "not a function")
      const elsewhere = yield* ask(handled as App, { path: "/defect", headers: { via: "1.1 proxy" } })
      assert.strictEqual(elsewhere.body, "handled")
    }))

  it.scopedLive("of two requests at once has each its own", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const slow = HttpRouter.empty.pipe(
        HttpRouter.get(
          "/:name",
          Effect.gen(function*() {
            const { name } = yield* HttpRouter.params
            yield* Effect.log(`before ${name}`)
            yield* Deferred.await(gate).pipe(Effect.withSpan(`wait ${name}`))
            yield* Effect.log(`after ${name}`)
            return yield* Effect.dieMessage(`boom ${name}`)
          })
        ),
        debugging({ debug: true })
      )
      const fibers = yield* Effect.forEach(["a", "b", "c"], (name) =>
        Effect.fork(snapshot({ path: `/${name}` }, slow as App)))
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      yield* Deferred.succeed(gate, undefined)
      for (const [i, name] of ["a", "b", "c"].entries()) {
        const seen = yield* answered(Fiber.join(fibers[i]!))
        assert.include(seen.title, `boom ${name}`)
        assert.deepStrictEqual(
          seen.logs.map(({ message }) =>
            message
          ),
          [`before ${name}`, `after ${name}`]
        )
        assert.deepStrictEqual(seen.spans.map(({ name }) => name), [`wait ${name}`])
      }
    }))

  it.scopedLive("keeps no more logs and spans than it shows", () =>
    Effect.gen(function*() {
      const kept: Array<number> = []
      const counting: DebugPage.Service = {
        sees: () => true,
        render: ({ logs, spans }) =>
          Effect.sync(() => {
            kept.push(logs.length, spans.length)
            return HttpServerResponse.empty({ status: 500 })
          })
      }
      const many = Effect.repeatN(Effect.withSpan(Effect.log("again"), "once"), 2_000).pipe(
        Effect.zipRight(Effect.die("x")),
        debugging()
      )
      yield* Effect.provideService(
        Effect.provide(send(many as App), quiet),
        DebugPage.DebugPage,
        Option.some(counting)
      )
      assert.deepStrictEqual(kept, [500, 500])
      const loop = Effect.zipRight(Effect.repeatN(Effect.withSpan(Effect.log("again"), "once"), 2_000), Effect.die("x"))
      const seen = yield* snapshot({}, loop.pipe(debugging({ debug: true })) as App)
      assert.deepStrictEqual([seen.logs.length, seen.spans.length], [500, 500])
    }))
})

// ------------------------------------------------------------------------------------------------------------ enabled

describe("enabled", () => {
  const constant = "{\"title\":\"Internal Server Error\",\"status\":500"
  const shows = (app: App, headers: Record<string, string> = {}) =>
    Effect.map(ask(app, { path: "/defect", headers }), ({ body, status }) => {
      assert.strictEqual(status, 500)
      const shown = body.includes("not a function")
      if (!shown) assert.isTrue(body.startsWith(constant), body)
      return shown
    })
  const plain = routes.pipe(debugging()) as App
  const config = (entries: Record<string, string>) =>
    Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(entries))))
  const configured = DebugPage.layerConfig(Config.withDefault(Config.boolean("DEBUG"), false), {
    secret: Config.withDefault(Config.redacted("DEBUG_SECRET"), undefined)
  })

  it.scopedLive("by nothing: not", () => Effect.map(shows(plain), assert.isFalse))
  it.scopedLive("by an option", () => Effect.map(shows(app as App), assert.isTrue))
  it.scopedLive("by a layer", () => Effect.map(Effect.provide(shows(plain), DebugPage.layer()), assert.isTrue))
  it.scopedLive("by a layer, for one server", () =>
    Effect.gen(function*() {
      const port = yield* listen(Stack.serve(routes, debugging()).pipe(Layer.provide(DebugPage.layer())))
      const { body } = yield* request(port, { path: "/defect", headers: { host: "localhost" } })
      assert.include(body, "not a function")
    }).pipe(Effect.provide(quiet)))
  it.scopedLive("by a layer, but disabled by an option: not", () =>
    Effect.map(
      Effect.provide(shows(routes.pipe(debugging({ debug: false })) as App), DebugPage.layer()),
      assert.isFalse
    ))
  it.scopedLive("by a configuration", () =>
    Effect.gen(function*() {
      const by = (entries: Record<string, string>, headers = {}) =>
        Effect.provide(shows(plain, headers), Layer.provide(configured, config(entries)))
      const far = { via: "1.1 proxy", "x-debug-secret": secret }
      assert.deepStrictEqual(
        yield* Effect.all([
          by({ DEBUG: "true" }),
          by({ DEBUG: "false" }),
          by({}),
          by({ DEBUG: "true" }, far),
          by({ DEBUG: "true", DEBUG_SECRET: secret }, far)
        ]),
        [true, false, false, false, true]
      )
    }))
  it.scopedLive("by a configuration, without options", () =>
    Effect.map(
      Effect.provide(
        shows(plain),
        Layer.provide(DebugPage.layerConfig(Config.boolean("DEBUG")), config({ DEBUG: "true" }))
      ),
      assert.isTrue
    ))
  it.scoped("by a configuration that is wrong: the layer fails", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Layer.build(Layer.provide(configured, config({ DEBUG: "perhaps" }))))
      assert.isTrue(Exit.isFailure(exit))
      assert.include(String(exit), "DEBUG")
    }))
  it.scopedLive("and not for a target of another host", () =>
    Effect.gen(function*() {
      const always = Effect.die(new TypeError("not a function")).pipe(debugging({ debug: true })) as App
      const seen = (path: string) => Effect.map(ask(always, { path }), ({ body }) => body.includes("not a function"))
      assert.isFalse(yield* seen("http://evil.test/defect"))
      assert.isTrue(yield* seen("http://localhost/defect"))
    }))
  it.scopedLive("with a secret, from elsewhere", () =>
    Effect.gen(function*() {
      const guarded = routes.pipe(debugging({ debug: { secret: Redacted.make(secret), loopback: false } })) as App
      assert.isFalse(yield* shows(guarded))
      assert.isTrue(yield* shows(guarded, { "x-debug-secret": secret }))
      assert.isTrue(yield* shows(guarded, { cookie: `a=1; debug-secret=${secret}` }))
      const seen = yield* ask(guarded, {
        path: "/defect",
        headers: { "x-debug-secret": secret, cookie: `debug-secret=${secret}` }
      })
      assert.notInclude(seen.body, secret)
    }))
  it.scopedLive("inside Forwarded, for the client that it knows", () =>
    Effect.gen(function*() {
      const inside = (trust: Forwarded.Options["trust"]) =>
        routes.pipe(Stack.make(Forwarded.middleware({ trust }), debugging({ debug: true }))) as App
      assert.isTrue(yield* shows(inside("none")))
      assert.isTrue(yield* shows(inside({ hops: 1 })))
      // whatever the proxy says of where the client is, and although the fields are hidden
      for (const address of ["192.0.2.1", "127.0.0.1"]) {
        assert.isFalse(yield* shows(inside({ hops: 1 }), { "x-forwarded-for": address }))
        assert.isFalse(yield* shows(inside("none"), { "x-forwarded-for": address }))
      }
    }))
  it.scopedLive("in a web handler, whose clients have no address: by a secret alone", () =>
    Effect.gen(function*() {
      const of = (debug: DebugPage.Options, headers: Record<string, string>) =>
        Effect.map(send(routes.pipe(debugging({ debug })) as App, { path: "/defect", headers }), ({ body }) =>
          body.includes("not a function"))
      assert.isFalse(yield* of({}, {}))
      assert.isTrue(yield* of({ secret: Redacted.make(secret) }, { "x-debug-secret": secret }))
    }).pipe(Effect.provide(quiet)))
  it.scopedLive("behind a router of layers", () =>
    Effect.gen(function*() {
      const port = yield* listen(
        Stack.serveRouter(HttpLayerRouter.add("GET", "/", Effect.dieMessage("boom")), debugging({ debug: true }))
      )
      const { body } = yield* request(port, { headers: { host: "localhost", ...json } })
      assert.deepStrictEqual(failedOf(JSON.parse(body)), ["app"])
    }).pipe(Effect.provide(quiet)))
})

it("a host that is refused outside is no failure of the page's", () =>
  Effect.runPromise(
    Effect.map(
      ask(
        HttpServerResponse.empty().pipe(
          Stack.make(ServerErrors.middleware({ debug: true }), TrustedHost.middleware({ hosts: ["example.com"] }))
        ) as App,
        {}
      ),
      ({ status }) => assert.strictEqual(status, 400)
    )
  ))
