/** The steps of every algorithm, at times that are given. */
import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { RateLimit, type RateLimitStore } from "effect-middleware"
import { compile, type Compiled, decide, giveBack, lapseOf, type Slots } from "../../src/internal/limits.js"

// --- a key -----------------------------------------------------------------------------------------------------------

const start = Date.UTC(2026, 2, 28, 22, 59, 58, 321)

/** What was spent of one key. */
interface Key {
  readonly consume: (limits: RateLimitStore.Limits, now: number, cost?: number) => RateLimitStore.Decision
  readonly peek: (limits: RateLimitStore.Limits, now: number, cost?: number) => RateLimitStore.Decision
  readonly refund: (limits: RateLimitStore.Limits, now: number, since: number, cost?: number) => void
  readonly lapse: (limits: RateLimitStore.Limits, now: number) => number
  /** How many a log remembers. */
  readonly entries: () => number
  /** Another that had the same until now. */
  readonly copy: () => Key
}

const makeKey = (slots: Slots = { cells: new Float64Array(60), logs: new Map<number, Array<number>>() }): Key => ({
  consume: (limits, now, cost = 1) => decide(compile(limits), slots, 0, now, cost, true),
  peek: (limits, now, cost = 1) => decide(compile(limits), slots, 0, now, cost, false),
  refund: (limits, now, since, cost = 1) => giveBack(compile(limits), slots, 0, now, cost, since),
  lapse: (limits, now) => lapseOf(compile(limits), slots, 0, now),
  entries: () => [...slots.logs.values()].flat().length / 2,
  copy: () =>
    makeKey({
      cells: slots.cells.slice(),
      logs: new Map([...slots.logs].map(([at, log]) => [at, [...log]]))
    })
})

// --- traces ----------------------------------------------------------------------------------------------------------

interface Step {
  readonly operation: "consume" | "refund"
  readonly cost: number
  /** How long after the step before. */
  readonly after: number
  /** Which of what is still spent is given back, or which plan it is. */
  readonly which: number
}

const stepsOf = (clockIsSetBack: boolean) =>
  FastCheck.array(
    FastCheck.record<Step>({
      operation: FastCheck.constantFrom("consume", "consume", "consume", "refund"),
      cost: FastCheck.oneof(
        { weight: 6, arbitrary: FastCheck.constant(1) },
        { weight: 3, arbitrary: FastCheck.integer({ min: 0, max: 8 }) }
      ),
      after: FastCheck.oneof(
        { weight: 6, arbitrary: FastCheck.integer({ min: 0, max: 120 }) },
        { weight: 3, arbitrary: FastCheck.integer({ min: 0, max: 1200 }) },
        { weight: 1, arbitrary: FastCheck.integer({ min: 0, max: 8000 }) },
        ...(clockIsSetBack
          ? [
            { weight: 1, arbitrary: FastCheck.integer({ min: -3, max: -1 }) },
            { weight: 1, arbitrary: FastCheck.integer({ min: -8000, max: -1 }) }
          ]
          : [])
      ),
      which: FastCheck.nat(20)
    }),
    { maxLength: 60 }
  )
const steps = stepsOf(false)
const stepsWithClockSetBack = stepsOf(true)

interface Spent {
  readonly cost: number
  /** When, by the clock that they are counted by. */
  readonly since: number
  /** When, by one that is never set back. */
  readonly time: number
}

interface Traced {
  /** What was admitted, and has not been given back. */
  readonly spent: ReadonlyArray<Spent>
  readonly decisions: ReadonlyArray<RateLimitStore.Decision>
  readonly key: Key
  readonly now: number
  /** Whether something was given back. */
  readonly refunded: boolean
}

const traced = (limits: RateLimitStore.Limits, steps: ReadonlyArray<Step>, key = makeKey()): Traced => {
  const spent: Array<Spent> = []
  const decisions: Array<RateLimitStore.Decision> = []
  let [now, time, refunded] = [start, start, false]
  for (const { after, cost, operation, which } of steps) {
    now += after
    time += Math.max(0, after)
    if (operation === "consume") {
      const decision = key.consume(limits, now, cost)
      decisions.push(decision)
      if (decision.allowed) spent.push({ cost, since: now, time })
    } else if (spent.length > 0) {
      const [{ cost, since }] = spent.splice(which % spent.length, 1) as [Spent]
      key.refund(limits, now, since, cost)
      refunded = true
    }
  }
  // it knows what time it is now
  key.peek(limits, now)
  return { spent, decisions, key, now, refunded }
}

/** Of whatever time from one that was admitted to another: the most that may be. */
const assertBound = (spent: ReadonlyArray<Spent>, most: (millis: number, last: number) => number) =>
  spent.forEach((first, i) => {
    let sum = 0
    for (const { cost, since, time } of spent.slice(i)) {
      sum += cost
      assert.isAtMost(sum, most(time - first.time, since), `within ${time - first.time} ms`)
    }
  })

const holds = (trace: FastCheck.Arbitrary<Array<Step>>, property: (steps: Array<Step>) => void, numRuns = 300) =>
  FastCheck.assert(FastCheck.property(trace, property), { numRuns })

// --- limits ----------------------------------------------------------------------------------------------------------

const only = (limit: RateLimitStore.Limit, ban?: RateLimit.BanOptions) => RateLimit.limits(limit, { ban })

const window = 1000
const fixedWindow = only(RateLimit.fixedWindow({ limit: 7, window }))
const log = only(RateLimit.slidingWindowLog({ limit: 7, window }))
const counter = only(RateLimit.slidingWindowCounter({ limit: 7, window }))
const bucket = only(RateLimit.tokenBucket({ capacity: 7, refill: 3, every: 701 }))
const gcra = only(RateLimit.gcra({ limit: 7, window, burst: 5 }))
const quota = only(RateLimit.quota({ limit: 7, per: "hour" }))
const backOff = only(RateLimit.backOff({ after: 3, first: 100, most: 900, forget: 2000 }))
const banned = only(RateLimit.fixedWindow({ limit: 3, window: 500 }), { after: 3, within: 700, duration: 1500 })
const several = RateLimit.limits([
  RateLimit.fixedWindow({ limit: 9, window: 900, name: "a" }),
  RateLimit.slidingWindowLog({ limit: 8, window: 1100, name: "b" }),
  RateLimit.slidingWindowCounter({ limit: 10, window: 700, name: "c" }),
  RateLimit.tokenBucket({ capacity: 8, refill: 5, every: 333, name: "d" }),
  RateLimit.gcra({ limit: 9, window: 1000, name: "e" }),
  RateLimit.quota({ limit: 30, per: "hour", name: "f" })
])

/** Those that count, with what fits at once and how long one may have to wait: after a clock is set back as well. */
const counting: ReadonlyArray<readonly [title: string, limits: RateLimitStore.Limits, full: number, longest: number]> =
  [
    ["a fixed window", fixedWindow, 7, window],
    ["a sliding window log", log, 7, window],
    // what is spent counts in its window and in the next, and a clock that is set back by one makes it longer by it
    ["a sliding window counter", counter, 7, 3 * window],
    ["a token bucket", bucket, 7, Math.ceil(7 * 701 / 3)],
    ["gcra", gcra, 5, Math.ceil(5 * window / 7)],
    ["a quota", quota, 7, 3_600_000]
  ]
const all = [
  ...counting,
  ["back-off", backOff, 3, 900] as const,
  ["a ban", banned, 3, 1500] as const,
  ["several", several, 5, 3_600_000] as const
]

// ---------------------------------------------------------------------------------------------------------------------

describe("no more is admitted, of", () => {
  describe.each(
    [
      ["", steps, 300],
      // such a clock does not tell whose a refund is, so there nothing is given back
      [
        " where a clock is set back",
        stepsWithClockSetBack.map((steps) => steps.filter(({ operation }) => operation === "consume")),
        600
      ]
    ] as const
  )(
    "what was not given back%s",
    (_, trace, runs) => {
      const spentOf = (limits: RateLimitStore.Limits, steps: ReadonlyArray<Step>) => traced(limits, steps).spent

      it("a fixed window: the limit in each, so twice of it within a window that begins anywhere", () =>
        holds(trace, (steps) =>
          assertBound(
            spentOf(fixedWindow, steps),
            (millis) => 7 * (1 + Math.ceil(millis / window))
          ), runs))

      it("a sliding window log: the limit, wherever a window begins", () =>
        holds(trace, (steps) =>
          assertBound(
            spentOf(log, steps),
            (millis) => 7 * (1 + Math.floor(millis / window))
          ), runs))

      it("a sliding window counter: twice the limit within a window", () =>
        holds(trace, (steps) =>
          assertBound(
            spentOf(counter, steps),
            (millis) => 7 * (1 + Math.ceil(millis / window))
          ), runs))

      it("a token bucket: its capacity, and what is refilled", () =>
        holds(trace, (steps) => assertBound(spentOf(bucket, steps), (millis) => 7 + millis * 3 / 701), runs))

      it("gcra: its burst, and one an interval", () => {
        const interval = Math.ceil(window * 1000 / 7) / 1000
        holds(trace, (steps) => assertBound(spentOf(gcra, steps), (millis) => 5 + millis / interval), runs)
      })

      it("several: what each of them admits", () =>
        holds(trace, (steps) =>
          assertBound(spentOf(several, steps), (millis) =>
            Math.min(
              9 * (1 + Math.ceil(millis / 900)),
              8 * (1 + Math.floor(millis / 1100)),
              10 * (1 + Math.ceil(millis / 700)),
              8 + millis * 5 / 333,
              9 + millis * 9 / 1000
            )), runs))
    }
  )

  it("a fixed window: the limit from the first that is spent until a window later", () =>
    holds(steps, (steps) => {
      let [began, spent]: [number, number] = [0, 0]
      let now = start
      const key = makeKey()
      for (const { after, cost } of steps) {
        now += after
        if (now >= began + window) spent = 0
        const fits = spent + cost <= 7
        const { allowed, retryAfter } = key.consume(fixedWindow, now, cost)
        assert.strictEqual(allowed, fits)
        assert.strictEqual(retryAfter, fits ? 0 : cost > 7 ? Infinity : began + window - now)
        if (fits && cost > 0) {
          if (spent === 0) began = now
          spent += cost
        }
      }
    }))

  it("a sliding window counter: the limit in each window that begins at a multiple of its length", () =>
    holds(steps, (steps) => {
      const windows = new Map<number, number>()
      for (const { cost, since } of traced(counter, steps).spent) {
        const index = Math.floor(since / window)
        windows.set(index, (windows.get(index) ?? 0) + cost)
      }
      for (const sum of windows.values()) assert.isAtMost(sum, 7)
    }))

  it("a sliding window counter: beyond the limit, in two windows, as much of it as the second has passed", () =>
    holds(steps, (steps) => {
      const { spent } = traced(counter, steps)
      assertBound(spent, (millis, last) => millis < window ? 7 + 7 * (last % window) / window : Infinity)
    }))

  it("a quota: the limit in each period", () =>
    holds(steps, (steps) => {
      // of a thousandth of an hour each
      const spent = traced(quota, steps.map((step) => ({ ...step, after: step.after * 1000 }))).spent
      const hours = new Map<number, number>()
      for (const { cost, since } of spent) {
        const hour = Math.floor(since / 3_600_000)
        hours.set(hour, (hours.get(hour) ?? 0) + cost)
      }
      for (const sum of hours.values()) assert.isAtMost(sum, 7)
    }))
})

describe("a sliding window log", () => {
  it("decides as one that remembers each does, with refunds", () =>
    holds(steps, (steps) => {
      let entries: Array<{ readonly at: number; cost: number }> = []
      const key = makeKey()
      let now = start
      const spent: Array<{ readonly at: number; cost: number }> = []
      for (const { after, cost, operation, which } of steps) {
        now += after
        entries = entries.filter(({ at }) => at > now - window)
        if (operation === "refund") {
          const [entry] = spent.splice(which % Math.max(1, spent.length), 1)
          if (entry === undefined) continue
          key.refund(log, now, entry.at, entry.cost)
          entries = entries.filter((other) => other !== entry)
        } else {
          const sum = entries.reduce((sum, { cost }) => sum + cost, 0)
          let wait = cost > 7 ? Infinity : 0
          if (wait === 0) {
            for (let [i, over] = [0, sum + cost - 7]; over > 0; i++) {
              wait = entries[i]!.at + window - now
              over -= entries[i]!.cost
            }
          }
          const decision = key.consume(log, now, cost)
          assert.strictEqual(decision.retryAfter, wait)
          assert.strictEqual(decision.allowed, wait === 0)
          const entry = { at: now, cost }
          if (wait === 0) {
            entries.push(entry)
            spent.push(entry)
          }
          assert.strictEqual(decision.limits[0]!.remaining, 7 - sum - (wait === 0 ? cost : 0))
        }
      }
    }))

  it("decides as one that remembers each does where a clock is set back: what was spent later counts as of now", () =>
    holds(stepsWithClockSetBack, (steps) => {
      let entries: Array<{ readonly at: number; readonly cost: number }> = []
      const key = makeKey()
      let now = start
      for (const { after, cost } of steps) {
        now += after
        entries = entries.map(({ at, cost }) => ({ at: Math.min(at, now), cost })).filter(({ at }) => at > now - window)
        const sum = entries.reduce((sum, { cost }) => sum + cost, 0)
        const decision = key.consume(log, now, cost)
        assert.strictEqual(decision.allowed, sum + cost <= 7)
        if (decision.allowed) entries.push({ at: now, cost })
        const last = entries.filter(({ cost }) => cost > 0).at(-1)
        assert.strictEqual(decision.limits[0]!.resetAfter, last === undefined ? 0 : last.at + window - now)
      }
    }))

  it("remembers no more than the limit, whatever costs nothing or is given back", () => {
    const key = makeKey()
    for (let i = 0; i < 500; i++) {
      key.consume(log, start + i, 0)
      if (key.consume(log, start + i).allowed && i % 100 !== 0) key.refund(log, start + i, start + i)
    }
    assert.strictEqual(key.entries(), 5)
    key.peek(log, start + 5000)
    assert.strictEqual(key.entries(), 0)
  })

  it("gives nothing back of what a clock that was set back has made one with others", () => {
    const key = makeKey()
    for (const now of [500, 1000]) key.consume(log, start + now, 2)
    key.refund(log, start + 500, start + 1000, 2)
    assert.strictEqual(key.peek(log, start + 500).limits[0]!.remaining, 3)
  })

  it("gives back once, of those that came at one time", () => {
    const key = makeKey()
    for (const now of [1000, 500, 1000]) key.consume(log, start + now, 2)
    key.refund(log, start + 1000, start + 1000, 2)
    assert.strictEqual(key.peek(log, start + 1000).limits[0]!.remaining, 3)
  })
})

describe("gcra", () => {
  it("is a token bucket of the same rate where a distance is a whole number of microseconds", () =>
    FastCheck.assert(
      FastCheck.property(
        steps,
        // the divisors of a second in microseconds up to there
        FastCheck.constantFrom(1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 40, 50, 64),
        FastCheck.integer({ min: 1, max: 20 }),
        (steps, limit, burst) => {
          const cells = traced(only(RateLimit.gcra({ limit, window: 1000, burst })), steps)
          const tokens = traced(
            only(RateLimit.tokenBucket({ capacity: burst, refill: limit, every: 1000 })),
            steps
          )
          assert.deepStrictEqual(cells.decisions, tokens.decisions)
        }
      ),
      { numRuns: 300 }
    ))

  it("keeps a distance, rounded up to a microsecond", () => {
    const limits = only(RateLimit.gcra({ limit: 3, window: 1000, burst: 1 }))
    const key = makeKey()
    const admitted = Array.from({ length: 3001 }, (_, i) => i).filter((i) => key.consume(limits, start + i).allowed)
    assert.deepStrictEqual(admitted, [0, 334, 668, 1002, 1336, 1670, 2004, 2338, 2672])
    // not at 1000, but no thousandth of the rate is lost: at 333.334 ms each they are on time again
    const steady = makeKey()
    const burst = only(RateLimit.gcra({ limit: 3, window: 1000, burst: 2 }))
    const times = Array.from({ length: 3001 }, (_, i) => i).filter((i) => steady.consume(burst, start + i).allowed)
    assert.deepStrictEqual(times, [0, 1, 334, 667, 1001, 1334, 1667, 2001, 2334, 2667])
  })
})

// ---------------------------------------------------------------------------------------------------------------------

describe.each(all)("%s", (title, limits, full, longest) => {
  const costs = [0, 1, 2, full, full + 1]

  it("admits at its retryAfter and not before, and then for as long as nobody comes", () =>
    holds(title === "a quota" || title === "several" ? steps : stepsWithClockSetBack, (steps) => {
      const { key, now } = traced(limits, steps)
      for (const cost of costs) {
        const { allowed, retryAfter } = key.copy().peek(limits, now, cost)
        if (retryAfter === Infinity) continue
        assert.strictEqual(allowed, retryAfter === 0)
        for (const later of [0, 1, 17, 350, 999, 1000, 1001, 5000, 40_000, 4_000_000]) {
          assert.isTrue(
            key.copy().peek(limits, now + retryAfter + later, cost).allowed,
            `${cost} at ${retryAfter} + ${later}`
          )
        }
        if (!allowed) assert.isFalse(key.copy().peek(limits, now + retryAfter - 1, cost).allowed)
      }
    }))

  it("lets nobody wait longer than it says, wherever a clock is set to", () =>
    FastCheck.assert(
      FastCheck.property(
        stepsWithClockSetBack,
        FastCheck.integer({ min: -10_000_000_000, max: 10_000_000_000 }),
        (steps, jump) => {
          const { key, now } = traced(limits, steps)
          for (const cost of [1, full]) {
            const { retryAfter } = key.copy().peek(limits, now + jump, cost)
            assert.isAtMost(retryAfter, longest)
          }
        }
      )
    ))

  it("says what remains: so much is admitted, and no more", () =>
    holds(stepsWithClockSetBack, (steps) => {
      const { key, now } = traced(limits, steps)
      const { limits: standings } = key.copy().peek(limits, now)
      const remaining = Math.min(...standings.map(({ remaining }) => remaining))
      const isBanned = key.copy().peek(limits, now).banned
      if (isBanned) return
      const another = key.copy()
      for (let i = 0; i < remaining; i++) assert.isTrue(another.consume(limits, now).allowed, `${i} of ${remaining}`)
      assert.isFalse(another.peek(limits, now).allowed)
      assert.strictEqual(Math.min(...another.peek(limits, now).limits.map(({ remaining }) => remaining)), 0)
      // a try costs one; of those that count also all at once
      if (title === "back-off") return
      if (remaining > 0) assert.isTrue(key.copy().peek(limits, now, remaining).allowed)
      assert.isFalse(key.copy().peek(limits, now, remaining + 1).allowed)
    }))

  it("says when all of it is there again: from then on it is as new, and not before", () =>
    FastCheck.assert(
      FastCheck.property(steps, steps, (before, after) => {
        const { key, now, refunded } = traced(limits, before)
        const lapse = key.lapse(limits, now)
        const { limits: standings } = key.copy().peek(limits, now)
        const resets = standings.map(({ resetAfter }) => resetAfter)
        assert.isAtLeast(lapse, Math.max(...resets))
        if (title !== "a ban") assert.strictEqual(lapse, Math.max(...resets))
        const fresh = makeKey()
        const later = key.copy()
        let then = now + lapse
        for (const { after: wait, cost } of after) {
          assert.deepStrictEqual(later.consume(limits, then, cost), fresh.consume(limits, then, cost))
          then += wait
        }
        // of a log that is given back from, it may be sooner
        if (refunded || title === "a ban") return
        resets.forEach((reset, i) => {
          if (reset === 0) return
          const at = now + reset
          const all = makeKey().peek(limits, at).limits[i]!.remaining
          assert.strictEqual(key.copy().peek(limits, at).limits[i]!.remaining, all)
          assert.isBelow(key.copy().peek(limits, at - 1).limits[i]!.remaining, all)
        })
      }),
      { numRuns: 200 }
    ))

  it("is left as it was by a look at it, and by what costs nothing", () =>
    holds(steps, (steps) => {
      const [looked, left] = [makeKey(), makeKey()]
      let now = start
      const spent: Array<readonly [since: number, cost: number]> = []
      for (const { after, cost, operation, which } of steps) {
        for (const part of [0.1, 0.5, 0.9]) {
          const at = now + Math.floor(after * part)
          looked.peek(limits, at, which)
          looked.lapse(limits, at)
          // a refusal would count for a ban
          if (looked.peek(limits, at, 0).allowed) looked.consume(limits, at, 0)
        }
        now += after
        if (operation === "consume") {
          const decision = left.consume(limits, now, cost)
          assert.deepStrictEqual(looked.consume(limits, now, cost), decision)
          if (decision.allowed) spent.push([now, cost])
        } else {
          const [since, cost] = spent.splice(which % Math.max(1, spent.length), 1)[0] ?? [now, 0]
          looked.refund(limits, now, since, cost)
          left.refund(limits, now, since, cost)
        }
      }
    }))

  it("spends all or nothing: what is refused changes nothing", () =>
    holds(steps, (steps) => {
      if (limits.ban !== undefined) return
      const [tried, left] = [makeKey(), makeKey()]
      let now = start
      for (const { after, cost } of steps) {
        now += after
        const fits = left.peek(limits, now, cost)
        const decision = tried.consume(limits, now, cost)
        assert.strictEqual(decision.allowed, fits.allowed)
        if (fits.allowed) {
          assert.deepStrictEqual(left.consume(limits, now, cost), decision)
        } else assert.deepStrictEqual(decision, fits)
      }
    }))

  it("never admits a cost above all of it", () => {
    if (title === "back-off") return
    const decision = makeKey().consume(limits, start, title === "several" ? 9 : full + 1)
    assert.deepStrictEqual([decision.allowed, decision.retryAfter], [false, Infinity])
  })
})

describe("a refund", () => {
  it.each(counting)("of all of it, at once, leaves %s as new", (_, limits, full) => {
    const key = makeKey()
    key.consume(limits, start, full)
    key.refund(limits, start, start, full)
    assert.strictEqual(key.peek(limits, start).limits[0]!.remaining, full)
    assert.isTrue(key.consume(limits, start, full).allowed)
  })

  it.each(counting)("that comes when %s has lapsed makes no room that was not taken", (_, limits, full, longest) => {
    const key = makeKey()
    key.consume(limits, start, full)
    const later = start + 2 * longest
    key.consume(limits, later, full)
    key.refund(limits, later, start, full)
    assert.isFalse(key.peek(limits, later, 1).allowed)
  })

  it("gives back from the window before where a sliding window counter still counts it", () => {
    const at = Math.floor(start / window) * window
    const key = makeKey()
    key.consume(counter, at + 900, 7)
    assert.strictEqual(key.peek(counter, at + 1100).limits[0]!.remaining, 0)
    key.refund(counter, at + 1100, at + 900, 7)
    assert.strictEqual(key.peek(counter, at + 1100).limits[0]!.remaining, 7)
    key.consume(counter, at + 1100, 7)
    key.refund(counter, at + 2000, at + 999, 7)
    assert.strictEqual(key.peek(counter, at + 2000).limits[0]!.remaining, 0)
  })

  it("gives a token bucket no more than has not been refilled", () => {
    const limits = only(RateLimit.tokenBucket({ capacity: 10, refill: 1, every: 100 }))
    const key = makeKey()
    key.consume(limits, start, 4)
    key.consume(limits, start, 4)
    // three have come, and may have been those
    key.refund(limits, start + 300, start, 4)
    assert.strictEqual(key.peek(limits, start + 300).limits[0]!.remaining, 6)
    key.refund(limits, start + 300, start, 4)
    assert.strictEqual(key.peek(limits, start + 300).limits[0]!.remaining, 7)
  })
})

describe("plans", () => {
  const plans = [10, 3, 25].map((limit) =>
    RateLimit.limits([
      RateLimit.fixedWindow({ limit, window, name: "a" }),
      RateLimit.slidingWindowCounter({ limit, window, name: "b" }),
      RateLimit.gcra({ limit, window, name: "c" }),
      RateLimit.tokenBucket({ capacity: limit, refill: limit, every: window, name: "d" }),
      RateLimit.slidingWindowLog({ limit, window, name: "e" })
    ])
  )

  it("that differ in what they admit are of one shape", () => {
    assert.strictEqual(new Set(plans.map((plan) => compile(plan).shape)).size, 1)
  })

  it("share what was spent: who gets another one begins with it", () => {
    const [ten, three, more] = plans.map(({ all }) => all.map((limit) => only(limit)))
    for (let i = 0; i < 5; i++) {
      const key = makeKey()
      assert.isTrue(key.consume(ten![i]!, start, 8).allowed)
      assert.isFalse(key.copy().consume(three![i]!, start, 1).allowed)
      const { limits: [standing] } = key.consume(more![i]!, start, 1)
      // gcra counts time, and what took eight tenths of a window for ten takes twenty for twenty-five
      assert.strictEqual(standing!.remaining, i === 2 ? 4 : 16)
    }
  })

  it("are exact in when they admit, on the way from one to another", () =>
    holds(steps, (steps) => {
      const key = makeKey()
      let now = start
      for (const { after, cost, which } of steps) {
        now += after
        const plan = plans[which % 3]!
        const { retryAfter } = key.copy().peek(plan, now, cost)
        if (retryAfter > 0 && retryAfter < Infinity) {
          assert.isTrue(key.copy().peek(plan, now + retryAfter, cost).allowed)
          assert.isFalse(key.copy().peek(plan, now + retryAfter - 1, cost).allowed)
        }
        key.consume(plan, now, cost)
      }
    }))

  it("of other algorithms, windows and names share nothing", () => {
    const others: ReadonlyArray<RateLimitStore.Limits> = [
      fixedWindow,
      log,
      counter,
      bucket,
      gcra,
      quota,
      backOff,
      banned,
      several,
      only(RateLimit.fixedWindow({ limit: 7, window: 2000, name: "1s" })),
      only(RateLimit.fixedWindow({ limit: 7, window: 1000, name: "other" })),
      only(RateLimit.tokenBucket({ capacity: 7, refill: 3, every: 702 }))
    ]
    const shapes = others.map((limits): Compiled["shape"] => compile(limits).shape)
    assert.strictEqual(new Set(shapes).size, others.length)
  })
})

// ---------------------------------------------------------------------------------------------------------------------

describe("back-off", () => {
  const limits = only(RateLimit.backOff({ after: 3, first: "1 second", most: "10 seconds", forget: "1 minute" }))

  it("doubles from the failure on that is one too many, up to the most", () => {
    const key = makeKey()
    let now = start
    const waits = Array.from({ length: 9 }, () => {
      assert.isTrue(key.consume(limits, now).allowed)
      const { retryAfter } = key.peek(limits, now)
      if (retryAfter > 0) assert.isFalse(key.peek(limits, now + retryAfter - 1).allowed)
      now += retryAfter
      return retryAfter
    })
    assert.deepStrictEqual(waits, [0, 0, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000])
  })

  it.each<[rule: string, first: number, most: number, delays: ReadonlyArray<number>]>([
    ["one delay where the first is the most", 5, 5, [5]],
    ["the most where the double is more", 5, 9, [5, 9]],
    ["the most once where it is the double", 5, 10, [5, 10]],
    ["all between", 1, 9, [1, 2, 4, 8, 9]]
  ])("has %s", (_, first, most, delays) => {
    assert.deepStrictEqual(RateLimit.backOff({ first, most }).delays, delays)
  })

  it("is not made longer by who tries meanwhile", () => {
    const key = makeKey()
    for (let i = 0; i < 3; i++) key.consume(limits, start)
    for (let i = 0; i < 900; i++) assert.isFalse(key.consume(limits, start + i).allowed)
    assert.strictEqual(key.peek(limits, start + 900).retryAfter, 100)
  })

  it("begins anew after a success", () => {
    const key = makeKey()
    for (let i = 0; i < 3; i++) key.consume(limits, start)
    key.consume(limits, start + 1000)
    key.refund(limits, start + 1001, start + 1000)
    const decision = key.peek(limits, start + 1001)
    assert.deepStrictEqual([decision.allowed, decision.limits[0]], [true, { remaining: 3, resetAfter: 0 }])
  })

  it("forgets when nothing has failed for so long, and not a millisecond before", () => {
    const key = makeKey()
    for (let i = 0; i < 3; i++) key.consume(limits, start)
    assert.strictEqual(key.copy().peek(limits, start + 59_999).limits[0]!.remaining, 1)
    assert.strictEqual(key.copy().peek(limits, start + 60_000).limits[0]!.remaining, 3)
    // each failure begins it anew
    key.consume(limits, start + 59_999)
    assert.strictEqual(key.peek(limits, start + 59_999).retryAfter, 2000)
  })

  it("is as far from its end where a clock is set back", () => {
    const key = makeKey()
    for (let i = 0; i < 3; i++) key.consume(limits, start)
    assert.strictEqual(key.peek(limits, start - 3_600_000).retryAfter, 1000)
    assert.isTrue(key.peek(limits, start - 3_600_000 + 1000).allowed)
  })
})

describe("a ban", () => {
  const limits = only(RateLimit.fixedWindow({ limit: 1, window: 100 }), { after: 3, within: 1000, duration: 5000 })
  const refusedAt = (key: Key, ...times: ReadonlyArray<number>) =>
    times.map((time) => key.consume(limits, start + time, 2).banned)

  it("begins with the refusal that is one too many, and lasts its time", () => {
    const key = makeKey()
    assert.deepStrictEqual(refusedAt(key, 0, 10, 20), [false, false, true])
    assert.deepInclude(key.peek(limits, start + 20), { allowed: false, banned: true, retryAfter: 5000 })
    assert.deepInclude(key.peek(limits, start + 5019), { allowed: false, banned: true, retryAfter: 1 })
    assert.deepInclude(key.peek(limits, start + 5020), { allowed: true, banned: false, retryAfter: 0 })
  })

  it("is not made longer by who tries meanwhile, and begins anew after as many refusals", () => {
    const key = makeKey()
    refusedAt(key, 0, 10, 20, 30, 40, 50, 4999)
    assert.strictEqual(key.peek(limits, start + 5019).retryAfter, 1)
    assert.deepStrictEqual(refusedAt(key, 5020, 5021, 5022), [false, false, true])
  })

  it("counts refusals within its time from the first on, and forgets them then", () => {
    assert.deepStrictEqual(refusedAt(makeKey(), 0, 10, 999), [false, false, true])
    assert.deepStrictEqual(refusedAt(makeKey(), 0, 10, 1000, 1001), [false, false, false, false])
    assert.deepStrictEqual(refusedAt(makeKey(), 0, 10, 1000, 1001, 1999), [false, false, false, false, true])
  })

  it("that is over has used up its refusals, also where they would count for longer", () => {
    const short = only(RateLimit.fixedWindow({ limit: 1, window: 100 }), { after: 2, within: 10_000, duration: 50 })
    const key = makeKey()
    const banned = [0, 1, 51, 52].map((time) => key.consume(short, start + time, 2).banned)
    assert.deepStrictEqual(banned, [false, true, false, true])
  })

  it("is not begun by a look, nor by what is admitted", () => {
    const key = makeKey()
    for (let i = 0; i < 10; i++) key.peek(limits, start, 2)
    for (let i = 0; i < 10; i++) assert.isTrue(key.consume(limits, start + i * 100, 1).allowed)
    assert.deepStrictEqual(refusedAt(key, 901, 902), [false, false])
  })

  it("spends nothing while it lasts, and says what would remain", () => {
    const key = makeKey()
    refusedAt(key, 0, 10, 20)
    const decision = key.consume(limits, start + 30)
    assert.deepStrictEqual([decision.allowed, decision.limits[0]!.remaining], [false, 1])
  })

  it("says the longer of two waits", () => {
    const slow = only(RateLimit.fixedWindow({ limit: 1, window: 9000 }), { after: 1, duration: 5000 })
    const key = makeKey()
    key.consume(slow, start)
    assert.deepInclude(key.consume(slow, start + 1), { allowed: false, banned: true, retryAfter: 8999 })
  })

  it("forgets no refusal where a clock is set back, and lasts as long at most", () => {
    const key = makeKey()
    assert.deepStrictEqual(refusedAt(key, 0, -1, -5000), [false, false, true])
    assert.strictEqual(key.peek(limits, start - 3_600_000).retryAfter, 5000)
  })

  it("is over with a reset alone: a refund leaves it", () => {
    const key = makeKey()
    key.consume(limits, start)
    for (let i = 0; i < 3; i++) key.consume(limits, start)
    key.refund(limits, start, start)
    assert.isTrue(key.peek(limits, start).banned)
  })
})

describe("a quota", () => {
  const at = (text: string) => Date.parse(text)
  const period = (per: RateLimit.QuotaOptions["per"], timeZone: string | undefined, now: string) => {
    const { end, start } = RateLimit.quota({ limit: 1, per, timeZone }).periodOf(at(now))
    return [new Date(start).toISOString(), new Date(end).toISOString()].map((text) => text.replace(":00.000Z", "Z"))
  }

  it.each<[rule: string, per: RateLimit.QuotaOptions["per"], timeZone: string, now: string, from: string, to: string]>([
    ["an hour", "hour", "UTC", "2026-10-25T00:59:59.999Z", "2026-10-25T00:00Z", "2026-10-25T01:00Z"],
    ["a day", "day", "UTC", "2026-02-28T23:59:59.999Z", "2026-02-28T00:00Z", "2026-03-01T00:00Z"],
    ["a day that begins", "day", "UTC", "2026-03-01T00:00:00.000Z", "2026-03-01T00:00Z", "2026-03-02T00:00Z"],
    ["a day elsewhere", "day", "Asia/Kolkata", "2026-05-05T19:00Z", "2026-05-05T18:30Z", "2026-05-06T18:30Z"],
    ["a day of 23 hours", "day", "Europe/Berlin", "2026-03-29T12:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"],
    ["a day of 25 hours", "day", "Europe/Berlin", "2026-10-25T00:30Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z"],
    [
      "an hour before the one that is left out",
      "hour",
      "Europe/Berlin",
      "2026-03-29T00:59Z",
      "2026-03-29T00:00Z",
      "2026-03-29T01:00Z"
    ],
    [
      "the hour after the one that is left out",
      "hour",
      "Europe/Berlin",
      "2026-03-29T01:00Z",
      "2026-03-29T01:00Z",
      "2026-03-29T02:00Z"
    ],
    [
      "the hour that is two, at first",
      "hour",
      "Europe/Berlin",
      "2026-10-25T00:00Z",
      "2026-10-25T00:00Z",
      "2026-10-25T02:00Z"
    ],
    [
      "the hour that is two, again",
      "hour",
      "Europe/Berlin",
      "2026-10-25T01:59:59.999Z",
      "2026-10-25T00:00Z",
      "2026-10-25T02:00Z"
    ],
    [
      "the hour after the one that is two",
      "hour",
      "Europe/Berlin",
      "2026-10-25T02:00Z",
      "2026-10-25T02:00Z",
      "2026-10-25T03:00Z"
    ],
    ["a week from Monday on", "week", "UTC", "2026-03-04T12:00Z", "2026-03-02T00:00Z", "2026-03-09T00:00Z"],
    ["a Monday", "week", "UTC", "2026-03-02T00:00Z", "2026-03-02T00:00Z", "2026-03-09T00:00Z"],
    ["a Sunday", "week", "UTC", "2026-03-08T23:59:59.999Z", "2026-03-02T00:00Z", "2026-03-09T00:00Z"],
    ["a week over a new year", "week", "UTC", "2026-01-01T00:00Z", "2025-12-29T00:00Z", "2026-01-05T00:00Z"],
    [
      "a week with a day of 23 hours",
      "week",
      "Europe/Berlin",
      "2026-03-25T00:00Z",
      "2026-03-22T23:00Z",
      "2026-03-29T22:00Z"
    ],
    ["a month of 31 days", "month", "UTC", "2026-01-31T23:59:59.999Z", "2026-01-01T00:00Z", "2026-02-01T00:00Z"],
    ["a month of 28 days", "month", "UTC", "2026-02-28T23:59:59.999Z", "2026-02-01T00:00Z", "2026-03-01T00:00Z"],
    ["a month of 29 days", "month", "UTC", "2028-02-29T23:59:59.999Z", "2028-02-01T00:00Z", "2028-03-01T00:00Z"],
    ["the last month", "month", "UTC", "2026-12-31T23:59:59.999Z", "2026-12-01T00:00Z", "2027-01-01T00:00Z"],
    ["a month elsewhere", "month", "Europe/Berlin", "2026-03-31T22:00Z", "2026-03-31T22:00Z", "2026-04-30T22:00Z"],
    [
      "a month with a day of 23 hours",
      "month",
      "Europe/Berlin",
      "2026-03-01T00:00Z",
      "2026-02-28T23:00Z",
      "2026-03-31T22:00Z"
    ],
    [
      "a day whose midnight is left out",
      "day",
      "America/Havana",
      "2026-03-08T12:00Z",
      "2026-03-08T05:00Z",
      "2026-03-09T04:00Z"
    ]
  ])("has %s", (_, per, timeZone, now, from, to) => {
    assert.deepStrictEqual(period(per, timeZone, now), [from, to])
  })

  it("is of UTC where no time zone is given", () => {
    assert.deepStrictEqual(period("day", undefined, "2026-05-05T23:30Z"), ["2026-05-05T00:00Z", "2026-05-06T00:00Z"])
  })

  it("has a period for each time, and one after another", () =>
    FastCheck.assert(
      FastCheck.property(
        FastCheck.constantFrom("hour" as const, "day" as const, "week" as const, "month" as const),
        FastCheck.constantFrom("Europe/Berlin", "UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut"),
        FastCheck.oneof(
          FastCheck.integer({ min: at("2025-01-01T00:00Z"), max: at("2030-01-01T00:00Z") }),
          // about where clocks are changed
          FastCheck.integer({ min: at("2026-10-24T23:00Z"), max: at("2026-10-25T04:00Z") }),
          FastCheck.integer({ min: at("2026-03-28T23:00Z"), max: at("2026-03-29T04:00Z") }),
          FastCheck.integer({ min: at("2026-04-04T13:00Z"), max: at("2026-04-04T18:00Z") })
        ),
        (per, timeZone, now) => {
          const { periodOf } = RateLimit.quota({ limit: 1, per, timeZone })
          const period = periodOf(now)
          assert.isTrue(period.start <= now && now < period.end)
          assert.deepStrictEqual(periodOf(period.start), period)
          assert.deepStrictEqual(periodOf(period.end - 1), period)
          assert.strictEqual(periodOf(period.end).start, period.end)
          assert.strictEqual(periodOf(period.start - 1).end, period.start)
        }
      ),
      { numRuns: 150 }
    ))

  it("is there again with the next period, all of it", () => {
    const limits = only(RateLimit.quota({ limit: 3, per: "day", timeZone: "Europe/Berlin" }))
    const key = makeKey()
    assert.isTrue(key.consume(limits, at("2026-03-29T21:00Z"), 3).allowed)
    const refused = key.consume(limits, at("2026-03-29T21:00Z"))
    assert.deepInclude(refused, { allowed: false, retryAfter: 3_600_000 })
    assert.deepStrictEqual(refused.limits, [{ remaining: 0, resetAfter: 3_600_000 }])
    assert.isFalse(key.consume(limits, at("2026-03-29T21:59:59.999Z")).allowed)
    assert.isTrue(key.consume(limits, at("2026-03-29T22:00Z"), 3).allowed)
  })

  it("stays spent where a clock is set back over its begin, and not where it was far ahead", () => {
    const limits = only(RateLimit.quota({ limit: 3, per: "month" }))
    const key = makeKey()
    key.consume(limits, at("2026-02-01T00:00:01Z"), 3)
    assert.isFalse(key.copy().peek(limits, at("2026-01-31T23:59:59Z")).allowed)
    assert.isFalse(key.copy().peek(limits, at("2026-02-01T00:00:02Z")).allowed)
    // through January, or February is as new
    key.peek(limits, at("2026-01-31T23:59:59Z"))
    assert.isFalse(key.copy().peek(limits, at("2026-02-01T00:00:00Z")).allowed)
    const ahead = makeKey()
    ahead.consume(limits, at("2036-02-01T00:00:01Z"), 3)
    assert.isFalse(ahead.peek(limits, at("2026-01-15T00:00Z")).allowed)
    assert.isTrue(ahead.peek(limits, at("2026-02-01T00:00Z")).allowed)
  })
})

describe("a clock", () => {
  it("that begins at 0, as in tests, has windows that begin with the first", () => {
    const limits = only(RateLimit.fixedWindow({ limit: 1, window }))
    const key = makeKey()
    assert.isTrue(key.consume(limits, 700).allowed)
    assert.strictEqual(key.consume(limits, 900).retryAfter, 800)
    const atOnce = makeKey()
    assert.isTrue(atOnce.consume(limits, 0).allowed)
    assert.strictEqual(atOnce.consume(limits, 0).retryAfter, window)
  })

  it("that is set back by a millisecond, again and again, gains nothing at an edge of two windows", () => {
    const at = Math.ceil(start / window) * window
    for (const [, limits, full] of counting) {
      const key = makeKey()
      let admitted = 0
      for (let i = 0; i < 100; i++) if (key.consume(limits, i % 2 === 0 ? at : at - 1).allowed) admitted++
      assert.strictEqual(admitted, full)
    }
  })
})
