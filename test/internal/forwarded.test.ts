import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import {
  type Element,
  maxElements,
  type Node,
  parseForwarded,
  parseNode,
  parsePort,
  parsePrefix,
  parseXForwardedFor,
  splitRight
} from "../../src/internal/forwarded.js"
import { assertLinear } from "./hostile.js"

const element = (pairs: Partial<Element>) => ({
  for: undefined,
  by: undefined,
  host: undefined,
  proto: undefined,
  ...pairs
})

const print = (node: Node | undefined) =>
  node === undefined ? "malformed" : node._tag === "Address" ? `${node.address} ${node.port ?? "-"}` : node._tag

describe("parseForwarded", () => {
  it.each<[rule: string, value: string, elements: ReadonlyArray<Partial<Element> | undefined>]>([
    ["an element has parameters", "for=192.0.2.60;proto=http;by=203.0.113.43;host=example.com", [
      { for: "192.0.2.60", proto: "http", by: "203.0.113.43", host: "example.com" }
    ]],
    ["elements are in order", "for=192.0.2.43, for=198.51.100.17", [{ for: "192.0.2.43" }, { for: "198.51.100.17" }]],
    ["names have no case", "For=a;PROTO=b", [{ for: "a", proto: "b" }]],
    ["values have case", "for=_Hidden", [{ for: "_Hidden" }]],
    ["a value may be quoted", "for=\"[2001:db8:cafe::17]:4711\"", [{ for: "[2001:db8:cafe::17]:4711" }]],
    ["a quoted value may be escaped", "for=\"\\\"\\_a\\\\\"", [{ for: "\"_a\\" }]],
    ["a quoted value may be empty", "for=\"\"", [{ for: "" }]],
    ["a quoted value may have a tab", "for=\"\t\"", [{ for: "\t" }]],
    ["a quoted value may have a byte that is not ASCII", "for=\"\xe9\"", [{ for: "\xe9" }]],
    ["a semicolon in quotes does not separate (CVE-2026-32762)", "for=\"a;host=evil\"", [{ for: "a;host=evil" }]],
    ["a comma in quotes does not separate", "for=\"a, for=b\", for=c", [{ for: "a, for=b" }, { for: "c" }]],
    ["an escaped quote ends nothing", "for=\"a\\\", for=b\", for=c", [{ for: "a\", for=b" }, { for: "c" }]],
    ["an escaped backslash does not escape the quote", "for=\"a\\\\\", for=b", [{ for: "a\\" }, { for: "b" }]],
    ["an extension is left out", "for=a;secret=b;ext=\"c;host=d\"", [{ for: "a" }]],
    ["spaces around a semicolon go", "for=a ;\tproto=b", [{ for: "a", proto: "b" }]],
    ["parameters may be empty (RFC 7239 4)", ";for=a;;proto=b;", [{ for: "a", proto: "b" }]],
    ["empty elements go", ", for=a, ,for=b,", [{ for: "a" }, { for: "b" }]],
    ["an empty field has no elements", "", []],
    ["commas alone have no elements", " , ,", []],

    ["a parameter that comes twice is malformed", "for=a;for=b", [undefined]],
    ["in another case too", "for=a;FOR=a", [undefined]],
    ["and an extension too", "for=a;x=1;x=1", [undefined]],
    ["a name alone is malformed", "for", [undefined]],
    ["a name without a value is malformed", "for=", [undefined]],
    ["a value without a name is malformed", "=a", [undefined]],
    ["a space before = is malformed", "for =a", [undefined]],
    ["a space behind = is malformed", "for= a", [undefined]],
    ["a space between parameters is malformed", "for=a proto=b", [undefined]],
    ["a colon without quotes is malformed", "for=1.2.3.4:80", [undefined]],
    ["brackets without quotes are malformed", "for=[::1]", [undefined]],
    ["text behind quotes is malformed", "for=\"a\"b", [undefined]],
    ["text before quotes is malformed", "for=a\"b\"", [undefined]],
    ["a control character in quotes is malformed", "for=\"a\nb\"", [undefined]],
    ["an escaped control character is malformed", "for=\"a\\\0b\"", [undefined]],
    ["a zero is malformed", "for=a\0", [undefined]],
    ["a no-break space is no space", "\u00a0for=a", [undefined]],

    ["what is left of a malformed element is not read", "for=a, for=, for=c", [undefined, { for: "c" }]],
    ["quotes that never end take nothing from the right", "for=\"evil, for=a", [undefined, { for: "a" }]],
    ["quotes that end in an escape take nothing from the right", "for=\"evil\\\", for=a;proto=http", [
      undefined,
      { for: "a", proto: "http" }
    ]],
    ["quotes that never end take nothing from quotes to the right", "for=\"evil, for=\"[::1]\";proto=http", [
      undefined,
      { for: "[::1]", proto: "http" }
    ]],
    ["a quote alone takes nothing from the right", "\", for=a", [undefined, { for: "a" }]],
    ["a backslash alone takes nothing from the right", "for=\\, for=\"a\"", [undefined, { for: "a" }]]
  ])("%s: %j", (_, value, elements) => {
    assert.deepStrictEqual<unknown>(parseForwarded(value), elements.map((pairs) => pairs && element(pairs)))
  })

  it("a long list is malformed behind the hundredth element from the right", () => {
    const list = (count: number) => Array.from({ length: count }, (_, index) => `for=_${index}`).join(",")
    assert.isDefined(parseForwarded(list(maxElements))[0])
    const elements = parseForwarded(list(maxElements + 50))
    assert.strictEqual(elements.length, maxElements + 1)
    assert.isUndefined(elements[0])
    assert.strictEqual(elements[1]?.for, "_50")
  })

  it("empty elements do not make a list long", () => {
    assert.deepStrictEqual<unknown>(parseForwarded(`for=a${",".repeat(maxElements * 2)}`), [element({ for: "a" })])
    const full = Array.from({ length: maxElements }, () => "for=a").join(",")
    assert.isDefined(parseForwarded(full)[0])
  })

  const quoted = (text: string) => `"${text.replace(/["\\]/g, "\\$&")}"`
  const value = FastCheck.stringMatching(/^[\t -~\x80-\xff]*$/)
  const wellFormed = FastCheck.record({ for: value, host: value, proto: value }).map((pairs) => ({
    pairs: element(pairs),
    text: `for=${quoted(pairs.for)};host=${quoted(pairs.host)};proto=${quoted(pairs.proto)}`
  }))

  it.prop(
    "what is written as RFC 7239 says reads as it was meant",
    [FastCheck.array(wellFormed, { maxLength: 9 })],
    ([all]) => {
      assert.deepStrictEqual<unknown>(
        parseForwarded(all.map(({ text }) => text).join(", ")),
        all.map(({ pairs }) => pairs)
      )
    }
  )

  const anything = FastCheck.oneof(
    FastCheck.string({ unit: "binary" }),
    FastCheck.array(FastCheck.constantFrom("\"", "\\", ",", ";", "=", "for=", "a", " "), { maxLength: 12 }).map((
      parts
    ) => parts.join(""))
  )

  it.prop(
    "nothing a client sends changes what a proxy adds behind it",
    [anything, wellFormed, wellFormed],
    ([sent, first, second]) => {
      const elements = parseForwarded(`${sent}, ${first.text},${second.text}`)
      assert.deepStrictEqual<unknown>(elements.slice(-2), [first.pairs, second.pairs])
    },
    { fastCheck: { numRuns: 5000 } }
  )

  it("is linear", () => assertLinear(parseForwarded))
})

describe("parseNode", () => {
  it.each<[rule: string, text: string, node: string]>([
    ["an IPv4 address", "192.0.2.43", "192.0.2.43 -"],
    ["an IPv4 address and a port", "192.0.2.43:47011", "192.0.2.43 47011"],
    ["an IPv4 address and a hidden port", "192.0.2.43:_p0rt", "192.0.2.43 -"],
    ["an IPv6 address", "[2001:DB8::1]", "2001:db8::1 -"],
    ["an IPv6 address and a port", "[2001:db8::1]:4711", "2001:db8::1 4711"],
    ["a mapped address is IPv4", "[::ffff:102:304]:80", "1.2.3.4 80"],
    ["a hidden name", "_gazonk", "Obfuscated"],
    ["a hidden name and a port", "_SEVKISEK.x-y:80", "Obfuscated"],
    ["unknown", "unknown", "Unknown"],
    ["unknown in any case", "UnKnown", "Unknown"],
    ["unknown and a port", "unknown:80", "Unknown"],
    ["a port is at most 65535", "1.2.3.4:65536", "malformed"],
    ["a port is at most 65535 everywhere", "unknown:65536", "malformed"],
    ["a port has five digits", "1.2.3.4:000080", "malformed"],
    ["a port has digits", "1.2.3.4:http", "malformed"],
    ["a port is not empty", "1.2.3.4:", "malformed"],
    ["a hidden port has a name", "1.2.3.4:_", "malformed"],
    ["an IPv6 address has brackets", "2001:db8::1", "malformed"],
    ["an IPv4 address has none", "[1.2.3.4]", "malformed"],
    ["a bracket closes", "[::1", "malformed"],
    ["a bracket opens", "::1]", "malformed"],
    ["brackets hold something", "[]", "malformed"],
    ["a zone is refused", "[fe80::1%eth0]", "malformed"],
    ["an octet is at most 255", "1.2.3.256", "malformed"],
    ["an octet has no leading zero", "01.2.3.4", "malformed"],
    ["a short form is refused", "127.1", "malformed"],
    ["a hidden name is not empty", "_", "malformed"],
    ["a hidden name has no space", "_a b", "malformed"],
    ["a name is no node", "example.com", "malformed"],
    ["nothing is no node", "", "malformed"]
  ])("%s: %s", (_, text, node) => {
    assert.strictEqual(print(parseNode(text)), node)
  })

  it("is linear", () => {
    assertLinear(parseNode)
    assertLinear((text) => parseNode(`1.2.3.4:${text}`))
    assertLinear((text) => parseNode(`[${text}]`))
  })
})

describe("parseXForwardedFor", () => {
  it.each<[rule: string, value: string, nodes: ReadonlyArray<string>]>([
    ["nodes are in order", "203.0.113.9, 10.0.0.7", ["203.0.113.9 -", "10.0.0.7 -"]],
    ["an IPv6 address may stand without brackets", "2001:DB8::1", ["2001:db8::1 -"]],
    ["and is one when it ends like a port", "2001:db8::1:4711", ["2001:db8::1:4711 -"]],
    ["an IPv6 address may have brackets", "[2001:db8::1]", ["2001:db8::1 -"]],
    ["and a port", "[2001:db8::1]:4711", ["2001:db8::1 4711"]],
    ["an IPv4 address may have a port", "1.2.3.4:5678,5.6.7.8:9", ["1.2.3.4 5678", "5.6.7.8 9"]],
    ["a mapped address is IPv4", "::ffff:1.2.3.4, ::FFFF:506:708", ["1.2.3.4 -", "5.6.7.8 -"]],
    ["unknown is a node", "unknown, 1.2.3.4", ["Unknown", "1.2.3.4 -"]],
    ["what is malformed keeps its place", "a, 1.2.3.4, 127.1", ["malformed", "1.2.3.4 -", "malformed"]],
    ["what is empty keeps its place", ",1.2.3.4,", ["malformed", "1.2.3.4 -", "malformed"]],
    ["an octet is at most 255", "1.2.3.999", ["malformed"]],
    ["a zone is refused", "fe80::1%1", ["malformed"]],
    ["quotes are refused", "\"1.2.3.4\"", ["malformed"]],
    ["a no-break space is no space", "1.2.3.4, \u00a05.6.7.8", ["1.2.3.4 -", "malformed"]],
    ["an empty field has no nodes", "", []],
    ["a blank field has no nodes", " \t", []]
  ])("%s: %j", (_, value, nodes) => {
    assert.deepStrictEqual(parseXForwardedFor(value).map(print), nodes)
  })

  it.prop("takes every address", [
    FastCheck.array(FastCheck.oneof(FastCheck.ipV4(), FastCheck.ipV6()), { minLength: 1, maxLength: 9 })
  ], ([all]) => {
    const nodes = parseXForwardedFor(all.join(","))
    assert.deepStrictEqual(nodes.map((node) => node?._tag), all.map(() => "Address" as const))
  })

  it("is linear", () => assertLinear(parseXForwardedFor))
})

describe("splitRight", () => {
  it.each<[rule: string, value: string, elements: ReadonlyArray<string>]>([
    ["a single value is a list of one", " https ", ["https"]],
    ["empty values count", ",a,,", ["", "a", "", ""]],
    ["an empty field has none", " ", []]
  ])("%s: %j", (_, value, elements) => {
    assert.deepStrictEqual(splitRight(value), elements)
  })

  it("a long list keeps its right end", () => {
    const full = Array.from({ length: maxElements }, (_, index) => `${index}`)
    assert.deepStrictEqual(splitRight(full.join()), full)
    assert.deepStrictEqual(splitRight(`x,y,${full.join()}`), [undefined, ...full])
    assert.deepStrictEqual(splitRight(`,${full.join()}`), [undefined, ...full])
  })

  it("is linear", () => assertLinear(splitRight))
})

describe("parsePort", () => {
  it.each<[rule: string, text: string | undefined, scheme: "http" | "https", port: number | undefined]>([
    ["a port", "8443", "https", 8443],
    ["the port of the scheme", "443", "https", 443],
    ["none", undefined, "https", undefined],
    ["the port of the other scheme is none", "80", "https", undefined],
    ["the port of the other scheme is none", "443", "http", undefined],
    ["0 is none", "0", "http", undefined],
    ["a port is at most 65535", "65536", "http", undefined],
    ["a port has digits", "1e3", "http", undefined],
    ["a port has no sign", "-1", "http", undefined]
  ])("%s: %s", (_, text, scheme, port) => {
    assert.strictEqual(parsePort(text, scheme), port)
  })
})

describe("parsePrefix", () => {
  it.each<[rule: string, text: string | undefined, prefix: string | undefined]>([
    ["a path", "/app", "/app"],
    ["a path of several segments", "/a/b-c_d.e~f", "/a/b-c_d.e~f"],
    ["the slash at the end goes", "/app/", "/app"],
    ["none", undefined, undefined],
    ["nothing is no prefix", "", undefined],
    ["the root is no prefix", "/", undefined],
    ["a prefix begins with a slash", "app", undefined],
    ["a prefix is no authority", "//evil.test", undefined],
    ["a prefix has no empty segment", "/a//b", undefined],
    ["a prefix has no backslash", "/\\evil.test", undefined],
    ["a prefix goes nowhere", "/a/../b", undefined],
    ["a prefix does not stay", "/./a", undefined],
    ["a prefix is not encoded", "/%2e%2e", undefined],
    ["a prefix has no query", "/a?b", undefined],
    ["a prefix has no fragment", "/a#b", undefined],
    ["a prefix has no space", "/a b", undefined],
    ["a prefix has no line feed", "/a\n", undefined],
    ["a prefix is no markup", "/<b>", undefined],
    ["a prefix is no URL", "http://evil.test/", undefined]
  ])("%s: %j", (_, text, prefix) => {
    assert.strictEqual(parsePrefix(text), prefix)
  })

  it("is linear", () => assertLinear((text) => parsePrefix(`/${text}`)))
})
