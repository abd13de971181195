import { HttpRouter, HttpServerRequest, HttpServerResponse, UrlParams } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, Fiber, Layer, Option } from "effect"
import {
  Authentication,
  BodyLimit,
  Cors,
  Csrf,
  ExceptionHandlers,
  Forwarded,
  Middleware,
  SessionStore
} from "effect-middleware"
import { isMaskOf, mask } from "../src/internal/csrfToken.js"
import { browser, Counter, kinds, makeGate, middlewareOf, mountOf, serve } from "./utils/counter.js"
import { type ErasedApp, stackOf } from "./utils/laws.js"
import { type App, mounts, send } from "./utils/TestApp.js"

const facts: Csrf.Facts = { method: "POST", target: "/transfer", host: "example.com" }
const secure = { secure: true }

/** `Allow: why`, `Refuse: why` or `Unknown`. */
const decide = (given: Partial<Csrf.Facts>, options: Csrf.Options = {}): string => {
  const decision = Csrf.policy(options)({ ...facts, ...given })
  return decision._tag === "Unknown"
    ? "Unknown"
    : `${decision._tag}: ${decision._tag === "Allow" ? decision.because : decision.reason}`
}

describe("policy", () => {
  describe("where a request is from", () => {
    it.each<[given: Partial<Csrf.Facts>, expected: string]>([
      // Go 1.25, TestCrossOriginProtection_SecFetchSite and _OriginHeader, by the rules and not by its text
      [{ fetchSite: "same-origin" }, "Allow: same-origin"],
      [{ fetchSite: "none" }, "Allow: same-origin"],
      [{ fetchSite: "cross-site" }, "Refuse: fetch-site"],
      [{ fetchSite: "same-site" }, "Refuse: fetch-site"],
      [{ fetchSite: "cross-site", origin: "https://example.com" }, "Refuse: fetch-site"],
      [{ fetchSite: "same-origin", origin: "https://evil.test" }, "Allow: same-origin"],
      [{ fetchSite: "Same-Origin" }, "Refuse: fetch-site"],
      [{ fetchSite: "same-origin, cross-site" }, "Refuse: fetch-site"],
      [{ fetchSite: "anything" }, "Refuse: fetch-site"],
      [{}, "Unknown"],
      [{ fetchSite: "", origin: "" }, "Unknown"],
      [{ origin: "https://example.com" }, "Allow: same-origin"],
      [{ fetchSite: "", origin: "https://example.com" }, "Allow: same-origin"],
      [{ origin: "http://example.com" }, "Allow: same-origin"],
      [{ origin: "https://example.com", ...secure }, "Allow: same-origin"],
      [{ origin: "http://example.com", ...secure }, "Refuse: origin"],
      [{ origin: "https://evil.test" }, "Refuse: origin"],
      [{ origin: "https://example.com.evil.test" }, "Refuse: origin"],
      [{ origin: "https://evilexample.com" }, "Refuse: origin"],
      [{ origin: "https://sub.example.com" }, "Refuse: origin"],
      [{ origin: "https://example.com:8443" }, "Refuse: origin"],
      [{ origin: "https://example.com:443" }, "Allow: same-origin"],
      [{ origin: "null" }, "Refuse: origin"],
      [{ origin: "https://example.com, https://evil.test" }, "Refuse: origin"],
      [{ origin: "https://example.com@evil.test" }, "Refuse: origin"],
      [{ origin: "https://evil.test/example.com" }, "Refuse: origin"],
      [{ origin: "https://example.com/" }, "Refuse: origin"],
      [{ origin: "example.com" }, "Refuse: origin"],
      [{ origin: "https://", host: "" }, "Refuse: origin"],
      [{ origin: "https://example.com", host: undefined }, "Refuse: origin"],
      [{ origin: "https://[::1]:8080", host: "[::1]:8080" }, "Allow: same-origin"],
      [{ origin: "http://localhost:3000", host: "localhost:3001" }, "Refuse: origin"]
    ])("%j: %s", (given, expected) => assert.strictEqual(decide(given), expected))
  })

  describe("methods", () => {
    it.each(["GET", "HEAD", "OPTIONS"])("%s passes, unless it asks for an upgrade", (method) => {
      assert.strictEqual(decide({ method, fetchSite: "cross-site" }), "Allow: method")
      assert.strictEqual(decide({ method, origin: "https://evil.test", upgrade: true }), "Refuse: origin")
      assert.strictEqual(decide({ method, fetchSite: "cross-site", upgrade: true }), "Refuse: fetch-site")
      assert.strictEqual(decide({ method, origin: "https://example.com", upgrade: true }), "Allow: same-origin")
      assert.strictEqual(decide({ method, upgrade: true }), "Unknown")
    })

    it.each(["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PURGE", "get", "QUERY", ""])(
      "%s does not",
      (method) => assert.strictEqual(decide({ method, fetchSite: "cross-site" }), "Refuse: fetch-site")
    )
  })

  describe("trustedOrigins", () => {
    const trustedOrigins = [
      "https://App.example.com",
      "https://*.preview.example.com",
      /https:\/\/pr-\d+\.example\.com/
    ]

    it.each<[origin: string | undefined, expected: string]>([
      ["https://app.example.com", "Allow: trusted"],
      ["https://a.preview.example.com", "Allow: trusted"],
      ["https://pr-12.example.com", "Allow: trusted"],
      ["http://app.example.com", "Refuse: fetch-site"],
      ["https://app.example.com:8443", "Refuse: fetch-site"],
      ["https://preview.example.com", "Refuse: fetch-site"],
      ["https://pr-12.example.com.evil.test", "Refuse: fetch-site"],
      ["null", "Refuse: fetch-site"],
      ["", "Refuse: fetch-site"],
      [undefined, "Refuse: fetch-site"]
    ])("%s: %s", (origin, expected) => {
      for (const fetchSite of ["cross-site", "same-site"]) {
        assert.strictEqual(decide({ fetchSite, origin }, { trustedOrigins }), expected)
      }
    })

    it("of an older browser too", () => {
      assert.strictEqual(decide({ origin: "https://app.example.com" }, { trustedOrigins }), "Allow: trusted")
    })
  })

  describe("exceptRoutes", () => {
    const options: Csrf.Options = { exceptRoutes: ["POST /hello/", "/hooks/*", "GET /live"] }

    it.each<[method: string, target: string, expected: string]>([
      ["POST", "/hello/", "Allow: route"],
      ["POST", "/hello/?a=b", "Allow: route"],
      // CVE-2025-47910
      ["POST", "/hello", "Refuse: fetch-site"],
      ["PUT", "/hello/", "Refuse: fetch-site"],
      ["POST", "/hello/x", "Refuse: fetch-site"],
      ["POST", "/Hello/", "Refuse: fetch-site"],
      ["POST", "//hello/", "Refuse: fetch-site"],
      ["POST", "/hell%6f/", "Refuse: fetch-site"],
      ["POST", "/hello/;x", "Refuse: fetch-site"],
      ["POST", "/x/../hello/", "Refuse: fetch-site"],
      ["POST", "http://example.com/hello/", "Refuse: fetch-site"],
      ["DELETE", "/hooks/a/b", "Allow: route"],
      ["POST", "/hooks", "Refuse: fetch-site"],
      ["POST", "/transfer?/hooks/a", "Refuse: fetch-site"]
    ])("%s %s: %s", (method, target, expected) => {
      assert.strictEqual(decide({ method, target, fetchSite: "cross-site" }, options), expected)
    })

    it("also for upgrades, and for who says nothing", () => {
      const upgrade = { method: "GET", target: "/live", upgrade: true, origin: "https://evil.test" }
      assert.strictEqual(decide(upgrade, options), "Allow: route")
      assert.strictEqual(decide({ target: "/hooks/a" }, options), "Allow: route")
    })
  })

  describe("exceptCredentials", () => {
    const options: Csrf.Options = { exceptCredentials: ["bearer", "X-Api-Key"] }

    it.each<[headers: Record<string, string>, expected: string]>([
      [{ authorization: "Bearer abc" }, "Allow: credential"],
      [{ authorization: "bEaReR abc" }, "Allow: credential"],
      [{ authorization: "Bearer" }, "Refuse: fetch-site"],
      [{ authorization: "Bearer " }, "Refuse: fetch-site"],
      [{ authorization: "Basic YTpi" }, "Refuse: fetch-site"],
      [{ authorization: "Negotiate Bearer abc" }, "Refuse: fetch-site"],
      [{ authorization: "BearerX abc" }, "Refuse: fetch-site"],
      [{ "x-api-key": "abc" }, "Allow: credential"],
      [{ "x-api-key": "" }, "Refuse: fetch-site"],
      [{ "x-api-key-2": "abc" }, "Refuse: fetch-site"],
      [{ cookie: "x-api-key=abc" }, "Refuse: fetch-site"],
      [{}, "Refuse: fetch-site"]
    ])("%j: %s", (headers, expected) => {
      const given = { fetchSite: "cross-site", header: (name: string) => headers[name] }
      assert.strictEqual(decide(given, options), expected)
      assert.strictEqual(decide(given), "Refuse: fetch-site")
    })
  })

  it.prop(
    "nobody gets by with what a browser can be made to send",
    [
      FastCheck.string({ unit: "binary" }),
      FastCheck.constantFrom("cross-site", "same-site", undefined),
      FastCheck.constantFrom("POST", "PUT", "DELETE")
    ],
    ([text, fetchSite, method]) => {
      for (const origin of [text, `https://${text}`, `https://example.com${text}`, `https://${text}.example.com`]) {
        const decision = decide({ method, fetchSite, origin, target: text, ...secure })
        if (decision === "Unknown") assert.strictEqual(origin, "")
        if (!decision.startsWith("Allow")) continue
        assert.match(origin, /^https:\/\/example\.com\.?:?(?:0*443)?$/i)
        assert.isUndefined(fetchSite)
      }
    }
  )

  it("takes time in proportion to what was sent", () => {
    const policy = Csrf.policy({
      trustedOrigins: [/https:\/\/[a-z.]+\.example\.com/],
      exceptRoutes: ["/hooks/*"],
      exceptCredentials: ["bearer"]
    })
    const long = (text: string) => text.repeat(100_000 / text.length)
    const began = performance.now()
    for (const text of [long(" "), long("a."), long("https://"), long(","), `Bearer${long(" ")}`]) {
      policy({ ...facts, origin: text, fetchSite: text, target: `/${text}`, header: () => text })
      policy({ ...facts, origin: `https://${text}`, target: `/${text}`, header: () => text })
    }
    assert.isBelow(performance.now() - began, 500)
  })

  describe("mistakes", () => {
    it.each<[options: object, message: RegExp]>([
      [{ trustedOrigins: ["*"] }, /trustedOrigins has "\*": list the origins/],
      [{ trustedOrigins: ["null"] }, /trustedOrigins has "null": list the origins/],
      [{ trustedOrigins: ["example.com"] }, /trustedOrigins has "example.com": begin with the scheme/],
      [{ trustedOrigins: ["https://example.com/a"] }, /write "https:\/\/example.com", an origin has no path/],
      [{ exceptRoutes: ["hooks"] }, /^Csrf: exceptRoutes: "hooks" does not begin with "\/"/],
      [{ exceptRoutes: ["/*"] }, /^Csrf: exceptRoutes: /],
      [{ exceptCredentials: ["authorization"] }, /exceptCredentials has "authorization": write "bearer"/],
      [{ exceptCredentials: ["Cookie"] }, /exceptCredentials has "Cookie": write "bearer", or a field/],
      [{ exceptCredentials: ["content-type"] }, /exceptCredentials has "content-type"/],
      [{ exceptCredentials: ["sec-fetch-site"] }, /exceptCredentials has "sec-fetch-site"/],
      [{ exceptCredentials: ["accept-language"] }, /exceptCredentials has "accept-language"/],
      [{ exceptCredentials: ["x api key"] }, /exceptCredentials has "x api key"/],
      [{ tokens: { session: Counter, header: "x token" } }, /tokens.header has "x token": write the name of a field/],
      [{ tokens: { session: Counter, field: "" } }, /tokens.field has "": write the name of a form's field/]
    ])("%j", (options, message) => {
      assert.throws(() => Csrf.middleware(options), TypeError, message)
    })
  })
})

describe("masks", () => {
  const secret = Buffer.alloc(32, 7).toString("base64url")
  const random = (size: number) => crypto.getRandomValues(new Uint8Array(size))

  it.prop("another text each time, and each is one of the secret and of no other", [
    FastCheck.uint8Array({ minLength: 32, maxLength: 32 })
  ], ([bytes]) => {
    const own = Buffer.from(bytes).toString("base64url")
    const [one, two] = [mask(own, random), mask(own, random)]
    assert.notStrictEqual(one, two)
    assert.match(one, /^[\w-]{86}$/)
    assert.isTrue(isMaskOf(one, own) && isMaskOf(two, own))
    FastCheck.pre(own !== secret)
    assert.isFalse(isMaskOf(one, secret))
  })

  it("no bit may differ", () => {
    const token = Buffer.from(mask(secret, random), "base64url")
    for (let bit = 0; bit < token.length * 8; bit++) {
      const other = Buffer.from(token)
      other[bit >> 3]! ^= 1 << (bit & 7)
      assert.isFalse(isMaskOf(other.toString("base64url"), secret))
    }
  })

  it.each(["", "a", secret, "=".repeat(86), "\0".repeat(86), "A".repeat(85), "A".repeat(87), "A".repeat(100_000)])(
    "%s is none",
    (text) => {
      assert.isFalse(isMaskOf(text, secret))
      assert.isFalse(isMaskOf(text, ""))
    }
  )
})

const ok = HttpServerResponse.text("done")
const direct = Forwarded.middleware({ trust: "none" })
const crossSite = { "sec-fetch-site": "cross-site", "origin": "https://evil.test", "host": "localhost" }

describe("middleware", () => {
  describe.each(mounts)("$name", ({ mount }) => {
    it.scoped("refuses what is from elsewhere, and nothing else", () =>
      Effect.gen(function*() {
        let runs = 0
        const app = Effect.sync(() => (runs++, ok))
        const request = yield* mount(app, stackOf(direct, Csrf.middleware({ exceptRoutes: ["POST /hooks"] })))
        const own = { "host": "localhost", "sec-fetch-site": "same-origin" }
        for (
          const [init, status] of [
            [{ method: "POST", headers: crossSite, body: "a=1" }, 403],
            [{ method: "DELETE", headers: crossSite }, 403],
            [{ method: "POST", headers: own }, 200],
            [{ method: "POST", headers: { host: "localhost", origin: "http://localhost" } }, 200],
            [{ method: "POST", headers: { host: "localhost", origin: "http://localhost.evil.test" } }, 403],
            [{ method: "POST" }, 200],
            [{ method: "GET", headers: crossSite }, 200],
            [{ method: "POST", path: "/hooks", headers: crossSite }, 200],
            [{ method: "POST", path: "/hooks/", headers: crossSite }, 403]
          ] as const
        ) {
          const before = runs
          const reply = yield* request(init)
          assert.deepStrictEqual([reply.status, runs - before], [status, status === 200 ? 1 : 0], JSON.stringify(init))
        }
      }))
  })

  it.effect("the refusal is one and the same, and repeats nothing", () =>
    Effect.gen(function*() {
      const app = stackOf(direct, Csrf.middleware())(ok as never) as App
      const replies = yield* Effect.forEach(
        [crossSite, { origin: "https://evil.test" }, { ...crossSite, cookie: "evil=1" }],
        (headers) => send(app, { method: "POST", headers })
      )
      for (const { body, headers, status } of replies) {
        assert.deepStrictEqual([status, headers["content-type"]], [403, "application/problem+json"])
        assert.strictEqual(
          body,
          JSON.stringify({
            title: "Forbidden",
            status: 403,
            detail: "The request is not known to come from this site"
          })
        )
      }
      const exit = yield* Effect.flip(
        Csrf.middleware()(Effect.succeed(ok)).pipe(
          Effect.provideService(Forwarded.Client, client("https")),
          Effect.provideService(
            HttpServerRequest.HttpServerRequest,
            HttpServerRequest.fromWeb(new Request("http://localhost/", { method: "POST", headers: { origin: "null" } }))
          )
        )
      )
      assert.deepStrictEqual([exit._tag, exit.reason], ["CrossOriginRefused", "origin"])
      assert.strictEqual(exit.message, "The request comes from a page of another origin, as Origin says")
    }))

  const client = (scheme: "http" | "https"): Forwarded.ClientInfo => ({
    address: undefined,
    scheme,
    schemeKnown: true,
    host: "example.com",
    hostname: "example.com",
    port: undefined,
    prefix: undefined,
    proxied: false,
    chain: []
  })

  it.effect("host and scheme are the client's, behind a proxy that is trusted", () =>
    Effect.gen(function*() {
      const app = stackOf(Forwarded.middleware({ trust: { hops: 1 } }), Csrf.middleware())(ok as never) as App
      const post = (origin: string, headers: Record<string, string> = {}) =>
        Effect.map(
          send(app, {
            method: "POST",
            headers: {
              "host": "internal:8080",
              "x-forwarded-for": "192.0.2.1",
              "x-forwarded-host": "example.com",
              "x-forwarded-proto": "https",
              origin,
              ...headers
            }
          }),
          ({ status }) => status
        )
      assert.strictEqual(yield* post("https://example.com"), 200)
      // CVE-2025-46721, CVE-2025-24358: by https no page of http is the same
      assert.strictEqual(yield* post("http://example.com"), 403)
      assert.strictEqual(yield* post("http://internal:8080"), 403)
      // nobody has said the scheme
      assert.strictEqual(yield* post("https://example.com", { "x-forwarded-proto": "x" }), 200)
    }))

  it.effect("a client that names its own host is not believed", () =>
    Effect.gen(function*() {
      const app = stackOf(direct, Csrf.middleware())(ok as never) as App
      for (const name of ["x-forwarded-host", "x-original-host", "forwarded", "x-host", "x-http-method-override"]) {
        for (const value of ["evil.test", "host=evil.test", "GET"]) {
          const headers = { host: "localhost", origin: "https://evil.test", [name]: value }
          assert.strictEqual((yield* send(app, { method: "POST", headers })).status, 403)
        }
      }
    }))

  // CVE-2024-43787, GHSA-2234-fmw7-43wr, CVE-2021-32677
  it.effect.each([
    undefined,
    "",
    "application/json",
    "text/plain",
    "Application/x-www-form-urlencoded",
    "multipart/form-data; boundary=a"
  ])("content of type %s makes no difference", (type) =>
    Effect.gen(function*() {
      const app = stackOf(direct, Csrf.middleware())(ok as never) as App
      const headers = { ...crossSite, ...type !== undefined && { "content-type": type } }
      assert.strictEqual((yield* send(app, { method: "POST", headers, body: "a=1" })).status, 403)
      assert.strictEqual((yield* send(app, { method: "POST", headers })).status, 403)
    }))

  // CVE-2025-29927
  it.effect("no header lets a request from elsewhere pass", () =>
    Effect.gen(function*() {
      const app = stackOf(direct, Csrf.middleware())(ok as never) as App
      const name = FastCheck.oneof(
        FastCheck.stringMatching(/^x-[a-z-]{1,20}$/),
        FastCheck.constantFrom(
          "x-middleware-subrequest",
          "x-csrf-token",
          "authorization",
          "x-requested-with",
          "referer",
          "x-api-key"
        )
      )
      const value = FastCheck.oneof(FastCheck.stringMatching(/^[!-~]{0,20}$/), FastCheck.constant("https://localhost/"))
      for (const [key, text] of FastCheck.sample(FastCheck.tuple(name, value), 100)) {
        const { status } = yield* send(app, { method: "POST", headers: { [key]: text, ...crossSite } })
        assert.strictEqual(status, 403, `${key}: ${text}`)
      }
    }))

  it.scoped.each(["GET", "DELETE"] as const)(
    "a POST that a middleware further out has made a %s is no way around",
    (made) =>
      Effect.gen(function*() {
        const as = Middleware.make({ name: "As", request: (exchange) => exchange.deriveRequest({ method: made }) })
        const request = yield* mountOf("Stack.serve, Node").mount(ok, stackOf(direct, as, Csrf.middleware()))
        assert.strictEqual((yield* request({ method: "POST", headers: crossSite })).status, 403)
      })
  )

  it.effect("an upgrade is looked at though it is a GET", () =>
    Effect.gen(function*() {
      const app = stackOf(direct, Csrf.middleware({ trustedOrigins: ["https://app.test"] }))(ok as never) as App
      const upgrade = { connection: "Upgrade", upgrade: "websocket", host: "localhost" }
      const status = (origin?: string) =>
        Effect.map(
          send(app, { headers: { ...upgrade, ...origin !== undefined && { origin } } }),
          ({ status }) => status
        )
      assert.strictEqual(yield* status("https://evil.test"), 403)
      assert.strictEqual(yield* status("null"), 403)
      assert.strictEqual(yield* status("http://localhost"), 200)
      assert.strictEqual(yield* status("https://app.test"), 200)
      assert.strictEqual(yield* status(), 200)
    }))

  it.effect("Cors further out has a page read the refusal", () =>
    Effect.gen(function*() {
      const cors = Cors.middleware({ origins: ["https://evil.test"], credentials: true })
      const { headers, status } = yield* send(stackOf(cors, direct, Csrf.middleware())(ok as never) as App, {
        method: "POST",
        headers: crossSite
      })
      assert.deepStrictEqual([status, headers["access-control-allow-origin"]], [403, "https://evil.test"])
    }))
})

describe.each(kinds)("tokens of a session, %s", (kind) => {
  const csrf = Csrf.middleware({ tokens: { session: Counter } })
  const token = Effect.flatMap(Csrf.Token, ({ get }) => get).pipe(
    Effect.map((text) => HttpServerResponse.text(text)),
    Effect.orDie
  ) as ErasedApp
  const form = { "content-type": "application/x-www-form-urlencoded" }
  const open = (more: Record<string, ErasedApp> = {}) =>
    Effect.map(
      Effect.provide(
        serve(stackOf(direct, middlewareOf(kind), csrf), { "/form": token, "/post": ok, ...more }),
        SessionStore.layerMemory()
      ),
      (send) => browser(send)
    )
  const post = { method: "POST" } as const
  const status = <E, R>(reply: Effect.Effect<{ readonly status: number }, E, R>) =>
    Effect.map(reply, ({ status }) => status)

  it.scoped("one in the header or in the form passes, and another text each time", () =>
    Effect.gen(function*() {
      const visit = yield* open({
        "/echo": Effect.map(
          Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => request.urlParamsBody),
          (params) => HttpServerResponse.text(Option.getOrElse(UrlParams.getFirst(params, "name"), () => "none"))
        )
      })
      const [one, two] = [yield* visit("/form"), yield* visit("/form")]
      assert.notStrictEqual(one.body, two.body)
      // the second sets no cookie any more
      for (const { headers } of [one, two]) assert.include(headers["cache-control"] ?? "", "private")
      for (const { body } of [one, two]) {
        assert.strictEqual(yield* status(visit("/post", { ...post, headers: { "x-csrf-token": body } })), 200)
        const sent = yield* visit("/echo", { ...post, headers: form, body: `name=ada&csrf_token=${body}` })
        assert.deepStrictEqual([sent.status, sent.body], [200, "ada"])
        const typed = { "content-type": "Application/X-WWW-Form-Urlencoded; charset=utf-8" }
        assert.strictEqual(yield* status(visit("/post", { ...post, headers: typed, body: `csrf_token=${body}` })), 200)
      }
    }))

  it.scoped("without one, or with a bad one, who says nothing is refused", () =>
    Effect.gen(function*() {
      const visit = yield* open()
      assert.strictEqual(yield* status(visit("/post", post)), 403)
      const { body } = yield* visit("/form")
      for (const bad of ["", "x", body.slice(1), `${body}A`, body.split("").reverse().join("")]) {
        assert.strictEqual(yield* status(visit("/post", { ...post, headers: { "x-csrf-token": bad } })), 403)
        assert.strictEqual(yield* status(visit("/post", { ...post, headers: form, body: `csrf_token=${bad}` })), 403)
      }
      assert.strictEqual(yield* status(visit("/post", { ...post, headers: form, body: "%" })), 403)
      // in another place than is asked
      const other = { "content-type": "text/plain", "x-token": body, "cookie": `csrf_token=${body}; ${visit.cookie()}` }
      assert.strictEqual(yield* status(visit("/post", { ...post, headers: other, body: `csrf_token=${body}` })), 403)
      assert.strictEqual(yield* status(visit(`/post?csrf_token=${body}`, post)), 403)
    }))

  it.scoped("who says where it is from needs none, and cannot pass by one", () =>
    Effect.gen(function*() {
      const visit = yield* open()
      const { body } = yield* visit("/form")
      const own = { "sec-fetch-site": "same-origin" }
      assert.strictEqual(yield* status(visit("/post", { ...post, headers: own })), 200)
      assert.strictEqual(
        yield* status(visit("/post", { ...post, headers: { ...crossSite, "x-csrf-token": body } })),
        403
      )
      assert.strictEqual(yield* status(visit("/post", { headers: { upgrade: "websocket" } })), 200)
    }))

  // CVE-2023-27495, CVE-2023-45128
  it.scoped("one is of its session, and of no other", () =>
    Effect.gen(function*() {
      const visit = yield* open()
      const [a, b] = [visit.copy(), visit.copy()]
      const [ofA, ofB] = [(yield* a("/form")).body, (yield* b("/form")).body]
      assert.strictEqual(yield* status(a("/post", { ...post, headers: { "x-csrf-token": ofA } })), 200)
      assert.strictEqual(yield* status(a("/post", { ...post, headers: { "x-csrf-token": ofB } })), 403)
      assert.strictEqual(yield* status(visit("/post", { ...post, headers: { "x-csrf-token": ofA } })), 403)
    }))

  it.scoped("one is good until the session is rotated, or ends", () =>
    Effect.gen(function*() {
      for (const path of ["/rotate", "/login", "/logout", "/destroy"]) {
        const visit = yield* open()
        yield* visit("/inc")
        const { body } = yield* visit("/form")
        const headers = { "x-csrf-token": body }
        yield* visit("/inc")
        assert.strictEqual(yield* status(visit("/post", { ...post, headers })), 200)
        yield* visit(path)
        assert.strictEqual(yield* status(visit("/post", { ...post, headers })), 403, path)
        const next = (yield* visit("/form")).body
        assert.strictEqual(yield* status(visit("/post", { ...post, headers: { "x-csrf-token": next } })), 200, path)
      }
    }))

  it.scoped("one that is made after a rotation of the same request is of what comes", () =>
    Effect.gen(function*() {
      const rotated = Effect.zipRight(
        Effect.flatMap(Counter, (counter) => counter.rotate({ principal: "ada" })),
        token
      ) as ErasedApp
      const visit = yield* open({ "/rotated": rotated })
      const before = (yield* visit("/form")).body
      const { body } = yield* visit("/rotated")
      assert.strictEqual(yield* status(visit("/post", { ...post, headers: { "x-csrf-token": before } })), 403)
      assert.strictEqual(yield* status(visit("/post", { ...post, headers: { "x-csrf-token": body } })), 200)
    }))

  it.scoped("one is not good any more after a rotation that another request has come in between of", () =>
    Effect.gen(function*() {
      const gate = yield* makeGate
      const slowly = Effect.zipRight(
        Effect.flatMap(Counter, (counter) => Effect.zipRight(counter.rotate(), gate.pass)),
        ok
      ) as ErasedApp
      const visit = yield* open({ "/slowly": slowly })
      const { body } = yield* visit("/form")
      const rotating = yield* Effect.fork(visit("/slowly"))
      yield* gate.entered
      yield* visit.copy()("/inc")
      yield* gate.open
      assert.strictEqual((yield* Fiber.join(rotating)).status, 200)
      assert.strictEqual(yield* status(visit("/post", { ...post, headers: { "x-csrf-token": body } })), 403)
    }))

  it.scoped("what the session holds, its messages and its tokens do not disturb one another", () =>
    Effect.gen(function*() {
      const visit = yield* open({
        "/flash": Effect.zipRight(Effect.flatMap(Counter, ({ flash }) => flash("hello")), ok) as ErasedApp
      })
      yield* visit("/inc")
      const { body } = yield* visit("/form")
      yield* visit("/flash")
      yield* visit("/five")
      assert.include((yield* visit("/flashes")).body, "hello")
      yield* visit("/inc")
      assert.strictEqual((yield* visit("/get")).body, "6")
      assert.strictEqual(yield* status(visit("/post", { ...post, headers: { "x-csrf-token": body } })), 200)
    }))

  it.scoped("who asks for none has no session for it", () =>
    Effect.gen(function*() {
      const visit = yield* open()
      assert.deepStrictEqual((yield* visit("/none")).cookies, [])
      assert.deepStrictEqual((yield* visit("/post", post)).cookies, [])
      assert.strictEqual((yield* visit("/form")).cookies.length, 1)
      assert.deepStrictEqual((yield* visit("/form")).cookies, [])
    }))

  it.scoped("other names", () =>
    Effect.gen(function*() {
      const named = Csrf.middleware({ tokens: { session: Counter, field: "_token", header: "X-XSRF-Token" } })
      const visit = browser(
        yield* serve(stackOf(direct, middlewareOf(kind), named), { "/form": token, "/post": ok }).pipe(
          Effect.provide(SessionStore.layerMemory())
        )
      )
      const { body } = yield* visit("/form")
      assert.strictEqual(yield* status(visit("/post", { ...post, headers: { "x-xsrf-token": body } })), 200)
      assert.strictEqual(yield* status(visit("/post", { ...post, headers: form, body: `_token=${body}` })), 200)
      assert.strictEqual(yield* status(visit("/post", { ...post, headers: form, body: `csrf_token=${body}` })), 403)
    }))
})

describe("tokens", () => {
  const csrf = Csrf.middleware({ tokens: { session: Counter } })

  it.scoped("a body that is too large is what it is", () =>
    Effect.gen(function*() {
      const send = yield* serve(stackOf(direct, BodyLimit.middleware({ limit: 100 }), middlewareOf("signed"), csrf), {
        "/form": Effect.flatMap(Csrf.Token, ({ get }) =>
          Effect.map(get, (text) => HttpServerResponse.text(text))) as ErasedApp,
        "/post": ok
      })
      const visit = browser(send)
      yield* visit("/form")
      const body = `name=${"x".repeat(200)}`
      const headers = { "content-type": "application/x-www-form-urlencoded" }
      assert.strictEqual((yield* visit("/post", { method: "POST", headers, body })).status, 413)
    }))

  it.effect("a store that is down is a 503", () =>
    Effect.gen(function*() {
      const down = new SessionStore.SessionUnavailable({ operation: "load", cause: new Error("down") })
      const store = Layer.effect(
        SessionStore.SessionStore,
        Effect.map(SessionStore.SessionStore, (store) => ({ ...store, load: () => Effect.fail(down) }))
      ).pipe(Layer.provide(SessionStore.layerMemory()))
      const app = stackOf(direct, middlewareOf("stored"), csrf)(ok as never) as App
      const headers = { cookie: `__Host-session=${"a".repeat(43)}` }
      const { status } = yield* Effect.provide(send(app, { method: "POST", headers }), store)
      assert.strictEqual(status, 503)
    }))

  it.effect("a tag that is no session's is told of", () =>
    Effect.gen(function*() {
      class Other extends Middleware.Service("test/Other")<Other, number>() {
        static readonly revokeAll = () => {}
      }
      const app = stackOf(
        direct,
        Middleware.make({ name: "Other", provides: Other, request: () => Middleware.Provide(1) }),
        Csrf.middleware({ tokens: { session: Other } }),
        ExceptionHandlers.standard()
      )(ok as never) as App
      const exit = yield* Effect.exit(send(app, { method: "POST" }))
      assert.strictEqual(exit._tag === "Success" ? exit.value.status : 0, 500)
    }))
})

// what it is for, where an API and a site share a server
describe("beside Authentication", () => {
  class Caller extends Authentication.Tag("test/Caller")<Caller, string>() {}
  const backend = Authentication.bearer({
    verify: () => Effect.succeed(Option.some({ user: "ada" }))
  })

  it.effect("a page of elsewhere with a bearer token", () =>
    Effect.gen(function*() {
      const router = HttpRouter.empty.pipe(HttpRouter.post("/notes", ok.pipe(Caller.required())))
      const ask = (options: Csrf.Options) =>
        send(stackOf(direct, Csrf.middleware(options))(router as never) as App, {
          method: "POST",
          path: "/notes",
          headers: { ...crossSite, authorization: "Bearer abc" }
        })
      assert.strictEqual((yield* ask({})).status, 403)
      assert.strictEqual((yield* ask({ exceptCredentials: ["bearer"] })).status, 200)
    }).pipe(Effect.provide(Caller.layer(backend))))
})
