/** Content Security Policy Level 3: directives checked, and printed. */
import { createHash } from "node:crypto"
import type { Directives, NonceDirective } from "../SecurityHeaders.js"

type Fail = (problem: string, remedy: string) => never

/** A directive of the option's name, in the order in which they are printed. */
const kinds = {
  defaultSrc: "sources",
  scriptSrc: "sources",
  scriptSrcElem: "sources",
  scriptSrcAttr: "sources",
  styleSrc: "sources",
  styleSrcElem: "sources",
  styleSrcAttr: "sources",
  imgSrc: "sources",
  fontSrc: "sources",
  connectSrc: "sources",
  mediaSrc: "sources",
  manifestSrc: "sources",
  objectSrc: "sources",
  frameSrc: "sources",
  childSrc: "sources",
  workerSrc: "sources",
  baseUri: "hosts",
  formAction: "hosts",
  frameAncestors: "hosts",
  sandbox: "sandbox",
  requireTrustedTypesFor: "trustedTypesFor",
  trustedTypes: "trustedTypes",
  upgradeInsecureRequests: "flag",
  reportTo: "endpoint",
  reportUri: "urls"
} as const satisfies { readonly [K in keyof Required<Directives>]: string }

const isDirective = (name: string): name is keyof Directives => Object.hasOwn(kinds, name)

/** `'nonce-...'` stands where `nonce` is given, in the directives of `nonces`. */
export const printPolicy = (
  directives: Directives,
  nonces: ReadonlyArray<NonceDirective>,
  nonce: string | undefined
): string =>
  Object.keys(kinds).filter(isDirective).flatMap((name) => {
    const value = directives[name]
    if (value === undefined || value === false) return []
    const words = value === true ? [] : typeof value === "string" ? [value] : value
    const kept = nonce !== undefined && nonces.some((directive) => directive === name)
      // beside 'none', which says that there is nothing else
      ? [...words.filter((word) => word !== "'none'"), `'nonce-${nonce}'`]
      : words
    return [[kebab(name), ...new Set(kept)].join(" ")]
  }).join("; ")

const kebab = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

/** Throws on what a browser would ignore, or read as something else. */
export const checkPolicy = (option: string, directives: Directives): void => {
  for (const [name, value] of Object.entries<unknown>({ ...directives })) {
    const place = `SecurityHeaders: ${option}.${name}`
    const fail: Fail = (problem, remedy) => {
      throw new TypeError(`${place} ${problem}: ${remedy}`)
    }
    if (!isDirective(name)) {
      throw new TypeError(
        `SecurityHeaders: ${option} has ${JSON.stringify(name)}: ${
          name.includes("-") ? `write ${camel(name)}` : "write a directive as its option is named (scriptSrc)"
        }`
      )
    }
    if (value !== undefined && value !== false) check[kinds[name]](value, fail)
  }
}

const camel = (name: string) => name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())

const wordsOf = (value: unknown, fail: Fail, remedy: string): ReadonlyArray<string> => {
  if (!Array.isArray(value)) return fail("is no list", remedy)
  return value.map((word) => {
    if (typeof word !== "string" || word === "") return fail("has what is no text", remedy)
    if (!/^[!-~]+$/.test(word) || /[;,]/.test(word)) {
      return fail(
        `has ${JSON.stringify(word)}`,
        `write one in each element, without spaces, ";" and ",", and what is not ASCII percent-encoded`
      )
    }
    return word
  })
}

const checkSources = (value: unknown, fail: Fail, isSource: (word: string) => boolean) => {
  const words = wordsOf(value, fail, `list the sources (["'self'", "https://example.com"])`)
  if (words.length === 0) fail("names none", `write ["'none'"], or false to leave the directive out`)
  if (words.includes("'none'") && words.length > 1) {
    fail("has 'none' and others", "leave one of them out, 'none' stands alone")
  }
  for (const word of words) if (!isSource(word)) fail(`has ${JSON.stringify(word)}`, remedyFor(word))
}

const check: { readonly [K in typeof kinds[keyof typeof kinds]]: (value: unknown, fail: Fail) => void } = {
  sources: (value, fail) => checkSources(value, fail, (word) => keywords.has(word) || isHash(word) || isPlace(word)),
  hosts: (value, fail) => checkSources(value, fail, (word) => word === "'self'" || word === "'none'" || isPlace(word)),
  sandbox: (value, fail) => {
    if (value === true) return
    for (const word of wordsOf(value, fail, "write true, or list what is allowed ([\"allow-forms\"])")) {
      if (!/^allow-[a-z-]+$/.test(word)) fail(`has ${JSON.stringify(word)}`, "write what is allowed (\"allow-forms\")")
    }
  },
  trustedTypesFor: (value, fail) => {
    const words = wordsOf(value, fail, `write ["'script'"]`)
    if (words.length !== 1 || words[0] !== "'script'") fail("is not 'script'", `write ["'script'"]`)
  },
  trustedTypes: (value, fail) => {
    for (const word of wordsOf(value, fail, "list the names of policies")) {
      if (!/^(?:'none'|'allow-duplicates'|\*|[\w#=/@.%-]+)$/.test(word)) {
        fail(`has ${JSON.stringify(word)}`, "write the name of a policy, \"'allow-duplicates'\", \"'none'\" or \"*\"")
      }
    }
  },
  flag: (value, fail) => {
    if (value !== true) fail("is no switch", "write true, or leave it out")
  },
  endpoint: (value, fail) => {
    if (typeof value !== "string" || !isEndpoint(value)) {
      fail("is no name", "write the name of one of reportingEndpoints")
    }
  },
  urls: (value, fail) => {
    for (const word of wordsOf(value, fail, `list the addresses (["/reports"])`)) {
      if (!/^(?:https?:\/\/|\/)/.test(word)) fail(`has ${JSON.stringify(word)}`, `begin with "https://", or with "/"`)
    }
  }
}

/** A key of a structured field (RFC 9651 section 3.1.2). */
export const isEndpoint = (name: string): boolean => /^[a-z*][a-z\d_.*-]*$/.test(name)

const keywords: ReadonlySet<string> = new Set([
  "'none'",
  "'self'",
  "'unsafe-inline'",
  "'unsafe-eval'",
  "'unsafe-hashes'",
  "'unsafe-allow-redirects'",
  "'wasm-unsafe-eval'",
  "'trusted-types-eval'",
  "'strict-dynamic'",
  "'report-sample'",
  "'inline-speculation-rules'"
])

const hashLengths: { readonly [algorithm: string]: number } = { sha256: 32, sha384: 48, sha512: 64 }

const isHash = (word: string): boolean => {
  const [, algorithm = "", digest = ""] = /^'(sha\d+)-([\w+/-]+={0,2})'$/.exec(word) ?? []
  return Buffer.from(digest, "base64").length === hashLengths[algorithm]
}

/** A scheme, or hosts. A name without a dot is a host as well, so what may be meant as a keyword is refused before. */
const isPlace = (word: string): boolean =>
  /^[a-z][a-z\d+.-]*:$/i.test(word) ||
  (!bare.test(word) &&
    /^(?:[a-z][a-z\d+.-]*:\/\/)?(?:\*|(?:\*\.)?[a-z\d_-]+(?:\.[a-z\d_-]+)*|\[[\da-f:.]+\])(?::(?:\d{1,5}|\*))?(?:\/[^?#]*)?$/i
      .test(word))

const bare =
  /^(?:self|none|unsafe-[a-z-]+|wasm-unsafe-eval|strict-dynamic|report-sample|nonce-.*|sha\d+-.*|data|blob|https?)$/i

const remedyFor = (word: string): string => {
  const name = word.replace(/'/g, "")
  if (/^nonce(?:-|$)/i.test(name)) {
    return "leave it out and name the directive in nonce, which makes one for each response"
  }
  if (/^sha\d+-/i.test(name)) return "write what SecurityHeaders.hash gives for the text of the element"
  if (/^(?:data|blob|https?)$/i.test(word)) return `write "${word.toLowerCase()}:", a scheme ends with a colon`
  if (keywords.has(`'${name.toLowerCase()}'`)) {
    return word.startsWith("'")
      ? `write "'${name.toLowerCase()}'" in a directive for what is loaded`
      : `write "'${name.toLowerCase()}'", with its quotes`
  }
  if (/[?#]/.test(word)) return "leave the query out, it is never compared"
  return `write a keyword in quotes ("'self'"), a scheme ("data:") or a host ("https://example.com", "*.example.com")`
}

export const sourceHash = (text: string, algorithm: "sha256" | "sha384" | "sha512"): string =>
  `'${algorithm}-${createHash(algorithm).update(text).digest("base64")}'`
