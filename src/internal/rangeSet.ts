import type { Address } from "./address.js"
import type { Cidr } from "./cidr.js"

/**
 * Whether an address is in one of many ranges, in as many comparisons as their number has bits: by bits alone, so that no
 * notation evades it. No IPv4 address is in an IPv6 range, `::/0` included.
 */
export const rangeSet = (cidrs: ReadonlyArray<Cidr>): (address: Address) => boolean => {
  const [v4, v6] = [sorted(cidrs, "ipv4"), sorted(cidrs, "ipv6")]
  return (address) => {
    const words = wordsOf(address)
    return has(words.length === 1 ? v4 : v6, words)
  }
}

/** First and last addresses, in order and apart from each other, each of one word of 32 bits or of four. */
interface Sorted {
  readonly count: number
  readonly first: Uint32Array
  readonly last: Uint32Array
}

type Words = ReadonlyArray<number> | Uint32Array

const wordsOf = (address: Address): ReadonlyArray<number> => {
  if ("octets" in address) {
    const [a = 0, b = 0, c = 0, d = 0] = address.octets
    return [((a << 24) | (b << 16) | (c << 8) | d) >>> 0]
  }
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = address.parts
  return [((a << 16) | b) >>> 0, ((c << 16) | d) >>> 0, ((e << 16) | f) >>> 0, ((g << 16) | h) >>> 0]
}

const sorted = (cidrs: ReadonlyArray<Cidr>, kind: "ipv4" | "ipv6"): Sorted => {
  const size = kind === "ipv4" ? 1 : 4
  const ranges = cidrs
    .filter(({ network }) => network.kind() === kind)
    .map(({ network, prefix }) => ({ first: wordsOf(network), prefix }))
    // of two that begin alike the wider comes first, and two ranges are apart or one is in the other
    .sort((a, b) => compare(a.first, b.first, 0) || a.prefix - b.prefix)
  const first = new Uint32Array(ranges.length * size)
  const last = new Uint32Array(ranges.length * size)
  let count = 0
  for (const range of ranges) {
    if (count > 0 && compare(range.first, last, count - 1) <= 0) continue
    first.set(range.first, count * size)
    last.set(range.first.map((word, index) => (word | hostMask(range.prefix - index * 32)) >>> 0), count * size)
    count++
  }
  return { count, first, last }
}

/** The bits of a word that a prefix leaves out. */
const hostMask = (prefix: number): number => prefix <= 0 ? 0xffffffff : prefix >= 32 ? 0 : 0xffffffff >>> prefix

const has = ({ count, first, last }: Sorted, words: Words): boolean => {
  let [low, high] = [0, count]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compare(words, first, middle) < 0) high = middle
    else low = middle + 1
  }
  return low > 0 && compare(words, last, low - 1) <= 0
}

/** With the address at an index. */
const compare = (words: Words, addresses: Words, index: number): number => {
  const size = words.length
  for (let i = 0; i < size; i++) {
    const difference = words[i]! - addresses[index * size + i]!
    if (difference !== 0) return difference
  }
  return 0
}
