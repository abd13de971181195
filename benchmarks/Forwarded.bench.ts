import { Forwarded } from "effect-middleware"
import { bench, describe } from "vitest"

const facts = (headers: Record<string, string>, peer = "10.0.0.1"): Forwarded.Facts => ({
  peer,
  host: "example.com",
  target: "/",
  header: (name) => headers[name]
})

describe("Forwarded.policy", () => {
  const direct = Forwarded.policy({ trust: "none" })
  const proxied = Forwarded.policy({ trust: { proxies: ["10.0.0.0/8"] } })
  const standard = Forwarded.policy({ trust: { proxies: ["10.0.0.0/8"] }, header: "forwarded" })
  const hops = Forwarded.policy({ trust: { hops: 1 } })

  const one = { "x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https", "x-forwarded-host": "example.com" }
  const three = { ...one, "x-forwarded-for": "203.0.113.9, 10.0.0.3, 10.0.0.2" }

  const cases = {
    "trust none": [direct, facts(one)],
    "peer is no proxy": [proxied, facts(one, "198.51.100.7")],
    "peer is an IPv6 address, no proxy": [proxied, facts(one, "2001:db8::7")],
    "one proxy, by range": [proxied, facts(one)],
    "one proxy, by hops": [hops, facts(one)],
    "three proxies": [proxied, facts(three)],
    "one proxy, Forwarded": [standard, facts({ forwarded: "for=203.0.113.9;proto=https;host=example.com" })],
    "hostile: 10 000 entries": [proxied, facts({ ...one, "x-forwarded-for": "10.0.0.2, ".repeat(9_999) + "10.0.0.2" })]
  } as const
  for (const [name, [identify, facts]] of Object.entries(cases)) bench(name, () => void identify(facts))
})
