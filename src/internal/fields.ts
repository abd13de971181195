/**
 * Joins of response header fields. Each takes any number of field values, `undefined` for a field that is not there, and
 * gives one value in normal form, empty when there is nothing to send. With `m` for a merge, for all texts, as strings:
 *
 * - associative: `m(m(a, b), c) === m(a, m(b, c)) === m(a, b, c)`
 * - idempotent: `m(a, a) === m(a)`, and a value in normal form comes back as it is: `m(m(a)) === m(a)`
 * - commutative only as sets: the order is that of first appearance, and the first spelling stays
 */

type Field = string | undefined

/**
 * The elements of a comma-separated list (RFC 9110 5.6.1), without the empty ones and the spaces and tabs around them.
 * A comma in a quoted-string does not separate; a quoted-string that never ends is closed at the end of the field, so
 * that joining fields cannot make it swallow the next one.
 */
export const splitList = (value: string): ReadonlyArray<string> => {
  const elements: Array<string> = []
  let start = 0
  let quoted = false
  let index = 0
  for (; index < value.length; index++) {
    const code = value.charCodeAt(index)
    if (code === quote) quoted = !quoted
    else if (code === backslash && quoted) index++
    else if (code === comma && !quoted) {
      pushTrimmed(elements, value, start, index)
      start = index + 1
    }
  }
  // a backslash at the very end escapes nothing: it becomes the escaped one
  const closed = !quoted ? value : index > value.length ? `${value}\\"` : `${value}"`
  pushTrimmed(elements, closed, start, closed.length)
  return elements
}

/** The text without the spaces and tabs around it: `String.trim` also takes what is not white space in HTTP. */
export const trim = (text: string): string => slice(text, 0, text.length)

type Merge = (...values: ReadonlyArray<Field>) => string

/** The same few values meet on every request of a stack. A merge is associative, so it is two of them that are known. */
const remembering = (merge: Merge): Merge => {
  const known = new Map<Field, Map<Field, string>>()
  let size = 0
  const two = (a: Field, b: Field): string => {
    const found = known.get(a)?.get(b)
    if (found !== undefined) return found
    const merged = merge(a, b)
    // a handler may write values that are never the same again
    if (size++ === mostKnown) {
      known.clear()
      size = 1
    }
    const before = known.get(a) ?? new Map<Field, string>()
    known.set(a, before.set(b, merged))
    return merged
  }
  return (...values) => {
    let merged = two(values[0], values[1])
    for (let i = 2; i < values.length; i++) merged = two(merged, values[i])
    return merged
  }
}
const mostKnown = 200

/** Field names, compared without case (RFC 9110 12.5.5); `*` takes the place of all of them. */
export const mergeVary: Merge = remembering((...values) => {
  const names = firstSpellings(values.flatMap(elementsOf))
  return names.has("*") ? "*" : Array.from(names.values()).join(", ")
})

/** Metrics in order, equal ones once; a name may come twice with different values. None is ever the same again. */
export const mergeServerTiming = (...values: ReadonlyArray<Field>): string =>
  dedupe(values.flatMap(elementsOf)).join(", ")

/** Challenges of `WWW-Authenticate` or `Proxy-Authenticate` in order, equal ones once (RFC 9110 11.6.1). */
export const mergeChallenges = (...values: ReadonlyArray<Field>): string =>
  dedupe(values.flatMap((value) => splitChallenges(value ?? ""))).join(", ")

/**
 * One element for each challenge, though commas also separate its parameters: what begins with `scheme`, alone or
 * before a space that no `=` follows, is a new one. Parameters before the first scheme belong to nothing and are left out.
 */
export const splitChallenges = (value: string): ReadonlyArray<string> => {
  const challenges: Array<Array<string>> = []
  for (const element of splitList(value)) {
    if (/^[!#$%&'*+\-.^`|~\w]+(?:$|[ \t]+[^ \t=])/.test(element)) challenges.push([element])
    else challenges[challenges.length - 1]?.push(element)
  }
  return challenges.map((parts) => parts.join(", "))
}

/**
 * Joins `Cache-Control` of a response so that what one value forbids stays forbidden (RFC 9111 5.2.2, and 4.2.1 for
 * what conflicts). A directive that is absent is no opinion.
 *
 * - `no-store`, `must-revalidate`, `proxy-revalidate`, `no-transform`, `immutable` stay when any value has them
 * - `private` takes `public` away, and without field names `s-maxage` too
 * - `private` and `no-cache`: without field names beats with; of two lists of field names, the union
 * - `max-age`, `s-maxage`, `stale-while-revalidate`, `stale-if-error`: the least; a malformed number is 0, as RFC 9111
 *   4.2.1 advises. A value with `max-age` alone bounds the `s-maxage` of the others, since it bounded shared caches too
 * - `must-understand` lets a cache overlook `no-store`: it goes when a value says `no-store` without it
 * - a directive that is not known here stays as it is, equal ones once
 */
export const mergeCacheControl: Merge = remembering((...values) => {
  const merged = new Map<string, Argument>()
  let shared = Infinity
  let noStore = false
  for (const value of values) {
    const directives = parseCacheControl(value)
    for (const [name, argument] of directives) add(merged, name, argument)
    const lifetime = directives.get("s-maxage") ?? directives.get("max-age")
    if (typeof lifetime === "number") shared = Math.min(shared, lifetime)
    noStore ||= directives.has("no-store") && !directives.has("must-understand")
  }
  if (merged.has("s-maxage")) merged.set("s-maxage", shared)
  if (noStore) merged.delete("must-understand")
  if (merged.has("private")) merged.delete("public")
  if (merged.get("private") === true) merged.delete("s-maxage")
  return Array.from(merged, ([name, argument]) => printDirective(name, argument)).join(", ")
})

/**
 * What makes two cookies the same to a browser (RFC 6265 5.3): name, domain and path. Without a domain a cookie belongs
 * to its host alone, and without a path to the directory of the request; neither equals one that is spelled out.
 */
export const cookieKey = (name: string, domain: string | undefined, path: string | undefined): string => {
  const host = (domain ?? "").toLowerCase()
  // a line feed, since no cookie can have it
  return `${name}\n${host.startsWith(".") ? host.slice(1) : host}\n${path?.startsWith("/") ? path : ""}`
}

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
const token = /^[!#$%&'*+\-.^`|~\w]+$/

/** A token (RFC 9110 section 5.6.2), as the names of fields and methods are. */
export const isToken = (text: string): boolean => token.test(text)

const elementsOf = (value: Field): ReadonlyArray<string> => (value === undefined ? [] : splitList(value))

const dedupe = (elements: ReadonlyArray<string>): ReadonlyArray<string> => Array.from(new Set(elements))

/** By its lower-case spelling, the first spelling of each name. */
const firstSpellings = (names: ReadonlyArray<string>): Map<string, string> => {
  const spellings = new Map<string, string>()
  for (const name of names) {
    const key = name.toLowerCase()
    if (!spellings.has(key)) spellings.set(key, name)
  }
  return spellings
}

const pushTrimmed = (elements: Array<string>, value: string, start: number, end: number): void => {
  const element = slice(value, start, end)
  if (element !== "") elements.push(element)
}

const slice = (text: string, start: number, end: number): string => {
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09

/** `true` for a directive without one; field names by their lower-case spelling. */
type Argument = true | number | Map<string, string>

const flags: ReadonlySet<string> = new Set([
  "immutable",
  "must-revalidate",
  "must-understand",
  "no-store",
  "no-transform",
  "proxy-revalidate",
  "public"
])
const lifetimes: ReadonlySet<string> = new Set(["max-age", "s-maxage", "stale-if-error", "stale-while-revalidate"])
const lists: ReadonlySet<string> = new Set(["no-cache", "private"])

const parseCacheControl = (value: Field): ReadonlyMap<string, Argument> => {
  const directives = new Map<string, Argument>()
  for (const element of elementsOf(value)) {
    const equals = element.indexOf("=")
    const name = slice(element, 0, equals < 0 ? element.length : equals).toLowerCase()
    const text = equals < 0 ? undefined : slice(element, equals + 1, element.length)
    if (flags.has(name)) add(directives, name, true)
    else if (lifetimes.has(name)) add(directives, name, parseSeconds(unquote(text)))
    else if (lists.has(name)) add(directives, name, parseNames(unquote(text)))
    else add(directives, text === undefined ? name : `${name}=${text}`, true)
  }
  return directives
}

const add = (directives: Map<string, Argument>, name: string, argument: Argument): void => {
  const known = directives.get(name)
  if (known === undefined) directives.set(name, argument)
  else if (typeof known === "number" && typeof argument === "number") directives.set(name, Math.min(known, argument))
  else if (typeof known === "object" && typeof argument === "object") {
    for (const [key, spelling] of argument) if (!known.has(key)) known.set(key, spelling)
  } else directives.set(name, true)
}

// 2^31 is what a cache makes of all that is greater (RFC 9111 1.2.2)
const parseSeconds = (text: string): number => (/^\d+$/.test(text) ? Math.min(Number(text), 2147483648) : 0)

// what is not a list of field names is read as having none, which restricts more
const parseNames = (text: string): Argument => {
  const names = splitList(text)
  return names.length > 0 && names.every((name) => token.test(name)) ? firstSpellings(names) : true
}

const unquote = (text = ""): string =>
  text.length > 1 && text.startsWith("\"") && text.endsWith("\"") ? text.slice(1, -1).replace(/\\(.)/g, "$1") : text

const printDirective = (name: string, argument: Argument): string =>
  argument === true
    ? name
    : typeof argument === "number"
    ? `${name}=${argument}`
    : `${name}="${Array.from(argument.values()).join(", ")}"`

/** Node keeps the first of several such fields and drops the others; all of them are among the raw ones. */
export const countFields = (source: unknown, name: string): number => {
  if (typeof source !== "object" || source === null || !("rawHeaders" in source) || !Array.isArray(source.rawHeaders)) {
    return 1
  }
  let count = 0
  for (let i = 0; i < source.rawHeaders.length; i += 2) {
    const raw: unknown = source.rawHeaders[i]
    if (typeof raw === "string" && raw.length === name.length && raw.toLowerCase() === name) count++
  }
  return count
}
