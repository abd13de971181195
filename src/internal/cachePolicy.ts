/** What RFC 9111 has a shared cache make of a response, as far as `http-cache-semantics` knows it. */
import CachePolicy from "http-cache-semantics"
import type { Entry } from "../ResponseCacheStore.js"
import { mergeCacheControl, mergeVary, splitList } from "./fields.js"
import { formatHttpDate, parseHttpDate } from "./httpDate.js"

export interface Fields {
  readonly [name: string]: string
}

export type Terms = Pick<
  Entry,
  "freshFor" | "staleWhileRevalidate" | "staleIfError" | "mustRevalidate" | "forCookies" | "forAuthorized"
>

/** Statuses that are kept by a `ttl` alone. What is not there now may be there soon, and says itself for how long it is not. */
const byTtl: ReadonlySet<number> = new Set([200, 203, 301, 308])

/** `undefined` for what may not be stored, and for what it would be no use to store. `ttl` is for who says nothing himself. */
export const judge = (
  request: Fields,
  { headers, status }: { readonly status: number; readonly headers: Fields },
  { now, ttl }: { readonly now: number; readonly ttl: number | undefined }
): Terms | undefined => {
  const directives = directivesOf(headers["cache-control"])
  const vary = splitList(mergeVary(headers["vary"]).toLowerCase())
  if (vary.includes("*") || headers["set-cookie"] !== undefined) return undefined
  const seconds = (name: string) => Number(directives.get(name) ?? 0) * 1000
  const has = (...names: ReadonlyArray<string>) => names.some((name) => directives.has(name))
  const isExplicit = has("max-age", "s-maxage", "no-cache") || headers["expires"] !== undefined

  const policy = new CachePolicy(
    { method: "GET", headers: { ...request } },
    {
      status,
      headers: {
        ...headers,
        // its parsers know neither case nor commas in quotes, and take "0" for a year, and the time of day for no date
        "cache-control": print(directives),
        ...headers["expires"] !== undefined && { expires: formatHttpDate(parseHttpDate(headers["expires"], now) ?? 0) },
        date: formatHttpDate(now)
      }
    },
    { shared: true, cacheHeuristic: 0, immutableMinTimeToLive: 0 }
  )
  if (!policy.storable()) return undefined

  // s-maxage demands it of a shared cache too (section 5.2.2.10), unless the response itself says how stale it may be
  const mustRevalidate = has("must-revalidate", "proxy-revalidate", "no-cache") ||
    (has("s-maxage") && !has("stale-while-revalidate", "stale-if-error"))
  const terms: Terms = {
    freshFor: isExplicit ? policy.maxAge() * 1000 : byTtl.has(status) ? ttl ?? 0 : 0,
    staleWhileRevalidate: mustRevalidate ? 0 : seconds("stale-while-revalidate"),
    staleIfError: mustRevalidate ? 0 : seconds("stale-if-error"),
    mustRevalidate,
    forCookies: directives.has("public") || vary.includes("cookie"),
    forAuthorized: has("public", "s-maxage", "must-revalidate") || vary.includes("authorization")
  }
  // RFC 9111 section 3.5 has its say on Authorization above; of cookies it has none
  if (request["cookie"] !== undefined && !terms.forCookies) return undefined
  const isUseful = terms.freshFor > 0 || terms.staleWhileRevalidate > 0 || (isExplicit && hasValidator(headers))
  return isUseful ? terms : undefined
}

export const hasValidator = (headers: Fields): boolean =>
  headers["etag"] !== undefined || headers["last-modified"] !== undefined

/** Those that mean something here, as the library spells them. */
const known: ReadonlySet<string> = new Set([
  "max-age",
  "must-revalidate",
  "no-cache",
  "no-store",
  "private",
  "proxy-revalidate",
  "public",
  "s-maxage",
  "stale-if-error",
  "stale-while-revalidate"
])

const directivesOf = (value: string | undefined): ReadonlyMap<string, string | true> => {
  const directives = new Map<string, string | true>()
  for (const element of splitList(mergeCacheControl(value))) {
    const equals = element.indexOf("=")
    const name = equals === -1 ? element : element.slice(0, equals)
    if (known.has(name)) {
      directives.set(name, equals === -1 || element[equals + 1] === "\"" ? true : element.slice(equals + 1))
    }
  }
  return directives
}

/** Without `proxy-revalidate`, with which nothing is ever fresh to the library. */
const print = (directives: ReadonlyMap<string, string | true>): string =>
  Array.from(directives).flatMap(([name, value]) =>
    name === "proxy-revalidate" ? [] : value === true ? [name] : [`${name}=${value}`]
  ).join(", ")
