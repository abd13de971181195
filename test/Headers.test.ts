import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Logger } from "effect"
import { Headers, Stack } from "effect-middleware"
import { mounts, send, unknownRoute } from "./utils/TestApp.js"

class Broken extends Data.TaggedError("Broken")<{}> {}

describe("policy", () => {
  it.each<[rule: string, options: Headers.Options, message: RegExp]>([
    ["a name is none", { set: { "x y": "1" } }, /^Headers: set: "x y" is not a field name/],
    ["a name is none, to remove", { remove: [""] }, /remove: "" is not a field name/],
    ["a value breaks the line", { set: { "x-a": "1\r\nx-b: 2" } }, /"x-a" has a value that cannot be sent/],
    ["a value is not Latin-1", { append: { "x-a": "☃" } }, /append: "x-a" has a value that cannot be sent/],
    ["a value has blanks around", { setIfAbsent: { "x-a": " 1" } }, /no blanks around it/],
    ["one name twice", { set: { "x-a": "1", "X-A": "2" } }, /"X-A" is there twice/],
    ["set and setIfAbsent", { set: { "x-a": "1" }, setIfAbsent: { "X-A": () => "2" } }, /is in setIfAbsent too/],
    ["set and remove", { set: { "x-a": "1" }, remove: ["X-A"] }, /set: "x-a" is in remove too/],
    ["set and append", { set: { "x-a": "1" }, append: { "x-a": "1" } }, /is in append too/],
    ["set and propagate", { set: { "x-a": "1" }, propagate: ["x-a"] }, /is in propagate too/],
    [
      "request.set and request.remove",
      { request: { set: { "x-a": "1" }, remove: ["x-a"] } },
      /request\.set: "x-a" is in request\.remove too/
    ],
    ["the request's framing", { request: { remove: ["content-length"] } }, /is how the server frames/],
    ["the client", { request: { set: { "x-forwarded-for": "::1" } } }, /write Forwarded\.middleware/],
    ["the proxy's word", { request: { set: { "x-real-ip": "::1" } } }, /write Forwarded\.middleware/],
    ["a credential", { request: { set: { authorization: "Bearer a" } } }, /would speak for every client/],
    ["cookies", { setIfAbsent: { "Set-Cookie": "a=1" } }, /write draft\.setCookie, or Session/],
    ["Cors", { remove: ["access-control-allow-origin"] }, /write Cors\.middleware/],
    ["Hsts", { setIfAbsent: { "Strict-Transport-Security": "max-age=1" } }, /write Hsts\.middleware/],
    ["a merge is set", { set: { vary: "accept" } }, /write append, which merges/],
    ["a merge is removed", { remove: ["Cache-Control"] }, /write append, which merges/],
    ["a single value is a list", { append: { "content-type": "a/b" } }, /has one value: write set/],
    ...["authorization", "Cookie", "x-forwarded-for", "forwarded", "host", "proxy-authorization"].map((name) =>
      ["what is not to come back", { propagate: [name] }, /is not for the response/] as const satisfies [
        string,
        Headers.Options,
        RegExp
      ]
    ),
    ...["location", "content-type", "refresh", "link", "vary", "clear-site-data", "sec-fetch-site"].map((name) =>
      ["what a client may not say", { propagate: [name] }, /which a client is not to say/] as const satisfies [
        string,
        Headers.Options,
        RegExp
      ]
    ),
    ...["content-length", "transfer-encoding", "connection", "upgrade", "trailer"].map((name) =>
      ["framing", { set: { [name]: "1" } }, /is how the server frames a message/] as const satisfies [
        string,
        Headers.Options,
        RegExp
      ]
    )
  ])("%s: %o", (_, options, message) => {
    assert.throws(() => Headers.middleware(options), message)
  })

  it("has no phase where there is nothing to do", () => {
    assert.deepStrictEqual(Headers.policy({}), { request: undefined, response: undefined })
    assert.isUndefined(Headers.policy({ set: { "x-a": "1" } }).request)
    assert.isUndefined(Headers.policy({ request: { remove: ["x-a"] } }).response)
    for (const options of [{ remove: ["x-a"] }, { propagate: ["x-a"] }, { append: { "x-a": () => "1" } }]) {
      assert.isFunction(Headers.policy(options).response)
    }
  })
})

describe("middleware", () => {
  const text = HttpServerResponse.text("ok", {
    headers: { "x-own": "handler", "x-away": "1", vary: "accept", "cache-control": "public, max-age=60", "x-list": "a" }
  })
  const headersOf = (options: Headers.Options, headers: Record<string, string> = {}) =>
    Effect.map(send(Headers.middleware(options)(Effect.succeed(text)), { headers }), (reply) => reply.headers)

  describe.each(mounts)("$name", ({ mount, router }) => {
    it.scoped("acts on success, failure, defect and 404", () =>
      Effect.gen(function*() {
        for (const app of [Effect.succeed(text), Effect.fail(new Broken()), Effect.die("a defect")]) {
          const request = yield* mount(app, Headers.middleware({ set: { "X-Set": "1" }, propagate: ["x-id"] }))
          const { headers } = yield* request({ headers: { "x-id": "7" } })
          assert.deepStrictEqual([headers["x-set"], headers["x-id"]], ["1", "7"])
          if (router !== "inside") continue
          const missing = yield* request(unknownRoute)
          assert.deepStrictEqual([missing.status, missing.headers["x-set"]], [404, "1"])
        }
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))))
  })

  it.effect.each<
    [rule: string, options: Headers.Options, name: string, value: string | undefined, sent?: Record<string, string>]
  >([
    ["set replaces", { set: { "X-Own": "mine" } }, "x-own", "mine"],
    ["set replaces, by a function", { set: { "x-own": () => "mine" } }, "x-own", "mine"],
    ["undefined is no field", { set: { "x-own": () => undefined } }, "x-own", "handler"],
    ["a default gives way", { setIfAbsent: { "x-own": "mine" } }, "x-own", "handler"],
    ["a default gives way, by a function", { setIfAbsent: { "x-own": () => "mine" } }, "x-own", "handler"],
    ["a default is there", { setIfAbsent: { "X-New": "mine" } }, "x-new", "mine"],
    ["a default is there, by a function", { setIfAbsent: { "x-new": () => "mine" } }, "x-new", "mine"],
    [
      "what is removed can have another default",
      {
        remove: ["x-own"],
        setIfAbsent: { "x-own": "mine" }
      },
      "x-own",
      "mine"
    ],
    ["append joins", { append: { "x-list": "b" } }, "x-list", "a, b"],
    ["append joins, by a function", { append: { "x-list": () => "b" } }, "x-list", "a, b"],
    ["Vary is merged", { append: { vary: "Accept, origin" } }, "vary", "accept, origin"],
    ["Cache-Control is merged", { append: { "cache-control": "private" } }, "cache-control", "max-age=60, private"],
    ["challenges are merged", { append: { "www-authenticate": "Basic, Basic" } }, "www-authenticate", "Basic"],
    ["metrics are merged", { append: { "server-timing": "a, a" } }, "server-timing", "a"],
    ["remove removes", { remove: ["X-Away"] }, "x-away", undefined],
    ["a function reads the request", { set: { "x-m": ({ request }) => request.method } }, "x-m", "GET"],
    ["propagate copies", { propagate: ["X-Id"] }, "x-id", "7", { "x-id": "7" }],
    ["and nothing where there is none", { propagate: ["x-id"] }, "x-id", undefined],
    ["but not over the handler", { propagate: ["x-own"] }, "x-own", "handler", { "x-own": "client" }],
    ["256 characters", { propagate: ["x-id"] }, "x-id", "a".repeat(256), { "x-id": "a".repeat(256) }],
    ["and not 257", { propagate: ["x-id"] }, "x-id", undefined, { "x-id": "a".repeat(257) }],
    ["before a default", { propagate: ["x-id"], setIfAbsent: { "x-id": "none" } }, "x-id", "7", { "x-id": "7" }],
    ["else a default", { propagate: ["x-id"], setIfAbsent: { "x-id": "none" } }, "x-id", "none"]
  ])("%s", ([_, options, name, value, sent]) =>
    Effect.gen(function*() {
      assert.strictEqual((yield* headersOf(options, sent))[name], value)
    }))

  it.effect("what a function gives and cannot be sent is left out, and the log is told once", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${message}`))
      const app = Headers.middleware({ set: { "x-a": () => "1\r\nx-b: 2", "x-c": () => "3" } })(Effect.succeed(text))
      yield* Effect.gen(function*() {
        for (let i = 0; i < 2; i++) {
          const { headers, status } = yield* send(app)
          assert.deepStrictEqual([status, headers["x-a"], headers["x-b"], headers["x-c"]], [
            200,
            undefined,
            undefined,
            "3"
          ])
        }
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      assert.deepStrictEqual(lines, ["WARN Headers: a value for x-a cannot be sent in a field, and is left out"])
    }))

  it.effect("what is further in sees another request, what is further out does not", () =>
    Effect.gen(function*() {
      const stack = Stack.make(
        Headers.middleware({ name: "Outer", set: { "x-outer": ({ request }) => request.headers["x-debug"] } }),
        Headers.middleware({
          request: { set: { "X-Const": "1", "x-fn": ({ request }) => request.method }, remove: ["X-Debug"] }
        })
      )
      const app = Effect.flatMap(
        HttpServerRequest.HttpServerRequest,
        ({ headers }) =>
          HttpServerResponse.json([headers["x-const"], headers["x-fn"], headers["x-debug"], headers["x-b"]])
      )
      const reply = yield* send(stack(Effect.orDie(app)), { headers: { "x-debug": "1", "x-const": "0", "x-b": "b" } })
      assert.deepStrictEqual(JSON.parse(reply.body), ["1", "GET", null, "b"])
      assert.strictEqual(reply.headers["x-outer"], "1")
    }))
})
