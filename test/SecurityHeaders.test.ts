import { HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, FastCheck, Layer, Logger } from "effect"
import {
  Entropy,
  ExceptionHandlers,
  Forwarded,
  Middleware,
  ResponseCache,
  ResponseCacheStore,
  SecurityHeaders,
  Stack
} from "effect-middleware"
import helmet from "helmet"
import { parseDictionary } from "structured-headers"
import { type ErasedApp, stackOf } from "./utils/laws.js"
import { type App, mounts, send, unknownRoute } from "./utils/TestApp.js"

type Options = SecurityHeaders.Options
const fieldsOf = (options: Options) => SecurityHeaders.policy(options)()
const csp = "content-security-policy"
const reportOnly = "content-security-policy-report-only"

const site = "default-src 'self'; script-src 'self'; script-src-attr 'none'; style-src 'self'; img-src 'self' data:; " +
  "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
const denied = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"

describe("policy", () => {
  describe("presets", () => {
    const common = { "origin-agent-cluster": "?1", "permissions-policy": denied, "x-content-type-options": "nosniff" }

    it.each<[preset: SecurityHeaders.Preset, fields: SecurityHeaders.Printed]>([
      ["site", {
        ...common,
        [csp]: site,
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "same-origin",
        "x-frame-options": "SAMEORIGIN"
      }],
      ["api", {
        [csp]: "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY"
      }],
      ["embed", {
        ...common,
        [csp]: site.replace("frame-ancestors 'self'", "frame-ancestors *"),
        "cross-origin-resource-policy": "cross-origin",
        "referrer-policy": "same-origin"
      }]
    ])("%s", (preset, fields) => assert.deepStrictEqual(fieldsOf({ preset }), fields))

    it("site is the one to begin with", () => assert.deepStrictEqual(fieldsOf({}), fieldsOf({ preset: "site" })))
  })

  describe("fields", () => {
    const bare: Options = {
      contentSecurityPolicy: false,
      crossOriginOpenerPolicy: false,
      crossOriginResourcePolicy: false,
      originAgentCluster: false,
      permissionsPolicy: false,
      referrerPolicy: false,
      contentTypeOptions: false
    }

    it.each<[rule: string, options: Options, fields: SecurityHeaders.Printed]>([
      ["each can be left out", {}, {}],
      ["an opener policy", { crossOriginOpenerPolicy: "noopener-allow-popups" }, {
        "cross-origin-opener-policy": "noopener-allow-popups"
      }],
      ["an embedder policy", { crossOriginEmbedderPolicy: "require-corp" }, {
        "cross-origin-embedder-policy": "require-corp"
      }],
      ["a resource policy", { crossOriginResourcePolicy: "same-site" }, {
        "cross-origin-resource-policy": "same-site"
      }],
      ["frames without a policy", { frameOptions: "DENY" }, { "x-frame-options": "DENY" }],
      ["several referrer policies", { referrerPolicy: ["no-referrer", "strict-origin-when-cross-origin"] }, {
        "referrer-policy": "no-referrer, strict-origin-when-cross-origin"
      }],
      ["features", {
        preset: "api",
        permissionsPolicy: { camera: ["self", "https://example.com"], fullscreen: "*", usb: [], midi: false }
      }, { "permissions-policy": `camera=(self "https://example.com"), fullscreen=*, usb=()` }],
      ["endpoints", { reportingEndpoints: { main: "https://reports.example.com/a?b=c", other: "/reports" } }, {
        "reporting-endpoints": `main="https://reports.example.com/a?b=c", other="/reports"`
      }],
      ["an option that is undefined says nothing", {
        crossOriginOpenerPolicy: undefined,
        contentTypeOptions: undefined
      }, {
        "cross-origin-opener-policy": "same-origin",
        "x-content-type-options": "nosniff"
      }]
    ])("%s", (_, options, fields) => {
      const given = Object.fromEntries(Object.keys(options).map((key) => [key, undefined]))
      assert.deepStrictEqual(fieldsOf({ ...bare, ...given, ...options }), fields)
    })

    it.each<[ancestors: ReadonlyArray<string> | false, frames: string | undefined]>([
      [["'none'"], "DENY"],
      [["'self'"], "SAMEORIGIN"],
      [["*"], undefined],
      [["'self'", "https://partner.example"], undefined],
      [["https://partner.example"], undefined],
      [false, undefined]
    ])("X-Frame-Options follows frame-ancestors %j: %s", (frameAncestors, frames) => {
      const fields = fieldsOf({ contentSecurityPolicy: { frameAncestors } })
      assert.strictEqual(fields["x-frame-options"], frames)
      const said = fieldsOf({ contentSecurityPolicy: { frameAncestors }, frameOptions: "DENY" })
      assert.strictEqual(said["x-frame-options"], "DENY")
      const left = fieldsOf({ contentSecurityPolicy: { frameAncestors }, frameOptions: false })
      assert.isUndefined(left["x-frame-options"])
    })

    it("features and endpoints are structured fields", () => {
      const { "permissions-policy": features = "", "reporting-endpoints": endpoints = "" } = fieldsOf({
        permissionsPolicy: { camera: ["self", "https://*.example.com"], autoplay: "*" },
        reportingEndpoints: { a: "/r", "b-c": "https://example.com/" }
      })
      assert.deepStrictEqual([...parseDictionary(features).keys()].sort(), [
        "autoplay",
        "camera",
        "display-capture",
        "geolocation",
        "microphone",
        "payment",
        "usb"
      ])
      assert.deepStrictEqual([...parseDictionary(endpoints).values()].map(([url]) => url), [
        "/r",
        "https://example.com/"
      ])
    })
  })

  describe("Content-Security-Policy", () => {
    const only = (directives: SecurityHeaders.Directives) =>
      fieldsOf({ preset: "api", contentSecurityPolicy: { ...dropped, ...directives } })[csp]
    const dropped = { defaultSrc: false, baseUri: false, formAction: false, frameAncestors: false } as const

    it.each<[directives: SecurityHeaders.Directives, text: string | undefined]>([
      [{}, undefined],
      [
        { scriptSrc: ["'self'", "https://cdn.example.com/lib/", "'strict-dynamic'"] },
        "script-src 'self' https://cdn.example.com/lib/ 'strict-dynamic'"
      ],
      [{ imgSrc: ["*", "data:", "blob:"] }, "img-src * data: blob:"],
      [
        { connectSrc: ["wss://*.example.com:*", "localhost:5173", "[::1]:8080"] },
        "connect-src wss://*.example.com:* localhost:5173 [::1]:8080"
      ],
      [{ imgSrc: ["'self'", "'self'", "a.test"] }, "img-src 'self' a.test"],
      [
        { scriptSrcElem: ["'self'"], styleSrcAttr: ["'unsafe-inline'"] },
        "script-src-elem 'self'; style-src-attr 'unsafe-inline'"
      ],
      [{ sandbox: true }, "sandbox"],
      [{ sandbox: ["allow-forms", "allow-scripts"] }, "sandbox allow-forms allow-scripts"],
      [{ sandbox: [] }, "sandbox"],
      [
        { requireTrustedTypesFor: ["'script'"], trustedTypes: ["app", "'allow-duplicates'"] },
        "require-trusted-types-for 'script'; trusted-types app 'allow-duplicates'"
      ],
      [{ trustedTypes: [] }, "trusted-types"],
      [{ upgradeInsecureRequests: true }, "upgrade-insecure-requests"],
      [{ upgradeInsecureRequests: false, sandbox: false }, undefined],
      [{ reportUri: ["/reports", "https://example.com/r"] }, "report-uri /reports https://example.com/r"],
      [{ scriptSrc: [`'sha384-${"A".repeat(64)}'`] }, `script-src 'sha384-${"A".repeat(64)}'`]
    ])("%j: %s", (directives, text) => assert.strictEqual(only(directives), text))

    it("goes over the preset directive by directive", () => {
      assert.strictEqual(
        fieldsOf({ contentSecurityPolicy: { imgSrc: ["https:"], objectSrc: false, workerSrc: ["blob:"] } })[csp],
        "default-src 'self'; script-src 'self'; script-src-attr 'none'; style-src 'self'; img-src https:; " +
          "worker-src blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
      )
    })

    it("stands beside one that is only reported on, which stands for itself", () => {
      const fields = fieldsOf({
        contentSecurityPolicy: { reportTo: "main" },
        contentSecurityPolicyReportOnly: { scriptSrc: ["'none'"], reportTo: "main", reportUri: ["/r"] },
        reportingEndpoints: { main: "/r" }
      })
      assert.strictEqual(fields[csp], `${site}; report-to main`)
      assert.strictEqual(fields[reportOnly], "script-src 'none'; report-to main; report-uri /r")
    })

    it("has the nonce where it is named, in both", () => {
      const fieldsFor = SecurityHeaders.policy({
        nonce: ["scriptSrc", "styleSrcElem"],
        contentSecurityPolicyReportOnly: { scriptSrc: ["'none'"], styleSrcElem: ["a.test"], reportUri: ["/r"] }
      })
      assert.strictEqual(fieldsFor("n+/=")[csp], site.replace("script-src 'self'", "script-src 'self' 'nonce-n+/='"))
      // 'none' is true no longer
      assert.strictEqual(
        fieldsFor("n")[reportOnly],
        "script-src 'nonce-n'; style-src-elem a.test 'nonce-n'; report-uri /r"
      )
      assert.strictEqual(fieldsFor()[csp], site)
      const [all, none] = [fieldsFor("n"), fieldsFor()]
      assert.deepStrictEqual(Object.keys(all).sort(), Object.keys(none).sort())
    })

    it("hash is what a browser makes of the text", () => {
      // of the empty text, by RFC 6234
      assert.strictEqual(SecurityHeaders.hash(""), "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='")
      for (const algorithm of ["sha256", "sha384", "sha512"] as const) {
        const hash = SecurityHeaders.hash("alert('ü')", algorithm)
        assert.strictEqual(only({ scriptSrc: [hash] }), `script-src ${hash}`)
      }
    })
  })

  describe("mistakes", () => {
    it.each<[options: object, message: RegExp]>([
      [{ preset: "web" }, /preset is "web": write "site", "api", "embed"/],
      [{ crossOriginOpenerPolicy: "same-site" }, /crossOriginOpenerPolicy is "same-site": write "same-origin", /],
      [{ crossOriginEmbedderPolicy: true }, /crossOriginEmbedderPolicy is true: write "require-corp"/],
      [{ crossOriginResourcePolicy: "none" }, /crossOriginResourcePolicy is "none": write "same-origin"/],
      [{ originAgentCluster: "?1" }, /originAgentCluster is "\?1": write true, false/],
      [{ contentTypeOptions: "nosniff" }, /contentTypeOptions is "nosniff": write true, false/],
      [{ frameOptions: "ALLOW-FROM a" }, /frameOptions is "ALLOW-FROM a": write "DENY", "SAMEORIGIN", false/],
      [{ referrerPolicy: "none" }, /referrerPolicy is "none": write "no-referrer", /],
      [{ referrerPolicy: ["no-referrer", "x\r\na: b"] }, /referrerPolicy is "x\\r\\na: b": write/],
      [{ permissionsPolicy: { "camera\r\na": [] } }, /permissionsPolicy has "camera\\r\\na": write the name/],
      [{ permissionsPolicy: { camera: "self" } }, /permissionsPolicy.camera is "self": write \[\] for nobody/],
      [{ permissionsPolicy: { camera: ["'self'"] } }, /permissionsPolicy.camera has "'self'": write "self"/],
      [{ permissionsPolicy: { camera: ["https://a.test/path"] } }, /permissionsPolicy.camera has .*no path/],
      [{ permissionsPolicy: { camera: [`https://a.test") *`] } }, /permissionsPolicy.camera has/],
      [{ reportingEndpoints: { Main: "/r" } }, /reportingEndpoints has "Main": begin a name with a small letter/],
      [{ reportingEndpoints: { main: "http://a.test/" } }, /reportingEndpoints.main is .*: write an https address/],
      [{ reportingEndpoints: { main: "//a.test/" } }, /reportingEndpoints.main is/],
      [{ reportingEndpoints: { main: `/r", other="https://evil.test` } }, /reportingEndpoints.main is/],
      [{ strictTransportSecurity: { preload: true } }, /^SecurityHeaders: strictTransportSecurity: preload needs/],
      [{ nonce: [] }, /nonce names no directive: write nonce: \["scriptSrc"\]/],
      [{ nonce: ["script-src"] }, /nonce is "script-src": write "scriptSrc"/],
      [{ nonce: ["styleSrcElem"] }, /nonce names styleSrcElem, which no policy has: write contentSecurityPolicy/],
      [{ nonce: ["scriptSrc"], contentSecurityPolicy: false }, /nonce names scriptSrc, which no policy has/],
      [
        { contentSecurityPolicyReportOnly: { defaultSrc: ["'self'"] } },
        /contentSecurityPolicyReportOnly reports to nobody/
      ],
      [{ contentSecurityPolicyReportOnly: { sandbox: true } }, /ReportOnly.sandbox does nothing: leave it out/],
      [
        { contentSecurityPolicy: { reportTo: "main" } },
        /contentSecurityPolicy.reportTo is "main": .*reportingEndpoints: \{ main:/
      ]
    ])("%j", (options, message) => {
      assert.throws(() => SecurityHeaders.middleware(options as Options), TypeError, message)
    })

    it.each<[directives: object, message: RegExp]>([
      [{ scriptSrc: ["self"] }, /scriptSrc has "self": write "'self'", with its quotes/],
      [{ scriptSrc: ["'Self'"] }, /scriptSrc has "'Self'"/],
      [{ scriptSrc: ["unsafe-inline"] }, /write "'unsafe-inline'", with its quotes/],
      [{ scriptSrc: ["'unsafe'"] }, /write a keyword in quotes/],
      [{ scriptSrc: [] }, /scriptSrc names none: write \["'none'"\], or false/],
      [{ scriptSrc: ["'none'", "'self'"] }, /'none' stands alone/],
      [{ scriptSrc: "'self'" }, /scriptSrc is no list: list the sources/],
      [{ scriptSrc: true }, /scriptSrc is no list/],
      [{ scriptSrc: [1] }, /scriptSrc has what is no text/],
      [{ scriptSrc: ["'self' a.test"] }, /write one in each element, without spaces/],
      [{ scriptSrc: ["a.test; object-src *"] }, /write one in each element/],
      [{ scriptSrc: ["a.test,b.test"] }, /write one in each element/],
      [{ scriptSrc: ["a.test\r\nset-cookie: a=b"] }, /write one in each element/],
      [{ scriptSrc: ["bücher.example"] }, /write one in each element/],
      [{ scriptSrc: ["'nonce-abc'"] }, /name the directive in nonce/],
      [{ scriptSrc: ["'sha256-abc'"] }, /write what SecurityHeaders.hash gives/],
      [{ scriptSrc: [`'sha512-${"A".repeat(43)}='`] }, /write what SecurityHeaders.hash gives/],
      [{ imgSrc: ["data"] }, /write "data:", a scheme ends with a colon/],
      [{ imgSrc: ["https://a.test/?b"] }, /leave the query out/],
      [{ imgSrc: ["https://*.*.test"] }, /write a keyword in quotes/],
      [{ imgSrc: ["//a.test"] }, /write a keyword in quotes/],
      [{ baseUri: ["'strict-dynamic'"] }, /write "'strict-dynamic'" in a directive for what is loaded/],
      [{ frameAncestors: [`'sha256-${"A".repeat(43)}='`] }, /frameAncestors has/],
      [{ "script-src": ["'self'"] }, /contentSecurityPolicy has "script-src": write scriptSrc/],
      [{ prefetchSrc: ["'self'"] }, /contentSecurityPolicy has "prefetchSrc": write a directive/],
      [{ sandbox: ["forms"] }, /sandbox has "forms": write what is allowed/],
      [{ trustedTypes: ["a'b"] }, /trustedTypes has/],
      [{ requireTrustedTypesFor: ["'style'"] }, /requireTrustedTypesFor is not 'script'/],
      [{ upgradeInsecureRequests: [] }, /upgradeInsecureRequests is no switch/],
      [{ reportTo: "Main" }, /reportTo is no name/],
      [{ reportUri: ["reports"] }, /reportUri has "reports": begin with/]
    ])("%j", (directives, message) => {
      const contentSecurityPolicy = directives as SecurityHeaders.Directives
      assert.throws(() => SecurityHeaders.policy({ contentSecurityPolicy }), TypeError, message)
      assert.throws(() => SecurityHeaders.change({ contentSecurityPolicy }), TypeError, message)
    })

    it.prop("no text becomes another directive or another field", [FastCheck.string({ unit: "binary" })], ([text]) => {
      for (const word of [text, `a.test/${text}`, `'${text}'`]) {
        try {
          const printed = SecurityHeaders.policy({
            preset: "api",
            contentSecurityPolicy: { scriptSrc: [word], reportUri: [`/${word}`] },
            reportingEndpoints: { a: `/${word}` }
          })()
          assert.match(printed[csp] ?? "", /^[ -~]*$/)
          assert.lengthOf((printed[csp] ?? "").split(";"), 6)
          assert.strictEqual(parseDictionary(printed["reporting-endpoints"] ?? "").size, 1)
        } catch (error) {
          assert.instanceOf(error, TypeError)
          assert.match(String(error), /SecurityHeaders: .*: [^]+/)
        }
      }
    })
  })
})

describe("beside helmet 8", () => {
  const headers: Record<string, string> = {}
  const removed: Array<string> = []
  helmet()(
    {} as never,
    {
      setHeader: (name: string, value: string) => void (headers[name.toLowerCase()] = value),
      removeHeader: (name: string) => void removed.push(name.toLowerCase())
    } as never,
    () => {}
  )
  const ours: Record<string, string> = { ...fieldsOf({}), "strict-transport-security": "max-age=31536000" }

  it("the fields that differ are those of the page's table", () => {
    const names = [...new Set([...Object.keys(headers), ...Object.keys(ours)])].sort()
    const differences = names.filter((name) => headers[name] !== ours[name]).map((
      name
    ) => [name, headers[name], ours[name]])
    assert.deepStrictEqual(differences, [
      [csp, headers[csp], site],
      ["permissions-policy", undefined, denied],
      ["referrer-policy", "no-referrer", "same-origin"],
      ["strict-transport-security", "max-age=31536000; includeSubDomains", "max-age=31536000"],
      ["x-dns-prefetch-control", "off", undefined],
      ["x-download-options", "noopen", undefined],
      ["x-permitted-cross-domain-policies", "none", undefined],
      ["x-xss-protection", "0", undefined]
    ])
    assert.deepStrictEqual(removed, ["x-powered-by"])
  })

  it("so do the directives", () => {
    const directives = (text = "") =>
      Object.fromEntries(
        text.split(/;\s*/).map((directive) => {
          const [name, ...sources] = directive.split(" ")
          return [name, sources.join(" ")]
        })
      )
    const [theirs, own] = [directives(headers[csp]), directives(ours[csp])]
    const names = [...new Set([...Object.keys(theirs), ...Object.keys(own)])].sort()
    const differences = names.filter((name) => theirs[name] !== own[name]).map((
      name
    ) => [name, theirs[name], own[name]])
    assert.deepStrictEqual(differences, [
      ["base-uri", "'self'", "'none'"],
      ["font-src", "'self' https: data:", undefined],
      ["style-src", "'self' https: 'unsafe-inline'", "'self'"],
      ["upgrade-insecure-requests", "", undefined]
    ])
  })
})

describe("middleware", () => {
  class Broken extends Data.TaggedError("Broken")<{}> {}

  const ok = HttpServerResponse.text("ok")
  const direct = Forwarded.middleware({ trust: "none" })
  const proxied = Forwarded.middleware({ trust: { hops: 1 } })
  const came = (proto: string, headers: Record<string, string> = {}) => ({
    "host": "example.com",
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-proto": proto,
    ...headers
  })
  const quiet = Effect.provide(Logger.remove(Logger.defaultLogger))
  const within = (headers: Record<string, string>, fields: object) =>
    Object.fromEntries(Object.keys(fields).map((name) => [name, headers[name]]))
  const ask = (middleware: Middleware.Any, app: unknown, init = {}) =>
    send(stackOf(direct, middleware)(app as never) as App, init)

  const nothing = Middleware.make({
    name: "NotModified",
    response: (draft, { request }) => {
      if (request.headers["if-none-match"] !== undefined) draft.status = 304
    }
  })

  describe.each(mounts)("$name", ({ mount, router }) => {
    it.scoped("the fields are on 200, 304, redirects, failure, defect and 404", () =>
      Effect.gen(function*() {
        const fields = fieldsOf({})
        const found = HttpServerResponse.redirect("/elsewhere", { status: 303 })
        for (
          const [app, status] of [[ok, 200], [found, 303], [Effect.fail(new Broken()), 500], [
            Effect.die("x"),
            500
          ]] as const
        ) {
          const request = yield* mount(app, Stack.make(proxied, SecurityHeaders.middleware()))
          const { headers, status: given } = yield* request({ headers: came("https") })
          assert.strictEqual(given, status)
          assert.deepStrictEqual(within(headers, fields), fields)
          assert.strictEqual(headers["strict-transport-security"], "max-age=31536000")
          const plain = yield* request({ headers: came("http") })
          assert.deepStrictEqual(within(plain.headers, fields), fields)
          assert.isUndefined(plain.headers["strict-transport-security"])
          if (router !== "inside") continue
          const missing = yield* request({ ...unknownRoute, headers: came("https") })
          assert.deepStrictEqual([missing.status, within(missing.headers, fields)], [404, fields])
        }
        const request = yield* mount(ok, Stack.make(proxied, SecurityHeaders.middleware(), nothing))
        const { headers, status } = yield* request({ headers: came("https", { "if-none-match": "\"a\"" }) })
        assert.deepStrictEqual([status, within(headers, fields)], [304, fields])
      }).pipe(quiet))

    it.scoped("a route has other fields by change, and a nonce by asking", () =>
      Effect.gen(function*() {
        const app = Effect.flatMap(
          HttpServerRequest.HttpServerRequest,
          ({ url }): ErasedApp => url.endsWith("/page") ? page : url.endsWith("/widget") ? widget : ok
        )
        const widget = ok.pipe(SecurityHeaders.change({ preset: "embed" }))
        const page = Effect.map(SecurityHeaders.Nonce, ({ value }) => HttpServerResponse.text(value))
        const request = yield* mount(
          app as App,
          Stack.make(direct, SecurityHeaders.middleware({ nonce: ["scriptSrc"] }))
        )
        const embed = fieldsOf({ preset: "embed" })
        const other = yield* request({ path: "/widget" })
        assert.deepStrictEqual(within(other.headers, { ...fieldsOf({}), ...embed }), {
          ...Object.fromEntries(Object.keys(fieldsOf({})).map((name) => [name, undefined])),
          ...embed
        })
        const { body, headers } = yield* request({ path: "/page" })
        assert.match(body, /^[\w+/]{22}==$/)
        assert.include(headers[csp] ?? "", `script-src 'self' 'nonce-${body}'`)
        assert.strictEqual(headers["cache-control"], "private")
        const plain = yield* request({ path: "/other" })
        assert.deepStrictEqual([plain.headers[csp], plain.headers["cache-control"]], [site, undefined])
      }))
  })

  it.effect("what the handler has set stays, unless it is overridden", () =>
    Effect.gen(function*() {
      const own = { [csp]: "default-src *", "x-frame-options": "DENY", "strict-transport-security": "max-age=1" }
      const app = HttpServerResponse.setHeaders(ok, { ...own, "x-own": "1" })
      const ask = (options: Options) =>
        send(stackOf(proxied, SecurityHeaders.middleware(options))(app as never) as App, { headers: came("https") })
      assert.deepStrictEqual(within((yield* ask({})).headers, own), own)
      const { headers } = yield* ask({ override: true })
      assert.deepStrictEqual(within(headers, own), {
        [csp]: site,
        "x-frame-options": "SAMEORIGIN",
        "strict-transport-security": "max-age=31536000"
      })
      assert.strictEqual(headers["x-own"], "1")
      // what is left out is not taken away
      assert.strictEqual((yield* ask({ override: true, frameOptions: false })).headers["x-frame-options"], "DENY")
    }))

  it.effect("Server and X-Powered-By go", () =>
    Effect.gen(function*() {
      const app = HttpServerResponse.setHeaders(ok, { Server: "ours/1.0", "X-Powered-By": "Effect" })
      for (const override of [false, true]) {
        const { headers } = yield* ask(SecurityHeaders.middleware({ override }), app)
        assert.deepStrictEqual([headers["server"], headers["x-powered-by"]], [undefined, undefined])
      }
    }))

  it.effect("a scheme that nobody has stated sends no Strict-Transport-Security, and the log is told once", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.make(({ message }) => void lines.push(String(message)))
      const app = Stack.make(proxied, SecurityHeaders.middleware())(ok)
      for (const proto of ["", "ftp"]) {
        const { headers } = yield* Effect.provide(
          send(app, { headers: came(proto) }),
          Logger.replace(Logger.defaultLogger, logger)
        )
        assert.strictEqual(headers["strict-transport-security"], undefined)
        assert.strictEqual(headers["x-content-type-options"], "nosniff")
      }
      assert.lengthOf(lines, 1)
      assert.match(lines[0] ?? "", /a trusted proxy does not state the scheme/)
    }))

  it.effect("strictTransportSecurity: false needs no Forwarded", () =>
    Effect.gen(function*() {
      const { headers } = yield* send(SecurityHeaders.middleware({ strictTransportSecurity: false })(ok), {
        headers: came("https")
      })
      assert.deepStrictEqual([headers["strict-transport-security"], headers[csp]], [undefined, site])
    }))

  describe("change", () => {
    const outer = SecurityHeaders.middleware({ contentSecurityPolicy: { imgSrc: ["a.test"] }, frameOptions: "DENY" })

    it.effect("goes over what is further out, the innermost last", () =>
      Effect.gen(function*() {
        const router = HttpRouter.empty.pipe(
          HttpRouter.get(
            "/both",
            ok.pipe(
              SecurityHeaders.change({ contentSecurityPolicy: { fontSrc: ["c.test"] }, frameOptions: "SAMEORIGIN" })
            )
          ),
          HttpRouter.get("/one", ok)
        ).pipe(
          SecurityHeaders.change({
            contentSecurityPolicy: { fontSrc: ["b.test"], objectSrc: false },
            frameOptions: false
          })
        )
        const fields = (path: string) =>
          Effect.map(ask(outer, router, { path }), ({ headers }) => [headers[csp], headers["x-frame-options"]])
        const expected = (font: string) =>
          site.replace("img-src 'self' data:; object-src 'none'", `img-src a.test; font-src ${font}`)
        // twice, as what is compiled is kept
        for (let i = 0; i < 2; i++) {
          assert.deepStrictEqual(yield* fields("/both"), [expected("c.test"), "SAMEORIGIN"])
          assert.deepStrictEqual(yield* fields("/one"), [expected("b.test"), undefined])
        }
        // what no change has been for
        assert.strictEqual((yield* ask(outer, ok)).headers["x-frame-options"], "DENY")
      }))

    it.effect("holds where what is inside fails, and something further out answers", () =>
      Effect.gen(function*() {
        const app = Effect.fail(new Broken()).pipe(SecurityHeaders.change({ frameOptions: "SAMEORIGIN" }))
        const stack = stackOf(direct, outer, ExceptionHandlers.byTag({ Broken: () => HttpServerResponse.text("no") }))
        const { body, headers } = yield* send(stack(app as never) as App)
        assert.deepStrictEqual([body, headers["x-frame-options"]], ["no", "SAMEORIGIN"])
      }))

    it.effect("of a handler that is tried again counts once", () =>
      Effect.gen(function*() {
        let tries = 0
        const flaky = Effect.suspend(() => ++tries < 3 ? Effect.fail(new Broken()) : ok)
        const app = flaky.pipe(
          SecurityHeaders.change({ frameOptions: "SAMEORIGIN" }),
          SecurityHeaders.change({ frameOptions: false, name: "Outer" }),
          Effect.retry({ times: 3 })
        )
        const { headers } = yield* ask(outer, app)
        assert.deepStrictEqual([tries, headers["x-frame-options"]], [3, "SAMEORIGIN"])
      }))

    it.effect("changes nothing for another request, nor without a middleware outside", () =>
      Effect.gen(function*() {
        const app = Effect.flatMap(
          HttpServerRequest.HttpServerRequest,
          ({ url }): App => url === "/a" ? ok.pipe(SecurityHeaders.change({ frameOptions: false })) : ok
        )
        const replies = yield* Effect.forEach(
          ["/a", "/b", "/a", "/b"],
          (path) => ask(outer, app, { path }),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(replies.map(({ headers }) => headers["x-frame-options"]), [
          undefined,
          "DENY",
          undefined,
          "DENY"
        ])
        assert.isUndefined((yield* send(ok.pipe(SecurityHeaders.change({ preset: "api" })))).headers[csp])
      }))

    it.effect("no header of a request changes anything", () =>
      Effect.gen(function*() {
        const app = stackOf(direct, outer)(ok as never) as App
        const expected = within((yield* send(app)).headers, fieldsOf({}))
        for (const [name, value] of FastCheck.sample(hostile, 50)) {
          const { headers } = yield* send(app, { headers: { [name]: value } })
          assert.deepStrictEqual(within(headers, expected), expected)
        }
      }))
    const hostile = FastCheck.tuple(
      FastCheck.constantFrom(
        "x-middleware-subrequest",
        "x-nonce",
        csp,
        "x-frame-options",
        "forwarded",
        "sec-fetch-dest"
      ),
      FastCheck.string({ maxLength: 20 }).map((text) => text.replace(/[^!-~]/g, "x"))
    )
  })

  describe("Nonce", () => {
    const page = Effect.map(SecurityHeaders.Nonce, ({ value }) => HttpServerResponse.text(value))
    const withNonce = SecurityHeaders.middleware({ nonce: ["scriptSrc", "styleSrc"] })

    it.effect("is of 128 bits, another for each response, and the same for all who ask", () =>
      Effect.gen(function*() {
        const sizes: Array<number> = []
        let next = 0
        const entropy = Entropy.Entropy.of({
          uuid: () => "",
          bytes: (size) => {
            sizes.push(size)
            return new Uint8Array(size).fill(++next)
          }
        })
        const twice = Effect.map(SecurityHeaders.Nonce, (nonce) =>
          HttpServerResponse.text(`${nonce.value} ${nonce.value}`))
        const ask = Effect.provideService(
          send(stackOf(direct, withNonce)(twice as never) as App),
          Entropy.Entropy,
          entropy
        )
        const nonces = [yield* ask, yield* ask].map(({ body, headers }) => {
          const [one, two] = body.split(" ")
          assert.strictEqual(one, two)
          assert.include(headers[csp] ?? "", `style-src 'self' 'nonce-${one}'`)
          return one
        })
        assert.deepStrictEqual(
          nonces,
          [1, 2].map((byte) =>
            Buffer.alloc(16, byte).toString("base64")
          )
        )
        assert.deepStrictEqual(sizes, [16, 16])
      }))

    it.effect("stays what it is to a policy of the handler's own", () =>
      Effect.gen(function*() {
        const app = Effect.map(page, HttpServerResponse.setHeader(csp, "default-src 'none'"))
        assert.strictEqual((yield* ask(withNonce, app)).headers[csp], "default-src 'none'")
      }))

    it.effect("is asked for before the header goes, or it throws", () =>
      Effect.gen(function*() {
        let nonce: { readonly value: string } | undefined
        yield* ask(
          withNonce,
          Effect.map(SecurityHeaders.Nonce, (service) => {
            nonce = service
            return ok
          })
        )
        assert.throws(() => nonce?.value, Error, /the header has gone without a nonce: read Nonce before/)
      }))

    it.effect("a 304 has no policy, since that of what is stored stays", () =>
      Effect.gen(function*() {
        const { headers, status } = yield* ask(stackOf(withNonce, nothing), page, { headers: { "if-none-match": "*" } })
        assert.deepStrictEqual([status, headers[csp], headers["x-content-type-options"]], [304, undefined, "nosniff"])
      }))

    it.effect("is stored by no cache further in", () =>
      Effect.gen(function*() {
        const cached = Effect.map(page, HttpServerResponse.setHeader("cache-control", "public, max-age=60"))
        const app = stackOf(direct, withNonce, ResponseCache.middleware())(cached as never) as App
        const bodies = [yield* send(app), yield* send(app)].map(({ body, headers }) => {
          assert.include(headers[csp] ?? "", `'nonce-${body}'`)
          assert.include(headers["cache-control"] ?? "", "private")
          return body
        })
        assert.notStrictEqual(bodies[0], bodies[1])
      }).pipe(Effect.provide(ResponseCacheStore.layerMemory())))

    it.effect("a test gives its own", () =>
      Effect.gen(function*() {
        const { body } = yield* send(page.pipe(Effect.provide(Layer.succeed(SecurityHeaders.Nonce, { value: "abc" }))))
        assert.strictEqual(body, "abc")
      }))
  })
})
