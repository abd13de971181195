import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { parseAddress } from "../../src/internal/address.js"
import { compileRanges, contains, parseCidr, parseRange } from "../../src/internal/cidr.js"
import { assertLinear } from "./hostile.js"

const isIn = (range: string, text: string) => {
  const address = parseAddress(text)
  assert.isDefined(address)
  return contains(compileRanges("test", [range]))(address)
}

describe("parseCidr", () => {
  it.each<[rule: string, text: string, network: string, prefix: number, hostBits: boolean]>([
    ["a range is a network and a prefix", "10.0.0.0/8", "10.0.0.0", 8, false],
    ["an IPv4 address is a range of one", "10.1.2.3", "10.1.2.3", 32, false],
    ["an IPv6 address is a range of one", "2001:DB8::1", "2001:db8::1", 128, false],
    ["a range may be all", "0.0.0.0/0", "0.0.0.0", 0, false],
    ["a range may end within a byte", "172.16.0.0/12", "172.16.0.0", 12, false],
    ["bits after the prefix are told", "10.0.0.1/8", "10.0.0.1", 8, true],
    ["the bit after the prefix is told", "10.128.0.0/8", "10.128.0.0", 8, true],
    ["a bit within a byte is told", "172.24.0.0/12", "172.24.0.0", 12, true],
    ["bits of an IPv6 range are told", "2001:db8::1/32", "2001:db8::1", 32, true],
    ["an address with its whole prefix has none after it", "10.0.0.1/32", "10.0.0.1", 32, false],
    ["a mapped range is IPv4", "::ffff:10.0.0.0/104", "10.0.0.0", 8, false],
    ["a mapped range in hex is IPv4", "::ffff:a00:0/104", "10.0.0.0", 8, false],
    ["a mapped address is IPv4", "::ffff:10.0.0.1", "10.0.0.1", 32, false]
  ])("%s: %s", (_, text, network, prefix, hostBits) => {
    const cidr = parseCidr(text)
    assert.deepStrictEqual(cidr && { ...cidr, network: String(cidr.network) }, { network, prefix, hostBits })
  })

  it.each<[rule: string, text: string]>([
    ["a prefix has digits", "10.0.0.0/"],
    ["a prefix is decimal", "10.0.0.0/0x8"],
    ["a prefix has no leading zero", "10.0.0.0/08"],
    ["a prefix has no sign", "10.0.0.0/-1"],
    ["a prefix is no fraction", "10.0.0.0/8.0"],
    ["a prefix is no netmask", "10.0.0.0/255.0.0.0"],
    ["an IPv4 prefix is at most 32", "10.0.0.0/33"],
    ["an IPv6 prefix is at most 128", "2001:db8::/129"],
    ["there is one prefix", "10.0.0.0/8/8"],
    ["a mapped range reaches no further than the mapped addresses", "::ffff:0.0.0.0/95"],
    ["a network is an address", "10.0.0/8"],
    ["a network has no zone", "fe80::%eth0/10"],
    ["a name is no range", "localhost"],
    ["nothing is no range", ""]
  ])("%s: %s", (_, text) => {
    assert.isUndefined(parseCidr(text))
  })

  it("is linear", () => {
    assertLinear(parseCidr)
    assertLinear((text) => parseCidr(`10.0.0.0/${text}`))
  })
})

describe("contains", () => {
  it.each<[rule: string, range: string, address: string, expected: boolean]>([
    ["the first address is in", "10.0.0.0/8", "10.0.0.0", true],
    ["the last address is in", "10.0.0.0/8", "10.255.255.255", true],
    ["the next is not", "10.0.0.0/8", "11.0.0.0", false],
    ["the one before is not", "10.0.0.0/8", "9.255.255.255", false],
    ["a range ends within a byte", "172.16.0.0/12", "172.31.255.255", true],
    ["and not after it", "172.16.0.0/12", "172.32.0.0", false],
    ["an address is in itself", "2001:db8::1", "2001:0db8:0:0:0:0:0:1", true],
    ["an address is in no other", "2001:db8::1", "2001:db8::2", false],
    ["a mapped address is in the IPv4 range", "10.0.0.0/8", "::ffff:a00:1", true],
    ["an IPv4 address is in the mapped range", "::ffff:10.0.0.0/104", "10.1.1.1", true],
    ["everything of IPv4 is in 0.0.0.0/0", "0.0.0.0/0", "255.1.2.3", true],
    ["nothing of IPv6 is in 0.0.0.0/0", "0.0.0.0/0", "2001:db8::1", false],
    ["nothing of IPv4 is in ::/0", "::/0", "::ffff:1.2.3.4", false],
    ["loopback is 127.0.0.0/8", "loopback", "127.255.0.1", true],
    ["loopback is ::1", "loopback", "::1", true],
    ["loopback is not ::2", "loopback", "::2", false],
    ["linklocal is 169.254.0.0/16", "linklocal", "169.254.1.1", true],
    ["linklocal is fe80::/10", "linklocal", "febf::1", true],
    ["linklocal is not fec0::/10", "linklocal", "fec0::1", false],
    ["private is 10.0.0.0/8", "private", "10.1.1.1", true],
    ["private is 172.16.0.0/12", "private", "172.31.1.1", true],
    ["private is 192.168.0.0/16", "private", "192.168.1.1", true],
    ["private is fc00::/7", "private", "fdff::1", true],
    ["private is not loopback", "private", "127.0.0.1", false],
    ["private is not what is public", "private", "203.0.113.9", false],
    ["uniquelocal is private by the name it has in proxy-addr", "uniquelocal", "192.168.1.1", true]
  ])("%s: %s, %s", (_, range, address, expected) => {
    assert.strictEqual(isIn(range, address), expected)
  })

  it("one of several ranges is enough, and none has none", () => {
    const address = parseAddress("10.0.0.1")
    assert.isDefined(address)
    assert.isTrue(contains(compileRanges("test", ["loopback", "10.0.0.0/8"]))(address))
    assert.isFalse(contains([])(address))
  })

  const number = (octets: string) => octets.split(".").reduce((sum, octet) => sum * 256n + BigInt(octet), 0n)

  it.prop(
    "compares the bits before the prefix",
    [FastCheck.ipV4(), FastCheck.ipV4(), FastCheck.nat(32)],
    ([a, b, prefix]) => {
      const cidr = parseCidr(`${a}/${prefix}`)
      const address = parseAddress(b)
      assert.isDefined(cidr)
      assert.isDefined(address)
      const rest = BigInt(32 - prefix)
      assert.strictEqual(contains([cidr])(address), number(a) >> rest === number(b) >> rest)
      assert.strictEqual(cidr.hostBits, (number(a) >> rest) << rest !== number(a))
    }
  )
})

describe("parseRange", () => {
  it.each(["", "LOOPBACK", "constructor", "__proto__", "public"])("%j is no name of a range", (name) => {
    assert.isUndefined(parseRange(name))
  })
})

describe("compileRanges", () => {
  it.each<[rule: string, text: string, message: RegExp]>([
    ["what is no range", "10.0.0", /^Option has "10\.0\.0": write .*"loopback"/],
    ["an address within a range", "10.0.0.1/8", /^Option has "10\.0\.0\.1\/8": write the address without/]
  ])("throws on %s, and says what to write", (_, text, message) => {
    assert.throws(() => compileRanges("Option", ["10.0.0.0/8", text]), TypeError, message)
  })
})
