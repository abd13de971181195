import { isLoopbackAddress, parseIPv4, parseIPv6 } from "./address.js"

export interface Authority {
  /** Lower-case, without the dot of a fully qualified name; an IPv6 literal keeps its brackets, as in a URL. */
  readonly host: string
  readonly port: number | undefined
  readonly kind: "name" | "ipv4" | "ipv6"
}

/**
 * `uri-host [ ":" port ]` (RFC 9110 7.2, RFC 3986 3.2), narrower than the grammar: a name has letters, digits, `-`, `_`
 * and `.`, so that it is the same host to every reader. `host:` is `host` without a port (RFC 3986 3.2.3).
 */
export const parseAuthority = (text: string): Authority | undefined => {
  if (text.length > longest) return undefined
  const end = text.startsWith("[") ? text.indexOf("]") + 1 : text.indexOf(":")
  const host = parseHost(end < 0 ? text : text.slice(0, end))
  const port = end < 0 ? undefined : parsePort(text.slice(end))
  return host === undefined || port === "malformed" ? undefined : { host: host[0], port, kind: host[1] }
}

export const defaultPorts = { http: 80, https: 443 }

/** `localhost`, its subdomains (RFC 6761 6.3) and the addresses, whatever the port. */
export const isLoopbackHost = (authority: Authority | undefined): boolean => {
  if (authority === undefined) return false
  return authority.kind === "name"
    ? authority.host === "localhost" || authority.host.endsWith(".localhost")
    : isLoopbackAddress(authority.host.replace(/^\[|\]$/g, ""))
}

/** The authority as it is written: the port in the clear, an IPv6 literal in brackets. */
export const formatAuthority = (host: string, port: number | undefined): string =>
  port === undefined ? host : `${host}:${port}`

/**
 * The ASCII form (IDNA) of a `host[:port]` in a configuration; text that is ASCII already comes back as it is. What
 * arrives in a header is never converted: a client sends the ASCII form.
 */
export const toAscii = (text: string): string | undefined => {
  if (/^[\0-\x7f]*$/.test(text)) return text
  const colon = text.indexOf(":")
  const name = colon < 0 ? text : text.slice(0, colon)
  // URL reads much else before a host: only what can be in a name may come near it
  const url = /^[-\w.\x80-\uffff]*$/.test(name) && URL.canParse(`http://${name}`)
    ? new URL(`http://${name}`)
    : undefined
  return url && url.hostname + text.slice(name.length)
}

/**
 * The authority that a request target carries itself, in absolute-form or authority-form (RFC 9112 3.2); `undefined` in
 * origin-form, where the `Host` header has it. A router's mount may leave a target that is empty or only a query.
 */
export const targetAuthority = (target: string): Authority | "malformed" | undefined => {
  if (target === "" || target === "*" || target.startsWith("/") || target.startsWith("?")) return undefined
  const absolute = absoluteForm.exec(target)
  const authority = parseAuthority(absolute?.[1] ?? target)
  return authority === undefined || (absolute === null && authority.port === undefined) ? "malformed" : authority
}

/** Path and query of a request target, as sent; `/` for one that has no path of its own (`*`, `host:port`). */
export const originForm = (target: string): string => {
  const start = absoluteForm.exec(target)?.[0].length ?? 0
  const hash = target.indexOf("#")
  const path = target.slice(start, hash < 0 ? undefined : hash)
  return path.startsWith("/") ? path : path.startsWith("?") ? `/${path}` : "/"
}

/**
 * Where a redirect to another authority leads. The authority stands before the path, so that a path such as
 * `//evil.test` cannot become one; bytes that a header may not hold are percent-encoded.
 */
export const redirectLocation = (scheme: "http:" | "https:" | "", authority: string, target: string): string =>
  `${scheme}//${authority}${originForm(target).replace(/[^!-~]/g, percent)}`

// a name of 253 and its dot, a port of 5 and its colon
const longest = 260

// as a client with TLS or a WebSocket may write them
const absoluteForm = /^(?:http|ws)s?:\/\/([^/?#]*)/i

const parseHost = (text: string): readonly [host: string, kind: Authority["kind"]] | undefined => {
  if (text.startsWith("[")) {
    const address = parseIPv6(text.slice(1, -1))
    return address && [`[${address}]`, "ipv6"]
  }
  if (!/^[-\w.]+$/.test(text)) return undefined
  const name = (text.endsWith(".") ? text.slice(0, -1) : text).toLowerCase()
  const labels = name.split(".")
  // what ends in a number is an IPv4 address to a URL parser: "127.1", "0x7f.1" and "2130706433" are 127.0.0.1
  if (/^(?:\d+|0x[\da-f]*)$/.test(labels[labels.length - 1] ?? "")) {
    return parseIPv4(name) && [name, "ipv4"]
  }
  return name.length <= 253 && labels.every((label) => label !== "" && label.length <= 63) ? [name, "name"] : undefined
}

const parsePort = (text: string): number | undefined | "malformed" => {
  if (text === "" || text === ":") return undefined
  const port = /^:\d{1,5}$/.test(text) ? Number(text.slice(1)) : Infinity
  return port <= 65535 ? port : "malformed"
}

// Node gives the bytes of a target one by one; what is no byte did not come from the wire
const percent = (char: string): string => {
  const code = char.charCodeAt(0)
  return code > 0xff ? "%EF%BF%BD" : `%${code.toString(16).toUpperCase().padStart(2, "0")}`
}
