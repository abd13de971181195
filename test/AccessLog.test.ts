import { HttpRouter, HttpServerRequest, HttpServerRespondable, HttpServerResponse, Socket } from "@effect/platform"
import { NodeSocket } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import {
  Data,
  Deferred,
  Duration,
  Effect,
  FastCheck,
  Fiber,
  Logger,
  LogLevel,
  Queue,
  type Scope,
  Stream,
  TestClock
} from "effect"
import { AccessLog, Entropy, Forwarded, Middleware, RequestId, Stack } from "effect-middleware"
import * as Net from "node:net"
import { assertLinear } from "./internal/hostile.js"
import { answered, stackOf, wrap } from "./utils/laws.js"
import { type App, type Init, listen, mounts, request, send, unknownRoute } from "./utils/TestApp.js"

const ok = HttpServerResponse.text("hello")
const forwarded = Forwarded.middleware({ trust: "none" })

class Refused extends Data.TaggedError("Refused")<{}> implements HttpServerRespondable.Respondable {
  [HttpServerRespondable.symbol]() {
    return HttpServerResponse.empty({ status: 403 })
  }
}

const client = Forwarded.policy({ trust: "none" })({
  peer: "192.0.2.1",
  host: undefined,
  target: "/",
  header: () => undefined
})

const entry = (facts: Partial<AccessLog.Entry> = {}): AccessLog.Entry => ({
  method: "GET",
  path: "/users/7",
  query: "",
  route: "/users/:id",
  client,
  protocolVersion: "1.1",
  requestHeaders: {},
  status: 200,
  responseHeaders: {},
  bytes: 5,
  duration: Duration.millis(12),
  aborted: false,
  failed: false,
  refusal: undefined,
  fields: {},
  ...facts
})

const never = (): never => assert.fail("no chance was asked for")

// what must not reach a log: controls, line and paragraph separators, marks of direction, what is not to be seen
const invisible = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/

describe("policy", () => {
  const decide = (
    options: AccessLog.Options = {},
    facts: Partial<AccessLog.Entry> = {},
    chance: () => number = never
  ): AccessLog.Line | undefined => AccessLog.policy(options)(entry(facts), chance)
  const annotations = (options: AccessLog.Options = {}, facts: Partial<AccessLog.Entry> = {}) =>
    decide(options, facts)!.annotations

  const plain = {
    "http.request.method": "GET",
    "http.route": "/users/:id",
    "url.path": "/users/7",
    "http.response.status_code": 200,
    "http.response.body.size": 5,
    "http.server.request.duration": 0.012,
    "client.address": "192.0.2.1",
    "network.protocol.version": "1.1"
  }

  it("is a line", () => {
    assert.deepStrictEqual(decide(), { level: LogLevel.Info, message: "GET /users/:id 200", annotations: plain })
  })

  it("leaves out what is not known", () => {
    assert.deepStrictEqual(
      decide({}, {
        route: undefined,
        client: { ...client, address: undefined },
        protocolVersion: undefined,
        bytes: undefined
      }),
      {
        level: LogLevel.Info,
        message: "GET /users/7 200",
        annotations: {
          "http.request.method": "GET",
          "url.path": "/users/7",
          "http.response.status_code": 200,
          "http.server.request.duration": 0.012
        }
      }
    )
  })

  it.each<[facts: Partial<AccessLog.Entry>, key: string, expected: unknown]>([
    [{ bytes: 0 }, "http.response.body.size", 0],
    [{ duration: Duration.nanos(1_234_567n) }, "http.server.request.duration", 0.001235],
    [{ duration: Duration.zero }, "http.server.request.duration", 0],
    [{ duration: Duration.hours(1) }, "http.server.request.duration", 3600],
    [{ aborted: true }, "http.response.aborted", true],
    [{ aborted: false }, "http.response.aborted", undefined],
    [{ requestHeaders: { "user-agent": "curl/8" } }, "user_agent.original", "curl/8"],
    [{ status: 404 }, "error.type", undefined],
    [{ status: 500 }, "error.type", "500"],
    [{ status: 599 }, "error.type", "599"],
    [{ status: 403, refusal: { by: "Guard", error: new Refused() } }, "refusal.by", "Guard"],
    [{ status: 403, refusal: { by: "Guard", error: new Refused() } }, "error.type", "Refused"],
    [{ status: 503, refusal: { by: "Guard", error: new Refused() } }, "error.type", "Refused"],
    [{ status: 400, refusal: { by: "Guard", error: new Refused() } }, "error.type", "Refused"],
    [{ status: 403, refusal: { by: "Guard", error: { _tag: "Plain" } } }, "error.type", "Plain"],
    [{ status: 403, refusal: { by: "Guard", error: new RangeError() } }, "error.type", "RangeError"],
    [{ status: 403, refusal: { by: "Guard", error: { _tag: 1 } } }, "error.type", undefined],
    [{ status: 403, refusal: { by: "Guard", error: Object.create(null) } }, "error.type", undefined],
    [{ status: 500, refusal: { by: "Guard", error: "no" } }, "error.type", "500"],
    [{ status: 500, refusal: { by: "Guard", error: null } }, "error.type", "500"],
    // a refusal that was answered well
    [{ status: 399, refusal: { by: "Guard", error: new Refused() } }, "refusal.by", "Guard"],
    [{ status: 399, refusal: { by: "Guard", error: new Refused() } }, "error.type", undefined]
  ])("%j: %s is %j", (facts, key, expected) => assert.strictEqual(annotations({}, facts)[key], expected))

  it("the user agent can be left out", () => {
    assert.notProperty(
      annotations({ userAgent: false }, { requestHeaders: { "user-agent": "curl/8" } }),
      "user_agent.original"
    )
  })

  describe("level", () => {
    const slow: AccessLog.Options = { slow: "1 second" }
    const second = Duration.seconds(1)
    it.each<[options: AccessLog.Options, facts: Partial<AccessLog.Entry>, expected: LogLevel.LogLevel]>([
      [{}, { status: 200 }, LogLevel.Info],
      [{}, { status: 404 }, LogLevel.Info],
      [{}, { status: 499, aborted: true }, LogLevel.Info],
      [{}, { aborted: true, failed: true }, LogLevel.Error],
      [{}, { status: 500 }, LogLevel.Error],
      [{}, { duration: Duration.hours(1) }, LogLevel.Info],
      [slow, { duration: Duration.millis(999) }, LogLevel.Info],
      [slow, { duration: second }, LogLevel.Warning],
      [slow, { duration: second, status: 500 }, LogLevel.Error],
      [slow, { duration: second, status: 101 }, LogLevel.Info],
      [{ level: () => LogLevel.Debug }, { status: 500 }, LogLevel.Debug],
      [{ ...slow, level: () => LogLevel.Debug }, { duration: second }, LogLevel.Debug],
      [{ ...slow, level: () => undefined }, { duration: second }, LogLevel.Warning],
      [{ level: () => undefined }, { status: 500 }, LogLevel.Error],
      [{ level: ({ status }) => status >= 400 ? LogLevel.Warning : undefined }, { status: 404 }, LogLevel.Warning]
    ])("%j, %j", (options, facts, expected) => assert.strictEqual(decide(options, facts)?.level, expected))

    it("none is no line", () => assert.isUndefined(decide({ level: () => LogLevel.None }, { status: 500 })))
  })

  it("skip leaves out whatever became of it", () => {
    const skip: AccessLog.Options["skip"] = ({ path }) => path === "/health"
    const options: AccessLog.Options = { skip, slow: "1 second", level: never, fields: never }
    for (const facts of [{}, { status: 500 }, { aborted: true }, { duration: Duration.hours(1) }]) {
      assert.isUndefined(decide(options, { ...facts, path: "/health" }))
      assert.isDefined(decide({ skip }, { ...facts, path: "/healthy" }))
    }
  })

  describe("sample", () => {
    it.each([[0, 0, false], [0.25, 0, true], [0.25, 0.2499, true], [0.25, 0.25, false], [0.25, 0.9999, false]])(
      "of %d, a chance of %d: %s",
      (sample, chance, written) => assert.strictEqual(decide({ sample }, {}, () => chance) !== undefined, written)
    )

    /** What throws is told of in the line, and so would be a chance that was asked for. */
    const unasked = (options: AccessLog.Options, facts: Partial<AccessLog.Entry> = {}) =>
      assert.notProperty(decide(options, facts, never)?.annotations, "exception.stacktrace")

    it("needs no chance for all of them", () => unasked({ sample: 1 }))

    it("writes all that is not ordinary", () => {
      const options: AccessLog.Options = { sample: 0, slow: "1 second" }
      for (const facts of [{ status: 500 }, { aborted: true }, { duration: Duration.seconds(1) }]) {
        unasked(options, facts)
      }
      for (const facts of [{ status: 499 }, { status: 101, duration: Duration.hours(1) }]) {
        assert.isUndefined(decide(options, facts, () => 0.5))
      }
    })
  })

  describe("query", () => {
    const query = "page=2&token=secret&sort=&flag&page=3&a=b=c"
    it.each<[option: AccessLog.Options["query"], query: string, expected: string | undefined]>([
      [undefined, query, undefined],
      ["none", query, undefined],
      [
        "names",
        query,
        "page=REDACTED&token=REDACTED&sort=REDACTED&REDACTED&page=REDACTED&a=REDACTED"
      ],
      [["page"], query, "page=2&token=REDACTED&sort=REDACTED&REDACTED&page=3&a=REDACTED"],
      [["flag", "a"], query, "page=REDACTED&token=REDACTED&sort=REDACTED&flag&page=REDACTED&a=b=c"],
      [["page"], "p%61ge=2&Page=3&page[]=4", "p%61ge=REDACTED&Page=REDACTED&page[]=REDACTED"],
      [["names"], "names=1", "names=1"],
      ["names", "", undefined],
      ["names", "=secret", "=REDACTED"],
      ["names", "eyJhbGciOiJub25lIn0", "REDACTED"],
      [["page"], `page=${"x".repeat(2000)}&token=secret`, `page=${"x".repeat(1019)}`]
    ])("%j of %j", (option, query, expected) => {
      assert.strictEqual(annotations({ query: option }, { query })["url.query"], expected)
    })
  })

  describe("headers", () => {
    const headers = {
      "accept": "text/html",
      "authorization": "Bearer secret",
      "cookie": "id=secret",
      "referer": "https://example.com/reset?token=secret#part",
      "location": "/callback?code=secret",
      "content-location": "/a#secret"
    }
    it.each([
      [["Accept"], { accept: "text/html" }],
      [["authorization", "COOKIE"], { authorization: "REDACTED", cookie: "REDACTED" }],
      [["referer", "location", "content-location"], {
        "referer": "https://example.com/reset",
        "location": "/callback",
        "content-location": "/a"
      }],
      [["x-none", "__proto__", "constructor"], {}]
    ])("%j", (names, expected) => {
      const of = (kind: string) =>
        Object.fromEntries(Object.entries(expected).map(([name, value]) => [`http.${kind}.header.${name}`, value]))
      // platform's headers have a prototype of their own, without these
      const own = Object.assign(Object.create(null), headers)
      assert.deepStrictEqual(annotations({ requestHeaders: names }, { requestHeaders: own }), {
        ...plain,
        ...of("request")
      })
      assert.deepStrictEqual(annotations({ responseHeaders: names }, { responseHeaders: own }), {
        ...plain,
        ...of("response")
      })
    })

    it("credentials are never written", () => {
      const names = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "x-auth-token",
        "x-csrf-token",
        "x-amz-security-token"
      ]
      const values = Object.fromEntries(names.map((name) => [name, "secret"]))
      const line = annotations({ requestHeaders: names, responseHeaders: names }, {
        requestHeaders: values,
        responseHeaders: values
      })
      assert.notInclude(JSON.stringify(line), "secret")
      assert.lengthOf(Object.values(line).filter((value) => value === "REDACTED"), 2 * names.length)
    })
  })

  describe("fields", () => {
    it("those of handlers stand behind what the line says itself, those of the option before it", () => {
      const line = annotations(
        {
          fields: ({ status }) => ({
            "app.class": `${Math.floor(status / 100)}xx`,
            "url.path": undefined,
            "client.address": "192.0.2.0",
            "enduser.id": "u-8"
          })
        },
        { fields: { "enduser.id": "u-7", "app.hits": 3, "http.response.status_code": 204 } }
      )
      const { "url.path": _, ...rest } = plain
      assert.deepStrictEqual(line, {
        ...rest,
        "enduser.id": "u-8",
        "app.hits": 3,
        "app.class": "2xx",
        "client.address": "192.0.2.0"
      })
    })

    it("are asked for only where a line is written", () => {
      assert.isUndefined(decide({ sample: 0, fields: () => assert.fail("asked") }, {}, () => 0.5))
    })

    it("keep their types", () => {
      const fields = { a: 1, b: true, c: null, d: 2n, e: undefined, f: "x" }
      assert.deepInclude(annotations({}, { fields }), fields)
    })
  })

  describe("what throws", () => {
    const raise = (): never => {
      throw new Error("mine\u001b[31m\nGET / 200")
    }
    it.each<[option: string, options: AccessLog.Options]>([
      ["skip", { skip: raise }],
      ["level", { level: raise }],
      ["fields", { fields: raise }],
      ["all of them", { skip: raise, level: raise, fields: raise }],
      ["and would not be written", { skip: raise, level: () => LogLevel.None, sample: 0 }]
    ])("%s costs no line, and is told of", (_, options) => {
      const line = decide(options, {}, () => 0.5)
      assert.strictEqual(line?.level, LogLevel.Error)
      assert.strictEqual(line?.message, "GET /users/:id 200")
      const { "exception.stacktrace": stack, ...rest } = line!.annotations
      assert.deepStrictEqual(rest, plain)
      assert.match(String(stack), /^Error: mine\\x1b\[31m\\x0aGET \/ 200/)
    })

    it("chance too", () => {
      for (const sample of [0, 0.5]) {
        assert.strictEqual(decide({ sample }, {}, raise)?.level, LogLevel.Error)
      }
    })

    it("even what cannot be printed", () => {
      const line = decide({
        skip: () => {
          throw Object.create(null)
        }
      })
      assert.strictEqual(line?.level, LogLevel.Error)
    })
  })

  describe("texts", () => {
    it.each([
      ["plain", "a b=\"c\" %41 é 数 😀", "a b=\"c\" %41 é 数 😀"],
      ["a line break", "a\r\nb", "a\\x0d\\x0ab"],
      ["a terminal code", "\u001b[31m", "\\x1b[31m"],
      ["a terminal code of one byte", "\u009b31m", "\\x9b31m"],
      ["delete", "\u007f", "\\x7f"],
      ["nul", "\u0000", "\\x00"],
      ["next line", "\u0085", "\\x85"],
      ["line separators", "\u2028\u2029", "\\u{2028}\\u{2029}"],
      ["marks of direction", "\u202e\u2066\u200f", "\\u{202e}\\u{2066}\\u{200f}"],
      ["what is not to be seen", "\u200b\ufeff\u00ad", "\\u{200b}\\u{feff}\\xad"],
      ["tags", "\u{e0041}", "\\u{e0041}"],
      ["half a character", "\ud800", "\\u{d800}"],
      ["a backslash", "\\", "\\\\"],
      ["an escape of the client's", "\\x1b", "\\\\x1b"],
      ["256 letters", "x".repeat(256), "x".repeat(256)],
      ["more", "x".repeat(257), `${"x".repeat(256)}...`]
    ])("%s", (_, sent, written) => {
      assert.strictEqual(
        annotations({}, { requestHeaders: { "user-agent": sent } })["user_agent.original"],
        written
      )
    })

    const everywhere = (sent: string): Partial<AccessLog.Entry> => ({
      method: sent,
      path: `/${sent}`,
      query: `${sent}=${sent}`,
      route: undefined,
      protocolVersion: sent,
      client: { ...client, address: sent },
      requestHeaders: { "user-agent": sent, "referer": sent, "accept": sent },
      responseHeaders: { location: sent, server: sent },
      refusal: { by: sent, error: { _tag: sent } },
      status: 500,
      fields: { [sent]: sent, id: sent }
    })
    const open: AccessLog.Options = {
      query: ["a"],
      requestHeaders: ["referer", "accept"],
      responseHeaders: ["location", "server"],
      fields: ({ path }) => ({ [path]: path })
    }

    const nasty = FastCheck.stringOf(
      FastCheck.oneof(
        FastCheck.fullUnicode(),
        FastCheck.constantFrom("\n", "\r", "\u001b", "\\", "\"", " ", "=", "\u009b", "\u2028", "\u202e", "\ud800")
      ),
      { maxLength: 60 }
    )

    it.prop("nothing that a client can choose leaves its line", [nasty], ([sent]) => {
      const { annotations, message } = decide(open, everywhere(sent))!
      for (const [key, value] of Object.entries(annotations)) {
        assert.notMatch(key, invisible)
        assert.notMatch(String(value), invisible)
        // or half a character would be another in the log
        assert.strictEqual(Buffer.from(String(value)).toString(), value === undefined ? value : String(value))
        assert.isAtMost(String(value).length, 9 * 1030)
      }
      assert.notMatch(message, invisible)
      assert.lengthOf(message.split(/\s/), 3)
    })

    it.prop("two texts are not written alike", [nasty, nasty], ([a, b]) => {
      const written = (sent: string) =>
        annotations({}, { requestHeaders: { "user-agent": sent } })["user_agent.original"]
      if (a !== b) assert.notStrictEqual(written(a), written(b))
    })

    it("in the message a path is one word", () => {
      const message = (path: string) => decide({}, { path, route: undefined })!.message
      assert.strictEqual(message("/a 200"), "GET /a\\x20200 200")
      assert.strictEqual(message("/a\u00a0\u3000b"), "GET /a\\xa0\\u{3000}b 200")
      assert.strictEqual(message(`/${"x".repeat(1000)}`), `GET /${"x".repeat(255)}... 200`)
      assert.strictEqual(decide({}, { method: "M ".repeat(100), route: "/" })!.message.length, 16 * 5 + 9)
    })

    it("a text that is not written costs nothing", () => assertLinear((sent) => decide(open, everywhere(sent))))
  })

  it.each<[options: AccessLog.Options, message: RegExp]>([
    [{ sample: -0.1 }, /AccessLog: sample is -0\.1: write the share of lines to keep, 0 to 1/],
    [{ sample: 1.1 }, /sample is 1\.1/],
    [{ sample: NaN }, /sample is NaN/],
    [{ slow: 0 }, /AccessLog: slow is no time at all: write a duration, or leave it out/],
    [{ requestHeaders: ["a b"] }, /AccessLog: requestHeaders has "a b": write the name of a field/],
    [{ responseHeaders: ["accept", ""] }, /AccessLog: responseHeaders has "": write the name of a field/]
  ])("throws on %j", (options, message) => {
    assert.throws(() => AccessLog.policy(options), TypeError, message)
    assert.throws(() => AccessLog.middleware(options), TypeError, message)
  })
})

// --- through the request path ----------------------------------------------------------------------------------------

interface Written {
  readonly level: string
  readonly message: unknown
  readonly annotations: Record<string, unknown>
}

/** Collects access lines; a line of Node's server comes when the client has its answer already. */
const collect = Effect.map(Queue.unbounded<Written>(), (queue) => {
  const logger = Logger.make(({ annotations, logLevel, message }) => {
    const fields = Object.fromEntries(annotations)
    if (!("http.request.method" in fields)) return
    queue.unsafeOffer({
      level: logLevel.label,
      message: Array.isArray(message) ? message[0] : message,
      annotations: fields
    })
  })
  return {
    layer: Logger.replace(Logger.defaultLogger, logger),
    next: answered(Queue.take(queue)),
    rest: Queue.takeAll(queue)
  }
})

const logged = (app: App, middleware: Middleware.Any, mount = mounts[0]!) =>
  Effect.gen(function*() {
    const { layer, next, rest } = yield* collect
    const request = yield* Effect.provide(mount.mount(app, middleware), layer)
    return { request: (init?: Init) => answered(request(init)), next, rest }
  })

const access = (options?: AccessLog.Options) => Stack.make(forwarded, AccessLog.middleware(options))
const named = (name: string) => mounts.find((mount) => mount.name === name)!

describe("middleware", () => {
  describe.each(mounts)("$name", (mount) => {
    const isNode = mount.name.includes("Node")

    it.scoped("writes one line for each request, whatever became of it", () =>
      Effect.gen(function*() {
        const refuse = Middleware.make({
          name: "Guard",
          request: ({ request }) =>
            request.headers["x-case"] === "refusal" ? Middleware.Refuse(new Refused()) : undefined
        })
        const app = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request): App => {
          switch (request.headers["x-case"]) {
            case "404":
              return HttpServerResponse.empty({ status: 404 })
            case "failure":
              return Effect.fail(new Refused())
            case "defect":
              return Effect.die("defect")
          }
          return Effect.zipRight(TestClock.adjust("250 millis"), ok)
        }) as App
        const { next, request, rest } = yield* logged(app, stackOf(access(), refuse), mount)
        for (
          const [what, status, level, bytes] of [
            ["an answer", 200, "INFO", 5],
            ["404", 404, "INFO", 0],
            ["failure", 403, "INFO", 0],
            ["defect", 500, "ERROR", 0],
            ["refusal", 403, "INFO", 0]
          ] as const
        ) {
          const reply = yield* request({ path: "/a?b=c", headers: { "x-case": what, "user-agent": "test" } })
          assert.strictEqual(reply.status, status)
          const line = yield* next
          const route = line.annotations["http.route"]
          assert.strictEqual(line.message, `GET ${route === undefined ? "/a" : String(route)} ${status}`)
          assert.strictEqual(line.level, level)
          const { "http.route": _, ...annotations } = line.annotations
          assert.deepStrictEqual(annotations, {
            "http.request.method": "GET",
            "url.path": "/a",
            "http.response.status_code": status,
            "http.response.body.size": bytes,
            "http.server.request.duration": what === "an answer" ? 0.25 : 0,
            "user_agent.original": "test",
            ...isNode ? { "client.address": "127.0.0.1", "network.protocol.version": "1.1" } : {},
            ...what === "refusal" ? { "refusal.by": "Guard", "error.type": "Refused" } : {},
            ...what === "defect" ? { "error.type": "500" } : {}
          })
        }
        assert.lengthOf([...yield* rest], 0)
      }))

    it.scoped("has the identifier of the request, wherever that is made", () =>
      Effect.gen(function*() {
        const id = RequestId.middleware({ trust: "all" })
        const keeps = wrap("Keeps", (app) => Effect.tap(app, Effect.void))
        const log = AccessLog.middleware()
        for (
          const stack of [
            stackOf(forwarded, id, log),
            stackOf(forwarded, log, id),
            stackOf(forwarded, log, keeps, id),
            stackOf(forwarded, id, keeps, log)
          ]
        ) {
          const { next, request } = yield* logged(ok, stack, mount)
          for (const value of ["one", "two"]) {
            yield* request({ headers: { "x-request-id": value } })
            assert.strictEqual((yield* next).annotations["request.id"], value)
          }
        }
      }))

    it.scoped("has what handlers and inner middlewares add, each its own", () =>
      Effect.gen(function*() {
        const who = Middleware.make({
          name: "Who",
          request: (exchange) => {
            const fields = exchange.getOption(AccessLog.Fields)
            if (fields._tag === "Some") fields.value.set("enduser.id", exchange.request.headers["x-user"])
          }
        })
        const app = Effect.flatMap(
          HttpServerRequest.HttpServerRequest,
          ({ headers }) => Effect.as(AccessLog.annotate({ [`app.${headers["x-user"]}`]: 1 }), ok)
        ) as App
        const { next, request } = yield* logged(app, stackOf(access(), who), mount)
        yield* Effect.forEach(["a", "b"], (user) => request({ headers: { "x-user": user } }), { concurrency: 2 })
        for (const { annotations } of [yield* next, yield* next]) {
          const user = String(annotations["enduser.id"])
          assert.deepStrictEqual(Object.keys(annotations).filter((key) => key.startsWith("app.")), [`app.${user}`])
        }
      }))
  })

  describe("the route", () => {
    const users = HttpRouter.empty.pipe(HttpRouter.get("/users/:id", ok)) as unknown as App
    const ask = (app: App, middleware: Middleware.Any, init: Init, mount = mounts[0]!) =>
      Effect.gen(function*() {
        const { next, request } = yield* logged(app, middleware, mount)
        yield* request(init)
        const { annotations, message } = yield* next
        return [message, annotations["http.route"], annotations["url.path"]]
      })

    it.scoped("is the pattern, also outside the router", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(
          yield* ask(users, access(), { path: "/users/7?a=b" }, named("Stack.serve, Node")),
          ["GET /users/:id 200", "/users/:id", "/users/7"]
        )
      }))

    it.scoped("is absent where none matched", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* ask(users, access(), { path: "/none?a=b" }, named("Stack.serve, Node")), [
          "GET /none 404",
          undefined,
          "/none"
        ])
        const [message] = yield* ask(ok, access(), unknownRoute, named("router.pipe"))
        assert.strictEqual(message, "PURGE / 404")
      }))
  })

  describe("the end of a response", () => {
    const node = named("Stack.serve, Node")
    const cases: ReadonlyArray<readonly [what: string, app: App, method: string, status: number, bytes: number]> = [
      ["a text", ok, "GET", 200, 5],
      ["HEAD", ok, "HEAD", 200, 0],
      ["204", HttpServerResponse.empty(), "GET", 204, 0],
      ["304", HttpServerResponse.empty({ status: 304 }), "GET", 304, 0],
      [
        "a stream",
        HttpServerResponse.stream(Stream.make(new Uint8Array(3), new Uint8Array(4))),
        "GET",
        200,
        7
      ]
    ]
    for (const [what, app, method, status, bytes] of cases) {
      it.scoped(`counts the bytes of ${what}`, () =>
        Effect.gen(function*() {
          const { next, request } = yield* logged(app, access(), node)
          yield* request({ method })
          const { annotations } = yield* next
          assert.deepStrictEqual(
            [annotations["http.response.status_code"], annotations["http.response.body.size"]],
            [status, bytes]
          )
          assert.notProperty(annotations, "http.response.aborted")
        }))
    }

    it.scoped("a stream through a web handler has no size", () =>
      Effect.gen(function*() {
        const { next, request } = yield* logged(cases[4]![1], access())
        yield* request()
        assert.notProperty((yield* next).annotations, "http.response.body.size")
      }))

    it.scoped("is when the body has ended", () =>
      Effect.gen(function*() {
        const body = Stream.fromEffect(Effect.as(TestClock.adjust("3 seconds"), new Uint8Array(1)))
        const { next, request } = yield* logged(HttpServerResponse.stream(body), access({ slow: "3 seconds" }), node)
        yield* request()
        const { annotations, level } = yield* next
        assert.deepStrictEqual([annotations["http.server.request.duration"], level], [3, "WARN"])
      }))

    it.scoped("tells of a client that has left in the middle", () =>
      Effect.gen(function*() {
        const begun = yield* Deferred.make<void>()
        const body = Stream.concat(
          Stream.make(new Uint8Array(3)),
          Stream.execute(Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never))
        )
        const { next, request } = yield* logged(HttpServerResponse.stream(body), access({ sample: 0 }), node)
        const client = yield* Effect.fork(request())
        yield* answered(Deferred.await(begun))
        yield* Fiber.interrupt(client)
        const { annotations, level, message } = yield* next
        assert.deepStrictEqual(
          [message, level, annotations["http.response.aborted"], annotations["http.response.body.size"]],
          ["GET / 200", "INFO", true, 3]
        )
      }))

    for (const mount of [node, named("app.pipe")]) {
      it.scoped(`tells of a client that did not wait, in ${mount.name}`, () =>
        Effect.gen(function*() {
          const begun = yield* Deferred.make<void>()
          const app = Effect.interruptible(Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)) as App
          const { next, request } = yield* logged(app, access({ sample: 0 }), mount)
          const client = yield* Effect.fork(request())
          yield* answered(Deferred.await(begun))
          yield* Fiber.interruptFork(client)
          const { annotations, message } = yield* next
          assert.deepStrictEqual([message, annotations["http.response.aborted"]], ["GET / 499", true])
        }))
    }

    it.scoped("tells of a body that has failed", () =>
      Effect.gen(function*() {
        const body = Stream.concat(Stream.make(new Uint8Array(3)), Stream.fail("broken"))
        const { next, request } = yield* logged(HttpServerResponse.stream(body), access(), node)
        yield* Effect.fork(request())
        const { annotations, level, message } = yield* next
        assert.deepStrictEqual(
          [message, level, annotations["http.response.aborted"]],
          ["GET / 200", "ERROR", true]
        )
      }))

    it.scoped("an upgrade is one line, when it is over", () =>
      Effect.gen(function*() {
        const { layer, next, rest } = yield* collect
        const echo = Effect.scoped(Effect.gen(function*() {
          const socket = yield* HttpServerRequest.upgrade
          const write = yield* socket.writer
          yield* Effect.ignore(socket.runRaw(write))
          return HttpServerResponse.empty()
        })) as unknown as App
        const stack = access({ slow: "1 milli" }) as unknown as Middleware.Middleware
        const port = yield* Effect.provide(listen(Stack.serve(echo as never, stack)), layer)
        const socket = yield* Socket.makeWebSocket(`ws://127.0.0.1:${port}/chat`)
        const heard = yield* Deferred.make<void>()
        const running = yield* Effect.fork(socket.run(() => Deferred.succeed(heard, undefined)))
        const write = yield* socket.writer
        yield* write("hello")
        yield* answered(Deferred.await(heard))
        yield* TestClock.adjust("1 minute")
        yield* write(new Socket.CloseEvent(1000))
        yield* answered(Effect.ignore(Fiber.join(running)))
        const { annotations, level, message } = yield* next
        assert.deepStrictEqual([message, level, annotations["http.server.request.duration"]], [
          "GET /chat 101",
          "INFO",
          60
        ])
        assert.lengthOf([...yield* rest], 0)
      }).pipe(Effect.provide(NodeSocket.layerWebSocketConstructor)))
  })

  it.scoped("an entry has its path and its query apart", () =>
    Effect.gen(function*() {
      const fields: AccessLog.Options["fields"] = ({ path, query }) => ({ seen: `${path} [${query}]` })
      const { next, request } = yield* logged(ok, access({ fields, query: "names" }))
      for (
        const [path, seen, query] of [["/a", "/a []"], ["/a?", "/a []"], ["/?b=c?d", "/ [b=c?d]", "b=REDACTED"], [
          "/a;token=b",
          "/a [token=b]",
          "token=REDACTED"
        ]]
      ) {
        yield* request({ path: path! })
        const { annotations } = yield* next
        assert.deepStrictEqual([annotations.seen, annotations["url.query"]], [seen, query])
      }
    }))

  it.scoped("a version that is no text is none", () =>
    Effect.gen(function*() {
      const told = Middleware.make({
        name: "Told",
        request: ({ request }) => void Object.assign(request.source as object, { httpVersion: 2 })
      })
      const { next, request } = yield* logged(ok, stackOf(told, access()))
      yield* request()
      assert.notProperty((yield* next).annotations, "network.protocol.version")
    }))

  it.effect("writes nothing at all for what is left out", () => {
    const lines: Array<unknown> = []
    return Effect.map(send(access({ skip: () => true })(ok)), () => assert.deepStrictEqual(lines, [])).pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, Logger.make(({ message }) => void lines.push(message))))
    )
  })

  it("has the name that it is given, and its service its own", () => {
    assert.strictEqual(AccessLog.middleware().name, "AccessLog")
    assert.strictEqual(AccessLog.middleware({ name: "Log" }).name, "Log")
    assert.strictEqual(AccessLog.Fields.key, "effect-middleware/AccessLog/Fields")
  })

  it.scoped("response headers are those that leave the stack", () =>
    Effect.gen(function*() {
      const outer = Middleware.make({ name: "Outer", response: (draft) => draft.set("x-outer", "1") })
      const app = Effect.succeed(HttpServerResponse.text("ok", { headers: { "x-inner": "2", "location": "/a?b" } }))
      const stack = Stack.make(outer, access({ responseHeaders: ["x-outer", "x-inner", "location"] }))
      const { next, request } = yield* logged(app, stack)
      yield* request()
      const { annotations } = yield* next
      assert.deepInclude(annotations, {
        "http.response.header.x-outer": "1",
        "http.response.header.x-inner": "2",
        "http.response.header.location": "/a"
      })
    }))

  it.scoped("shows the request as it was where the log stands", () =>
    Effect.gen(function*() {
      const rewrite = (name: string, method: string) =>
        Middleware.make({ name, request: (exchange) => exchange.deriveRequest({ method: method as "PUT" }) })
      // its response phase comes last, and sees the request as it was there
      const first = Middleware.make({ name: "First", response: () => {} })
      const stack = Stack.make(first, rewrite("Outside", "PUT"), access(), rewrite("Inside", "DELETE"))
      const { next, request } = yield* logged(ok, stack, named("app.pipe"))
      yield* request({ method: "POST" })
      assert.strictEqual((yield* next).annotations["http.request.method"], "PUT")
    }))

  it.scoped("has the client that Forwarded found, and the path of an absolute target", () =>
    Effect.gen(function*() {
      const { layer, next } = yield* collect
      const stack = Stack.make(Forwarded.middleware({ trust: { hops: 1 } }), AccessLog.middleware({ query: "names" }))
      const port = yield* Effect.provide(listen(Stack.serve(ok, stack)), layer)
      yield* request(port, {
        path: "http://user:secret@example.com/a?b=c#d",
        headers: { "x-forwarded-for": "203.0.113.9" }
      })
      const { annotations } = yield* next
      assert.deepInclude(annotations, {
        "client.address": "203.0.113.9",
        "url.path": "/a",
        "url.query": "b=REDACTED"
      })
      assert.notInclude(JSON.stringify(annotations), "secret")
    }))

  it.scoped("samples with the entropy of the exchange", () =>
    Effect.gen(function*() {
      const asked: Array<number> = []
      const run = (sample: number, ...bytes: ReadonlyArray<number>) =>
        Effect.gen(function*() {
          const { next, request, rest } = yield* logged(ok, access({ sample }))
          yield* request()
          return sample === 1 ? [yield* next].length : [...yield* rest].length
        }).pipe(Effect.provideService(Entropy.Entropy, {
          uuid: () => "",
          bytes: (size) => {
            asked.push(size)
            return Uint8Array.from(bytes)
          }
        }))
      assert.strictEqual(yield* run(1), 1)
      assert.deepStrictEqual(asked, [])
      assert.strictEqual(yield* run(0.5, 0x80, 0, 0, 0), 0)
      assert.strictEqual(yield* run(0.5, 0x7f, 0xff, 0xff, 0xff), 1)
      assert.strictEqual(yield* run(0.5, 0, 0, 0, 0xff), 1)
      assert.strictEqual(yield* run(0, 0, 0, 0, 0), 0)
      assert.deepStrictEqual(asked, [4, 4, 4, 4])
    }))

  it.scoped("an option that throws costs neither response nor line", () =>
    Effect.gen(function*() {
      for (const option of ["skip", "level", "fields"]) {
        const { next, request, rest } = yield* logged(
          ok,
          access({
            [option]: () => {
              throw new Error("mine")
            }
          })
        )
        const { body, status } = yield* request()
        assert.deepStrictEqual([status, body], [200, "hello"])
        const { annotations, level, message } = yield* next
        assert.deepStrictEqual([level, message], ["ERROR", "GET / 200"])
        assert.match(String(annotations["exception.stacktrace"]), /^Error: mine/)
        assert.lengthOf([...yield* rest], 0)
      }
    }))

  it.scoped("the level that is logged at all is the fiber's", () =>
    Effect.gen(function*() {
      const { next, request, rest } = yield* logged(
        ok,
        access({ level: ({ path }) => path === "/quiet" ? LogLevel.Debug : undefined })
      )
      yield* request({ path: "/quiet" })
      yield* request({ path: "/loud" })
      assert.strictEqual((yield* next).message, "GET /loud 200")
      assert.lengthOf([...yield* rest], 0)
    }))

  it.scoped("what the line says by itself, or leaves out, is not a handler's to say", () =>
    Effect.gen(function*() {
      const app = Effect.as(
        AccessLog.annotate({
          "http.route": "/x",
          "client.address": "x",
          "url.query": "x",
          "error.type": "x",
          "http.x": "y"
        }),
        ok
      ) as App
      const { next, request } = yield* logged(app, access())
      yield* request({ path: "/a?b" })
      const { annotations } = yield* next
      assert.deepStrictEqual(
        ["http.route", "client.address", "url.query", "error.type", "http.x"].map((key) => annotations[key] === "x"),
        [false, false, false, false, false]
      )
      assert.strictEqual(annotations["http.x"], "y")
    }))

  it.scoped("a request that is tried again outside every stack has one line, over a socket", () =>
    Effect.gen(function*() {
      const stack = access()
      let runs = 0
      const app = (stack as Middleware.Middleware)(Effect.sync(() => HttpServerResponse.text(`${++runs}`)))
      const again = Middleware.fromHttpMiddleware("Nothing", (app) => app)
      const { next, request } = yield* logged(
        Effect.zipRight(app, app) as App,
        again,
        named("HttpServer.serve(mw), Node")
      )
      assert.strictEqual((yield* request()).body, "2")
      yield* next
      yield* request()
      yield* next
    }))

  it.effect("annotate does nothing outside", () => AccessLog.annotate({ a: 1 }))

  it.scoped("keeps 64 fields", () =>
    Effect.gen(function*() {
      const app = Effect.as(
        Effect.forEach(
          Array.from({ length: 100 }, (_, i) => i),
          (i) => AccessLog.annotate({ [`f${i}`]: i, f0: i, ["__proto__"]: "x" })
        ),
        ok
      )
      const { next, request } = yield* logged(app, access())
      yield* request()
      const { annotations } = yield* next
      const names = Object.keys(annotations).filter((key) => /^f\d/.test(key))
      assert.include([63, 64], names.length)
      assert.strictEqual(annotations.f0, 99)
    }))
})

// --- the loggers of Effect -------------------------------------------------------------------------------------------

describe("one request is one line, with each logger of Effect", () => {
  const lines: Array<string> = []
  const write = (line: string) => void lines.push(line)
  // what the pretty logger writes to
  const capture = <A>(effect: Effect.Effect<A>) =>
    Effect.consoleWith((console) =>
      Effect.withConsole(effect, {
        ...console,
        unsafe: {
          ...console.unsafe,
          log: (...args: ReadonlyArray<unknown>) => write(args.map(String).join(" ")),
          group: () => {},
          groupEnd: () => {}
        }
      })
    )
  const loggers: ReadonlyArray<readonly [name: string, logger: Logger.Logger<unknown, unknown>]> = [
    ["string", Logger.map(Logger.stringLogger, write)],
    ["logfmt", Logger.map(Logger.logfmtLogger, write)],
    ["json", Logger.map(Logger.jsonLogger, write)],
    ["structured", Logger.map(Logger.structuredLogger, (line) => write(JSON.stringify(line)))],
    ["pretty", Logger.prettyLogger({ mode: "tty", colors: false })]
  ]
  /** Reads `key=value` and `key="value"`, with a backslash before what is escaped: what a reader of such a log does. */
  const parse = (line: string): ReadonlyArray<string> => {
    const keys: Array<string> = []
    const rest = line.replace(/(^| )([^\s="]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))/g, (_, __, key: string) => {
      keys.push(key)
      return ""
    })
    assert.strictEqual(rest, "")
    return keys.sort()
  }
  const run = (logger: Logger.Logger<unknown, unknown>, headers: Record<string, string>, path: string) =>
    Effect.gen(function*() {
      lines.length = 0
      const app = Effect.as(AccessLog.annotate({ user: headers["user-agent"] }), ok)
      yield* send(access({ query: "names", requestHeaders: ["referer"] })(app), { headers, path })
      return [...lines]
    }).pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
      capture
    )

  // a Fetch `Request` lets all of these through; Node's server, those of the second half of Latin-1
  const attacks = [
    "a\u001b[31mred",
    "a\u009b31mred",
    "x\" level=FATAL message=\"forged",
    "x y\\",
    "x y\\\" level=FATAL y\\",
    "\\",
    "\\\\\" a=b",
    "a\u0085GET / 200",
    "\u000b\u000c\u0008\u007f",
    "=",
    "a=b",
    "%s %c %o %%"
  ]

  for (const [name, logger] of loggers) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const calm = yield* run(logger, { "user-agent": "a b", "referer": "a b" }, "/p?q=1")
        assert.isAtLeast(calm.length, 1)
        if (name !== "pretty") assert.lengthOf(calm, 1)
        for (const attack of attacks) {
          const written = yield* run(logger, { "user-agent": attack, "referer": attack }, `/${attack}?${attack}=1`)
          // as many as for a request that means no harm
          assert.lengthOf(written, calm.length, attack)
          for (const line of written) assert.notMatch(line, invisible)
          if (name === "string" || name === "logfmt") assert.deepStrictEqual(parse(written[0]!), parse(calm[0]!))
          if (name === "json") {
            assert.deepStrictEqual(
              Object.keys(JSON.parse(written[0]!).annotations).sort(),
              Object.keys(JSON.parse(calm[0]!).annotations).sort()
            )
          }
        }
      }))
  }

  it.scoped("bytes that Node's server lets through forge nothing", () =>
    Effect.gen(function*() {
      const { layer, next } = yield* collect
      const port = yield* Effect.provide(listen(Stack.serve(ok, access())), layer)
      yield* raw(
        port,
        "GET /a\"\\b HTTP/1.1\r\nHost: a\r\nUser-Agent: \x9b31m\x85\xadb\r\nConnection: close\r\n\r\n"
      )
      const { annotations, message } = yield* next
      assert.strictEqual(annotations["user_agent.original"], "\\x9b31m\\x85\\xadb")
      assert.strictEqual(message, "GET /a\"\\\\b 200")
      assert.strictEqual(annotations["url.path"], "/a\"\\\\b")
    }))
})

/** Sends bytes as they are; ends when the server has closed. */
const raw = (port: number, bytes: string): Effect.Effect<void, never, Scope.Scope> =>
  answered(Effect.async<void>((resume) => {
    const socket = Net.connect(port, "127.0.0.1", () => socket.write(Buffer.from(bytes, "latin1")))
    socket.on("data", () => {})
    socket.on("close", () => resume(Effect.void))
    socket.on("error", (error) => resume(Effect.die(error)))
    return Effect.sync(() => socket.destroy())
  }))
