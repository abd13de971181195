import { HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Data, Duration, Effect, Logger } from "effect"
import { Forwarded, Hsts, HttpsRedirect, Stack, TrustedHost } from "effect-middleware"
import { mounts, send, unknownRoute } from "./utils/TestApp.js"

describe("policy", () => {
  const secure: Hsts.Facts = { scheme: "https", schemeKnown: true, hostname: "example.com" }
  const year = "max-age=31536000"

  it.each<[rule: string, options: Hsts.Options, value: string]>([
    ["a year", {}, year],
    ["a duration in words", { maxAge: "5 minutes" }, "max-age=300"],
    ["a duration as a value", { maxAge: Duration.weeks(1) }, "max-age=604800"],
    ["milliseconds, as everywhere", { maxAge: 2000 }, "max-age=2"],
    ["nanoseconds, as everywhere", { maxAge: 3_000_000_000n }, "max-age=3"],
    ["zero has it forgotten", { maxAge: 0 }, "max-age=0"],
    ["zero in words", { maxAge: "0 seconds" }, "max-age=0"],
    ["zero for subdomains too", { maxAge: Duration.zero, includeSubDomains: true }, "max-age=0; includeSubDomains"],
    ["subdomains", { includeSubDomains: true }, `${year}; includeSubDomains`],
    ["the list", { includeSubDomains: true, preload: true }, `${year}; includeSubDomains; preload`],
    ["no subdomains and no list, said", { includeSubDomains: false, preload: false }, year],
    ["the first stage", Hsts.rampUp.fiveMinutes, "max-age=300; includeSubDomains"],
    ["the second stage", Hsts.rampUp.oneWeek, "max-age=604800; includeSubDomains"],
    ["the third stage", Hsts.rampUp.oneMonth, "max-age=2592000; includeSubDomains"],
    ["the last stage", Hsts.rampUp.preload, "max-age=63072000; includeSubDomains; preload"],
    ["a stage without subdomains", { ...Hsts.rampUp.oneWeek, includeSubDomains: false }, "max-age=604800"]
  ])("%s: %o", (_, options, value) => {
    assert.strictEqual(Hsts.policy(options)(secure), value)
  })

  it.each<[rule: string, facts: Partial<Hsts.Facts>, sent: boolean]>([
    ["https", {}, true],
    ["http", { scheme: "http" }, false],
    ["an https that nobody has stated", { schemeKnown: false }, false],
    ["an http that nobody has stated", { scheme: "http", schemeKnown: false }, false],
    ["a host that is not known is no address", { hostname: undefined }, true],
    ["an IPv4 address", { hostname: "203.0.113.9" }, false],
    ["an IPv6 address", { hostname: "[2001:db8::1]" }, false],
    ["localhost", { hostname: "localhost" }, false],
    ["a name under localhost", { hostname: "app.localhost" }, false],
    ["a name that ends in it", { hostname: "mylocalhost" }, true],
    ["a name that begins with it", { hostname: "localhost.example.com" }, true],
    ["a name that begins with digits", { hostname: "127.0.0.1.example.com" }, true],
    ["a name that ends in a digit", { hostname: "web1" }, true]
  ])("%s: %o -> %s", (_, facts, sent) => {
    assert.strictEqual(Hsts.policy()({ ...secure, ...facts }), sent ? year : undefined)
  })

  describe("mistakes", () => {
    it.each<[rule: string, options: unknown, message: RegExp]>([
      ["an age is broken", { maxAge: 1500 }, /maxAge is 1500: write whole seconds \("365 days"\), or 0/],
      ["an age is broken, in words", { maxAge: "1.5 seconds" }, /maxAge is 1\.5 seconds/],
      ["an age is negative", { maxAge: -1000 }, /maxAge is -1000/],
      ["an age is negative, in words", { maxAge: "-1 seconds" }, /maxAge is -1 seconds/],
      ["an age is negative, in nanoseconds", { maxAge: -1n }, /maxAge is -1/],
      ["an age is no number", { maxAge: NaN }, /maxAge is NaN/],
      ["an age has no end", { maxAge: "Infinity" }, /maxAge is Infinity/],
      ["an age has no end, as a value", { maxAge: Duration.infinity }, /maxAge is Duration\(Infinity\)/],
      ["an age has no unit", { maxAge: "31536000" }, /maxAge is 31536000: write/],
      [
        "the list has no subdomains",
        { preload: true },
        /preload needs includeSubDomains: write includeSubDomains: true/
      ],
      [
        "the list has less than a year",
        { preload: true, includeSubDomains: true, maxAge: "364 days" },
        /preload needs a maxAge of 31536000 seconds, and it is 31449600: write "365 days"/
      ],
      ["a year in seconds is meant, and milliseconds are written", {
        preload: true,
        includeSubDomains: true,
        maxAge: 31_536_000
      }, /and it is 31536: write "365 days"/],
      ["the list is to forget", { preload: true, includeSubDomains: true, maxAge: 0 }, /and it is 0/]
    ])("throws when %s, and says what to write", (_, options, message) => {
      assert.throws(() => Hsts.policy(options as Hsts.Options), TypeError, message)
    })
  })
})

describe("middleware", () => {
  class Broken extends Data.TaggedError("Broken")<{}> {}

  const ok = HttpServerResponse.text("ok")
  const field = "strict-transport-security"
  const value = "max-age=31536000"
  const proxied = Forwarded.middleware({ trust: { hops: 1 } })
  const came = (proto: string, headers: Record<string, string> = {}) => ({
    "host": "example.com",
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-proto": proto,
    ...headers
  })

  describe.each(mounts)("$name", ({ mount, router }) => {
    it.scoped("is sent by https alone, on success, failure, defect and 404", () =>
      Effect.gen(function*() {
        for (const app of [ok, Effect.fail(new Broken()), Effect.die("a defect")]) {
          const request = yield* mount(app, Stack.make(proxied, Hsts.middleware()))
          assert.strictEqual((yield* request({ headers: came("https") })).headers[field], value)
          assert.isUndefined((yield* request({ headers: came("http") })).headers[field])
          assert.isUndefined((yield* request({ headers: came("https", { host: "127.0.0.1:443" }) })).headers[field])
          if (router !== "inside") continue
          const missing = yield* request({ ...unknownRoute, headers: came("https") })
          assert.deepStrictEqual([missing.status, missing.headers[field]], [404, value])
        }
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))))
  })

  it.effect("one field leaves: that of the handler, else of the inner one", () =>
    Effect.gen(function*() {
      const stack = Stack.make(
        proxied,
        Hsts.middleware({ name: "Outer" }),
        Hsts.middleware({ maxAge: "1 days", name: "Inner" })
      )
      const set = HttpServerResponse.setHeader(ok, "Strict-Transport-Security", "max-age=0")
      assert.strictEqual((yield* send(stack(set), { headers: came("https") })).headers[field], "max-age=0")
      assert.strictEqual((yield* send(stack(ok), { headers: came("https") })).headers[field], "max-age=86400")
    }))

  it.effect("believes no header of a client's own", () =>
    Effect.gen(function*() {
      const app = Stack.make(Forwarded.middleware({ trust: "none" }), Hsts.middleware())(ok)
      assert.isUndefined((yield* send(app, { headers: came("https") })).headers[field])
    }))

  it.effect("a scheme that nobody has stated sends none, and the log is told once", () =>
    Effect.gen(function*() {
      const app = Stack.make(proxied, Hsts.middleware())(ok)
      const lines: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${message}`))
      yield* Effect.gen(function*() {
        for (const proto of ["https", "http", "ftp", ""]) {
          const { headers } = yield* send(app, { headers: came(proto) })
          assert.strictEqual(headers[field], proto === "https" ? value : undefined)
        }
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      assert.deepStrictEqual(lines, [
        "WARN Hsts: a trusted proxy does not state the scheme, so Strict-Transport-Security is not sent: " +
        "have the proxy set X-Forwarded-Proto and list \"proto\" in the fields of Forwarded"
      ])
    }))

  it.effect("with a canonical host, the order that hstspreload.org asks for", () =>
    Effect.gen(function*() {
      const stack = Stack.make(
        proxied,
        Hsts.middleware(Hsts.rampUp.preload),
        TrustedHost.middleware({ hosts: ["example.com", "*.example.com"] }),
        HttpsRedirect.middleware({ status: 308 }),
        TrustedHost.middleware({ hosts: ["example.com", "www.example.com"], canonical: "www", name: "Canonical" })
      )
      const ask = (proto: string, host: string) =>
        Effect.map(
          send(stack(ok), { headers: came(proto, { host }) }),
          ({ headers, status }) => [status, headers.location, headers[field]]
        )
      const preload = "max-age=63072000; includeSubDomains; preload"
      assert.deepStrictEqual(yield* ask("http", "example.com"), [308, "https://example.com/", undefined])
      assert.deepStrictEqual(yield* ask("https", "example.com"), [308, "//www.example.com/", preload])
      assert.deepStrictEqual(yield* ask("https", "www.example.com"), [200, undefined, preload])
      assert.deepStrictEqual(yield* ask("http", "evil.test"), [400, undefined, undefined])
    }))
})
