/**
 * Which requests a route pattern names, asked from outside of a router whose options are unknown.
 *
 * - A *guard* takes the loosest reading of the request target: it is true whenever some configuration of platform's
 *   routers could reach a route that the pattern names, and when a layer that decodes further, resolves dot segments or
 *   takes an escaped slash for a slash could.
 * - An *exemption* takes the strictest: it is true only for the very bytes that every configuration reads alike.
 *
 * A pattern is `"/path"` or `"METHOD /path"`, where the path is written as for the routers.
 *
 * |               | guard                                   | exemption                                              |
 * |---------------|-----------------------------------------|--------------------------------------------------------|
 * | `/admin`      | in any spelling                         | these bytes                                            |
 * | `/admin/*`    | what is below `/admin`, and `/admin`    | what is below `/admin`                                 |
 * | `/admin*`     | what begins with `/admin`               | refused                                                |
 * | `/users/:id`  | one segment, `/users/`; nested `/users` | one segment that is not empty, even if another route   |
 * |               |                                         | spells it out (`/users/me`)                            |
 * | `/users/:id?` | `/users` and `/users/:id`               | `/users` and `/users/:id`                              |
 * | `/:id(\\d+)`, | any segment (with that beginning)       | refused                                                |
 * | `/f-:a.:b`    |                                         |                                                        |
 * | `GET /x`      | `GET`, and `HEAD`, which falls to it    | `GET`: a `HEAD` route of its own could answer `HEAD`   |
 * | `*`, `/*`     | everything                              | with a method only                                     |
 *
 * Nested: `HttpRouter.mountApp("/users", users)` hands `/users?x` to `users` as `?x`, which reads it as `/x`, and
 * `/users` as `/`, which reaches its `/:id` with an empty id. A router that handles a prefixed route is handed the raw
 * target cut at the prefix's length, wherever that falls. By default, then, a guard follows both, and an exemption that
 * does not end with `*` allows a query only if it begins with `name=`.
 */

export interface Options {
  /** `false` when no router stands inside another (`mountApp`, a router as a route's handler). Default: `true`. */
  readonly nested?: boolean | undefined
}

export type Condition = (method: string, target: string) => boolean

export const compileGuard = (patterns: ReadonlyArray<string>, { nested = true }: Options = {}): Condition => {
  const routes = parseAll("forRoutes", patterns).map((pattern) => guardRoute(pattern, nested))
  return (method, target) => {
    const verb = method.toUpperCase()
    const readings: Array<ReadonlyArray<Reading>> = []
    const readAt = (offset: number) => (readings[offset] ??= readAll(target.slice(offset)))
    return routes.some((route) =>
      (route.method === undefined || route.method === verb || (route.method === "GET" && verb === "HEAD")) &&
      couldReach(route, readAt)
    )
  }
}

export const compileExemption = (patterns: ReadonlyArray<string>, { nested = true }: Options = {}): Condition => {
  const routes = parseAll("exceptRoutes", patterns).map(exemptRoute)
  return (method, target) => {
    const end = target.indexOf("?")
    const path = end === -1 ? target : target.slice(0, end)
    if (!path.startsWith("/") || target.includes("#")) return false
    const anyQuery = !nested || end === -1 || beginsWithParameter(target, end + 1)
    const segments = path.slice(1).split("/")
    return routes.some((route) =>
      (route.method === undefined || route.method === method) && (anyQuery || route.open) && isExactly(route, segments)
    )
  }
}

// ---------------------------------------------------------------------------------------------------------- patterns

interface Pattern {
  readonly fail: (problem: string, remedy: string) => never
  readonly method: string | undefined
  readonly parts: ReadonlyArray<Part>
}

interface Part {
  /** What stands before the parameter, or the whole segment, with `::` read as `:`. */
  readonly literal: string
  /** `:name` and what follows it, regular expressions taken out; `""` without a parameter. */
  readonly parameter: string
  readonly regex: boolean
}

const parseAll = (caller: string, patterns: ReadonlyArray<string>): ReadonlyArray<Pattern> => {
  if (patterns.length === 0) {
    throw new TypeError(`${caller}: no pattern names no route: name one ("/admin/*"), or leave the condition out`)
  }
  return patterns.flatMap((pattern) => parse(caller, pattern))
}

const parse = (caller: string, pattern: string): ReadonlyArray<Pattern> => {
  const fail: Pattern["fail"] = (problem, remedy) => {
    throw new TypeError(`${caller}: ${JSON.stringify(pattern)} ${problem}: ${remedy}`)
  }
  const space = pattern.startsWith("/") ? -1 : pattern.indexOf(" ")
  const method = space === -1 ? undefined : pattern.slice(0, space)
  const written = pattern.slice(space + 1)
  const path = written === "*" ? "/*" : written
  if (method !== undefined && !isMethod(method)) {
    fail("begins with what is not a method", `write one method in capitals and one space ("GET /admin"), or none`)
  }
  if (!path.startsWith("/")) fail(`does not begin with "/"`, `write a path ("/admin/*", "GET /admin/*")`)
  const parts = scan(path, fail)

  const last = parts.length - (parts.length > 1 && isTrailing(parts[parts.length - 1]!) ? 2 : 1)
  parts.forEach((part, index) => {
    const text = part.literal + part.parameter
    const star = text.indexOf("*")
    if (star !== -1 && (index !== parts.length - 1 || part.parameter !== "" || star !== text.length - 1)) {
      fail(`has "*" before its end`, `only what ends a path can be "*" ("/admin/*"); name one segment with ":name"`)
    }
    const mark = text.indexOf("?")
    if (mark !== -1 && (index !== last || mark !== text.length - 1 || !isOptional(part))) {
      fail(`has "?" elsewhere than after a last, optional parameter`, "leave the query out, it is never compared")
    }
    if (part.literal === "." || part.literal === "..") fail("has a dot segment", "write the path it stands for")
    for (const [char, remedy] of refused) {
      if (text.includes(char)) fail(`contains ${JSON.stringify(char)}`, remedy)
    }
    for (const char of text) {
      if (char < " " || char === "\u007f") fail("contains a control character", "no route can be reached by it")
    }
    if (part.parameter === ":" || part.parameter === ":?") fail("has a parameter without a name", `write ":id"`)
  })

  const optional = parts[last]!
  if (!isOptional(optional)) return [{ fail, method, parts }]
  const before = parts.slice(0, last)
  const after = parts.slice(last + 1)
  const required = { ...optional, parameter: optional.parameter.slice(0, -1) }
  const without = [...before, ...after]
  return [
    { fail, method, parts: [...before, required, ...after] },
    { fail, method, parts: without.length === 0 ? [{ literal: "", parameter: "", regex: false }] : without }
  ]
}

const refused: ReadonlyArray<readonly [string, string]> = [
  ["%", "write the character itself, as for the router, which decodes the request"],
  ["\\", `write "/"`],
  [";", "the routers end a path there, so no route can be reached by it"],
  ["#", "the routers end a path there, so no route can be reached by it"]
]

const isMethod = (text: string) => {
  for (const char of text) if (!((char >= "A" && char <= "Z") || char === "-")) return false
  return text !== ""
}

const isTrailing = (part: Part) => part.literal === "" && part.parameter === ""

const isOptional = (part: Part) => part.literal === "" && !part.regex && part.parameter.endsWith("?")

// Splits where find-my-way does: a "/" in the regular expression of a parameter is no separator.
const scan = (path: string, fail: Pattern["fail"]): ReadonlyArray<Part> => {
  const parts: Array<Part> = []
  for (let i = 1; i <= path.length; i++) {
    let literal = ""
    let parameter = ""
    let regex = false
    while (i < path.length && path[i] !== "/" && !isColon(path, i)) {
      literal += path[i]
      i += path[i] === ":" ? 2 : 1
    }
    while (i < path.length && path[i] !== "/") {
      const name = i
      for (i++; i < path.length && !"(-./".includes(path[i]!); i++);
      parameter += path.slice(name, i)
      if (path[i] === "(") {
        regex = true
        i = closing(path, i, fail) + 1
      }
      const suffix = i
      while (i < path.length && path[i] !== "/" && !isColon(path, i)) i += path[i] === ":" ? 2 : 1
      parameter += path.slice(suffix, i)
    }
    parts.push({ literal, parameter, regex })
  }
  return parts
}

const isColon = (path: string, index: number) => path[index] === ":" && path[index + 1] !== ":"

const closing = (path: string, open: number, fail: Pattern["fail"]): number => {
  let depth = 0
  for (let i = open; i < path.length; i++) {
    if (path[i] === "\\") i++
    else if (path[i] === "(") depth++
    else if (path[i] === ")" && --depth === 0) return i
  }
  return fail(`has a "(" that nothing closes`, "close it, or leave the regular expression out")
}

// ------------------------------------------------------------------------------------------------------------ guards

interface GuardRoute {
  readonly method: string | undefined
  readonly segments: ReadonlyArray<Segment>
  /** Where a router that stands inside another may cut the target: the length of each prefix of literals. */
  readonly cuts: ReadonlyArray<number>
}

interface Segment {
  readonly kind: "literal" | "parameter" | "rest"
  readonly text: string
}

interface Piece {
  /** Decoded and folded, up to the first `;`. */
  readonly text: string
  /** Something was cut off it: a router would have ended the path here, a servlet would not. */
  readonly ends: boolean
  /** The separator before it was a backslash or an escape, so it may belong to the piece before. */
  readonly soft: boolean
}

type Reading = ReadonlyArray<Piece>

/** A target with more is guarded unread, which bounds the work. */
const mostSegments = 256

const guardRoute = ({ method, parts }: Pattern, nested: boolean): GuardRoute => {
  const segments: Array<Segment> = []
  const cuts = [0]
  for (const { literal, parameter } of parts) {
    if (parameter !== "") segments.push({ kind: "parameter", text: fold(literal) })
    else if (literal.endsWith("*")) segments.push({ kind: "rest", text: fold(literal.slice(0, -1)) })
    else if (literal !== "") {
      if (nested && cuts.length === segments.length + 1) cuts.push(cuts[cuts.length - 1]! + 1 + literal.length)
      segments.push({ kind: "literal", text: fold(literal) })
    }
  }
  return { method, segments, cuts }
}

const couldReach = ({ cuts, segments }: GuardRoute, readAt: (offset: number) => ReadonlyArray<Reading>): boolean => {
  const starts = new Set([0])
  for (const start of starts) {
    for (const reading of readAt(cuts[start]!)) {
      if (reading.length > mostSegments || matches(segments, reading, start, cuts.length, starts)) return true
    }
  }
  return false
}

/**
 * Runs the pattern as an automaton: state `n` has taken `n` segments. Adds to `starts` the states below `cuts` that it
 * comes to, from which an inner router may go on with a target of its own.
 */
const matches = (
  segments: ReadonlyArray<Segment>,
  reading: Reading,
  start: number,
  cuts: number,
  starts: Set<number>
): boolean => {
  const final = segments.length
  let states = new Uint8Array(final + 1)
  let next = new Uint8Array(final + 1)
  if (isRest(segments[start])) return true
  states[start] = 1
  for (const piece of reading) {
    next.fill(0)
    let alive = false
    for (let state = start; state <= final; state++) {
      if (states[state] === 0) continue
      const skipped = piece.text === "" || piece.text === "."
      const absorbed = piece.soft && state > start && segments[state - 1]!.kind === "parameter"
      if (skipped || absorbed) {
        next[state] = 1
        alive = true
      }
      const segment = segments[state]
      if (segment === undefined || !takes(segment, piece.text)) continue
      if (segment.kind === "rest" || isRest(segments[state + 1])) return true
      next[state + 1] = 1
      alive = true
      if (state + 1 < cuts) starts.add(state + 1)
    }
    if (piece.ends && next[final] === 1) return true
    if (!alive) return false
    ;[states, next] = [next, states]
  }
  return states[final] === 1
}

const isRest = (segment: Segment | undefined) => segment?.kind === "rest" && segment.text === ""

const takes = ({ kind, text }: Segment, piece: string) =>
  kind === "literal" ? piece === text : text === "" || piece.startsWith(text)

// The routers never look at the first character, be it an escape, and strip an authority up to the first "/"; `URL`
// ends it earlier.
const readAll = (target: string): ReadonlyArray<Reading> => {
  const readings = read(target.slice(1))
  if (target.startsWith("%")) readings.push(...read(target.slice(escapeLength(target))))
  const scheme = target.startsWith("/") ? -1 : target.indexOf("://")
  const authority = scheme !== -1 ? scheme + 3 : isSlash(target[0]) && isSlash(target[1]) ? 2 : -1
  if (authority === -1) return readings
  const slash = target.indexOf("/", authority)
  if (slash !== -1) readings.push(...read(target.slice(slash + 1)))
  let end = authority
  while (end < target.length && !"/\\?#".includes(target[end]!)) end++
  if (end !== slash) readings.push(...read(isSlash(target[end]) ? target.slice(end + 1) : ""))
  return readings
}

const isSlash = (char: string | undefined) => char === "/" || char === "\\"

const read = (rest: string): Array<Reading> => {
  const end = rest.search(/[?#]/)
  const path = fold(decode(end === -1 ? rest : rest.slice(0, end)))
  const pieces: Array<Piece> = []
  let start = 0
  let soft = false
  for (let i = 0; i <= path.length && pieces.length <= mostSegments; i++) {
    if (i < path.length && !isSlash(path[i])) continue
    const text = path.slice(start, i)
    const cut = text.indexOf(";")
    pieces.push({ text: cut === -1 ? text : text.slice(0, cut), ends: cut !== -1, soft })
    soft = path[i] === "\\"
    start = i + 1
  }
  if (pieces.length > mostSegments || !pieces.some(isParent)) return [pieces]
  const readings: Array<Reading> = [pieces]
  const cut = pieces.findIndex((piece) => piece.ends)
  for (const reading of cut === -1 ? [pieces] : [pieces, pieces.slice(0, cut + 1)]) {
    for (const segments of [reading, joined(reading)]) {
      readings.push(resolved(segments), resolved(segments.filter((piece) => piece.text !== "")))
    }
  }
  return readings
}

const isParent = (piece: Piece) => piece.text === ".."

const resolved = (pieces: Reading): Reading => {
  const stack: Array<Piece> = []
  for (const piece of pieces) {
    if (isParent(piece)) stack.pop()
    else if (piece.text !== ".") stack.push(piece)
  }
  return stack
}

const joined = (pieces: Reading): Reading => {
  const out: Array<Array<Piece>> = []
  for (const piece of pieces) {
    if (piece.soft) out[out.length - 1]!.push(piece)
    else out.push([piece])
  }
  return out.map((group) =>
    group.length === 1
      ? group[0]!
      : { text: group.map((piece) => piece.text).join("\\"), ends: group.some((piece) => piece.ends), soft: false }
  )
}

// toLowerCase chooses between two small sigmas by what stands around
const fold = (text: string) => text.toLowerCase().replaceAll("ς", "σ")

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

/**
 * Decodes until nothing is left to decode, in one pass. No two escapes overlap, so the order does not matter.
 * An escaped slash becomes a backslash, and what would end a path becomes `;`.
 */
const decode = (path: string): string => {
  if (!path.includes("%")) return path
  const bytes = encoder.encode(path)
  let length = 0
  for (const raw of bytes) {
    bytes[length++] = raw
    while (length > 2 && bytes[length - 3] === 0x25) {
      const high = hexDigit(bytes[length - 2]!)
      const low = hexDigit(bytes[length - 1]!)
      if (high === -1 || low === -1) break
      length -= 3
      const byte = high * 16 + low
      bytes[length++] = byte === 0x2f ? 0x5c : byte === 0x3f || byte === 0x23 ? 0x3b : byte
    }
  }
  return decoder.decode(bytes.subarray(0, length))
}

// of one UTF-16 unit: the second of a pair stays behind
const escapeLength = (text: string) => {
  const high = hexDigit(text.charCodeAt(1))
  return high < 0xc ? 3 : high < 0xe ? 6 : 9
}

const hexDigit = (byte: number) => {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const letter = byte | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

// -------------------------------------------------------------------------------------------------------- exemptions

interface ExemptRoute {
  readonly method: string | undefined
  /** `undefined` is a parameter; the empty literal is the end of "/" and of "/x/". */
  readonly segments: ReadonlyArray<string | undefined>
  readonly open: boolean
}

const exemptRoute = ({ fail, method, parts }: Pattern): ExemptRoute => {
  const open = parts[parts.length - 1]!.literal.endsWith("*")
  const named = open ? parts.slice(0, -1) : parts
  const inside = "put the middleware on the route, inside the router, or name another path"
  if (open && parts[parts.length - 1]!.literal !== "*") {
    fail(`has "*" after part of a segment`, `write "/*" ("/assets/*")`)
  }
  if (open && named.length === 0 && method === undefined) fail("exempts everything", "leave the middleware out")
  const segments = named.map(({ literal, parameter, regex }, index) => {
    if (parameter === "") {
      if (literal === "" && (open || index !== named.length - 1)) {
        fail(`has an empty segment, which some routers drop`, "write one slash")
      }
      for (const char of literal) {
        if (!isPlain(char)) fail(`contains ${JSON.stringify(char)}, which clients encode`, inside)
      }
      return literal
    }
    if (regex || literal !== "" || [..."-.:"].some((char) => parameter.includes(char, 1))) {
      fail("has a parameter that only the router can compare", `write a whole segment (":name", no "-" "." "(")`)
    }
    return undefined
  })
  return { method, segments, open }
}

const isExactly = ({ open, segments }: ExemptRoute, path: ReadonlyArray<string>): boolean => {
  if (open ? path.length <= segments.length : path.length !== segments.length) return false
  if (segments.length === 0 && path.length === 1 && path[0] === "") return true
  for (let i = 0; i < path.length; i++) {
    const segment = segments[i]
    if (segment === undefined ? !isOneSegment(path[i]!) : path[i] !== segment) return false
  }
  return true
}

// Escapes are for what needs one and separates nothing: no other spelling of a character that could stand there raw.
const isOneSegment = (text: string): boolean => {
  if (text === "" || text === "." || text === "..") return false
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== "%") {
      if (!isPlain(text[i]!)) return false
      continue
    }
    const high = hexDigit(text.charCodeAt(i + 1))
    const low = hexDigit(text.charCodeAt(i + 2))
    if (high === -1 || low === -1) return false
    const char = String.fromCharCode(high * 16 + low)
    if (char < " " || char === "\u007f" || isUnreserved(char) || "%/\\;?#".includes(char)) return false
    i += 2
  }
  return true
}

const isUnreserved = (char: string) =>
  (char >= "a" && char <= "z") || (char >= "A" && char <= "Z") || (char >= "0" && char <= "9") || "-._~".includes(char)

const isPlain = (char: string) => isUnreserved(char) || "!$&'()*+,=:@".includes(char)

const beginsWithParameter = (target: string, start: number): boolean => {
  for (let i = start; i < target.length; i++) {
    if (target[i] === "=") return i > start
    if ("&;?/".includes(target[i]!)) return false
  }
  return false
}
