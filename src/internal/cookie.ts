import type * as Cookies from "@effect/platform/Cookies"
import { isLoopbackHost, parseAuthority, toAscii } from "./authority.js"

// ---------------------------------------------------------------------------------------------------------------------
// reading
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The value of the first cookie of that name in a `Cookie` field (RFC 6265 4.2.1); a browser puts the one of the longest
 * path first. The name is compared as it is, case included. Around name and value, spaces and tabs go and nothing else;
 * DQUOTEs around a value go too, and a `;` separates also between them. Nothing is decoded.
 *
 * The others are not parsed. A field of more than 64 KiB has no cookies.
 */
export const readCookie = (header: string | undefined, name: string): string | undefined => {
  if (header === undefined || header.length > longestField || name === "") return undefined
  for (let at = header.indexOf(name); at >= 0; at = header.indexOf(name, at + name.length)) {
    const before = skipBlanks(header, at - 1, -1)
    const equals = skipBlanks(header, at + name.length, 1)
    if ((before < 0 || header[before] === ";") && header[equals] === "=") return valueAt(header, equals + 1)
  }
  return undefined
}

/** The value of a cookie that may have come in chunks: of `name`, or of `name.0`, `name.1` and so on, joined. */
export const readChunks = (header: string | undefined, name: string): string | undefined => {
  const whole = readCookie(header, name)
  if (whole !== undefined) return whole
  const chunks = chunkNames(name).map((chunk) => readCookie(header, chunk))
  const count = chunks.indexOf(undefined)
  // a chunk after one that is missing: what is left is not the value
  if (count === 0 || (count > 0 && chunks.some((chunk, index) => index > count && chunk !== undefined))) {
    return undefined
  }
  return chunks.join("")
}

const longestField = 65_536
/**
 * Some 12 kB: Node refuses a request whose fields have more than 16 KiB, by a 431 that no app sees, and a browser sends all
 * of its cookies with every request.
 */
export const mostChunks = 3

const chunkNames = (name: string): ReadonlyArray<string> =>
  Array.from({ length: mostChunks }, (_, index) => `${name}.${index}`)

const isBlank = (char: string | undefined): boolean => char === " " || char === "\t"

const skipBlanks = (text: string, from: number, step: 1 | -1): number => {
  let at = from
  while (isBlank(text[at])) at += step
  return at
}

const valueAt = (header: string, from: number): string => {
  const semicolon = header.indexOf(";", from)
  const start = skipBlanks(header, from, 1)
  const end = skipBlanks(header, (semicolon < 0 ? header.length : semicolon) - 1, -1) + 1
  // of a value that is only blanks, the two have passed one another
  const value = start < end ? header.slice(start, end) : ""
  return value.length > 1 && value.startsWith("\"") && value.endsWith("\"") ? value.slice(1, -1) : value
}

// ---------------------------------------------------------------------------------------------------------------------
// writing
// ---------------------------------------------------------------------------------------------------------------------

export interface CookieOptions {
  /** Without a prefix. */
  readonly name?: string | undefined
  /**
   * What a browser checks by the name: `"__Host-"` is Secure, of the whole host and of no other, `"__Secure-"` is Secure.
   * Default: `"__Host-"`.
   */
  readonly prefix?: "__Host-" | "__Secure-" | "none" | undefined
  /** Default: `"/"`. */
  readonly path?: string | undefined
  /** Gives the cookie to this name and all its subdomains. Default: none, the cookie is the host's alone. */
  readonly domain?: string | undefined
  /** Default: `"lax"`. */
  readonly sameSite?: "lax" | "strict" | "none" | undefined
  /** A jar for each site that embeds this one (CHIPS). Needs `sameSite: "none"`. Default: `false`. */
  readonly partitioned?: boolean | undefined
  /**
   * For development: a request for a loopback host (`localhost`, `*.localhost`, 127.0.0.0/8, `[::1]`) gets a cookie
   * without Secure and without prefix, since not every browser keeps a Secure one from `http://localhost`. All others get
   * what they would get without. Default: `false`.
   */
  readonly localhost?: boolean | undefined
}

type Attributes = NonNullable<Cookies.Cookie["options"]>

/** One cookie, compiled. */
export interface CookieVariant {
  /** As it is sent, with its prefix. */
  readonly name: string
  /** All but how long it lives. */
  readonly options: Attributes
  /** Deletes it: a browser goes by name, domain, path and partition. */
  readonly expired: Attributes
  /**
   * The bytes of the whole `Set-Cookie`, name, value and attributes, with room for Max-Age and Expires; of a value in
   * characters that need no encoding.
   */
  readonly size: (value: string) => number
}

export interface CookiePolicy {
  /** Secure, with the prefix. */
  readonly strict: CookieVariant
  /** The one for a request, by its `Host` or `:authority`. */
  readonly forHost: (host: string | undefined) => CookieVariant
}

/**
 * What browsers keep. RFC 6265 6.1 asks for at least 4096 bytes of name, value and attributes together; 6265bis drops a
 * cookie whose name and value have more. What keeps to the first keeps to both.
 */
export const cookieLimit = 4096

/**
 * Validates the options of a cookie and compiles them. It is always Secure and HttpOnly. Throws a `TypeError` that begins
 * with `module` on what a browser would refuse, and on what would be another attribute.
 */
export const cookiePolicy = (
  module: string,
  options: CookieOptions & { readonly name: string }
): CookiePolicy => {
  const { domain, localhost = false, name, partitioned = false, path = "/", prefix = "__Host-", sameSite = "lax" } =
    options
  const fail = (option: string, remedy: string): never => {
    throw new TypeError(`${module}: ${option}: ${remedy}`)
  }
  const is = (option: string, value: string) => `${option} is ${JSON.stringify(value)}`

  if (!/^[!#$%&'*+\-.^_`|~\w]{1,128}$/.test(name)) {
    fail(is("name", name), `write 1 to 128 letters, digits, "-", "_" or "."`)
  }
  if (/^__[a-z]+-/i.test(name)) fail(is("name", name), `leave out the prefix, the option prefix adds it`)
  if (/\.\d+$/.test(name)) fail(is("name", name), `end it in a letter, ".0" is for chunks`)
  if (!["__Host-", "__Secure-", "none"].includes(prefix)) {
    fail(is("prefix", prefix), `write "__Host-", "__Secure-" or "none"`)
  }
  if (!/^\/[!-:<-~]{0,1023}$/.test(path)) {
    fail(is("path", path), `begin with "/", and percent-encode spaces, ";" and what is not ASCII`)
  }
  if (!["lax", "strict", "none"].includes(sameSite)) fail(is("sameSite", sameSite), `write "lax", "strict" or "none"`)
  if (partitioned && sameSite !== "none") {
    fail("partitioned", `write sameSite: "none" beside it, a partitioned cookie is for pages of other sites`)
  }
  if (prefix === "__Host-") {
    const without =
      `leave it out, or write prefix: "__Secure-"; a "__Host-" cookie is of the whole host and of no other`
    if (domain !== undefined) fail(is("domain", domain), without)
    if (path !== "/") fail(is("path", path), without)
  }
  const host = domain === undefined
    ? undefined
    : parseDomain(domain) ?? fail(is("domain", domain), domainRemedy(domain))

  const fixed = { path, httpOnly: true, sameSite, ...host !== undefined && { domain: host } }
  const strict = variant(prefix === "none" ? name : prefix + name, {
    ...fixed,
    secure: true,
    ...partitioned && { partitioned }
  })
  if (!localhost) return { strict, forHost: () => strict }
  // without Secure there is neither SameSite=None nor Partitioned
  const local = variant(name, { path, httpOnly: true, sameSite: sameSite === "none" ? "lax" : sameSite })
  return { strict, forHost: (host) => isLoopbackHost(parseAuthority(host ?? "")) ? local : strict }
}

const variant = (name: string, options: Attributes): CookieVariant => {
  const { domain, partitioned, path = "", sameSite = "", secure } = options
  const overhead = name.length + [
    "=",
    `; Path=${path}; HttpOnly; SameSite=${sameSite}; Max-Age=9999999999; Expires=Thu, 01 Jan 1970 00:00:00 GMT`,
    domain === undefined ? "" : `; Domain=${domain}`,
    secure === true ? "; Secure" : "",
    partitioned === true ? "; Partitioned" : ""
  ].join("").length
  return { name, options, expired: { ...options, maxAge: 0 }, size: (value) => overhead + value.length }
}

/** A name as a browser compares it. */
const parseDomain = (domain: string): string | undefined => {
  const authority = parseAuthority(toAscii(domain) ?? "")
  if (authority === undefined || authority.kind !== "name" || authority.port !== undefined) return undefined
  return authority.host.includes(".") && !/[.:]$/.test(domain) ? authority.host : undefined
}

const domainRemedy = (domain: string): string => {
  if (domain.startsWith(".")) return `write ${JSON.stringify(domain.slice(1))}, subdomains are in it anyway`
  return `write a name with a dot in it ("example.com"), without scheme and port, or leave it out for the host alone`
}

export interface Chunks {
  readonly set: ReadonlyArray<readonly [name: string, value: string]>
  /** Of an older value, in this request, and in the way of the new one. */
  readonly expire: ReadonlyArray<string>
}

/**
 * A value as one cookie where that is small enough, and in chunks where it is not; `undefined` for one that does not fit
 * into three. Also says which cookies of the request have to go, so that `readChunks` gives this value next time: with
 * `""` for a value, that is all of them.
 */
export const splitChunks = (
  cookie: CookieVariant,
  value: string,
  header: string | undefined
): Chunks | undefined => {
  const set = setOf(cookie, value)
  if (set === undefined) return undefined
  const names = new Set(set.map(([name]) => name))
  return {
    set,
    expire: [cookie.name, ...chunkNames(cookie.name)].filter((name) =>
      !names.has(name) && readCookie(header, name) !== undefined
    )
  }
}

const setOf = (cookie: CookieVariant, value: string): Chunks["set"] | undefined => {
  if (value === "") return []
  if (cookie.size(value) <= cookieLimit) return [[cookie.name, value]]
  const room = cookieLimit - cookie.size(".0")
  if (value.length > room * mostChunks) return undefined
  return chunkNames(cookie.name)
    .map((name, index) => [name, value.slice(index * room, (index + 1) * room)] as const)
    .filter(([, chunk]) => chunk !== "")
}
