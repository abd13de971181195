/** What a shared cache does with a request (RFC 9111 sections 4 and 5.2.1, RFC 5861), as functions of facts. */
import type { ClientInfo } from "../Forwarded.js"
import type { Entry, VariantOf } from "../ResponseCacheStore.js"
import { formatAuthority, originForm, parseAuthority } from "./authority.js"
import { type Fields, hasValidator } from "./cachePolicy.js"
import { mergeVary, splitList } from "./fields.js"
import { contentFields } from "./preconditions.js"

// --- keys ------------------------------------------------------------------------------------------------------------

/** The URL that the client has asked for; `undefined` where nobody knows its host. */
export const keyOf = ({ host, prefix = "", scheme }: Pick<ClientInfo, "host" | "prefix" | "scheme">, target: string) =>
  host === undefined ? undefined : `${scheme}://${host}${prefix}${originForm(target)}`

/** The key of a URL that somebody has written. */
export const keyOfUrl = (url: string): string | undefined => {
  const [, scheme = "", host = "", target = ""] = /^(https?):\/\/([^/?#]+)([^#]*)/i.exec(url) ?? []
  const authority = parseAuthority(host)
  if (authority === undefined) return undefined
  const lower = scheme.toLowerCase()
  const port = authority.port === (lower === "https" ? 443 : 80) ? undefined : authority.port
  return `${lower}://${formatAuthority(authority.host, port)}${target.startsWith("/") ? "" : "/"}${target}`
}

/** Of the URLs that a response to a write names, those of the same origin (RFC 9111 section 4.4). */
export const invalidatedBy = (key: string, headers: Fields): ReadonlyArray<string> => {
  const origin = originOf(key)
  return [
    key,
    ...["location", "content-location"].flatMap((name) => {
      const value = headers[name]
      if (value === undefined || !URL.canParse(value, key)) return []
      const url = keyOfUrl(new URL(value, key).href)
      return url !== undefined && url !== key && originOf(url) === origin ? [url] : []
    })
  ]
}

const originOf = (key: string) => /^[^/]+\/\/[^/]*/.exec(key)?.[0]

/** More fields than so many would make more variants than are ever asked for again. */
const mostFields = 10

/** In one order and spelling; `undefined` for what cannot be told apart by fields. */
export const varyOf = (...values: ReadonlyArray<string | undefined>): ReadonlyArray<string> | undefined => {
  const names = splitList(mergeVary(...values).toLowerCase())
  return names.includes("*") || names.length > mostFields ? undefined : Array.from(names).sort()
}

/** `scope` is what else tells variants apart. */
export const variantOf =
  (scope: string, headers: { readonly [name: string]: string | undefined }): VariantOf => (vary) => {
    let variant = scope
    // a field has no line feed
    for (const name of vary) variant += `\n${valueOf(name, headers[name])}`
    return variant
  }

const valueOf = (name: string, value: string | undefined): string => {
  if (value === undefined) return "-"
  // the order says nothing, and neither do case and blanks; clients write it in many ways
  if (name === "accept-encoding") {
    return `+${splitList(value.toLowerCase().replace(/[ \t]/g, "")).slice().sort().join(",")}`
  }
  return `+${value}`
}

// --- requests --------------------------------------------------------------------------------------------------------

/** Fields by which some frameworks take a request for another one, and which no key has. Those of the URL `Forwarded` has hidden. */
const unkeyed = ["x-http-method-override", "x-http-method", "x-method-override"]

/** Why a read has nothing to do with the cache. */
export const bypassOf = (headers: { readonly [name: string]: string | undefined }): string | undefined => {
  if (headers["range"] !== undefined) return "range"
  // a precondition of a write is for the origin alone (RFC 9111 section 4.3.2)
  if (headers["if-match"] !== undefined || headers["if-unmodified-since"] !== undefined) return "precondition"
  if (headers["upgrade"] !== undefined) return "upgrade"
  return unkeyed.some((name) => headers[name] !== undefined) ? "unkeyed-field" : undefined
}

export interface Directives {
  readonly noCache: boolean
  readonly noStore: boolean
  readonly onlyIfCached: boolean
  /** In milliseconds, as the others. */
  readonly maxAge: number | undefined
  readonly minFresh: number | undefined
  readonly maxStale: number | undefined
}

export const noDirectives: Directives = {
  noCache: false,
  noStore: false,
  onlyIfCached: false,
  maxAge: undefined,
  minFresh: undefined,
  maxStale: undefined
}

/** Section 5.2.1. A number that is none asks for the most. */
export const parseDirectives = (value: string | undefined): Directives => {
  if (value === undefined) return noDirectives
  const found = new Map<string, string | undefined>()
  for (const element of splitList(value)) {
    const [name = "", text] = element.split("=", 2)
    found.set(name.trim().toLowerCase(), text?.trim().replace(/^"(\d+)"$/, "$1"))
  }
  const milliseconds = (name: string, otherwise: number) => {
    if (!found.has(name)) return undefined
    const text = found.get(name)
    return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) * 1000 : otherwise
  }
  return {
    noCache: found.has("no-cache"),
    noStore: found.has("no-store"),
    onlyIfCached: found.has("only-if-cached"),
    maxAge: milliseconds("max-age", 0),
    minFresh: milliseconds("min-fresh", Infinity),
    maxStale: found.has("max-stale") && found.get("max-stale") === undefined ? Infinity : milliseconds("max-stale", 0)
  }
}

// --- what is stored --------------------------------------------------------------------------------------------------

export const ageOf = ({ age, storedAt }: Entry, now: number): number => age + Math.max(0, now - storedAt)

/** How long it is fresh; below 0, how long it has been stale. */
export const leftOf = (entry: Entry, now: number): number => entry.freshFor - ageOf(entry, now)

/** Whether it is for this request, as far as its credentials go. */
export const isFor = (
  { forAuthorized, forCookies }: Entry,
  headers: { readonly [name: string]: string | undefined }
): boolean =>
  (forCookies || headers["cookie"] === undefined) && (forAuthorized || headers["authorization"] === undefined)

/** It is given; it is given, and a new one made; or it may be given after it has been validated. */
export type Verdict = "give" | "refresh" | "validate"

export const decide = (entry: Entry, { maxAge, maxStale, minFresh, noCache }: Directives, now: number): Verdict => {
  const left = leftOf(entry, now)
  if (noCache || (maxAge !== undefined && ageOf(entry, now) > maxAge)) return "validate"
  if (minFresh !== undefined && left < minFresh) return "validate"
  if (left > 0) return "give"
  if (entry.mustRevalidate) return "validate"
  if (maxStale !== undefined && -left <= maxStale) return "give"
  return -left < entry.staleWhileRevalidate ? "refresh" : "validate"
}

export const mayBeStale = (entry: Entry, now: number): boolean => -leftOf(entry, now) < entry.staleIfError

/** What a request that validates it has in the place of the client's own preconditions. */
export const validating = (entry: Entry | undefined): { readonly [name: string]: string | undefined } => ({
  "if-none-match": entry?.headers["etag"],
  "if-modified-since": entry?.headers["last-modified"]
})

/** With the fields of a 304 (section 3.2). */
export const freshened = (headers: Fields, given: Fields): Fields => {
  const merged: Record<string, string> = { ...headers }
  for (const name in given) if (!contentFields.includes(name)) merged[name] = given[name]!
  return merged
}

/** Fields of a connection, or of one answer. */
const unstored: ReadonlySet<string> = new Set([
  "age",
  "cache-status",
  "connection",
  "content-length",
  "keep-alive",
  "proxy-authenticate",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade"
])

export const storedFields = (headers: Fields): Fields =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !unstored.has(name)))

const minute = 60_000
const year = 365 * 24 * 60 * minute

/** What can be validated stays for as long again as it was fresh. */
export const keptFor = ({ age, freshFor, headers, staleIfError, staleWhileRevalidate }: Entry): number =>
  Math.min(
    year,
    Math.max(1, freshFor - age) +
      Math.max(staleWhileRevalidate, staleIfError, hasValidator(headers) ? Math.max(minute, freshFor) : 0)
  )
