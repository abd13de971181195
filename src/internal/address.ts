import ipaddr from "ipaddr.js"

/** A v4-mapped IPv6 address is held as the IPv4 address in it, so that no notation evades a comparison. */
export type Address = ipaddr.IPv4 | ipaddr.IPv6

/** An address and nothing else: no port, no brackets, no zone. `String(address)` is its one spelling (RFC 5952). */
export const parseAddress = (text: string): Address | undefined => {
  if (!text.includes(":")) return parseIPv4(text)
  // what a dual-stack socket reports for every IPv4 client
  if (text.startsWith("::ffff:") && text.includes(".")) return parseIPv4(text.slice(7))
  const address = parseIPv6(text)
  return address !== undefined && isMapped(address) ? address.toIPv4Address() : address
}

export const isLoopbackAddress = (text: string | undefined): boolean =>
  text !== undefined && parseAddress(text)?.range() === "loopback"

/** Four decimal octets as they are printed: `127.1`, `0x7f.0.0.1`, `010.0.0.1` and `1.2.3.256` are not addresses. */
export const parseIPv4 = (text: string): ipaddr.IPv4 | undefined =>
  text.length <= 15 && dotted.test(text) ? new ipaddr.IPv4(text.split(".").map(Number)) : undefined

/** Keeps a v4-mapped address an IPv6 one. */
export const parseIPv6 = (text: string): ipaddr.IPv6 | undefined => {
  if (text.length > 45 || !/^[\da-f:.]+$/i.test(text)) return undefined
  const hextets = text.includes(".") ? withoutDots(text) : text
  if (hextets === undefined) return undefined
  try {
    return ipaddr.IPv6.parse(hextets)
  } catch {
    return undefined
  }
}

const octet = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
const dotted = new RegExp(`^${octet}(?:\\.${octet}){3}$`)

// ipaddr.js takes octal octets here, and "::1.2.3.4" for a mapped address: it gets the octets as bits
const withoutDots = (text: string): string | undefined => {
  const tail = text.lastIndexOf(":") + 1
  const bits = parseIPv4(text.slice(tail))?.octets.map((octet) => octet.toString(16).padStart(2, "0")).join("")
  return bits && `${text.slice(0, tail)}${bits.slice(0, 4)}:${bits.slice(4)}`
}

const isMapped = ({ parts }: ipaddr.IPv6): boolean =>
  parts[5] === 0xffff && parts.slice(0, 5).every((part) => part === 0)
