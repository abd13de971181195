import { HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, DateTime, Effect, Redacted, TestClock } from "effect"
import { Forwarded, Maintenance, Stack } from "effect-middleware"
import { type App, mounts, send } from "./utils/TestApp.js"

const ok = HttpServerResponse.text("ok")
const facts: Maintenance.Facts = { method: "GET", target: "/", header: () => undefined, address: () => undefined }
const secret = Redacted.make("0123456789abcdef")

describe("policy", () => {
  const passes = Maintenance.policy({
    exceptRoutes: ["GET /livez"],
    bypass: { header: "X-Bypass", secret },
    clients: ["10.0.0.0/8", "2001:db8::/32"]
  })
  const says = (value: string) => ({ header: (name: string) => name === "x-bypass" ? value : undefined })

  it.each([
    ["anybody", {}, false],
    ["a route that stays open", { target: "/livez?a=b" }, true],
    ["another method of it", { target: "/livez", method: "POST" }, false],
    ["what only looks like it", { target: "//livez" }, false],
    ["what a router may take for it", { target: "/livez/" }, false],
    ["the secret", says("0123456789abcdef"), true],
    ["a part of it", says("0123456789abcde"), false],
    ["another one", says("0123456789abcdeF"), false],
    ["none", says(""), false],
    ["an address", { address: () => "10.1.2.3" }, true],
    ["one in IPv6", { address: () => "2001:db8::1" }, true],
    ["the same in another notation", { address: () => "::ffff:10.1.2.3" }, true],
    ["another address", { address: () => "11.1.2.3" }, false],
    ["what is no address", { address: () => "10.1.2.3, 1.2.3.4" }, false]
  ])("%s: %j", (_, changes, expected) => assert.strictEqual(passes({ ...facts, ...changes }), expected))

  it("lets nobody by, if not told to", () => {
    assert.strictEqual(Maintenance.policy()({ ...facts, ...says(""), address: () => "127.0.0.1" }), false)
  })

  it.each([
    ["a route", { exceptRoutes: ["livez"] }, /livez/],
    ["an address", { clients: ["10.0.0.0/33"] }, /Maintenance: clients/],
    ["a field", { bypass: { header: "a b", secret } }, /bypass.header is "a b": write the name of a field/],
    ["a secret", { bypass: { header: "x-a", secret: Redacted.make("short") } }, /shorter than 16 characters: make one/]
  ])(
    "throws on what is none: %s",
    (_, options, message) => assert.throws(() => Maintenance.middleware(options), message)
  )

  it("does not say the secret", () => {
    try {
      Maintenance.policy({ bypass: { header: "x-a", secret: Redacted.make("hunter2") } })
      assert.fail("it is too short")
    } catch (error) {
      assert.notInclude(String(error), "hunter2")
    }
  })
})

describe("the switch", () => {
  const app = Maintenance.middleware({ retryAfter: "2 minutes" })(ok) as App
  const ask = Effect.map(send(app), ({ headers, status }) => [status, headers["retry-after"]])

  it.effect("closes and opens the app, and tells when to come back", () =>
    Effect.gen(function*() {
      const { isOn, turnOff, turnOn } = yield* Maintenance.Switch
      assert.deepStrictEqual([yield* isOn, yield* ask], [false, [200, undefined]])
      yield* turnOn()
      assert.deepStrictEqual([yield* isOn, yield* ask], [true, [503, "120"]])
      yield* turnOn({ until: DateTime.add(yield* DateTime.now, { millis: 30_001 }) })
      assert.deepStrictEqual(yield* ask, [503, "31"])
      // it is still closed: nobody has opened it
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* ask, [503, "120"])
      yield* turnOff
      assert.deepStrictEqual([yield* isOn, yield* ask], [false, [200, undefined]])
    }).pipe(Effect.provide(Maintenance.layer())))

  it.effect("begins as it is told", () =>
    Effect.gen(function*() {
      const isOn = Effect.flatMap(Maintenance.Switch, ({ isOn }) => isOn)
      const from = (entries: ReadonlyArray<readonly [string, string]>) =>
        Effect.provide(
          isOn,
          Maintenance.layerConfig({ initially: Config.withDefault(Config.boolean("CLOSED"), false) })
        ).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map(entries))))
      assert.deepStrictEqual(
        [
          yield* from([]),
          yield* from([["CLOSED", "true"]]),
          yield* Effect.provide(isOn, Maintenance.layer({ initially: true }))
        ],
        [false, true, true]
      )
    }))

  it.effect("refuses as a problem, without entering the app, WebSocket handshakes too", () =>
    Effect.gen(function*() {
      const closed = Effect.provide(
        Maintenance.middleware()(Effect.die("entered")),
        Maintenance.layer({ initially: true })
      ) as App
      for (const headers of [{}, { connection: "upgrade", upgrade: "websocket" }]) {
        const { body, headers: fields, status } = yield* send(closed, { headers })
        assert.deepStrictEqual([status, fields["content-type"]], [503, "application/problem+json"])
        assert.strictEqual(fields["cache-control"], "no-store")
        assert.deepInclude(JSON.parse(body), { status: 503, detail: "The service is closed for maintenance" })
      }
    }))
})

describe.each(mounts)("$name", ({ mount }) => {
  it.scoped("lets operators by, and nobody else", () =>
    Effect.gen(function*() {
      const stack = Stack.make(
        Forwarded.middleware({ trust: { hops: 1 } }),
        Maintenance.middleware({ clients: ["192.0.2.0/24"], bypass: { header: "x-bypass", secret } })
      )
      const request = yield* mount(ok as never, stack)
      const from = (address: string, more = {}) =>
        Effect.map(request({ headers: { "x-forwarded-for": address, ...more } }), ({ status }) => status)
      assert.deepStrictEqual(
        [
          yield* from("192.0.2.1"),
          yield* from("198.51.100.1"),
          yield* from("198.51.100.1", { "x-bypass": "0123456789abcdef" }),
          yield* from("198.51.100.1", { "x-bypass": "x" })
        ],
        [200, 503, 200, 503]
      )
    }).pipe(Effect.provide(Maintenance.layer({ initially: true }))))
})
