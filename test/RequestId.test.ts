import { HttpClient, HttpClientRequest, HttpClientResponse, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, HashMap, Logger, TestClock } from "effect"
import { Entropy, Forwarded, type Middleware, RequestId, Stack } from "effect-middleware"
import { mounts, send } from "./utils/TestApp.js"

const echo = Effect.map(RequestId.RequestId, (id) => HttpServerResponse.text(id))
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe("RequestId", () => {
  describe("isValid", () => {
    it.each([
      ["a", true],
      ["abc-DEF_123.4=", true],
      ["x".repeat(128), true],
      ["x".repeat(129), false],
      ["", false],
      [undefined, false],
      ["a b", false],
      ["a\nb", false],
      ["a\n", false],
      ["\u001b[31m", false],
      ["é", false],
      ["a,b", false],
      [`"a"`, false]
    ])("%j: %s", (id, expected) => assert.strictEqual(RequestId.isValid(id), expected))

    it.prop("what is valid can break neither a log line nor a header", [FastCheck.fullUnicodeString()], ([id]) => {
      if (RequestId.isValid(id)) assert.match(id, /^[!-~]{1,128}$/)
    })
  })

  describe("uuid7", () => {
    it.prop(
      "sorts by time and keeps version and variant",
      [FastCheck.nat(2 ** 31), FastCheck.nat(2 ** 31)],
      ([a, b]) => {
        const make = (now: number) =>
          RequestId.uuid7({ uuid: () => crypto.randomUUID(), bytes: () => new Uint8Array() }, () => now)
        assert.match(make(a), uuid)
        assert.strictEqual(make(a)[14], "7")
        if (a !== b) assert.strictEqual(make(a) < make(b), a < b)
      }
    )
    it("has 48 bits of milliseconds", () => {
      const fixed = { uuid: () => "ffffffff-ffff-4fff-bfff-ffffffffffff", bytes: () => new Uint8Array() }
      assert.strictEqual(RequestId.uuid7(fixed, () => 0x0123456789ab), "01234567-89ab-7fff-bfff-ffffffffffff")
    })
  })

  describe.each(mounts.filter((mount) => mount.handles))("$name", ({ mount }) => {
    it.scoped("is the same for the handler and the client, and new for each request", () =>
      Effect.gen(function*() {
        const request = yield* mount(echo as never, RequestId.middleware())
        const [first, second] = [yield* request(), yield* request()]
        assert.match(first.body, uuid)
        assert.strictEqual(first.headers["x-request-id"], first.body)
        assert.notStrictEqual(first.body, second.body)
      }))
  })

  describe("trust", () => {
    const inbound = { headers: { "x-request-id": "from-outside" } }
    const ask = (middleware: Middleware.Middleware<RequestId.RequestId>, init = inbound) =>
      Effect.map(send(middleware(echo), init), ({ body }) => body)

    it.effect("nobody, unless said otherwise", () =>
      Effect.gen(function*() {
        assert.match(yield* ask(RequestId.middleware()), uuid)
      }))
    it.effect("everybody, if what they send is valid", () =>
      Effect.gen(function*() {
        const all = RequestId.middleware({ trust: "all" })
        assert.strictEqual(yield* ask(all), "from-outside")
        assert.match(yield* ask(all, { headers: { "x-request-id": "a b" } }), uuid)
        assert.match(yield* ask(all, { headers: { "x-request-id": "x".repeat(129) } }), uuid)
      }))
    it.effect("whom a predicate names", () =>
      Effect.gen(function*() {
        const some = RequestId.middleware({ trust: (request) => request.headers["x-token"] === "t" })
        assert.match(yield* ask(some), uuid)
        assert.strictEqual(
          yield* ask(some, { headers: { ...inbound.headers, ...{ "x-token": "t" } } }),
          "from-outside"
        )
      }))
    it.effect("a trusted proxy", () =>
      Effect.gen(function*() {
        const direct = Stack.make(Forwarded.middleware({ trust: "none" }), RequestId.middleware({ trust: "proxy" }))
        assert.match((yield* send(direct(echo), inbound)).body, uuid)
        const proxied = Stack.make(
          Forwarded.middleware({ trust: { hops: 1 } }),
          RequestId.middleware({ trust: "proxy" })
        )
        assert.strictEqual((yield* send(proxied(echo), inbound)).body, "from-outside")
      }))
  })

  it.effect("answers under another header, or under none", () =>
    Effect.gen(function*() {
      const other = yield* send(RequestId.middleware({ header: "X-Correlation-Id" })(echo))
      assert.strictEqual(other.headers["x-correlation-id"], other.body)
      assert.isUndefined((yield* send(RequestId.middleware({ respond: false })(echo))).headers["x-request-id"])
    }))

  it.each(["", "x y", "x:y", "x\n"])("throws on the header name %j", (header) => {
    assert.throws(() => RequestId.middleware({ header }), /is not a field name/)
  })

  it.effect("is on every log line of its request, and on none of another", () =>
    Effect.gen(function*() {
      const lines: Array<unknown> = []
      const logger = Logger.make(({ annotations }) => void lines.push(HashMap.toEntries(annotations)))
      const app = RequestId.middleware({ trust: "all" })(Effect.zipRight(Effect.log("inside"), echo))
      yield* Effect.forEach(["a", "b"], (id) => send(app, { headers: { "x-request-id": id } }), { concurrency: 2 })
        .pipe(
          Effect.provide(Logger.replace(Logger.defaultLogger, logger))
        )
      assert.sameDeepMembers(lines, [[["request.id", "a"]], [["request.id", "b"]]])
    }))

  it.effect("is an attribute of the current span", () =>
    Effect.gen(function*() {
      const app = RequestId.middleware({ trust: "all", annotation: "id" })(
        Effect.map(
          Effect.orDie(Effect.currentSpan),
          (span) => HttpServerResponse.text(String(span.attributes.get("id")))
        )
      )
      assert.strictEqual((yield* send(app, { headers: { "x-request-id": "a" } })).body, "a")
    }))

  it.effect("comes from the entropy and the clock that the test provides", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1)
      const { body } = yield* send(RequestId.middleware({ generate: RequestId.uuid7 })(echo)).pipe(
        Effect.provideService(Entropy.Entropy, {
          uuid: () => "00000000-0000-4000-8000-000000000000",
          bytes: () => new Uint8Array()
        })
      )
      assert.strictEqual(body, "00000000-0001-7000-8000-000000000000")
    }))

  describe("propagate", () => {
    const client = HttpClient.make((request) =>
      Effect.succeed(HttpClientResponse.fromWeb(request, new Response(request.headers["x-request-id"] ?? "none")))
    )
    const ask = Effect.flatMap(
      RequestId.propagate(client).execute(HttpClientRequest.get("http://inventory.test/")),
      (response) => response.text
    )
    it.effect("sends the id of the request on", () =>
      Effect.gen(function*() {
        const app = RequestId.middleware({ trust: "all" })(Effect.map(Effect.orDie(ask), HttpServerResponse.text))
        assert.strictEqual((yield* send(app, { headers: { "x-request-id": "abc" } })).body, "abc")
      }))
    it.effect("sends none outside a request", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* ask, "none")
      }))
  })
})
