import { BodyLimit } from "effect-middleware"
import { bench, describe } from "vitest"

describe("BodyLimit.policy", () => {
  const decide = BodyLimit.policy()
  const facts = { contentLength: undefined, transferEncoding: undefined, framed: true }
  bench("no body", () => void decide(facts))
  bench("within the limit", () => void decide({ ...facts, contentLength: "512" }))
  bench("above it", () => void decide({ ...facts, contentLength: "10485760" }))
  bench("chunked", () => void decide({ ...facts, transferEncoding: "chunked" }))
})
