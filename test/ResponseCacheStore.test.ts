/** Stored responses in memory; by themselves, those in Redis. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import { ResponseCacheStore } from "effect-middleware"
import { decode, encode, fromText, toText } from "../src/internal/cacheEntry.js"
import { entryOf, suite } from "./contracts/ResponseCacheStoreContract.js"

suite("ResponseCacheStore in memory", ResponseCacheStore.layerMemory())

const inMemory = (options?: ResponseCacheStore.MemoryOptions) =>
  Effect.provide(ResponseCacheStore.ResponseCacheStore, ResponseCacheStore.layerMemory(options))

const put = (store: ResponseCacheStore.Service, key: string, bytes: number, variant = "") =>
  Effect.flatMap(store.get(key, () => variant), ({ asOf }) =>
    store.put(key, {
      vary: variant === "" ? [] : ["accept"],
      variant,
      entry: entryOf({ body: new Uint8Array(bytes) }),
      tags: ["all"],
      ttl: 1000,
      asOf
    }))
const has = (store: ResponseCacheStore.Service, key: string, variant = "") =>
  Effect.map(store.get(key, () => variant), ({ entry }) => entry !== undefined)

describe("memory", () => {
  it.effect("is bounded by bytes: what has not been used for longest goes", () =>
    Effect.gen(function*() {
      const store = yield* inMemory({ maxSize: 4 * 1024 })
      for (const key of ["a", "b", "c"]) assert.isTrue(yield* put(store, key, 300))
      assert.isTrue(yield* has(store, "a"))
      assert.isTrue(yield* put(store, "d", 1100))
      assert.deepStrictEqual(
        yield* Effect.forEach(["a", "b", "c", "d"], (key) => has(store, key)),
        [true, false, true, true]
      )
    }))

  it.effect("keeps nothing that is larger than all of it", () =>
    Effect.gen(function*() {
      const store = yield* inMemory({ maxSize: "4 KiB" })
      assert.isTrue(yield* put(store, "a", 100))
      assert.isFalse(yield* put(store, "b", 4096))
      assert.isTrue(yield* has(store, "a"))
    }))

  it.effect("counts what is replaced and deleted no longer", () =>
    Effect.gen(function*() {
      const store = yield* inMemory({ maxSize: 4096 })
      yield* put(store, "a", 1000)
      for (let i = 0; i < 100; i++) yield* put(store, "b", 1000)
      assert.isTrue(yield* has(store, "a"))
      for (let i = 0; i < 100; i++) {
        yield* put(store, `c${i}`, 100)
        yield* store.delete(`c${i}`)
      }
      assert.isTrue(yield* has(store, "a"))
      yield* store.purge("all")
      assert.isFalse(yield* has(store, "a"))
    }))

  it.effect("forgets by the Clock", () =>
    Effect.gen(function*() {
      const store = yield* inMemory()
      yield* put(store, "a", 1)
      yield* TestClock.adjust("999 millis")
      assert.isTrue(yield* has(store, "a"))
      yield* TestClock.adjust("1 millis")
      assert.isFalse(yield* has(store, "a"))
      assert.isUndefined(store.sync?.get("a", () => "", 1000).entry)
    }))

  it.effect("of more purges than it remembers, it takes what was begun before for purged", () =>
    Effect.gen(function*() {
      const store = yield* inMemory()
      const { asOf } = yield* store.get("a", () => "")
      const late = { vary: [], variant: "", entry: entryOf(), tags: [], ttl: 1000, asOf }
      for (let i = 0; i < 10_000; i++) yield* store.delete(`b${i}`)
      assert.isTrue(yield* store.put("a", late))
      yield* store.delete("b")
      assert.isFalse(yield* store.put("a", late))
      assert.isTrue(yield* put(store, "a", 1))
    }))

  it("a size that is none is a mistake", () => {
    assert.throws(() => ResponseCacheStore.layerMemory({ maxSize: -1 }), "ResponseCacheStore: maxSize is \"-1\"")
  })
})

describe("an entry as bytes", () => {
  it("what nobody has written is none", () => {
    const { body, ...entry } = entryOf()
    const rest = { ...entry, size: body.byteLength }
    const of = (value: unknown) => decode(Buffer.from(`${JSON.stringify(value)}\nbody`))
    assert.isDefined(of(rest))
    for (
      const value of [
        null,
        [],
        1,
        {},
        { ...rest, status: "200" },
        { ...rest, freshFor: null },
        { ...rest, forCookies: 1 },
        { ...rest, headers: null },
        { ...rest, headers: { a: 1 } },
        // what has lost its end, or has another one, and what a server would refuse to send
        { ...rest, size: 3 },
        { ...rest, size: 5 },
        entry,
        { ...rest, status: 199 },
        { ...rest, status: 600 },
        { ...rest, status: 200.5 },
        { ...rest, headers: { "a b": "" } },
        { ...rest, headers: { a: "a\r\nb: c" } },
        { ...rest, headers: { a: "\u0100" } }
      ]
    ) assert.isUndefined(of(value), JSON.stringify(value))
    assert.isUndefined(decode(Buffer.from(`${JSON.stringify(rest).replace("1000", "1e999")}\nbody`)))
    for (const text of ["", "{}", "\n", "no json\n"]) assert.isUndefined(decode(Buffer.from(text)))
  })

  it("a text stays one", () => {
    assert.strictEqual(toText(Buffer.from("é")), "té")
    assert.strictEqual(toText(Buffer.from([0xe9])), "b6Q==")
    assert.deepStrictEqual([...fromText("b6Q==")], [0xe9])
    const entry = entryOf({ body: Buffer.from("é\n") })
    assert.deepStrictEqual(decode(fromText(toText(encode(entry)))), entry)
  })
})
