import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { parseAddress } from "../../src/internal/address.js"
import { compileRanges, contains } from "../../src/internal/cidr.js"
import { rangeSet } from "../../src/internal/rangeSet.js"

/** Few of the bits vary, so that ranges lie in each other, begin alike and touch. */
const bits = FastCheck.array(FastCheck.constantFrom(0, 1, 128, 254, 255), { minLength: 16, maxLength: 16 })
const isV4 = FastCheck.boolean()

const textOf = (bytes: ReadonlyArray<number>, v4: boolean) =>
  v4
    ? bytes.slice(0, 4).join(".")
    : Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! * 256 + bytes[2 * i + 1]!).toString(16)).join(":")

const range = FastCheck.tuple(bits, isV4, FastCheck.nat(128)).map(([bytes, v4, length]) => {
  const prefix = v4 ? length % 33 : length
  const network = bytes.map((byte, i) => byte & ~(0xff >> Math.min(8, Math.max(0, prefix - 8 * i))) & 0xff)
  return `${textOf(network, v4)}/${prefix}`
}).filter((text) => {
  try {
    return compileRanges("test", [text]).length === 1
  } catch {
    // a mapped range that is wider than the mapped addresses
    return false
  }
})

const has = (ranges: ReadonlyArray<string>, text: string) =>
  rangeSet(compileRanges("test", ranges))(parseAddress(text)!)

describe("rangeSet", () => {
  it.prop("decides as a walk over all of them does", [
    FastCheck.array(range, { maxLength: 30 }),
    FastCheck.array(FastCheck.tuple(bits, isV4), { maxLength: 30 })
  ], ([ranges, addresses]) => {
    const cidrs = compileRanges("test", ranges)
    const [fast, slow] = [rangeSet(cidrs), contains(cidrs)]
    const networks = cidrs.map(({ network }) => network)
    for (const [bytes, v4] of addresses) networks.push(parseAddress(textOf(bytes, v4))!)
    for (const address of networks) assert.strictEqual(fast(address), slow(address), String(address))
  }, { fastCheck: { numRuns: 500 } })

  it.each<[rule: string, ranges: ReadonlyArray<string>, inside: ReadonlyArray<string>, outside: ReadonlyArray<string>]>(
    [
      ["none", [], [], ["0.0.0.0", "::", "255.255.255.255"]],
      ["one address", ["192.0.2.1"], ["192.0.2.1"], ["192.0.2.0", "192.0.2.2", "::192.0.2.1"]],
      ["the edges", ["192.0.2.0/25"], ["192.0.2.0", "192.0.2.127"], ["192.0.1.255", "192.0.2.128"]],
      ["the upper half, whose first bit is a sign elsewhere", ["128.0.0.0/1"], ["128.0.0.0", "255.255.255.255"], [
        "127.255.255.255"
      ]],
      ["all of IPv4, and no IPv6", ["0.0.0.0/0"], ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["::", "::1"]],
      ["all of IPv6, and no IPv4", ["::/0"], ["::", "ffff::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], ["1.2.3.4"]],
      ["one in another, before it", ["10.0.0.0/8", "10.0.0.0/24", "10.1.0.0/16"], ["10.255.255.255", "10.1.2.3"], [
        "11.0.0.0",
        "9.255.255.255"
      ]],
      ["the same twice", ["10.0.0.1", "10.0.0.1"], ["10.0.0.1"], ["10.0.0.2"]],
      ["a prefix within the second word", ["2001:db8::/33"], ["2001:db8:7fff::"], ["2001:db8:8000::"]],
      ["a prefix between two words", ["2001:db8:0:1::/64"], ["2001:db8:0:1:ffff:ffff:ffff:ffff"], ["2001:db8:0:2::"]],
      ["a prefix of all but the last bit", ["2001:db8::2/127"], ["2001:db8::2", "2001:db8::3"], [
        "2001:db8::1",
        "2001:db8::4"
      ]]
    ]
  )("%s", (_, ranges, inside, outside) => {
    for (const text of inside) assert.isTrue(has(ranges, text), text)
    for (const text of outside) assert.isFalse(has(ranges, text), text)
  })
})
