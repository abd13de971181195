import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as Effect from "effect/Effect"
import { type Authority, defaultPorts, formatAuthority, parseAuthority, toAscii } from "./authority.js"

/** What a function that decides on origins fails with, where what it gives is an Effect; of anything else nothing. */
export type Failure<O> = O extends (...args: never) => infer V ? ErrorOf<V> : never
type ErrorOf<V> = V extends Effect.Effect<boolean, infer E, unknown> ? E : never
/** What it requires, but for the request. */
export type Requirement<O> = O extends (...args: never) => infer V ? ContextOf<V> : never
type ContextOf<V> = V extends Effect.Effect<boolean, unknown, infer R> ? Exclude<R, HttpServerRequest.HttpServerRequest>
  : never

/** Whether an `Origin` as received is one of those listed. */
export type OriginTest = (origin: string) => boolean

/**
 * Compiles a list of origins. Strings are written as a person writes them and compared as a browser does, byte by byte
 * with the serialisation (RFC 6454 6.2): what a client sends is never normalised. `place` is what a mistake is blamed on.
 */
export const compileOrigins = (place: string, origins: ReadonlyArray<string | RegExp>): OriginTest => {
  const exact = new Set<string>()
  const subdomains: Array<readonly [scheme: string, suffix: string]> = []
  const expressions: Array<RegExp> = []
  for (const origin of origins) {
    if (typeof origin !== "string") expressions.push(anchored(origin))
    else if (origin === "null") exact.add(origin)
    else {
      const { authority, scheme, wildcard } = parsePattern(origin) ?? fail(place, origin)
      if (wildcard) subdomains.push([scheme, `.${authority}`])
      else exact.add(scheme + authority)
    }
  }
  return (origin) =>
    exact.has(origin) ||
    (isOrigin(origin) &&
      (subdomains.some(([scheme, suffix]) => isSubdomain(origin, scheme, suffix)) ||
        expressions.some((expression) => expression.test(origin))))
}

/**
 * One origin with a scheme, in characters that an origin can have: not `null`, nor several with commas, nor a path. What
 * passes can be sent back in a field, and is short enough for a regular expression of the user's.
 */
export const isOrigin = (text: string): boolean => text.length <= longest && serialised.test(text)

/** Whether an origin of the web is the host that the request is for; a port that is its scheme's default may be left out. */
export const isSameHost = (origin: string, host: string | undefined): boolean => {
  const web = parseWebOrigin(origin)
  const b = parseAuthority(host ?? "")
  if (web === undefined || b === undefined) return false
  const { authority: a, port } = web
  return a.host === b.host && (a.port ?? port) === (b.port ?? port)
}

/** The same; and of a request that is known to have come by https, no page of http is. */
export const isSameOrigin = (origin: string, host: string | undefined, secure: boolean): boolean =>
  isWritten(origin, host, secure) || (isSameHost(origin, host) && (!secure || origin.startsWith("https:")))

/** Almost every browser writes the origin as the host that it asks for, and then nothing is to be parsed. */
const isWritten = (origin: string, host: string | undefined, secure: boolean): boolean =>
  host !== undefined && host !== "" && origin.endsWith(host) && isOrigin(origin) &&
  (origin === `https://${host}` || (!secure && origin === `http://${host}`))

/** An origin of the web: its host, and the port that is its scheme's default. */
export const parseWebOrigin = (
  origin: string
): { readonly authority: Authority; readonly port: number | undefined } | undefined => {
  const web = /^(https?):\/\/(.*)$/.exec(origin)
  const authority = web === null ? undefined : parseAuthority(web[2]!)
  return authority === undefined ? undefined : { authority, port: portOf(web![1]!) }
}

// a scheme, a name of 253, a port
const longest = 300
const serialised = /^[a-z][a-z\d+.-]*:\/\/[\w.:[\]-]*$/i

const portOf = (scheme: string): number | undefined =>
  scheme === "http" || scheme === "https" ? defaultPorts[scheme] : undefined

interface Pattern {
  readonly scheme: string
  readonly authority: string
  readonly wildcard: boolean
}

const parsePattern = (text: string): Pattern | undefined => {
  const [, name = "", star, rest = ""] = /^([a-z][a-z\d+.-]*):\/\/(\*\.)?(.*)$/i.exec(text) ?? []
  const authority = parseAuthority(toAscii(rest) ?? "")
  // to an authority `host.` and `host:` are `host`; no browser sends one for the other
  if (authority === undefined || /[.:]$/.test(rest)) return undefined
  const wildcard = star !== undefined
  if (wildcard && authority.kind !== "name") return undefined
  const scheme = name.toLowerCase()
  const port = authority.port === portOf(scheme) ? undefined : authority.port
  return { scheme: `${scheme}://`, authority: formatAuthority(authority.host, port), wildcard }
}

const fail = (place: string, text: string): never => {
  throw new TypeError(`${place} has ${JSON.stringify(text)}: ${remedy(text)}`)
}

const remedy = (text: string): string => {
  const [, scheme, host = ""] = /^([^/]*:\/\/)(.*)$/.exec(text) ?? []
  if (text === "*") return `to allow every origin write "*" alone, in no list`
  if (scheme === undefined) return `begin with the scheme ("https://example.com")`
  const end = host.search(/[/?#\\]/)
  if (end > 0) return `write ${JSON.stringify(scheme + host.slice(0, end))}, an origin has no path`
  if (host.includes("@")) return "leave out the user, an origin has none"
  if (text.includes("*")) {
    return `"*" stands for subdomains alone ("https://*.example.com"); for anything else write a RegExp`
  }
  return `write "https://example.com" or "https://*.example.com", with a ":port" where it is not the default`
}

const isSubdomain = (origin: string, scheme: string, suffix: string): boolean =>
  origin.startsWith(scheme) && origin.endsWith(suffix) &&
  /^[a-z\d_-]+(?:\.[a-z\d_-]+)*$/.test(origin.slice(scheme.length, -suffix.length))

// without the flags that keep a position
const anchored = ({ flags, source }: RegExp): RegExp => new RegExp(`^(?:${source})$`, flags.replace(/[gy]/g, ""))
