import { IpRestriction } from "effect-middleware"
import { bench, describe } from "vitest"

/** Apart from each other, so that none is merged with another. */
const ranges = (count: number) =>
  Array.from({ length: count }, (_, i) => `${1 + (i >> 15)}.${(i >> 7) & 255}.${(i << 1) & 255}.0/24`)
const ranges6 = (count: number) => Array.from({ length: count }, (_, i) => `2001:db8:${i.toString(16)}::/48`)

describe("IpRestriction.policy", () => {
  for (const count of [1, 100, 10_000, 100_000]) {
    const decide = IpRestriction.policy({ deny: ranges(count) })
    bench(`IPv4, ${count} ranges`, () => void decide("3.40.7.9"))
  }
  for (const count of [1, 60_000]) {
    const decide = IpRestriction.policy({ deny: ranges6(count) })
    bench(`IPv6, ${count} ranges`, () => void decide("2001:db8:7:8::9"))
  }
  const both = IpRestriction.policy({ allow: ["private"], deny: ["10.0.0.13"] })
  bench("allow and deny", () => void both("10.1.2.3"))
  bench("no address", () => void both("1.2.3.999"))
})

describe("IpRestriction.policy, compiled", () => {
  const [some, many] = [ranges(1000), ranges(100_000)]
  bench("1000 ranges", () => void IpRestriction.policy({ deny: some }))
  bench("100 000 ranges", () => void IpRestriction.policy({ deny: many }), { iterations: 3, time: 0 })
})
