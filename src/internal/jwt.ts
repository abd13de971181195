/** What a JSON Web Token has to be (RFC 7515, RFC 7519, RFC 8725), decided in plain code. */
import { isUtf8 } from "node:buffer"
import { type Algorithm, decode, isRecord, isSignedBy, type Key } from "./jwk.js"

/** Why a token is refused. */
export const reasons = [
  "too-large",
  "malformed",
  "encrypted",
  "algorithm",
  "type",
  "header",
  "unknown-key",
  "signature",
  "payload",
  "time",
  "expired",
  "not-yet-valid",
  "issued-in-future",
  "too-old",
  "issuer",
  "audience",
  "claims"
] as const

export type Reason = typeof reasons[number]

export type Payload = { readonly [name: string]: unknown }

// ---------------------------------------------------------------------------------------------------------------------
// the token
// ---------------------------------------------------------------------------------------------------------------------

export interface Header {
  readonly algorithm: Algorithm
  readonly kid: string | undefined
}

export interface Parsed {
  readonly header: Header
  /** What is signed. */
  readonly input: string
  readonly payload: string
  readonly signature: string
}

/** Splits a token and reads its header; what comes after the header is not looked at. */
export const parser = (options: {
  readonly maxSize: number
  readonly algorithms: ReadonlyArray<Algorithm>
  /** In lower case, without `application/`. `undefined`: those of access tokens, or none. */
  readonly types: ReadonlyArray<string> | undefined
}): (token: string) => Parsed | Reason => {
  const { maxSize } = options
  const readHeader = remembered(headerReader(options))
  return (token) => {
    if (token.length > maxSize) return "too-large"
    const first = token.indexOf(".")
    const second = token.indexOf(".", first + 1)
    if (first < 0 || second < 0) return "malformed"
    if (token.includes(".", second + 1)) return token.split(".").length === 5 ? "encrypted" : "malformed"
    const header = readHeader(token.slice(0, first))
    return typeof header === "string" ? header : {
      header,
      input: token.slice(0, second),
      payload: token.slice(first + 1, second),
      signature: token.slice(second + 1)
    }
  }
}

const headerReader = ({ algorithms, types }: {
  readonly algorithms: ReadonlyArray<Algorithm>
  readonly types: ReadonlyArray<string> | undefined
}) =>
(text: string): Header | Reason => {
  const header = readObject(text)
  if (header === undefined) return "malformed"
  // of JWE (RFC 7516 section 4.1)
  if ("enc" in header) return "encrypted"
  const { alg, kid, typ } = header
  const algorithm = algorithms.find((name) => name === alg)
  if (algorithm === undefined) return "algorithm"
  // no extension is understood here, and RFC 7797's `b64` changes what is signed
  if ("crit" in header || "b64" in header || "zip" in header) return "header"
  if (kid !== undefined && typeof kid !== "string") return "header"
  return isType(typ, types) ? { algorithm, kid } : "type"
}

const isType = (typ: unknown, types: ReadonlyArray<string> | undefined): boolean => {
  if (typ === undefined) return types === undefined
  return typeof typ === "string" && (types ?? usualTypes).includes(mediaType(typ))
}
const usualTypes = ["jwt", "at+jwt"]

/** A `typ` to compare by: case does not count, and `application/` may be left out (RFC 7515 section 4.1.9). */
export const mediaType = (typ: string): string => typ.toLowerCase().replace(/^application\//, "")

/** Those of one issuer have few headers, so the good ones are read once. */
const remembered = (read: (text: string) => Header | Reason) => {
  const known = new Map<string, Header>()
  return (text: string): Header | Reason => {
    const header = known.get(text) ?? read(text)
    if (typeof header === "string" || known.has(text) || text.length > 256) return header
    if (known.size === 32) known.clear()
    known.set(text, header)
    return header
  }
}

/** A JSON object in base64url. Of two members with one name the last counts (RFC 7519 section 4). */
const readObject = (text: string): Payload | undefined => {
  const bytes = decode(text)
  if (bytes === undefined || !isUtf8(bytes)) return undefined
  try {
    const value: unknown = JSON.parse(bytes.toString())
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// the signature
// ---------------------------------------------------------------------------------------------------------------------

/** By each key that may have signed it, until one has. */
export const checkSignature = (
  { header: { algorithm, kid }, input, signature }: Parsed,
  keys: ReadonlyArray<Key>
): "unknown-key" | "signature" | undefined => {
  let outcome: "unknown-key" | "signature" = "unknown-key"
  for (const key of keys) {
    if (kid !== undefined && key.kid !== undefined && key.kid !== kid) continue
    if (!key.algorithms.includes(algorithm)) continue
    if (isSignedBy(key, algorithm, input, signature)) return undefined
    outcome = "signature"
  }
  return outcome
}

// ---------------------------------------------------------------------------------------------------------------------
// claims
// ---------------------------------------------------------------------------------------------------------------------

/** When a token is good, in milliseconds: from, and before. */
export interface Window {
  readonly from: number
  readonly until: number
}

export interface Checked extends Window {
  readonly payload: Payload
}

/** Durations are in milliseconds. */
export const claimsPolicy = ({ audience, issuer, maxAge, tolerance }: {
  readonly issuer: ReadonlyArray<string>
  /** `undefined`: any, and none. */
  readonly audience: ReadonlyArray<string> | undefined
  readonly tolerance: number
  readonly maxAge: number | undefined
}) =>
(text: string, now: number): Checked | Reason => {
  const payload = readObject(text)
  if (payload === undefined) return "payload"
  const { aud, exp, iat, iss, nbf } = payload
  if (!isDate(exp) || !(nbf === undefined || isDate(nbf)) || !(iat === undefined || isDate(iat))) return "time"
  if (now >= exp * 1000 + tolerance) return "expired"
  if (nbf !== undefined && now < nbf * 1000 - tolerance) return "not-yet-valid"
  if (iat !== undefined && now < iat * 1000 - tolerance) return "issued-in-future"
  let until = exp * 1000 + tolerance
  if (maxAge !== undefined) {
    if (iat === undefined) return "time"
    until = Math.min(until, iat * 1000 + maxAge + tolerance)
    if (now >= until) return "too-old"
  }
  if (!issuer.some((name) => name === iss)) return "issuer"
  if (audience !== undefined && !isFor(aud, audience)) return "audience"
  return { payload, from: Math.max(nbf ?? -lastDate, iat ?? -lastDate) * 1000 - tolerance, until }
}

/** Seconds since the epoch (RFC 7519 section 2), of which there is a date. */
export const isDate = (value: unknown): value is number => typeof value === "number" && Math.abs(value) <= lastDate
/** A day before the last that `Date` knows, so that a tolerance has room. */
const lastDate = 8_640_000_000_000 - 86_400

const isFor = (aud: unknown, audience: ReadonlyArray<string>): boolean =>
  Array.isArray(aud)
    ? aud.every((one) => typeof one === "string") && audience.some((name) => aud.includes(name))
    : audience.some((name) => name === aud)

/** The scopes of an access token: `scope` (RFC 8693 section 4.2), or the `scp` of those who had it before. */
export const scopesOf = ({ scope, scp }: Payload): ReadonlyArray<string> => {
  const scopes = scope ?? scp
  if (typeof scopes === "string") return scopes.split(" ").filter((one) => one !== "")
  return Array.isArray(scopes) && scopes.every((one) => typeof one === "string") ? scopes : []
}

// ---------------------------------------------------------------------------------------------------------------------
// the cache
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What has lately been used, `capacity` at most, in two generations: once the young one is full, it is the old one, and what
 * was not asked for since is gone. To find something in the young one writes nothing.
 */
export class Recent<V> {
  private young = new Map<string, V>()
  private old = new Map<string, V>()
  private readonly half: number

  constructor(capacity: number) {
    this.half = Math.floor(capacity / 2)
  }

  get(key: string): V | undefined {
    const value = this.young.get(key)
    if (value !== undefined) return value
    const older = this.old.get(key)
    if (older !== undefined) this.set(key, older)
    return older
  }

  set(key: string, value: V): void {
    if (this.young.size >= this.half && !this.young.has(key)) {
      this.old = this.young
      this.young = new Map()
    }
    this.young.set(key, value)
  }

  clear(): void {
    this.young = new Map()
    this.old = new Map()
  }
}
