import { type Address, parseAddress } from "./address.js"
import { defaultPorts } from "./authority.js"
import { trim } from "./fields.js"

/** What a proxy says of the party it speaks to (RFC 7239 6). */
export type Node =
  | { readonly _tag: "Address"; readonly address: Address; readonly port: number | undefined }
  | { readonly _tag: "Obfuscated" }
  | { readonly _tag: "Unknown" }

export interface Element {
  readonly for: string | undefined
  readonly by: string | undefined
  readonly host: string | undefined
  readonly proto: string | undefined
}

export type Field = "proto" | "host" | "port" | "prefix"

export type Header = (name: string) => string | undefined

export interface Reading {
  /** Parties in the order of the header, each named by the one to its right. */
  readonly nodes: ReadonlyArray<Node | undefined>
  /** What the party that named `nodes[index]` says of its request. */
  readonly field: (name: Field, index: number) => string | undefined
}

/**
 * A list is read from its right end, where the nearest proxy wrote: nothing to the left of an element can change how it
 * reads, so a client cannot open a quote that swallows what a proxy adds. What is further left than this many elements
 * is malformed.
 */
export const maxElements = 100

/**
 * `Forwarded` (RFC 7239 4), in the order of the field. The parameters this package does not know are left out. A
 * malformed element is `undefined` and the first one of the result: what is to its left was not read.
 */
export const parseForwarded = (value: string): ReadonlyArray<Element | undefined> => {
  const elements: Array<Element | undefined> = []
  let end = value.length
  while (end >= 0) {
    const start = elementStart(value, end)
    const text = trim(value.slice(start, end))
    const element = elements.length < maxElements ? parseElement(text) : undefined
    end = start - 1
    // a list may have empty elements (RFC 9110 5.6.1)
    if (text === "") continue
    elements.push(element)
    if (element === undefined) break
  }
  return elements.reverse()
}

/** `X-Forwarded-For`, in the order of the field; a malformed element, and all that is left of `maxElements`, `undefined`. */
export const parseXForwardedFor = (value: string): ReadonlyArray<Node | undefined> =>
  splitRight(value).map((text) => (text === undefined ? undefined : parseLooseNode(text)))

/**
 * The elements of a list of plain words, empty ones included, since a position means something. Longer than
 * `maxElements`, it gives the last of them behind one `undefined`.
 */
export const splitRight = (value: string): ReadonlyArray<string | undefined> => {
  if (trim(value) === "") return []
  const elements: Array<string | undefined> = []
  let end = value.length
  while (end >= 0 && elements.length < maxElements) {
    // lastIndexOf takes a negative index for 0, where a comma may stand
    const start = end === 0 ? 0 : value.lastIndexOf(",", end - 1) + 1
    elements.push(trim(value.slice(start, end)))
    end = start - 1
  }
  if (end >= 0) elements.push(undefined)
  return elements.reverse()
}

/** `node` of RFC 7239 6: an address, an IPv6 one in brackets, `unknown` or `_name`; each may have a port or `_port`. */
export const parseNode = (text: string): Node | undefined => {
  const [, ipv6, name, port] = /^(?:\[([^\]]*)\]|([^:[\]]+))(?::(\d{1,5}|_[\w.-]+))?$/.exec(text) ?? []
  const number = port === undefined || port.startsWith("_") ? undefined : Number(port)
  if (number !== undefined && number > 65535) return undefined
  if (ipv6 !== undefined) return ipv6.includes(":") ? addressNode(ipv6, number) : undefined
  if (name === undefined) return undefined
  if (/^_[\w.-]+$/.test(name)) return obfuscated
  return name.toLowerCase() === "unknown" ? unknown : addressNode(name, number)
}

/**
 * `X-Forwarded-*`. Of those in `fields`, a single value is one that the proxy has overwritten; as many as there are in
 * `X-Forwarded-For` stand at the same positions; of any other number none can be told to be the client's.
 */
export const readXForwarded = (fields: ReadonlySet<Field>) => (header: Header): Reading => {
  const nodes = parseXForwardedFor(header("x-forwarded-for") ?? "")
  return {
    nodes,
    field: (name, index) => {
      const values = fields.has(name) ? splitRight(header(`x-forwarded-${name}`) ?? "") : []
      if (values.length === 1) return values[0]
      // the first one is undefined where the list was too long to tell its length
      return values.length === nodes.length && values[0] !== undefined ? values[index] : undefined
    }
  }
}

export const readForwarded = (header: Header): Reading => {
  const elements = parseForwarded(header("forwarded") ?? "")
  return {
    nodes: elements.map((element) => element && (element.for === undefined ? unknown : parseNode(element.for))),
    field: (name, index) => (name === "proto" || name === "host" ? elements[index]?.[name] : undefined)
  }
}

/** A proxy behind the one that ends TLS says 80 of a request that came in on 443: the other scheme's port is none. */
export const parsePort = (text: string | undefined, scheme: "http" | "https"): number | undefined => {
  const port = text !== undefined && /^\d{1,5}$/.test(text) ? Number(text) : 0
  const other = defaultPorts[scheme === "http" ? "https" : "http"]
  return port > 0 && port <= 65535 && port !== other ? port : undefined
}

/** A path without what a URL parser resolves, decodes or reads as an authority. */
export const parsePrefix = (text: string | undefined): string | undefined => {
  if (text === undefined || !/^(?:\/[-\w.~!$&'()*+;=:@]+)+\/?$/.test(text)) return undefined
  const segments = text.split("/")
  if (segments.includes(".") || segments.includes("..")) return undefined
  return text.endsWith("/") ? text.slice(0, -1) : text
}

const unknown: Node = { _tag: "Unknown" }
const obfuscated: Node = { _tag: "Obfuscated" }

const addressNode = (text: string, port: number | undefined): Node | undefined => {
  const address = parseAddress(text)
  return address && { _tag: "Address", address, port }
}

// proxies that predate RFC 7239 write an IPv6 address without brackets
const parseLooseNode = (text: string): Node | undefined => addressNode(text, undefined) ?? parseNode(text)

// A quote met from the right closes a string, which opens at the nearest quote without a backslash before it: within the
// string a quote has one, and the quote that opens it has "=".
const elementStart = (value: string, end: number): number => {
  for (let index = end - 1; index >= 0; index--) {
    const char = value.charAt(index)
    if (char === ",") return index + 1
    if (char === "\"") {
      do index = value.lastIndexOf("\"", index - 1)
      while (value.charAt(index - 1) === "\\")
    }
  }
  return 0
}

// no two parts that repeat can match the same character: it cannot backtrack far
const pair =
  /(?:([!#$%&'*+\-.^`|~\w]+)=(?:([!#$%&'*+\-.^`|~\w]+)|"([^"\\\0-\x08\x0a-\x1f\x7f]*(?:\\[^\0-\x08\x0a-\x1f\x7f][^"\\\0-\x08\x0a-\x1f\x7f]*)*)")[ \t]*)?(?:;[ \t]*|$)/y

const parseElement = (text: string): Element | undefined => {
  const pairs = new Map<string, string>()
  pair.lastIndex = 0
  while (pair.lastIndex < text.length) {
    const match = pair.exec(text)
    if (match === null) return undefined
    const name = match[1]?.toLowerCase()
    if (name === undefined) continue
    if (pairs.has(name)) return undefined
    pairs.set(name, match[2] ?? (match[3] ?? "").replace(/\\(.)/g, "$1"))
  }
  return { for: pairs.get("for"), by: pairs.get("by"), host: pairs.get("host"), proto: pairs.get("proto") }
}
