/**
 * What every `RateLimitStore` owes: the decisions that memory makes, whatever it is made of.
 *
 * Each case has keys of its own, so the store may be shared. Its times are those that the callers give, far in the future.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Array as Arr, Effect, FastCheck, type Layer, ManagedRuntime } from "effect"
import { RateLimit, RateLimitStore } from "effect-middleware"
import { randomUUID } from "node:crypto"

export interface Options {
  /** How many traces of each kind of limits are compared, and how long they are. Default: 40 of up to 60 steps. */
  readonly traces?: number
  /** How many spend at once, in the cases that are about that. Default: 100. */
  readonly atOnce?: number
  /** How long a case may take, in milliseconds. Default: 60,000. */
  readonly timeout?: number
}

export const suite = <E>(
  name: string,
  layer: Layer.Layer<RateLimitStore.RateLimitStore, E>,
  { atOnce = 100, timeout = 60_000, traces = 40 }: Options = {}
) =>
  describe(name, () => {
    const runtime = ManagedRuntime.make(layer)
    beforeAll(async () => void await runtime.runtime(), timeout)
    afterAll(() => runtime.dispose(), timeout)
    const run = <A, E>(test: (store: RateLimitStore.Service) => Effect.Effect<A, E>) =>
      runtime.runPromise(Effect.flatMap(RateLimitStore.RateLimitStore, test))

    for (const [title, limits] of Object.entries(kinds)) {
      it(`decides as memory does: ${title}`, async () => {
        await FastCheck.assert(
          FastCheck.asyncProperty(
            trace,
            (steps) => run((store) => followed(store, [limits], steps))
          ),
          { numRuns: traces }
        )
      }, timeout)
    }

    it("decides as memory does: plans that change on the way", async () => {
      const plans = [10, 3, 25].map((limit) =>
        RateLimit.limits([
          RateLimit.fixedWindow({ limit, window: 1000, name: "a" }),
          RateLimit.slidingWindowCounter({ limit, window: 1000, name: "b" }),
          RateLimit.gcra({ limit, window: 1000, name: "c" }),
          RateLimit.tokenBucket({ capacity: limit, refill: 10, every: 1000, name: "d" }),
          RateLimit.slidingWindowLog({ limit, window: 1000, name: "e" })
        ])
      )
      await FastCheck.assert(
        FastCheck.asyncProperty(forward, (steps) => run((store) => followed(store, plans, steps))),
        { numRuns: traces }
      )
    }, timeout)

    it("decides as memory does: as many limits as there may be", () =>
      run((store) => {
        const most = RateLimit.limits([
          RateLimit.backOff({ after: 100 }),
          ...["1", "2", "3"].flatMap((name) => [
            RateLimit.slidingWindowLog({ limit: 5, window: 1000, name: `a${name}` }),
            RateLimit.quota({ limit: 50, per: "hour", name: `b${name}` }),
            RateLimit.quota({ limit: 60, per: "day", name: `c${name}` }),
            RateLimit.slidingWindowCounter({ limit: 9, window: 2000, name: `d${name}` }),
            RateLimit.tokenBucket({ capacity: 9, refill: 1, every: 100, name: `e${name}` })
          ])
        ], { ban: { after: 3, duration: 5000 } })
        const steps = Arr.makeBy(20, (i): Step => ({ operation: "consume", cost: 1, after: 60 + i, which: 0 }))
        return followed(store, [most], steps)
      }), timeout)

    it("admits when it has said that it would, and not before", () =>
      run((store) =>
        Effect.forEach(Object.entries(kinds), ([title, limits]) =>
          Effect.gen(function*() {
            const model = yield* RateLimitStore.RateLimitStore
            const bucket = { limiter: "in time", key: randomUUID(), limits }
            let now = start
            for (let i = 0; i < 30; i++) {
              const cost = 1 + i % 3
              const expected = yield* model.consume(bucket, { cost, now })
              assert.deepStrictEqual(yield* store.consume(bucket, { cost, now }), expected, title)
              if (expected.allowed) {
                continue
              }
              now += expected.retryAfter
              for (const at of [now - 1, now]) {
                const expected = yield* model.consume(bucket, { cost, now: at })
                assert.deepStrictEqual(yield* store.consume(bucket, { cost, now: at }), expected, title)
                // a refusal more may be what a ban is for
                if (limits.ban === undefined) {
                  assert.strictEqual(expected.allowed, at === now, title)
                }
              }
            }
          }).pipe(Effect.provide(RateLimitStore.layerMemory())))
      ), timeout)

    it("admits exactly the limit of those that come at once, and all or nothing", () =>
      run((store) =>
        Effect.gen(function*() {
          const limits = RateLimit.limits([
            RateLimit.gcra({ limit: 20, window: "1 hour", name: "a" }),
            RateLimit.fixedWindow({ limit: 30, window: "1 hour", name: "b" }),
            RateLimit.slidingWindowLog({ limit: 40, window: "1 hour", name: "c" })
          ])
          const bucket = { limiter: "at once", key: randomUUID(), limits }
          const decisions = yield* Effect.forEach(
            Array.from({ length: atOnce }),
            () =>
              store.consume(bucket, { cost: 1, now: start }),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(
            decisions.filter(({ allowed }) =>
              allowed
            ).length,
            Math.min(20, atOnce)
          )
          const { limits: [a, b, c] } = yield* store.peek(bucket, { cost: 1, now: start })
          assert.deepStrictEqual(
            [a, b, c].map((standing) =>
              standing?.remaining
            ),
            [0, 10, 20]
          )
        })
      ), timeout)

    it("keeps limiters, keys and shapes apart, whatever characters they have", () =>
      run((store) =>
        Effect.gen(function*() {
          const one = RateLimit.limits(RateLimit.fixedWindow({ limit: 1, window: "1 hour" }))
          const other = RateLimit.limits(RateLimit.fixedWindow({ limit: 1, window: "1 minute" }))
          const id = randomUUID()
          for (const limits of [one, other]) {
            for (const limiter of [id, `${id}:`, `${id}}`]) {
              for (
                const key of [
                  "",
                  " ",
                  "a",
                  ":a",
                  "{a}",
                  "}",
                  "\n",
                  "\0",
                  "é",
                  "e\u0301",
                  "😀",
                  "'; --",
                  "x".repeat(5000)
                ]
              ) {
                const { allowed } = yield* store.consume({ limiter, key, limits }, { cost: 1, now: start })
                assert.isTrue(allowed, JSON.stringify({ limiter, key }))
              }
            }
          }
        })
      ), timeout)

    it("takes its own time where none is given", () =>
      run((store) =>
        Effect.gen(function*() {
          const limits = RateLimit.limits(RateLimit.fixedWindow({ limit: 1, window: "1 hour" }))
          const bucket = { limiter: "time", key: randomUUID(), limits }
          const first = yield* store.consume(bucket, { cost: 1 })
          const second = yield* store.consume(bucket, { cost: 1 })
          assert.deepStrictEqual([first.allowed, second.allowed], [true, false])
          assert.closeTo(first.now, Date.now(), 60_000)
          assert.closeTo(second.retryAfter, 3_600_000, 60_000)
          yield* store.refund(bucket, { cost: 1, since: first.now })
          assert.isTrue((yield* store.consume(bucket, { cost: 1 })).allowed)
          yield* store.reset(bucket)
          assert.isTrue((yield* store.consume(bucket, { cost: 1 })).allowed)
        })
      ), timeout)
  })

/** A multiple of no window, and not long before the end of a day, a week and a month. */
export const start = Date.UTC(2096, 0, 31, 23, 59, 58, 321)

export const kinds: { readonly [title: string]: RateLimitStore.Limits } = {
  "a fixed window": RateLimit.limits(RateLimit.fixedWindow({ limit: 7, window: 1000 })),
  "a sliding window log": RateLimit.limits(RateLimit.slidingWindowLog({ limit: 7, window: 1000 })),
  "a sliding window counter": RateLimit.limits(RateLimit.slidingWindowCounter({ limit: 7, window: 1000 })),
  "a token bucket": RateLimit.limits(RateLimit.tokenBucket({ capacity: 7, refill: 3, every: 701 })),
  "gcra": RateLimit.limits(RateLimit.gcra({ limit: 7, window: 1000, burst: 4 })),
  "a quota": RateLimit.limits(RateLimit.quota({ limit: 7, per: "day" })),
  "a quota elsewhere": RateLimit.limits(RateLimit.quota({ limit: 7, per: "month", timeZone: "Asia/Kolkata" })),
  "back-off": RateLimit.limits(RateLimit.backOff({ after: 3, first: 100, most: 900, forget: 2000 })),
  "a ban": RateLimit.limits(RateLimit.fixedWindow({ limit: 3, window: 500 }), {
    ban: { after: 3, within: 700, duration: 1500 }
  }),
  "all at once": RateLimit.limits([
    RateLimit.fixedWindow({ limit: 9, window: 900, name: "a" }),
    RateLimit.slidingWindowLog({ limit: 8, window: 1100, name: "b" }),
    RateLimit.slidingWindowCounter({ limit: 10, window: 700, name: "c" }),
    RateLimit.tokenBucket({ capacity: 8, refill: 5, every: 333, name: "d" }),
    RateLimit.gcra({ limit: 9, window: 1000, name: "e" }),
    RateLimit.quota({ limit: 30, per: "hour", name: "f" }),
    RateLimit.backOff({ after: 20, first: 50, most: 100, forget: 1000, name: "g" }),
    RateLimit.slidingWindowLog({ limit: 15, window: 3000, name: "h" })
  ], { ban: { after: 20, within: 2000, duration: 1000 } })
}

interface Step {
  readonly operation: "consume" | "peek" | "refund" | "reset"
  readonly cost: number
  /** How long after the step before, in milliseconds; a clock may be set back. */
  readonly after: number
  /** Which of the decisions that have spent is given back, and under which plan. */
  readonly which: number
}

const stepAfter = (after: FastCheck.Arbitrary<number>) =>
  FastCheck.record<Step>({
    operation: FastCheck.oneof(
      { weight: 12, arbitrary: FastCheck.constant<Step["operation"]>("consume") },
      { weight: 2, arbitrary: FastCheck.constant<Step["operation"]>("peek") },
      { weight: 3, arbitrary: FastCheck.constant<Step["operation"]>("refund") },
      { weight: 1, arbitrary: FastCheck.constant<Step["operation"]>("reset") }
    ),
    cost: FastCheck.oneof(
      { weight: 6, arbitrary: FastCheck.constant(1) },
      { weight: 2, arbitrary: FastCheck.integer({ min: 0, max: 4 }) },
      { weight: 1, arbitrary: FastCheck.integer({ min: 5, max: 12 }) }
    ),
    after,
    which: FastCheck.nat(20)
  })

/** Of who comes as it happens, of one in a hurry, and where the clock goes back and forth. */
const trace = FastCheck.oneof(
  ...[
    FastCheck.oneof(
      { weight: 6, arbitrary: FastCheck.integer({ min: 0, max: 120 }) },
      { weight: 3, arbitrary: FastCheck.integer({ min: 0, max: 1200 }) },
      { weight: 1, arbitrary: FastCheck.integer({ min: -3000, max: 5000 }) }
    ),
    FastCheck.integer({ min: 0, max: 40 }),
    FastCheck.integer({ min: -600, max: 700 })
  ].map((after) => FastCheck.array(stepAfter(after), { maxLength: 60, size: "max" }))
)

/** What one plan makes of a clock that was set back, another does not have to. */
const forward = trace.map((steps) => steps.map((step) => ({ ...step, after: Math.abs(step.after) })))

/** A store and memory, step by step. */
const followed = (
  store: RateLimitStore.Service,
  plans: ReadonlyArray<RateLimitStore.Limits>,
  steps: ReadonlyArray<Step>
) =>
  Effect.gen(function*() {
    const model = yield* RateLimitStore.RateLimitStore
    const key = randomUUID()
    const spent: Array<{ readonly cost: number; readonly since: number }> = []
    let now = start
    for (const { after, cost, operation, which } of steps) {
      now += after
      const bucket = { limiter: "trace", key, limits: plans[which % plans.length]! }
      if (operation === "reset") {
        yield* store.reset(bucket)
        yield* model.reset(bucket)
      } else if (operation === "refund") {
        const refund = spent[which % Math.max(1, spent.length)]
        if (refund === undefined) continue
        yield* store.refund(bucket, { ...refund, now })
        yield* model.refund(bucket, { ...refund, now })
      } else {
        const expected = yield* model[operation](bucket, { cost, now })
        assert.deepStrictEqual(yield* store[operation](bucket, { cost, now }), expected)
        if (operation === "consume" && expected.allowed) spent.push({ cost, since: now })
      }
    }
  }).pipe(Effect.provide(RateLimitStore.layerMemory()))
