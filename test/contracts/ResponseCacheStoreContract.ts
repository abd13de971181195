/**
 * What every `ResponseCacheStore` owes, whatever it is made of.
 *
 * Each case has keys and tags of its own, so the store may be shared. Time is real: what lapses is waited for.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, FastCheck, type Layer, ManagedRuntime, Schedule } from "effect"
import { ResponseCacheStore } from "effect-middleware"
import { randomUUID } from "node:crypto"

type Store = ResponseCacheStore.Service

export const entryOf = (given: Partial<ResponseCacheStore.Entry> = {}): ResponseCacheStore.Entry => ({
  status: 200,
  headers: { "content-type": "text/plain" },
  body: Buffer.from("body"),
  storedAt: 1,
  age: 0,
  freshFor: 1000,
  staleWhileRevalidate: 0,
  staleIfError: 0,
  mustRevalidate: false,
  forCookies: false,
  forAuthorized: true,
  ...given
})
const named = (body: string) => entryOf({ body: Buffer.from(body) })

/** A request, as its fields; what it has not, is empty. */
const by = (fields: Record<string, string> = {}): ResponseCacheStore.VariantOf => (vary) =>
  vary.map((name) => `${name}=${fields[name] ?? ""}`).join("\n")

const minute = 60_000

export const suite = <E>(
  name: string,
  layer: Layer.Layer<ResponseCacheStore.ResponseCacheStore, E>,
  { timeout = 60_000, traces = 20 }: { readonly timeout?: number; readonly traces?: number } = {}
) =>
  describe(name, () => {
    const runtime = ManagedRuntime.make(layer)
    beforeAll(async () => void await runtime.runtime(), timeout)
    afterAll(() => runtime.dispose(), timeout)
    const test = (title: string, body: (store: Store, key: string) => Effect.Effect<unknown, unknown>) =>
      it(
        title,
        () =>
          runtime.runPromise(
            Effect.flatMap(ResponseCacheStore.ResponseCacheStore, (store) => body(store, randomUUID()))
          ),
        timeout
      )

    const look = (store: Store, key: string, fields?: Record<string, string>) =>
      Effect.map(
        store.get(key, by(fields)),
        ({ entry }) => entry === undefined ? undefined : Buffer.from(entry.body).toString()
      )
    const fill = (
      store: Store,
      key: string,
      body: string,
      { fields = {}, tags = [], ttl = minute, vary = [] }: {
        readonly vary?: ReadonlyArray<string>
        readonly fields?: Record<string, string>
        readonly tags?: ReadonlyArray<string>
        readonly ttl?: number
      } = {}
    ) =>
      Effect.flatMap(
        store.get(key, by(fields)),
        ({ asOf }) => store.put(key, { vary, variant: by(fields)(vary), entry: named(body), tags, ttl, asOf })
      )

    test("has nothing at first", (store, key) =>
      Effect.map(store.get(key, by()), ({ entry, vary }) => {
        assert.isUndefined(entry)
        assert.deepStrictEqual(vary, [])
      }))

    test("gives back what was put, and the last of it", (store, key) =>
      Effect.gen(function*() {
        assert.isTrue(yield* fill(store, key, "a"))
        assert.strictEqual(yield* look(store, key), "a")
        assert.isTrue(yield* fill(store, key, "b"))
        assert.strictEqual(yield* look(store, key), "b")
        assert.isUndefined(yield* look(store, `${key}x`))
      }))

    test("every field of an entry, and bytes of any kind", (store, key) =>
      Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(
            FastCheck.record({
              status: FastCheck.integer({ min: 200, max: 599 }),
              headers: FastCheck.dictionary(
                FastCheck.constantFrom("a", "x-b", "content-type", "etag"),
                FastCheck.string({ unit: FastCheck.constantFrom(..."aé\"\\, ÿ".split("")) })
              ).map((headers) => ({ ...headers })),
              body: FastCheck.oneof(
                FastCheck.uint8Array(),
                FastCheck.constantFrom("", "é€😀", "\n\n", "\u0000", "\ufffd", "t", "b").map((text) =>
                  Buffer.from(text)
                ),
                FastCheck.constant(Buffer.from([0xff, 0xfe, 0x00, 0x0a]))
              ),
              storedAt: FastCheck.maxSafeNat(),
              age: FastCheck.nat(),
              freshFor: FastCheck.double({ min: 0, max: 1e9, noNaN: true }).map((value) => value + 0),
              staleWhileRevalidate: FastCheck.nat(),
              staleIfError: FastCheck.nat(),
              mustRevalidate: FastCheck.boolean(),
              forCookies: FastCheck.boolean(),
              forAuthorized: FastCheck.boolean()
            }),
            (entry) =>
              runtime.runPromise(Effect.gen(function*() {
                const { asOf } = yield* store.get(key, by())
                assert.isTrue(yield* store.put(key, { vary: [], variant: "", entry, tags: [], ttl: minute, asOf }))
                const { entry: found } = yield* store.get(key, by())
                assert.deepStrictEqual(
                  { ...found, body: [...found!.body] },
                  { ...entry, body: [...entry.body] }
                )
              }))
          ),
          { numRuns: traces * 5 }
        )
      ))

    test("1 MiB", (store, key) =>
      Effect.gen(function*() {
        const body = "é".repeat(2 ** 19)
        assert.isTrue(yield* fill(store, key, body))
        assert.isTrue((yield* look(store, key)) === body)
      }))

    test("keys and variants that are texts of any kind", (store, key) =>
      Effect.gen(function*() {
        const texts = ["", " ", "é", "{a}", "a:b", "\u0000", "a".repeat(10_000)]
        for (const text of texts) yield* fill(store, `${key}${text}`, `at ${text.slice(0, 9)}`)
        for (const text of texts) assert.strictEqual(yield* look(store, `${key}${text}`), `at ${text.slice(0, 9)}`)
        const vary = ["accept"]
        for (const accept of texts) yield* fill(store, key, `for ${accept.slice(0, 9)}`, { vary, fields: { accept } })
        for (const accept of texts) assert.strictEqual(yield* look(store, key, { accept }), `for ${accept.slice(0, 9)}`)
      }))

    test("keeps a variant for each value of what it varies by", (store, key) =>
      Effect.gen(function*() {
        const vary = ["accept", "x-a"]
        yield* fill(store, key, "en", { vary, fields: { accept: "en", "x-a": "1" } })
        yield* fill(store, key, "de", { vary, fields: { accept: "de", "x-a": "1" } })
        assert.strictEqual(yield* look(store, key, { accept: "en", "x-a": "1" }), "en")
        assert.strictEqual(yield* look(store, key, { accept: "de", "x-a": "1" }), "de")
        assert.isUndefined(yield* look(store, key, { accept: "en", "x-a": "2" }))
        assert.isUndefined(yield* look(store, key))
        assert.deepStrictEqual((yield* store.get(key, by())).vary, vary)
      }))

    test("has no variant of other fields", (store, key) =>
      Effect.gen(function*() {
        yield* fill(store, key, "all")
        yield* fill(store, key, "en", { vary: ["accept"], fields: { accept: "en" } })
        assert.isUndefined(yield* look(store, key))
        assert.strictEqual(yield* look(store, key, { accept: "en" }), "en")
        yield* fill(store, key, "all again")
        assert.strictEqual(yield* look(store, key, { accept: "en" }), "all again")
      }))

    test("forgets when the time is over, one variant and not the other", (store, key) =>
      Effect.gen(function*() {
        const vary = ["accept"]
        yield* fill(store, key, "long", { vary, fields: { accept: "long" } })
        yield* fill(store, key, "short", { vary, fields: { accept: "short" }, ttl: 20 })
        yield* Effect.sleep("5 millis").pipe(
          Effect.zipRight(look(store, key, { accept: "short" })),
          Effect.repeat({ until: (found) => found === undefined, schedule: Schedule.recurs(2000) })
        )
        assert.isUndefined(yield* look(store, key, { accept: "short" }))
        assert.strictEqual(yield* look(store, key, { accept: "long" }), "long")
      }))

    test("deletes a key with its variants, and no other", (store, key) =>
      Effect.gen(function*() {
        const vary = ["accept"]
        yield* fill(store, key, "a", { vary, fields: { accept: "a" } })
        yield* fill(store, key, "b", { vary, fields: { accept: "b" } })
        yield* fill(store, `${key}/other`, "c")
        yield* store.delete(key)
        assert.isUndefined(yield* look(store, key, { accept: "a" }))
        assert.isUndefined(yield* look(store, key, { accept: "b" }))
        assert.strictEqual(yield* look(store, `${key}/other`), "c")
        yield* store.delete(key)
        assert.isTrue(yield* fill(store, key, "d"))
        assert.strictEqual(yield* look(store, key), "d")
      }))

    test("purges what has a tag, and nothing else", (store, key) =>
      Effect.gen(function*() {
        const [one, two, both, none] = ["1", "2", "12", "0"].map((end) => `${key}/${end}`) as [
          string,
          string,
          string,
          string
        ]
        const [a, b] = [`${key} a`, `${key} b`]
        yield* fill(store, one, "one", { tags: [a] })
        yield* fill(store, two, "two", { tags: [b] })
        yield* fill(store, both, "both", { tags: [a, b] })
        yield* fill(store, none, "none")
        yield* store.purge(a)
        const found = Effect.forEach([one, two, both, none], (key) => look(store, key))
        assert.deepStrictEqual(yield* found, [undefined, "two", undefined, "none"])
        yield* store.purge(a)
        yield* store.purge(`${key} unknown`)
        assert.isTrue(yield* fill(store, one, "again", { tags: [a] }))
        assert.deepStrictEqual(yield* found, ["again", "two", undefined, "none"])
        yield* store.purge(a)
        yield* store.purge(b)
        assert.deepStrictEqual(yield* found, [undefined, undefined, undefined, "none"])
      }))

    test("purges more than a few", (store, key) =>
      Effect.gen(function*() {
        const keys = Array.from({ length: 300 }, (_, i) => `${key}/${i}`)
        yield* Effect.forEach(keys, (one) => fill(store, one, one, { tags: [key] }), { concurrency: 16 })
        yield* store.purge(key)
        const left = yield* Effect.forEach(keys, (one) => look(store, one), { concurrency: 16 })
        assert.deepStrictEqual(left.filter((found) => found !== undefined), [])
      }))

    test("keeps nothing that was begun before it was deleted, or purged", (store, key) =>
      Effect.gen(function*() {
        const tag = `${key} tag`
        for (const forget of [store.delete(key), store.purge(tag)]) {
          const { asOf } = yield* store.get(key, by())
          const put = { vary: [], variant: "", entry: named("old"), tags: [tag], ttl: minute, asOf }
          yield* forget
          assert.isFalse(yield* store.put(key, put))
          assert.isUndefined(yield* look(store, key))
          // what is begun after that is kept
          assert.isTrue(yield* fill(store, key, "new", { tags: [tag] }))
          assert.strictEqual(yield* look(store, key), "new")
        }
      }))

    test("is left with nothing old, however those that fill and those that purge come together", (store, key) =>
      Effect.gen(function*() {
        const tag = `${key} tag`
        for (let round = 0; round < traces; round++) {
          let version = 1
          const writes = Effect.forEach(Array.from({ length: 8 }), () =>
            Effect.gen(function*() {
              const { asOf } = yield* store.get(key, by())
              const seen = version
              yield* Effect.yieldNow()
              yield* store.put(key, { vary: [], variant: "", entry: named(`${seen}`), tags: [tag], ttl: minute, asOf })
            }), { concurrency: "unbounded" })
          const change = Effect.gen(function*() {
            yield* Effect.yieldNow()
            version = 2
            yield* round % 2 === 0 ? store.purge(tag) : store.delete(key)
          })
          yield* Effect.all([writes, change], { concurrency: "unbounded" })
          assert.include([undefined, "2"], yield* look(store, key))
          yield* store.delete(key)
        }
      }))
  })
