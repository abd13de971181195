/** Idempotency keys in memory; by themselves, those in Redis. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import { IdempotencyStore } from "effect-middleware"
import { answerOf, claimed, suite } from "./contracts/IdempotencyStoreContract.js"

suite("IdempotencyStore in memory", IdempotencyStore.layerMemory())

const inMemory = (options?: IdempotencyStore.MemoryOptions) =>
  Effect.provide(IdempotencyStore.IdempotencyStore, IdempotencyStore.layerMemory(options))
const terms = { fingerprint: "a", lease: 60_000, ttl: 600_000 }
const tagOf = (store: IdempotencyStore.Service, key: string) => Effect.map(store.claim(key, terms), ({ _tag }) => _tag)

describe("memory", () => {
  it.effect("goes by the Clock, to the millisecond", () =>
    Effect.gen(function*() {
      const store = yield* inMemory()
      const first = yield* claimed(store, "a", terms)
      yield* TestClock.adjust("59999 millis")
      assert.strictEqual(yield* tagOf(store, "a"), "InProgress")
      yield* TestClock.adjust("1 millis")
      const second = yield* claimed(store, "a", terms)
      assert.isAbove(second.token, first.token)
      assert.isTrue(yield* store.complete(second, answerOf(), 1000))
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(yield* tagOf(store, "a"), "Answered")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* tagOf(store, "a"), "Claimed")
    }))

  it.effect("a clock that is set back makes no token smaller", () =>
    Effect.gen(function*() {
      const store = yield* inMemory()
      yield* TestClock.setTime(1_000_000)
      const first = yield* claimed(store, "a", terms)
      yield* store.release(first)
      yield* TestClock.setTime(0)
      assert.strictEqual((yield* claimed(store, "a", terms)).token, first.token + 1)
    }))

  it.effect("where there is no room, what was answered longest ago goes, and no claim", () =>
    Effect.gen(function*() {
      const store = yield* inMemory({ maxSize: 4096 })
      const busy = yield* claimed(store, "busy", terms)
      for (const key of ["1", "2", "3"]) {
        yield* store.complete(yield* claimed(store, key, terms), answerOf({ body: new Uint8Array(300) }), 600_000)
      }
      yield* store.complete(yield* claimed(store, "4", terms), answerOf({ body: new Uint8Array(1000) }), 600_000)
      assert.strictEqual(yield* tagOf(store, "busy"), "InProgress")
      assert.strictEqual(yield* tagOf(store, "4"), "Answered")
      assert.strictEqual(yield* tagOf(store, "3"), "Answered")
      assert.isTrue(yield* store.complete(busy, answerOf(), 600_000))
      assert.strictEqual(yield* tagOf(store, "1"), "Claimed")
    }))

  it.effect("where all that is kept are claims, another one fails", () =>
    Effect.gen(function*() {
      const store = yield* inMemory({ maxSize: 2048 })
      for (const key of ["1", "2", "3", "4"]) yield* claimed(store, key, terms)
      const error = yield* Effect.flip(store.claim("5", terms))
      assert.strictEqual(error._tag, "IdempotencyUnavailable")
      assert.strictEqual(error.message, "The idempotency store could not claim")
      assert.strictEqual(yield* tagOf(store, "1"), "InProgress")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* tagOf(store, "5"), "Claimed")
    }))

  it.effect("of an answer for which there is no room, it is known that there was one", () =>
    Effect.gen(function*() {
      const store = yield* inMemory({ maxSize: 2048 })
      const claim = yield* claimed(store, "a", terms)
      assert.isTrue(yield* store.complete(claim, answerOf({ body: new Uint8Array(4096) }), 600_000))
      const found = yield* store.claim("a", terms)
      assert.isTrue(found._tag === "Answered" && !found.answer.whole && found.answer.body.byteLength === 0)
    }))

  it.effect("counts what is replaced and gone no longer", () =>
    Effect.gen(function*() {
      const store = yield* inMemory({ maxSize: 4096 })
      yield* store.complete(yield* claimed(store, "kept", terms), answerOf(), 600_000)
      for (let i = 0; i < 100; i++) yield* store.release(yield* claimed(store, "again", terms))
      const other = yield* claimed(store, "again", terms)
      for (let i = 0; i < 100; i++) yield* store.complete(other, answerOf({ body: new Uint8Array(1000) }), 600_000)
      assert.strictEqual(yield* tagOf(store, "kept"), "Answered")
    }))
})
