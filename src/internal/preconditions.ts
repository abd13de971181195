/** Conditional requests (RFC 9110 section 13), as functions of facts. */
import { trim } from "./fields.js"
import { parseHttpDate } from "./httpDate.js"

/** Field values, as they are sent. */
export interface Validators {
  readonly etag?: string | undefined
  readonly lastModified?: string | undefined
}

export interface Fields {
  readonly [name: string]: string | undefined
}

export type Verdict = "proceed" | "notModified" | "failed"

/** A GET or HEAD alone can be told that nothing has changed. */
export const isRead = (method: string): boolean => method === "GET" || method === "HEAD"

/** Whether a request has a precondition that `evaluate` would look at. */
export const isConditional = (headers: Fields): boolean =>
  headers["if-none-match"] !== undefined || headers["if-modified-since"] !== undefined || hasGuard(headers)

/** One that keeps a write from being made to what the client has not seen. */
export const hasGuard = (headers: Fields): boolean =>
  headers["if-match"] !== undefined || headers["if-unmodified-since"] !== undefined

/** In the order of RFC 9110 section 13.2.2; `null` where there is nothing at the target. */
export const evaluate = (method: string, headers: Fields, current: Validators | null, now: number): Verdict => {
  const match = headers["if-match"]
  if (match !== undefined) {
    if (!matches(match, current, sameStrong)) return "failed"
  } else if (isLater(current?.lastModified, headers["if-unmodified-since"], now) === true) return "failed"

  const noneMatch = headers["if-none-match"]
  if (noneMatch !== undefined) {
    if (matches(noneMatch, current, sameWeak)) return isRead(method) ? "notModified" : "failed"
  } else if (isRead(method) && isLater(current?.lastModified, headers["if-modified-since"], now) === false) {
    return "notModified"
  }
  // If-Range is for who answers with ranges
  return "proceed"
}

/** `undefined` where one of the dates is not there, or is none. */
const isLater = (modified: string | undefined, since: string | undefined, now: number): boolean | undefined => {
  if (modified === undefined || since === undefined) return undefined
  const [a, b] = [parseHttpDate(modified, now), parseHttpDate(since, now)]
  return a === undefined || b === undefined ? undefined : a > b
}

/** What is longer is no list that a client has made of what it was given. */
const longest = 16_384

const matches = (list: string, current: Validators | null, same: (a: string, b: string) => boolean): boolean => {
  if (current === null || list.length > longest) return false
  if (trim(list) === "*") return true
  const { etag } = current
  return etag !== undefined && entityTags(list).some((tag) => same(tag, etag))
}

/** Section 8.8.3.2: a weak one is equal to nothing in the strong comparison. */
const sameStrong = (a: string, b: string) => a === b && !a.startsWith("W/")
const sameWeak = (a: string, b: string) => opaque(a) === opaque(b)
const opaque = (tag: string) => tag.startsWith("W/") ? tag.slice(2) : tag

/**
 * The tags of `If-Match` or `If-None-Match`, up to the first thing that is none. A comma may stand in a tag, and a backslash
 * escapes nothing there, so it is no list of quoted strings.
 */
export const entityTags = (list: string): ReadonlyArray<string> => {
  const tags: Array<string> = []
  const element = /[\t ,]*((?:W\/)?"[\x21\x23-\x7e\x80-\xff]*")[\t ]*(?=,|$)/y
  for (let found = element.exec(list); found !== null; found = element.exec(list)) tags.push(found[1]!)
  return tags
}

/** Whether a text is one entity-tag as it is sent. */
export const isEntityTag = (text: string): boolean => /^(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"$/.test(text)

/** What a 304 has none of: it describes the content that is not sent. `Content-Location` it has (section 15.4.5). */
export const contentFields: ReadonlyArray<string> = [
  "accept-ranges",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-length",
  "content-range",
  "content-type",
  "content-digest",
  "content-md5",
  "repr-digest"
]
