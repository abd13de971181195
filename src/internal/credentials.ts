/** What a request presents to say who it is (RFC 9110 section 11), read without judging it. */

import { countFields, isToken } from "./fields.js"

/** `undefined` where there is none; `"malformed"` for what is no credentials, or more than one field of them. */
export type Presented = Credentials | "malformed" | undefined

export interface Credentials {
  /** In lower case. */
  readonly scheme: string
  /** What follows the scheme and its spaces, as it was sent; empty for a scheme alone. */
  readonly value: string
}

/**
 * Reads `Authorization`. Where a server joins several fields, or keeps the first of them, `source` has them as they came.
 */
export const readAuthorization = (header: string | undefined, source: unknown): Presented => {
  if (header === undefined) return undefined
  if (countFields(source, "authorization") > 1) return "malformed"
  const space = header.indexOf(" ")
  const scheme = space < 0 ? header : header.slice(0, space)
  if (!isToken(scheme)) return "malformed"
  let start = space < 0 ? header.length : space
  while (header.charCodeAt(start) === 0x20) start++
  return { scheme: scheme.toLowerCase(), value: header.slice(start) }
}

/** `token68` (RFC 9110 section 11.2), which a bearer token is (RFC 6750 section 2.1). */
export const isToken68 = (text: string): boolean => /^[\w.~+/-]+=*$/.test(text)

/**
 * User name and password of `Basic` (RFC 7617 section 2): the first colon ends the name, both are UTF-8, and neither has
 * control characters. `undefined` for what is none.
 */
export const readBasic = (value: string): { readonly username: string; readonly password: string } | undefined => {
  if (!isToken68(value)) return undefined
  const bytes = Buffer.from(value, "base64")
  // Node takes much else for base64; what is written otherwise would be a second spelling
  if (bytes.toString("base64").replace(/=+$/, "") !== value.replace(/=+$/, "")) return undefined
  const text = decodeUtf8(bytes)
  const colon = text?.indexOf(":") ?? -1
  if (text === undefined || colon < 0 || controls.test(text)) return undefined
  return { username: text.slice(0, colon), password: text.slice(colon + 1) }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const decodeUtf8 = (bytes: Uint8Array): string | undefined => {
  try {
    return utf8.decode(bytes)
  } catch {
    return undefined
  }
}
const controls = /\p{Cc}/u

// ---------------------------------------------------------------------------------------------------------------------
// challenges
// ---------------------------------------------------------------------------------------------------------------------

/** How a scheme asks for credentials (RFC 9110 section 11.3). */
export interface Challenge {
  readonly scheme: string
  readonly params: { readonly [name: string]: string }
  /** Whether browsers ask the person for a password when a script's request is answered by it. */
  readonly prompts: boolean
}

/** Throws on what no field can hold, naming the place. */
export const challenge = (
  place: string,
  scheme: string,
  params: { readonly [name: string]: string | undefined },
  prompts = false
): Challenge => {
  if (!isToken(scheme)) throw new TypeError(`${place}: scheme ${JSON.stringify(scheme)} is none: write a token`)
  const given: Record<string, string> = {}
  for (const [name, value] of Object.entries(params)) {
    if (value === undefined) continue
    if (!isToken(name)) throw new TypeError(`${place}: ${JSON.stringify(name)} is no parameter: write a token`)
    if (!/^[\t -~]*$/.test(value)) {
      throw new TypeError(`${place}: ${name} ${JSON.stringify(value)} has characters that no field can hold: use ASCII`)
    }
    given[name] = value
  }
  return { scheme, params: given, prompts }
}

/** With parameters added, such as an `error`. */
export const withParams = (challenge: Challenge, params: Challenge["params"]): Challenge => ({
  ...challenge,
  params: { ...challenge.params, ...params }
})

const format = ({ params, scheme }: Challenge): string =>
  [scheme, Object.entries(params).map(([name, value]) => `${name}="${value.replace(/["\\]/g, "\\$&")}"`).join(", ")]
    .filter((part) => part !== "").join(" ")

/**
 * The value of `WWW-Authenticate`: every challenge, that of `failed` in the place of the one of its scheme. To a script one
 * that prompts is not sent; where no other is, it goes by a name that no browser knows.
 */
export const formatChallenges = (
  challenges: ReadonlyArray<Challenge>,
  failed: Challenge | undefined,
  toScript: boolean
): string => {
  const all = failed === undefined || challenges.some(({ scheme }) => scheme === failed.scheme)
    ? challenges.map((one) => one.scheme === failed?.scheme ? failed : one)
    : [failed, ...challenges]
  const quiet = toScript ? all.filter(({ prompts }) => !prompts) : all
  return (quiet.length > 0 ? quiet : all.map((one) => ({ ...one, scheme: `x${one.scheme}` }))).map(format).join(", ")
}

/** Whether a script has sent it, or a browser by itself for a page: nobody is there to be asked. */
export const isOfScript = (headers: { readonly [name: string]: string | undefined }): boolean => {
  const mode = headers["sec-fetch-mode"]
  return mode === undefined
    ? headers["x-requested-with"]?.toLowerCase() === "xmlhttprequest"
    : mode !== "navigate"
}
