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

/**
 * The network of an address that tells one client from another, as text: the address itself where all of its bits count. An IPv4
 * address in an IPv6 one, mapped or by NAT64 (RFC 6052), is taken for the IPv4 address.
 */
export const networkOf = (text: string, ipv4Prefix: number, ipv6Prefix: number): string | undefined => {
  // what is one spelling of one address already
  if (ipv4Prefix === 32 && !text.includes(":")) return text
  const address = parseAddress(text)
  if (address === undefined) return undefined
  const client = address instanceof ipaddr.IPv6 && isTranslated(address)
    ? new ipaddr.IPv4(address.toByteArray().slice(12))
    : address
  const [prefix, bits] = client.kind() === "ipv4" ? [ipv4Prefix, 32] : [ipv6Prefix, 128]
  if (prefix === bits) return String(client)
  const bytes = client.toByteArray().map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, prefix - i * 8))))
  return `${String(ipaddr.fromByteArray(bytes))}/${prefix}`
}

const isTranslated = ({ parts }: ipaddr.IPv6): boolean =>
  parts[0] === 0x64 && parts[1] === 0xff9b && parts.slice(2, 6).every((part) => part === 0)
