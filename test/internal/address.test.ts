import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { isIPv4, isIPv6 } from "node:net"
import { parseAddress, parseIPv6 } from "../../src/internal/address.js"
import { assertLinear } from "./hostile.js"

const spell = (text: string) => {
  const address = parseAddress(text)
  return address && String(address)
}

describe("parseAddress", () => {
  it.each<[rule: string, text: string, canonical: string | undefined]>([
    ["an IPv4 address is four octets", "203.0.113.9", "203.0.113.9"],
    ["an IPv6 address is compressed", "2001:0DB8:0:0:0:0:0:1", "2001:db8::1"],
    ["the longest run of zeros is compressed, the first of two", "2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["one zero is not compressed", "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["the first of two equal runs is compressed", "1:0:0:2:3:0:0:4", "1::2:3:0:0:4"],
    ["loopback has one spelling", "0:0:0:0:0:0:0:1", "::1"],
    ["a mapped address is IPv4, in dots", "::ffff:1.2.3.4", "1.2.3.4"],
    ["a mapped address is IPv4, in upper case", "::FFFF:1.2.3.4", "1.2.3.4"],
    ["a mapped address is IPv4, in hex", "::ffff:102:304", "1.2.3.4"],
    ["a mapped address is IPv4, written out", "0:0:0:0:0:ffff:0102:0304", "1.2.3.4"],
    ["a mapped address is IPv4, written out with dots", "0000:0:0:0:0:FFFF:1.2.3.4", "1.2.3.4"],
    ["an address with dots need not be mapped", "2001:db8::1.2.3.4", "2001:db8::102:304"],
    ["a compatible address is not mapped", "::1.2.3.4", "::102:304"],
    ["a translated address is not mapped", "64:ff9b::1.2.3.4", "64:ff9b::102:304"],
    ["a run that ends in ffff is not mapped", "1::ffff:1.2.3.4", "1::ffff:102:304"],
    ["an octet is at most 255", "1.2.3.256", undefined],
    ["an octet of three digits may be too great", "1.2.3.999", undefined],
    ["an octet has no leading zero", "010.0.0.1", undefined],
    ["an octet is decimal", "0x7f.0.0.1", undefined],
    ["an octet has no exponent", "1e1.0.0.1", undefined],
    ["an octet has no sign", "-1.0.0.1", undefined],
    ["not even before a zero", "-0.0.0.1", undefined],
    ["an octet has digits", "1..2.3", undefined],
    ["NaN is no octet", "NaN.NaN.NaN.NaN", undefined],
    ["three octets are too few", "127.0.1", undefined],
    ["two octets are too few", "127.1", undefined],
    ["a number is no address", "2130706433", undefined],
    ["five octets are too many", "1.2.3.4.5", undefined],
    ["a mapped octet is at most 255", "::ffff:1.2.3.256", undefined],
    ["a mapped octet has no leading zero", "::ffff:01.2.3.4", undefined],
    ["a mapped octet is decimal", "::ffff:0x1.2.3.4", undefined],
    ["dots stand at the end", "1.2.3.4::", undefined],
    ["eight groups are the most", "1:2:3:4:5:6:7:8:9", undefined],
    ["seven groups are too few", "1:2:3:4:5:6:7", undefined],
    ["only one run is left out", "1::2::3", undefined],
    ["what is left out is a run", "1:2:3:4::5:6:7:8", undefined],
    ["a group has four digits at most", "12345::", undefined],
    ["a colon does not end an address", "1::2:", undefined],
    ["a zone is no part of an address", "fe80::1%eth0", undefined],
    ["brackets are no part of an address", "[::1]", undefined],
    ["a port is no part of an address", "1.2.3.4:80", undefined],
    ["a space is no part of an address", " 1.2.3.4", undefined],
    ["a line feed is no part of an address", "::1\n", undefined],
    ["digits are ASCII", "１.2.3.4", undefined],
    ["a name is no address", "localhost", undefined],
    ["nothing is no address", "", undefined]
  ])("%s: %s", (_, text, canonical) => {
    assert.strictEqual(spell(text), canonical)
  })

  it.prop("takes the IPv4 addresses that node:net takes", [FastCheck.ipV4()], ([text]) => {
    assert.strictEqual(spell(text), text)
  })

  it.prop("takes the IPv6 addresses that node:net takes, in one spelling", [FastCheck.ipV6()], ([text]) => {
    assert.isTrue(isIPv6(text))
    const canonical = spell(text)
    assert.isDefined(canonical)
    assert.strictEqual(spell(text.toUpperCase()), canonical)
    assert.strictEqual(spell(canonical), canonical)
    assert.strictEqual(canonical, canonical.toLowerCase())
  })

  const near = FastCheck.array(
    FastCheck.constantFrom(":", "::", ".", "0", "1", "9", "f", "ffff", "255", "256", "12345", "x", " "),
    { maxLength: 18 }
  ).map((parts) => parts.join(""))

  it.prop("takes nothing that node:net refuses, and all that it takes", [near], ([text]) => {
    assert.strictEqual(parseAddress(text) !== undefined, isIPv4(text) || isIPv6(text))
  }, { fastCheck: { numRuns: 20_000 } })

  const bits = FastCheck.tuple(FastCheck.nat(0xffff), FastCheck.nat(0xffff))

  it.prop("folds a mapped address by its bits", [bits], ([[high, low]]) => {
    const octets = [high >> 8, high & 255, low >> 8, low & 255].join(".")
    assert.strictEqual(spell(`::ffff:${high.toString(16)}:${low.toString(16)}`), octets)
    assert.strictEqual(spell(`0::0:FFFF:${octets}`), octets)
  })

  it("is linear", () => assertLinear(parseAddress))
})

describe("parseIPv6", () => {
  it("keeps a mapped address as it is", () => {
    assert.strictEqual(String(parseIPv6("::ffff:1.2.3.4")), "::ffff:102:304")
  })

  it("takes no IPv4 address", () => {
    assert.isUndefined(parseIPv6("1.2.3.4"))
  })
})
