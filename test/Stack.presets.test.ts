import { HttpRouter, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, Schema } from "effect"
import {
  Authentication,
  Cors,
  Defaults,
  Forwarded,
  Middleware,
  RateLimit,
  RateLimitStore,
  ResponseCache,
  Session,
  SessionStore,
  Stack,
  TrustedHost
} from "effect-middleware"
import { type App, type Init, mounts, send } from "./utils/TestApp.js"

class Cart extends Session.Tag("test/Cart")<Cart>()(Schema.Struct({ n: Schema.Number }), {
  initial: () => ({ n: 0 })
}) {}
class User extends Authentication.Tag("test/User")<User, string>() {}

const forwarded = Forwarded.middleware({ trust: { hops: 1 } })
const host = TrustedHost.middleware({ hosts: ["example.com"] })
const session = Cart.middleware({ kind: "stored" })
const cors = Cors.middleware({ origins: ["https://app.example"] })
const limits = RateLimit.fixedWindow({ limit: 2, window: "1 hour" })
const rateLimit = RateLimit.middleware({ limits, key: RateLimit.client() })
const authentication = User.required()
const site = { ...Defaults.site(), forwarded, host, session }
const api = { ...Defaults.api(), forwarded, host, cors, rateLimit, authentication }

const siteNames = [
  "ServerErrors",
  "Forwarded",
  "RequestId",
  "AccessLog",
  "ProblemDetails",
  "SecurityHeaders",
  "TrustedHost",
  "HttpsRedirect",
  "Csrf",
  "Timeout",
  "BodyLimit",
  "Compression",
  "test/Cart",
  "Conditional",
  "ExceptionHandlers"
]
const apiNames = [
  "ServerErrors",
  "Forwarded",
  "RequestId",
  "AccessLog",
  "ProblemDetails",
  "Cors",
  "SecurityHeaders",
  "TrustedHost",
  "HttpsRedirect",
  "RateLimit",
  "Timeout",
  "BodyLimit",
  "Compression",
  "test/User",
  "Conditional",
  "ExceptionHandlers"
]
/** Every part, in the order in which it has to stand. */
const siteParts = [
  "serverErrors",
  "forwarded",
  "requestId",
  "accessLog",
  "metrics",
  "problemDetails",
  "cors",
  "securityHeaders",
  "host",
  "https",
  "csrf",
  "rateLimit",
  "timeout",
  "concurrency",
  "bodyLimit",
  "compression",
  "decompression",
  "session",
  "authentication",
  "cache",
  "conditional",
  "errors"
]
const apiParts = [
  ...siteParts.slice(0, siteParts.indexOf("csrf")),
  ...siteParts.slice(siteParts.indexOf("rateLimit"), siteParts.indexOf("session")),
  "authentication",
  "quota",
  "cache",
  "conditional",
  "errors"
]
const asAny = (f: unknown) => f as (options: Record<string, unknown>) => Middleware.Any
const presets = [
  ["site", asAny(Stack.site), site, siteNames, siteParts],
  ["api", asAny(Stack.api), api, apiNames, apiParts]
] as const

describe.each(presets)("Stack.%s", (_, make, given, names, parts) => {
  it("is what the docs argue for, and all well", () => {
    assert.deepStrictEqual(Stack.names(make(given)), names)
    assert.deepStrictEqual(Stack.lint(make(given)), [])
  })

  it("each part may be another middleware", () => {
    const own = Object.fromEntries(parts.map((part) => [part, Middleware.make({ name: part })]))
    assert.deepStrictEqual(Stack.names(make(own)), parts)
  })

  it("or left out", () => {
    assert.deepStrictEqual(Stack.names(make(Object.fromEntries(parts.map((part) => [part, false])))), [])
    assert.deepStrictEqual(
      Stack.names(make({ ...given, compression: false })),
      names.filter((name) => name !== "Compression")
    )
  })

  it("what cannot be guessed has to be said", () => {
    for (const part of Object.keys(given)) {
      const { [part]: __, ...rest } = given as Record<string, unknown>
      assert.throws(() => make(rest), new RegExp(`${part} is missing: give a middleware, or false`))
    }
    assert.throws(
      () => make({ ...given, compresion: false }),
      /there is no part compresion; the parts are serverErrors, /
    )
  })

  it("does not build what is warned of, unless that is acknowledged", () => {
    const hidden = {
      ...given,
      host: false,
      cache: ResponseCache.middleware(),
      conditional: Middleware.withTraits(
        Middleware.make({ name: "Late" }),
        "access"
      )
    }
    assert.throws(
      () => make(hidden),
      /: this order does harm; .* acknowledge: \["cache-outside-authentication","host-unchecked"\]\n- cache-outside-authentication \(ResponseCache, Late\): A hit .* Put ResponseCache inside Late\.\n- host-unchecked/
    )
    assert.throws(
      () => make({ ...hidden, acknowledge: ["host-unchecked"] }),
      /acknowledge: \["cache-outside-authentication"\]\n- cache-outside-authentication[^\n]*$/
    )
    const acknowledge = ["cache-outside-authentication", "host-unchecked"]
    assert.include(Stack.names(make({ ...hidden, acknowledge })), "Late")
  })

  it("a note is none", () => {
    assert.doesNotThrow(() => make({ ...given, host: Middleware.exceptRoutes(["GET /health"], host) }))
  })
})

const secure = { host: "example.com", "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https" }
const asking = (app: App, stack: Middleware.Any, inits: ReadonlyArray<Init>) =>
  Effect.flatMap(mounts[0]!.mount(app, stack), (send) => Effect.forEach(inits, (init) => send(init))).pipe(
    Effect.scoped,
    Effect.provide(Layer.mergeAll(
      SessionStore.layerMemory(),
      RateLimitStore.layerMemory(),
      User.layer(
        Authentication.bearer({
          verify: (token) =>
            Effect.succeed(Redacted.value(token) === "good" ? Option.some({ user: "ada" }) : Option.none())
        })
      )
    ))
  )

describe("they work", () => {
  it.effect("a site: pages, sessions, posts of its own and of another", () =>
    Effect.gen(function*() {
      const inc = Effect.gen(function*() {
        const cart = yield* Cart
        yield* cart.update(({ n }) => ({ n: n + 1 }))
        return HttpServerResponse.text(`${(yield* cart.get).n}`)
      })
      const app = HttpRouter.empty.pipe(HttpRouter.post("/", inc))
      const [own, other, missing, plain] = yield* asking(app as unknown as App, Stack.site(site), [
        { method: "POST", headers: { ...secure, "sec-fetch-site": "same-origin" } },
        { method: "POST", headers: { ...secure, "sec-fetch-site": "cross-site" } },
        { path: "/missing", headers: { ...secure, accept: "text/html" } },
        { headers: { ...secure, "x-forwarded-proto": "http" } }
      ])
      assert.deepStrictEqual([own!.status, own!.body], [200, "1"])
      assert.match(own!.cookies[0]!, /^__Host-session=/)
      assert.include(own!.headers["content-security-policy"], "default-src")
      assert.deepStrictEqual([other!.status, other!.headers["content-type"]], [403, "application/problem+json"])
      assert.deepStrictEqual([missing!.status, missing!.headers["content-type"]], [404, "text/html; charset=utf-8"])
      assert.deepStrictEqual([plain!.status, plain!.headers["location"]], [307, "https://example.com/"])
      assert.isTrue([own, other, missing, plain].every((reply) => reply!.headers["x-request-id"] !== undefined))
    }))

  it.effect("an api: a token, a limit, pages of another origin", () =>
    Effect.gen(function*() {
      const app = Effect.map(User, ({ user }) => HttpServerResponse.text(user)) as unknown as App
      const headers = { ...secure, origin: "https://app.example" }
      const [preflight, guess, good, many, plain] = yield* asking(app, Stack.api(api), [
        { method: "OPTIONS", headers: { ...headers, "access-control-request-method": "GET" } },
        { headers },
        { headers: { ...headers, authorization: "Bearer good" } },
        { headers: { ...headers, authorization: "Bearer good" } },
        { method: "POST", headers: { ...headers, "x-forwarded-proto": "http" } }
      ])
      assert.deepStrictEqual(
        [preflight, guess, good, many, plain].map((reply) => reply!.status),
        [204, 401, 200, 429, 403]
      )
      assert.strictEqual(good!.body, "ada")
      for (const reply of [guess, good, many, plain]) {
        assert.strictEqual(reply!.headers["access-control-allow-origin"], "https://app.example")
      }
      assert.include(good!.headers["content-security-policy"], "default-src 'none'")
    }))

  it.effect("a failure and a defect are answered", () =>
    Effect.gen(function*() {
      const stack = Stack.site({ ...site, session: false })
      const statuses = yield* Effect.forEach([Effect.fail("no"), Effect.die("no")], (app) =>
        Effect.map(send(stack(app as never) as App, { headers: secure }), ({ status }) => status))
      assert.deepStrictEqual(statuses, [500, 500])
    }))
})
