import { assert, describe, it } from "@effect/vitest"
import { Context, Effect } from "effect"
import { Entropy } from "effect-middleware"

describe("Entropy", () => {
  it.effect("is the runtime's cryptographic generator unless another is provided", () =>
    Effect.gen(function*() {
      const { bytes, uuid } = yield* Entropy.Entropy
      assert.match(uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      assert.notStrictEqual(uuid(), uuid())
      assert.strictEqual(bytes(32).length, 32)
      assert.notDeepEqual(bytes(32), bytes(32))
    }))

  it.effect("is replaced like any service", () =>
    Effect.gen(function*() {
      const fixed = { uuid: () => "u", bytes: () => new Uint8Array([1]) }
      assert.strictEqual(yield* Effect.provideService(Entropy.Entropy, Entropy.Entropy, fixed), fixed)
      assert.strictEqual(Context.get(Context.make(Entropy.Entropy, fixed), Entropy.Entropy), fixed)
    }))
})
