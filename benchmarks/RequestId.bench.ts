import { Context } from "effect"
import { Entropy, RequestId } from "effect-middleware"
import { bench, describe } from "vitest"

describe("RequestId.isValid", () => {
  bench("a UUID", () => void RequestId.isValid("0190b2a4-9f5c-7c3e-8a1b-2c3d4e5f6a7b"))
  bench("128 letters", () => void RequestId.isValid("a".repeat(128)))
  bench("refused at the end", () => void RequestId.isValid(`${"a".repeat(127)}\n`))
  bench("too long", () => void RequestId.isValid("a".repeat(129)))
  bench("none", () => void RequestId.isValid(undefined))
})

describe("RequestId.Generator", () => {
  const entropy = Context.get(Context.empty(), Entropy.Entropy)
  const now = () => 1_721_900_000_000
  bench("uuid4", () => void RequestId.uuid4(entropy, now))
  bench("uuid7", () => void RequestId.uuid7(entropy, now))
})
