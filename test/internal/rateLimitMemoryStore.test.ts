/** What memory keeps, and for how long. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck } from "effect"
import { RateLimit, type RateLimitStore } from "effect-middleware"
import { make } from "../../src/internal/rateLimitMemoryStore.js"

const start = Date.UTC(2026, 2, 28, 22, 59, 58, 321)

const storeOf = (capacity: number) => {
  const { peek, sync } = make(capacity)
  assert.isDefined(sync)
  return {
    consume: (limiter: string, key: string, limits: RateLimitStore.Limits, now = start, cost = 1) =>
      sync.consume({ limiter, key, limits }, { cost, now }),
    /** Whether something is known of a key. */
    knows: (limiter: string, key: string, limits: RateLimitStore.Limits, now = start) => {
      const { banned, limits: standings } = Effect.runSync(peek({ limiter, key, limits }, { cost: 1, now }))
      return banned || standings.some(({ resetAfter }) => resetAfter > 0)
    }
  }
}

const slow = RateLimit.limits(RateLimit.gcra({ limit: 10, window: "1 hour" }))
const daily = RateLimit.limits(RateLimit.quota({ limit: 100, per: "day" }), { ban: { after: 2, duration: "1 hour" } })
const logged = RateLimit.limits([
  RateLimit.slidingWindowLog({ limit: 5, window: "1 minute" }),
  RateLimit.fixedWindow({ limit: 50, window: "1 hour" })
])
const quick = RateLimit.limits(RateLimit.fixedWindow({ limit: 10, window: 1000 }))

/** How many numbers and Maps are made meanwhile. */
const observed = (f: () => void) => {
  const [Numbers, RealMap] = [Float64Array, Map]
  const maps: Array<Map<unknown, unknown>> = []
  let numbers = 0
  globalThis.Float64Array = new Proxy(Numbers, {
    construct: (target, args: ReadonlyArray<unknown>, newTarget) => {
      const made: Float64Array = Reflect.construct(target, args, newTarget)
      numbers += made.length
      return made
    }
  })
  globalThis.Map = new Proxy(RealMap, {
    construct: (target, args: ReadonlyArray<unknown>, newTarget) => {
      const made: Map<unknown, unknown> = Reflect.construct(target, args, newTarget)
      maps.push(made)
      return made
    }
  })
  try {
    f()
  } finally {
    globalThis.Float64Array = Numbers
    globalThis.Map = RealMap
  }
  return { numbers, entries: maps.reduce((sum, { size }) => sum + size, 0) }
}

describe("memory", () => {
  it("keeps no more keys than its capacity, of all limiters and shapes together, and always the last", () =>
    FastCheck.assert(
      FastCheck.property(
        FastCheck.integer({ min: 1, max: 20 }),
        FastCheck.array(
          FastCheck.record({
            limiter: FastCheck.constantFrom("a", "b"),
            limits: FastCheck.constantFrom(slow, daily, logged),
            key: FastCheck.nat(30).map(String),
            cost: FastCheck.constantFrom(1, 1, 3, 200),
            after: FastCheck.oneof(
              { weight: 20, arbitrary: FastCheck.nat(1000) },
              { weight: 1, arbitrary: FastCheck.nat(100_000_000) }
            )
          }),
          { maxLength: 100 }
        ),
        (capacity, steps) => {
          const store = storeOf(capacity)
          let now = start
          for (const { after, cost, key, limiter, limits } of steps) {
            now += after
            const { allowed } = store.consume(limiter, key, limits, now, cost)
            if (allowed) assert.isTrue(store.knows(limiter, key, limits, now))
          }
          let known = 0
          for (const limiter of ["a", "b"]) {
            for (const limits of [slow, daily, logged]) {
              for (let key = 0; key <= 30; key++) if (store.knows(limiter, String(key), limits, now)) known++
            }
          }
          assert.isAtMost(known, capacity)
        }
      ),
      { numRuns: 200 }
    ))

  it("keeps no more where the rows of many limiters are free", () => {
    const store = storeOf(100)
    for (let i = 0; i < 50; i++) {
      for (let key = 0; key < 100; key++) store.consume(`limiter ${i}`, `${key}`, quick, start + i * 1000)
    }
    for (let key = 0; key < 1000; key++) store.consume("a", `${key}`, slow, start + 50_000)
    const known = Array.from({ length: 1000 }, (_, key) => store.knows("a", `${key}`, slow, start + 50_000))
    assert.strictEqual(known.filter((known) => known).length, 100)
  })

  it("forgets nothing before it is full", () => {
    const store = storeOf(300)
    for (let i = 0; i < 300; i++) store.consume(`limiter ${i % 3}`, `key ${i}`, i % 2 === 0 ? slow : logged)
    for (let i = 0; i < 300; i++) {
      assert.isTrue(store.knows(`limiter ${i % 3}`, `key ${i}`, i % 2 === 0 ? slow : logged), `key ${i}`)
    }
  })

  it.each(
    [
      ["one in ten are exhausted", 100, 100],
      ["half of them are exhausted", 500, 500],
      ["nine in ten are exhausted", 900, 790]
    ] as const
  )("keeps who is exhausted in a flood of new keys: %s", (_, exhausted, expected) => {
    const store = storeOf(1000)
    for (let i = 0; i < exhausted; i++) store.consume("a", `exhausted ${i}`, slow, start, 10)
    for (let i = 0; i < 50_000; i++) store.consume("a", `new ${i}`, slow)
    const [kept, news] = [["exhausted", exhausted], ["new", 50_000]].map(([name, many]) =>
      Array.from({ length: Number(many) }, (_, i) => `${name} ${i}`).filter((key) => store.knows("a", key, slow)).length
    )
    assert.isAtLeast(kept!, expected)
    assert.strictEqual(kept! + news!, 1000)
  })

  it("uses the rows of what has lapsed again", () => {
    const store = storeOf(1_000_000)
    const round = (i: number) => {
      for (let key = 0; key < 4000; key++) store.consume("a", `${i} ${key}`, quick, start + i * 1000)
    }
    const first = observed(() => round(0)).numbers
    assert.isAtLeast(first, 4000 * 3)
    assert.strictEqual(observed(() => [1, 2, 3, 4, 5].forEach(round)).numbers, 0)
  })

  it("frees logs, and all that is known of a key, when it has lapsed and others come", () => {
    const store = storeOf(1_000_000)
    const { entries } = observed(() => {
      const store = storeOf(1_000_000)
      for (let key = 0; key < 2000; key++) store.consume("a", `logged ${key}`, logged)
      for (let key = 0; key < 2000; key++) store.consume("b", `other ${key}`, quick, start + 3_600_000)
    })
    // the others themselves, and names of limiters and shapes
    assert.isAtMost(entries, 2010)
    assert.isFalse(store.knows("a", "logged 1", logged))
  })

  it("frees the row of a key that is reset: another finds nothing in it", () => {
    const { consume, peek, reset } = make(10)
    const of = (key: string) => ({ limiter: "a", key, limits: logged })
    Effect.runSync(consume(of("one"), { cost: 5, now: start }))
    Effect.runSync(reset(of("one")))
    Effect.runSync(reset(of("one")))
    Effect.runSync(reset(of("never")))
    assert.deepStrictEqual(
      Effect.runSync(consume(of("other"), { cost: 1, now: start })).limits.map(({ remaining }) => remaining),
      [4, 49]
    )
    assert.strictEqual(Effect.runSync(peek(of("one"), { cost: 1, now: start })).limits[0]!.remaining, 5)
  })

  it("keeps no row for a look", () => {
    const store = storeOf(1_000_000)
    store.consume("a", "key", quick)
    for (let key = 0; key < 5000; key++) store.knows("a", `${key}`, quick)
    // there is still room for as many in the first block
    const all = observed(() => {
      for (let key = 0; key < 4000; key++) store.consume("a", `${key}`, quick)
    })
    assert.strictEqual(all.numbers, 0)
  })

  it.each<[rule: string, plan: RateLimitStore.Limits, other: RateLimitStore.Limits, cost: number]>([
    [
      "a slow bucket is not refilled as a quick one",
      RateLimit.limits(RateLimit.tokenBucket({ capacity: 10, refill: 1, every: "1 hour", name: "x" })),
      RateLimit.limits(RateLimit.tokenBucket({ capacity: 10, refill: 1000, every: "1 hour", name: "x" })),
      10
    ],
    [
      "a large burst does not end as a small one",
      RateLimit.limits(RateLimit.gcra({ limit: 100, window: "1 hour", name: "x" })),
      RateLimit.limits(RateLimit.gcra({ limit: 100, window: "1 hour", burst: 1, name: "x" })),
      100
    ],
    [
      "a long back-off is not forgotten as a short one",
      RateLimit.limits(RateLimit.backOff({ after: 1, first: "10 minutes" })),
      RateLimit.limits(RateLimit.backOff({ after: 1, first: 1, most: 2, forget: 3 })),
      1
    ],
    [
      "a long ban does not end as a short one",
      RateLimit.limits(RateLimit.quota({ limit: 1, per: "hour" }), { ban: { after: 1, duration: "1 hour" } }),
      RateLimit.limits(RateLimit.quota({ limit: 1, per: "hour" }), { ban: { after: 1, duration: 1 } }),
      2
    ]
  ])("lets a key lapse by its own plan: %s", (_, plan, other, cost) => {
    const [alone, among] = [storeOf(1000), storeOf(1000)]
    // the plan that is known first, and whoever comes later, is not that of the key
    among.consume("a", "first", other)
    among.consume("a", "key", other, start, 0)
    for (const store of [alone, among]) store.consume("a", "key", plan, start, cost)
    for (let i = 0; i < 100; i++) among.consume("a", `${i}`, other, start + 60_000)
    assert.deepStrictEqual(
      among.consume("a", "key", plan, start + 60_000),
      alone.consume("a", "key", plan, start + 60_000)
    )
  })

  it("is not changed by who else comes: what of a key has lapsed in part begins when it comes itself", () => {
    const limits = RateLimit.limits([
      RateLimit.fixedWindow({ limit: 5, window: 1000 }),
      RateLimit.fixedWindow({ limit: 50, window: "1 hour" })
    ])
    const store = storeOf(1000)
    store.consume("a", "key", limits)
    for (let i = 0; i < 100; i++) store.consume("a", `${i}`, limits, start + 1500)
    assert.strictEqual(store.consume("a", "key", limits, start + 2000).limits[0]!.resetAfter, 1000)
  })
})
