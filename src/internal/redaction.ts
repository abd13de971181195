import type { Pair } from "./snapshot.js"

/**
 * What may be shown of values and texts that nobody has vetted. Everything here is total, whatever it is given, and takes
 * time in proportion to the text.
 */
export interface Redactor {
  /** Whether what has this name is hidden. */
  readonly isSecret: (name: string) => boolean
  /** Free text, which may have several lines: a message, a log line. */
  readonly text: (text: string, limit?: number) => string
  /** The same on one line. */
  readonly line: (text: string, limit?: number) => string
  /** A line of a program: of what has a secret name, the literal alone is hidden. */
  readonly code: (line: string) => string
  /** Any value, on one line; a string stands in quotes. */
  readonly value: (value: unknown) => string
  /** The same of what has a name. */
  readonly pair: (name: string, value: unknown) => string
  /** Of a name whose values are texts, such as a header or an attribute of a span: a string stands without quotes. */
  readonly named: (name: string, value: unknown) => string
  /** A target or a whole URL, with what is secret in its query hidden. */
  readonly target: (url: string) => string
  /** Pairs of a query or of a form. */
  readonly form: (text: string) => ReadonlyArray<Pair>
  /** The names in a `Cookie` header. */
  readonly cookies: (header: string) => ReadonlyArray<Pair>
  /** JSON on several lines; `undefined` for what is none. */
  readonly json: (text: string) => string | undefined
  /** Hides wherever it occurs what has been hidden for its name before. */
  readonly scrub: (text: string) => string
}

export const redacted = "<redacted>"

/** The text of a value on one line ends here. */
const most = 2_000
/** More of a text is not even read. */
const longest = 64 * 1024
const depthLimit = 4
const itemLimit = 50

/** In these a name is secret wherever the word stands, also inside a longer one: `dbpassword`, `XSRF-TOKEN`. */
const strong =
  /authorization|cookie|passw(?:or)?d|passphrase|passcode|secret|credential|apikey|privatekey|accesskey|connectionstring/
const inside = /token|authentication|signature|jwt|csrf|xsrf|sess(?:ion)?id|bearer|keystore|keyring/
/** And in these only as a word of its own: neither `author`, `keyboard`, `bypass` nor `shipping`. */
const words = new Set(
  "key keys auth oauth authn session sessions sid pass pwd pw pin otp totp cvv cvc ssn sig hmac salt pem".split(" ")
)
/** `signingkey`, written as one word. */
const keyed = /(?<!^(?:mon|don|tur|hoc|joc|whis|mic|smo|ris|flun|lac|pes|tric|stic|stoc|jer|hus|mur))keys?$/

const wordsOf = (name: string): ReadonlyArray<string> =>
  (name.match(/[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+/g) ?? []).map((word) => word.toLowerCase())

type Extra = ReadonlyArray<string | RegExp>

const secretNames = (extra: Extra) => {
  const patterns = extra.flatMap((one) =>
    one instanceof RegExp ? [new RegExp(one.source, one.flags.replace(/[gy]/g, ""))] : []
  )
  const phrases = extra.flatMap((one) => typeof one === "string" ? [wordsOf(one)] : []).filter(({ length }) =>
    length > 0
  )
  return (name: string): boolean => {
    // nobody names anything at such length but to be missed
    if (name.length > 256) return true
    const all = wordsOf(name)
    const joined = all.join("")
    return isStrong(joined) || inside.test(joined) ||
      all.some((word) => words.has(word) || keyed.test(word)) ||
      phrases.some((phrase) => joined === phrase.join("") || `-${all.join("-")}-`.includes(`-${phrase.join("-")}-`)) ||
      patterns.some((pattern) => pattern.test(name))
  }
}

const isStrong = (joined: string) => strong.test(joined)

export const redactor = (extra: Extra = []): Redactor => {
  const isSecret = secretNames(extra)
  const hidden = new Set<string>()

  const hide = (text: string): string => {
    // a word of letters alone is too likely to be no secret elsewhere
    if (text.length >= 8 && hidden.size < 100 && !/^[a-z]*$/i.test(text) && !redacted.includes(text)) hidden.add(text)
    return redacted
  }
  /** Every string in what is hidden as a whole. */
  const hideAll = (value: unknown): string => {
    if (typeof value === "string") {
      hide(value)
      const scheme = /^[A-Za-z]{1,20} +/.exec(value)
      if (scheme !== null) hide(value.slice(scheme[0].length))
    }
    return redacted
  }

  const free = (text: string): string => {
    const headers = text
      .split("-----BEGIN ").map(pem).join("")
      .replace(headerLine, (_, name: string, separator: string, value: string) => {
        hideAll(value)
        return `${name}${separator}${redacted}`
      })
    return hidePairs(headers)
      .replace(schemes, (_, scheme: string, value: string) => {
        hide(value)
        return `${scheme}${redacted}`
      })
      .replace(userInfo, (_, scheme: string) => `${scheme}${redacted}@`)
      .replace(runs, tokens)
  }

  const hidePairs = (text: string): string => {
    let shown = ""
    let done = 0
    const find = new RegExp(pairName)
    const read = new RegExp(pairValue)
    for (let found = find.exec(text); found !== null; found = find.exec(text)) {
      const [whole, quote = "", name = "", separator = ""] = found
      if (!isSecret(name)) continue
      const start = read.lastIndex = found.index + whole.length
      const strict = quote !== "" || separator.includes("=") || /["'=]/.test(text.slice(start, start + 2))
      if (
        !strict && !isSaid(name, text.slice(start, start + 20), text.slice(Math.max(0, found.index - 9), found.index))
      ) continue
      // read last, since it may be long
      const value = read.exec(text)?.[0]
      if (value === undefined) continue
      find.lastIndex = start + value.length
      const open = /^\\*["']/.exec(value)?.[0] ?? ""
      const close = open !== "" && value.length > open.length && value.endsWith(open) ? open : ""
      if (/^[[{]/.test(value)) find.lastIndex = endOf(text, start)
      else hide(value.slice(open.length, value.length - close.length))
      shown += text.slice(done, start) + open + redacted + close
      done = find.lastIndex
    }
    return shown + text.slice(done)
  }

  const render = (text: string, limit: number, several: boolean): string => {
    const whole = text.length <= longest
    const clean = schemaLines(free(whole ? text : text.slice(0, longest)), isSecret)
    // what the first cut went through may be half of a secret
    const shown = escape(whole ? clean : `${clean.slice(0, lastBlank(clean))}…`, several)
    return cut(shown, limit)
  }
  const line = (text: string, limit = most) => render(text, limit, false)
  const text = (text: string, limit = most) => render(text, limit, true)

  const value = (value: unknown): string => {
    try {
      return cut(inspect(value, { isSecret, hideAll, line, target }, 0, [], { left: most }), most)
    } catch {
      return unreadable
    }
  }
  const pair = (name: string, one: unknown) => isSecret(name) ? hideAll(one) : value(one)
  const named = (name: string, one: unknown) => {
    if (typeof one !== "string") return pair(name, one)
    if (isSecret(name)) return hideAll(one)
    return /^(?:[a-z][a-z\d+.-]{0,20}:\/)?\/|^\?/i.test(one) ? target(one) : line(one)
  }

  const form = (text: string): ReadonlyArray<Pair> =>
    text.slice(0, longest).split("&").filter((part) => part !== "").slice(0, 500).map((part): Pair => {
      const [name, value] = split(part, "=").map(decoded) as [string, string]
      return [line(name, 200), isSecret(name) ? hide(value) : line(value)]
    })

  const target = (url: string): string => {
    const [rest, fragment] = split(url.slice(0, longest), "#")
    const [path, query] = split(rest, "?")
    const part = (text: string) =>
      text.split("&").map((one) => {
        const [name, value] = split(one, "=")
        if (value === "") return line(one)
        const clear = decoded(value)
        if (isSecret(decoded(name))) return `${line(name)}=${hide(clear)}`
        return free(clear) === clear ? `${line(name)}=${line(value)}` : `${line(name)}=${redacted}`
      }).join("&")
    return cut(
      line(path) + (rest.includes("?") ? `?${part(query)}` : "") + (url.includes("#") ? `#${part(fragment)}` : ""),
      most
    )
  }

  const cookies = (header: string): ReadonlyArray<Pair> =>
    header.slice(0, longest).split(";").map((one) => one.trim()).filter((one) => one !== "").slice(0, 500).map(
      (one): Pair => {
        const [name, value] = split(one, "=")
        hide(decoded(value))
        hide(one.includes("=") ? value : one)
        return [one.includes("=") ? line(name.trim(), 200) : redacted, redacted]
      }
    )

  const json = (text: string): string | undefined => {
    try {
      const root: unknown = JSON.parse(text)
      const hideIn = function(this: unknown, key: string, one: unknown): unknown {
        // a key of its own, the second of `["authorization", ...]`, and the value beside a `name`
        const named = Array.isArray(this) ? typeof this[+key - 1] === "string" ? String(this[+key - 1]) : "" : key
        if (isSecret(named) || (key === "value" && isSecret(besides(this)))) return hideDeep(one)
        return typeof one === "string" ? free(one) : one
      }
      const hideDeep = (one: unknown): string => {
        JSON.stringify(one, (_, deep: unknown) => {
          hideAll(deep)
          return deep
        })
        return redacted
      }
      const flat = JSON.stringify(root, hideIn)
      // indentation grows with the square of the depth
      const tall = JSON.stringify(JSON.parse(flat), null, depthOf(flat) > 64 ? 0 : 2)
      return escape(tall, true)
    } catch {
      return undefined
    }
  }

  const code = (line: string): string =>
    line.replace(assigned, (whole, name: string, between: string, quote: string, literal: string) => {
      if (!isSecret(name) || literal === "") return whole
      hide(literal)
      return `${name}${between}${quote}${redacted}${quote}`
    })
      .replace(userInfo, (_, scheme: string) => `${scheme}${redacted}@`)
      .replace(runs, tokens)

  const scrub = (text: string): string => {
    let clean = text
    for (const one of [...hidden].sort((a, b) => b.length - a.length)) {
      if (clean.includes(one)) clean = clean.split(one).join(redacted)
    }
    return clean
  }

  return { isSecret, text, line, code, value, pair, named, target, form, cookies, json, scrub }
}

// --- free text -------------------------------------------------------------------------------------------------------

/** `Authorization: ...` and `Cookie: ...`, to the end of the line. */
const headerLine = /\b((?:proxy-)?authorization|(?:set-)?cookie)(\s{0,4}:\s{0,4})([^\r\n"']+)/gi
/** `name=value`, `name: value`, `"name":"value"`, also where the quotes are escaped. */
const pairName = /((?:\\{0,31}["'])?)([A-Za-z_][\w.-]{0,63})\1(\s{0,4}[:=]\s{0,4})/g
const pairValue = /"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|\\{1,31}["'][^"'\n]*["']?|[^\s,;&"'}\])\\]+/y
/**
 * Whether `name: value` without quotes says a secret: in prose the word before a colon is most often the subject, and in
 * the message of a schema a type follows it.
 */
const isSaid = (name: string, value: string, before: string): boolean =>
  isStrong(wordsOf(name).join("")) && !typeName.test(value) && before !== "readonly "
const typeName = /^(?:string|number|bigint|boolean|symbol|undefined|null|unknown|never|object|any|Redacted)\b/
const schemes =
  /\b((?:bearer|basic|digest|negotiate)[ \t]{1,4})(?!(?:tokens?|auth|authentication|authorization|credentials?|scheme|header|realm)\b)([^\s,;"'<>\\]+)/gi
const userInfo = /\b([a-z][a-z\d+.-]{0,30}:\/\/)[^\s/?#"'<>]*@/gi
/** One run of the characters that tokens are made of: what is looked for in it is looked for once. */
const runs = /(?<![\w.-])[\w.-]{8,}/g
const known =
  /^(?:gh[pousr]_|github_pat_|glpat-|npm_|xox[abposr]-|sk-|[sr]k_(?:live|test)_|whsec_|AKIA|ASIA|AIza|ya29\.)/
/** `secret = "literal"` in a program. */
const assigned =
  /([A-Za-z_][\w-]{0,63})(["']?\s{0,4}(?::[ \w<>.|]{0,40})?[:=(]\s{0,4}(?:[\w.]{0,40}\()?)(["'`])((?:(?!\3)[^\\]|\\.)*)(?:\3|$)/g

const pem = (part: string, index: number): string => {
  if (index === 0) return part
  if (!/^[A-Z\d ]{0,40}PRIVATE KEY/.test(part)) return `-----BEGIN ${part}`
  const end = part.indexOf("-----END ")
  const after = end === -1 ? -1 : part.indexOf("-----", end + 9)
  return after === -1 ? redacted : redacted + part.slice(after + 5)
}

/** Where a list or a record that begins at `start` ends. */
const endOf = (text: string, start: number): number => {
  let depth = 0
  for (let i = start; i < text.length; i++) {
    if (text[i] === "[" || text[i] === "{") depth++
    else if ((text[i] === "]" || text[i] === "}") && --depth === 0) return i + 1
  }
  return text.length
}

const lastBlank = (text: string): number => {
  let end = text.length
  while (end > 0 && text.length - end < 4_096 && /\S/.test(text[end - 1]!)) end--
  return end
}

const tokens = (run: string): string => {
  if (run.length >= 16 && known.test(run)) return redacted
  const start = run.indexOf("eyJ")
  return start !== -1 && run.slice(start).split(".", 3).length === 3 ? run.slice(0, start) + redacted : run
}

/** The messages of schemas are trees: what is below `["password"]` says what it actually was. */
const schemaLines = (text: string, isSecret: (name: string) => boolean): string => {
  if (!text.includes("─ [")) return text
  let below: number | undefined
  return text.split("\n").map((line) => {
    const depth = line.indexOf("─")
    if (below !== undefined && depth !== -1 && depth <= below) below = undefined
    const path = /─ \["(.{1,256})"\]$/.exec(line)
    if (below === undefined && path !== null && isSecret(path[1]!)) below = depth
    if (below === undefined || path !== null) return line
    const actual = line.indexOf("actual ")
    return actual === -1 ? line : `${line.slice(0, actual)}actual ${redacted}`
  }).join("\n")
}

const unsafe =
  /[\0-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

/** What would move the cursor of a terminal, turn the direction of text or not be seen at all is spelled out. */
export const escape = (text: string, several: boolean): string =>
  (several ? text.replace(/\r\n/g, "\n") : text).replace(unsafe, (char) => {
    if (char === "\n") return several ? char : "\\n"
    if (char === "\t") return several ? char : "\\t"
    if (char === "\r") return "\\r"
    const hex = char.charCodeAt(0).toString(16)
    return hex.length <= 2 ? `\\x${hex.padStart(2, "0")}` : `\\u${hex.padStart(4, "0")}`
  })

const cut = (text: string, limit: number): string =>
  text.length <= limit ? text : `${text.slice(0, limit - 1).replace(/[\ud800-\udbff]$/, "")}…`

const split = (text: string, at: string): readonly [before: string, after: string] => {
  const index = text.indexOf(at)
  return index === -1 ? [text, ""] : [text.slice(0, index), text.slice(index + 1)]
}

const decoded = (text: string): string => {
  const spaced = text.replace(/\+/g, " ")
  try {
    return decodeURIComponent(spaced)
  } catch {
    // what stands between malformed escapes may still spell a name
    return spaced.replace(/%([2-7][\da-f])/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  }
}

const depthOf = (json: string): number => {
  let [depth, deepest] = [0, 0]
  for (const char of json) {
    if (char === "[" || char === "{") deepest = Math.max(deepest, ++depth)
    else if (char === "]" || char === "}") depth--
  }
  return deepest
}

const besides = (holder: unknown): string => {
  for (const key of ["name", "key", "header", "field"]) {
    const name = lookup(holder, key)
    if (typeof name === "string") return name
  }
  return ""
}

// --- values ----------------------------------------------------------------------------------------------------------

interface Rules {
  readonly isSecret: (name: string) => boolean
  readonly hideAll: (value: unknown) => string
  readonly line: (text: string, limit?: number) => string
  readonly target: (url: string) => string
}

const unreadable = "[unreadable]"

/** A property that is data, own or inherited: what it takes to read it is no code of the object's. */
export const lookup = (value: unknown, key: PropertyKey): unknown => {
  let holder: unknown = value
  for (let i = 0; i < 16 && ((typeof holder === "object" && holder !== null) || typeof holder === "function"); i++) {
    const descriptor = Object.getOwnPropertyDescriptor(holder, key)
    if (descriptor !== undefined) return descriptor.value
    holder = Object.getPrototypeOf(holder)
  }
  return undefined
}

const has = (value: object, name: string): boolean => Symbol.for(name) in value

/** What a class calls itself; `undefined` for an object without one. */
export const constructorName = (value: object): string | undefined => {
  const prototype: unknown = Object.getPrototypeOf(value)
  const name = lookup(lookup(prototype, "constructor"), "name")
  return typeof name === "string" && name !== "" ? name : undefined
}

const inspect = (
  value: unknown,
  rules: Rules,
  depth: number,
  above: ReadonlyArray<object>,
  budget: { left: number }
): string => {
  try {
    const shown = inspected(value, rules, depth, above, budget)
    budget.left -= shown.length
    return shown
  } catch {
    return unreadable
  }
}

const inspected = (
  value: unknown,
  rules: Rules,
  depth: number,
  above: ReadonlyArray<object>,
  budget: { left: number }
): string => {
  const { line } = rules
  switch (typeof value) {
    case "string":
      return `"${line(value).replace(/"/g, "\\\"")}"`
    case "bigint":
      return `${value}n`
    case "symbol":
      return `Symbol(${line(value.description ?? "", 100)})`
    case "function": {
      const name = lookup(value, "name")
      return typeof name === "string" && name !== "" ? `[function ${line(name, 100)}]` : "[function]"
    }
    case "object":
      break
    default:
      return Object.is(value, -0) ? "-0" : String(value)
  }
  if (value === null) return "null"
  if (has(value, "effect/Redacted") || has(value, "effect/Secret")) return redacted
  if (above.includes(value)) return "[circular]"
  const name = line(constructorName(value) ?? "", 100)
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `${name}(${value.byteLength} bytes)`

  const inside = (one: unknown) => inspect(one, rules, depth + 1, [...above, value], budget)
  const known = effectValue(value, inside)
  if (known !== undefined) return known
  if (value instanceof Date) {
    const millis = Date.prototype.getTime.call(value)
    return Number.isNaN(millis) ? "Invalid Date" : new Date(millis).toISOString()
  }
  if (value instanceof RegExp) return line(RegExp.prototype.toString.call(value), 200)
  if (value instanceof URL) return `URL ${rules.target(URL.prototype.toString.call(value))}`
  if (value instanceof Error) {
    const { message, name } = value
    return line(`${String(name)}: ${String(message)}`, 500)
  }
  if (depth >= depthLimit) {
    return Array.isArray(value)
      ? "[…]"
      : name === "" || name === "Object"
      ? "{…}"
      : `${name} {…}`
  }

  const list = (items: Iterable<unknown>, render: (item: unknown) => string): string => {
    const shown: Array<string> = []
    for (const item of items) {
      if (shown.length === itemLimit || budget.left <= 0) {
        shown.push("…")
        break
      }
      shown.push(render(item))
    }
    return shown.join(", ")
  }
  const entry = ([key, one]: readonly [unknown, unknown]) =>
    `${inside(key)} => ${typeof key === "string" && rules.isSecret(key) ? rules.hideAll(one) : inside(one)}`

  if (Array.isArray(value)) {
    const items: Array<readonly [before: unknown, item: unknown]> = []
    for (let i = 0; i < value.length && i <= itemLimit; i++) items.push([lookup(value, i - 1), lookup(value, i)])
    // `["authorization", "Bearer x"]`, and the raw headers of Node
    return `[${
      list(items, (item) => {
        const [before, one] = item as readonly [unknown, unknown]
        return typeof before === "string" && rules.isSecret(before) ? rules.hideAll(one) : inside(one)
      })
    }]`
  }
  if (value instanceof Map || has(value, "effect/HashMap")) {
    return `${name === "Object" || name === "" ? "HashMap" : name} {${
      list(value as Iterable<unknown>, (item) => entry(item as readonly [unknown, unknown]))
    }}`
  }
  const sequence = value instanceof Set
    ? "Set"
    : ["Chunk", "HashSet", "List"].find((kind) => has(value, `effect/${kind}`))
  if (sequence !== undefined) return `${sequence} [${list(value as Iterable<unknown>, inside)}]`

  const descriptors = Object.getOwnPropertyDescriptors(value)
  // a stream or a socket: hundreds of fields, and all that has gone through it
  if ("_events" in descriptors) return name
  const keys = Object.keys(descriptors).filter((key) => descriptors[key]!.enumerable === true)
  const beside = keys.includes("value") && rules.isSecret(besides(value))
  const fields = list(keys, (item) => {
    const key = String(item)
    const shown = /^[A-Za-z_$][\w$]*$/.test(key) ? line(key, 100) : `"${line(key, 100)}"`
    const one = descriptors[key]!
    if (rules.isSecret(key) || (beside && key === "value")) return `${shown}: ${rules.hideAll(one.value)}`
    if (typeof one.value === "function") return `${shown}()`
    return `${shown}: ${"value" in one ? inside(one.value) : "[getter]"}`
  })
  const prefix = name === "" || name === "Object" ? "" : name
  return keys.length === 0 ? prefix || "{}" : `${prefix === "" ? "" : `${prefix} `}{ ${fields} }`
}

/** Values of Effect as their constructors write them. */
const effectValue = (value: object, inside: (value: unknown) => string): string | undefined => {
  const tag = lookup(value, "_tag")
  if (has(value, "effect/Option")) return tag === "Some" ? `Some(${inside(lookup(value, "value"))})` : "None"
  if (has(value, "effect/Either")) {
    return tag === "Right" ? `Right(${inside(lookup(value, "right"))})` : `Left(${inside(lookup(value, "left"))})`
  }
  if (has(value, "effect/Duration")) {
    const length = lookup(value, "value")
    const [millis, nanos] = [lookup(length, "millis"), lookup(length, "nanos")]
    return `Duration(${
      typeof nanos === "bigint" ? `${nanos}ns` : typeof millis === "number" ? `${millis}ms` : "infinite"
    })`
  }
  if (has(value, "effect/DateTime")) {
    const millis = lookup(value, "epochMillis")
    return typeof millis === "number" ? new Date(millis).toISOString() : "DateTime"
  }
  if (has(value, "effect/Cause")) return "Cause"
  // a failed error is one too, with its fields
  return has(value, "effect/Effect") && !(value instanceof Error) ? "Effect" : undefined
}
