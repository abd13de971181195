import { KeyValueStore } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Either, Layer, Redacted, TestClock } from "effect"
import * as RefreshTokens from "../docs/examples/tokens/RefreshTokens.js"

const tokens = RefreshTokens.layer({ lifetime: "1 day" }).pipe(Layer.provideMerge(KeyValueStore.layerMemory))

const rotate = (token: Redacted.Redacted) =>
  Effect.flatMap(RefreshTokens.RefreshTokens, (tokens) => tokens.rotate(token))
const refused = (token: Redacted.Redacted) =>
  Effect.map(Effect.flip(rotate(token)), (error) => error._tag === "RefreshRefused" ? error.reason : error._tag)
const issue = Effect.flatMap(RefreshTokens.RefreshTokens, (tokens) => tokens.issue("ada"))

describe("refresh tokens", () => {
  it.effect("each is good for one turn", () =>
    Effect.gen(function*() {
      let token = yield* issue
      const seen = new Set([Redacted.value(token)])
      for (let turn = 0; turn < 5; turn++) {
        const rotated = yield* rotate(token)
        assert.strictEqual(rotated.subject, "ada")
        token = rotated.token
        seen.add(Redacted.value(token))
      }
      assert.strictEqual(seen.size, 6)
    }).pipe(Effect.provide(tokens)))

  it.effect("one that was used revokes all that follow from it, and no others", () =>
    Effect.gen(function*() {
      const [stolen, other] = [yield* issue, yield* issue]
      const thief = yield* rotate(stolen)
      const next = yield* rotate(thief.token)
      assert.strictEqual(yield* refused(stolen), "reused")
      // the thief's, and the owner's
      assert.strictEqual(yield* refused(next.token), "unknown")
      assert.strictEqual(yield* refused(stolen), "unknown")
      assert.strictEqual((yield* rotate(other)).subject, "ada")
    }).pipe(Effect.provide(tokens)))

  it.effect("of two at the same moment one is good, and then none", () =>
    Effect.gen(function*() {
      const token = yield* issue
      const answers = yield* Effect.forEach(Array.from({ length: 20 }), () => Effect.either(rotate(token)), {
        concurrency: "unbounded"
      })
      const good = answers.filter(Either.isRight)
      assert.lengthOf(good, 1)
      for (const { right } of good) assert.strictEqual(yield* refused(right.token), "unknown")
    }).pipe(Effect.provide(tokens)))

  it.effect("all are over with their family", () =>
    Effect.gen(function*() {
      const token = yield* issue
      yield* TestClock.adjust("86399 seconds")
      const rotated = yield* rotate(token)
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual(yield* refused(rotated.token), "expired")
    }).pipe(Effect.provide(tokens)))

  it.effect("a logout ends them", () =>
    Effect.gen(function*() {
      const token = yield* issue
      const { revoke } = yield* RefreshTokens.RefreshTokens
      yield* revoke(Redacted.make("no token"))
      yield* revoke(token)
      assert.strictEqual(yield* refused(token), "unknown")
    }).pipe(Effect.provide(tokens)))

  it.effect("what is no token is looked up nowhere", () =>
    Effect.gen(function*() {
      const token = Redacted.value(yield* issue)
      for (const text of ["", ".", "../../etc/passwd", `${token}A`, ` ${token}`, token.replace(".", "/")]) {
        assert.strictEqual(yield* refused(Redacted.make(text)), "malformed")
      }
    }).pipe(Effect.provide(tokens)))

  it.effect("the store has none", () =>
    Effect.gen(function*() {
      const [id = "", secret = ""] = Redacted.value(yield* issue).split(".")
      const store = yield* KeyValueStore.KeyValueStore
      const kept = yield* store.get(id)
      assert.strictEqual(kept._tag, "Some")
      assert.notInclude(JSON.stringify(kept), secret)
    }).pipe(Effect.provide(tokens)))
})
