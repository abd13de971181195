/**
 * What every `IdempotencyStore` owes, whatever it is made of.
 *
 * Each case has keys of its own, so the store may be shared. Time is real: what lapses is waited for.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, FastCheck, type Layer, ManagedRuntime, Schedule } from "effect"
import { IdempotencyStore } from "effect-middleware"
import { randomUUID } from "node:crypto"

type Store = IdempotencyStore.Service

export const answerOf = (given: Partial<IdempotencyStore.Answer> = {}): IdempotencyStore.Answer => ({
  status: 201,
  headers: { "content-type": "text/plain" },
  cookies: [],
  body: Buffer.from("done"),
  whole: true,
  ...given
})

const minute = 60_000
const terms = (given: Partial<IdempotencyStore.Terms> = {}): IdempotencyStore.Terms => ({
  fingerprint: "a",
  lease: minute,
  ttl: minute,
  ...given
})

/** The claim of a key that nobody has. */
export const claimed = (store: Store, key: string, given: Partial<IdempotencyStore.Terms> = {}) =>
  Effect.map(store.claim(key, terms(given)), (outcome): IdempotencyStore.Claim => {
    if (outcome._tag !== "Claimed") return assert.fail(outcome._tag)
    assert.isTrue(Number.isSafeInteger(outcome.token) && outcome.token > 0)
    return { key, fingerprint: given.fingerprint ?? "a", token: outcome.token }
  })

export const suite = <E>(
  name: string,
  layer: Layer.Layer<IdempotencyStore.IdempotencyStore, E>,
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
            Effect.flatMap(IdempotencyStore.IdempotencyStore, (store) => body(store, randomUUID()))
          ),
        timeout
      )
    const tagOf = (store: Store, key: string, given?: Partial<IdempotencyStore.Terms>) =>
      Effect.map(store.claim(key, terms(given)), ({ _tag }) => _tag)
    /** Until the lease, or the time, of whoever has it is over. */
    const untilClaimed = (store: Store, key: string, given: Partial<IdempotencyStore.Terms> = {}) =>
      Effect.retry(
        Effect.filterOrFail(store.claim(key, terms(given)), (outcome) => outcome._tag === "Claimed"),
        { schedule: Schedule.spaced("5 millis"), times: 5000 }
      ).pipe(
        Effect.map((outcome): IdempotencyStore.Claim => ({
          key,
          fingerprint: given.fingerprint ?? "a",
          token: (outcome as { readonly token: number }).token
        }))
      )

    test("a key is claimed once, in progress, and then answered", (store, key) =>
      Effect.gen(function*() {
        const claim = yield* claimed(store, key)
        assert.strictEqual(yield* tagOf(store, key), "InProgress")
        assert.isTrue(yield* store.complete(claim, answerOf(), minute))
        for (let i = 0; i < 2; i++) {
          assert.deepStrictEqual(yield* store.claim(key, terms()), { _tag: "Answered", answer: answerOf() } as never)
        }
        assert.strictEqual(yield* tagOf(store, `${key}x`), "Claimed")
      }))

    test("belongs to the fingerprint that came first, in progress, answered and released", (store, key) =>
      Effect.gen(function*() {
        const other = { fingerprint: "b" }
        const claim = yield* claimed(store, key)
        assert.strictEqual(yield* tagOf(store, key, other), "Reused")
        assert.isTrue(yield* store.release(claim))
        assert.strictEqual(yield* tagOf(store, key, other), "Reused")
        const again = yield* claimed(store, key)
        assert.isTrue(yield* store.complete(again, answerOf(), minute))
        assert.strictEqual(yield* tagOf(store, key, other), "Reused")
      }))

    test("of many that come together one has it", (store, key) =>
      Effect.gen(function*() {
        for (let round = 0; round < traces; round++) {
          const tags = yield* Effect.forEach(
            Array.from({ length: 16 }),
            () =>
              tagOf(store, `${key} ${round}`),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(
            tags.filter((tag) =>
              tag === "Claimed"
            ).length,
            1
          )
          assert.strictEqual(tags.filter((tag) => tag === "InProgress").length, 15)
        }
      }))

    test("and of many that take over a claim that has lapsed, too", (store, key) =>
      Effect.gen(function*() {
        for (let round = 0; round < 4; round++) {
          const first = yield* claimed(store, `${key} ${round}`, { lease: 1 })
          yield* Effect.sleep("10 millis")
          const tokens = yield* Effect.forEach(
            Array.from({ length: 16 }),
            () =>
              Effect.map(
                store.claim(`${key} ${round}`, terms()),
                (outcome) => outcome._tag === "Claimed" ? outcome.token : undefined
              ),
            { concurrency: "unbounded" }
          )
          const won = tokens.filter((token) => token !== undefined)
          assert.strictEqual(won.length, 1)
          assert.isAbove(won[0]!, first.token)
        }
      }))

    test("tokens grow, also where a claim is released at once", (store, key) =>
      Effect.gen(function*() {
        let last = 0
        for (let i = 0; i < traces; i++) {
          const claim = yield* claimed(store, key)
          assert.isAbove(claim.token, last)
          last = claim.token
          assert.isTrue(yield* store.release(claim))
        }
      }))

    test("a claim that has lapsed is somebody else's, and who was late changes nothing", (store, key) =>
      Effect.gen(function*() {
        const late = yield* claimed(store, key, { lease: 20 })
        const current = yield* untilClaimed(store, key)
        assert.isAbove(current.token, late.token)
        assert.isFalse(yield* store.release(late))
        assert.isFalse(yield* store.renew(late, minute))
        assert.isFalse(yield* store.complete(late, answerOf({ status: 500 }), minute))
        assert.strictEqual(yield* tagOf(store, key), "InProgress")
        assert.isTrue(yield* store.complete(current, answerOf(), minute))
        assert.isFalse(yield* store.complete(late, answerOf({ status: 500 }), minute))
        assert.isFalse(yield* store.release(late))
        assert.deepStrictEqual(yield* store.claim(key, terms()), { _tag: "Answered", answer: answerOf() } as never)
      }))

    test("a claim that has lapsed, and that nobody took, is still one's own", (store, key) =>
      Effect.gen(function*() {
        const claim = yield* claimed(store, key, { lease: 1 })
        yield* Effect.sleep("10 millis")
        assert.isTrue(yield* store.renew(claim, minute))
        assert.strictEqual(yield* tagOf(store, key), "InProgress")
        assert.isTrue(yield* store.complete(claim, answerOf(), minute))
      }))

    test("a renewed claim does not lapse, and not with its key either", (store, key) =>
      Effect.gen(function*() {
        const claim = yield* claimed(store, key, { lease: 300, ttl: 300 })
        assert.isTrue(yield* store.renew(claim, minute))
        yield* Effect.sleep("350 millis")
        assert.strictEqual(yield* tagOf(store, key), "InProgress")
      }))

    test("what is answered is neither renewed nor released; completed twice it is once", (store, key) =>
      Effect.gen(function*() {
        const claim = yield* claimed(store, key)
        assert.isTrue(yield* store.complete(claim, answerOf(), minute))
        assert.isFalse(yield* store.release(claim))
        assert.isFalse(yield* store.renew(claim, minute))
        assert.isTrue(yield* store.complete(claim, answerOf(), minute))
        assert.strictEqual(yield* tagOf(store, key), "Answered")
      }))

    test("a key that the store has lost has its answer all the same", (store, key) =>
      Effect.gen(function*() {
        assert.isTrue(yield* store.complete({ key, fingerprint: "a", token: 7 }, answerOf(), minute))
        assert.strictEqual(yield* tagOf(store, key), "Answered")
        assert.isFalse(yield* store.renew({ key: `${key}x`, fingerprint: "a", token: 7 }, minute))
        assert.isFalse(yield* store.release({ key: `${key}x`, fingerprint: "a", token: 7 }))
      }))

    test("an answer is forgotten when its time is over, and the key is anybody's", (store, key) =>
      Effect.gen(function*() {
        const claim = yield* claimed(store, key)
        assert.isTrue(yield* store.complete(claim, answerOf(), 20))
        const next = yield* untilClaimed(store, key, { fingerprint: "b" })
        assert.isAbove(next.token, claim.token)
        assert.isFalse(yield* store.complete(claim, answerOf(), minute))
      }))

    test("every field of an answer, and bytes of any kind", (store, key) => {
      let run = 0
      const value = FastCheck.string({ unit: FastCheck.constantFrom(..."aé\"\\, ÿ=;".split("")) })
      return Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(
            FastCheck.record({
              status: FastCheck.integer({ min: 200, max: 599 }),
              headers: FastCheck.dictionary(FastCheck.constantFrom("a", "x-b", "content-type", "etag"), value).map(
                (headers) => ({ ...headers })
              ),
              cookies: FastCheck.array(value, { maxLength: 3 }),
              body: FastCheck.oneof(
                FastCheck.uint8Array(),
                FastCheck.constantFrom("", "é€😀", "\n\n", "\u0000", "\ufffd", "t", "b").map((text) =>
                  Buffer.from(text)
                ),
                FastCheck.constant(Buffer.from([0xff, 0xfe, 0x00, 0x0a]))
              ),
              whole: FastCheck.boolean()
            }),
            (answer) =>
              runtime.runPromise(Effect.gen(function*() {
                const claim = yield* claimed(store, `${key} ${run++}`)
                assert.isTrue(yield* store.complete(claim, answer, minute))
                const found = yield* store.claim(claim.key, terms())
                if (found._tag !== "Answered") {
                  return assert.fail(found._tag)
                }
                assert.deepStrictEqual(
                  { ...found.answer, body: [...found.answer.body] },
                  { ...answer, body: [...answer.body] }
                )
              }))
          ),
          { numRuns: traces * 3 }
        )
      )
    })

    test("1 MiB", (store, key) =>
      Effect.gen(function*() {
        const body = Buffer.alloc(2 ** 20, 0xe9)
        const claim = yield* claimed(store, key)
        assert.isTrue(yield* store.complete(claim, answerOf({ body }), minute))
        const found = yield* store.claim(key, terms())
        assert.isTrue(found._tag === "Answered" && body.equals(found.answer.body))
      }))

    test("keys that are texts of any kind", (store, key) =>
      Effect.gen(function*() {
        const texts = ["", " ", "é", "{a}", "a:b", "\u0000", "\ud800", "'; DROP TABLE x --", "a".repeat(10_000)]
        for (const text of texts) {
          yield* claimed(store, `${key}${text}`)
        }
        for (const text of texts) {
          assert.strictEqual(yield* tagOf(store, `${key}${text}`), "InProgress")
        }
      }))

    test("does what one key with a lock would do, in any order of steps", (store, key) => {
      let run = 0
      const step = FastCheck.record({
        who: FastCheck.nat(2),
        op: FastCheck.constantFrom("claim", "claimOther", "renew", "complete", "release", "lapse")
      })
      return Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(FastCheck.array(step, { minLength: 4, maxLength: 16 }), (steps) =>
            runtime.runPromise(Effect.gen(function*() {
              const id = `${key} trace ${run++}`
              const held: Array<IdempotencyStore.Claim | undefined> = [undefined, undefined, undefined]
              // what is known of the key: by whom, whether it lasts, with which answer
              let owner: IdempotencyStore.Claim | undefined
              let state: "free" | "busy" | "done" = "free"
              let last = 0
              for (const { op, who } of steps) {
                const mine = held[who]
                const isOwner = mine !== undefined && owner?.token === mine.token
                if (op === "claim" || op === "claimOther") {
                  const fingerprint = op === "claim" ? "a" : "b"
                  const outcome = yield* store.claim(id, terms({ fingerprint }))
                  const expected = owner !== undefined && owner.fingerprint !== fingerprint
                    ? "Reused"
                    : state === "free"
                    ? "Claimed"
                    : state === "busy"
                    ? "InProgress"
                    : "Answered"
                  assert.strictEqual(outcome._tag, expected)
                  if (outcome._tag === "Claimed") {
                    assert.isAbove(outcome.token, last)
                    last = outcome.token
                    owner = held[who] = { key: id, fingerprint, token: outcome.token }
                    state = "busy"
                  }
                } else if (mine !== undefined) {
                  if (op === "complete") {
                    assert.strictEqual(yield* store.complete(mine, answerOf(), minute), isOwner)
                    if (isOwner) {
                      state = "done"
                    }
                  } else if (op === "release") {
                    assert.strictEqual(yield* store.release(mine), isOwner && state !== "done")
                    if (isOwner && state !== "done") {
                      state = "free"
                    }
                  } else {
                    // a lease that is over at once stands for a process that has crashed
                    const lease = op === "renew" ? minute : 0
                    assert.strictEqual(yield* store.renew(mine, lease), isOwner && state !== "done")
                    if (isOwner && state !== "done") {
                      state = op === "renew" ? "busy" : "free"
                    }
                  }
                }
              }
            }))),
          { numRuns: traces * 3 }
        )
      )
    })
  })
