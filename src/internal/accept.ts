import { splitList, trim } from "./fields.js"

/** How much a media type is wanted, from 0 to 1, and by how exact a range: 0 by none, 1 by any type, 3 by name. */
export interface Wanted {
  readonly q: number
  readonly exactness: number
}

const unwanted: Wanted = { q: 0, exactness: 0 }

/**
 * Reads `Accept` (RFC 9110 section 12.5.1): of several ranges that cover a type the most exact one counts. A range with
 * parameters covers the type too, unless the type is there without; one that is malformed is not there.
 */
export const wants = (accept: string): (type: string) => Wanted => {
  const ranges = new Map<string, number>()
  const parametrized = new Map<string, number>()
  for (const element of splitList(accept)) {
    const [range = "", ...parameters] = unquoted(element).split(";").map(trim)
    if (!/^(?:\*\/\*|[!#$%&'*+.^_`|~\w-]+\/[!#$%&'*+.^_`|~\w-]+)$/.test(range)) continue
    const weight = parameters.find((parameter) => /^q[ \t]*=/i.test(parameter))
    const q = weight === undefined ? 1 : quality(trim(weight.slice(weight.indexOf("=") + 1)))
    const name = range.toLowerCase()
    const known = parameters.every((parameter) => parameter === weight) ? ranges : parametrized
    if (q !== undefined && !known.has(name)) known.set(name, q)
  }
  return (type) => {
    const candidates = ["*/*", `${type.slice(0, type.indexOf("/"))}/*`, type]
    for (let exactness = 3; exactness > 0; exactness--) {
      const candidate = candidates[exactness - 1]!
      const q = ranges.get(candidate) ?? parametrized.get(candidate)
      if (q !== undefined) return { q, exactness }
    }
    return unwanted
  }
}

/** What is quoted separates nothing. */
const unquoted = (element: string): string =>
  element.includes("\"") ? element.replace(/"(?:[^"\\]|\\.)*"/gs, "\"\"") : element

/** RFC 9110 section 12.4.2. */
export const quality = (text: string): number | undefined =>
  /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(text) ? Number(text) : undefined
