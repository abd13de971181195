import { splitList, trim } from "./fields.js"

/** How much a media type is wanted, from 0 to 1, and by how exact a range: 0 by none, 1 by any type, 3 by name. */
export interface Wanted {
  readonly q: number
  readonly exactness: number
}

const unwanted: Wanted = { q: 0, exactness: 0 }

/**
 * Reads `Accept` (RFC 9110 section 12.5.1): of several ranges that cover a type the most exact one counts. Parameters
 * other than `q` make no difference, and a range that is malformed is not there.
 */
export const wants = (accept: string): (type: string) => Wanted => {
  const ranges = new Map<string, number>()
  for (const element of splitList(accept)) {
    const [range = "", ...parameters] = element.split(";").map(trim)
    if (!/^(?:\*\/\*|[!#$%&'*+.^_`|~\w-]+\/[!#$%&'*+.^_`|~\w-]+)$/.test(range)) continue
    const weight = parameters.find((parameter) => /^q[ \t]*=/i.test(parameter))
    const q = weight === undefined ? 1 : quality(trim(weight.slice(weight.indexOf("=") + 1)))
    const name = range.toLowerCase()
    if (q !== undefined && !ranges.has(name)) ranges.set(name, q)
  }
  return (type) => {
    const candidates = ["*/*", `${type.slice(0, type.indexOf("/"))}/*`, type]
    for (let exactness = 3; exactness > 0; exactness--) {
      const q = ranges.get(candidates[exactness - 1]!)
      if (q !== undefined) return { q, exactness }
    }
    return unwanted
  }
}

/** RFC 9110 section 12.4.2. */
const quality = (text: string): number | undefined =>
  /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(text) ? Number(text) : undefined
