/** What limits are made of, and what their constructors refuse. */
import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, FastCheck } from "effect"
import { RateLimit } from "effect-middleware"

const windows: ReadonlyArray<
  readonly [name: string, make: (options: RateLimit.WindowOptions) => { readonly name: string }]
> = [
  ["fixedWindow", RateLimit.fixedWindow],
  ["slidingWindowLog", RateLimit.slidingWindowLog],
  ["slidingWindowCounter", RateLimit.slidingWindowCounter],
  ["gcra", RateLimit.gcra]
]

type Mistake = readonly [rule: string, make: () => unknown, message: string | RegExp]

const wholeNumbers = (of: string, option: string, make: (value: number) => unknown): ReadonlyArray<Mistake> =>
  [0, -1, 0.5, 1.5, NaN, Infinity, 2 ** 53].map((value) => [
    `${of}: ${option} ${value}`,
    () => make(value),
    `RateLimit: ${of} has the ${option} ${value}: write a whole number from 1`
  ])

const times = (
  of: string,
  option: string,
  make: (value: number | "3651 days" | "0 seconds") => unknown
): ReadonlyArray<Mistake> =>
  ([0, -1, 0.4, NaN, Infinity, "3651 days", "0 seconds"] as const).map((value) => [
    `${of}: ${option} ${value}`,
    () => make(value),
    `RateLimit: ${of} has the ${option} ${value}: write a time from 1 millisecond to ten years, such as "1 minute"`
  ])

const names = (of: string, make: (name: string) => unknown): ReadonlyArray<Mistake> =>
  ["", " ", "a b", "a\"b", "a,b", "a:b", "é", "-a", ".a", "_a", "a\n", "{a}", "x".repeat(65)].map((name) => [
    `${of}: name ${JSON.stringify(name)}`,
    () => make(name),
    `RateLimit: ${of} has the name ${JSON.stringify(name)}: write letters, digits, ".", "_" and "-"`
  ])

const mistakes: ReadonlyArray<Mistake> = [
  ...windows.flatMap(([of, make]): ReadonlyArray<Mistake> => [
    ...wholeNumbers(of, "limit", (limit) => make({ limit, window: "1 second" })),
    ...times(of, "window", (window) => make({ limit: 1, window })),
    ...names(of, (name) => make({ limit: 1, window: "1 second", name }))
  ]),
  [
    "slidingWindowLog: a limit of which each is to be remembered",
    () => RateLimit.slidingWindowLog({ limit: 100_001, window: "1 hour" }),
    "RateLimit: slidingWindowLog has a limit of 100001 and remembers each: write slidingWindowCounter instead"
  ],
  [
    "slidingWindowCounter: more than can be multiplied",
    () => RateLimit.slidingWindowCounter({ limit: 2 ** 40, window: 2 ** 13 }),
    "RateLimit: slidingWindowCounter has a limit of 1099511627776 in 8192 ms, more than can be counted exactly: " +
    "write a shorter time"
  ],
  ...wholeNumbers(
    "tokenBucket",
    "capacity",
    (capacity) => RateLimit.tokenBucket({ capacity, refill: 1, every: "1 second" })
  ),
  ...wholeNumbers(
    "tokenBucket",
    "refill",
    (refill) => RateLimit.tokenBucket({ capacity: 1, refill, every: "1 second" })
  ),
  ...times("tokenBucket", "every", (every) => RateLimit.tokenBucket({ capacity: 1, refill: 1, every })),
  ...names("tokenBucket", (name) => RateLimit.tokenBucket({ capacity: 1, refill: 1, every: "1 second", name })),
  [
    "tokenBucket: more than can be multiplied",
    () => RateLimit.tokenBucket({ capacity: 2 ** 40, refill: 1, every: 2 ** 13 }),
    /^RateLimit: tokenBucket has a limit of 1099511627776 in 8192 ms, more than can be counted exactly: write a shorter/
  ],
  [
    "tokenBucket: a refill of more than a million",
    () => RateLimit.tokenBucket({ capacity: 1, refill: 1_000_001, every: "1 second" }),
    "RateLimit: tokenBucket has a refill of 1000001: write at most 1,000,000, and a shorter every"
  ],
  ...wholeNumbers("gcra", "burst", (burst) => RateLimit.gcra({ limit: 1, window: "1 second", burst })),
  [
    "gcra: a rate that microseconds cannot tell",
    () => RateLimit.gcra({ limit: 600_000, window: "1 second" }),
    "RateLimit: gcra has a limit of 600000 in 1000 ms and counts in whole microseconds, which would lose more than 1 % of " +
    "it: write a tokenBucket instead"
  ],
  [
    "gcra: a burst that is more than can be counted",
    () => RateLimit.gcra({ limit: 1, window: "1 hour", burst: 2_000_000 }),
    "RateLimit: gcra has a burst of 2000000 that takes 2000000 times 3600000000 µs, more than can be counted exactly: " +
    "write a smaller burst"
  ],
  ...wholeNumbers("quota", "limit", (limit) => RateLimit.quota({ limit, per: "day" })),
  ...names("quota", (name) => RateLimit.quota({ limit: 1, per: "day", name })),
  ...["", "Berlin", "Europe/Nowhere", "CET+"].map((timeZone): Mistake => [
    `quota: timeZone ${JSON.stringify(timeZone)}`,
    () => RateLimit.quota({ limit: 1, per: "day", timeZone }),
    `RateLimit: quota has the timeZone "${timeZone}": write a name such as "Europe/Berlin", or "UTC"`
  ]),
  ...wholeNumbers("backOff", "after", (after) => RateLimit.backOff({ after })),
  ...times("backOff", "first", (first) => RateLimit.backOff({ first })),
  ...times("backOff", "most", (most) => RateLimit.backOff({ most })),
  ...times("backOff", "forget", (forget) => RateLimit.backOff({ forget })),
  ...names("backOff", (name) => RateLimit.backOff({ name })),
  [
    "backOff: a first delay above the most",
    () => RateLimit.backOff({ first: 2, most: 1 }),
    "RateLimit: backOff waits 2 ms first and 1 ms at most: write a larger most"
  ],
  [
    "backOff: failures that are forgotten while one has to wait",
    () => RateLimit.backOff({ most: "1 hour", forget: "1 hour" }),
    "RateLimit: backOff forgets after 3600000 ms and waits up to 3600000 ms: write a longer forget"
  ],
  [
    "limits: two of one name",
    () =>
      RateLimit.limits([
        RateLimit.gcra({ limit: 1, window: "1 minute" }),
        RateLimit.fixedWindow({ limit: 1, window: 60_000 })
      ]),
    "RateLimit: limits has two that are named \"60s\": give one of them another name"
  ],
  [
    "limits: none",
    // @ts-expect-error it takes one at least
    () => RateLimit.limits([]),
    "RateLimit: limits is empty: write one, such as RateLimit.gcra(...)"
  ],
  [
    "limits: too many",
    () => RateLimit.limits(Arr.makeBy(17, (i) => RateLimit.gcra({ limit: 1, window: 1000 + i }))),
    "RateLimit: limits has 17: write 16 at most, of which the strictest decide"
  ],
  ...wholeNumbers(
    "ban",
    "after",
    (after) => RateLimit.limits(RateLimit.backOff(), { ban: { after, duration: "1 hour" } })
  ),
  ...times("ban", "duration", (duration) => RateLimit.limits(RateLimit.backOff(), { ban: { after: 1, duration } })),
  ...times(
    "ban",
    "within",
    (within) => RateLimit.limits(RateLimit.backOff(), { ban: { after: 1, within, duration: "1 hour" } })
  )
]

describe("limits", () => {
  it.each(mistakes)("refuse, with the option and what to write: %s", (_, make, message) => {
    assert.throws(make, message)
  })

  it.each<[rule: string, made: { readonly name: string }, name: string]>([
    ["the window in seconds", RateLimit.gcra({ limit: 1, window: "1 hour" }), "3600s"],
    ["the window in milliseconds", RateLimit.fixedWindow({ limit: 1, window: 1500 }), "1500ms"],
    [
      "how long a bucket takes to be full",
      RateLimit.tokenBucket({ capacity: 50, refill: 10, every: "1 second" }),
      "5s"
    ],
    ["the period", RateLimit.quota({ limit: 1, per: "month" }), "month"],
    ["what it is", RateLimit.backOff(), "back-off"],
    ["their own", RateLimit.gcra({ limit: 1, window: "1 hour", name: "A-1.b_" }), "A-1.b_"],
    ["one of 64 letters", RateLimit.quota({ limit: 1, per: "day", name: "x".repeat(64) }), "x".repeat(64)]
  ])("are named by %s", (_, made, name) => {
    assert.strictEqual(made.name, name)
  })

  it("are what was written, with every time in whole milliseconds", () => {
    assert.deepStrictEqual(RateLimit.fixedWindow({ limit: 3, window: "1.5 seconds" }), {
      _tag: "FixedWindow",
      name: "1500ms",
      limit: 3,
      window: 1500
    })
    assert.deepStrictEqual(RateLimit.slidingWindowLog({ limit: 100_000, window: 0.6 }), {
      _tag: "SlidingWindowLog",
      name: "1ms",
      limit: 100_000,
      window: 1
    })
    assert.deepStrictEqual(RateLimit.slidingWindowCounter({ limit: 3, window: "3650 days", name: "x" }), {
      _tag: "SlidingWindowCounter",
      name: "x",
      limit: 3,
      window: 315_360_000_000
    })
    assert.deepStrictEqual(RateLimit.tokenBucket({ capacity: 7, refill: 1_000_000, every: 1001 }), {
      _tag: "TokenBucket",
      name: "1ms",
      limit: 7,
      window: 1,
      refill: 1_000_000,
      every: 1001
    })
    assert.deepStrictEqual(RateLimit.gcra({ limit: 3, window: 1000 }), {
      _tag: "Gcra",
      name: "1s",
      limit: 3,
      window: 1000,
      interval: 333_334,
      burst: 3
    })
    assert.deepInclude(RateLimit.gcra({ limit: 3, window: 1000, burst: 1 }), { burst: 1 })
    assert.deepInclude(RateLimit.quota({ limit: 3, per: "week" }), { limit: 3, window: 604_800_000 })
    const { delays, ...backOff } = RateLimit.backOff()
    assert.deepStrictEqual(backOff, { _tag: "BackOff", name: "back-off", limit: 5, window: 86_400_000 })
    assert.deepStrictEqual<ReadonlyArray<number>>(delays, [
      ...Array.from({ length: 10 }, (_, i) => 1000 * 2 ** i),
      900_000
    ])
  })

  it("are one or several, with a ban that counts within its duration unless it says otherwise", () => {
    const one = RateLimit.gcra({ limit: 1, window: 1000 })
    assert.deepStrictEqual(RateLimit.limits(one), { all: [one] })
    assert.deepStrictEqual(RateLimit.limits([one], { ban: { after: 2, duration: "1 hour" } }), {
      all: [one],
      ban: { _tag: "Ban", name: "ban", limit: 2, window: 3_600_000, duration: 3_600_000 }
    })
    assert.deepInclude(RateLimit.limits(one, { ban: { after: 2, within: 5, duration: 9 } }).ban, {
      window: 5,
      duration: 9
    })
  })

  it("of gcra never give a higher rate than was written, nor one that is lower by a hundredth", () =>
    FastCheck.assert(
      FastCheck.property(
        FastCheck.integer({ min: 1, max: 2_000_000 }),
        FastCheck.integer({ min: 1, max: 100_000 }),
        (limit, window) => {
          let made
          try {
            made = RateLimit.gcra({ limit, window })
          } catch {
            // where it is refused the loss is real
            assert.isAbove(Math.ceil(window * 1000 / limit) / (window * 1000 / limit), 1.01)
            return
          }
          assert.isAtLeast(made.interval * limit, window * 1000)
          assert.isAtMost(made.interval * limit, window * 1010)
        }
      )
    ))
})
