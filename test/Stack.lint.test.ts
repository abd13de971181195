/** What `Stack.lint` says, and of each that the order does the harm: the one it warns of, beside the one it asks for. */
import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Metric, Option, Redacted, Schema, type Scope, TestClock } from "effect"
import {
  AccessLog,
  Authentication,
  BodyLimit,
  Compression,
  ConcurrencyLimit,
  Conditional,
  Cors,
  Csrf,
  Decompression,
  ExceptionHandlers,
  Forwarded,
  Hsts,
  HttpsRedirect,
  IpRestriction,
  Metrics,
  Middleware,
  ProblemDetails,
  RateLimit,
  RateLimitStore,
  RequestId,
  ResponseCache,
  ResponseCacheStore,
  SecurityHeaders,
  ServerErrors,
  Stack,
  Timeout,
  TrustedHost,
  Validate,
  WebSocket
} from "effect-middleware"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { gzipSync } from "node:zlib"
import { stack as withMetrics } from "../docs/examples/metrics/app.js"
import { stack as notes } from "../docs/examples/notes/app.js"
import { stack as traced } from "../docs/examples/opentelemetry/app.js"
import { Counter, inc, middlewareOf } from "./utils/counter.js"
import { stackOf } from "./utils/laws.js"
import { type App, type Init, mounts, type Send } from "./utils/TestApp.js"

// --- members ---------------------------------------------------------------------------------------------------------

const { text } = HttpServerResponse
const forwarded = Forwarded.middleware({ trust: "none" })
const behindProxy = Forwarded.middleware({ trust: { hops: 1 } })
const host = TrustedHost.middleware({ hosts: ["example.com"] })
const identifier = RequestId.middleware()
const log = AccessLog.middleware()
const metrics = Metrics.middleware()
const problem = ProblemDetails.middleware()
const cors = Cors.middleware({ origins: ["https://app.example"] })
const headers = SecurityHeaders.middleware()
const https = HttpsRedirect.middleware()
const csrf = Csrf.middleware()
const cache = ResponseCache.middleware()
const compression = Compression.middleware()
const limits = RateLimit.fixedWindow({ limit: 1, window: "1 hour" })
const byClient = RateLimit.middleware({ limits, key: RateLimit.client() })

class Caller extends Authentication.Tag("test/Caller")<Caller, string>() {}
const isSecret = (given: Redacted.Redacted) =>
  Effect.succeed(Redacted.value(given) === "secret" ? Option.some({ user: "ada" }) : Option.none())
const backend = Authentication.firstOf(
  Authentication.bearer({ verify: isSecret }),
  Authentication.apiKey({ find: () => Effect.succeed(Option.some({ user: "ada" })) })
)
const required = Caller.required()
class Blocked extends IpRestriction.Tag("test/Blocked")<Blocked>() {}
class Search extends Validate.Query("test/Search")<Search>()(Schema.Struct({})) {}

const services = Layer.mergeAll(RateLimitStore.layerMemory(), ResponseCacheStore.layerMemory(), Caller.layer(backend))

// --- requests --------------------------------------------------------------------------------------------------------

const evil: Init = { headers: { host: "evil.example" } }
const known: Record<string, string> = { host: "example.com" }
const preflight: Init = {
  method: "OPTIONS",
  headers: { ...known, origin: "https://app.example", "access-control-request-method": "GET" }
}

type Ask<A> = (send: Send) => Effect.Effect<A, never, Scope.Scope>

const field = (name: string, init: Init): Ask<string | undefined> => (send) =>
  Effect.map(send(init), ({ headers }) => headers[name])
const has = (name: string, init: Init): Ask<boolean> => (send) =>
  Effect.map(field(name, init)(send), (value) => value !== undefined)
const status = (init: Init): Ask<number> => (send) => Effect.map(send(init), ({ status }) => status)
const all = <A>(...asks: ReadonlyArray<Ask<A>>): Ask<ReadonlyArray<A>> => (send) =>
  Effect.forEach(asks, (ask) => ask(send))
const logged = (...inits: ReadonlyArray<Init>): Ask<number> => (send) =>
  Effect.gen(function*() {
    const before = lines
    yield* Effect.forEach(inits, (init) => send(init))
    return lines - before
  })
let lines = 0
const logger = Logger.replace(Logger.defaultLogger, Logger.make(() => void lines++))
const measured = (...inits: ReadonlyArray<Init>): Ask<number> => (send) =>
  Effect.gen(function*() {
    const before = yield* measurements
    yield* Effect.forEach(inits, (init) => send(init))
    return (yield* measurements) - before
  })
const measurements = Effect.map(
  Metric.snapshot,
  (pairs) =>
    pairs.reduce(
      (sum, { metricKey, metricState }) =>
        metricKey.name === "http.server.request.duration" && "count" in metricState
          ? sum + Number(metricState.count)
          : sum,
      0
    )
)

const ok: App = text("ok")
/** How often it has run. */
const counted = (body = "page"): App => {
  let runs = 0
  return Effect.sync(() => text(`${body}${++runs}`, { headers: { "cache-control": "max-age=60" } }))
}
const runs = (...inits: ReadonlyArray<Init>): Ask<ReadonlyArray<string>> => (send) =>
  Effect.forEach(inits, (init) => Effect.map(send(init), ({ body }) => body.slice(-1)))

// --- harms -----------------------------------------------------------------------------------------------------------

interface Harm {
  readonly code: Stack.Code
  readonly what: string
  readonly app?: () => App
  readonly ask: Ask<unknown>
  /** What comes of the order that is warned of. */
  readonly wrong: readonly [ReadonlyArray<Middleware.Any>, unknown]
  readonly right: readonly [ReadonlyArray<Middleware.Any>, unknown]
}

const differ = (name: string, init: Init = {}): Ask<boolean> => (send) =>
  Effect.map(all(field(name, init), field(name, init))(send), ([a, b]) => a !== b)

const methodOverride = Middleware.make({
  name: "Override",
  traits: ["method"],
  request: (exchange) => {
    const method = new URL(exchange.request.url, "http://x").searchParams.get("_method")
    if (method === "DELETE") exchange.deriveRequest({ method })
  }
})
const ownNonce = Middleware.make({
  name: "OwnNonce",
  traits: ["nonce"],
  response: (draft, { entropy }) => {
    draft.set("content-security-policy", `script-src 'nonce-${entropy.uuid()}'`)
  }
})
const spoofed = (n: number): Init => ({ headers: { "x-forwarded-for": `192.0.2.${n}, 198.51.100.1` } })
const guess = (n: number): Init => ({ headers: { authorization: `Bearer ${n}` } })
const key = { headers: { "x-api-key": "secret" } }

/** Of 2000 bytes, nothing. */
const hollow = new Uint8Array(Buffer.concat(Array<Buffer>(100).fill(gzipSync(""))))

const harms: ReadonlyArray<Harm> = [
  {
    code: "guard-outside-cors",
    what: "a page cannot read what was refused",
    ask: field("access-control-allow-origin", { headers: { host: "evil.example", origin: "https://app.example" } }),
    wrong: [[host, cors], undefined],
    right: [[cors, host], "https://app.example"]
  },
  {
    code: "guard-outside-cors",
    what: "a preflight is refused",
    ask: status(preflight),
    wrong: [[required, cors], 401],
    right: [[cors, required], 204]
  },
  {
    code: "answer-outside-identifier",
    what: "a refusal has no identifier",
    ask: has("x-request-id", evil),
    wrong: [[host, identifier], false],
    right: [[identifier, host], true]
  },
  {
    code: "answer-outside-identifier",
    what: "a preflight has none",
    ask: has("x-request-id", preflight),
    wrong: [[cors, identifier], false],
    right: [[identifier, cors], true]
  },
  {
    code: "answer-outside-log",
    what: "a refusal has no line",
    ask: logged(evil),
    wrong: [[forwarded, host, log], 0],
    right: [[forwarded, log, host], 1]
  },
  {
    code: "answer-outside-log",
    what: "a preflight has none",
    ask: logged(preflight),
    wrong: [[forwarded, cors, log], 0],
    right: [[forwarded, log, cors], 1]
  },
  {
    code: "answer-outside-metrics",
    what: "a refusal is not measured",
    ask: measured(evil),
    wrong: [[forwarded, host, metrics], 0],
    right: [[forwarded, metrics, host], 1]
  },
  {
    code: "answer-outside-metrics",
    what: "a preflight is not",
    ask: measured(preflight),
    wrong: [[forwarded, cors, metrics], 0],
    right: [[forwarded, metrics, cors], 1]
  },
  {
    code: "guard-outside-problem-details",
    what: "a browser is shown JSON",
    ask: field("content-type", { headers: { host: "evil.example", accept: "text/html" } }),
    wrong: [[host, problem], "application/problem+json"],
    right: [[problem, host], "text/html; charset=utf-8"]
  },
  {
    code: "guard-outside-security-headers",
    what: "a refusal has no security headers",
    ask: has("x-content-type-options", evil),
    wrong: [[forwarded, host, headers], false],
    right: [[forwarded, headers, host], true]
  },
  {
    code: "guard-outside-security-headers",
    what: "nor Strict-Transport-Security",
    ask: has("strict-transport-security", {
      headers: { host: "evil.example", "x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.1" }
    }),
    wrong: [[behindProxy, host, Hsts.middleware()], false],
    right: [[behindProxy, Hsts.middleware(), host], true]
  },
  {
    code: "rate-limit-outside-client",
    what: "who writes another header is never limited",
    ask: all(status(spoofed(1)), status(spoofed(2)), status(spoofed(3))),
    wrong: [[
      RateLimit.middleware({ limits, key: ({ request }) => request.headers["x-forwarded-for"] }),
      behindProxy
    ], [200, 200, 200]],
    right: [[behindProxy, byClient], [200, 429, 429]]
  },
  {
    code: "authentication-outside-rate-limit",
    what: "guesses are not counted",
    ask: all(status(guess(1)), status(guess(2)), status(guess(3))),
    wrong: [[forwarded, required, byClient], [401, 401, 401]],
    right: [[forwarded, byClient, required], [401, 429, 429]]
  },
  {
    code: "authentication-outside-https",
    what: "credentials are asked for in the clear",
    ask: all<unknown>(status({ headers: known }), has("www-authenticate", { headers: known })),
    wrong: [[forwarded, host, required, https], [401, true]],
    right: [[forwarded, host, https, required], [307, false]]
  },
  {
    code: "csrf-outside-method",
    what: "a link of another site deletes",
    app: () => Effect.map(HttpServerRequest.HttpServerRequest, ({ method }) => text(method)) as App,
    ask: (send) =>
      Effect.map(
        send({ path: "/?_method=DELETE", headers: { ...known, "sec-fetch-site": "cross-site" } }),
        ({ body, status }) => status === 200 ? body : status
      ),
    wrong: [[forwarded, host, csrf, methodOverride], "DELETE"],
    right: [[forwarded, host, methodOverride, csrf], 403]
  },
  {
    code: "cache-outside-authentication",
    what: "who has no key sees what one with a key was given",
    app: counted,
    ask: all(status(key), status({})),
    wrong: [[forwarded, cache, Caller.presented()], [200, 200]],
    right: [[forwarded, Caller.presented(), cache], [200, 401]]
  },
  {
    code: "cache-outside-authentication",
    what: "an address that is denied sees what another was given",
    app: counted,
    ask: all(
      status({ headers: { "x-forwarded-for": "192.0.2.1" } }),
      status({ headers: { "x-forwarded-for": "192.0.2.2" } })
    ),
    wrong: [[behindProxy, cache, IpRestriction.middleware({ deny: ["192.0.2.2"] })], [200, 200]],
    right: [[behindProxy, IpRestriction.middleware({ deny: ["192.0.2.2"] }), cache], [200, 403]]
  },
  {
    code: "cookies-hidden-from-session",
    what: "nobody has a session",
    app: () =>
      Effect.flatMap(
        Counter,
        ({ get, update }) => Effect.map(Effect.zipRight(update(inc), get), ({ n }) => text(`${n}`))
      ) as unknown as App,
    ask: (send) =>
      Effect.gen(function*() {
        const { cookies } = yield* send()
        const cookie = cookies[0]!.split(";")[0]!
        return (yield* send({ headers: { cookie } })).body
      }),
    wrong: [[forwarded, ResponseCache.middleware({ cookies: "hide" }), middlewareOf("signed")], "1"],
    right: [[forwarded, cache, middlewareOf("signed")], "2"]
  },
  {
    code: "nonce-under-cache",
    what: "everybody has the same nonce",
    app: counted,
    ask: differ("content-security-policy"),
    wrong: [[forwarded, cache, ownNonce], false],
    right: [[forwarded, ownNonce, cache], true]
  },
  {
    code: "cache-outside-identifier",
    what: "everybody has the same identifier",
    app: counted,
    ask: differ("x-request-id"),
    wrong: [[forwarded, cache, identifier], false],
    right: [[forwarded, identifier, cache], true]
  },
  {
    code: "cache-outside-log",
    what: "a hit has no line",
    app: counted,
    ask: logged({}, {}),
    wrong: [[forwarded, cache, log], 1],
    right: [[forwarded, log, cache], 2]
  },
  {
    code: "cache-outside-log",
    what: "a hit is not measured",
    app: counted,
    ask: measured({}, {}),
    wrong: [[forwarded, cache, metrics], 1],
    right: [[forwarded, metrics, cache], 2]
  },
  {
    code: "cache-outside-compression",
    what: "the app runs for each coding",
    app: () => counted("a".repeat(2000)),
    ask: runs({ headers: { "accept-encoding": "gzip" } }, { headers: { "accept-encoding": "br" } }),
    wrong: [[forwarded, cache, compression], ["1", "2"]],
    right: [[forwarded, compression, cache], ["1", "1"]]
  },
  {
    code: "compression-inside-etag",
    what: "who has it in another coding is sent it again",
    app: () => text("a".repeat(2000)),
    ask: (send) =>
      Effect.gen(function*() {
        const { headers: { etag } } = yield* send({ headers: { "accept-encoding": "gzip" } })
        return (yield* send({ headers: { "accept-encoding": "br", "if-none-match": etag! } })).status
      }),
    wrong: [[Conditional.middleware(), compression], 200],
    right: [[compression, Conditional.middleware()], 304]
  },
  {
    code: "decompression-outside-body-limit",
    what: "a body of any size is received",
    ask: status({
      method: "POST",
      headers: { "content-encoding": "gzip", "content-length": `${hollow.length}` },
      body: hollow
    }),
    wrong: [[Decompression.middleware(), BodyLimit.middleware({ limit: 1000 })], 200],
    right: [[BodyLimit.middleware({ limit: 1000 }), Decompression.middleware()], 413]
  },
  {
    code: "permits-outside-timeout",
    what: "who waits for a permit waits longer than the limit",
    app: () => Effect.never,
    ask: (send) =>
      Effect.gen(function*() {
        const fibers = yield* Effect.forEach([1, 2], () => Effect.fork(send()))
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        yield* TestClock.adjust("1 second")
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        const polled = yield* Effect.forEach(fibers, Fiber.poll)
        yield* TestClock.adjust("1 second")
        yield* Fiber.joinAll(fibers)
        return polled.filter(Option.isSome).length
      }),
    wrong: [[permits(), Timeout.middleware({ limit: "1 second" })], 1],
    right: [[Timeout.middleware({ limit: "1 second" }), permits()], 2]
  },
  {
    code: "host-unchecked",
    what: "a redirect leads to whatever host was asked for",
    ask: field("location", evil),
    wrong: [[forwarded, https], "https://evil.example/"],
    right: [[forwarded, host, https], undefined]
  },
  {
    code: "host-unchecked",
    what: "a redirect is made before the host is looked at",
    ask: field("location", evil),
    wrong: [[forwarded, https, host], "https://evil.example/"],
    right: [[forwarded, host, https], undefined]
  },
  {
    code: "host-unchecked",
    what: "a name of an attacker's that leads here is the same origin (DNS rebinding)",
    ask: status({ method: "POST", headers: { host: "evil.example", origin: "http://evil.example" } }),
    wrong: [[forwarded, csrf], 200],
    right: [[forwarded, host, csrf], 400]
  },
  {
    code: "twice",
    what: "the second takes the proxy for the client",
    app: () => Effect.map(Forwarded.Client, ({ address }) => text(address ?? "nobody")) as unknown as App,
    ask: (send) => Effect.map(send({ headers: { "x-forwarded-for": "192.0.2.1" } }), ({ body }) => body),
    wrong: [[behindProxy, Forwarded.middleware({ name: "Forwarded2", trust: { hops: 1 } })], "nobody"],
    right: [[behindProxy], "192.0.2.1"]
  },
  {
    code: "twice",
    what: "what is inside sees another identifier than the client",
    app: () => Effect.map(RequestId.RequestId, (id) => text(id)) as unknown as App,
    ask: (send) => Effect.map(send(), ({ body, headers }) => headers["x-request-id"] === body),
    wrong: [
      [identifier, Timeout.middleware({ limit: "1 minute" }), RequestId.middleware({ name: "RequestId2" })],
      false
    ],
    right: [[identifier], true]
  },
  {
    code: "twice",
    what: "a request has two lines",
    ask: logged({}),
    wrong: [[forwarded, log, AccessLog.middleware({ name: "AccessLog2" })], 2],
    right: [[forwarded, log], 1]
  },
  {
    code: "twice",
    what: "a request is measured twice",
    ask: measured({}),
    wrong: [[forwarded, metrics, Metrics.middleware({ name: "Metrics2" })], 2],
    right: [[forwarded, metrics], 1]
  },
  {
    code: "guard-by-function",
    what: "who sends a header passes (CVE-2025-29927)",
    ask: status({ headers: { "x-internal": "1" } }),
    wrong: [[Middleware.unless(({ headers }) => headers["x-internal"] === "1", required)], 200],
    right: [[required], 401]
  }
]

function permits() {
  return ConcurrencyLimit.middleware({ permits: 1, queue: { size: 10, maxWait: "1 minute" } })
}

const asking = (members: ReadonlyArray<Middleware.Any>, ask: Ask<unknown>, app: App) =>
  Effect.flatMap(mounts[0]!.mount(app, stackOf(...members)), ask).pipe(
    Effect.provide([services, logger]),
    Effect.scoped
  )

const codes = (members: ReadonlyArray<Middleware.Any>) => Stack.lint(stackOf(...members)).map(({ code }) => code)

describe("the order does the harm", () => {
  it.effect.each(harms.map((harm) => [harm.code, harm.what, harm] as const))(
    "%s: %s",
    ([code, _, { app = () => ok, ask, right, wrong }]) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(codes(wrong[0]), [code])
        assert.deepStrictEqual(codes(right[0]), [])
        assert.deepStrictEqual(yield* asking(wrong[0], ask, app()), wrong[1], "as warned of")
        assert.deepStrictEqual(yield* asking(right[0], ask, app()), right[1], "as asked for")
      })
  )
})

describe("error pages outside Cors", () => {
  const origin = { headers: { origin: "https://app.example" } }
  it.effect.each<[string, Middleware.Any]>([
    ["ServerErrors", ServerErrors.middleware()],
    ["ExceptionHandlers", ExceptionHandlers.standard()],
    ["onError", Middleware.onError("OnError", () => text("sorry", { status: 500 }))],
    [
      "dispatch",
      Middleware.dispatch("Dispatch", (_, next) => Effect.catchAll(next, () => text("sorry", { status: 500 })))
    ]
  ])("%s: can be read by a page, so there is no rule", ([_, pages]) =>
    Effect.gen(function*() {
      const read = field("access-control-allow-origin", origin)
      assert.strictEqual(yield* asking([pages, cors], read, Effect.fail("broken") as never), "https://app.example")
      assert.deepStrictEqual(codes([pages, cors]), [])
    }))
})

describe("what is refused out there", () => {
  it.each<[string, Middleware.Any]>([
    ["TrustedHost", host],
    ["HttpsRedirect", https],
    ["Csrf", csrf],
    ["WebSocket", WebSocket.middleware()],
    ["WebSocket, of other origins", WebSocket.middleware({ origins: "*" })],
    ["IpRestriction", IpRestriction.middleware({ allow: ["192.0.2.0/24"] })],
    ["IpRestriction, of a layer", IpRestriction.middleware({ lists: Blocked })],
    ["RateLimit", byClient],
    ["ConcurrencyLimit", permits()],
    ["BodyLimit", BodyLimit.middleware()],
    ["Decompression", Decompression.middleware()],
    ["Validate", Search.middleware()],
    ["Validate.contentType", Validate.contentType(["text/*"])],
    ["Authentication, required", required],
    ["optional", Caller.optional()],
    ["presented", Caller.presented()],
    ["requires", Caller.requires({})]
  ])("%s is a guard", (_, guard) => {
    assert.include(codes([guard, cors]), "guard-outside-cors")
    assert.notInclude(codes([cors, guard]), "guard-outside-cors")
  })

  it.each<[string, Middleware.Any, boolean]>([
    ["WebSocket, of its own origin", WebSocket.middleware(), true],
    ["among others", WebSocket.middleware({ origins: ["same-origin", "https://app.example"] }), true],
    ["of others alone", WebSocket.middleware({ origins: ["https://app.example"] }), false],
    ["of any", WebSocket.middleware({ origins: "*" }), false]
  ])("%s: relies on the host, or not", (_, member, relies) => {
    assert.strictEqual(codes([member]).includes("host-unchecked"), relies)
    assert.notInclude(codes([host, member]), "host-unchecked")
  })

  it.each<[string, Middleware.Any]>([
    ["required", required],
    ["optional", Caller.optional()],
    ["presented", Caller.presented()],
    ["requires", Caller.requires({})],
    ["IpRestriction, of a layer", IpRestriction.middleware({ lists: Blocked })]
  ])("what a cache has is not asked of %s", (_, access) => {
    assert.deepStrictEqual(codes([forwarded, cache, access]), ["cache-outside-authentication"])
  })

  it.each<[string, Middleware.Any]>([
    ["required", required],
    ["optional", Caller.optional()],
    ["presented", Caller.presented()],
    ["requires", Caller.requires({})]
  ])("guesses at %s are counted outside of it", (_, authentication) => {
    assert.deepStrictEqual(codes([forwarded, authentication, byClient]), ["authentication-outside-rate-limit"])
  })

  it("a cache that hides cookies is a cache, and hides them from authentication", () => {
    assert.deepStrictEqual(
      codes([forwarded, ResponseCache.middleware({ cookies: "hide" }), required]),
      ["cache-outside-authentication", "cookies-hidden-from-session"]
    )
  })

  it("SecurityHeaders has a nonce, or not", () => {
    const withNonce = SecurityHeaders.middleware({ nonce: ["scriptSrc"] })
    assert.deepStrictEqual(codes([cache, headers]), [])
    assert.deepStrictEqual(codes([cache, withNonce]), ["nonce-under-cache"])
    assert.deepStrictEqual(codes([host, withNonce]), ["guard-outside-security-headers"])
  })

  it("a limit by principal belongs inside authentication, and a second by client may stand there", () => {
    const byPrincipal = RateLimit.middleware({ limits, key: RateLimit.principal(Caller) })
    assert.deepStrictEqual(codes([forwarded, required, byPrincipal]), [])
    const second = RateLimit.middleware({ name: "Second", limits, key: RateLimit.client() })
    assert.deepStrictEqual(codes([forwarded, byClient, required, second]), [])
    assert.deepStrictEqual(codes([forwarded, required, second]), ["authentication-outside-rate-limit"])
  })

  it("a second limit of the body may stand inside Decompression", () => {
    const [outer, inner] = [BodyLimit.middleware(), BodyLimit.middleware({ name: "Inner" })]
    assert.deepStrictEqual(codes([outer, Decompression.middleware(), inner]), [])
  })
})

describe("what it sees", () => {
  const found = ["guard-outside-cors"]
  it("a stack in a stack, and the order within", () => {
    assert.deepStrictEqual(codes([Stack.make(host), Stack.make(Middleware.every("All")(cors))]), found)
    assert.deepStrictEqual(codes([Stack.make(host, cors)]), found)
  })

  it("itself, where it is not a stack", () => {
    assert.deepStrictEqual(Stack.lint(https).map(({ code }) => code), ["host-unchecked"])
  })

  it.each<[string, Middleware.Any]>([
    ["forRoutes", Middleware.forRoutes(["/a"], cors)],
    ["forRoutes, of what wraps", Middleware.forRoutes(["/a"], stackOf(Timeout.middleware({ limit: 1 }), cors))],
    ["exceptRoutes", Middleware.exceptRoutes(["/a"], cors)],
    ["when", Middleware.when(() => true, cors)],
    ["unless", Middleware.unless(() => true, cors)],
    ["whenOr", Middleware.whenOr("Or", () => true, compression, cors)],
    ["whenOr, of what wraps", Middleware.whenOr("Or", () => true, Timeout.middleware({ limit: 1 }), cors)],
    ["firstOf", Middleware.firstOf("First", compression, cors)],
    ["a condition in a condition", Middleware.when(() => true, Middleware.when(() => true, stackOf(compression, cors)))]
  ])("through %s", (_, member) => assert.deepStrictEqual(codes([host, member]), found))

  it("that one of two runs, and not the other", () => {
    const or = (onTrue: Middleware.Any, onFalse: Middleware.Any) =>
      Middleware.whenOr("Or", Middleware.reading([], () => true), onTrue, onFalse)
    assert.deepStrictEqual(codes([or(host, cors)]), [])
    assert.deepStrictEqual(codes([or(log, AccessLog.middleware({ name: "Other" }))]), [])
    assert.deepStrictEqual(codes([or(stackOf(host, cors), problem)]), found)
    assert.deepStrictEqual(codes([or(or(host, problem), cors)]), [])
  })

  it("whatever its name is", () => {
    const [one] = Stack.lint(stackOf(
      TrustedHost.middleware({ name: "A", hosts: ["a.example"] }),
      Validate.contentType(["text/*"], { name: "B" }),
      Cors.middleware({ name: "C", origins: "*" })
    ))
    assert.deepStrictEqual(one?.members, ["A", "B", "C"])
    assert.strictEqual(one?.remedy, "Put C outside A, B.")
    assert.strictEqual(one?.severity, "warning")
  })

  it("one of one's own, by its traits", () => {
    const own = Middleware.make({ name: "Own", traits: ["guard"] })
    const wrapping = Middleware.dispatch("Own", (_, next) => next)
    assert.deepStrictEqual(codes([own, cors]), found)
    assert.deepStrictEqual(codes([wrapping, cors]), [])
    assert.deepStrictEqual(codes([Middleware.withTraits(wrapping, "guard"), cors]), found)
    assert.deepStrictEqual(
      codes([forwarded, cache, Middleware.withTraits(own, "access")]),
      ["cache-outside-authentication"]
    )
    assert.deepStrictEqual(codes([Middleware.withTraits(own, "access"), cors]), found)
    assert.deepStrictEqual(
      codes([Middleware.withTraits(Middleware.withTraits(wrapping, "access"), "guard"), cors]),
      found
    )
  })

  it.effect("and with traits it is what it was", () =>
    Effect.gen(function*() {
      const stack = Middleware.withTraits(Stack.make(identifier, problem), "guard")
      assert.deepStrictEqual(Stack.names(stack), ["RequestId", "ProblemDetails"])
      assert.isTrue(yield* asking([stack], has("x-request-id", {}), ok))
    }))
})

describe("a guard that does not always run", () => {
  const isGet = Middleware.reading(["method"], ({ method }) => method === "GET")
  it.each<[string, Middleware.Any, ReadonlyArray<Stack.Code>]>([
    ["when", Middleware.when(() => true, host), ["guard-by-function"]],
    ["unless", Middleware.unless(() => true, host), ["guard-by-function"]],
    ["whenOr", Middleware.whenOr("Or", () => true, host, problem), ["guard-by-function"]],
    ["when, of a stack", Middleware.when(() => true, stackOf(problem, host)), ["guard-by-function"]],
    ["when, of what is none", Middleware.when(() => true, problem), []],
    ["when, reading", Middleware.when(isGet, host), []],
    ["unless, reading", Middleware.unless(isGet, host), []],
    ["whenOr, reading", Middleware.whenOr("Or", isGet, host, problem), []],
    ["firstOf", Middleware.firstOf("First", host, problem), []],
    ["two in each other", Middleware.when(() => true, Middleware.forRoutes(["/a"], host)), [
      "guard-by-function",
      "guard-with-routes"
    ]],
    ["forRoutes, of what is none", Middleware.forRoutes(["/a"], problem), []]
  ])("%s", (_, member, expected) => assert.deepStrictEqual(codes([member]), expected))

  it("is noted with its routes", () => {
    assert.deepStrictEqual(Stack.lint(Middleware.exceptRoutes(["GET /health", "GET /ready"], host)), [{
      code: "guard-with-routes",
      severity: "note",
      members: ["TrustedHost"],
      reason: "It does not run for all requests: exceptRoutes GET /health, GET /ready.",
      remedy: "See that this is what you mean."
    }])
    assert.deepStrictEqual(codes([Middleware.forRoutes(["/admin/*"], host)]), ["guard-with-routes"])
  })

  it.effect("reading shows nothing of a request but what is named", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const member = Middleware.when(
        Middleware.reading(["method"], (facts) => {
          seen.push(facts)
          return facts.method === "GET"
        }),
        identifier
      )
      assert.isTrue(yield* asking([member], has("x-request-id", {}), ok))
      assert.isFalse(yield* asking([member], has("x-request-id", { method: "POST" }), ok))
      assert.deepStrictEqual(seen, [{ method: "GET" }, { method: "POST" }])
    }))
})

describe("the examples and what the docs argue for", () => {
  it.each([["notes", notes], ["metrics", withMetrics], ["opentelemetry", traced]] as const)(
    "the stack of %s is all well",
    (_, stack) => assert.deepStrictEqual(Stack.lint(stack), [])
  )

  it("each code has a line in the docs, and each line a code", () => {
    const page = Fs.readFileSync(Path.join(import.meta.dirname, "../docs/order.md"), "utf8")
    const told = [...page.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, code]) => code!)
    const shown = [...new Set(harms.map(({ code }) => code)), "guard-with-routes"]
    assert.sameMembers(told, shown)
  })
})
