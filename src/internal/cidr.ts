import { type Address, parseAddress } from "./address.js"

export interface Cidr {
  readonly network: Address
  readonly prefix: number
  /** Bits are set that the prefix leaves out: `10.0.0.1/8` says two things at once, and its author meant one. */
  readonly hostBits: boolean
}

/** A range or a single address; a v4-mapped one is folded, and malformed where it reaches beyond `::ffff:0:0/96`. */
export const parseCidr = (text: string): Cidr | undefined => {
  const slash = text.indexOf("/")
  const network = parseAddress(slash < 0 ? text : text.slice(0, slash))
  if (network === undefined) return undefined
  const bytes = network.toByteArray()
  const bits = bytes.length * 8
  const digits = slash < 0 ? undefined : text.slice(slash + 1)
  if (digits !== undefined && !/^(?:0|[1-9]\d{0,2})$/.test(digits)) return undefined
  const folded = bits === 32 && text.includes(":") ? 96 : 0
  const prefix = digits === undefined ? bits : Number(digits) - folded
  if (prefix < 0 || prefix > bits) return undefined
  const hostBits = bytes.some((byte, index) => (byte & (0xff >> Math.min(8, Math.max(0, prefix - index * 8)))) !== 0)
  return { network, prefix, hostBits }
}

/** A range, an address, or one of the names that `proxy-addr` made known. */
export const parseRange = (text: string): ReadonlyArray<Cidr> | undefined => {
  const cidr = parseCidr(text)
  return cidr === undefined ? named.get(text) : [cidr]
}

/** The ranges of an option. Throws on what is none, which is a mistake in the program. */
export const compileRanges = (option: string, texts: ReadonlyArray<string>): ReadonlyArray<Cidr> =>
  texts.flatMap((text) => {
    const range = parseRange(text)
    if (range === undefined) {
      const names = Array.from(named.keys(), (name) => `"${name}"`).join(", ")
      throw new TypeError(`${option} has "${text}": write an address, a range such as "10.0.0.0/8", or one of ${names}`)
    }
    if (range.some(({ hostBits }) => hostBits)) {
      throw new TypeError(
        `${option} has "${text}": write the address without "/", or a range that is zero after its prefix`
      )
    }
    return range
  })

/** No IPv4 address is in an IPv6 range, `::/0` included. */
export const contains = (cidrs: ReadonlyArray<Cidr>) => (address: Address): boolean =>
  cidrs.some(({ network, prefix }) => network.kind() === address.kind() && address.match(network, prefix))

const ranges = (...texts: ReadonlyArray<string>): ReadonlyArray<Cidr> => texts.flatMap((text) => parseCidr(text) ?? [])
const unique = ranges("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
const named: ReadonlyMap<string, ReadonlyArray<Cidr>> = new Map([
  ["loopback", ranges("127.0.0.0/8", "::1/128")],
  ["linklocal", ranges("169.254.0.0/16", "fe80::/10")],
  ["uniquelocal", unique],
  ["private", unique]
])
