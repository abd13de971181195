import { Headers, HttpApiSchema, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, Schema } from "effect"
import { ExceptionHandlers, Forwarded, Middleware, Stack, TrustedHost } from "effect-middleware"
import { assertLinear } from "./internal/hostile.js"
import { mounts, send } from "./utils/TestApp.js"

describe("policy", () => {
  const summary = (decision: TrustedHost.Decision) =>
    decision._tag === "Reject" ? decision.reason : decision._tag === "Redirect" ? decision.location : decision._tag

  const decide = (options: TrustedHost.Options, facts: Partial<TrustedHost.Facts>) =>
    summary(TrustedHost.policy(options)({ host: undefined, target: "/", ...facts }))

  describe("hosts", () => {
    const options: TrustedHost.Options = {
      hosts: [
        "example.com",
        "*.example.com",
        "example.org:8443",
        "*.example.net:9000",
        "secure.test:443",
        "plain.test:80",
        "two.test:1",
        "two.test:2",
        "bücher.example",
        "*.bücher.example",
        "bücher.ελ",
        "web1",
        "127.0.0.1",
        "[2001:DB8::1]",
        "[::1]:3000",
        "EXAMPLE.edu.",
        "my_service"
      ]
    }

    it.each<[rule: string, host: string | undefined, expected: string]>([
      ["the name itself", "example.com", "Allow"],
      ["any port", "example.com:8443", "Allow"],
      ["an empty port", "example.com:", "Allow"],
      ["any case", "EXAMPLE.com", "Allow"],
      ["a fully qualified name", "example.com.", "Allow"],
      ["a pattern in any case, fully qualified", "example.edu", "Allow"],
      ["a name with an underscore", "my_service:80", "Allow"],
      ["a subdomain", "a.example.com", "Allow"],
      ["a subdomain at any depth", "a.b.c.example.com:1", "Allow"],
      ["the port of the pattern", "example.org:8443", "Allow"],
      ["the port of a wildcard", "a.example.net:9000", "Allow"],
      ["no port for 443", "secure.test", "Allow"],
      ["443 for 443", "secure.test:443", "Allow"],
      ["no port for 80", "plain.test", "Allow"],
      ["one of two ports", "two.test:1", "Allow"],
      ["the other of two ports", "two.test:2", "Allow"],
      ["a converted name", "xn--bcher-kva.example", "Allow"],
      ["a subdomain of a converted name", "a.xn--bcher-kva.example", "Allow"],
      ["a converted name, to its last letter", "xn--bcher-kva.xn--qxam", "Allow"],
      ["a name that ends in a digit", "web1", "Allow"],
      ["a listed address", "127.0.0.1:3000", "Allow"],
      ["a listed IPv6 address", "[2001:db8::1]", "Allow"],
      ["a listed IPv6 address in another notation", "[2001:0DB8:0:0:0:0:0:1]:80", "Allow"],
      ["a listed IPv6 address with its port", "[::1]:3000", "Allow"],

      ["no header", undefined, "missing"],
      ["an empty header", "", "missing"],
      ["another name", "evil.test", "untrusted"],
      ["a trusted name used as a prefix", "example.com.evil.test", "untrusted"],
      ["a trusted subdomain used as a prefix", "a.example.com.evil.test", "untrusted"],
      ["a trusted name used as a suffix", "evilexample.com", "untrusted"],
      ["another character for the dot (CVE-2026-25479)", "exampleXcom", "untrusted"],
      ["the apex of a wildcard alone", "example.net:9000", "untrusted"],
      ["another port", "example.org:443", "untrusted"],
      ["no port", "example.org", "untrusted"],
      ["another port of a wildcard", "a.example.net", "untrusted"],
      ["80 for 443", "secure.test:80", "untrusted"],
      ["another port for 80", "plain.test:8080", "untrusted"],
      ["a third port", "two.test:3", "untrusted"],
      ["another address", "127.0.0.2", "untrusted"],
      ["another IPv6 address", "[::2]:3000", "untrusted"],
      ["another port of an address", "[::1]", "untrusted"],
      ["a mapped address for an IPv4 one", "[::ffff:127.0.0.1]", "untrusted"],
      ["an object's own", "constructor", "untrusted"],

      ["user info before a trusted name", "evil@a.example.com", "malformed"],
      ["user info that is a trusted name (CVE-2026-27959)", "example.com:fake@evil.test", "malformed"],
      ["a path (Starlette before 1.0.1)", "example.com/admin?", "malformed"],
      ["a path that ends in a trusted name", "evil.test/.example.com", "malformed"],
      ["a fragment that ends in a trusted name", "evil.test#.example.com", "malformed"],
      ["a zero (CVE-2026-34835)", "example.com\0", "malformed"],
      ["a space (CVE-2026-34835)", "example.com .example.com", "malformed"],
      ["a comma, as joined fields have", "example.com, example.com", "malformed"],
      ["a port that is not a number", "example.com:evil", "malformed"],
      ["a short address", "127.1", "malformed"],
      ["an address as a number", "2130706433", "malformed"],
      ["an octet beyond 255", "127.0.0.256", "malformed"],
      ["an IPv6 address without brackets", "2001:db8::1", "malformed"],
      ["a name in another script", "bücher.example", "malformed"],
      ["a star", "*.example.com", "malformed"],
      ["two dots", "a..example.com", "malformed"],
      ["a dot before it", ".example.com", "malformed"]
    ])("%s: %j -> %s", (_, host, expected) => {
      assert.strictEqual(decide(options, { host }), expected)
    })

    it.prop("a wildcard needs its dot", [FastCheck.domain()], ([prefix]) => {
      FastCheck.pre(prefix.length < 230)
      assert.strictEqual(decide(options, { host: `${prefix}.example.com` }), "Allow")
      assert.strictEqual(decide(options, { host: `${prefix}example.com` }), "untrusted")
      assert.strictEqual(decide(options, { host: `example.com.${prefix}` }), "untrusted")
    })

    it.prop("only what is listed is allowed", [FastCheck.string({ unit: "binary" })], ([text]) => {
      for (const host of [text, `${text}example.com`, `example.com${text}`, `example.com:${text}`]) {
        if (decide({ hosts: ["example.com"] }, { host }) !== "Allow") continue
        assert.match(host, /^example\.com\.?(?::\d{0,5})?$/i)
      }
    })
  })

  describe("several hosts", () => {
    const options: TrustedHost.Options = { hosts: ["a.test", "b.test:8080"] }

    it.each<[rule: string, facts: Partial<TrustedHost.Facts>, expected: string]>([
      ["one Host is right", { host: "a.test", hostCount: 1 }, "Allow"],
      ["two are not", { host: "a.test", hostCount: 2 }, "duplicate"],
      ["nor with an absolute target", { host: "a.test", hostCount: 2, target: "http://a.test/" }, "duplicate"],
      ["none is missing", { hostCount: 0 }, "missing"],
      ["an absolute target is the host", { target: "http://a.test/x" }, "Allow"],
      ["an absolute target with an empty Host is the host", { host: "", target: "http://a.test/x" }, "Allow"],
      ["an absolute target takes the place of Host", { host: "a.test", target: "http://evil.test/" }, "untrusted"],
      ["a port in an absolute target counts", { host: "a.test", target: "http://b.test:81/" }, "untrusted"],
      ["a Host beside an absolute target is trusted too", { host: "evil.test", target: "http://a.test/" }, "untrusted"],
      ["two trusted ones are right", { host: "b.test:8080", target: "http://a.test/" }, "Allow"],
      [
        "a malformed Host beside an absolute target is refused",
        { host: "a@a.test", target: "http://a.test/" },
        "malformed"
      ],
      ["a malformed absolute target is refused", { host: "a.test", target: "http://a.test@evil.test/" }, "malformed"],
      [
        "a backslash in an absolute target is refused",
        { host: "a.test", target: "http://a.test\\@evil.test/" },
        "malformed"
      ],
      ["a target without an authority is refused", { host: "a.test", target: "http:///x" }, "malformed"],
      ["a target of another scheme is refused", { host: "a.test", target: "ftp://a.test/" }, "malformed"],
      ["a target that is no target is refused", { host: "a.test", target: "\\\\evil.test" }, "malformed"],
      ["a URL in the query is no absolute target", { host: "a.test", target: "/?u=http://evil.test/" }, "Allow"],
      ["two slashes are a path", { host: "a.test", target: "//evil.test/" }, "Allow"],
      ["* has the Host", { host: "a.test", target: "*" }, "Allow"],
      ["* needs a Host", { target: "*" }, "missing"],
      ["authority-form is the host", { target: "b.test:8080" }, "Allow"],
      ["authority-form takes the place of Host", { host: "a.test", target: "evil.test:443" }, "untrusted"]
    ])("%s", (_, facts, expected) => {
      assert.strictEqual(decide(options, facts), expected)
    })
  })

  describe("canonical", () => {
    type Row = [rule: string, hosts: TrustedHost.Options["hosts"], facts: Partial<TrustedHost.Facts>, expected: string]

    it.each<Row>([
      [
        "a listed name goes to its listed www",
        ["example.com", "www.example.com"],
        { host: "example.com" },
        "//www.example.com/"
      ],
      ["www stays", ["example.com", "www.example.com"], { host: "www.example.com" }, "Allow"],
      ["a name trusted only under www goes there", ["www.example.com"], { host: "example.com" }, "//www.example.com/"],
      [
        "a listed name goes to a www under its own wildcard",
        ["example.com", "*.example.com"],
        { host: "example.com" },
        "//www.example.com/"
      ],
      ["a name under a wildcard stays", ["example.com", "*.example.com"], { host: "api.example.com" }, "Allow"],
      ["a listed name under another's wildcard stays", ["example.com", "*.example.com", "api.example.com"], {
        host: "api.example.com"
      }, "Allow"],
      [
        "the apex of a wildcard alone stays out",
        ["*.example.com", "www.other.test"],
        { host: "example.com" },
        "untrusted"
      ],
      ["another name stays out", ["www.example.com"], { host: "evil.test" }, "untrusted"],
      ["a name that ends in a listed one stays out", ["www.example.com"], { host: "evilexample.com" }, "untrusted"],
      ["a port stays", ["www.example.com"], { host: "example.com:8080" }, "//www.example.com:8080/"],
      ["a name has one spelling", ["www.example.com"], { host: "EXAMPLE.com." }, "//www.example.com/"],
      ["a port that www does not have stays out", ["www.example.com:8443"], { host: "example.com:8080" }, "untrusted"],
      ["a port that www does not have is served where it is trusted", ["example.com", "www.example.com:8443"], {
        host: "example.com:8080"
      }, "Allow"],
      [
        "a port that www has goes there",
        ["www.example.com:8443"],
        { host: "example.com:8443" },
        "//www.example.com:8443/"
      ],
      [
        "path and query stay",
        ["www.example.com"],
        { host: "example.com", target: "/a%2F/../b?c=d&e" },
        "//www.example.com/a%2F/../b?c=d&e"
      ],
      [
        "two slashes are no authority",
        ["www.example.com"],
        { host: "example.com", target: "//evil.test/" },
        "//www.example.com//evil.test/"
      ],
      [
        "a backslash is no authority",
        ["www.example.com"],
        { host: "example.com", target: "/\\evil.test" },
        "//www.example.com/\\evil.test"
      ],
      [
        "a line feed is no header",
        ["www.example.com"],
        { host: "example.com", target: "/\r\na: b" },
        "//www.example.com/%0D%0Aa:%20b"
      ],
      ["nor is any other byte", ["www.example.com"], { host: "example.com", target: "/\xff" }, "//www.example.com/%FF"],
      [
        "an absolute target loses its authority",
        ["www.example.com"],
        { target: "http://example.com/a?b" },
        "//www.example.com/a?b"
      ],
      [
        "and its Host may be the same",
        ["www.example.com"],
        { host: "example.com", target: "http://example.com/" },
        "//www.example.com/"
      ],
      ["but no other", ["www.example.com"], { host: "evil.test", target: "http://example.com/" }, "untrusted"],
      [
        "nor with another port",
        ["www.example.com"],
        { host: "example.com:1", target: "http://example.com/" },
        "untrusted"
      ],
      ["* leads to the root", ["www.example.com"], { host: "example.com", target: "*" }, "//www.example.com/"],
      ["an address stays", ["127.0.0.1", "www.example.com"], { host: "127.0.0.1" }, "Allow"],
      ["two hosts are refused first", ["www.example.com"], { host: "example.com", hostCount: 2 }, "duplicate"]
    ])("www: %s", (_, hosts, facts, expected) => {
      assert.strictEqual(decide({ hosts, canonical: "www" }, facts), expected)
    })

    it.each<Row>([
      [
        "www goes to the listed name",
        ["example.com", "www.example.com"],
        { host: "www.example.com" },
        "//example.com/"
      ],
      ["a www that is not listed goes there", ["example.com"], { host: "www.example.com" }, "//example.com/"],
      ["a www under the wildcard goes there", ["example.com", "*.example.com"], {
        host: "www.example.com:8080",
        target: "/a?b"
      }, "//example.com:8080/a?b"],
      ["the name stays", ["example.com"], { host: "example.com" }, "Allow"],
      [
        "a www of a name under a wildcard stays",
        ["example.com", "*.example.com"],
        { host: "www.api.example.com" },
        "Allow"
      ],
      [
        "a www of www is no name of yours",
        ["example.com", "www.example.com"],
        { host: "www.www.example.com" },
        "untrusted"
      ],
      ["another www stays out", ["example.com"], { host: "www.evil.test" }, "untrusted"],
      ["a www of a wildcard's apex stays", ["example.org", "*.example.com"], { host: "www.example.com" }, "Allow"],
      ["a www of an address stays out", ["127.0.0.1", "example.com"], { host: "www.127.0.0.1" }, "malformed"]
    ])("apex: %s", (_, hosts, facts, expected) => {
      assert.strictEqual(decide({ hosts, canonical: "apex" }, facts), expected)
    })

    it("without it, nothing is redirected", () => {
      const hosts = ["example.com", "www.example.com"] as const
      assert.strictEqual(decide({ hosts }, { host: "example.com" }), "Allow")
      assert.strictEqual(decide({ hosts }, { host: "www.example.com" }), "Allow")
    })

    it("a redirect names its authority", () => {
      const decision = TrustedHost.policy({ hosts: ["www.example.com"], canonical: "www" })({
        host: "example.com:81",
        target: "/"
      })
      assert.deepStrictEqual(decision, {
        _tag: "Redirect",
        authority: "www.example.com:81",
        location: "//www.example.com:81/"
      })
    })

    const targets = FastCheck.oneof(FastCheck.string({ unit: "binary" }), FastCheck.webUrl(), FastCheck.webPath())

    it.prop("a redirect leads to a host that is served, and no further", [
      targets,
      FastCheck.constantFrom("", ":81", ":")
    ], ([target, port]) => {
      const policy = TrustedHost.policy({ hosts: ["example.com", "*.example.com"], canonical: "www" })
      for (const path of [target, `/${target}`, `//${target}`, `http://example.com${target}`]) {
        const decision = policy({ host: `example.com${port}`, target: path })
        if (decision._tag !== "Redirect") continue
        const url = new URL(decision.location, "http://here.test/")
        assert.strictEqual(url.hostname, "www.example.com")
        assert.strictEqual(url.host, decision.authority)
        assert.strictEqual(policy({ host: url.host, target: url.pathname + url.search })._tag, "Allow")
      }
    })
  })

  describe("mistakes", () => {
    it.each<[rule: string, pattern: string, message: RegExp]>([
      ["everything", "*", /hosts has "\*": .*leave the middleware out/],
      ["a star without its dot", "*example.com", /write "example\.com"/],
      ["a star in the middle", "a.*.com", /write/],
      ["two stars", "*.*.com", /write/],
      ["a star alone under its dot", "*.", /write/],
      ["a star over an address", "*.127.0.0.1", /write/],
      ["a star over an IPv6 address", "*.[::1]", /write/],
      ["a leading dot", ".example.com", /write "\*\.example\.com"/],
      ["a URL", "http://example.com", /write the host alone/],
      ["a path", "example.com/a", /write the host alone/],
      ["user info", "user@example.com", /write/],
      ["an IPv6 address without brackets", "::1", /"\[::1\]" for IPv6/],
      ["a short address", "127.1", /write/],
      ["a port that is none", "example.com:http", /write/],
      ["a port that is a star", "example.com:*", /write/],
      ["a space", " example.com", /write/],
      ["another script with a path", "bücher.example/x", /write the host alone/],
      ["a regular expression", "^example\\.com$", /write/],
      ["nothing", "", /hosts has ""/]
    ])("throws on %s, and says what to write: %j", (_, pattern, message) => {
      assert.throws(() => TrustedHost.policy({ hosts: ["example.com", pattern] }), TypeError, message)
    })

    it("throws on no hosts", () => {
      const hosts: ReadonlyArray<string> = []
      assert.throws(
        () => TrustedHost.policy({ hosts: hosts as TrustedHost.Options["hosts"] }),
        TypeError,
        /list the hosts/
      )
    })

    it.each<[rule: string, options: TrustedHost.Options, message: RegExp]>([
      ["www without one", { hosts: ["example.com"], canonical: "www" }, /list "www\.example\.com"/],
      ["www of a wildcard alone", { hosts: ["*.example.com"], canonical: "www" }, /redirects nothing/],
      ["www of an address", { hosts: ["127.0.0.1"], canonical: "www" }, /redirects nothing/],
      ["apex without one", { hosts: ["www.example.com", "*.example.com"], canonical: "apex" }, /list "example\.com"/],
      ["apex of an address", { hosts: ["[::1]"], canonical: "apex" }, /redirects nothing/]
    ])("throws on a canonical that redirects nothing: %s", (_, options, message) => {
      assert.throws(() => TrustedHost.policy(options), TypeError, message)
    })
  })

  it("is linear", () => {
    const policy = TrustedHost.policy({ hosts: ["www.example.com", "*.example.com"], canonical: "www" })
    assertLinear((host) => policy({ host, target: "/" }))
    assertLinear((target) => policy({ host: "example.com", target }))
    assertLinear((path) => policy({ host: "example.com", target: `/${path}` }))
  })
})

describe("middleware", () => {
  const ok = HttpServerResponse.text("ok")
  const trusted = TrustedHost.middleware({ hosts: ["www.example.com"], canonical: "www" })

  describe.each(mounts)("$name", ({ mount }) => {
    it.scoped("passes, redirects and refuses", () =>
      Effect.gen(function*() {
        const request = yield* mount(ok, trusted)
        const passed = yield* request({ headers: { host: "www.example.com" } })
        assert.deepStrictEqual([passed.status, passed.body], [200, "ok"])
        const redirected = yield* request({ path: "/a?b=c", headers: { host: "example.com:8080" } })
        assert.deepStrictEqual(
          [redirected.status, redirected.headers.location],
          [308, "//www.example.com:8080/a?b=c"]
        )
        const refused = yield* request({ headers: { host: "evil.test" } })
        assert.strictEqual(refused.status, 400)
        assert.strictEqual(refused.headers["content-type"], "application/problem+json")
        assert.deepStrictEqual(JSON.parse(refused.body), {
          title: "Bad Request",
          status: 400,
          detail: "The Host header names no host of this server"
        })
      }))
  })

  // Node's request has them: name, value, name, value
  it.effect.each<[what: string, rawHeaders: unknown, status: number]>([
    ["one", ["Host", "www.example.com", "User-Agent", "x"], 200],
    ["two", ["Host", "www.example.com", "HOST", "evil.test"], 400],
    [
      "one beside another name of its length, and values",
      ["Host", "www.example.com", "From", "host", "x", "host"],
      200
    ],
    ["none", [], 200],
    ["what is no name", [null, "a", 1, "b", "host", "www.example.com"], 200],
    ["what is no list", { length: 4, 0: "host", 2: "host" }, 200]
  ])("counts the Host headers as received: %s", ([_, rawHeaders, status]) =>
    Effect.gen(function*() {
      const raw = Middleware.make({
        name: "Raw",
        request: ({ request }) => void Object.assign(request.source as object, { rawHeaders })
      })
      const reply = yield* send(Stack.make(raw, trusted)(ok), { headers: { host: "www.example.com" } })
      assert.strictEqual(reply.status, status)
    }))

  it.effect("reads the :authority of HTTP/2 where there is no Host", () =>
    Effect.gen(function*() {
      for (const [host, status] of [["www.example.com", 200], ["evil.test", 400]] as const) {
        const second = Middleware.make({
          name: "Second",
          request: (exchange) => exchange.deriveRequest({ headers: Headers.fromInput({ ":authority": host }) })
        })
        assert.strictEqual((yield* send(Stack.make(second, trusted)(ok))).status, status)
      }
    }))

  it.effect("refuses without running the app, and with one answer for every reason", () =>
    Effect.gen(function*() {
      const app = trusted(Effect.dieMessage("the app ran"))
      const bodies = new Set<string>()
      for (const host of ["evil.test", "www.example.com:x", "", "www.example.com, www.example.com"]) {
        const { body, status } = yield* send(app, { headers: { host } })
        assert.strictEqual(status, 400)
        bodies.add(body)
      }
      assert.strictEqual(bodies.size, 1)
    }))

  it.effect("a refusal is a failure to handle, and knows why", () =>
    Effect.gen(function*() {
      const handled = Stack.make(
        ExceptionHandlers.byTag({
          UntrustedHost: (error: TrustedHost.UntrustedHost) => HttpServerResponse.text(error.message, { status: 421 })
        }),
        trusted
      )
      const { body, status } = yield* send(handled(ok), { headers: { host: "evil.test" } })
      assert.deepStrictEqual([status, body], [421, "The Host header is untrusted"])
    }))

  it("a refusal has a schema, and never what the client sent", () => {
    const error = new TrustedHost.UntrustedHost({ reason: "malformed" })
    assert.deepStrictEqual(Schema.encodeSync(TrustedHost.UntrustedHost)(error), {
      _tag: "UntrustedHost",
      reason: "malformed"
    })
    assert.strictEqual(TrustedHost.UntrustedHost.identifier, "effect-middleware/TrustedHost/UntrustedHost")
    assert.strictEqual(HttpApiSchema.getStatusError(TrustedHost.UntrustedHost), 400)
  })

  it("has the name that it is given", () => {
    assert.strictEqual(TrustedHost.middleware({ hosts: ["example.com"] }).name, "TrustedHost")
    assert.strictEqual(TrustedHost.middleware({ hosts: ["example.com"], name: "Canonical" }).name, "Canonical")
  })

  it.effect("reads the host of the client behind a proxy, if it is told to", () =>
    Effect.gen(function*() {
      const stack = (source: "client" | "header") =>
        Stack.make(
          Forwarded.middleware({ trust: { hops: 1 } }),
          TrustedHost.middleware({ hosts: ["example.com"], source })
        )
      const headers = { host: "app.internal", "x-forwarded-for": "203.0.113.9", "x-forwarded-host": "example.com" }
      assert.strictEqual((yield* send(stack("client")(ok), { headers })).status, 200)
      assert.strictEqual((yield* send(stack("header")(ok), { headers })).status, 400)
      const forged = { ...headers, "x-forwarded-host": "evil.test" }
      assert.strictEqual((yield* send(stack("client")(ok), { headers: forged })).status, 400)
    }))

  it.effect("never reads X-Forwarded-Host itself", () =>
    Effect.gen(function*() {
      const headers = { host: "", "x-forwarded-host": "www.example.com" }
      assert.strictEqual((yield* send(trusted(ok), { headers })).status, 400)
    }))
})
