import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import {
  formatAuthority,
  originForm,
  parseAuthority,
  redirectLocation,
  targetAuthority,
  toAscii
} from "../../src/internal/authority.js"
import { assertLinear } from "./hostile.js"

const label = (length: number) => "a".repeat(length)
const labels = (count: number) => Array.from({ length: count }, () => "a").join(".")

describe("parseAuthority", () => {
  it.each<[rule: string, text: string, host: string, port: number | undefined, kind: string]>([
    ["a name", "example.com", "example.com", undefined, "name"],
    ["a name and a port", "example.com:8080", "example.com", 8080, "name"],
    ["a name is lower case", "EXAMPLE.Com", "example.com", undefined, "name"],
    ["a name may have one label", "localhost", "localhost", undefined, "name"],
    ["a name may have an underscore", "my_service:80", "my_service", 80, "name"],
    ["a name may have digits", "1.example.0com", "1.example.0com", undefined, "name"],
    ["the dot of a fully qualified name goes", "example.com.", "example.com", undefined, "name"],
    ["and so before a port", "example.com.:80", "example.com", 80, "name"],
    ["a port may be empty (RFC 3986 3.2.3)", "example.com:", "example.com", undefined, "name"],
    ["a port may be 0", "example.com:0", "example.com", 0, "name"],
    ["a port is at most 65535", "example.com:65535", "example.com", 65535, "name"],
    ["a port may have leading zeros, in five digits", "example.com:00080", "example.com", 80, "name"],
    ["a label may have 63 octets", `${label(63)}.com`, `${label(63)}.com`, undefined, "name"],
    ["a name may have 253 octets", labels(127), labels(127), undefined, "name"],
    ["and its dot and its port", `${labels(127)}.:65535`, labels(127), 65535, "name"],
    ["a converted name", "xn--bcher-kva.example", "xn--bcher-kva.example", undefined, "name"],
    ["an IPv4 address", "127.0.0.1:3000", "127.0.0.1", 3000, "ipv4"],
    ["an IPv4 address with a dot", "127.0.0.1.", "127.0.0.1", undefined, "ipv4"],
    ["an IPv6 literal keeps its brackets", "[::1]", "[::1]", undefined, "ipv6"],
    ["an IPv6 literal and a port", "[::1]:3000", "[::1]", 3000, "ipv6"],
    ["an IPv6 literal has one spelling", "[2001:DB8:0:0:0:0:0:1]", "[2001:db8::1]", undefined, "ipv6"],
    ["a mapped literal is an IPv6 one", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", undefined, "ipv6"]
  ])("%s: %s", (_, text, host, port, kind) => {
    assert.deepStrictEqual<unknown>(parseAuthority(text), { host, port, kind })
  })

  it.each<[rule: string, text: string]>([
    ["nothing", ""],
    ["a port alone", ":80"],
    ["a dot alone", "."],
    ["two dots at the end", "example.com.."],
    ["an empty label", "example..com"],
    ["a dot at the start", ".example.com"],
    ["user info", "user@example.com"],
    ["user info that is a trusted name (CVE-2026-27959)", "evil.com:fake@legit.com"],
    ["a path (Starlette before 1.0.1)", "example.com/admin"],
    ["a query (Starlette before 1.0.1)", "x/admin?"],
    ["a question mark", "example.com?"],
    ["a fragment", "example.com#"],
    ["a backslash", "example.com\\evil"],
    ["a percent sign", "example%2ecom"],
    ["a comma", "example.com, evil.test"],
    ["a semicolon", "example.com;evil"],
    ["a star", "*.example.com"],
    ["a space at the start", " example.com"],
    ["a space at the end", "example.com "],
    ["a space inside (CVE-2026-34835)", "good.com evil"],
    ["a zero (CVE-2026-34835)", "good.com\0"],
    ["a line feed", "good.com\n"],
    ["a carriage return and a line feed", "good.com\r\nx: y"],
    ["a tab", "good\t.com"],
    ["a deletion", "good.com\x7f"],
    ["a name in another script", "bücher.example"],
    ["a letter that becomes ASCII in lower case", "\u212aelvin.example"],
    ["a digit that becomes ASCII in IDNA", "１27.0.0.1"],
    ["a dot that becomes ASCII in IDNA", "example。com"],
    ["a no-break space", "\u00a0example.com"],
    ["a label of 64 octets", `${label(64)}.com`],
    ["a name of 254 octets", `a${labels(127)}`],
    ["a port of letters", "example.com:evil"],
    ["a port beyond 65535", "example.com:65536"],
    ["a port of six digits", "example.com:000080"],
    ["a negative port", "example.com:-1"],
    ["a port with a space", "example.com: 80"],
    ["a port with a line feed", "example.com:80\n"],
    ["two ports", "example.com:80:80"],
    ["an IPv6 address without brackets", "::1"],
    ["an IPv6 address that ends like a port", "2001:db8::1:80"],
    ["a bracket that never closes", "[::1"],
    ["a bracket that never opens", "::1]"],
    ["empty brackets", "[]"],
    ["text behind brackets", "[::1]evil"],
    ["a dot behind brackets", "[::1]."],
    ["text before brackets", "evil[::1]"],
    ["two pairs of brackets", "[[::1]]"],
    ["an IPv4 address in brackets", "[127.0.0.1]"],
    ["a zone", "[fe80::1%25eth0]"],
    ["a future literal", "[v1.x]"],
    ["a malformed IPv6 literal", "[1::2::3]"],
    ["a short IPv4 address", "127.1"],
    ["a number", "2130706433"],
    ["a number with a dot", "2130706433."],
    ["a hexadecimal number", "0x7f000001"],
    ["a hexadecimal octet", "0x7f.1"],
    ["a hexadecimal octet at the end", "127.0.0.0x1"],
    ["a hexadecimal octet without digits", "127.0.0.0x"],
    ["an octal octet", "0177.0.0.1"],
    ["an octet beyond 255", "1.2.3.999"],
    ["five octets", "1.2.3.4.5"],
    ["a name that ends in a number", "example.1"]
  ])("refuses %s: %j", (_, text) => {
    assert.isUndefined(parseAuthority(text))
  })

  const name = FastCheck.domain().map((domain) => domain.toLowerCase())
  const port = FastCheck.option(FastCheck.integer({ min: 1, max: 65535 }), { nil: undefined })

  it.prop("takes every domain, in any case", [name, port], ([host, port]) => {
    const text = formatAuthority(host, port)
    assert.deepStrictEqual<unknown>(parseAuthority(text), { host, port, kind: "name" })
    assert.deepStrictEqual(parseAuthority(text.toUpperCase()), parseAuthority(text))
  })

  const near = FastCheck.array(
    FastCheck.constantFrom(
      "a",
      "Z",
      "example",
      "com",
      ".",
      "-",
      "_",
      "0x7",
      "1",
      "127",
      ":",
      "80",
      "[",
      "]",
      "::",
      "@",
      "/",
      "%41",
      "é"
    ),
    { maxLength: 9 }
  ).map((parts) => parts.join(""))

  it.prop("what it takes is the same host to a URL parser", [near], ([text]) => {
    const authority = parseAuthority(text)
    if (authority === undefined) return
    const url = new URL(`x-http://${formatAuthority(authority.host, authority.port)}`)
    assert.strictEqual(new URL(`http://${text}`).hostname.replace(/\.$/, ""), authority.host)
    assert.strictEqual(url.pathname + url.search + url.hash + url.username, "")
    assert.deepStrictEqual(parseAuthority(formatAuthority(authority.host, authority.port)), authority)
  }, { fastCheck: { numRuns: 20_000 } })

  it.prop("never throws", [FastCheck.string({ unit: "binary" })], ([text]) => {
    assert.doesNotThrow(() => [parseAuthority(text), targetAuthority(text), originForm(text), toAscii(text)])
  })

  it("is linear", () => {
    assertLinear(parseAuthority)
    assertLinear((text) => parseAuthority(`[${text}]`))
    assertLinear((text) => parseAuthority(`a:${text}`))
  })
})

describe("toAscii", () => {
  it.each<[rule: string, text: string, ascii: string | undefined]>([
    ["a name in another script is converted", "bücher.example", "xn--bcher-kva.example"],
    ["in any case", "BÜCHER.example", "xn--bcher-kva.example"],
    ["a port stays", "bücher.example:8080", "xn--bcher-kva.example:8080"],
    ["another script's dot is a dot", "bücher。example", "xn--bcher-kva.example"],
    ["ASCII stays as it is", "EXAMPLE.com:80", "EXAMPLE.com:80"],
    ["a path does not come near the URL parser", "bücher.example/x", undefined],
    ["nor user info", "ü@example.com", undefined],
    ["nor a percent sign", "ü%2e.example", undefined],
    ["nor white space", "ü .example", undefined],
    ["a letter that is a path is refused", "a\u2100b", undefined]
  ])("%s: %s", (_, text, ascii) => {
    assert.strictEqual(toAscii(text), ascii)
  })
})

describe("targetAuthority", () => {
  it.each<[rule: string, target: string, host: string | undefined]>([
    ["origin-form has none", "/a?b", undefined],
    ["nor with a URL in the query", "/a?u=http://evil.test/", undefined],
    ["nor with two slashes", "//evil.test/a", undefined],
    ["nor *", "*", undefined],
    ["nor what a mount leaves", "", undefined],
    ["nor a query that a mount leaves", "?a=b", undefined],
    ["absolute-form has one", "http://example.com/a", "example.com"],
    ["with a port", "http://example.com:8080/a", "example.com:8080"],
    ["with TLS", "https://example.com/a", "example.com"],
    ["with a scheme in any case", "HTTP://EXAMPLE.com/", "example.com"],
    ["with a WebSocket's scheme", "wss://example.com/", "example.com"],
    ["without a path", "http://example.com", "example.com"],
    ["with a query alone", "http://example.com?a", "example.com"],
    ["with a fragment alone", "http://example.com#a", "example.com"],
    ["with an IPv6 literal", "http://[::1]:80/", "[::1]:80"],
    ["authority-form has one", "example.com:443", "example.com:443"]
  ])("%s: %s", (_, target, host) => {
    const authority = targetAuthority(target)
    assert.notStrictEqual(authority, "malformed")
    assert.strictEqual(
      typeof authority === "object" ? formatAuthority(authority.host, authority.port) : undefined,
      host
    )
  })

  it.each<[rule: string, target: string]>([
    ["no authority", "http:///a"],
    ["user info", "http://good.com@evil.test/"],
    ["a backslash", "http://good.com\\@evil.test/"],
    ["one slash", "http:/example.com"],
    ["no slash", "http:example.com"],
    ["another scheme", "ftp://example.com/"],
    ["a scheme alone", "javascript:alert(1)"],
    ["a path without a slash", "admin"],
    ["a space", " http://example.com/"],
    ["authority-form without a port", "example.com"],
    ["a malformed port", "http://example.com:x/"]
  ])("%s is malformed: %j", (_, target) => {
    assert.strictEqual(targetAuthority(target), "malformed")
  })

  it("is linear", () => {
    assertLinear(targetAuthority)
    assertLinear((text) => targetAuthority(`http://${text}`))
  })
})

describe("originForm", () => {
  it.each<[rule: string, target: string, path: string]>([
    ["origin-form is itself", "/a/../b%2F?c=d?e", "/a/../b%2F?c=d?e"],
    ["two slashes stay", "//evil.test/a", "//evil.test/a"],
    ["absolute-form loses its authority", "http://example.com/a?b", "/a?b"],
    ["two slashes behind an authority stay", "http://example.com//evil.test", "//evil.test"],
    ["absolute-form without a path has the root", "http://example.com", "/"],
    ["absolute-form with a query alone has the root", "https://example.com?a=b", "/?a=b"],
    ["a fragment goes", "/a?b#c?d", "/a?b"],
    ["a fragment behind an authority goes", "http://example.com#/a", "/"],
    ["a query that a mount leaves has the root", "?a=b", "/?a=b"],
    ["* has no path", "*", "/"],
    ["authority-form has no path", "example.com:443", "/"],
    ["what is malformed has no path", "\\\\evil.test", "/"],
    ["nothing has no path", "", "/"]
  ])("%s: %s", (_, target, path) => {
    assert.strictEqual(originForm(target), path)
  })

  it("is linear", () => assertLinear(originForm))
})

describe("redirectLocation", () => {
  it.each<[rule: string, target: string, location: string]>([
    ["path and query stay raw", "/a%2F?b=c&d", "//example.com/a%2F?b=c&d"],
    ["a path of two slashes is no authority", "//evil.test", "//example.com//evil.test"],
    ["a path with a backslash is no authority", "/\\evil.test", "//example.com/\\evil.test"],
    ["a target that is no path leads to the root", "\\\\evil.test", "//example.com/"],
    ["a control character is encoded", "/a\r\nSet-Cookie: b", "//example.com/a%0D%0ASet-Cookie:%20b"],
    ["a byte that is not ASCII is encoded", "/\xe9", "//example.com/%E9"],
    ["what is no byte is replaced", "/\u20ac", "//example.com/%EF%BF%BD"]
  ])("%s: %j", (_, target, location) => {
    assert.strictEqual(redirectLocation("", "example.com", target), location)
  })

  it("a scheme stands before it", () => {
    assert.strictEqual(redirectLocation("https:", "example.com:8443", "*"), "https://example.com:8443/")
  })

  it.prop(
    "never leads to another host",
    [FastCheck.string({ unit: "binary" }), FastCheck.webPath()],
    ([text, path]) => {
      for (const target of [text, path, `/${text}`, `//${text}`, `http://evil.test${text}`]) {
        const location = redirectLocation("", "example.com", target)
        assert.strictEqual(new URL(location, "https://here.test/x").host, "example.com")
        assert.match(location, /^[!-~]*$/)
      }
    }
  )

  it("is linear", () => assertLinear((text) => redirectLocation("", "example.com", `/${text}`)))
})
