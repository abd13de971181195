import { Hsts } from "effect-middleware"
import { bench, describe } from "vitest"

describe("Hsts.policy", () => {
  const valueFor = Hsts.policy({ includeSubDomains: true })
  bench("https", () => void valueFor({ scheme: "https", schemeKnown: true, hostname: "www.example.com" }))
  bench("http", () => void valueFor({ scheme: "http", schemeKnown: true, hostname: "www.example.com" }))
  bench("an address", () => void valueFor({ scheme: "https", schemeKnown: true, hostname: "203.0.113.9" }))
  bench("localhost", () => void valueFor({ scheme: "https", schemeKnown: true, hostname: "app.localhost" }))
})
