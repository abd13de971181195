import { Headers, HttpApp, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck } from "effect"
import { Forwarded, Middleware, Stack } from "effect-middleware"
import { assertLinear } from "./internal/hostile.js"
import { mounts, send } from "./utils/TestApp.js"

describe("policy", () => {
  interface Request extends Partial<Omit<Forwarded.Facts, "header">> {
    readonly headers?: Readonly<Record<string, string>>
  }

  const facts = ({ headers = {}, ...rest }: Request): Forwarded.Facts => ({
    peer: "10.0.0.1",
    target: "/",
    host: "example.com",
    ...rest,
    header: (name) => headers[name]
  })

  const identify = (options: Forwarded.Options, request: Request) => Forwarded.policy(options)(facts(request))

  const proxies: Forwarded.Options = { trust: { proxies: ["10.0.0.0/8", "2001:db8::/32"] } }
  const forwarded: Forwarded.Options = { ...proxies, header: "forwarded" }
  const hops = (hops: number): Forwarded.Options => ({ trust: { hops } })

  const direct: Forwarded.ClientInfo = {
    address: "10.0.0.1",
    scheme: "http",
    schemeKnown: true,
    host: "example.com",
    hostname: "example.com",
    port: undefined,
    prefix: undefined,
    proxied: false,
    chain: []
  }
  const proxied: Forwarded.ClientInfo = { ...direct, proxied: true, schemeKnown: false }

  const forged = {
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "evil.test",
    "x-forwarded-port": "8443",
    "x-forwarded-prefix": "/evil",
    "forwarded": "for=127.0.0.1;proto=https;host=evil.test",
    "x-real-ip": "127.0.0.1"
  }

  describe("the connection", () => {
    it.each<[rule: string, request: Request, expected: Partial<Forwarded.ClientInfo>]>([
      ["the peer is the client", {}, {}],
      ["an address has one spelling", { peer: "2001:DB8:0::0001" }, { address: "2001:db8::1" }],
      ["a mapped address is IPv4", { peer: "::ffff:10.0.0.1" }, {}],
      ["a link-local peer loses its zone", { peer: "fe80::1%eth0" }, { address: "fe80::1" }],
      ["a peer without an address is nobody", { peer: undefined }, { address: undefined }],
      ["what is no address is nobody", { peer: "unix:/run/app.sock" }, { address: undefined }],
      ["TLS is https", { encrypted: true }, { scheme: "https" }],
      ["a host is lower case", { host: "EXAMPLE.com." }, {}],
      ["a port stays", { host: "example.com:8080" }, { host: "example.com:8080", port: 8080 }],
      ["the default port of http goes", { host: "example.com:80" }, {}],
      ["the default port of https goes", { host: "example.com:443", encrypted: true }, { scheme: "https" }],
      ["the default port of another scheme stays", { host: "example.com:443" }, { host: "example.com:443", port: 443 }],
      ["an IPv6 literal keeps its brackets", { host: "[::1]:3000" }, {
        host: "[::1]:3000",
        hostname: "[::1]",
        port: 3000
      }],
      ["no host is none", { host: undefined }, { host: undefined, hostname: undefined }],
      ["a malformed host is none", { host: "x/admin?" }, { host: undefined, hostname: undefined }],
      ["an absolute target takes the place of the host", { target: "http://a.test:81/x" }, {
        host: "a.test:81",
        hostname: "a.test",
        port: 81
      }],
      ["the scheme of an absolute target is not the connection's", { target: "https://example.com/" }, {}],
      ["a malformed target has no host", { target: "http://good@evil.test/" }, { host: undefined, hostname: undefined }]
    ])("%s", (_, request, expected) => {
      assert.deepStrictEqual(identify({ trust: "none" }, request), { ...direct, ...expected })
    })
  })

  describe("who is believed", () => {
    it.each<[rule: string, options: Forwarded.Options, request: Request]>([
      ["nobody, with trust: none", { trust: "none" }, {}],
      ["nobody, with trust: none and the other family", { trust: "none", header: "forwarded" }, {}],
      ["no peer that is not listed", { trust: { proxies: ["10.0.0.2"] } }, {}],
      ["no peer that is not listed, by Forwarded", { trust: { proxies: ["10.0.0.2"] }, header: "forwarded" }, {}],
      ["no peer outside the range", { trust: { proxies: ["10.0.0.2/31"] } }, {}],
      ["no IPv4 peer in an IPv6 range", { trust: { proxies: ["2001:db8::/32"] } }, {}],
      ["no peer without an address", proxies, { peer: undefined }],
      ["no peer without an address, with unixSocket: false", {
        trust: { proxies: ["10.0.0.0/8"], unixSocket: false }
      }, { peer: undefined }],
      ["no peer that has an address, with a unix socket alone", { trust: { proxies: [], unixSocket: true } }, {}]
    ])("%s", (_, options, request) => {
      assert.deepStrictEqual(identify(options, { ...request, headers: forged }), {
        ...direct,
        address: request.peer === undefined && "peer" in request ? undefined : direct.address
      })
    })

    it.each<[rule: string, options: Forwarded.Options, peer: string | undefined, proxy: string]>([
      ["a peer in the range", { trust: { proxies: ["10.0.0.0/8"] } }, "10.0.0.1", "10.0.0.1"],
      [
        "a peer in the range, in the notation of a dual-stack socket",
        { trust: { proxies: ["10.0.0.0/8"] } },
        "::ffff:10.0.0.1",
        "10.0.0.1"
      ],
      ["a peer in the range, by its bits", { trust: { proxies: ["10.0.0.0/8"] } }, "0:0:0:0:0:FFFF:A00:1", "10.0.0.1"],
      ["a peer in the mapped range", { trust: { proxies: ["::ffff:10.0.0.0/104"] } }, "10.0.0.1", "10.0.0.1"],
      ["a peer that is listed", { trust: { proxies: ["2001:db8::1"] } }, "2001:0DB8::1", "2001:db8::1"],
      ["a peer in a named range", { trust: { proxies: ["loopback"] } }, "::1", "::1"],
      ["a peer in one of several", { trust: { proxies: ["loopback", "private"] } }, "192.168.1.1", "192.168.1.1"],
      ["a unix socket, when it is said", { trust: { proxies: [], unixSocket: true } }, undefined, "unknown"],
      ["any peer, by hops", hops(1), "203.0.113.1", "203.0.113.1"],
      ["a unix socket, by hops", hops(1), undefined, "unknown"]
    ])("%s is", (_, options, peer, proxy) => {
      const client = identify(options, {
        peer,
        headers: { "x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https", "x-forwarded-host": "app.test" }
      })
      assert.deepStrictEqual(client, {
        ...direct,
        address: "203.0.113.9",
        scheme: "https",
        host: "app.test",
        hostname: "app.test",
        proxied: true,
        chain: [proxy]
      })
    })

    it("a trusted peer that says nothing is the client", () => {
      assert.deepStrictEqual(identify(proxies, {}), proxied)
      assert.deepStrictEqual(identify(hops(2), {}), proxied)
    })

    it("the other family is never read", () => {
      const { "forwarded": _, ...x } = forged
      assert.deepStrictEqual(identify(forwarded, { headers: x }), proxied)
      assert.deepStrictEqual(identify(proxies, { headers: { forwarded: forged.forwarded } }), proxied)
    })

    it("an address that someone else has chosen is never read", () => {
      const headers = Object.fromEntries(Forwarded.hiddenHeaders.map((name) => [name, "1.2.3.4"]))
      const { "x-forwarded-for": _, ...rest } = headers
      assert.strictEqual(identify(proxies, { headers: rest }).address, "10.0.0.1")
      assert.strictEqual(identify({ trust: "none" }, { headers }).address, "10.0.0.1")
    })
  })

  describe("the walk", () => {
    it.each<
      [
        rule: string,
        options: Forwarded.Options,
        list: string,
        address: string | undefined,
        chain: ReadonlyArray<string>
      ]
    >([
      ["a client is what the proxy has seen", proxies, "203.0.113.9", "203.0.113.9", ["10.0.0.1"]],
      ["the left-most entry is not the client", proxies, "127.0.0.1, 203.0.113.9", "203.0.113.9", ["10.0.0.1"]],
      ["nor is a trusted address behind the client", proxies, "10.0.0.9, 203.0.113.9", "203.0.113.9", ["10.0.0.1"]],
      ["trusted proxies are peeled", proxies, "203.0.113.9, 10.0.0.3, 2001:db8::7", "203.0.113.9", [
        "10.0.0.3",
        "2001:db8::7",
        "10.0.0.1"
      ]],
      ["a client may be in the range of the proxies", proxies, "10.9.9.9", "10.9.9.9", ["10.0.0.1"]],
      ["a proxy is peeled in any notation", proxies, "203.0.113.9, ::FFFF:a00:2", "203.0.113.9", [
        "10.0.0.2",
        "10.0.0.1"
      ]],
      ["a port is no part of a client", proxies, "203.0.113.9:5678, [2001:db8::7]:443", "203.0.113.9", [
        "2001:db8::7",
        "10.0.0.1"
      ]],
      ["a client has one spelling", proxies, "2001:DB9:0:0::1", "2001:db9::1", ["10.0.0.1"]],
      ["a mapped client is IPv4", proxies, "::ffff:102:304", "1.2.3.4", ["10.0.0.1"]],
      ["what is malformed ends it at the peer", proxies, "203.0.113.9, evil", "10.0.0.1", []],
      ["what is malformed ends it at the last good one", proxies, "203.0.113.9, 1.2.3.256, 10.0.0.2", "10.0.0.2", [
        "10.0.0.1"
      ]],
      ["what is empty ends it", proxies, "203.0.113.9,, 10.0.0.2", "10.0.0.2", ["10.0.0.1"]],
      ["a zone ends it", proxies, "fe80::1%eth0", "10.0.0.1", []],
      ["what is malformed behind the client is not met", proxies, "evil, 203.0.113.9", "203.0.113.9", ["10.0.0.1"]],
      ["unknown is nobody", proxies, "203.0.113.9, unknown, 10.0.0.2", undefined, ["10.0.0.2", "10.0.0.1"]],
      ["a hidden name is nobody", proxies, "203.0.113.9, _hidden", undefined, ["10.0.0.1"]],

      ["one hop is the right-most entry", hops(1), "127.0.0.1, 203.0.113.9", "203.0.113.9", ["10.0.0.1"]],
      ["two hops are two entries", hops(2), "127.0.0.1, 203.0.113.9, 198.51.100.1", "203.0.113.9", [
        "198.51.100.1",
        "10.0.0.1"
      ]],
      ["no entry is peeled beyond the hops", hops(1), "203.0.113.9, 10.0.0.2", "10.0.0.2", ["10.0.0.1"]],
      ["fewer entries than hops give the left-most", hops(3), "203.0.113.9, 198.51.100.1", "203.0.113.9", [
        "198.51.100.1",
        "10.0.0.1"
      ]],
      ["what is malformed ends hops", hops(3), "203.0.113.9, evil, 198.51.100.1", "198.51.100.1", ["10.0.0.1"]],
      ["unknown ends hops", hops(3), "203.0.113.9, unknown, 198.51.100.1", undefined, ["198.51.100.1", "10.0.0.1"]]
    ])("%s: %s", (_, options, list, address, chain) => {
      const client = identify(options, { headers: { "x-forwarded-for": list } })
      assert.deepStrictEqual(client, { ...proxied, address, chain })
    })

    it.each<[rule: string, value: string, address: string | undefined]>([
      ["an element names the client", "for=203.0.113.9", "203.0.113.9"],
      ["the left-most element is not the client", "for=127.0.0.1, for=203.0.113.9", "203.0.113.9"],
      ["trusted proxies are peeled", "for=203.0.113.9, for=10.0.0.2;by=10.0.0.1", "203.0.113.9"],
      ["quotes, brackets and a port", "for=\"[2001:db9::1]:4711\"", "2001:db9::1"],
      ["a semicolon in quotes adds nothing (CVE-2026-32762)", "for=\"203.0.113.9;host=evil.test\"", "10.0.0.1"],
      ["quotes that a client opens swallow nothing", "for=\"127.0.0.1, for=203.0.113.9", "203.0.113.9"],
      ["an element that names nobody", "for=203.0.113.9, proto=https", undefined],
      ["a hidden name", "for=203.0.113.9, for=_hidden", undefined],
      ["unknown", "for=unknown", undefined],
      ["a malformed element", "for=203.0.113.9, for=", "10.0.0.1"],
      ["a malformed node", "for=203.0.113.9, for=evil", "10.0.0.1"],
      ["a hidden name that something precedes", "for=203.0.113.9, for=evil_hidden", "10.0.0.1"],
      ["an address that something precedes", "for=\"evil[2001:db9::1]\"", "10.0.0.1"],
      ["the last port", "for=\"203.0.113.9:65535\"", "203.0.113.9"],
      ["a node without quotes", "for=203.0.113.9:80", "10.0.0.1"]
    ])("Forwarded, %s: %s", (_, value, address) => {
      assert.strictEqual(identify(forwarded, { headers: { forwarded: value } }).address, address)
    })

    const addresses = FastCheck.array(FastCheck.oneof(FastCheck.ipV4(), FastCheck.ipV6()), { maxLength: 6 })
    const sent = FastCheck.oneof(FastCheck.string({ unit: "binary" }), addresses.map((all) => all.join(", ")))

    it.prop("nothing a client sends changes who it is", [sent], ([text]) => {
      const added = { "x-forwarded-for": `${text}, 203.0.113.9, 10.0.0.2` }
      for (const options of [proxies, hops(2)]) {
        assert.strictEqual(identify(options, { headers: added }).address, "203.0.113.9")
      }
      assert.strictEqual(
        identify(forwarded, { headers: { forwarded: `${text}, for=203.0.113.9, for=10.0.0.2` } }).address,
        "203.0.113.9"
      )
    })

    it.prop("with hops it is that many from the right, as in Express", [
      addresses,
      FastCheck.integer({ min: 1, max: 8 })
    ], ([all, count]) => {
      const client = identify(hops(count), { headers: { "x-forwarded-for": all.join(",") } })
      const parties = [...all, "10.0.0.1"]
      const expected = parties[Math.max(0, parties.length - 1 - count)] ?? ""
      assert.strictEqual(client.address, identify({ trust: "none" }, { peer: expected }).address)
      assert.strictEqual(client.chain.length, Math.min(count, all.length))
    })

    it("a list longer than 100 still names the client at its right", () => {
      const long = `${"1.2.3.4, ".repeat(200)}203.0.113.9, 10.0.0.2`
      assert.strictEqual(identify(proxies, { headers: { "x-forwarded-for": long } }).address, "203.0.113.9")
    })

    it("and the 101st from the right is malformed", () => {
      const list = (count: number) => ({ "x-forwarded-for": `203.0.113.9${", 10.0.0.7".repeat(count)}` })
      assert.strictEqual(identify(proxies, { headers: list(99) }).address, "203.0.113.9")
      assert.strictEqual(identify(proxies, { headers: list(100) }).address, "10.0.0.7")
    })
  })

  describe("what else the proxy says", () => {
    const schemeOf = (client: Forwarded.ClientInfo) => client.schemeKnown ? client.scheme : `${client.scheme}?`
    const all = { ...proxies, fields: ["proto", "host", "port", "prefix"] } as const

    it.each<[rule: string, headers: Readonly<Record<string, string>>, scheme: string]>([
      ["one value", { "x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https" }, "https"],
      ["in any case", { "x-forwarded-proto": " HTTPS " }, "https"],
      ["without an X-Forwarded-For", { "x-forwarded-proto": "https" }, "https"],
      ["of a WebSocket", { "x-forwarded-proto": "wss" }, "https"],
      [
        "one value for a longer list",
        { "x-forwarded-for": "203.0.113.9, 10.0.0.2", "x-forwarded-proto": "https" },
        "https"
      ],
      [
        "the client's, of as many",
        { "x-forwarded-for": "203.0.113.9, 10.0.0.2", "x-forwarded-proto": "https, http" },
        "https"
      ],
      ["not a proxy's", { "x-forwarded-for": "203.0.113.9, 10.0.0.2", "x-forwarded-proto": "http, https" }, "http"],
      ["not what the client has sent itself", {
        "x-forwarded-for": "127.0.0.1, 203.0.113.9",
        "x-forwarded-proto": "https, http"
      }, "http"],
      [
        "none of fewer",
        { "x-forwarded-for": "1.2.3.4, 203.0.113.9, 10.0.0.2", "x-forwarded-proto": "https, https" },
        "http?"
      ],
      ["none of more", { "x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https, https" }, "http?"],
      ["none of several without an X-Forwarded-For", { "x-forwarded-proto": "https, https" }, "http?"],
      [
        "none at the place of the peer",
        { "x-forwarded-for": "203.0.113.9, evil", "x-forwarded-proto": "https, https" },
        "http?"
      ],
      ["none that is malformed", { "x-forwarded-proto": "https;evil" }, "http?"],
      ["none of another scheme", { "x-forwarded-proto": "javascript" }, "http?"],
      ["none that is empty", { "x-forwarded-proto": "" }, "http?"],
      ["none of an object's own", { "x-forwarded-proto": "constructor" }, "http?"]
    ])("X-Forwarded-Proto: %s: %j", (_, headers, scheme) => {
      assert.strictEqual(schemeOf(identify(proxies, { headers })), scheme)
    })

    it("none of a list too long to have a length", () => {
      const headers = {
        "x-forwarded-for": `${"1.2.3.4, ".repeat(150)}203.0.113.9`,
        "x-forwarded-proto": `${"https, ".repeat(120)}https`
      }
      assert.strictEqual(schemeOf(identify(proxies, { headers })), "http?")
    })

    it("http of an encrypted connection is http, and what is not stated is not known", () => {
      const over = (proto: string) =>
        schemeOf(identify(proxies, { encrypted: true, headers: { "x-forwarded-proto": proto } }))
      assert.deepStrictEqual([over("ws"), over("?")], ["http", "https?"])
    })

    it("a client that connects itself needs nobody to state it", () => {
      const direct = (encrypted: boolean) => schemeOf(identify({ trust: "none" }, { encrypted, headers: forged }))
      assert.deepStrictEqual([direct(false), direct(true)], ["http", "https"])
    })

    it.each<[rule: string, headers: Readonly<Record<string, string>>, host: string]>([
      ["one value", { "x-forwarded-host": "App.test" }, "app.test"],
      ["with a port", { "x-forwarded-host": "app.test:8080" }, "app.test:8080"],
      ["without the default port", { "x-forwarded-host": "app.test:443", "x-forwarded-proto": "https" }, "app.test"],
      ["the client's, of as many", {
        "x-forwarded-for": "203.0.113.9, 10.0.0.2",
        "x-forwarded-host": "app.test, inner"
      }, "app.test"],
      ["none of more", { "x-forwarded-for": "203.0.113.9", "x-forwarded-host": "evil.test, app.test" }, "example.com"],
      ["none that is malformed", { "x-forwarded-host": "good.com:fake@evil.test" }, "example.com"],
      ["none with a path", { "x-forwarded-host": "app.test/x" }, "example.com"]
    ])("X-Forwarded-Host: %s: %j", (_, headers, host) => {
      assert.strictEqual(identify(proxies, { headers }).host, host)
    })

    it("a host that comes from a trusted proxy needs no Host beside it, one from elsewhere is none", () => {
      const headers = { "x-forwarded-host": "app.test" }
      assert.strictEqual(identify(proxies, { host: undefined, headers }).host, "app.test")
      assert.strictEqual(identify(proxies, { host: undefined, headers, peer: "203.0.113.9" }).host, undefined)
    })

    it.each<[rule: string, headers: Readonly<Record<string, string>>, host: string, port: number | undefined]>([
      ["a port goes with the host", { "x-forwarded-port": "8443" }, "example.com:8443", 8443],
      [
        "a port in the host comes first",
        { "x-forwarded-host": "a.test:81", "x-forwarded-port": "82" },
        "a.test:81",
        81
      ],
      ["the default port goes", { "x-forwarded-port": "443", "x-forwarded-proto": "https" }, "example.com", undefined],
      [
        "the other scheme's port is none",
        { "x-forwarded-port": "80", "x-forwarded-proto": "https" },
        "example.com",
        undefined
      ],
      ["the last one", { "x-forwarded-port": "65535" }, "example.com:65535", 65535],
      ["a malformed port is none", { "x-forwarded-port": "8443x" }, "example.com", undefined],
      [
        "the client's, of as many",
        { "x-forwarded-for": "203.0.113.9, 10.0.0.2", "x-forwarded-port": "8443, 81" },
        "example.com:8443",
        8443
      ],
      ["none of more", { "x-forwarded-for": "203.0.113.9", "x-forwarded-port": "8443, 81" }, "example.com", undefined]
    ])("X-Forwarded-Port: %s: %j", (_, headers, host, port) => {
      const client = identify(all, { headers })
      assert.deepStrictEqual([client.host, client.port], [host, port])
    })

    it("a port without a host is none", () => {
      for (const request of [{ host: undefined }, { host: "a@b" }, { target: "ftp://a.test/" }]) {
        const { host, port } = identify(all, { ...request, headers: { "x-forwarded-port": "8443" } })
        assert.deepStrictEqual([host, port], [undefined, undefined])
      }
    })

    it.each<[rule: string, headers: Readonly<Record<string, string>>, prefix: string | undefined]>([
      ["a path", { "x-forwarded-prefix": "/app/" }, "/app"],
      ["none that is an authority", { "x-forwarded-prefix": "//evil.test" }, undefined],
      ["none of more", { "x-forwarded-for": "203.0.113.9", "x-forwarded-prefix": "/a, /b" }, undefined]
    ])("X-Forwarded-Prefix: %s: %j", (_, headers, prefix) => {
      assert.strictEqual(identify(all, { headers }).prefix, prefix)
    })

    it("only the fields that are named are read, by default the scheme and the host", () => {
      const { proxied: _, address: __, chain: ___, ...said } = identify(proxies, { headers: forged })
      assert.deepStrictEqual<unknown>(said, {
        scheme: "https",
        schemeKnown: true,
        host: "evil.test",
        hostname: "evil.test",
        port: undefined,
        prefix: undefined
      })
      const client = identify({ ...proxies, fields: [] }, { headers: forged })
      assert.deepStrictEqual(client, { ...proxied, address: "127.0.0.1", chain: ["10.0.0.1"] })
      assert.strictEqual(identify({ ...proxies, fields: ["proto"] }, { headers: forged }).host, "example.com")
      assert.strictEqual(schemeOf(identify({ ...proxies, fields: ["host"] }, { headers: forged })), "http?")
    })

    it.each<[rule: string, value: string, scheme: string, host: string]>([
      [
        "the client's element counts",
        "for=203.0.113.9;proto=https;host=app.test, for=10.0.0.2;proto=http;host=inner",
        "https",
        "app.test"
      ],
      ["another's does not", "for=203.0.113.9, for=10.0.0.2;proto=https;host=inner", "http?", "example.com"],
      [
        "nor what the client has sent itself",
        "for=127.0.0.1;proto=https;host=evil.test, for=203.0.113.9",
        "http?",
        "example.com"
      ],
      [
        "nor a proxy's own, when it names nobody behind it",
        "for=evil;proto=https;host=evil.test",
        "http?",
        "example.com"
      ],
      ["a hidden client's counts", "for=_hidden;proto=https;host=app.test", "https", "app.test"],
      ["a client's without a name counts", "proto=https;host=app.test", "https", "app.test"],
      ["a host may be quoted", "for=203.0.113.9;host=\"app.test:8080\";proto=\"HTTPS\"", "https", "app.test:8080"],
      ["a host in quotes is still one host", "for=203.0.113.9;host=\"app.test, evil.test\"", "http?", "example.com"]
    ])("Forwarded: %s: %s", (_, value, scheme, host) => {
      const client = identify(forwarded, { headers: { forwarded: value } })
      assert.deepStrictEqual([schemeOf(client), client.host], [scheme, host])
    })
  })

  describe("mistakes", () => {
    it.each<[rule: string, options: unknown, message: RegExp]>([
      ["trust is not said", {}, /trust is neither "none".*write trust: "none"/],
      ["trust is another word", { trust: "all" }, /trust is neither/],
      ["trust is true", { trust: true }, /trust is neither/],
      ["trust says both", { trust: { hops: 1, proxies: ["10.0.0.1"] } }, /trust is neither/],
      ["hops are none", { trust: { hops: 0 } }, /trust\.hops is 0: write how many/],
      ["hops are negative", { trust: { hops: -1 } }, /trust\.hops is -1/],
      ["hops are broken", { trust: { hops: 1.5 } }, /trust\.hops is 1\.5/],
      ["hops are not a number", { trust: { hops: "1" } }, /trust\.hops/],
      ["hops are not there", { trust: { hops: undefined } }, /trust\.hops/],
      ["hops have no end", { trust: { hops: Infinity } }, /trust\.hops/],
      ["hops are more than are read", { trust: { hops: 101 } }, /trust\.hops is 101: .*1 to 100/],
      ["proxies are empty", { trust: { proxies: [] } }, /trust\.proxies is empty: list your proxies/],
      [
        "a proxy is a name",
        { trust: { proxies: ["10.0.0.1", "proxy.test"] } },
        /trust\.proxies has "proxy\.test": write/
      ],
      ["a proxy is a short address", { trust: { proxies: ["127.1"] } }, /trust\.proxies has "127\.1"/],
      [
        "a range has bits after its prefix",
        { trust: { proxies: ["10.0.0.1/8"] } },
        /trust\.proxies has "10\.0\.0\.1\/8"/
      ],
      ["a range is everyone", { trust: { proxies: ["0.0.0.0/0"] } }, /trust\.proxies has a range of every address/],
      ["a range is everyone with IPv6", { trust: { proxies: ["10.0.0.1", "::/0"] } }, /every address/],
      ["a range is everyone, mapped", { trust: { proxies: ["::ffff:0.0.0.0/96"] } }, /every address/],
      ["the header is another one", { trust: "none", header: "x-real-ip" }, /header is "x-real-ip": write/],
      ["fields have no headers", { trust: "none", header: "forwarded", fields: ["host"] }, /fields is for header/]
    ])("throws when %s, and says what to write", (_, options, message) => {
      assert.throws(() => Forwarded.policy(options as Forwarded.Options), TypeError, message)
    })

    it("a hundred hops are none", () => {
      Forwarded.policy({ trust: { hops: 100 } })
    })
  })

  it.prop(
    "never throws, and gives one spelling",
    [
      FastCheck.dictionary(FastCheck.constantFrom(...Forwarded.hiddenHeaders), FastCheck.string({ unit: "binary" })),
      FastCheck.string({ unit: "binary" })
    ],
    ([headers, text]) => {
      for (const options of [proxies, forwarded, hops(2)]) {
        const client = identify(options, { headers, host: text, target: text })
        assert.include(["http", "https"], client.scheme)
        assert.isTrue(client.host === undefined || /^[-\w.:[\]]+$/.test(client.host))
      }
    }
  )

  it("is linear (CVE-2025-25200)", () => {
    assertLinear((text) => identify(proxies, { headers: { "x-forwarded-for": text } }))
    assertLinear((text) => identify(proxies, { headers: { "x-forwarded-proto": text, "x-forwarded-host": text } }))
    assertLinear((text) => identify(forwarded, { headers: { forwarded: text } }))
    assertLinear((text) => identify({ trust: "none" }, { host: text, target: text }))
  })
})

describe("hiddenHeaders", () => {
  it("names are lower case and come once", () => {
    assert.deepStrictEqual(Forwarded.hiddenHeaders, [
      ...new Set(Forwarded.hiddenHeaders.map((name) => name.toLowerCase()))
    ])
  })

  it.each([
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-forwarded-by",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
    "x-url-scheme",
    "front-end-https"
  ])("%s is one", (name) => {
    assert.include(Forwarded.hiddenHeaders, name)
  })
})

describe("middleware", () => {
  const whoami = Effect.gen(function*() {
    const { address, host, proxied, scheme, schemeKnown } = yield* Forwarded.Client
    const { headers } = yield* HttpServerRequest.HttpServerRequest
    return HttpServerResponse.unsafeJson({
      address,
      host,
      proxied,
      scheme,
      schemeKnown,
      seen: Object.keys(headers).sort()
    })
  })
  const sent = {
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "example.com",
    "x-real-ip": "203.0.113.9",
    "x-own": "1"
  }
  const direct = { address: "127.0.0.1", proxied: false, scheme: "http", schemeKnown: true }
  const proxied = { address: "203.0.113.9", proxied: true, scheme: "https", host: "example.com" }

  describe.each(mounts.filter(({ name }) => name.endsWith("Node")))("$name", ({ mount }) => {
    it.scoped.each(
      [
        ["none", "none", direct],
        ["the socket's address", { proxies: ["loopback"] }, proxied],
        ["another address", { proxies: ["10.0.0.0/8"] }, direct],
        ["one hop", { hops: 1 }, proxied]
      ] as const
    )("trusting %s", ([_, trust, expected]) =>
      Effect.gen(function*() {
        const send = yield* mount(whoami as never, Forwarded.middleware({ trust }))
        for (const round of ["first", "second"]) {
          const { seen, ...client } = JSON.parse((yield* send({ headers: sent })).body)
          assert.deepInclude(client, expected, round)
          assert.deepStrictEqual(
            seen.filter((name: string) => name.startsWith("x-")),
            ["x-own"],
            "what is inside sees none of the raw headers"
          )
        }
      }))
  })

  it.effect("a Fetch request says by its URL whether it came over TLS", () =>
    Effect.gen(function*() {
      const handler = HttpApp.toWebHandler(Forwarded.middleware({ trust: "none" })(whoami))
      for (const scheme of ["http", "https"]) {
        const response = yield* Effect.promise(() => handler(new Request(`${scheme}://localhost/`)))
        assert.deepInclude(yield* Effect.promise(() => response.json()), { scheme, proxied: false })
      }
    }))

  it.scoped("a socket says whether it has TLS", () =>
    Effect.gen(function*() {
      for (const [encrypted, scheme] of [[true, "https"], [false, "http"], ["yes", "http"]] as const) {
        const tls = Middleware.make({
          name: "Tls",
          request: ({ request }) => void Object.assign((request.source as { socket: object }).socket, { encrypted })
        })
        const { mount } = mounts.find(({ name }) => name === "Stack.serve, Node")!
        const send = yield* mount(whoami as never, Stack.make(tls, Forwarded.middleware({ trust: "none" })))
        assert.strictEqual(JSON.parse((yield* send()).body).scheme, scheme)
      }
    }))

  it.effect.each<[headers: Record<string, string>, host: string | undefined]>([
    [{ host: "a.test" }, "a.test"],
    [{ ":authority": "b.test" }, "b.test"],
    [{ host: "a.test", ":authority": "b.test" }, "a.test"],
    [{}, undefined]
  ])("the host of %j is %s", ([headers, host]) =>
    Effect.gen(function*() {
      const received = Middleware.make({
        name: "Received",
        request: (exchange) => exchange.deriveRequest({ headers: Headers.fromInput(headers) })
      })
      const { body } = yield* send(Stack.make(received, Forwarded.middleware({ trust: "none" }))(whoami))
      assert.strictEqual(JSON.parse(body).host, host)
    }))

  it.effect("a request with nothing to hide is itself", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const note = (name: string) => Middleware.make({ name, request: ({ request }) => void seen.push(request) })
      const stack = Stack.make(note("Outside"), Forwarded.middleware({ trust: "none" }), note("Inside"))
      for (const headers of [{ "x-own": "1" }, { "x-own": "1", "x-real-ip": "203.0.113.9" }]) {
        yield* send(stack(whoami), { headers })
      }
      assert.isTrue(seen[0] === seen[1])
      assert.isFalse(seen[2] === seen[3])
    }))

  it("has the name that it is given, and its service its own", () => {
    assert.strictEqual(Forwarded.middleware({ trust: "none" }).name, "Forwarded")
    assert.strictEqual(Forwarded.middleware({ trust: "none", name: "Edge" }).name, "Edge")
    assert.strictEqual(Forwarded.Client.key, "effect-middleware/Forwarded/Client")
  })

  it.scoped("outside it the request keeps its headers", () =>
    Effect.gen(function*() {
      const outer = Middleware.dispatch("Outer", (_, next) =>
        Effect.zipWith(next, HttpServerRequest.HttpServerRequest, (response, { headers }) =>
          HttpServerResponse.setHeader(response, "x-outer", headers["x-forwarded-for"] ?? "hidden")))
      const stack = Stack.make(outer, Forwarded.middleware({ trust: "none" }))
      assert.strictEqual((yield* send(stack(whoami), { headers: sent })).headers["x-outer"], "203.0.113.9")
    }))
})
