import { Compression } from "effect-middleware"
import { bench, describe } from "vitest"
import { encoderOf } from "../src/internal/zlib.js"

describe("Compression.policy", () => {
  const decide = Compression.policy()
  const facts: Compression.Facts = {
    method: "GET",
    request: { "accept-encoding": "gzip, deflate, br, zstd" },
    response: { "content-type": "application/json" },
    status: 200,
    size: 20_000,
    buffered: true,
    setsCookie: false
  }
  bench("a browser's", () => void decide(facts))
  bench(
    "with weights",
    () => void decide({ ...facts, request: { "accept-encoding": "br;q=0.9, gzip;q=1.0, *;q=0.1" } })
  )
  bench("too small", () => void decide({ ...facts, size: 100 }))
  bench("a picture", () => void decide({ ...facts, response: { "content-type": "image/png" } }))
  const careful = Compression.policy({ breach: "skip" })
  bench(
    "that may be personal",
    () => void careful({ ...facts, response: { ...facts.response, "cache-control": "max-age=60", vary: "origin" } })
  )
})

/** Up to which size it does not pay to leave the thread. */
describe.each([1024, 20_000, 32_768, 100_000])("%i bytes", (size) => {
  const rows = Array.from({ length: size / 40 }, (_, id) => `{"id":${id},"name":"user ${(id * 7919) % 1000}"}`)
  const bytes = Buffer.from(rows.join(", ").slice(0, size))
  for (const [coding, level] of [["gzip", 6], ["br", 4]] as const) {
    const { later, now } = encoderOf(coding, level)
    bench(`${coding}, at once`, () => void now(bytes))
    bench(`${coding}, in another thread`, () => new Promise<void>((resolve) => later(bytes, () => resolve())))
  }
})
