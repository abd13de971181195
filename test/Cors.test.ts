import { Headers, HttpApiSchema, HttpRouter, HttpServerRespondable, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Data, Deferred, Duration, Effect, FastCheck, Schema, TestServices } from "effect"
import { Cors, ExceptionHandlers, Middleware, Stack } from "effect-middleware"
import { compileExemption, compileGuard } from "../src/internal/pathPattern.js"
import { hostile } from "./internal/hostile.js"
import { mounts, type Reply, send } from "./utils/TestApp.js"

type Options = Parameters<typeof Cors.policy>[0]
type Decision<Tag> = Extract<Cors.Decision, { readonly _tag: Tag }>

const app = "https://app.example.com"
const evil = "https://evil.test"

class Busy extends Schema.TaggedError<Busy>()("Busy", {}) implements HttpServerRespondable.Respondable {
  [HttpServerRespondable.symbol]() {
    return HttpServerResponse.empty({ status: 503 })
  }
}

const decide = (options: Options, facts: Partial<Cors.Facts>) =>
  Cors.policy(options)({ method: "GET", target: "/", origin: undefined, ...facts })

const expectTag = <Tag extends Cors.Decision["_tag"]>(decision: Cors.Decision, tag: Tag): Decision<Tag> => {
  assert.strictEqual(decision._tag, tag)
  return decision as Decision<Tag>
}

/** What a request may read: the fields it gets, by name. */
const fieldsOf = (options: Options, facts: Partial<Cors.Facts>) =>
  Object.fromEntries(expectTag(decide(options, facts), "Request").fields)

const allowed = (origins: Cors.PlainOrigins, origin: string | undefined) =>
  fieldsOf({ origins }, { origin })["access-control-allow-origin"]

const preflight = (options: Options, facts: Partial<Cors.Facts> = {}) =>
  expectTag(
    decide(options, { method: "OPTIONS", origin: app, requestMethod: "GET", ...facts }),
    "Preflight"
  )

const isGranted = (options: Options, facts: Partial<Cors.Facts> = {}) =>
  preflight(options, facts).disallowed.length === 0

const throwsOn = (options: Options, message: RegExp) => assert.throws(() => Cors.policy(options), TypeError, message)

describe("policy", () => {
  describe("a list of origins", () => {
    const origins = [
      "https://app.example.com",
      "HTTPS://Shop.Example.COM:443",
      "http://plain.test:80",
      "http://localhost:5173",
      "https://*.example.org",
      "http://*.dev.test:8080",
      "https://bücher.example",
      "https://*.bücher.example",
      "http://127.0.0.1",
      "http://[::1]:3000",
      "capacitor://localhost",
      "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
      "app://*.tools.test",
      /https:\/\/pr-\d+\.preview\.test/,
      /https:\/\/first\.test|https:\/\/second\.test/
    ]

    it.each<[rule: string, origin: string]>([
      ["itself", app],
      ["lower case and without the default port", "https://shop.example.com"],
      ["without the default port of http", "http://plain.test"],
      ["with its port", "http://localhost:5173"],
      ["a subdomain", "https://a.example.org"],
      ["a subdomain at any depth", "https://a.b-c.d_e.example.org"],
      ["a subdomain with the port of the pattern", "http://a.dev.test:8080"],
      ["ASCII", "https://xn--bcher-kva.example"],
      ["a subdomain of ASCII", "https://a.xn--bcher-kva.example"],
      ["an address", "http://127.0.0.1"],
      ["an IPv6 address", "http://[::1]:3000"],
      ["an app's scheme", "capacitor://localhost"],
      ["an extension", "chrome-extension://abcdefghijklmnopabcdefghijklmnop"],
      ["a subdomain under an app's scheme", "app://a.tools.test"],
      ["what a regular expression matches", "https://pr-17.preview.test"],
      ["its first alternative", "https://first.test"],
      ["its last alternative", "https://second.test"]
    ])("allows %s: %s", (_, origin) => {
      assert.strictEqual(allowed(origins, origin), origin)
    })

    it.each<[rule: string, origin: string | undefined]>([
      ["no origin", undefined],
      ["an empty one", ""],
      ["null", "null"],
      ["another host", evil],
      ["another scheme", "http://app.example.com"],
      ["another port", "https://app.example.com:8443"],
      ["the default port, which no browser writes", "https://app.example.com:443"],
      ["another case, which no browser writes", "https://APP.example.com"],
      ["a slash", "https://app.example.com/"],
      ["a listed origin used as a prefix", "https://app.example.com.evil.test"],
      ["a listed origin used as a suffix", "https://evilapp.example.com"],
      ["the apex of a wildcard", "https://example.org"],
      ["a wildcard without its dot", "https://evilexample.org"],
      ["a wildcard used as a prefix", "https://a.example.org.evil.test"],
      ["a wildcard under another scheme", "http://a.example.org"],
      ["the same, of a longer name", "http://abc.example.org"],
      ["a wildcard under another scheme of its length", "xhttp://a.example.org"],
      ["a wildcard with another port", "https://a.example.org:8443"],
      ["a wildcard without its port", "http://a.dev.test"],
      ["a wildcard and an empty label", "https://a..example.org"],
      ["a wildcard and no label", "https://.example.org"],
      ["a wildcard behind a path", "https://evil.test/.example.org"],
      ["a wildcard behind a user", "https://evil.test@a.example.org"],
      ["a wildcard behind a port", "https://evil.test:1.example.org"],
      ["a wildcard in another case", "https://A.example.org"],
      ["a star", "https://*.example.org"],
      ["an origin that a regular expression matches in part", "https://pr-17.preview.test.evil.test"],
      ["the same at its end", "https://evil.test?https://pr-17.preview.test"],
      ["an alternative that matches in part", "https://first.test.evil.test"],
      ["the other one", "xhttps://second.test"],
      ["another character for the dot", "https://pr-17xpreview.test"],
      ["two origins", `${app}, ${app}`],
      ["two with a space", `${app} ${app}`],
      ["spaces around it", ` ${app} `],
      ["an object's own", "constructor"]
    ])("does not allow %s: %j", (_, origin) => {
      assert.strictEqual(allowed(origins, origin), undefined)
    })

    it("allows null where it is listed, and there alone", () => {
      assert.strictEqual(allowed(["null"], "null"), "null")
      assert.strictEqual(allowed(["null"], "NULL"), undefined)
      assert.strictEqual(allowed([/.*/, /null/, "https://*.example.com"], "null"), undefined)
      assert.strictEqual(allowed(() => true, "null"), undefined)
    })

    it.each([/https:\/\/a\.test/g, /https:\/\/a\.test/y, /https:\/\/a\.test/gimsuy, /^https:\/\/a\.test$/gd])(
      "%s keeps no state",
      (expression) => {
        const decide = Cors.policy({ origins: [expression] })
        for (let i = 0; i < 3; i++) {
          const { fields } = expectTag(decide({ method: "GET", target: "/", origin: "https://a.test" }), "Request")
          assert.strictEqual(fields.length, 1)
        }
        assert.strictEqual(expression.lastIndex, 0)
      }
    )

    it("keeps the flags that say what matches", () => {
      assert.strictEqual(allowed([/https:\/\/a\.test/i], "https://A.test"), "https://A.test")
      assert.strictEqual(allowed([/https:\/\/a\.test/], "https://A.test"), undefined)
      assert.strictEqual(allowed([/^https:\/\/\u{61}\.test$/u], "https://a.test"), "https://a.test")
    })

    it.each([
      "https://a.test\nhttps://b.test",
      "https://a.test\r\nx: y",
      "https://é.test",
      "https://a.test/x",
      "a.test",
      "//a.test"
    ])(
      "asks nobody about what is no origin: %j",
      (origin) => {
        assert.strictEqual(allowed([/[^]*/], origin), undefined)
        assert.strictEqual(allowed(() => assert.fail("asked"), origin), undefined)
      }
    )

    it("asks nobody about an origin of more than 300 characters", () => {
      const of = (length: number) => `https://${"a".repeat(length - 8)}`
      assert.strictEqual(allowed([/[^]*/], of(300)), of(300))
      assert.strictEqual(allowed([/[^]*/], of(301)), undefined)
      assert.strictEqual(allowed(["https://*.example.com"], `https://${"a.".repeat(150)}example.com`), undefined)
      assert.strictEqual(allowed(() => true, of(300)), of(300))
      assert.strictEqual(allowed(() => assert.fail("asked"), of(301)), undefined)
    })

    it.prop(
      "compares with what a browser makes of the same text",
      [
        FastCheck.constantFrom("http", "https", "HTTP"),
        FastCheck.oneof(FastCheck.domain(), FastCheck.ipV4(), FastCheck.ipV6().map((ip) => `[${ip}]`)),
        FastCheck.option(FastCheck.integer({ min: 0, max: 65535 }))
      ],
      ([scheme, host, port]) => {
        const text = `${scheme}://${host}${port === null ? "" : `:${port}`}`
        const { origin } = new URL(text)
        assert.strictEqual(allowed([text], origin), origin)
      }
    )

    it.prop("a wildcard needs its dot", [FastCheck.domain()], ([prefix]) => {
      FastCheck.pre(prefix.length < 200)
      const under = `https://${prefix.toLowerCase()}.example.com`
      assert.strictEqual(allowed(["https://*.example.com"], under), under)
      assert.strictEqual(allowed(["https://*.example.com"], `https://${prefix}example.com`), undefined)
      assert.strictEqual(allowed(["https://*.example.com"], `https://example.com.${prefix}`), undefined)
    })

    it.prop("only what is listed is allowed", [FastCheck.string({ unit: "binary" })], ([text]) => {
      for (const origin of [text, `${text}${app}`, `${app}${text}`, `https://${text}.example.com`]) {
        const found = allowed([app, "https://*.example.com"], origin)
        if (found === undefined) continue
        assert.strictEqual(found, origin)
        assert.match(origin, /^https:\/\/(?:[a-z\d_-]+\.)+example\.com$/)
      }
    })

    it.prop("what is sent back can be sent", [FastCheck.string({ unit: "binary" })], ([text]) => {
      for (const origin of [text, `https://${text}`]) {
        const found = allowed([/[^]*/], origin)
        if (found !== undefined) assert.match(found, /^[!-~]+$/)
      }
    })

    it.each<[mistake: string, origin: string, message: RegExp]>([
      ["a star in a list", "*", /Cors: origins has "\*": to allow every origin write "\*" alone, in no list/],
      ["no scheme", "example.com", /begin with the scheme/],
      ["a scheme behind a path", "x/https://example.com", /begin with the scheme/],
      ["nothing", "", /has "": begin with the scheme/],
      ["two slashes alone", "//example.com", /begin with the scheme/],
      ["a slash after it", "https://example.com/", /write "https:\/\/example\.com", an origin has no path/],
      ["a path", "https://example.com/app/x", /write "https:\/\/example\.com", an origin has no path/],
      ["a query", "https://example.com?x", /write "https:\/\/example\.com"/],
      ["a fragment", "https://example.com#x", /write "https:\/\/example\.com"/],
      ["a backslash", "https://example.com\\x", /write "https:\/\/example\.com"/],
      ["a user", "https://me@example.com", /leave out the user/],
      ["a star without its dot", "https://*example.com", /"\*" stands for subdomains alone/],
      ["a star in the middle", "https://a.*.com", /write a RegExp/],
      ["a star for the port", "http://localhost:*", /write a RegExp/],
      ["a star for the scheme", "*://example.com", /write a RegExp/],
      ["a star alone under its dot", "https://*.", /write a RegExp/],
      ["a star over an address", "https://*.127.0.0.1", /write a RegExp/],
      ["a star over an IPv6 address", "https://*.[::1]", /write a RegExp/],
      ["a scheme alone", "https://", /write "https:\/\/example\.com"/],
      ["a file", "file://", /write "https:\/\/example\.com"/],
      ["the path of a file", "file:///x", /write "https:\/\/example\.com"/],
      ["a port that is none", "https://example.com:x", /write/],
      ["an empty port", "https://example.com:", /write/],
      ["a port that is too great", "https://example.com:65536", /write/],
      ["a fully qualified name", "https://example.com.", /write/],
      ["a short address", "http://127.1", /write/],
      ["a space", "https://example.com ", /write/],
      ["a space before it", " https://example.com", /write/],
      ["two origins", "https://a.test, https://b.test", /write/],
      ["two lines", "https://a.test\nhttps://b.test", /origins has "https:\/\/a\.test\\nhttps:\/\/b\.test"/],
      ["a regular expression as text", "^https://.*$", /write/]
    ])("throws on %s, and says what to write: %j", (_, origin, message) => {
      throwsOn({ origins: [app, origin] }, message)
    })

    it("throws on none, and on what is no list", () => {
      throwsOn({ origins: [] }, /Cors: origins names none: list the origins to allow, or leave the middleware out/)
      throwsOn({ origins: "https://a.test" as never }, /origins names none/)
      throwsOn({} as never, /origins names none/)
      throwsOn({ origins: "*", routes: [{ match: ["/a"], origins: [] }] }, /Cors: routes\[0\]\.origins names none/)
    })
  })

  describe("a function", () => {
    it("is asked of an origin, once", () => {
      const asked: Array<string> = []
      const decide = Cors.policy({ origins: (origin) => asked.push(origin) > 0 && origin === app })
      for (const origin of [app, evil, undefined, "", "null", "a b"]) decide({ method: "GET", target: "/", origin })
      decide({ method: "OPTIONS", target: "/", origin: app, requestMethod: "GET" })
      decide({ method: "OPTIONS", target: "/", origin: app })
      assert.deepStrictEqual(asked, [app, evil, app, app])
    })

    it("allows what it says", () => {
      assert.strictEqual(allowed((origin) => origin === app, app), app)
      assert.strictEqual(allowed((origin) => origin === app, evil), undefined)
    })
  })

  it("keeps what it made for a thousand origins, and no more", () => {
    const decide = Cors.policy({ origins: [/https:\/\/\d+\.test/] })
    const of = (n: number) => decide({ method: "GET", target: "/", origin: `https://${n}.test` })
    for (let n = 0; n < 1000; n++) of(n)
    assert.strictEqual(of(999), of(999))
    assert.notStrictEqual(of(1000), of(1000))
    assert.deepStrictEqual(of(1000), of(1000))
  })

  describe("a request", () => {
    const origins = [app]

    it.each<
      [rule: string, options: Options, facts: Partial<Cors.Facts>, fields: Record<string, string>, vary: boolean]
    >([
      ["every origin", { origins: "*" }, { origin: app }, { "access-control-allow-origin": "*" }, false],
      ["every origin, null", { origins: "*" }, { origin: "null" }, { "access-control-allow-origin": "*" }, false],
      ["every origin, none", { origins: "*" }, {}, { "access-control-allow-origin": "*" }, false],
      ["an allowed one", { origins }, { origin: app }, { "access-control-allow-origin": app }, true],
      ["a disallowed one", { origins }, { origin: evil }, {}, true],
      ["none", { origins }, {}, {}, true],
      [
        "all that there is",
        {
          origins,
          credentials: true,
          exposedHeaders: ["X-Total", "etag"],
          timing: true
        },
        { origin: app },
        {
          "access-control-allow-origin": app,
          "access-control-allow-credentials": "true",
          "access-control-expose-headers": "x-total, etag",
          "timing-allow-origin": app
        },
        true
      ],
      [
        "all that there is, disallowed",
        { origins, credentials: true, exposedHeaders: ["X-Total"], timing: true },
        { origin: evil },
        {},
        true
      ],
      ["all that there is, of none", { origins, credentials: true, exposedHeaders: ["a"], timing: true }, {}, {}, true],
      ["all that there is, of every origin", { origins: "*", exposedHeaders: "*", timing: true }, {}, {
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "*",
        "timing-allow-origin": "*"
      }, false],
      ["what is off", { origins, credentials: false, exposedHeaders: [], timing: false }, { origin: app }, {
        "access-control-allow-origin": app
      }, true],
      [
        "what only a preflight gets",
        {
          origins,
          methods: "*",
          headers: "*",
          privateNetwork: true
        },
        { origin: app, requestMethod: "PUT", requestHeaders: "x-a", requestPrivateNetwork: "true" },
        {
          "access-control-allow-origin": app
        },
        true
      ]
    ])("%s", (_, options, facts, fields, vary) => {
      const decision = expectTag(decide(options, facts), "Request")
      assert.deepStrictEqual(Object.fromEntries(decision.fields), fields)
      assert.strictEqual(decision.fields.length, Object.keys(fields).length)
      assert.strictEqual(decision.vary, vary)
      assert.strictEqual(decision.resourcePolicy, undefined)
    })

    it("does not look at the origin where every one is allowed", () => {
      for (const origin of ["", "x".repeat(1e5), "\n"]) assert.strictEqual(allowed("*", origin), "*")
    })

    it.each([app, evil, undefined])("has its resource policy whatever the origin: %s", (origin) => {
      for (const resourcePolicy of ["same-site", "cross-origin"] as const) {
        assert.strictEqual(
          expectTag(decide({ origins, resourcePolicy }, { origin }), "Request").resourcePolicy,
          resourcePolicy
        )
        assert.strictEqual(
          expectTag(decide({ origins: "*", resourcePolicy }, { origin }), "Request").resourcePolicy,
          resourcePolicy
        )
      }
    })

    it.each<[rule: string, facts: Partial<Cors.Facts>, isPreflight: boolean]>([
      ["OPTIONS, Origin and the method that is asked for", {
        method: "OPTIONS",
        origin: app,
        requestMethod: "GET"
      }, true],
      ["an empty method that is asked for", { method: "OPTIONS", origin: app, requestMethod: "" }, true],
      ["an empty Origin", { method: "OPTIONS", origin: "", requestMethod: "GET" }, true],
      ["OPTIONS", { method: "OPTIONS" }, false],
      ["OPTIONS and Origin", { method: "OPTIONS", origin: app }, false],
      ["OPTIONS and the method", { method: "OPTIONS", requestMethod: "GET" }, false],
      ["OPTIONS, Origin and the header fields", { method: "OPTIONS", origin: app, requestHeaders: "x-a" }, false],
      ["another method", { method: "POST", origin: app, requestMethod: "GET" }, false],
      ["another case", { method: "options", origin: app, requestMethod: "GET" }, false]
    ])("is a preflight or not: %s", (_, facts, isPreflight) => {
      assert.strictEqual(decide({ origins }, facts)._tag, isPreflight ? "Preflight" : "Request")
    })
  })

  describe("a preflight", () => {
    const vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"

    it("is granted, by default", () => {
      const { disallowed, response } = preflight({ origins: [app] })
      assert.deepStrictEqual(disallowed, [])
      assert.strictEqual(response.status, 204)
      assert.strictEqual(response.body._tag, "Empty")
      assert.deepStrictEqual({ ...response.headers }, {
        "access-control-allow-headers": "accept, accept-language, content-language, content-type",
        "access-control-allow-methods": "GET, HEAD, POST",
        "access-control-allow-origin": app,
        "access-control-max-age": "600",
        vary
      })
    })

    it("is granted, with all that there is", () => {
      const options: Options = {
        origins: [app],
        methods: ["PUT", "GET", "PROPFIND"],
        headers: "*",
        exposedHeaders: ["x-total"],
        credentials: true,
        maxAge: "1 hour",
        privateNetwork: true,
        timing: true,
        resourcePolicy: "same-site",
        preflightStatus: 200
      }
      const facts = {
        requestMethod: "PROPFIND",
        requestHeaders: "Authorization,\tx-a ,",
        requestPrivateNetwork: "true"
      }
      const { response } = preflight(options, facts)
      assert.strictEqual(response.status, 200)
      assert.deepStrictEqual({ ...response.headers }, {
        "access-control-allow-credentials": "true",
        "access-control-allow-headers": "authorization, x-a",
        "access-control-allow-methods": "GET, HEAD, POST, PUT, PROPFIND",
        "access-control-allow-origin": app,
        "access-control-allow-private-network": "true",
        "access-control-max-age": "3600",
        vary: `${vary}, Access-Control-Request-Private-Network`
      })
    })

    it("is one value for every origin, where nothing depends on what was asked", () => {
      const decide = Cors.policy({ origins: "*", methods: ["PUT"], headers: ["x-a"], privateNetwork: true })
      const facts = { method: "OPTIONS", target: "/", origin: app, requestMethod: "PUT" }
      const { response } = expectTag(decide(facts), "Preflight")
      assert.strictEqual(
        expectTag(decide({ ...facts, origin: evil, requestHeaders: "X-A" }), "Preflight").response,
        response
      )
      assert.strictEqual(response.headers["access-control-allow-origin"], "*")
      assert.strictEqual(
        response.headers["vary"],
        "Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network"
      )
      const asked = expectTag(decide({ ...facts, requestPrivateNetwork: "true" }), "Preflight").response
      assert.strictEqual(asked.headers["access-control-allow-private-network"], "true")
      assert.strictEqual(asked.headers["access-control-allow-origin"], "*")
      assert.isUndefined(response.headers["access-control-allow-private-network"])
    })

    it("mirrors no header fields where none is asked for", () => {
      for (const requestHeaders of [undefined, "", " ,\t, "]) {
        const { disallowed, response } = preflight({ origins: "*", headers: "*" }, { requestHeaders })
        assert.deepStrictEqual(disallowed, [])
        assert.isUndefined(response.headers["access-control-allow-headers"])
      }
    })

    describe("methods", () => {
      it.each<[methods: Options["methods"], granted: string, refused: string]>([
        [undefined, "GET HEAD POST", "PUT DELETE OPTIONS PATCH get post * TRACE"],
        [[], "GET HEAD POST", "PUT"],
        [["PATCH"], "GET HEAD POST PATCH", "patch Patch PUT PATCHY"],
        [["PUT", "M-SEARCH"], "GET HEAD POST PUT M-SEARCH", "DELETE"],
        [["XTRACE", "TRACEX"], "XTRACE TRACEX", "TRACE"],
        ["*", "GET HEAD POST PUT DELETE OPTIONS PATCH", "patch PURGE TRACE CONNECT *"]
      ])("%j", (methods, granted, refused) => {
        const options: Options = { origins: [app], methods }
        for (const requestMethod of granted.split(" ")) {
          const { disallowed, response } = preflight(options, { requestMethod })
          assert.deepStrictEqual(disallowed, [])
          assert.include(response.headers["access-control-allow-methods"]?.split(", ") ?? [], requestMethod)
        }
        for (const requestMethod of [...refused.split(" "), "", "constructor", "GET, POST", "GET "]) {
          assert.deepStrictEqual(preflight(options, { requestMethod }).disallowed, ["method"])
        }
      })

      it("lists what it allows, in a fixed order", () => {
        const listed = (methods: Options["methods"]) =>
          preflight({ origins: "*", methods }).response.headers["access-control-allow-methods"]
        assert.strictEqual(listed(["PUT", "GET", "PUT"]), "GET, HEAD, POST, PUT")
        assert.strictEqual(listed("*"), "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
      })

      it.each<[mistake: string, method: string, message: RegExp]>([
        ["lower case", "patch", /Cors: methods has "patch": write "PATCH", case counts/],
        ["mixed case", "Get", /write "GET"/],
        ["a star in a list", "*", /methods has "\*": write "\*" alone, in no list/],
        ["what no page may send", "TRACE", /leave it out, no page may send it/],
        ["the same in lower case", "connect", /leave it out, no page may send it/],
        ["the last of them", "TRACK", /leave it out, no page may send it/],
        ["nothing", "", /methods has "": write a method/],
        ["two methods", "PUT, PATCH", /write a method \("PATCH"\)/],
        ["a line", "PUT\r\n", /write a method/]
      ])("throws on %s: %j", (_, method, message) => {
        throwsOn({ origins: "*", methods: ["PUT", method] }, message)
      })
    })

    describe("headers", () => {
      it.each<[headers: Options["headers"], granted: ReadonlyArray<string>, refused: ReadonlyArray<string>]>([
        [undefined, ["", "accept", "Accept-Language,content-language, CONTENT-TYPE"], ["x-a", "authorization", "*"]],
        [["X-A", "Authorization"], ["x-a", "X-A,authorization,content-type", ",x-a, ,\t"], [
          "x-b",
          "x-a,x-b",
          "x-a x-b"
        ]],
        ["*", ["x-a,x-b", "authorization", "!#$%&'*+-.^_`|~09azAZ"], []]
      ])("%j", (headers, granted, refused) => {
        for (const requestHeaders of granted) {
          assert.isTrue(isGranted({ origins: "*", headers }, { requestHeaders }), requestHeaders)
        }
        for (
          const requestHeaders of [
            ...refused,
            "x a",
            "\"x-a\"",
            "x-a;",
            "x-a\n",
            "x-\u212a",
            "x-é",
            "x-a:",
            "(",
            "\"a,b\""
          ]
        ) {
          assert.deepStrictEqual(
            preflight({ origins: "*", headers }, { requestHeaders }).disallowed,
            ["headers"],
            requestHeaders
          )
        }
      })

      it("lists what it allows, in lower case", () => {
        assert.strictEqual(
          preflight({ origins: "*", headers: ["X-A", "x-a", "Accept"] }).response
            .headers["access-control-allow-headers"],
          "accept, accept-language, content-language, content-type, x-a"
        )
      })

      it("takes 4096 characters and 100 names", () => {
        const options: Options = { origins: "*", headers: "*" }
        const names = (count: number) => Array.from({ length: count }, (_, index) => `x-${index}`).join(",")
        assert.isTrue(isGranted(options, { requestHeaders: "x".repeat(4096) }))
        assert.isFalse(isGranted(options, { requestHeaders: "x".repeat(4097) }))
        assert.isTrue(isGranted(options, { requestHeaders: names(100) }))
        assert.isFalse(isGranted(options, { requestHeaders: names(101) }))
      })

      it.prop(
        "grants what is listed in any case, order and spacing, and nothing beside",
        [
          FastCheck.uniqueArray(FastCheck.constantFrom("x-a", "x-b", "x-c", "accept"), { minLength: 1 }),
          FastCheck.boolean()
        ],
        ([asked, upper]) => {
          const requestHeaders = asked.map((name) => upper ? name.toUpperCase() : name).join(upper ? " , " : ",")
          assert.strictEqual(
            isGranted({ origins: "*", headers: ["x-a", "X-B"] }, { requestHeaders }),
            !asked.includes("x-c")
          )
        }
      )

      it.each<[mistake: string, headers: Options["headers"], message: RegExp]>([
        ["a star in a list", ["*"], /Cors: headers has "\*": write "\*" alone, in no list/],
        ["nothing", [""], /headers has "": write a field name/],
        ["two names", ["x-a, x-b"], /headers has "x-a, x-b": write a field name/],
        ["a line", ["x-a\r\nx-b: 1"], /write a field name/],
        ["another script", ["x-é"], /write a field name/]
      ])("throws on %s", (_, headers, message) => {
        throwsOn({ origins: "*", headers }, message)
      })
    })

    describe("maxAge", () => {
      it.each<[maxAge: Options["maxAge"], sent: string | undefined]>([
        [undefined, "600"],
        [0, "0"],
        ["0 seconds", "0"],
        [5000, "5"],
        ["10 minutes", "600"],
        ["2 hours", "7200"],
        [Duration.days(1), "86400"],
        [false, undefined]
      ])("%s is sent as %s", (maxAge, sent) => {
        assert.strictEqual(preflight({ origins: "*", maxAge }).response.headers["access-control-max-age"], sent)
      })

      it.each<Options["maxAge"]>([
        600,
        "1500 millis",
        Duration.seconds(0.5),
        Infinity,
        Duration.infinity,
        NaN,
        -1,
        -1000
      ])(
        "throws on %s",
        (maxAge) => {
          throwsOn(
            { origins: "*", maxAge },
            /Cors: maxAge is .*: write whole seconds with their unit \("10 minutes".*, 0 to keep no answer, or false/
          )
        }
      )

      it("throws on what is no duration", () => {
        throwsOn({ origins: "*", maxAge: "soon" as never }, /maxAge is soon: write whole seconds/)
        throwsOn({ origins: "*", maxAge: true as never }, /maxAge is true: write whole seconds/)
      })
    })

    describe("a private network", () => {
      it.each<[privateNetwork: boolean, asked: string | undefined, sent: string | undefined]>([
        [true, "true", "true"],
        [true, undefined, undefined],
        [true, "false", undefined],
        [true, "", undefined],
        [false, "true", undefined]
      ])("%s, asked %s, sends %s", (privateNetwork, requestPrivateNetwork, sent) => {
        const { disallowed, response } = preflight({ origins: [app], privateNetwork }, { requestPrivateNetwork })
        assert.deepStrictEqual(disallowed, [])
        assert.strictEqual(response.headers["access-control-allow-private-network"], sent)
        assert.strictEqual(response.headers["vary"]?.includes("Private-Network"), privateNetwork)
      })
    })

    describe("that is disallowed", () => {
      const options: Options = {
        origins: [app],
        methods: ["PUT"],
        headers: ["x-a"],
        credentials: true,
        privateNetwork: true
      }
      const cases: ReadonlyArray<[facts: Partial<Cors.Facts>, disallowed: string]> = [
        [{ origin: evil }, "origin"],
        [{ requestMethod: "PATCH" }, "method"],
        [{ requestHeaders: "x-b" }, "headers"],
        [{ requestHeaders: "x-b, x-c" }, "headers"],
        [{ requestHeaders: "<script>" }, "headers"],
        [{ origin: evil, requestMethod: "PATCH" }, "origin, method"],
        [{ origin: evil, requestHeaders: "x-b" }, "origin, headers"],
        [{ requestMethod: "PATCH", requestHeaders: "x-b" }, "method, headers"],
        [{ origin: "null", requestMethod: "<script>", requestHeaders: "(" }, "origin, method, headers"]
      ]

      it.each(cases)("%j has no field that allows", (facts, disallowed) => {
        for (const preflightStatus of [undefined, 200, 204] as const) {
          const decision = preflight({ ...options, preflightStatus }, { requestPrivateNetwork: "true", ...facts })
          assert.strictEqual(decision.disallowed.join(", "), disallowed)
          assert.strictEqual(decision.response.status, preflightStatus ?? 204)
          assert.strictEqual(decision.response.body._tag, "Empty")
          assert.deepStrictEqual({ ...decision.response.headers }, {
            vary: `${vary}, Access-Control-Request-Private-Network`
          })
        }
      })

      it.effect("says with \"reason\" what is disallowed, and never what was sent", () =>
        Effect.gen(function*() {
          for (const [facts, disallowed] of cases) {
            const { response } = preflight({ ...options, disallowedPreflight: "reason", preflightStatus: 200 }, facts)
            assert.strictEqual(response.status, 400)
            const { "content-type": type, ...headers } = (yield* send(Effect.succeed(response))).headers
            assert.strictEqual(type, "text/plain")
            assert.deepStrictEqual(Object.keys(headers).filter((name) => name !== "content-length"), ["vary"])
            assert.strictEqual((yield* send(Effect.succeed(response))).body, `CORS does not allow: ${disallowed}`)
          }
        }))

      it("is refused of every origin too, with no field that allows", () => {
        for (const disallowedPreflight of ["empty", "reason"] as const) {
          const { response } = preflight({ origins: "*", headers: "*", disallowedPreflight }, { requestMethod: "PUT" })
          assert.isUndefined(response.headers["access-control-allow-origin"])
          assert.strictEqual(response.headers["vary"], vary.slice("Origin, ".length))
        }
      })
    })

    it("is linear, and capped", () => {
      const decide = Cors.policy({ origins: [app, "https://*.example.com", /https:\/\/[a-z.]+/], headers: "*" })
      for (const [what, text] of hostile) {
        const start = performance.now()
        const decisions = [
          { origin: app, requestHeaders: text },
          { origin: app, requestMethod: text },
          { origin: text, requestHeaders: text },
          { origin: `https://${text}` }
        ].map((facts) => decide({ method: "OPTIONS", target: "/", requestMethod: "GET", ...facts }))
        assert.isBelow(performance.now() - start, 500, what)
        for (const decision of decisions) assert.isAbove(expectTag(decision, "Preflight").disallowed.length, 0, what)
      }
    })
  })

  describe("credentials", () => {
    it("are refused with a wildcard, at construction", () => {
      throwsOn(
        { origins: "*", credentials: true },
        /Cors: credentials is true with origins "\*", which browsers refuse: list the origins, or leave credentials out/
      )
      throwsOn(
        { origins: [app], exposedHeaders: "*", credentials: true },
        /Cors: credentials is true with exposedHeaders "\*", which is then no wildcard: list the fields to expose/
      )
      throwsOn(
        { origins: [app], routes: [{ match: ["/a"], origins: "*", credentials: true }] },
        /Cors: routes\[0\]\.credentials is true with origins "\*"/
      )
    })

    it("go with a wildcard of methods and headers, which is never sent as one", () => {
      const { response } = preflight(
        { origins: [app], methods: "*", headers: "*", credentials: true },
        { requestMethod: "PUT", requestHeaders: "x-a" }
      )
      assert.notInclude(Object.values(response.headers), "*")
    })

    it("exposed header fields are names", () => {
      throwsOn({ origins: [app], exposedHeaders: ["*"] }, /exposedHeaders has "\*": write "\*" alone/)
      throwsOn({ origins: [app], exposedHeaders: ["x a"] }, /exposedHeaders has "x a": write a field name/)
    })
  })

  describe("denyDisallowed", () => {
    const options: Options = { origins: [app], denyDisallowed: true }

    it.each<[rule: string, facts: Partial<Cors.Facts>, expected: Cors.Decision["_tag"]]>([
      ["an allowed origin", { origin: app, host: "api.test" }, "Request"],
      ["a disallowed one", { origin: evil, host: "api.test" }, "Deny"],
      ["null", { origin: "null", host: "api.test" }, "Deny"],
      ["null of null", { origin: "null", host: "null" }, "Deny"],
      ["an empty one", { origin: "", host: "api.test" }, "Deny"],
      ["no origin", { host: "api.test" }, "Request"],
      ["OPTIONS without the method that is asked for", { method: "OPTIONS", origin: evil, host: "api.test" }, "Deny"],
      ["a preflight", { method: "OPTIONS", origin: evil, requestMethod: "GET", host: "api.test" }, "Preflight"],
      ["its own host", { origin: "https://api.test", host: "api.test" }, "Request"],
      ["its own host in another case", { origin: "https://api.test", host: "API.test" }, "Request"],
      ["its own host and port", { origin: "http://api.test:8080", host: "api.test:8080" }, "Request"],
      ["the default port of https", { origin: "https://api.test", host: "api.test:443" }, "Request"],
      ["the default port of http", { origin: "http://api.test", host: "api.test:80" }, "Request"],
      ["its own address", { origin: "http://[::1]:80", host: "[::1]" }, "Request"],
      ["another port", { origin: "https://api.test:8443", host: "api.test" }, "Deny"],
      ["another port of the host", { origin: "https://api.test", host: "api.test:8443" }, "Deny"],
      ["the default port of the other scheme", { origin: "http://api.test", host: "api.test:443" }, "Deny"],
      ["a subdomain of the host", { origin: "https://a.api.test", host: "api.test" }, "Deny"],
      ["the parent of the host", { origin: "https://api.test", host: "a.api.test" }, "Deny"],
      ["another scheme than the web's", { origin: "capacitor://localhost", host: "localhost" }, "Deny"],
      ["a scheme that ends in one of the web's", { origin: "xhttp://api.test", host: "api.test" }, "Deny"],
      ["two lines", { origin: "https://api.test\nx", host: "api.test" }, "Deny"],
      ["no host", { origin: "https://api.test" }, "Deny"],
      ["an empty host", { origin: "https://", host: "" }, "Deny"],
      ["a malformed host", { origin: "https://a@b", host: "a@b" }, "Deny"],
      ["a path", { origin: "https://api.test/", host: "api.test" }, "Deny"],
      ["a name that is too long", { origin: `https://${"a".repeat(300)}`, host: "a".repeat(300) }, "Deny"]
    ])("%s: %j", (_, facts, expected) => {
      assert.strictEqual(decide(options, facts)._tag, expected)
      if (expected === "Deny") assert.strictEqual(decide({ origins: [app] }, facts)._tag, "Request")
    })

    it("its own host is not refused, and still allowed nothing", () => {
      assert.deepStrictEqual(fieldsOf(options, { origin: "https://api.test", host: "api.test" }), {})
    })

    it("never refuses where every origin is allowed", () => {
      assert.strictEqual(decide({ origins: "*", denyDisallowed: true }, { origin: evil })._tag, "Request")
    })
  })

  describe("routes", () => {
    const options: Options = {
      origins: [app],
      credentials: true,
      routes: [
        { match: ["/public/*"], origins: "*", methods: ["PUT"] },
        { match: ["POST /uploads", "/files/:id"], origins: ["https://upload.test"], headers: ["x-part"] },
        { match: ["/public/second"], origins: ["https://never.test"] }
      ]
    }
    const origin = (facts: Partial<Cors.Facts>) => fieldsOf(options, facts)["access-control-allow-origin"]

    it.each<[rule: string, facts: Partial<Cors.Facts>, expected: string | undefined]>([
      ["the first entry", { target: "/public/x", origin: evil }, "*"],
      ["the first entry, without an origin", { target: "/public/x" }, "*"],
      ["the first that matches", { target: "/public/second", origin: evil }, "*"],
      [
        "an entry with a method",
        { method: "POST", target: "/uploads", origin: "https://upload.test" },
        "https://upload.test"
      ],
      ["an entry has its own rules alone", { method: "POST", target: "/uploads", origin: app }, undefined],
      ["another method", { method: "PUT", target: "/uploads", origin: app }, app],
      ["a parameter", { target: "/files/7", origin: "https://upload.test" }, "https://upload.test"],
      ["any other route", { target: "/x", origin: app }, app],
      ["any other route, of another origin", { target: "/x", origin: evil }, undefined],
      ["what only some router takes for it", { target: "/PUBLIC/x", origin: evil }, undefined],
      ["what only some router takes for it, of whom both allow", { target: "//public/x", origin: app }, app],
      ["what only some router takes for it, of whom one allows", { target: "/files/7/", origin: app }, undefined],
      ["the same, of whom the other allows", { target: "/files/7/", origin: "https://upload.test" }, undefined]
    ])("%s: %j", (_, facts, expected) => {
      assert.strictEqual(origin(facts), expected)
    })

    it("a preflight has the route of the method that it asks for", () => {
      const facts = { target: "/uploads", origin: "https://upload.test", requestHeaders: "x-part" }
      assert.isTrue(isGranted(options, { ...facts, requestMethod: "POST" }))
      assert.deepStrictEqual(preflight(options, { ...facts, requestMethod: "GET" }).disallowed, ["origin", "headers"])
      assert.isTrue(isGranted(options, { target: "/public/x", origin: evil, requestMethod: "PUT" }))
      assert.deepStrictEqual(preflight(options, { target: "/x", requestMethod: "PUT" }).disallowed, ["method"])
    })

    it("varies by the entry", () => {
      const vary = (target: string) => expectTag(decide(options, { target }), "Request").vary
      assert.deepStrictEqual([vary("/public/x"), vary("/x"), vary("/Public/x")], [false, true, true])
    })

    it("an entry has the defaults for what it leaves out", () => {
      assert.isUndefined(fieldsOf(options, { target: "/public/x", origin: app })["access-control-allow-credentials"])
      assert.strictEqual(fieldsOf(options, { target: "/x", origin: app })["access-control-allow-credentials"], "true")
    })

    it("says how a preflight is answered for all", () => {
      const { response } = preflight(
        { ...options, preflightStatus: 200, disallowedPreflight: "reason" },
        { target: "/public/x", requestMethod: "PUT" }
      )
      assert.strictEqual(response.status, 200)
      assert.strictEqual(
        preflight({ ...options, disallowedPreflight: "reason" }, { target: "/public/x", requestMethod: "LOCK" })
          .response.status,
        400
      )
    })

    it("denies by the entry", () => {
      const denying: Options = { ...options, denyDisallowed: true }
      assert.strictEqual(decide(denying, { target: "/public/x", origin: evil })._tag, "Request")
      assert.strictEqual(decide(denying, { target: "/x", origin: evil })._tag, "Deny")
      assert.strictEqual(decide(denying, { target: "/public/../x", origin: evil })._tag, "Deny")
    })

    describe("what two rules both allow", () => {
      const both = (
        route: Partial<Cors.Rules<Cors.PlainOrigins>>,
        other: Partial<Cors.Rules<Cors.PlainOrigins>>
      ): Options => ({
        origins: "*",
        ...other,
        routes: [{ match: ["/a"], origins: "*", ...route }]
      })
      const target = "/A"
      type Rules = Partial<Cors.Rules<Cors.PlainOrigins>>

      it.each<[rule: string, a: Rules, b: Rules, name: string, expected: string | undefined]>([
        [
          "credentials of one",
          { origins: [app], credentials: true },
          {},
          "access-control-allow-credentials",
          undefined
        ],
        [
          "credentials of both",
          { origins: [app], credentials: true },
          { origins: [app], credentials: true },
          "access-control-allow-credentials",
          "true"
        ],
        ["a list and every origin", { origins: [app] }, {}, "access-control-allow-origin", app],
        ["every origin twice", {}, {}, "access-control-allow-origin", "*"],
        ["two lists", { origins: [app, evil] }, { origins: [evil, app] }, "access-control-allow-origin", app],
        ["two lists that differ", { origins: [app] }, { origins: [evil] }, "access-control-allow-origin", undefined],
        [
          "a list and a function",
          { origins: [app] },
          { origins: () => false },
          "access-control-allow-origin",
          undefined
        ],
        ["timing of one", { timing: true }, {}, "timing-allow-origin", undefined],
        ["timing of both", { timing: true }, { timing: true, origins: [app] }, "timing-allow-origin", app],
        ["exposed by one", { exposedHeaders: ["x-a"] }, {}, "access-control-expose-headers", undefined],
        [
          "exposed by both",
          { exposedHeaders: ["x-a", "x-b"] },
          { exposedHeaders: ["x-c", "X-B"] },
          "access-control-expose-headers",
          "x-b"
        ],
        [
          "all exposed by one",
          { exposedHeaders: "*" },
          { exposedHeaders: ["x-b"] },
          "access-control-expose-headers",
          "x-b"
        ],
        ["all exposed by both", { exposedHeaders: "*" }, { exposedHeaders: "*" }, "access-control-expose-headers", "*"]
      ])("%s", (_, a, b, name, expected) => {
        assert.strictEqual(fieldsOf(both(a, b), { target, origin: app })[name], expected)
        assert.strictEqual(fieldsOf(both(b, a), { target, origin: app })[name], expected)
      })

      it.each<[rule: string, a: Rules, b: Rules, facts: Partial<Cors.Facts>, disallowed: string]>([
        ["a method of one", { methods: ["PUT"] }, {}, { requestMethod: "PUT" }, "method"],
        ["a method of both", { methods: ["PUT"] }, { methods: "*" }, { requestMethod: "PUT" }, ""],
        ["a field of one", { headers: ["x-a"] }, {}, { requestHeaders: "x-a" }, "headers"],
        ["a field of both", { headers: ["x-a"] }, { headers: ["X-A", "x-b"] }, { requestHeaders: "x-a" }, ""],
        ["a field of a list and a wildcard", { headers: ["x-a"] }, { headers: "*" }, { requestHeaders: "x-a" }, ""],
        ["a field of a wildcard alone", { headers: ["x-a"] }, { headers: "*" }, { requestHeaders: "x-b" }, "headers"],
        ["a field of two wildcards", { headers: "*" }, { headers: "*" }, { requestHeaders: "x-a" }, ""]
      ])("%s", (_, a, b, facts, disallowed) => {
        assert.strictEqual(preflight(both(a, b), { target, ...facts }).disallowed.join(), disallowed)
        assert.strictEqual(preflight(both(b, a), { target, ...facts }).disallowed.join(), disallowed)
      })

      it.each<[a: Options["maxAge"], b: Options["maxAge"], expected: string | undefined]>([
        ["1 hour", "2 hours", "3600"],
        [0, "2 hours", "0"],
        [false, "2 hours", undefined],
        [false, "1 second", "1"],
        [false, false, undefined]
      ])("a preflight is kept as short as %s and %s", (a, b, expected) => {
        for (const options of [both({ maxAge: a }, { maxAge: b }), both({ maxAge: b }, { maxAge: a })]) {
          assert.strictEqual(preflight(options, { target }).response.headers["access-control-max-age"], expected)
        }
      })

      it("a private network of both", () => {
        const granted = (a: boolean, b: boolean) =>
          preflight(both({ privateNetwork: a }, { privateNetwork: b }), { target, requestPrivateNetwork: "true" })
            .response.headers["access-control-allow-private-network"]
        assert.deepStrictEqual([granted(true, true), granted(true, false), granted(false, true)], [
          "true",
          undefined,
          undefined
        ])
      })

      it.each<[a: Rules["resourcePolicy"], b: Rules["resourcePolicy"], expected: string | undefined]>([
        ["same-site", "same-site", "same-site"],
        ["cross-origin", "same-site", "same-site"],
        ["cross-origin", "cross-origin", "cross-origin"],
        ["cross-origin", undefined, undefined],
        ["same-site", undefined, "same-origin"],
        [undefined, undefined, undefined]
      ])("the resource policies %s and %s", (a, b, expected) => {
        for (
          const options of [
            both({ resourcePolicy: a }, { resourcePolicy: b }),
            both({ resourcePolicy: b }, { resourcePolicy: a })
          ]
        ) {
          assert.strictEqual(expectTag(decide(options, { target }), "Request").resourcePolicy, expected)
        }
      })

      it("of three", () => {
        const three: Options = {
          origins: [app, "https://b.test"],
          routes: [{ match: ["/a"], origins: [app, evil] }, { match: ["/:any"], origins: [app, "https://c.test"] }]
        }
        const at = (target: string, origin: string) =>
          fieldsOf(three, { target, origin })["access-control-allow-origin"]
        assert.deepStrictEqual([app, evil, "https://b.test", "https://c.test"].map((origin) => at("/A/", origin)), [
          app,
          undefined,
          undefined,
          undefined
        ])
        // certain of the second, and so of no third
        assert.deepStrictEqual([app, "https://c.test"].map((origin) => at("/A", origin)), [app, undefined])
        assert.strictEqual(at("/x", "https://c.test"), "https://c.test")
      })
    })

    const patterns = ["/a", "/a/*", "/a/b", "GET /a", "POST /a/:id", "/:x", "/A", "/a/:id?"]
    const targets = FastCheck.oneof(
      FastCheck.constantFrom(
        "/a",
        "/A",
        "//a",
        "/a/",
        "/a/b",
        "/a/b?x=1",
        "/a;x",
        "/%61",
        "/a/../a",
        "/x",
        "/",
        "*",
        "",
        "/a?x"
      ),
      FastCheck.array(FastCheck.constantFrom("/", "a", "A", "b", "%61", ";", "?", "..", "\\"), { maxLength: 6 })
        .map((parts) => `/${parts.join("")}`)
    )

    it.prop(
      "allows what every rule does that a router could come to, and no more",
      [
        FastCheck.array(FastCheck.constantFrom(...patterns), { maxLength: 4 }),
        FastCheck.constantFrom("GET", "HEAD", "POST", "PUT"),
        targets
      ],
      ([matches, method, target]) => {
        const name = (index: number) => `https://r${index}.test`
        const last = matches.length
        // every rule leaves out the one origin that is named after it
        const names = Array.from({ length: last + 1 }, (_, index) => name(index))
        const without = (index: number) => [app, ...names.filter((_, other) => other !== index)]
        const options: Options = {
          origins: without(last),
          routes: matches.map((match, index) => ({ match: [match], origins: without(index) }))
        }
        const certain = matches.findIndex((match) => compileExemption([match])(method, target))
        const end = certain === -1 ? last : certain
        const candidates = matches.flatMap((match, index) =>
          index < end && compileGuard([match])(method, target) ? [index] : []
        ).concat(end)
        for (const facts of [{ method }, { method: "OPTIONS", requestMethod: method }]) {
          const disallowed = names.flatMap((origin, index) => {
            const decision = decide(options, { target, origin, ...facts })
            const isAllowed = decision._tag === "Request" ?
              decision.fields.length > 0
              : decision._tag === "Preflight" && !decision.disallowed.includes("origin")
            return isAllowed ? [] : [index]
          })
          assert.deepStrictEqual(disallowed, candidates)
        }
      }
    )

    it.each<[mistake: string, match: ReadonlyArray<string>, message: RegExp]>([
      ["no route", [], /Cors: routes\[0\]\.match: .*no pattern names no route/],
      ["what is no path", ["public"], /Cors: routes\[0\]\.match: .*"public" does not begin with "\/"/],
      ["what depends on the router", ["/public*"], /write "\/\*"/],
      ["every route, which is what stands beside", ["/*"], /exempts everything/]
    ])("throws on %s", (_, match, message) => {
      throwsOn({ origins: [app], routes: [{ match, origins: "*" }] }, message)
    })

    it("a mistake in a route keeps its cause", () => {
      try {
        Cors.policy({ origins: [app], routes: [{ match: ["public"], origins: "*" }] })
        assert.fail("not thrown")
      } catch (error) {
        assert.instanceOf((error as Error).cause, TypeError)
      }
    })

    it("a mistake names its entry", () => {
      const entry = { match: ["/a"], origins: "*" } as const
      throwsOn(
        { origins: "*", routes: [entry, { ...entry, methods: ["put"] }] },
        /Cors: routes\[1\]\.methods has "put"/
      )
      throwsOn({ origins: "*", routes: [entry, { ...entry, headers: [""] }] }, /Cors: routes\[1\]\.headers has ""/)
      throwsOn({ origins: "*", routes: [entry, { ...entry, maxAge: NaN }] }, /Cors: routes\[1\]\.maxAge is NaN/)
      throwsOn({ origins: "*", routes: [entry, { ...entry, origins: ["x"] }] }, /Cors: routes\[1\]\.origins has "x"/)
    })
  })
})

describe("middleware", () => {
  const page = HttpServerResponse.text("page")
  const from = (origin: string, headers: Record<string, string> = {}) => ({ headers: { origin, ...headers } })
  const asking = (origin: string, method = "PUT", headers: Record<string, string> = {}) => ({
    method: "OPTIONS",
    headers: { origin, "access-control-request-method": method, ...headers }
  })
  /** The fields of this protocol in a reply. */
  const corsOf = ({ headers }: Reply) =>
    Object.fromEntries(
      Object.entries(headers).filter(([name]) => /^(?:access-control-|vary$|timing-allow|cross-origin-)/.test(name))
    )
  const refusing = Middleware.make({ name: "Refusing", request: () => Middleware.Refuse(new Busy()) })

  describe.each(mounts)("$name", ({ mount, router }) => {
    const cors = Cors.middleware({ origins: [app], methods: ["PUT"], credentials: true })
    const granted = {
      "access-control-allow-origin": app,
      "access-control-allow-credentials": "true",
      vary: "Origin"
    }

    it.scoped("gives its fields to whatever is answered", () =>
      Effect.gen(function*() {
        let failure: Effect.Effect<HttpServerResponse.HttpServerResponse, unknown> = page
        const request = yield* mount(Effect.suspend(() => failure), cors)
        for (
          const [next, status] of [[page, 200], [Effect.fail(new Busy()), 503], [Effect.die("defect"), 500]] as const
        ) {
          failure = next
          const allowed = yield* request(from(app))
          assert.strictEqual(allowed.status, status)
          assert.deepStrictEqual(corsOf(allowed), granted)
          assert.deepStrictEqual(corsOf(yield* request(from(evil))), { vary: "Origin" })
          assert.deepStrictEqual(corsOf(yield* request()), { vary: "Origin" })
        }
        if (router === "inside") {
          const unknown = yield* request({ method: "PURGE", ...from(app) })
          assert.strictEqual(unknown.status, 404)
          assert.deepStrictEqual(corsOf(unknown), granted)
        }
      }))

    it.scoped("gives its fields to a refusal further in", () =>
      Effect.gen(function*() {
        const request = yield* mount(page, Stack.make(cors, refusing))
        const { status, ...reply } = yield* request(from(app))
        assert.strictEqual(status, 503)
        assert.deepStrictEqual(corsOf({ status, ...reply }), granted)
      }))

    it.scoped("answers a preflight and enters nothing further in", () =>
      Effect.gen(function*() {
        let entered = 0
        const inside = Middleware.around("Inside", (app) => Effect.suspend(() => (entered++, app)))
        const request = yield* mount(
          Effect.sync(() => (entered++, HttpServerResponse.text("page"))),
          Stack.make(cors, inside)
        )
        const reply = yield* request(asking(app))
        assert.strictEqual(reply.status, 204)
        assert.strictEqual(reply.body, "")
        assert.strictEqual(reply.headers["access-control-allow-methods"], "GET, HEAD, POST, PUT")
        assert.strictEqual(reply.headers["access-control-allow-origin"], app)
        const refused = yield* request(asking(evil))
        assert.strictEqual(refused.status, 204)
        assert.isUndefined(refused.headers["access-control-allow-origin"])
        assert.strictEqual(entered, 0)
        // an OPTIONS of the app's own
        assert.strictEqual((yield* request({ method: "OPTIONS", ...from(app) })).body, "page")
        assert.strictEqual((yield* request({ method: "OPTIONS" })).body, "page")
        assert.strictEqual(entered, 4)
      }))

    it.scoped("refuses as denyDisallowed says, and asks an Effect", () =>
      Effect.gen(function*() {
        const strict = Cors.middleware({
          origins: (origin) => Effect.delay(Effect.succeed(origin === app), 0),
          denyDisallowed: true
        })
        const request = yield* TestServices.provideLive(mount(page, strict))
        const refused = yield* request(from(evil))
        assert.strictEqual(refused.status, 403)
        assert.strictEqual(refused.headers["content-type"], "application/problem+json")
        assert.deepStrictEqual(corsOf(refused), { vary: "Origin" })
        assert.deepStrictEqual(JSON.parse(refused.body), {
          title: "Forbidden",
          status: 403,
          detail: "The origin of the request is not allowed"
        })
        assert.deepStrictEqual(corsOf(yield* request(from(app))), {
          "access-control-allow-origin": app,
          vary: "Origin"
        })
        assert.strictEqual((yield* request(asking(app, "GET"))).headers["access-control-allow-origin"], app)
        assert.strictEqual((yield* request()).status, 200)
      }))
  })

  it.effect("a preflight of a route without OPTIONS, and of no route, is answered", () =>
    Effect.gen(function*() {
      const router = HttpRouter.empty.pipe(
        HttpRouter.put("/notes", Effect.dieMessage("the handler ran")),
        Cors.middleware({ origins: [app], methods: ["PUT"] })
      )
      for (const path of ["/notes", "/nowhere", "*"]) {
        const { headers, status } = yield* send(router, { path: path === "*" ? "/*" : path, ...asking(app) })
        assert.deepStrictEqual([status, headers["access-control-allow-origin"]], [204, app])
      }
      assert.strictEqual((yield* send(router, { path: "/notes", method: "OPTIONS" })).status, 404)
    }))

  describe("Vary", () => {
    it.each<[handlers: string | undefined, sent: string]>([
      [undefined, "Origin"],
      ["Accept-Encoding", "Accept-Encoding, Origin"],
      ["accept-encoding, origin", "accept-encoding, origin"],
      ["ORIGIN", "ORIGIN"],
      ["*", "*"]
    ])("of the handler %s becomes %s", (vary, sent) =>
      Effect.runPromise(Effect.gen(function*() {
        const handler = HttpServerResponse.text("page", { headers: vary === undefined ? {} : { vary } })
        const listed = Cors.middleware({ origins: [app] })(handler)
        for (const headers of [{}, { origin: app }, { origin: evil }]) {
          assert.strictEqual((yield* send(listed, { headers })).headers["vary"], sent)
        }
        const everyone = yield* send(Cors.middleware({ origins: "*" })(handler), from(app))
        assert.strictEqual(everyone.headers["vary"], vary)
      })))

    it.effect("of the request never matters", () =>
      Effect.gen(function*() {
        for (const vary of ["*", "Accept", "x".repeat(1e4)]) {
          assert.strictEqual(
            (yield* send(Cors.middleware({ origins: [app] })(page), from(app, { vary }))).headers["vary"],
            "Origin"
          )
          assert.isUndefined(
            (yield* send(Cors.middleware({ origins: "*" })(page), from(app, { vary }))).headers["vary"]
          )
        }
      }))
  })

  describe("fields of the handler's own", () => {
    const handler = HttpServerResponse.text("page", {
      headers: {
        "access-control-allow-origin": "https://own.test",
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "x-own",
        "cross-origin-resource-policy": "same-origin",
        "timing-allow-origin": "https://own.test"
      }
    })

    it.effect("are overridden where the policy allows", () =>
      Effect.gen(function*() {
        const all = Cors.middleware({
          origins: [app],
          exposedHeaders: ["x-total"],
          timing: true,
          resourcePolicy: "cross-origin"
        })
        assert.deepStrictEqual(corsOf(yield* send(all(handler), from(app))), {
          "access-control-allow-origin": app,
          "access-control-expose-headers": "x-total",
          "timing-allow-origin": app,
          "cross-origin-resource-policy": "same-origin",
          vary: "Origin"
        })
        const everyone = corsOf(yield* send(Cors.middleware({ origins: "*" })(handler)))
        assert.strictEqual(everyone["access-control-allow-origin"], "*")
        assert.isUndefined(everyone["access-control-allow-credentials"])
      }))

    it.effect("are left alone where it does not", () =>
      Effect.gen(function*() {
        const cors = Cors.middleware({ origins: [app], credentials: true, resourcePolicy: "same-site" })
        for (const headers of [{}, { origin: evil }]) {
          assert.deepStrictEqual(corsOf(yield* send(cors(handler), { headers })), {
            "access-control-allow-origin": "https://own.test",
            "access-control-allow-credentials": "true",
            "access-control-expose-headers": "x-own",
            "timing-allow-origin": "https://own.test",
            "cross-origin-resource-policy": "same-origin",
            vary: "Origin"
          })
        }
      }))

    it.effect("are none: the resource policy of the options is sent", () =>
      Effect.gen(function*() {
        for (const origins of ["*", [app]] as const) {
          const cors = Cors.middleware({ origins, resourcePolicy: "same-site" })
          const { headers } = yield* send(cors(page), from(evil))
          assert.strictEqual(headers["cross-origin-resource-policy"], "same-site")
        }
      }))
  })

  describe("a function", () => {
    it.effect("is asked once for a request, with it", () =>
      Effect.gen(function*() {
        const asked: Array<string> = []
        const cors = Cors.middleware({
          origins: (origin, request) => {
            asked.push(`${origin} ${request.method} ${request.url}`)
            return request.headers["x-tenant"] === "a"
          }
        })(page)
        const answer = (init: Parameters<typeof send>[1]) => Effect.map(send(cors, init), corsOf)
        assert.deepStrictEqual(yield* answer({ path: "/x", ...from(app, { "x-tenant": "a" }) }), {
          "access-control-allow-origin": app,
          vary: "Origin"
        })
        assert.deepStrictEqual(yield* answer({ path: "/x", ...from(app, { "x-tenant": "b" }) }), { vary: "Origin" })
        for (const origin of ["null", "x", ""]) yield* answer(from(origin))
        yield* answer({})
        yield* answer(asking(app))
        assert.deepStrictEqual(asked, [`${app} GET /x`, `${app} GET /x`, `${app} OPTIONS /`])
      }))

    it.effect("that throws is a defect, and the client gets its answer (platform gave none)", () =>
      Effect.gen(function*() {
        const cors = Cors.middleware({ origins: () => assert.fail("thrown") })(page)
        assert.strictEqual((yield* send(cors)).status, 200)
        const { headers, status } = yield* send(cors, from(app))
        assert.strictEqual(status, 500)
        assert.isUndefined(headers["access-control-allow-origin"])
      }))

    it.effect("allows with true alone", () =>
      Effect.gen(function*() {
        for (
          const verdict of [undefined, null, 1, "yes", {}, Promise.resolve(true), Effect.succeed(1), Effect.succeed("")]
        ) {
          const cors = Cors.middleware({ origins: () => verdict as never })(page)
          assert.deepStrictEqual(corsOf(yield* send(cors, from(app))), { vary: "Origin" })
        }
      }))
  })

  describe("an Effect", () => {
    class Tenants extends Context.Tag("test/Tenants")<Tenants, ReadonlySet<string>>() {}
    class Unreachable extends Data.TaggedError("Unreachable") {}

    it.effect("asks a service, once, and may fail", () =>
      Effect.gen(function*() {
        let asked = 0
        const cors = Cors.middleware({
          origins: (origin) =>
            Effect.flatMap(Tenants, (tenants) => {
              asked++
              return tenants.size === 0 ? new Unreachable() : Effect.succeed(tenants.has(origin))
            })
        })
        const serve = (tenants: ReadonlyArray<string>) =>
          Stack.make(
            ExceptionHandlers.byTag({ Unreachable: () => HttpServerResponse.empty({ status: 503 }) }),
            cors
          )(page).pipe(Effect.provideService(Tenants, new Set(tenants)))
        assert.strictEqual((yield* send(serve([app]), from(app))).headers["access-control-allow-origin"], app)
        assert.strictEqual((yield* send(serve([app]), asking(app, "GET"))).headers["access-control-allow-origin"], app)
        assert.deepStrictEqual(corsOf(yield* send(serve([app]), from(evil))), { vary: "Origin" })
        assert.strictEqual((yield* send(serve([]), from(app))).status, 503)
        assert.strictEqual((yield* send(serve([]))).status, 200)
        assert.strictEqual((yield* send(serve([]), from("null"))).status, 200)
        assert.strictEqual(asked, 4)
      }))

    it.effect("of several rules are asked in order, up to the first no", () =>
      Effect.gen(function*() {
        const asked: Array<string> = []
        const ask = (name: string, verdict: boolean) => () =>
          Effect.sync(() => {
            asked.push(name)
            return verdict
          })
        const cors = (a: boolean, b: boolean) =>
          Cors.middleware({
            origins: ask("last", true),
            routes: [
              { match: ["/a"], origins: ask("a", a) },
              { match: ["/A"], origins: () => b },
              { match: ["/:x"], origins: [app] }
            ]
          })(page)
        const granted = (a: boolean, b: boolean) =>
          Effect.map(send(cors(a, b), { path: "/a/", ...from(app) }), ({ headers }) => {
            const answer = [headers["access-control-allow-origin"] === app, asked.join()]
            asked.length = 0
            return answer
          })
        assert.deepStrictEqual(yield* granted(true, true), [true, "a,last"])
        assert.deepStrictEqual(yield* granted(false, true), [false, "a"])
        assert.deepStrictEqual(yield* granted(true, false), [false, "a"])
      }))

    it.effect("never tells one request of another", () =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const cors = Cors.middleware({
          origins: (origin) => Effect.as(origin === app ? Deferred.await(gate) : Deferred.succeed(gate, void 0), true)
        })(page)
        const replies = yield* Effect.all([send(cors, from(app)), send(cors, from(evil)), send(cors)], {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(replies.map(({ headers }) => headers["access-control-allow-origin"]), [
          app,
          evil,
          undefined
        ])
      }))
  })

  it.effect("two in one stack keep their own", () =>
    Effect.gen(function*() {
      const two = Stack.make(
        Cors.middleware({ origins: [app], exposedHeaders: ["x-a"], name: "Outer" }),
        Cors.middleware({ origins: [evil], exposedHeaders: ["x-b"], name: "Inner" })
      )(page)
      for (const [origin, exposed] of [[app, "x-a"], [evil, "x-b"]] as const) {
        assert.deepStrictEqual(corsOf(yield* send(two, from(origin))), {
          "access-control-allow-origin": origin,
          "access-control-expose-headers": exposed,
          vary: "Origin"
        })
      }
    }))

  it.effect("routes say what a request without an origin gets, too", () =>
    Effect.gen(function*() {
      const cors = Cors.middleware({ origins: [app], routes: [{ match: ["/public/*"], origins: "*" }] })(page)
      const at = (path: string, headers = {}) => Effect.map(send(cors, { path, headers }), corsOf)
      assert.deepStrictEqual(yield* at("/public/x"), { "access-control-allow-origin": "*" })
      assert.deepStrictEqual(yield* at("/x"), { vary: "Origin" })
      assert.deepStrictEqual(yield* at("/public/x", { origin: evil }), { "access-control-allow-origin": "*" })
      assert.deepStrictEqual(yield* at("/x", { origin: evil }), { vary: "Origin" })
      assert.deepStrictEqual(yield* at("/x", { origin: app }), { "access-control-allow-origin": app, vary: "Origin" })
    }))

  describe("OriginNotAllowed", () => {
    const strict = Cors.middleware({ origins: [app], denyDisallowed: true })

    it.effect("is refused before the app runs, and without what was sent", () =>
      Effect.gen(function*() {
        const { body, headers } = yield* send(strict(Effect.dieMessage("the app ran")), from(evil))
        assert.notInclude(JSON.stringify([body, headers]), "evil")
      }))

    it.effect("is none for the host itself", () =>
      Effect.gen(function*() {
        for (const [origin, status] of [["http://localhost", 200], ["http://localhost:1", 403]] as const) {
          assert.strictEqual((yield* send(strict(page), from(origin, { host: "localhost" }))).status, status)
        }
      }))

    it.effect("is none for the host that HTTP/2 has in its :authority", () =>
      Effect.gen(function*() {
        const second = Middleware.make({
          name: "Second",
          request: (exchange) =>
            exchange.deriveRequest({ headers: Headers.fromInput({ origin: evil, ":authority": "evil.test" }) })
        })
        assert.strictEqual((yield* send(Stack.make(second, strict)(page))).status, 200)
      }))

    it.effect("is a failure to handle", () =>
      Effect.gen(function*() {
        const handled = Stack.make(
          ExceptionHandlers.byTag({
            OriginNotAllowed: (error: Cors.OriginNotAllowed) => HttpServerResponse.text(error.message, { status: 418 })
          }),
          strict
        )(page)
        const { body, status } = yield* send(handled, from(evil))
        assert.deepStrictEqual([status, body], [418, "The origin of the request is not allowed"])
      }))

    it("has a schema", () => {
      assert.deepStrictEqual(Schema.encodeSync(Cors.OriginNotAllowed)(new Cors.OriginNotAllowed()), {
        _tag: "OriginNotAllowed"
      })
      assert.strictEqual(Cors.OriginNotAllowed.identifier, "effect-middleware/Cors/OriginNotAllowed")
      assert.strictEqual(HttpApiSchema.getStatusError(Cors.OriginNotAllowed), 403)
    })
  })

  it("has the name that it is given", () => {
    assert.strictEqual(Cors.middleware({ origins: "*" }).name, "Cors")
    assert.strictEqual(Cors.middleware({ origins: "*", name: "Public" }).name, "Public")
  })

  it.prop(
    "never throws, and allows to no other",
    [
      FastCheck.record({
        method: FastCheck.constantFrom("GET", "OPTIONS", "POST", ""),
        target: FastCheck.string({ unit: "binary" }),
        origin: FastCheck.option(
          FastCheck.oneof(FastCheck.string({ unit: "binary" }), FastCheck.constantFrom(app, evil)),
          {
            nil: undefined
          }
        ),
        requestMethod: FastCheck.option(FastCheck.oneof(FastCheck.string(), FastCheck.constant("PUT")), {
          nil: undefined
        }),
        requestHeaders: FastCheck.option(FastCheck.string({ unit: "binary" }), { nil: undefined }),
        host: FastCheck.option(FastCheck.string({ unit: "binary" }), { nil: undefined })
      })
    ],
    ([facts]) => {
      const decide = Cors.policy({
        origins: [app, /https:\/\/[a-z]+\.example\.com/],
        headers: "*",
        denyDisallowed: true,
        disallowedPreflight: "reason",
        routes: [{ match: ["/a/:b"], origins: [app] }]
      })
      const decision = decide(facts)
      const sent = decision._tag === "Request" ?
        Object.fromEntries(decision.fields)
        : decision._tag === "Preflight" ?
        decision.response.headers
        : {}
      const origin = sent["access-control-allow-origin"]
      if (origin !== undefined) {
        assert.strictEqual(origin, facts.origin)
        assert.match(origin, /^https:\/\/[a-z]+\.example\.com$/)
      }
      for (const value of Object.values(sent)) assert.match(value, /^[ -~]+$/)
    }
  )
})

/** What tests/middleware/test_cors.py of Starlette 1.x asks, and what of it has another answer here, on purpose. */
describe("Starlette's tests", () => {
  const origin = "https://example.org"
  const homepage = HttpServerResponse.text("Homepage")
  const use = (options: Options, handler = homepage) => Cors.middleware(options)(handler)
  const get = (options: Options, headers: Record<string, string> = { origin }, method = "GET") =>
    send(use(options), { method, headers })
  const options = (of: Options, headers: Record<string, string> = {}) =>
    send(use({ preflightStatus: 200, disallowedPreflight: "reason", ...of }), {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "GET", ...headers }
    })
  const namesOf = (value: string | undefined) => (value ?? "").split(", ").sort()

  it.effect("allow_all_except_credentials", () =>
    Effect.gen(function*() {
      const all: Options = { origins: "*", headers: "*", methods: "*", exposedHeaders: ["X-Status"] }
      const { body, headers, status } = yield* options(all, { "access-control-request-headers": "X-Example" })
      // Starlette's body is "OK"
      assert.deepStrictEqual([status, body], [200, ""])
      assert.strictEqual(headers["access-control-allow-origin"], "*")
      assert.strictEqual(headers["access-control-allow-headers"], "x-example")
      assert.isUndefined(headers["access-control-allow-credentials"])
      // the answer depends on the method even so: PURGE is none of "*"
      assert.deepStrictEqual(namesOf(headers["vary"]), [
        "Access-Control-Request-Headers",
        "Access-Control-Request-Method"
      ])
      const simple = yield* get(all)
      assert.deepStrictEqual([simple.status, simple.body], [200, "Homepage"])
      assert.strictEqual(simple.headers["access-control-allow-origin"], "*")
      assert.strictEqual(simple.headers["access-control-expose-headers"], "x-status")
      assert.isUndefined(simple.headers["access-control-allow-credentials"])
      assert.isUndefined(simple.headers["vary"])
      // differs: Starlette has none without Origin, and a cache may then give that response to a page
      assert.strictEqual((yield* get(all, {})).headers["access-control-allow-origin"], "*")
    }))

  it("allow_all, and a wildcard with credentials elsewhere: refused at construction", () => {
    for (
      const rest of [{}, { methods: "*", headers: "*", exposedHeaders: ["X-Status"] }, { methods: ["POST"] }] as const
    ) {
      assert.throws(() => use({ origins: "*", credentials: true, ...rest }), TypeError)
    }
  })

  it.effect("allow_specific_origin", () =>
    Effect.gen(function*() {
      const specific: Options = { origins: [origin], headers: ["X-Example", "Content-Type"] }
      const { headers, status } = yield* options(specific, {
        "access-control-request-headers": "X-Example, Content-Type"
      })
      assert.strictEqual(status, 200)
      assert.strictEqual(headers["access-control-allow-origin"], origin)
      assert.deepStrictEqual(namesOf(headers["access-control-allow-headers"]), [
        "accept",
        "accept-language",
        "content-language",
        "content-type",
        "x-example"
      ])
      assert.isUndefined(headers["access-control-allow-credentials"])
      assert.deepStrictEqual(namesOf(headers["vary"]), [
        "Access-Control-Request-Headers",
        "Access-Control-Request-Method",
        "Origin"
      ])
      // differs: Starlette's default is GET
      assert.strictEqual(headers["access-control-allow-methods"], "GET, HEAD, POST")
      const simple = yield* get(specific)
      assert.deepStrictEqual([simple.status, simple.body], [200, "Homepage"])
      assert.strictEqual(simple.headers["access-control-allow-origin"], origin)
      assert.strictEqual(simple.headers["vary"], "Origin")
      const another = yield* get(specific, { origin: "https://another.org" })
      assert.deepStrictEqual([another.status, another.body], [200, "Homepage"])
      assert.isUndefined(another.headers["access-control-allow-origin"])
      assert.strictEqual(another.headers["vary"], "Origin")
      const none = yield* get(specific, {})
      assert.deepStrictEqual([none.status, none.body], [200, "Homepage"])
      assert.isUndefined(none.headers["access-control-allow-origin"])
      // differs: Starlette has none without Origin
      assert.strictEqual(none.headers["vary"], "Origin")
    }))

  it.effect("disallowed_preflight", () =>
    Effect.gen(function*() {
      const specific: Options = { origins: [origin], headers: ["X-Example"] }
      const all = yield* options(specific, {
        origin: "https://another.org",
        "access-control-request-method": "PUT",
        "access-control-request-headers": "X-Nope"
      })
      assert.deepStrictEqual([all.status, all.body], [400, "CORS does not allow: origin, method, headers"])
      assert.isUndefined(all.headers["access-control-allow-origin"])
      assert.deepStrictEqual(namesOf(all.headers["vary"]), [
        "Access-Control-Request-Headers",
        "Access-Control-Request-Method",
        "Origin"
      ])
      const headers = yield* options(specific, { "access-control-request-headers": "X-Nope-1, X-Nope-2" })
      assert.deepStrictEqual([headers.status, headers.body], [400, "CORS does not allow: headers"])
      // differs: POST needs no listing, and without "reason" the answer is an empty one
      assert.strictEqual((yield* options(specific, { "access-control-request-method": "POST" })).status, 200)
      assert.strictEqual(
        (yield* options({ ...specific, disallowedPreflight: undefined }, { origin: evil })).status,
        200
      )
    }))

  it.effect("preflight_allow_all_methods, allow_all_methods", () =>
    Effect.gen(function*() {
      const all: Options = { origins: "*", methods: "*" }
      const { headers, status } = yield* options(all, { "access-control-request-method": "POST" })
      assert.strictEqual(status, 200)
      const methods = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
      assert.deepStrictEqual(namesOf(headers["access-control-allow-methods"]), methods)
      for (const method of methods) assert.strictEqual((yield* get(all, { origin }, method)).status, 200)
    }))

  it.effect("allow_origin_regex", () =>
    Effect.gen(function*() {
      const regex: Options = { origins: [/https:\/\/.*/], headers: ["X-Example", "Content-Type"], credentials: true }
      for (const headers of [{ origin }, { origin, cookie: "star_cookie=sugar" }]) {
        const reply = yield* get(regex, headers)
        assert.strictEqual(reply.headers["access-control-allow-origin"], origin)
        assert.strictEqual(reply.headers["access-control-allow-credentials"], "true")
        assert.strictEqual(reply.headers["vary"], "Origin")
      }
      const another = yield* get(regex, { origin: "http://example.org" })
      assert.deepStrictEqual([another.status, another.body], [200, "Homepage"])
      assert.isUndefined(another.headers["access-control-allow-origin"])
      // differs: Starlette says so to a disallowed origin too
      assert.isUndefined(another.headers["access-control-allow-credentials"])
      const asked = { "access-control-request-headers": "X-Example, content-type" }
      const granted = yield* options(regex, { origin: "https://another.com", ...asked })
      assert.strictEqual(granted.status, 200)
      assert.strictEqual(granted.headers["access-control-allow-origin"], "https://another.com")
      assert.strictEqual(granted.headers["access-control-allow-credentials"], "true")
      const refused = yield* options(regex, { origin: "http://another.com", ...asked })
      assert.deepStrictEqual([refused.status, refused.body], [400, "CORS does not allow: origin"])
      assert.isUndefined(refused.headers["access-control-allow-origin"])
    }))

  it.effect("allow_origin_regex_fullmatch", () =>
    Effect.gen(function*() {
      const regex: Options = { origins: [/https:\/\/.*\.example.org/], headers: ["X-Example", "Content-Type"] }
      const within = yield* get(regex, { origin: "https://subdomain.example.org" })
      assert.strictEqual(within.headers["access-control-allow-origin"], "https://subdomain.example.org")
      assert.isUndefined(within.headers["access-control-allow-credentials"])
      const beyond = yield* get(regex, { origin: "https://subdomain.example.org.hacker.com" })
      assert.isUndefined(beyond.headers["access-control-allow-origin"])
      assert.strictEqual(beyond.headers["vary"], "Origin")
    }))

  it.effect("vary_header_behavior", () =>
    Effect.gen(function*() {
      const handler = HttpServerResponse.text("Homepage", { headers: { vary: "Accept-Encoding" } })
      const specific = yield* send(use({ origins: [origin] }, handler), { headers: { origin } })
      assert.deepStrictEqual(namesOf(specific.headers["vary"]), ["Accept-Encoding", "Origin"])
      const wildcard = yield* send(use({ origins: "*" }, handler), { headers: { origin: "https://someplace.org" } })
      assert.strictEqual(wildcard.headers["vary"], "Accept-Encoding")
    }))

  it.effect("preflight_vary_with_wildcard_origins_specific_methods, with_specific_origins_wildcard_methods", () =>
    Effect.gen(function*() {
      const asked = { "access-control-request-method": "POST" }
      const some = yield* options({ origins: "*", methods: ["GET", "POST"] }, asked)
      assert.deepStrictEqual(namesOf(some.headers["vary"]), [
        "Access-Control-Request-Headers",
        "Access-Control-Request-Method"
      ])
      const every = yield* options({ origins: [origin], methods: "*" }, asked)
      assert.deepStrictEqual(namesOf(every.headers["vary"]), [
        "Access-Control-Request-Headers",
        // differs: PURGE is none of "*"
        "Access-Control-Request-Method",
        "Origin"
      ])
    }))

  it.effect("allowed_origin_does_not_leak_between_credentialed_requests", () =>
    Effect.gen(function*() {
      const [first, second] = ["https://first.example", "https://second.example"] as const
      const app = use({ origins: [first, second], methods: "*", headers: "*", credentials: true })
      for (const headers of [{ origin: first }, { origin: second, cookie: "foo=bar" }, { origin: first }]) {
        const reply = yield* send(app, { headers })
        assert.strictEqual(reply.headers["access-control-allow-origin"], headers.origin)
        assert.strictEqual(reply.headers["access-control-allow-credentials"], "true")
      }
    }))

  it.effect("credentialed_requests_return_specific_origin, before 1.0: a cookie changes nothing", () =>
    Effect.gen(function*() {
      const { headers } = yield* get({ origins: "*" }, { origin, cookie: "star_cookie=sugar" })
      assert.strictEqual(headers["access-control-allow-origin"], "*")
      assert.isUndefined(headers["vary"])
    }))

  it.effect("private_network_access_allowed, private_network_access_disallowed", () =>
    Effect.gen(function*() {
      const asked = { "access-control-request-private-network": "true" }
      const on: Options = { origins: "*", methods: "*", privateNetwork: true }
      const granted = yield* options(on, asked)
      assert.strictEqual(granted.status, 200)
      assert.strictEqual(granted.headers["access-control-allow-private-network"], "true")
      assert.include(namesOf(granted.headers["vary"]), "Access-Control-Request-Private-Network")
      const unasked = yield* options(on)
      assert.isUndefined(unasked.headers["access-control-allow-private-network"])
      assert.include(namesOf(unasked.headers["vary"]), "Access-Control-Request-Private-Network")
      const simple = yield* get(on, { origin, ...asked })
      assert.isUndefined(simple.headers["access-control-allow-private-network"])
      assert.strictEqual(simple.headers["access-control-allow-origin"], "*")
      const refused = yield* options({ origins: "*", methods: "*" }, asked)
      // differs: Starlette answers 400, which stops a browser that only warns
      assert.strictEqual(refused.status, 200)
      assert.isUndefined(refused.headers["access-control-allow-private-network"])
    }))

  it.effect("null_origin_rejection, null_origin_explicitly_allowed", () =>
    Effect.gen(function*() {
      const none = { origin: "null" }
      for (const origins of [[/.*/], [/null|https:\/\/.*/]]) {
        const refused = yield* options({ origins }, none)
        assert.deepStrictEqual([refused.status, refused.body], [400, "CORS does not allow: origin"])
        assert.isUndefined((yield* get({ origins }, none)).headers["access-control-allow-origin"])
      }
      assert.strictEqual(
        (yield* get({ origins: [/null|https:\/\/.*/] })).headers["access-control-allow-origin"],
        origin
      )
      // differs: "*" is every origin, whoever asks
      assert.strictEqual((yield* options({ origins: "*" }, none)).headers["access-control-allow-origin"], "*")
      const listed: Options = { origins: ["null", origin] }
      assert.strictEqual((yield* options(listed, none)).headers["access-control-allow-origin"], "null")
      assert.strictEqual((yield* get(listed, none)).headers["access-control-allow-origin"], "null")
    }))

  it.effect("method_case_sensitive, header_name_case_insensitive", () =>
    Effect.gen(function*() {
      const method = (method: string) =>
        options({ origins: [origin], methods: ["POST"] }, { "access-control-request-method": method })
      assert.strictEqual((yield* method("POST")).status, 200)
      const lower = yield* method("post")
      assert.deepStrictEqual([lower.status, lower.body], [400, "CORS does not allow: method"])
      const header = yield* options({ origins: "*", headers: ["X-Custom-Header"] }, {
        "access-control-request-headers": "x-custom-header"
      })
      assert.strictEqual(header.status, 200)
    }))

  it("empty_origins_list: refused at construction", () => {
    assert.throws(() => use({ origins: [] }), TypeError)
  })

  it.effect("origins_list_and_regex_both_accepted", () =>
    Effect.gen(function*() {
      const both: Options = { origins: [origin, /https:\/\/.*\.trusted\.com/] }
      for (
        const [from, sent] of [
          [origin, origin],
          ["https://api.trusted.com", "https://api.trusted.com"],
          ["https://evil.com", undefined]
        ] as const
      ) {
        assert.strictEqual((yield* get(both, { origin: from })).headers["access-control-allow-origin"], sent)
      }
    }))

  it.effect("max_age_header", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* options({ origins: "*" })).headers["access-control-max-age"], "600")
      const custom = yield* options({ origins: "*", maxAge: "2 hours" })
      assert.strictEqual(custom.headers["access-control-max-age"], "7200")
    }))

  it.effect("no_origin_header_no_cors_processing", () =>
    Effect.gen(function*() {
      const { headers, status } = yield* get({ origins: "*" }, {})
      assert.deepStrictEqual([status, headers["vary"]], [200, undefined])
      // differs: see allow_all_except_credentials
      assert.strictEqual(headers["access-control-allow-origin"], "*")
    }))
})
