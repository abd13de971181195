import type { Pair } from "./snapshot.js"

/**
 * What may be shown of values and texts that nobody has vetted. Everything here is total, whatever it is given, and takes
 * time in proportion to the text. Control characters are left to those who draw it.
 */
export interface Redactor {
  /** Text of any kind: a message, a field, a URL. */
  readonly text: (text: string, limit?: number) => string
  /** A line of a program, in which literals alone are hidden. */
  readonly code: (line: string) => string
  /** Any value, on one line, with strings in quotes. */
  readonly value: (value: unknown, name?: string) => string
  /** The same beside its name, where a string stands without quotes. */
  readonly pair: (name: string, value: unknown) => Pair
  /** JSON on several lines; `undefined` for what is none. */
  readonly json: (text: string) => string | undefined
  /** Remembers a secret for `scrub`, and is what is shown of it. */
  readonly hide: (value: unknown) => string
  /** Hides wherever it occurs what has been hidden before. */
  readonly scrub: (text: string) => string
}

const redacted = "<redacted>"

/** A text of any length ends here. */
const most = 2_000
/** So much of it is read besides: what is hidden may be longer than what is shown for it. */
const margin = 16_384
const depthLimit = 4
const itemLimit = 50

// --- what is secret --------------------------------------------------------------------------------------------------

/** A name is secret with one of these anywhere in it: `dbpassword`, `XSRF-TOKEN`. */
const anywhere =
  /authori[sz]ation|authentication|cookie|pass(?:w|phrase|code)|pwd|secret|token|key(?!board|word)|credential|signature|jwt|[cx]srf|sess(?:ion)?_?id|bearer|connection_?string/i
/** And with one of these as a word: neither `author`, `obsession` nor `shipping`. */
const asWord = /(?<![a-z])(?:o?authn?|sessions?|sid|pass|pw|pin|t?otp|cvv|cvc|ssn|sig|hmac|salt|pem)(?![a-z])/i

const plain = (name: string) => name.replace(/[-_]/g, "").toLowerCase()

const namesOf = (own: ReadonlyArray<string | RegExp>) => {
  const names = new Set(own.flatMap((one) => typeof one === "string" ? [plain(one)] : []))
  const patterns = own.filter((one) => typeof one !== "string")
  return (name: string): boolean =>
    anywhere.test(name) || asWord.test(name.replace(/[a-z\d](?=[A-Z])/g, "$&_")) || names.has(plain(name)) ||
    // which keeps no state, as `test` would
    patterns.some((pattern) => name.search(pattern) !== -1)
}

type Shapes = ReadonlyArray<readonly [pattern: RegExp, shown: string]>

/** Secrets that can be told by their form. */
const shapes: Shapes = [
  [/-----BEGIN [A-Z\d ]{0,40}PRIVATE KEY[^]*?(?:-----END [A-Z\d ]{0,40}-----|$)/g, redacted],
  // user and password of a URL
  [/\b([a-z][a-z\d+.-]{0,30}:\/\/)[^\s/?#"'<>]*@/gi, `$1${redacted}@`],
  [/(?<![\w-])eyJ[\w-]{4,}\.[\w-]+\.[\w-]*/g, redacted],
  [
    /(?<![\w-])(?:gh[pousr]_|github_pat_|glpat-|npm_|xox[abposr]-|sk-|[sr]k_(?:live|test)_|whsec_|AKIA|ASIA|AIza|ya29\.)[\w-]{12,}/g,
    redacted
  ]
]
const headers: Shapes = [
  [/\b((?:proxy-)?authorization|(?:set-)?cookie)(\s{0,4}:\s{0,4})[^\r\n"']+/gi, `$1$2${redacted}`],
  // but `Bearer token is missing`, `basic validation`
  [/\b([Bb]earer|[Bb]asic|[Dd]igest|BEARER|BASIC)([ \t]{1,4})(?![a-z]+(?:\s|$))[^\s,;"'<>\\]+/g, `$1$2${redacted}`]
]

const hideShapes = (text: string, shapes: Shapes): string =>
  shapes.reduce((text, [pattern, shown]) => text.replace(pattern, shown), text)

/** `name=value`, `name: value`, `"name":"value"`, also where the quotes are escaped; what types say is `readonly`. */
const pairName = /(\\{0,31}["'])?(?<![\w.-]|readonly )([A-Za-z_$][\w.$-]{0,63})\1(\s{0,4}(?:=>?|:)\s{0,4})/g
const pairValue = /"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|\\{1,31}["'][^"'\n]*["']?|[^\s,;&"'}\])\\]+/y
/** In prose these are subjects: `Unexpected token: }`. */
const subject = /^(?:token|key|session|signature|auth\w*|pass|pin)s?$/i
/** `name=value` in a URL, of which both may be encoded. */
const parameter = /([?&#])([^?&#=\s]{1,200})=([^?&#\s"'<>]+)/g
/** `secret = "literal"` in a program. */
const assigned =
  /\b([\w-]{1,64})(["']?\s?(?::[ \w<>.|]{0,40}=|[:=])\s?(?:Redacted\.make\()?)(["'`])(?:(?!\3)[^\\]|\\.)+(?:\3|$)/g

/** Where the value that begins at `start` ends: a list or a record with all that is in it. */
const endOf = (text: string, start: number): number => {
  if (text[start] !== "[" && text[start] !== "{") {
    pairValue.lastIndex = start
    return pairValue.test(text) ? pairValue.lastIndex : start
  }
  let depth = 0
  for (let i = start; i < text.length; i++) {
    if (text[i] === "[" || text[i] === "{") depth++
    else if ((text[i] === "]" || text[i] === "}") && --depth === 0) return i + 1
  }
  return text.length
}

const cut = (text: string, limit: number): string =>
  text.length <= limit ? text : `${text.slice(0, limit - 1).replace(/[\ud800-\udbff]$/, "")}…`

// --- values ----------------------------------------------------------------------------------------------------------

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

const textIn = (value: unknown, key: string): string => {
  const text = lookup(value, key)
  return typeof text === "string" ? text : ""
}

/** What a class calls itself; nothing for a record. */
export const className = (value: object): string => {
  const name = textIn(lookup(Object.getPrototypeOf(value), "constructor"), "name")
  return name === "Object" ? "" : name
}

const isOf = (value: object, ...names: ReadonlyArray<string>) =>
  names.find((name) => Symbol.for(`effect/${name}`) in value)

/** The names and the items of what holds others, and nothing for other values. */
const itemsOf = (value: object): { readonly name: string; readonly items: Iterable<unknown> } | undefined => {
  if (Array.isArray(value)) return { name: "", items: value }
  if (value instanceof Map || value instanceof Set) return { name: className(value), items: value }
  const name = isOf(value, "Chunk", "HashMap", "HashSet", "List")
  return name !== undefined && Symbol.iterator in value ? { name, items: value as Iterable<unknown> } : undefined
}

export const redactor = (own: ReadonlyArray<string | RegExp> = []): Redactor => {
  const isSecret = namesOf(own)
  const hidden = new Set<string>()

  const hide = (value: unknown): string => {
    // a token also without its scheme
    for (const text of typeof value === "string" ? [value, value.slice(value.indexOf(" ") + 1)] : []) {
      // what is short, or without a digit, is too likely to be no secret elsewhere: `?sort_key=created_at`
      if (text.length >= 8 && /\d/.test(text) && hidden.size < 100) hidden.add(text)
    }
    return redacted
  }
  const scrub = (text: string): string =>
    [...hidden].sort((a, b) => b.length - a.length).reduce((text, one) => text.split(one).join(redacted), text)

  const hidePairs = (text: string): string => {
    let [shown, done] = ["", 0]
    for (const { 0: whole, 1: quote, 2: name = "", 3: separator = "", index } of text.matchAll(pairName)) {
      const start = index + whole.length
      if (index < done || !isSecret(name)) continue
      const isProse = quote === undefined && separator.includes(":") && subject.test(name)
      if (isProse && !/["']/.test(text[start] ?? "")) continue
      const end = endOf(text, start)
      if (end > start) [shown, done] = [shown + text.slice(done, start) + redacted, end]
    }
    return shown + text.slice(done)
  }

  /** The messages of schemas are trees: what is below `["password"]` says what it actually was. */
  const hideBranches = (text: string): string => {
    let secret = Number.POSITIVE_INFINITY
    return !text.includes("─ [") ? text : text.split("\n").map((line) => {
      const depth = line.indexOf("─")
      if (depth <= secret) secret = Number.POSITIVE_INFINITY
      if (depth > secret) return line.replace(/actual .*/, `actual ${redacted}`)
      const name = /─ \["(.{1,256})"\]$/.exec(line)?.[1]
      if (name !== undefined && isSecret(name)) secret = depth
      return line
    }).join("\n")
  }

  const clear = (text: string): string => hidePairs(hideShapes(hideShapes(text, shapes), headers))
  const free = (text: string): string =>
    hideBranches(clear(text.replace(parameter, (whole, mark: string, name: string, value: string) => {
      const [[known, decoded] = ["", ""]] = new URLSearchParams(`${name}=${value}`)
      if (isSecret(known)) return `${mark}${name}=${hide(decoded)}`
      return clear(decoded) === decoded ? whole : `${mark}${name}=${redacted}`
    })))

  const text = (text: string, limit = most): string => {
    const end = limit + margin
    const shown = free(text.slice(0, end))
    // where it has been cut may be half of a secret
    return cut(text.length > end ? `${shown.slice(0, -1_000)}…` : shown, limit)
  }

  const code = (line: string): string =>
    hideShapes(
      line.replace(assigned, (whole, name: string, between: string, quote: string) =>
        isSecret(name) ? name + between + quote + redacted + quote : whole),
      shapes
    )

  /** By its own name, and by the one beside it: `{ name: "cookie", value: "x" }`. */
  const isSecretIn = (holder: object, key: string): boolean =>
    isSecret(key) || (key.startsWith("value") && isSecret(textIn(holder, "name")))
  /** By the item before it: `["authorization", "Bearer x"]`. */
  const isSecretAfter = (before: unknown): boolean => typeof before === "string" && isSecret(before)

  const inspect = (value: unknown): string => {
    let left = most

    const show = (value: unknown, above: ReadonlyArray<object>): string => {
      try {
        const shown = draw(value, above)
        left -= shown.length
        return shown
      } catch {
        return "[unreadable]"
      }
    }
    const list = <A>(items: Iterable<A>, draw: (item: A, before: A | undefined) => string): string => {
      const shown: Array<string> = []
      let before: A | undefined
      for (const item of items) {
        if (shown.length === itemLimit || left <= 0) return [...shown, "…"].join(", ")
        shown.push(draw(item, before))
        before = item
      }
      return shown.join(", ")
    }
    const draw = (value: unknown, above: ReadonlyArray<object>): string => {
      if (typeof value === "string") return JSON.stringify(text(value))
      if (typeof value === "bigint") return `${value}n`
      if (typeof value === "function") return `[function ${textIn(value, "name")}]`.replace(" ]", "]")
      if (typeof value !== "object" || value === null) return text(String(value))
      if (isOf(value, "Redacted", "Secret") !== undefined) return redacted
      if (above.includes(value)) return "[circular]"
      if (value instanceof Date) return String(JSON.stringify(value)).replace("null", "Invalid Date")
      if (value instanceof URL) return `URL ${text(value.href)}`
      if (value instanceof Error) return text(`${value.name}: ${value.message}`)

      const tag = textIn(value, "_tag")
      const name = text(className(value) || tag, 100)
      if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `${name}(${value.byteLength} bytes)`
      const inside = (one: unknown) => show(one, [...above, value])
      const held = itemsOf(value)
      const prefix = (name: string) => name === "" ? "" : `${name} `
      if (above.length >= depthLimit) return held === undefined ? `${prefix(name)}{…}` : `${prefix(held.name)}[…]`
      if (held !== undefined) {
        const items = list(held.items, (one, before) => isSecretAfter(before) ? hide(one) : inside(one))
        return `${prefix(held.name)}[${items}]`
      }
      const fields = Object.entries(Object.getOwnPropertyDescriptors(value)).filter(([key, { enumerable }]) =>
        enumerable === true && !(key === "_tag" && name === tag)
      )
      // a stream or a socket: hundreds of fields, and all that has gone through it
      if (fields.some(([key]) => key === "_events")) return name || "{…}"
      if (fields.length === 0) return name || "{}"
      const shown = list(fields, ([key, field]) => {
        const label = /^[\w$]{1,100}$/.test(key) ? key : JSON.stringify(text(key, 100))
        if (isSecretIn(value, key)) return `${label}: ${hide(field.value)}`
        if (typeof field.value === "function") return `${label}()`
        return `${label}: ${"value" in field ? inside(field.value) : "[getter]"}`
      })
      return `${prefix(name)}{ ${shown} }`
    }
    return cut(show(value, []), most)
  }

  const value = (value: unknown, name = ""): string => isSecret(name) ? hide(value) : inspect(value)
  const pair = (name: string, one: unknown): Pair => [
    text(name, 200),
    typeof one === "string" && !isSecret(name) ? text(one) : value(one, name)
  ]

  const json = (whole: string): string | undefined => {
    const clean = (value: unknown, depth: number): unknown => {
      if (typeof value === "string") return free(value)
      if (typeof value !== "object" || value === null) return value
      // indentation grows with the square of the depth
      if (depth > 64) return "…"
      return Array.isArray(value)
        ? value.map((one, i) => isSecretAfter(value[i - 1]) ? hide(one) : clean(one, depth + 1))
        : Object.fromEntries(
          Object.entries(value).map(([key, one]) => [key, isSecretIn(value, key) ? hide(one) : clean(one, depth + 1)])
        )
    }
    try {
      return JSON.stringify(clean(JSON.parse(whole), 0), null, 2)
    } catch {
      return undefined
    }
  }

  return { text, code, value, pair, json, hide, scrub }
}
