/** Content codings (RFC 9110 section 8.4): which a client takes, which a body has, and what is worth one. */
import db from "mime-db"
import { quality } from "./accept.js"
import { splitList, trim } from "./fields.js"

export type Coding = "zstd" | "br" | "gzip" | "deflate"

/** A header that is longer is one of nobody's. */
const longest = 1024

const nameOf = (text: string): string => {
  const name = text.toLowerCase()
  return name === "x-gzip" ? "gzip" : name
}

/**
 * What to send to who sent this `Accept-Encoding` (RFC 9110 section 12.5.3): of what is wanted most the first of
 * `offered`, or `undefined` where nothing is acceptable, not even as it is. A header that is absent, malformed or longer
 * than any client's asks for nothing.
 */
export const negotiate = (
  header: string | undefined,
  offered: ReadonlyArray<Coding>
): Coding | "identity" | undefined => {
  const weights = header === undefined ? undefined : weightsOf(header)
  if (weights === undefined) return "identity"
  const other = weights.get("*")
  let best: Coding | undefined
  let most = 0
  for (const coding of offered) {
    const q = weights.get(coding) ?? other ?? 0
    if (q > most) [best, most] = [coding, q]
  }
  const identity = weights.get("identity") ?? other
  if (best === undefined) return identity === 0 ? undefined : "identity"
  // unless it is asked for, what is not coded is the last resort
  return (weights.get("identity") ?? 0) > most ? "identity" : best
}

const element = /^([!#$%&'*+.^_`|~\w-]+)(?:[ \t]*;[ \t]*q[ \t]*=[ \t]*([\d.]+))?$/i

const weightsOf = (header: string): ReadonlyMap<string, number> | undefined => {
  if (header.length > longest) return undefined
  const weights = new Map<string, number>()
  for (const part of splitList(header)) {
    const [, name, weight = "1"] = element.exec(part) ?? []
    const q = quality(weight)
    if (name === undefined || q === undefined) return undefined
    const coding = nameOf(name)
    if (!weights.has(coding)) weights.set(coding, q)
  }
  return weights
}

/** The codings of a `Content-Encoding`, in the order in which they were applied; `identity` is none (RFC 9110 8.4.1). */
export const codingsOf = (header: string): ReadonlyArray<string> =>
  splitList(header).map(nameOf).filter((name) => name !== "identity")

/** Of bytes that are no longer those that are sent: such a tag is weak (RFC 9110 section 8.8.1). */
export const weaken = (etag: string): string => etag.startsWith("\"") ? `W/${etag}` : etag

export const hasDirective = (cacheControl: string | undefined, name: string): boolean =>
  cacheControl !== undefined && splitList(cacheControl).some((directive) => {
    const equals = directive.indexOf("=")
    return trim(equals < 0 ? directive : directive.slice(0, equals)).toLowerCase() === name
  })

/** What is sent in lines, each of which is waited for. */
export const isLive = (type: string): boolean =>
  /^(?:text\/event-stream|application\/(?:x-)?(?:ndjson|jsonl))$/.test(type)

/** Whether bytes of a media type get smaller, as mime-db knows; of those that it does not know texts do. */
export const isCompressible = (type: string): boolean =>
  type !== "text/event-stream" &&
  (db[type]?.compressible ?? (/^text\/|\+(?:json|text|xml)$/.test(type) || isLive(type)))

/** With a file name of so many bytes in its header (RFC 1952 section 2.3.1), which is passed over by who reads it. */
export const padGzip = (gzip: Uint8Array, length: number): Uint8Array => {
  const padded = new Uint8Array(gzip.length + length + 1)
  padded.set(gzip.subarray(0, 10))
  // FNAME
  padded[3] = padded[3]! | 8
  padded.fill(0x61, 10, 10 + length)
  padded.set(gzip.subarray(10), 11 + length)
  return padded
}
