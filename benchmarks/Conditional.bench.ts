import { bench, describe } from "vitest"
import { digestTag } from "../src/internal/digest.js"
import { evaluate } from "../src/internal/preconditions.js"

describe("preconditions", () => {
  const current = { etag: `"pzxYtl2wkJXgSqZ5sG1kMA"`, lastModified: "Sun, 06 Nov 1994 08:49:37 GMT" }
  const read = (headers: Record<string, string>) => () => void evaluate("GET", headers, current, 0)
  bench("none", read({}))
  bench("one tag", read({ "if-none-match": current.etag }))
  bench("the last of 100 tags", read({ "if-none-match": `${`"${"a".repeat(22)}", `.repeat(99)}${current.etag}` }))
  bench("a date", read({ "if-modified-since": current.lastModified }))
})

describe("an entity-tag", () => {
  for (const [size, bytes] of [["1 KB", 1000], ["20 KB", 20_000], ["100 KB", 100_000], ["1 MiB", 2 ** 20]] as const) {
    const content = new Uint8Array(bytes).fill(97)
    bench(`of ${size}`, () => void digestTag("text/plain", content))
  }
})
